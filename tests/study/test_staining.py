"""Stain normalisation in the chain: keys, the target and who has a part in it, what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from axilla.core import store
from axilla.core.config import StudyConfig
from axilla.core.config_stain import StainNormalisation
from axilla.core.errors import InputProblems, StoreError
from axilla.core.progress import Silent
from axilla.core.stain import mean_stain, normalise, published_stain
from axilla.study.chain import check, run
from axilla.study.fitting import Fitting
from axilla.study.instances import read_patches, slide_arrays
from axilla.study.layout import Layout
from axilla.study.staining import Stains, estimate_stains, fit_stains, stain_of_record
from axilla.study.summary import warning_sentences
from axilla.study.tiling import Tiles, tile_slides

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable
    from pathlib import Path

MACENKO = {"method": "macenko"}


class Told(Silent):
    """Keeps what the steps say at their end."""

    def __init__(self) -> None:
        self.lines: dict[str, str] = {}

    def done(self, step: str, detail: str) -> None:
        self.lines[step] = detail


def cut(config: StudyConfig) -> Tiles:
    """The study's patches."""
    result = run(config, until="tile")
    return tile_slides(result.cohort, config=config, exclude_failed=False, reporter=Silent())


def stained(
    config: StudyConfig, *, reporter: Silent | None = None, exclude_failed: bool = False
) -> tuple[Tiles, Stains]:
    """The study's patches and stains."""
    tiles, sources = estimate_stains(
        cut(config), config=config, exclude_failed=exclude_failed, reporter=reporter or Silent()
    )
    stains = fit_stains(sources, tiles, run(config, until="tile").partitions, config=config)
    assert stains is not None
    return tiles, stains


