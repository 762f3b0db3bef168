"""A study of features made elsewhere: no slides, no encoder, and everything else as ever."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
import yaml

import axilla
from axilla.core import store
from axilla.core.config import StudyConfig, load_config
from axilla.core.errors import FeaturesError, InputProblems, StoreError
from axilla.core.progress import Silent
from axilla.study import explaining_imported
from axilla.study.case_asking import Case
from axilla.study.chain import check, run
from axilla.study.fitting import Fitting
from axilla.study.imported import check_imported, refuse_other_features
from axilla.study.scoring import load_bundle

PATIENTS = 24
LENGTH = 12


class Heard(Silent):
    """Remembers what each step said."""

    def __init__(self) -> None:
        self.said: dict[str, str] = {}

    def done(self, step: str, detail: str) -> None:
        self.said[step] = detail


def corners(n: int) -> np.ndarray[Any, Any]:
    return np.array([(512 * (i % 5), 512 * (i // 5)) for i in range(n)])


def vectors(patient: int, *, length: int = LENGTH) -> np.ndarray[Any, Any]:
    """Patches of a patient; those of every second one, who is N(+), lie apart."""
    rng = np.random.default_rng(patient)
    shift = 2.0 if patient % 2 else 0.0
    return (rng.normal(size=(10 + patient % 3, length)) + shift).astype(np.float32)


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    """24 patients with a file each, as TRIDENT writes it."""
    rows = [f"P{i:02d},{40 + i},{1.5 + i / 20},{i % 2}" for i in range(PATIENTS)]
    table = tmp_path / "cohort.csv"
    table.write_text("\n".join(["patient_id,age,tumor_size_cm,nodes", *rows]), encoding="utf-8")
    feats = tmp_path / "feats"
    for i in range(PATIENTS):
        found = vectors(i)
        axilla.features_from_arrays(
            feats, f"P{i:02d}", found, coords=corners(len(found)), patch_size=512, encoder="uni_v1"
        )
    return {
        "name": "Imported",
        "cohort": table,
        "features": {"folder": feats},
        "endpoint": "n0-vs-npos",
        "bags": {"size": 5},
        "clinical": {"numeric": ["age"], "categorical": []},
        "methods": ("dl-cnb", "dl-cnb+c"),
        "training": {"epochs": 8, "lr": 1.0e-3, "restarts": None},
        "out": tmp_path / "out",
    }


def config_of(settings: dict[str, Any], **changes: Any) -> StudyConfig:
    return StudyConfig.model_validate(settings | changes)


def feats(settings: dict[str, Any]) -> Path:
    folder: Path = settings["features"]["folder"]
    return folder


@pytest.mark.usefixtures("coarse_pictures")
def test_the_whole_chain_without_slides(settings: dict[str, Any], work: Counter[str]) -> None:
    config = config_of(settings)
    heard = Heard()
    result = run(config, reporter=heard)
    assert heard.said["tile"] == "not needed: features come from trident files"
    assert heard.said["embed"] == ("not needed: 24 slides, 264 patches, 12 numbers each, by uni_v1")
    assert heard.said["explain"] == "4 test slides"
    assert work["cut_patches"] == work["extract_features"] == work["open_slide"] == 0
    assert work["train"] == 2
    frame = pd.read_csv(config.out / "predictions.csv")
    assert len(frame) == 2 * PATIENTS
    metrics = result.metrics
    assert metrics is not None
    assert metrics["methods"]["dl-cnb"]["test"]["auc"]["value"] == 1.0
    record = json.loads((config.out / "models/dl-cnb/model.json").read_text(encoding="utf-8"))
    assert record["encoder"] == {
        "imported": True, "name": "uni_v1", "sources": ["trident"], "features": LENGTH,
    }  # fmt: skip
    assert record["architecture"]["features"] == LENGTH
    assert record["threshold"]["value"] is not None
    tests = frame[(frame["cohort"] == "test") & (frame["method"] == "dl-cnb")]["patient_id"]
    for patient in tests:
        table = pd.read_csv(config.out / f"attention/{patient}.csv")
        assert list(table.columns) == ["x", "y", "attention", "contribution"]
        np.testing.assert_array_equal(table[["x", "y"]], corners(len(table)))
        assert (config.out / f"heatmaps/{patient}.png").is_file()
        assert (config.out / f"heatmaps/{patient}-contribution.png").is_file()
        tiles = json.loads((config.out / f"attention/{patient}.geojson").read_text("utf-8"))
        assert len(tiles["features"]) == len(table)
        first = tiles["features"][0]
        assert first["geometry"]["coordinates"][0][2] == [512, 512]
        assert first["properties"]["measurements"]["Contribution"] == pytest.approx(
            table["contribution"].iloc[0]
        )
    text = (config.out / "report.html").read_text(encoding="utf-8")
    assert "Features of length 12 came ready from files of trident, made by uni_v1." in text
    assert "Features made elsewhere" in text
    assert "without coordinates" not in text
    assert "vgg16_bn" not in text


@pytest.mark.usefixtures("coarse_pictures")
def test_maps_with_ranks_a_scale_bar_and_an_overlay(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slide is not at hand: the overlay ends with its last patch, on the slide's own pixels."""
    drawn: list[dict[str, Any]] = []
    real = explaining_imported.draw_heatmap
    monkeypatch.setattr(
        "axilla.study.explaining_imported.draw_heatmap",
        lambda *args, **kwargs: (drawn.append(kwargs), real(*args, **kwargs)),
    )
    heatmaps = {"scale": "rank", "ome_tiff": True}
    config = config_of(settings, methods=("dl-cnb",), slide_mpp=0.5, heatmaps=heatmaps)
    run(config, until="explain")
    attention = drawn[::2]  # after each its contributions
    assert [(kwargs["mpp"], kwargs["limits"]) for kwargs in attention] == [(0.5, (0.0, 1.0))] * 4
    assert len(list((config.out / "heatmaps").glob("*-contribution.ome.tif"))) == 4
    paths = sorted((config.out / "heatmaps").glob("*-attention.ome.tif"))
    assert len(paths) == 4
    for path in paths:
        table = pd.read_csv(config.out / "attention" / f"{path.name.partition('-')[0]}.csv")
        with tifffile.TiffFile(path) as file:
            pixels = file.series[0].asarray()
            told = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
        # Patches of 512 px on their own grid: 16 pixels a patch.
        assert told["PhysicalSizeX"] == 32 * 0.5
        x, y = table[["x", "y"]].to_numpy().astype(int).T // 32 + 8
        np.testing.assert_array_equal(pixels[y, x], table["attention"].astype("f4"))


