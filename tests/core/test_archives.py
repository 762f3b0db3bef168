"""Archives that unpack to more than they are."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import pytest
import torch

from axilla.core.archives import is_packed
from axilla.core.errors import FeaturesError, WeightsError
from axilla.features import imported
from axilla.features.imported import read_slide_features
from axilla.mil.original_state import read_checkpoint

if TYPE_CHECKING:
    from pathlib import Path


def packed(path: Path) -> Path:
    """The same members, deflated: a thousandth of what they unpack to."""
    torch.save(torch.zeros(100_000, 8), path)
    with zipfile.ZipFile(path) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    assert path.stat().st_size < 20_000
    return path


def test_what_torch_saves_is_not_packed(tmp_path: Path) -> None:
    for name, legacy in (("new.pt", False), ("old.pt", True)):
        torch.save(torch.zeros(20, 8), tmp_path / name, _use_new_zipfile_serialization=not legacy)
        assert not is_packed(tmp_path / name)
    assert not is_packed(tmp_path / "none.pt")
    assert is_packed(packed(tmp_path / "packed.pt"))


def test_packed_features_and_checkpoints_are_refused_before_they_are_unpacked(
    tmp_path: Path,
) -> None:
    path = packed(tmp_path / "p.pt")
    with pytest.raises(FeaturesError, match="packed archive"):
        read_slide_features(path, patient_id="p")
    with pytest.raises(WeightsError, match="packed archive"):
        read_checkpoint(path)


def test_one_number_that_is_said_to_be_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p.pt"
    torch.save(torch.zeros(1, 1).expand(100_000, 100_000), path)
    assert path.stat().st_size < 5_000
    with pytest.raises(FeaturesError, match="holds more than 4 GiB"):
        read_slide_features(path, patient_id="p")
    monkeypatch.setattr(imported, "MAX_BYTES", 1_000)
    torch.save(torch.zeros(20, 20), path)
    with pytest.raises(FeaturesError, match="too much for one slide"):
        read_slide_features(path, patient_id="p")


@pytest.mark.filterwarnings("ignore:Validating sparse tensor")
def test_a_sparse_tensor_is_refused(tmp_path: Path) -> None:
    torch.save(torch.eye(5).to_sparse(), tmp_path / "p.pt")
    with pytest.raises(FeaturesError, match="holds a sparse tensor"):
        read_slide_features(tmp_path / "p.pt", patient_id="p")
