"""A bundle applied to slides elsewhere: the scores of its own study, and every refusal."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from safetensors.numpy import load_file, save_file
from torch import nn

from axilla.core import store
from axilla.core.cohort import read_cohort
from axilla.core.errors import (
    AxillaError,
    ConfigError,
    FeaturesError,
    InputProblems,
    StoreError,
    WeightsError,
)
from axilla.core.progress import Silent
from axilla.deploy.applying import Application, apply_model, clinical_columns, config_of
from axilla.deploy.case_inputs import CaseInput
from axilla.deploy.loading import load_model
from axilla.deploy.predicting import CaseResult, predict_case
from axilla.study.bundles import read_bundle
from axilla.study.chain import StudyResult, run
from axilla.study.checkpoints import import_checkpoint
from axilla.study.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from axilla.core.config import StudyConfig

Study = tuple["StudyConfig", StudyResult]


def model(study: Study, method: str) -> Path:
    return Layout(study[0].out).model(method, "split")


def apply(folder: Path, base: StudyConfig, out: Path, **more: Any) -> Application:
    bundle = read_bundle(folder)
    weights = more.pop("encoder_weights", None)
    config = config_of(bundle.record, base=base, encoder_weights=weights, out=out)
    cohort = read_cohort(config).cohort
    return apply_model(bundle, cohort, config=config, reporter=Silent(), **more)


def expected(study: Study, method: str) -> pd.Series[float]:
    table = store.read_predictions(Layout(study[0].out).predictions)
    rows = table[(table["method"] == method) & (table["cohort"] == "test")]
    return rows.set_index("patient_id")["score"]


@pytest.mark.parametrize("method", ["clinical", "dl-cnb", "dl-cnb+c"])
def test_the_scores_are_those_of_the_study(
    trained: Study,
    elsewhere: Callable[..., StudyConfig],
    weights: Path,
    tmp_path: Path,
    method: str,
) -> None:
    given = None if method == "clinical" else weights
    found = apply(model(trained, method), elsewhere(), tmp_path / "out", encoder_weights=given)
    own = expected(trained, method)
    assert len(own) == 6
    scores = found.scores()
    # The target of the stain is the training slides', whom this place never saw.
    assert {p: float(score.mean[1]) for p, score in scores.items()} == dict(own)
    rows = found.predictions()
    assert {p.patient_id: p.scores[1] for p in rows} == dict(own)
    assert {p.cohort for p in rows} == {"test"}
    if method != "clinical":
        assert all(score.spread is not None for score in scores.values())


def test_an_encoder_within_the_bundle(
    trained_whole: Study, elsewhere: Callable[..., StudyConfig], tmp_path: Path
) -> None:
    found = apply(model(trained_whole, "dl-cnb"), elsewhere(), tmp_path / "out")
    own = expected(trained_whole, "dl-cnb")
    assert {p: float(score.mean[1]) for p, score in found.scores().items()} == dict(own)
    assert found.tiles is not None
    assert not (tmp_path / "out" / "features").exists()


def test_what_is_done_is_not_done_again(
    trained: Study, elsewhere: Callable[..., StudyConfig], weights: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    base = elsewhere()
    first = apply(model(trained, "dl-cnb"), base, tmp_path / "out", encoder_weights=weights)
    scores = {p: s.mean.tolist() for p, s in first.scores().items()}
    monkeypatch.delattr("axilla.study.tiling.cut_patches")
    monkeypatch.delattr("axilla.study.embedding._extract_features")
    again = apply(model(trained, "dl-cnb+c"), base, tmp_path / "out", encoder_weights=weights)
    assert len(again.scores()) == len(scores)


def test_the_model_says_how_it_is_computed(
    trained: Study, elsewhere: Callable[..., StudyConfig], weights: Path, tmp_path: Path
) -> None:
    record = store.read_model_record(model(trained, "dl-cnb+c"))
    base = elsewhere(
        patches={"size": 64},
        bags={"size": 3},
        clinical={"numeric": ["age", {"name": "tumor_size_cm", "max": 12}], "missing": "impute"},
        training={"seed": 1},
        regions="tissue",
        slide_mpp=0.5,
    )
    config = config_of(record, base=base, encoder_weights=weights, out=tmp_path)
    assert (config.patches.size, config.bags.size, config.methods) == (32, 5, ("dl-cnb+c",))
    assert config.training.seed == trained[0].training.seed
    assert config.clinical.missing == "refuse"
    assert config.clinical.numeric[1].max == 12, "the user's own range of the model's column"
    assert (config.regions, config.slide_mpp, config.out) == ("tissue", 0.5, tmp_path)
    assert config.stain is not None
    alone = config_of(record, base=None, encoder_weights=weights, out=tmp_path)
    assert (alone.patches, alone.bags, alone.endpoint) == (
        config.patches,
        config.bags,
        "n0-vs-npos",
    )
    assert clinical_columns(read_bundle(model(trained, "clinical"))) == alone.clinical.names


def test_a_column_named_otherwise_with_the_same_classes(
    trained: Study, elsewhere: Callable[..., StudyConfig], tmp_path: Path
) -> None:
    record = store.read_model_record(model(trained, "clinical"))
    other = {"column": "axilla", "negative": "N0", "positive": "N(+)"}
    config = config_of(record, base=elsewhere(endpoint=other), encoder_weights=None, out=tmp_path)
    assert config.endpoint != "n0-vs-npos"


def test_another_endpoint_is_refused(
    trained: Study, elsewhere: Callable[..., StudyConfig], tmp_path: Path
) -> None:
    record = store.read_model_record(model(trained, "clinical"))
    base = elsewhere(endpoint="n0-vs-n3plus")
    with pytest.raises(ConfigError, match=r"predicts N0 against N\(\+\), but the study asks for"):
        config_of(record, base=base, encoder_weights=None, out=tmp_path)


def test_weights_of_a_file_are_asked_for_and_compared(
    trained: Study, elsewhere: Callable[..., StudyConfig], weights: Path, tmp_path: Path
) -> None:
    folder, base = model(trained, "dl-cnb"), elsewhere()
    with pytest.raises(WeightsError, match=r"file small_cnn\.safetensors, which the model's fol"):
        apply(folder, base, tmp_path / "out")
    other = tmp_path / "other.safetensors"
    tensors = load_file(weights)
    name = next(iter(tensors))
    save_file(tensors | {name: tensors[name] + 1}, other)
    with pytest.raises(WeightsError, match="not the weights that the model was trained with"):
        apply(folder, base, tmp_path / "out", encoder_weights=other)
    # The study may name the file too; under another name it is the same.
    shutil.copy(weights, tmp_path / "renamed.safetensors")
    named = base.model_copy(
        update={"encoder": {"name": "small_cnn", "weights": str(tmp_path / "renamed.safetensors")}}
    )
    named = type(base).model_validate(named.model_dump(warnings=False))
    assert len(apply(folder, named, tmp_path / "out").scores()) == 6


def test_weights_that_are_not_needed_are_refused(
    trained_whole: Study, elsewhere: Callable[..., StudyConfig], weights: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="it holds its encoder"):
        apply(
            model(trained_whole, "dl-cnb"), elsewhere(), tmp_path / "out", encoder_weights=weights
        )


def test_all_that_is_wrong_is_told_at_once(
    trained: Study, elsewhere: Callable[..., StudyConfig], weights: Path, tmp_path: Path
) -> None:
    base = elsewhere()
    table = pd.read_csv(base.cohort, dtype=str, keep_default_na=False)
    strange, broken = table["patient_id"].iloc[:2]
    table.loc[0, "er"] = "perhaps"
    table.to_csv(base.cohort, index=False)
    (slide,) = base.slides.glob(f"{broken}.*")  # type: ignore[union-attr]
    slide.write_bytes(b"no slide")
    folder = model(trained, "dl-cnb+c")
    with pytest.raises(InputProblems) as told:
        apply(folder, base, tmp_path / "out", encoder_weights=weights)
    by_patient = {problem.patient: problem for problem in told.value.problems}
    assert set(by_patient) == {strange, broken}
    assert "`er` is 'perhaps', which no training patient had" in by_patient[strange].cause
    left = apply(folder, base, tmp_path / "out", encoder_weights=weights, exclude_failed=True)
    assert {e.patient_id for e in left.cohort.excluded} == {strange, broken}
    assert len(left.scores()) == 4


def test_a_record_that_this_version_does_not_know(
    trained: Study, elsewhere: Callable[..., StudyConfig], weights: Path, tmp_path: Path
) -> None:
    record = store.read_model_record(model(trained, "dl-cnb"))
    for changes, said in (
        ({"patches": {"size": 32, "shape": "hexagon"}}, "shape"),
        ({"method": "dl-cnb-hyena"}, "dl-cnb-hyena"),
    ):
        with pytest.raises(AxillaError, match=said) as told:
            config_of(record | changes, base=None, encoder_weights=weights, out=tmp_path)
        assert "Update axilla" in str(told.value), told.value
        assert isinstance(told.value, StoreError)


def test_a_model_of_nuclei_is_refused_with_a_reason(trained: Study, tmp_path: Path) -> None:
    record = store.read_model_record(model(trained, "dl-cnb"))
    with pytest.raises(ConfigError, match="does not hold how they were found"):
        config_of(
            record | {"method": "dl-cnb-nuclei"}, base=None, encoder_weights=None, out=tmp_path
        )


@pytest.fixture(scope="module")
def trained_on_features(
    trained: Study, settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Study:
    """The study of the features that `embed` wrote, as if they came from elsewhere."""
    folder = tmp_path_factory.mktemp("features")
    shutil.copytree(Layout(trained[0].out).features("small_cnn", "x").parent, folder / "h5")
    own = {n: v for n, v in settings.items() if n not in {"slides", "annotations", "regions"}}
    config = type(trained[0]).model_validate(
        own
        | {
            "features": {"folder": folder / "h5"}, "stain": None, "encoder": {},
            "methods": ["dl-cnb"], "out": folder / "out",
        }
    )  # fmt: skip
    return config, run(config, until="predict")


def test_features_made_elsewhere(
    trained: Study, trained_on_features: Study, elsewhere: Callable[..., StudyConfig],
    tmp_path: Path,
) -> None:  # fmt: skip
    base = elsewhere()
    given = {n: v for n, v in base.model_dump().items() if n not in {"slides", "annotations"}}
    there = trained_on_features[0].features
    with_features = type(base).model_validate(given | {"features": there})
    folder = model(trained_on_features, "dl-cnb")
    found = apply(folder, with_features, tmp_path / "out")
    own = expected(trained_on_features, "dl-cnb")
    assert {p: float(s.mean[1]) for p, s in found.scores().items()} == dict(own)
    with pytest.raises(ConfigError, match="takes features made elsewhere"):
        apply(folder, base, tmp_path / "out")
    case = predict_case(
        load_model(folder),
        CaseInput((there.folder / f"{own.index[0]}.h5",)),  # type: ignore[union-attr]
    )
    assert case.record.probability["N(+)"] == pytest.approx(own.iloc[0], abs=1e-7)
    assert len(case.record.slides[0].top_patches) == 8
    check_drawn_on_white(case, store.read_features(there.folder / f"{own.index[0]}.h5").coords)  # type: ignore[union-attr]
    # A model of our own features takes them from files too: they are of the same encoder.
    same = apply(model(trained, "dl-cnb"), with_features, tmp_path / "other")
    scores = np.array([s.mean[1] for s in same.scores().values()])
    assert scores == pytest.approx(expected(trained, "dl-cnb").to_numpy(), abs=1e-12)
    wrong = store.read_features(Layout(trained[0].out).features("small_cnn", own.index[0]))
    short = tmp_path / "short"
    for patient in own.index:
        value = store.Features(
            wrong.features[:, :7], wrong.coords, wrong.encoder, "0", wrong.patch_size, wrong.mpp
        )
        store.write_features(short / f"{patient}.h5", value, key="k")
    with pytest.raises(FeaturesError, match="these have 7 numbers a patch"):
        apply(
            folder,
            type(base).model_validate(given | {"features": {"folder": short}}),
            tmp_path / "short-out",
        )


def check_drawn_on_white(case: CaseResult, coords: NDArray[Any]) -> None:
    """Maps and QuPath's tiles of features have every patch in its place, and no slide."""
    (name,), (slide,) = case.tiles, case.maps
    tiles = json.loads(case.tiles[name])["features"]
    corners = [np.min(tile["geometry"]["coordinates"][0], axis=0).tolist() for tile in tiles]
    assert corners == coords.tolist()
    told = [tile["properties"]["measurements"]["Attention"] for tile in tiles]
    assert told == pytest.approx(slide.values["attention"].tolist(), nan_ok=True)
    assert [found.name for found in slide.maps] == ["attention", "contribution"]
    side = np.ptp(tiles[0]["geometry"]["coordinates"][0], axis=0)[0]
    for found in slide.maps:
        pixels = cv2.imdecode(np.frombuffer(found.jpeg, np.uint8), cv2.IMREAD_COLOR)
        scale = pixels.shape[1] / float(np.ptp(coords[:, 0]) + side)
        middles = ((coords - coords.min(axis=0) + side / 2) * scale).astype(int)
        drawn = np.zeros(pixels.shape[:2], dtype=bool)
        for x, y in middles:
            half = int(side * scale / 2) + 16  # JPEG smears over a block
            drawn[max(y - half, 0) : y + half, max(x - half, 0) : x + half] = True
            assert pixels[y, x].min() < 250, "a patch has its colour"
        assert pixels[~drawn].min() > 240, "between patches it is white"