@pytest.mark.usefixtures("coarse_pictures")
def test_nothing_is_done_twice_and_a_changed_file_counts(
    settings: dict[str, Any], work: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(settings, methods=("dl-cnb",))
    run(config)
    read: Counter[str] = Counter()
    real = axilla.features.imported.read_slide_features

    def counted(path: Path, **kwargs: Any) -> Any:
        read[path.stem] += 1
        return real(path, **kwargs)

    monkeypatch.setattr("axilla.study.imported.read_slide_features", counted)
    work.clear()
    run(config)
    assert not read
    assert work["train"] == work["predict_patients"] == 0
    split = pd.read_csv(config.out / "split.csv").set_index("patient_id")["split"]
    patient = split.index[split == "train"][0]
    found = vectors(50)
    axilla.features_from_arrays(feats(settings), patient, found, encoder="uni_v1")
    run(config, until="train")
    assert work["train"] == 1
    assert patient in read


@pytest.mark.usefixtures("coarse_pictures")
def test_without_coordinates_there_is_no_heat_map_and_it_is_said(settings: dict[str, Any]) -> None:
    for i in range(PATIENTS):
        (feats(settings) / f"P{i:02d}.h5").unlink()
        torch.save(torch.from_numpy(vectors(i)), feats(settings) / f"P{i:02d}.pt")
    heard = Heard()
    config = config_of(settings, methods=("dl-cnb",))
    run(config, reporter=heard)
    assert heard.said["explain"] == (
        "4 test slides; no heat map of 4, whose files hold no coordinates"
    )
    assert heard.said["embed"].endswith("by an encoder that the files do not name")
    assert not (config.out / "heatmaps").exists()
    table = pd.read_csv(next((config.out / "attention").iterdir()))
    assert list(table.columns) == ["attention", "contribution"]
    text = (config.out / "report.html").read_text(encoding="utf-8")
    assert (
        "The features of 24 slides come without coordinates of their patches: no heat map can be "
        "drawn of them."
    ) in text


def cut(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def longer(path: Path) -> None:
    axilla.features_from_arrays(path.parent, path.stem, vectors(3, length=7), encoder="uni_v1")


def other_encoder(path: Path) -> None:
    axilla.features_from_arrays(path.parent, path.stem, vectors(3), encoder="virchow2")


def not_finite(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file["features"][0, 0] = np.nan


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (cut, "the file is cut short or no HDF5"),
        (not_finite, "the features of 1 patches are no finite numbers."),
        (longer, "the features have 7 numbers a patch, but most slides have 12."),
        (other_encoder, "the features are by virchow2, but most slides' are by uni_v1."),
        (Path.unlink, "there are no features of slide P03 (P03.h5 and P03.pt)."),
    ],
)
def test_a_wrong_file_names_patient_and_file(
    settings: dict[str, Any], spoil: Callable[[Path], None], cause: str
) -> None:
    path = feats(settings) / "P03.h5"
    spoil(path)
    config = config_of(settings, methods=("dl-cnb",), training={"epochs": 1, "restarts": None})
    problems = check(config)
    assert [(p.patient, p.fatal) for p in problems] == [("P03", False)]
    assert problems[0].cause.startswith(cause)
    assert problems[0].file == (path if path.is_file() else feats(settings))
    with pytest.raises(InputProblems):
        run(config, until="train")
    result = run(config, until="train", exclude_failed=True)
    assert len(result.cohort.patients) == PATIENTS - 1
    assert [(e.patient_id, e.step) for e in result.cohort.excluded] == [("P03", "check")]


def test_one_encoder_in_two_spellings(settings: dict[str, Any]) -> None:
    axilla.features_from_arrays(feats(settings), "P03", vectors(3), encoder="UNI-v1")
    assert check(config_of(settings)) == ()


def test_the_folder_above_the_features(settings: dict[str, Any]) -> None:
    (feats(settings).parent / "pt_files").mkdir()
    (problem,) = check(config_of(settings, features={"folder": feats(settings).parent}))
    assert problem.fatal
    assert problem.cause == (
        f"the folder holds no features itself, but the folders in it do: {feats(settings).name}."
    )
    assert problem.file == feats(settings).parent


def test_the_same_features_of_two_patients_are_told_of_both(settings: dict[str, Any]) -> None:
    (feats(settings) / "P05.h5").write_bytes((feats(settings) / "P02.h5").read_bytes())
    problems = check(config_of(settings))
    assert [(p.patient, p.code) for p in problems] == [
        ("P02", "duplicate-slide"),
        ("P05", "duplicate-slide"),
    ]
    assert problems[0].cause == (
        "the slide P02 holds the same features, byte for byte, as slide P05 of patient P05."
    )


def test_two_files_of_one_slide(settings: dict[str, Any]) -> None:
    torch.save(torch.from_numpy(vectors(3)), feats(settings) / "P03.pt")
    problems = check(config_of(settings))
    assert [p.cause for p in problems] == [
        "the slide P03 has several files of features: P03.h5 and P03.pt."
    ]
    # A tensor's file says no encoder, and that is not another one.
    (feats(settings) / "P03.h5").unlink()
    assert not check(config_of(settings))


def test_a_model_refuses_features_of_another_length_or_encoder(settings: dict[str, Any]) -> None:
    config = config_of(settings, methods=("dl-cnb",), training={"epochs": 1, "restarts": None})
    result = run(config, until="train")
    fitting = Fitting(
        config=config, cohort=result.cohort, partitions=result.partitions, slides=None,
        slide_keys={},
    )  # fmt: skip
    bundle = load_bundle(fitting, "dl-cnb", result.partitions[0])
    same, _ = check_imported(result.cohort, config=config, reporter=Silent())
    refuse_other_features(bundle, same)

    def anew(**changes: Any) -> Any:
        for i in range(PATIENTS):
            length = changes.get("length", LENGTH)
            encoder = changes.get("encoder", "uni_v1")
            axilla.features_from_arrays(
                feats(settings), f"P{i:02d}", vectors(i, length=length), encoder=encoder
            )
        return check_imported(result.cohort, config=config, reporter=Silent())[0]

    refuse_other_features(bundle, anew(encoder="UNI v1"))  # as another program spells it
    with pytest.raises(FeaturesError, match="by uni_v1, but these were made by conch"):
        refuse_other_features(bundle, anew(encoder="conch"))
    with pytest.raises(
        FeaturesError, match="trained on features of length 12 by uni_v1, but these have 7 numbers"
    ):
        refuse_other_features(bundle, anew(length=7))


class TestTheStudyFile:
    def write(self, settings: dict[str, Any], **changes: Any) -> Path:
        raw = {k: str(v) if isinstance(v, Path) else v for k, v in settings.items()}
        raw |= {"methods": ["dl-cnb"], "features": "feats", "out": "out"} | changes
        path: Path = settings["cohort"].parent / "study.yaml"
        path.write_text(yaml.safe_dump(raw), encoding="utf-8")
        return path

    def test_a_folder_alone_or_with_its_format(self, settings: dict[str, Any]) -> None:
        short = load_config(self.write(settings))
        long = load_config(self.write(settings, features={"folder": "feats", "format": "trident"}))
        assert short.features is not None
        assert long.features is not None
        assert short.features.folder == long.features.folder == feats(settings)
        assert (short.features.format, long.features.format) == ("auto", "trident")

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"slides": "slides"}, "slides: are not read where features: were made elsewhere"),
            (
                {"encoder": {"name": "small_cnn", "weights": "none", "trainable": True}},
                "features: were made elsewhere, so there is no encoder to train",
            ),
            ({"features": {"folder": "feats", "format": "tridnt"}}, "did you mean `trident`?"),
            ({"features": {"foldr": "feats"}}, "unknown key `features.foldr`"),
        ],
    )
    def test_what_does_not_go_together(
        self, settings: dict[str, Any], changes: dict[str, Any], sentence: str
    ) -> None:
        with pytest.raises(ValueError, match=r"study\.yaml") as caught:
            load_config(self.write(settings, **changes))
        assert sentence in str(caught.value)

    def test_a_folder_that_is_not_there(self, settings: dict[str, Any]) -> None:
        problems = check(config_of(settings, features={"folder": Path("nowhere")}))
        assert [str(p) for p in problems] == [
            "nowhere: there is no such folder. Set `features:` to the folder of features."
        ]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_our_own_features_cut_in_the_middle(tmp_path: Path, share: float) -> None:
    path = tmp_path / "s.h5"
    value = store.Features(vectors(1), corners(11).astype(np.int32), "resnet50", "d", 256, None)
    store.write_features(path, value, key="k")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    # No key: `embed` computes the slide anew; who reads it before is told what to do.
    assert store.read_features_key(path) is None
    with pytest.raises(StoreError) as caught:
        store.read_features(path)
    assert "Delete the file and run `axilla embed study.yaml`." in str(caught.value)


