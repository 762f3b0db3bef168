"""What a model's record says of its training cohort, through the chain; earlier records completed.

Features are made here, 8 to 40 numbers a patch; nobody is a patient.
"""

from __future__ import annotations

import json
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file

from axilla.analysis import reference_distance
from axilla.analysis.recalibration import fit_recalibration
from axilla.core import store
from axilla.core.config import StudyConfig
from axilla.study import completing
from axilla.study.chain import StudyResult, run
from axilla.study.instances import SlideArrays
from axilla.study.model_card import CARD
from axilla.study.reference import MOST_PATCHES, SEED, distance_of

PATIENTS, LENGTH = 120, 40
ODD = {"age": (3.14159265 * 9, 88.81234567), "tumor_size_cm": (0.51234567, 9.87654321)}
"""The lowest and the highest value of each column, each of one training patient."""
Make = Callable[..., StudyConfig]
Again = Callable[..., StudyConfig]
Downgrade = Callable[[StudyConfig], None]
Study = tuple[StudyConfig, StudyResult]


def positive(place: int) -> int:
    """Of four and four patients."""
    return place // 4 % 2


def vectors(patient: int) -> NDArray[np.float32]:
    """Patches of a patient; those of who is N(+) lie a little apart."""
    rng = np.random.default_rng(patient)
    own = rng.normal(size=LENGTH) + 0.3 * positive(patient)
    return (own + rng.normal(size=(10 + patient % 7, LENGTH))).astype(np.float32)


def cohort_of(place: int) -> str:
    """80 train, 30 validate, 10 are tested."""
    return "test" if place % 12 == 0 else "val" if place % 4 == 1 else "train"


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cohort")
    (folder / "f").mkdir()
    rng = np.random.default_rng(1)
    rows = []
    for i in range(PATIENTS):
        torch.save(torch.from_numpy(vectors(i)), folder / "f" / f"slide-{i:03}.pt")
        rows.append(
            {
                "patient_id": f"secret-{i:03}", "slide_id": f"slide-{i:03}", "nodes": positive(i),
                "age": round(rng.uniform(30, 65) + 15 * positive(i), 7), "given": cohort_of(i),
                "tumor_size_cm": round(rng.uniform(0.6, 6), 7), "er": "positive",
            }
        )  # fmt: skip
    trains = [row for row in rows if row["given"] == "train"]
    for column, (least, most) in ODD.items():
        trains[3][column], trains[10][column] = least, most
    pd.DataFrame(rows).to_csv(folder / "cohort.csv", index=False)
    return folder / "cohort.csv"


@pytest.fixture(scope="module")
def make(table: Path) -> Make:
    def of(out: Path, **changes: Any) -> StudyConfig:
        settings: dict[str, Any] = {
            "cohort": table, "features": {"folder": table.parent / "f"}, "endpoint": "n0-vs-npos",
            "methods": ["clinical", "clinical-boosting", "dl-cnb", "dl-cnb+c"],
            "split": {"column": "given"}, "bags": {"size": 5},
            "clinical": {"numeric": ["age", "tumor_size_cm"], "categorical": ["er"]},
            "training": {"epochs": 5, "lr": 0.003, "restarts": None}, "out": out,
        }  # fmt: skip
        return StudyConfig.model_validate(settings | changes)

    return of


@pytest.fixture(scope="module")
def whole(make: Make, tmp_path_factory: pytest.TempPathFactory) -> StudyConfig:
    """Run once; not to be changed."""
    config = make(tmp_path_factory.mktemp("whole") / "out")
    run(config, until="predict")
    return config


def record_of(config: StudyConfig, method: str = "dl-cnb") -> dict[str, Any]:
    return store.read_model_record(config.out / "models" / method)


def trained(table: Path) -> pd.DataFrame:
    frame: pd.DataFrame = pd.read_csv(table)
    return frame[frame["given"] == "train"]


def test_the_training_cohort_in_ranges(whole: StudyConfig, table: Path) -> None:
    rows = trained(table)
    summary = record_of(whole)["training_cohort"]
    assert summary["patients"] == len(rows) == 80
    for column in ODD:
        values = np.sort(rows[column].to_numpy())
        told = summary["numbers"][column]
        assert told["low"] == pytest.approx(values[:10].mean())
        assert told["high"] == pytest.approx(values[-10:].mean())
    patches = np.sort([10 + int(name[-3:]) % 7 for name in rows["slide_id"]])
    assert summary["patches"] == {
        "median": pytest.approx(patches[35:45].mean()),
        "low": pytest.approx(patches[:10].mean()), "high": pytest.approx(patches[-10:].mean()),
    }  # fmt: skip
    assert summary["slide_mpp"] is None, "files of features do not say it"
    for method in ("clinical", "clinical-boosting"):
        told = record_of(whole, method)["training_cohort"]
        assert told == summary | {"patches": None}
        assert record_of(whole, method).get("reference") is None


