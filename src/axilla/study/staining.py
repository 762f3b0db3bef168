"""Stain: every slide's own estimated, and one target for all, before the encoder sees a patch."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axilla.core import store
from axilla.core.config import StudyConfig
from axilla.core.config_stain import StainNormalisation
from axilla.core.errors import AxillaError, ConfigError, Problem, StatisticsError, StoreError
from axilla.core.progress import Reporter
from axilla.core.stain import (
    Stain,
    estimate_stain,
    mean_stain,
    normalise,
    published_stain,
    stain_from_json,
)
from axilla.core.types import Partition, Slide
from axilla.study.layout import Layout
from axilla.study.slide_checks import excludable, slides_of
from axilla.study.tiling import Tiles, keep_patients, open_patches
from axilla.wsi.slides import open_slide

SAMPLE_PATCHES, SAMPLE_PIXELS = 32, 4096
"""Patches of a slide, and pixels of each, that its stain is estimated from."""
REFERENCE_PX = 2048
"""Longer side, in pixels, that a reference image is looked at in."""


@dataclass(frozen=True, slots=True, eq=False)
class Stains:
    """The target, and what each slide has of its own."""

    settings: StainNormalisation
    target: Stain
    sources: Mapping[str, Stain | None]
    """By slide id; None for a slide that keeps its colours; slides without a patch have none."""

    @property
    def kept(self) -> tuple[str, ...]:
        """Slides whose stain could not be estimated, and that keep their colours."""
        return tuple(slide for slide, source in self.sources.items() if source is None)

    def apply(self, slide_id: str, patches: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Patches of a slide, uint8 [n, h, w, 3], with the target's stain."""
        source = self.sources.get(slide_id)
        return patches if source is None else normalise(patches, source=source, target=self.target)

    def key(self, slide_id: str, grid_key: str) -> str:
        """What a slide's normalised patches depend on."""
        source = self.sources.get(slide_id)
        own = None if source is None else source.to_json()
        return store.digest("stain", grid_key, self.target.to_json(), own)

    def record(self) -> dict[str, Any]:
        """What a model's bundle keeps: enough to normalise a slide elsewhere; nobody's slide."""
        settings = self.settings.model_dump(mode="json", exclude={"target"})
        return {**settings, "target": self.target.to_json()}


def estimate_stains(
    tiles: Tiles, *, config: StudyConfig, exclude_failed: bool, reporter: Reporter
) -> tuple[Tiles, dict[str, Stain | None]]:
    """The stain of every slide, from a seeded sample of its kept patches.

    Returns
    -------
    The tiles, perhaps without patients, and each slide's stain; None where it is not reliable and
    the study keeps such slides' colours. Empty where the study does not normalise.

    Raises
    ------
    InputProblems
        Slides whose stain cannot be estimated, all of them named, unless `exclude_failed`.
    """
    settings = config.stain
    if settings is None:
        return tiles, {}
    sources: dict[str, Stain | None] = {}
    problems: list[Problem] = []
    # A slide without a patch has nothing to estimate, and nothing to normalise.
    slides = [s for s in slides_of(tiles.cohort.patients) if len(tiles.grids[s.slide_id])]
    for slide in reporter.track(slides, "Estimating stains"):
        try:
            sources[slide.slide_id] = _stain_of(slide, tiles, config=config, settings=settings)
        except StatisticsError as error:
            sources[slide.slide_id] = None
            named = f"slide {slide.slide_id}: {error.problem.cause}"
            problems.append(replace(excludable(error, slide), cause=named, file=slide.images[0]))
    if settings.unreliable == "keep":
        left = [str(p.patient) for p in problems]
        note = f"; colours kept of {len(left)}, of patients {', '.join(left)}" if left else ""
        reporter.done("stain", f"{len(sources) - len(left):,} slides, {settings.method}{note}")
        return tiles, sources
    tiles = keep_patients(
        tiles, problems, step="stain", config=config, exclude_failed=exclude_failed
    )
    reporter.done("stain", f"{len(sources) - len(problems):,} slides, {settings.method}")
    return tiles, {s: stain for s, stain in sources.items() if s in tiles.grids}