def test_a_timm_encoder_in_a_study(plain_study: Callable[..., dict[str, Any]]) -> None:
    names = [f"P{i}" for i in range(10)]
    settings = plain_study([f"{n},50,2,a,b,c,{i % 2}" for i, n in enumerate(names)], names)
    encoder = {"name": "timm:test_vit", "weights": "none"}
    config = StudyConfig.model_validate(settings | {"encoder": encoder})
    run(config, until="train")
    with h5py.File(config.out / "features" / "timm-test_vit" / "P0.h5") as file:
        assert file.attrs["encoder"] == "timm:test_vit"
        assert file["features"].shape == (16, 64)
        assert np.isfinite(file["features"][()]).all()


@pytest.mark.usefixtures("coarse_pictures")
def test_one_case_without_slides(settings: dict[str, Any]) -> None:
    feats = settings["features"]["folder"]
    for i in range(2):  # in the place of the files with coordinates
        (path,) = feats.glob(f"P{i:02d}*")
        path.unlink()
        axilla.features_from_arrays(feats, f"P{i:02d}", vectors(i), encoder="uni_v1")
    config = config_of(settings, methods=("dl-cnb",))
    for patient, maps in (("P05", 2), ("P01", 0)):
        page = run(config, until="explain", case=Case(patient)).case
        assert page is not None
        text = page.read_text(encoding="utf-8")
        assert text.count("<img ") == maps
        assert ("holds no coordinates" in text) == (not maps)
        told = json.loads(page.with_suffix(".json").read_text(encoding="utf-8"))
        assert told["slides"][0]["patches"] == len(vectors(int(patient[1:])))
    assert {path.name for path in config.out.glob("explained/*.html")} == {"P05.html", "P01.html"}