def write_checkpoint(path: Path) -> None:
    """A file such as the authors' `best.pth` of DL-CNB+C, its weights drawn."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        body = torchvision.models.resnet50(weights=None)
        parts = nn.ModuleDict(
            {
                "image_feature_extractor": nn.ModuleDict(
                    {"extractor": nn.Sequential(*list(body.children())[:-1])}
                ),
                "attention_aggregator": nn.ModuleDict(
                    {
                        "fc1": nn.Sequential(nn.Linear(2048, 256)),
                        "attention": nn.Sequential(
                            nn.Linear(256, 1), nn.Dropout(), nn.Tanh(), nn.Linear(1, 1)
                        ),
                    }
                ),
                "classifier": nn.Sequential(nn.Linear(306, 64), nn.ReLU(), nn.Linear(64, 2)),
            }
        )
    torch.save(parts.state_dict(), path)


def test_an_imported_checkpoint_of_the_authors(
    elsewhere: Callable[..., StudyConfig], tmp_path: Path
) -> None:
    write_checkpoint(tmp_path / "best.pth")
    base = elsewhere(regions="whole", annotations=None)
    table = pd.read_csv(base.cohort, dtype=str).head(1)
    table.to_csv(base.cohort, index=False)
    (patient_id,) = table["patient_id"]
    (slide,) = base.slides.glob(f"{patient_id}.*")  # type: ignore[union-attr]
    slide.unlink()
    rng = np.random.default_rng(0)
    grain = rng.integers(60, 200, (256, 768, 3), dtype=np.uint8)
    cv2.imwrite(str(slide.with_suffix(".png")), grain)
    scores = {}
    for way in ("running", "batch"):
        folder = tmp_path / way
        import_checkpoint(
            tmp_path / "best.pth", encoder="resnet50", clinical=True, batch_norm=way, out=folder
        )
        found = apply(folder, base, tmp_path / f"out-{way}")
        network = found.bundle.network
        assert network is not None
        assert found.fitting.slides is not None
        reads = found.bundle.preprocessor
        assert reads is not None
        scores[way] = found.scores()[patient_id].mean
        (patient,) = found.cohort.patients
        patches = np.asarray(found.fitting.slides[patient_id])
        assert len(patches) == 3, "all in one bag, whatever was drawn"
        with torch.inference_mode():
            bag = torch.from_numpy(patches).permute(0, 3, 1, 2)
            vector = torch.from_numpy(reads.transform([patient])).float()
            own = network(bag, [len(bag)], vector).logits.double().softmax(1).numpy()[0]
        assert scores[way] == pytest.approx(own, abs=2e-3)
    assert scores["batch"][1] != scores["running"][1]
    values = {n: table[n].iloc[0] for n in ("age", "tumor_size_cm", "er", "pr", "her2")}
    case = CaseInput((slide.with_suffix(".png"),), (), values, regions="whole")
    found = predict_case(load_model(tmp_path / "batch"), case)
    assert found.record.probability["N(+)"] == pytest.approx(scores["batch"][1], abs=1e-6)
    assert {"distance_unknown", "mpp_unknown"} <= {w.code for w in found.record.warnings}
    assert found.record.log_odds is not None
    assert "most frequent categories" in str(found.record.log_odds.reason)
    assert set(found.maps[0].values) == {"attention"}, "a patch left out would change the others"
