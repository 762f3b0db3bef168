"""The exported graph against torch, in ONNX Runtime, on bags that the export never saw."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from axilla.core.config import Aggregator
from axilla.core.errors import ConfigError, StoreError
from axilla.mil import onnx_export
from axilla.mil.bundle import Bundle, Member
from axilla.mil.clinical import Preprocessor
from axilla.mil.ensemble import combine
from axilla.mil.model import DLCNB
from axilla.mil.onnx_export import clinical_slices, export_onnx


class Encoder(nn.Module):
    """A resize, a convolution and batch normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 12, 3), nn.BatchNorm2d(12), nn.ReLU())

    def forward(self, x):
        x = x.float().div(255)
        x = nn.functional.interpolate(
            x, size=(16, 16), mode="bilinear", antialias=True, align_corners=False
        )
        return self.body(x).mean((2, 3))


def reader(categories: tuple[str, ...]) -> Preprocessor:
    return Preprocessor(
        numeric=("age",), means=(50.0,), sds=(9.0,), categorical=("er",), categories=(categories,),
        modes=(categories[0],), missing="refuse",
    )  # fmt: skip


def make_bundle(
    *, kind: str = "gated", encoder: bool = True, clinical: tuple[int, ...] = (), members: int = 1
) -> Bundle:
    """Random networks; `clinical` says how many categories each member's preprocessor knows."""
    made = []
    for index in range(members):
        torch.manual_seed(index)
        own = reader(tuple("abcd"[: clinical[index]])) if clinical else None
        network = DLCNB(
            encoder=Encoder() if encoder else None, features=12,
            clinical=0 if own is None else own.width, classes=2,
            config=Aggregator(kind=kind, width=16, attention=8),
        )  # fmt: skip
        made.append(Member(network=network.eval(), preprocessor=own))
    record = {"patches": {"size": 24}, "threshold": {"rule": 0.5, "value": 0.25}}
    return Bundle("dl-cnb", ("N0", "N(+)"), record, tuple(made))


def scores_of(bundle: Bundle, instances, vectors):
    """What the networks say of one bag by their own `forward`."""
    outputs = [
        member.network(instances, [len(instances)], None if v is None else v[None])
        for member, v in zip(bundle.members, vectors, strict=True)
    ]
    scores = [o.logits[0].double().softmax(0).detach().numpy() for o in outputs]
    return combine(scores), np.mean([o.attention[0].detach().numpy() for o in outputs], axis=0)


@pytest.mark.parametrize(
    "bundle",
    [
        make_bundle(kind="attention"),
        make_bundle(kind="max", encoder=False, clinical=(2,)),
        make_bundle(clinical=(2, 2, 3), members=3),
    ],
    ids=["end to end", "features and clinical", "folds"],
)
def test_the_graph_says_what_the_model_says(bundle: Bundle, tmp_path: Path):
    path = tmp_path / "m.onnx"
    exported = export_onnx(bundle, path, encoder=None)
    assert exported.largest_difference <= 1e-5
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(7)
    slices = clinical_slices([member.preprocessor for member in bundle.members])
    for size in (1, 2, 17):
        feed = {}
        if "patches" in exported.inputs:
            feed["patches"] = rng.integers(0, 256, (size, 3, 24, 24), dtype=np.uint8)
        else:
            feed["features"] = rng.normal(size=(size, 12)).astype(np.float32)
        instances = torch.from_numpy(next(iter(feed.values())))
        vectors = [None] * len(bundle.members)
        if "clinical" in exported.inputs:
            (width,) = exported.inputs["clinical"]
            feed["clinical"] = rng.normal(size=width).astype(np.float32)
            vectors = [torch.from_numpy(feed["clinical"][a:b]) for a, b in slices]
        wanted, attention = scores_of(bundle, instances, vectors)
        found = dict(zip(exported.outputs, session.run(None, feed), strict=True))
        np.testing.assert_allclose(found["probabilities"], wanted.mean, atol=1e-5, rtol=0)
        np.testing.assert_allclose(found["attention"], attention, atol=1e-5, rtol=0)
        if wanted.spread is None:
            assert set(found) == {"probabilities", "attention"}
        else:
            assert float(found["spread"]) == pytest.approx(wanted.spread, abs=1e-5)