@pytest.fixture
def study(plain_study: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """20 patients, half of them N(+), each with a pink and blue square."""
    names = [f"P{number:02d}" for number in range(20)]
    settings = plain_study(
        [f"{name},50,2,positive,negative,negative,{i % 2}" for i, name in enumerate(names)], names
    )
    for index, name in enumerate(names):
        write_dyed(settings["slides"] / f"{name}.png", seed=index)
    return settings


def write_dyed(path: Path, *, seed: int) -> None:
    """A square of two dyes whose hue and strength are the slide's own, on white."""
    rng = np.random.default_rng(seed)
    dyes = np.array([[0.65, 0.70, 0.29], [0.10, 0.95, 0.25]]) + rng.normal(0, 0.04, (2, 3))
    amounts = rng.uniform((0, 0.1), (1.4, 0.9), (64, 64, 2)) * rng.uniform(0.7, 1.3, 2)
    image = np.full((96, 96, 3), 255, np.uint8)
    image[16:80, 16:80] = np.rint(255 * np.exp(-amounts @ dyes))
    cv2.imwrite(str(path), image[..., ::-1])


def frozen(study: dict[str, Any], weights: Path, **changes: Any) -> StudyConfig:
    encoder = {"name": "small_cnn", "weights": str(weights), "trainable": False}
    return StudyConfig.model_validate(study | {"encoder": encoder} | changes)


def test_the_features_key_has_the_stain_in_it(
    study: dict[str, Any], weights: Path, work: Counter[str]
) -> None:
    features = {}
    variants = (
        None, MACENKO, MACENKO | {"target": str(study["slides"] / "P00.png")},
        {"method": "reinhard"},
    )  # fmt: skip
    for number, stain in enumerate(variants):
        config = frozen(study, weights, stain=stain)
        run(config, until="embed")
        assert work["extract_features"] == 20 * (number + 1)
        run(config, until="embed")
        assert work["extract_features"] == 20 * (number + 1), "done before"
        path = Layout(config.out).features("small_cnn", "P03")
        features[number] = store.read_features(path).features
    for number in range(1, 4):
        assert not np.array_equal(features[number], features[number - 1])


def test_end_to_end_sees_the_same_normalised_patches(study: dict[str, Any]) -> None:
    config = StudyConfig.model_validate(study | {"stain": MACENKO})
    tiles, stains = stained(config)
    seen = slide_arrays(tiles, config=config, stains=stains)["P03"]
    slide = next(p.slides[0] for p in tiles.cohort.patients if p.patient_id == "P03")
    raw = read_patches(slide, tiles, config=config)
    source = stains.sources["P03"]
    assert source is not None
    target = published_stain("macenko")
    np.testing.assert_array_equal(seen, normalise(raw, source=source, target=target))
    assert not np.array_equal(seen, raw)
    again = stained(config)[1].sources["P03"]
    assert again is not None
    assert again.to_json() == source.to_json(), "read back as it was written"


def test_the_bundle_alone_normalises_elsewhere(study: dict[str, Any]) -> None:
    config = StudyConfig.model_validate(study | {"stain": {"method": "reinhard", "seed": 3}})
    run(config, until="train")
    record = store.read_model(Layout(config.out).model("dl-cnb", "split")).record["stain"]
    settings, target = stain_of_record(record)
    assert settings == StainNormalisation(method="reinhard", seed=3)
    assert target.to_json() == published_stain("reinhard").to_json()
    with pytest.raises(StoreError, match="does not say how the stain"):
        stain_of_record({**record, "target": {"method": "reinhard"}})


def test_a_target_of_training_slides_has_nothing_of_the_others(study: dict[str, Any]) -> None:
    config = StudyConfig.model_validate(study | {"stain": MACENKO | {"target": "training"}})
    _, stains = stained(config)
    (partition,) = run(config, until="tile").partitions
    train = [stains.sources[patient] for patient in partition.members("train")]
    assert 0 < len(train) < 20
    expected = mean_stain([stain for stain in train if stain is not None])
    assert stains.target.to_json() == expected.to_json()
    others = (*partition.members("val"), *partition.members("test"))
    for seed, patient in enumerate(others, start=100):
        write_dyed(config.slides / f"{patient}.png", seed=seed)
    assert stained(config)[1].target.to_json() == expected.to_json()


@pytest.fixture
def grey(study: dict[str, Any]) -> dict[str, Any]:
    """The same study; P04's slide has no stain."""
    image = np.full((96, 96, 3), 255, np.uint8)
    image[16:80, 16:80] = 120
    cv2.imwrite(str(study["slides"] / "P04.png"), image)
    return study | {"regions": "whole"}


def test_a_slide_without_stain_is_refused_by_name(grey: dict[str, Any], weights: Path) -> None:
    config = frozen(grey, weights, stain=MACENKO)
    with pytest.raises(InputProblems) as told:
        run(config, until="embed")
    (problem,) = told.value.problems
    assert (problem.patient, problem.file) == ("P04", grey["slides"] / "P04.png")
    assert "slide P04: the stain cannot be estimated: only 0 of" in problem.cause
    assert "stain.unreliable: keep" in problem.remedy
    result = run(config, until="embed", exclude_failed=True)
    assert [(e.patient_id, e.step) for e in result.cohort.excluded] == [("P04", "stain")]


def test_a_slide_without_stain_keeps_its_colours_where_the_study_says_so(
    grey: dict[str, Any],
) -> None:
    config = StudyConfig.model_validate(grey | {"stain": MACENKO | {"unreliable": "keep"}})
    told = Told()
    tiles, stains = stained(config, reporter=told)
    assert told.lines["stain"] == "19 slides, macenko; colours kept of 1, of patients P04"
    assert stains.kept == ("P04",)
    patches = np.full((2, 4, 4, 3), 120, np.uint8)
    assert stains.apply("P04", patches) is patches
    fitting = Fitting(
        config=config, cohort=tiles.cohort, partitions=(), slides=None, slide_keys={}, stains=stains
    )
    warnings = " ".join(warning_sentences(fitting, {"methods": {}}))
    assert "The stain of 1 slide could not be estimated" in warnings
    assert "those of the file: P04." in warnings


@pytest.mark.parametrize("kind", ["missing", "white"])
def test_a_reference_image_that_is_none_is_told_by_check(study: dict[str, Any], kind: str) -> None:
    path = study["slides"].parent / "reference.png"
    if kind == "white":
        cv2.imwrite(str(path), np.full((64, 64, 3), 255, np.uint8))
    config = StudyConfig.model_validate(study | {"stain": MACENKO | {"target": str(path)}})
    (problem,) = check(config)
    assert problem.file == path
    assert "stain.target: the reference image cannot be used" in problem.cause