def test_the_distance_is_of_the_training_patients_mean_vectors(
    whole: StudyConfig, table: Path
) -> None:
    record = record_of(whole)
    told = record["reference"]
    assert (told["patients"], told["patches"], told["member"]) == (80, MOST_PATCHES, None)
    assert told["reason"] is None
    found = distance_of(record)
    assert found is not None
    means = np.stack(
        [vectors(int(n[-3:])).astype(float).mean(axis=0) for n in trained(table)["slide_id"]]
    )
    oracle = reference_distance.fit_reference(
        reference_distance.project(means, seed=SEED), features=LENGTH, seed=SEED
    )
    np.testing.assert_allclose(found.mean, oracle.mean)
    np.testing.assert_allclose(found.factor, oracle.factor)
    assert found.quantiles == pytest.approx(oracle.quantiles)
    assert found.distance(means.mean(axis=0)) < found.quantiles["0.5"]
    assert found.beyond(found.distance(means[0] + 20)) == "0.95"
    assert record_of(whole, "dl-cnb+c")["reference"] == told


def test_the_recalibration_is_platt_s_on_validation_and_changes_no_score(
    whole: StudyConfig,
) -> None:
    frame = store.read_predictions(whole.out / "predictions.csv")
    for method, rows in frame[frame["cohort"] == "val"].groupby("method"):
        record = record_of(whole, str(method))
        told = record["calibration"]
        fit = fit_recalibration(rows["label"], rows["score"], method="platt")
        assert told == {"on": "validation", **fit.to_json()}
        assert told["n"] == len(rows) == 30
        assert record["threshold"]["value"] in set(rows["score"]) | set(
            np.convolve(np.sort(rows["score"]), [0.5, 0.5], "valid")
        )


def test_the_card_tells_of_them(whole: StudyConfig) -> None:
    card = (whole.out / "models" / "dl-cnb+c" / CARD).read_text(encoding="utf-8")
    record = record_of(whole, "dl-cnb+c")
    edge = record["reference"]["distance"]["quantiles"]["0.95"]
    for said in (
        f"of patients like the 80 of training, 95% lie within a distance of {edge:.2f} (rough: 300",
        "A risk recalibrated on 30 validation patients, 15 of them N(+), may be shown beside it",
        "Kept patches a patient: median 13", "(means of the ten lowest and the ten highest)",
    ):  # fmt: skip
        assert said in card
    assert "µm per pixel" not in card