def test_the_graph_says_what_it_is(tmp_path: Path):
    bundle = make_bundle(encoder=False, clinical=(2, 3), members=2)
    exported = export_onnx(bundle, tmp_path / "m.onnx", encoder=None)
    assert exported.inputs == {"features": ("patches_in_bag", 12), "clinical": (7,)}
    said = metadata(tmp_path / "m.onnx")
    assert said["axilla.classes"] == '["N0", "N(+)"]'
    assert said["axilla.threshold"] == "0.25"
    assert said["axilla.clinical"] == ('["age", "er=a", "er=b", "age", "er=a", "er=b", "er=c"]')
    assert "not a medical device" in said["axilla.use"]
    assert "mean of a patient's probabilities over all" in said["axilla.threshold_use"]
    # Enough to make the vector from raw values: those of both members, in the input's order.
    first, second = json.loads(said["axilla.preprocessors"])
    assert (first["numeric"], first["means"], first["sds"]) == (["age"], [50.0], [9.0])
    assert (first["categories"], second["categories"]) == ([["a", "b"]], [["a", "b", "c"]])
    assert "its mean is taken off and the rest divided by its sd" in said["axilla.clinical_use"]


def test_a_frozen_encoder_is_shared_by_the_heads(tmp_path: Path):
    torch.manual_seed(3)
    encoder = Encoder().eval()
    bundle = make_bundle(encoder=False, members=2)
    exported = export_onnx(bundle, tmp_path / "m.onnx", encoder=encoder)
    assert exported.inputs == {"patches": ("patches_in_bag", 3, 24, 24)}
    patches = np.random.default_rng(1).integers(0, 256, (4, 3, 24, 24), dtype=np.uint8)
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"))
    wanted, _ = scores_of(bundle, encoder(torch.from_numpy(patches)), [None, None])
    found = session.run(None, {"patches": patches})[0]
    np.testing.assert_allclose(found, wanted.mean, atol=1e-5, rtol=0)


def metadata(path: Path) -> dict[str, str]:
    """What a graph says of itself."""
    session = onnxruntime.InferenceSession(str(path))
    return dict(session.get_modelmeta().custom_metadata_map)


STAIN = {"method": "reinhard", "target": {"means": [1.0, 2.0, 3.0]}, "seed": 8888}


@pytest.mark.parametrize("encoder", [True, False])
@pytest.mark.parametrize(("stain", "mpp"), [(None, None), (STAIN, 0.5)])
def test_a_graph_of_patches_says_what_must_be_done_to_them(
    tmp_path: Path, *, encoder: bool, stain: dict[str, object] | None, mpp: float | None
):
    bundle = make_bundle(encoder=encoder)
    patches = {"size": 24, "mpp": mpp}
    bundle = replace(bundle, record={**bundle.record, "patches": patches, "stain": stain})
    exported = export_onnx(bundle, tmp_path / "m.onnx", encoder=None)
    said = metadata(tmp_path / "m.onnx")
    if not encoder:
        assert exported.prepared == ()
        assert not {"axilla.patches", "axilla.stain", "axilla.stain_use"} & set(said)
        return
    assert json.loads(said["axilla.patches"]) == patches
    assert json.loads(said["axilla.stain"]) == stain
    if stain is None:
        assert exported.prepared == ()
        assert "as the scanner gave them" in said["axilla.stain_use"]
        return
    assert "brought to the target in axilla.stain" in said["axilla.stain_use"]
    assert exported.prepared == (
        "cut at 0.5 µm per pixel",
        "of normalised stain (reinhard, each slide's own brought to the target in axilla.stain)",
    )


def test_a_graph_that_differs_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(onnx_export, "_difference", lambda *_: 2e-5)
    with pytest.raises(StoreError, match=r"differs from the model by 2\.0e-05"):
        export_onnx(make_bundle(encoder=False), tmp_path / "m.onnx", encoder=None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", ["clinical", "batch_norm", "size"])
def test_what_cannot_be_exported(wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    bundle = make_bundle(encoder=False)
    match = "looks at no slides"
    if wrong == "clinical":
        bundle = Bundle("clinical", bundle.classes, {}, (Member(),))
    elif wrong == "batch_norm":
        bundle = Bundle("dl-cnb", bundle.classes, {"batch_norm": "batch"}, bundle.members)
        match = "normalises by the bag's own patches"
    else:
        monkeypatch.setattr(onnx_export, "MAX_BYTES", 100)
        match = "less than 2"
    with pytest.raises(ConfigError, match=match):
        export_onnx(bundle, tmp_path / "m.onnx", encoder=None)
    assert list(tmp_path.iterdir()) == []
