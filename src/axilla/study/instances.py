"""What the model is fed: a slide's patches, or its features, read when first asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axilla.core import store
from axilla.core.config import Bags, StudyConfig
from axilla.core.memory import available_memory
from axilla.core.types import Cohort, Patient, Slide
from axilla.mil.batches import BagDrawer, Instances, PatientInstances
from axilla.mil.clinical import Preprocessor
from axilla.mil.original import OriginalPreprocessor
from axilla.study.imported import open_features_of
from axilla.study.layout import Layout
from axilla.study.slide_checks import slides_of
from axilla.study.staining import Stains
from axilla.study.tiling import Tiles, open_patches
from axilla.wsi.bags import cover_bags, draw_bags


class SlideArrays(Mapping[str, Instances]):
    """Instances by slide id, read when first asked for.

    Rows of a file are not held at all. Arrays are, as far as memory allows; of those beyond it
    only the last one is held, and the others are read again when they are asked for. The ones that
    came first stay: to drop the oldest instead would drop each just before its next turn. What is
    held changes no number that is computed.

    Training asks for training and validation slides only: the test cohort's are not read before
    training has ended.

    Parameters
    ----------
    hold_bytes
        Of arrays; None is half of the memory that is left when the first is read.
    """

    def __init__(
        self,
        slide_ids: list[str],
        load: Callable[[str], NDArray[Any] | store.FeatureRows],
        *,
        hold_bytes: int | None = None,
    ) -> None:
        self._ids = slide_ids
        self._load = load
        self._left = hold_bytes
        self._held: dict[str, NDArray[Any] | store.FeatureRows] = {}
        self._last: tuple[str, NDArray[Any]] | None = None

    def __getitem__(self, slide_id: str) -> NDArray[Any] | store.FeatureRows:
        """Features [n, D] or patches [n, h, w, 3]."""
        if slide_id in self._held:
            return self._held[slide_id]
        if self._last is not None and self._last[0] == slide_id:
            return self._last[1]
        self._last = None  # before another is read: never two beyond what is held
        found = self._load(slide_id)
        if self._left is None:
            self._left = available_memory() // 2
        size = found.nbytes if isinstance(found, np.ndarray) else 0
        if isinstance(found, np.ndarray) and size > self._left:
            self._last = (slide_id, found)
        else:
            self._left -= size
            self._held[slide_id] = found
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)


def slide_arrays(tiles: Tiles, *, config: StudyConfig, stains: Stains | None = None) -> SlideArrays:
    """Patches where the encoder is trained, else the features that `embed` wrote.

    Patches come with their stain normalised, where the study says so.
    """
    slides = {slide.slide_id: slide for slide in slides_of(tiles.cohort.patients)}
    layout = Layout(config.out)

    def patches(slide_id: str) -> NDArray[Any]:
        pixels = read_patches(slides[slide_id], tiles, config=config)
        return pixels if stains is None else stains.apply(slide_id, pixels)

    def features(slide_id: str) -> NDArray[Any] | store.FeatureRows:
        return store.open_features(layout.features(config.encoder.name, slide_id))

    return SlideArrays(list(slides), patches if config.encoder.trainable else features)


def imported_arrays(cohort: Cohort, *, config: StudyConfig) -> SlideArrays:
    """Features that were made elsewhere."""
    slides = {slide.slide_id: slide for slide in slides_of(cohort.patients)}

    def features(slide_id: str) -> NDArray[Any] | store.FeatureRows:
        return open_features_of(slides[slide_id], config=config)

    return SlideArrays(list(slides), features)


def read_patches(slide: Slide, tiles: Tiles, *, config: StudyConfig) -> NDArray[np.uint8]:
    """All kept patches of a slide, uint8 [n, size, size, 3]."""
    known = None if tiles.held is None else tiles.held.of(slide.slide_id)
    if known is not None:
        return known
    with open_patches(slide, tiles, config=config) as reader:
        return reader.read(np.arange(len(tiles.grids[slide.slide_id])))


def instances_of(
    patients: tuple[Patient, ...],
    *,
    preprocessor: Preprocessor | OriginalPreprocessor | None,
    bags: Mapping[str, Sequence[NDArray[np.int64]]] | None = None,
) -> list[PatientInstances]:
    """Patients as the model sees them; with clinical vectors for DL-CNB+C, with given bags."""
    vectors = None if preprocessor is None else preprocessor.transform(patients)
    return [
        PatientInstances(
            patient_id=patient.patient_id,
            label=patient.label,
            slides=tuple(slide.slide_id for slide in patient.slides),
            clinical=None if vectors is None else vectors[index],
            bags=bags,
        )
        for index, patient in enumerate(patients)
    ]


def bag_drawer(config: Bags) -> BagDrawer:
    """Bags of a slide, as the study says."""
    return lambda patches, rng: draw_bags(patches, config=config, rng=rng)


def covering_drawer(config: Bags) -> BagDrawer:
    """Bags in which every patch of a slide occurs."""
    return lambda patches, rng: cover_bags(patches, config=config, rng=rng)