def opened(config: StudyConfig, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Slides whose features training asks for."""
    seen: set[str] = set()
    real = SlideArrays.__getitem__

    def get(self: SlideArrays, slide_id: str) -> Any:
        seen.add(slide_id)
        return real(self, slide_id)

    monkeypatch.setattr(SlideArrays, "__getitem__", get)
    run(config, until="train")
    return seen


def test_no_slide_of_the_test_cohort_is_read(
    make: Make, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make(tmp_path / "out", methods=["dl-cnb"])
    seen = opened(config, monkeypatch)
    rows = pd.read_csv(table)
    assert seen == set(rows.loc[rows["given"] != "test", "slide_id"])
    assert record_of(config)["reference"]["distance"] is not None


def contents(config: StudyConfig) -> dict[str, Any]:
    folder = config.out / "models"
    files = {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    return {
        str(name): json.loads(content) if name.name == "model.json" else content
        for name, content in files.items()
    }


def test_finished_models_of_an_earlier_version_are_completed_without_training(
    whole: StudyConfig, again: Again, work: Counter[str], downgrade: Downgrade
) -> None:
    config = again(whole)
    downgrade(config)
    before = store.read_predictions(config.out / "predictions.csv")
    assert record_of(config)["schema"] == 2
    run(config, until="predict")
    assert work["train"] == work["fit_logistic"] == 0
    assert contents(config) == contents(whole)
    pd.testing.assert_frame_equal(before, store.read_predictions(config.out / "predictions.csv"))
    work.clear()
    written = {p: p.stat().st_mtime_ns for p in config.out.rglob("*.*")}
    run(config, until="predict")
    assert work == Counter()
    assert {p: p.stat().st_mtime_ns for p in config.out.rglob("*.*")} == written


@pytest.mark.parametrize("own", [False, True])
def test_ranges_that_told_of_single_patients_are_replaced_without_training(
    whole: StudyConfig, again: Again, work: Counter[str], *, own: bool
) -> None:
    config = again(whole)
    older = {"version": 2, "ranges": [[31.5, 77.25], [0.5, 4.5]]}
    for path in (config.out / "models").rglob("model.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["clinical"] is None:
            continue
        first = record["members"][0] if own else record
        first["clinical"] = {**record["clinical"], **older}
        del first["clinical"]["centiles"]
        path.write_text(json.dumps(record), encoding="utf-8")
    run(config, until="predict")
    assert work["train"] == work["fit_logistic"] == 0
    found = contents(config)
    assert "77.25" not in json.dumps({n: v for n, v in found.items() if n.endswith(".json")})
    if not own:
        assert found == contents(whole)


def test_another_threshold_keeps_all_of_it(
    whole: StudyConfig, again: Again, work: Counter[str]
) -> None:
    config = again(whole, threshold=0.4)
    run(config, until="train")
    assert work["train"] == 0
    for method in config.methods:
        was, now = record_of(whole, method), record_of(config, method)
        assert now["threshold"]["value"] == 0.4
        for name in ("reference", "calibration", "training_cohort", "key", "weights_sha256"):
            assert now.get(name) == was.get(name)


def test_weights_keys_and_scores_are_the_same_without_it(
    whole: StudyConfig, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(*_: Any, **__: Any) -> None:
        return None

    monkeypatch.setattr(completing, "cohort_reference", nothing)
    monkeypatch.setattr("axilla.study.locking._calibration", nothing)
    config = make(tmp_path / "out")
    run(config, until="predict")
    for method in config.methods:
        was, now = (c.out / "models" / method for c in (whole, config))
        weights = "model.safetensors"
        assert (now / weights).read_bytes() == (was / weights).read_bytes()
        assert record_of(config, method)["key"] == record_of(whole, method)["key"]
        assert record_of(config, method).get("reference") is None
        assert record_of(config, method)["calibration"] is None
    scores = "predictions.csv"
    assert (config.out / scores).read_bytes() == (whole.out / scores).read_bytes()


def numbers(value: Any) -> Iterator[float]:
    """Every number of a JSON value."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from numbers(part)
    elif isinstance(value, int | float):
        yield float(value)


def lists(value: Any) -> Iterator[list[float]]:
    """Every list of numbers of a JSON value."""
    if isinstance(value, dict):
        value = list(value.values())
    elif isinstance(value, list) and value and all(isinstance(v, int | float) for v in value):
        yield value
    if isinstance(value, list):
        for part in value:
            yield from lists(part)


def test_no_patient_can_be_found_in_a_bundle(whole: StudyConfig, table: Path) -> None:
    """No id, no clinical value, no lowest or highest one, no feature vector."""
    everybody = pd.read_csv(table, dtype={"age": str, "tumor_size_cm": str})
    means = np.stack([vectors(i).astype(float).mean(axis=0) for i in range(PATIENTS)])
    known = {LENGTH: means, 32: reference_distance.project(means, seed=SEED)}
    for method in whole.methods:
        folder = whole.out / "models" / method
        text = (folder / "model.json").read_text(encoding="utf-8")
        weights = (folder / "model.safetensors").read_bytes()
        for name in (*everybody["patient_id"], *everybody["slide_id"]):
            assert name not in text
            assert name.encode() not in weights
        told = np.array(sorted(numbers(json.loads(text))))
        for column, odd in ODD.items():
            for value in everybody[column]:
                assert value not in text, column
                assert np.abs(told - float(value)).min() > 1e-9
            for value in odd:
                for kind in ("<d", "<f"):
                    assert struct.pack(kind, value) not in weights
        rows = [np.array(row) for row in lists(json.loads(text))]
        for tensor in load_file(folder / "model.safetensors").values():
            rows += [*tensor.reshape(-1, tensor.shape[-1] if tensor.ndim else 1).astype(float)]
        for row in rows:
            if len(row) in known:
                assert np.linalg.norm(known[len(row)] - row, axis=1).min() > 0.5


def test_the_ensemble_of_folds_has_one_of_everybody_s_features(
    make: Make, tmp_path: Path, downgrade: Downgrade
) -> None:
    config = make(
        tmp_path / "out", split={"folds": 2, "validation": 0.5}, methods=["clinical", "dl-cnb"]
    )
    run(config, until="train")
    folder = config.out / "models" / "dl-cnb"
    whole, fold = (store.read_model_record(folder / n) for n in ("ensemble", "repeat0-fold0"))
    assert whole["reference"]["patients"] == 120
    assert whole["training_cohort"]["patches"]["median"] == pytest.approx(13, abs=0.5)
    assert fold["reference"]["patients"] == sum(fold["patients"]["train"].values()) == 30
    distance = distance_of(whole)
    assert distance is not None
    means = np.stack([vectors(i).astype(float).mean(axis=0) for i in range(PATIENTS)])
    projected = reference_distance.project(means, seed=SEED)
    np.testing.assert_allclose(distance.mean, projected.mean(axis=0))
    assert whole["calibration"] is None
    assert fold["calibration"] is not None
    downgrade(config)
    run(config, until="train")
    assert store.read_model_record(folder / "ensemble") == whole
    clinical = folder.parent / "clinical" / "ensemble" / "model.json"
    record = json.loads(clinical.read_text(encoding="utf-8"))
    centiles = record["clinical"] | {"version": 2, "ranges": [[31.5, 77.25], [0.5, 4.5]]}
    clinical.write_text(json.dumps(record | {"clinical": centiles}), encoding="utf-8")
    run(config, until="train")
    assert json.loads(clinical.read_text(encoding="utf-8")) == record
