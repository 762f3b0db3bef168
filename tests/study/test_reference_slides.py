"""The reference of studies that read slides, and the sums behind what a record says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from axilla.analysis import reference_distance
from axilla.core import store
from axilla.core.config import StudyConfig
from axilla.study import reference
from axilla.study.chain import StudyResult, run
from axilla.study.model_card import CARD
from axilla.study.reference import MOST_PATCHES, SEED, distance_of, patient_vector
from axilla.study.training_cohort import cohort_summary

Again = Callable[..., StudyConfig]
Downgrade = Callable[[StudyConfig], None]
Study = tuple[StudyConfig, StudyResult]


@pytest.mark.parametrize("count", [20, 21, 29])
def test_no_range_where_the_values_between_would_be_few(count: int) -> None:
    """From mean, low and high of 21 the median patient's value would follow."""
    from axilla.core.config import Clinical
    from axilla.core.types import Patient

    people = [Patient(f"p{i}", i % 2, (), {"age": 40.0 + i}) for i in range(count)]
    config = Clinical(numeric=("age",), categorical=())
    told = cohort_summary(people, classes=("N0", "N(+)"), config=config)["numbers"]["age"]
    assert told["mean"] is not None
    assert (told["low"], told["high"]) == (None, None)


def test_the_mean_of_a_patient_s_patches_is_read_in_small_parts() -> None:
    rng = np.random.default_rng(0)
    slides = [rng.normal(size=(n, 6)).astype(np.float16) for n in (150, 1, 400)]
    asked: list[int] = []

    class Rows:
        def __init__(self, values: NDArray[Any]) -> None:
            self.values = values

        def __len__(self) -> int:
            return len(self.values)

        def __getitem__(self, indices: NDArray[np.int64], /) -> NDArray[Any]:
            asked.append(len(indices))
            return self.values[indices]

    found = patient_vector([Rows(values) for values in slides], seed=3)
    assert sum(asked) == MOST_PATCHES
    assert max(asked) <= 64
    rows = np.sort(np.random.default_rng(3).choice(551, MOST_PATCHES, replace=False))
    every = np.concatenate(slides).astype(float)
    np.testing.assert_allclose(found, every[rows].mean(axis=0))
    few = patient_vector([slides[0], slides[1]], seed=3)
    np.testing.assert_allclose(few, every[:151].mean(axis=0))


def test_slides_say_their_scale_and_patches(frozen: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    config, result = frozen
    record = store.read_model_record(config.out / "models" / "dl-cnb")
    summary = record["training_cohort"]
    assert summary["patients"] == 18
    (partition,) = result.partitions
    ids = set(partition.members("train"))
    grids = [
        [store.read_grid(result.layout.grid(slide.slide_id)) for slide in patient.slides]
        for patient in result.cohort.patients
        if patient.patient_id in ids
    ]
    patches = sorted(sum(map(len, own)) for own in grids)
    assert summary["patches"]["median"] == pytest.approx(np.mean(patches[4:14]))
    assert (summary["patches"]["low"], summary["patches"]["high"]) == (None, None)
    known = [grid.mpp for own in grids for grid in own if grid.mpp is not None]
    assert summary["slide_mpp"]["unknown"] == summary["slides"] - len(known)
    assert record["reference"]["distance"] is None
    assert "18 training patients are too few" in record["reference"]["reason"]
    assert record["calibration"] is None, "6 validation patients"
    card = (config.out / "models" / "dl-cnb" / CARD).read_text(encoding="utf-8")
    assert "cannot be told: 18 training patients are too few" in card
    assert "Calibration: none; a probability is the model's own." in card


def test_an_encoder_trained_end_to_end_makes_the_features(
    finished: Study, again: Again, monkeypatch: pytest.MonkeyPatch, downgrade: Downgrade
) -> None:
    monkeypatch.setattr(reference_distance, "LEAST_PATIENTS", 10)
    config = again(finished[0])
    downgrade(config)
    asked: list[NDArray[np.float64]] = []
    real = reference.patient_vector

    def kept(*args: Any, **kwargs: Any) -> NDArray[np.float64]:
        asked.append(real(*args, **kwargs))
        return asked[-1]

    monkeypatch.setattr(reference, "patient_vector", kept)
    run(config, until="train")
    record = store.read_model_record(config.out / "models" / "dl-cnb")
    assert (record["reference"]["patients"], record["reference"]["member"]) == (18, 0)
    found = distance_of(record)
    assert found is not None
    assert found.features == record["architecture"]["features"] == 512
    assert len(asked) == 36, "each of two methods has an encoder of its own"
    projected = reference_distance.project(np.stack(asked[:18]), seed=SEED)
    np.testing.assert_allclose(found.mean, projected.mean(axis=0))
    other = store.read_model_record(config.out / "models" / "dl-cnb+c")
    assert other["reference"] != record["reference"]


def test_folds_with_encoders_of_their_own_have_none_together(finished: Study, again: Again) -> None:
    training = finished[0].training.model_dump() | {"epochs": 1}
    config = again(
        finished[0], split={"folds": 2, "validation": 0.25}, methods=["dl-cnb"], training=training
    )
    run(config, until="train")
    told = store.read_model_record(config.out / "models" / "dl-cnb" / "ensemble")["reference"]
    assert told["distance"] is None
    assert told["reason"].startswith("each fold trained an encoder of its own")
