"""A generated cohort of 30 patients for the whole chain, plain squares for everything else."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure

from axilla.core.config import StudyConfig
from axilla.study.chain import StudyResult, run
from axilla.study.model_card import CARD

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from axilla.cohorts.synthetic import SyntheticCohort


@pytest.fixture(scope="session", autouse=True)
def _one_thread(one_thread: None) -> None:
    """For every test here."""


@pytest.fixture(scope="session")
def tiny_settings(tiny: SyntheticCohort) -> dict[str, Any]:
    """The study of the tiny cohort, trained end to end."""
    return {
        "name": "Tiny",
        "cohort": tiny.table,
        "slides": tiny.slides,
        "annotations": tiny.annotations,
        "regions": "annotation",
        "endpoint": "n0-vs-npos",
        "patches": {"size": 32},
        "bags": {"size": 5, "redraw": True, "per_epoch": 1},
        "encoder": {"name": "small_cnn", "weights": "none", "trainable": True},
        "training": {"epochs": 2, "batch_size": 4, "lr": 5.0e-4, "restarts": None},
    }


@pytest.fixture(scope="session")
def frozen_settings(tiny_settings: dict[str, Any], weights: Path) -> dict[str, Any]:
    """The same study with features computed once."""
    encoder = {"name": "small_cnn", "weights": str(weights), "trainable": False}
    return tiny_settings | {"encoder": encoder, "methods": ("dl-cnb", "dl-cnb+c")}


@pytest.fixture(scope="session")
def finished(
    tiny_settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory,
    render: Callable[..., bytes],
) -> tuple[StudyConfig, StudyResult]:  # fmt: skip
    """The tiny study, run once, all its figures drawn; not to be changed."""
    out = tmp_path_factory.mktemp("finished") / "out"
    config = StudyConfig.model_validate(tiny_settings | {"out": out})
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("axilla.study.evaluating.rendered", render)
        return config, run(config)


@pytest.fixture(scope="session")
def frozen(
    frozen_settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[StudyConfig, StudyResult]:
    """The frozen study, run once without a break; not to be changed."""
    out = tmp_path_factory.mktemp("frozen") / "out"
    config = StudyConfig.model_validate(frozen_settings | {"out": out})
    return config, run(config, until="predict")


@pytest.fixture
def again(tmp_path: Path) -> Callable[..., StudyConfig]:
    """A study with a copy of a finished study's results, and perhaps other settings."""

    def copy(config: StudyConfig, **changes: Any) -> StudyConfig:
        shutil.copytree(config.out, tmp_path / "out")
        settings = config.model_dump() | changes | {"out": tmp_path / "out"}
        return StudyConfig.model_validate(settings)

    return copy


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts what is computed, not read back."""
    counts: Counter[str] = Counter()
    for place in (
        "slide_checks.open_slide", "tiling.cut_patches", "embedding._extract_features",
        "training.train", "training.fit_logistic", "scoring.predict_patients",
        "chain.evaluate_predictions",
        "explaining._measure_slide", "explaining.draw_slide",
        "explaining_imported._measure_slide", "explaining_imported._draw_slide",
    ):  # fmt: skip
        _count(monkeypatch, counts, f"axilla.study.{place}")
    return counts


def _count(monkeypatch: pytest.MonkeyPatch, counts: Counter[str], place: str) -> None:
    module, _, name = place.rpartition(".")
    real = getattr(__import__(module, fromlist=[name]), name)

    def counted(*args: Any, **kwargs: Any) -> Any:
        counts[name.lstrip("_")] += 1
        return real(*args, **kwargs)

    monkeypatch.setattr(place, counted)


@pytest.fixture
def coarse_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of few pixels, where a test is about something else."""
    real = Figure.savefig

    def save(self: Figure, *args: Any, **kwargs: Any) -> None:
        real(self, *args, **kwargs | {"dpi": 30})

    monkeypatch.setattr(Figure, "savefig", save)


@pytest.fixture
def plain_study(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Write a cohort of plain pink squares on white and return its settings, ready to change."""

    def make(rows: list[str], images: list[str], *, header: str = "") -> dict[str, Any]:
        folder = tmp_path / "cohort"
        (folder / "slides").mkdir(parents=True)
        (folder / "annotations").mkdir()
        header = header or "patient_id,age,tumor_size_cm,er,pr,her2,nodes"
        (folder / "cohort.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
        for index, name in enumerate(images):
            write_square(folder / "slides" / f"{name}.png", seed=index)
        return {
            "cohort": folder / "cohort.csv",
            "slides": folder / "slides",
            "endpoint": "n0-vs-npos",
            "patches": {"size": 16},
            "bags": {"size": 4, "per_epoch": 1, "redraw": True},
            "encoder": {"name": "small_cnn", "weights": "none", "trainable": True},
            "methods": ("dl-cnb",),
            "training": {"epochs": 1, "batch_size": 8, "restarts": None},
            "out": tmp_path / "out",
        }

    return make


@pytest.fixture(scope="session")
def downgrade() -> Callable[[StudyConfig], None]:
    """Write every model's record of a study as the version before did."""

    def write(config: StudyConfig) -> None:
        for path in (config.out / "models").rglob("model.json"):
            record = json.loads(path.read_text(encoding="utf-8"))
            record["schema"], record["calibration"] = 2, None
            record.pop("reference", None)
            for name in ("slide_mpp", "patches"):
                del record["training_cohort"][name]
            for number in record["training_cohort"]["numbers"].values():
                del number["low"], number["high"]
            path.write_text(json.dumps(record), encoding="utf-8")
            (path.parent / CARD).unlink()

    return write


@pytest.fixture(scope="session")
def dl_cnb() -> Any:
    """The authors' network: the module published_network.py beside this file."""
    # Tests are no package (importmode importlib), so it is loaded by its path.
    path = Path(__file__).with_name("published_network.py")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def alexnet_state(dl_cnb: Any) -> dict[str, Tensor]:
    """A checkpoint of DL-CNB with AlexNet, the smallest; not to be changed."""
    state: dict[str, Tensor] = dl_cnb.theirs("alexnet").state_dict()
    return state


@pytest.fixture
def save_checkpoint(tmp_path: Path) -> Callable[..., Path]:
    """Write a value as PyTorch does; the file."""
    import torch

    def write(value: Any, name: str = "best.pth") -> Path:
        torch.save(value, tmp_path / name)
        return tmp_path / name

    return write


def write_square(path: Path, *, seed: int, side: int = 96, margin: int = 16) -> None:
    """A pink, grainy square on white."""
    rng = np.random.default_rng(seed)
    image = np.full((side, side, 3), 255, np.uint8)
    inner = side - 2 * margin
    grain = rng.integers(-40, 40, (inner, inner, 3))
    pink = np.array([170, 100, 200])  # blue, green, red
    image[margin : margin + inner, margin : margin + inner] = np.clip(pink + grain, 0, 250)
    cv2.imwrite(str(path), image)