def stain_of_record(record: Mapping[str, Any]) -> tuple[StainNormalisation, Stain]:
    """Settings and target of a bundle's record, for slides of another place.

    Raises
    ------
    StoreError
        The record is damaged.
    """
    settings = {name: value for name, value in record.items() if name != "target"}
    try:
        target = stain_from_json(record["target"])
        return StainNormalisation.model_validate(settings), target
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise StoreError(
            "the model's record does not say how the stain was normalised.",
            "Get the model's folder again as it was written, or train it again.",
        ) from error


def fit_stains(
    sources: Mapping[str, Stain | None],
    tiles: Tiles,
    partitions: tuple[Partition, ...],
    *,
    config: StudyConfig,
    given: Stain | None = None,
) -> Stains | None:
    """The target that the study names; None where it does not normalise.

    Parameters
    ----------
    sources, tiles
        Of `estimate_stains`.
    partitions
        For `target: training`: the patients of the one split who train.
    given
        The target of a bundle, instead of the study's.

    Raises
    ------
    ConfigError
        The reference image cannot be read, or shows no stain.
    StatisticsError
        No training slide gives a stain.
    """
    settings = config.stain
    if settings is None:
        return None
    target: Stain
    if given is not None:
        target = given
    elif settings.reference is not None:
        target = reference_stain(settings)
    elif settings.target == "training":
        members = set(partitions[0].members("train"))
        patients = tuple(p for p in tiles.cohort.patients if p.patient_id in members)
        found = (sources.get(slide.slide_id) for slide in slides_of(patients))
        target = mean_stain([stain for stain in found if stain is not None])
    else:
        target = published_stain(settings.method)
    return Stains(settings=settings, target=target, sources=sources)


def reference_stain(settings: StainNormalisation) -> Stain:
    """The stain of the reference image that `stain.target` names.

    Raises
    ------
    ConfigError
        It cannot be read, or shows no stain.
    """
    path = Path(settings.target)
    try:
        with open_slide(path, slide_id="reference", patient_id="reference") as reader:
            pixels, _ = reader.thumbnail(REFERENCE_PX)
        return estimate_stain(pixels.reshape(-1, 3), method=settings.method)
    except AxillaError as error:
        raise ConfigError(
            f"stain.target: the reference image cannot be used: {error.problem.cause}",
            "Give an image of H&E tissue, or set target: published.",
            file=path,
        ) from error


def sample_pixels(
    slide: Slide, tiles: Tiles, *, config: StudyConfig, seed: int
) -> NDArray[np.uint8]:
    """Pixels of some of a slide's kept patches, uint8 [n, 3]; the same in every run."""
    grid = tiles.grids[slide.slide_id]
    # The slide's own stream: another slide in the study does not change it.
    rng = np.random.default_rng([seed, zlib.crc32(slide.slide_id.encode())])
    chosen = np.sort(rng.choice(len(grid), min(SAMPLE_PATCHES, len(grid)), replace=False))
    with open_patches(slide, tiles, config=config) as reader:
        patches = reader.read(chosen)
    flat = patches.reshape(len(patches), -1, 3)
    count = min(SAMPLE_PIXELS, flat.shape[1])
    return np.concatenate([p[rng.choice(len(p), count, replace=False)] for p in flat])


def _stain_of(
    slide: Slide, tiles: Tiles, *, config: StudyConfig, settings: StainNormalisation
) -> Stain:
    """A slide's stain, read back where it was estimated before."""
    path = Layout(config.out).stain(slide.slide_id)
    key = store.digest(
        "stain-of", tiles.keys[slide.slide_id], settings.method, settings.seed,
        SAMPLE_PATCHES, SAMPLE_PIXELS,
    )  # fmt: skip
    try:
        record = store.read_json(path) if path.is_file() else {}
        if record.get("key") == key:
            return stain_from_json(record["stain"])
    except (StoreError, ValueError, LookupError, TypeError, AttributeError):
        path.unlink(missing_ok=True)  # damaged: it is estimated again
    pixels = sample_pixels(slide, tiles, config=config, seed=settings.seed)
    stain = estimate_stain(pixels, method=settings.method)
    store.write_json(path, {"key": key, "stain": stain.to_json()})
    return stain
