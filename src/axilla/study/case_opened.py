"""One case of an opened study: who it is, what was scored, and what lies over its slides."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from axilla.core import store
from axilla.core.errors import StoreError
from axilla.core.methods import method_title
from axilla.core.types import CohortName, MicronsPerPixel, Partition, Patient, Region, Slide
from axilla.study.case_asking import asked_partition
from axilla.study.case_explaining import HAD_A_PART
from axilla.study.explaining import explained_method
from axilla.study.heat_scales import read_values
from axilla.study.layout import Layout
from axilla.study.opened import OpenedEndpoint
from axilla.wsi.regions import outline_rings

MOST_NUCLEI = 4_000
"""So many nuclei are drawn at once; of more, one has to come nearer."""


@dataclass(frozen=True, slots=True)
class MethodScore:
    """What one method says of a patient, by a model that did not see the patient if one did not."""

    method: str
    title: str
    scores: dict[str, float]
    """Probability by class; of the positive class alone where there are two."""
    spread: float | None
    threshold: float | None
    called: str | None
    right: bool | None


@dataclass(frozen=True, slots=True, eq=False)
class OpenedCase:
    """One patient of an opened study."""

    endpoint: OpenedEndpoint
    patient: Patient
    partition: Partition
    cohort: CohortName
    scores: tuple[MethodScore, ...]

    @property
    def truth(self) -> str:
        """The patient's class."""
        return self.endpoint.cohort.classes[self.patient.label]

    @property
    def notes(self) -> tuple[str, ...]:
        """What has to be said before all else."""
        return (HAD_A_PART[self.cohort],) if self.cohort in HAD_A_PART else ()


def open_case(endpoint: OpenedEndpoint, patient_id: str) -> OpenedCase:
    """A patient with the scores of the partition that is asked.

    Raises
    ------
    StoreError
        A model of the study is missing.
    """
    patient = endpoint.patient(patient_id)
    partition, cohort = asked_partition(endpoint.partitions, patient_id)
    rows = endpoint.predictions
    rows = rows[(rows["patient_id"] == patient_id) & (rows["cohort"] == cohort)]
    if "repeat" in rows.columns:
        rows = rows[(rows["repeat"] == partition.repeat) & (rows["fold"] == partition.fold)]
    scores = tuple(
        _score(endpoint, patient, partition, {str(n): v for n, v in row.items()})
        for row in rows.to_dict("records")
    )
    return OpenedCase(endpoint, patient, partition, cohort, scores)


def locked_threshold(endpoint: OpenedEndpoint, method: str, partition: Partition) -> float | None:
    """The threshold that the model of a partition holds."""
    folder = endpoint.layout.model(method, partition.name)
    value = store.read_model_record(folder)["threshold"]["value"]
    return None if value is None else float(value)


def _score(
    endpoint: OpenedEndpoint, patient: Patient, partition: Partition, row: dict[str, Any]
) -> MethodScore:
    classes, method = endpoint.cohort.classes, str(row["method"])
    threshold, spread = locked_threshold(endpoint, method, partition), row.get("spread")
    if "score" in row:
        scores = {classes[-1]: float(row["score"])}
        called = None if threshold is None else classes[int(row["score"] >= threshold)]
    else:
        scores = {name: float(row[f"score_{name}"]) for name in classes}
        called = max(scores, key=lambda name: scores[name])
    return MethodScore(
        method=method,
        title=method_title(method),
        scores=scores,
        spread=None if spread is None or not math.isfinite(spread) else float(spread),
        threshold=threshold,
        called=called,
        right=None if called is None else called == classes[patient.label],
    )


def slide_overlays(case: OpenedCase, slide: Slide) -> dict[str, Any]:
    """What lies over a slide's images, in level-0 pixels of each: outlines and measured patches.

    Returns
    -------
    dict
        `images`: by image, the `outlines` (rings of points); `patches`: columns `image`, `x`, `y`,
        `attention`, `contribution` (null where a patch has none), their `side`, and the `method`
        that looked; empty with a `reason` where nothing was measured.

    Raises
    ------
    AxillaError
        The slide's outlines or patches cannot be read.
    """
    endpoint = case.endpoint
    tiles = endpoint.tiles
    if tiles is None:
        return {"images": [], "patches": None, "reason": _NO_SLIDES}
    regions = endpoint.regions(slide)
    images = [
        {"outlines": [ring.tolist() for r in regions if r.image == i for ring in outline_rings(r)]}
        for i in slide.images
    ]
    path = measured_table(case, slide)
    found: dict[str, Any] = {"images": images, "patches": None}
    if path is None:
        return found | {"reason": _not_measured(case)}
    table = read_values(path)
    grid = tiles.grids[slide.slide_id]
    method = explained_method(endpoint.config.methods)
    return found | {
        "method": None if method is None else method_title(method),
        "positive": endpoint.cohort.classes[-1],
        "side": int(grid.size_level0),
        "patches": {
            "image": _images_of(table["region"], regions, slide).tolist(),
            "x": table["x"].tolist(),
            "y": table["y"].tolist(),
            "attention": _finite(table["attention"]),
            "contribution": _finite(table["contribution"]) if "contribution" in table else None,
        },
    }


def slide_scale(case: OpenedCase, slide: Slide) -> MicronsPerPixel | None:
    """µm per level-0 pixel, as the patches were cut with; None where nobody said."""
    tiles = case.endpoint.tiles
    return None if tiles is None else tiles.grids[slide.slide_id].mpp


def nuclei_within(
    case: OpenedCase, slide: Slide, image: int, window: tuple[float, float, float, float]
) -> dict[str, Any]:
    """Nuclei of an image in a window (x, y, width, height), as ellipses of their axes.

    Returns
    -------
    dict
        `count` in the window, and `ellipses`: x, y, half axes in level-0 pixels, degrees clockwise;
        none where they are too many to be seen.
    """
    tiles, path = case.endpoint.tiles, Layout(case.endpoint.shared).nuclei(slide.slide_id)
    if tiles is None or not path.is_file():
        return {"count": 0, "ellipses": []}
    table, grid = pd.read_parquet(path), tiles.grids[slide.slide_id]
    x, y, width, height = window
    of_patch = _images_of(grid.region, case.endpoint.regions(slide), slide)
    here = (of_patch == image)[table["patch"].to_numpy()]
    here &= table["x"].between(x, x + width).to_numpy() & table["y"].between(y, y + height)
    table = table[here]
    if len(table) > MOST_NUCLEI:
        return {"count": len(table), "ellipses": []}
    # Lengths are µm where the scale is known, else pixels of the patches.
    unit = 1 / grid.mpp if grid.mpp else grid.size_level0 / case.endpoint.config.patches.size
    columns = [
        table["x"], table["y"], table["major_axis"] * unit / 2, table["minor_axis"] * unit / 2,
        table["orientation"],
    ]  # fmt: skip
    rows = np.stack([column.to_numpy(np.float64) for column in columns], axis=1)  # [n, 5]
    return {"count": len(table), "ellipses": np.round(rows, 2).tolist()}


def has_nuclei(case: OpenedCase, slide: Slide) -> bool:
    """Whether the study found this slide's nuclei."""
    return Layout(case.endpoint.shared).nuclei(slide.slide_id).is_file()


_NO_SLIDES = "This study has no slides: its features were made elsewhere, or it reads none."


def measured_table(case: OpenedCase, slide: Slide) -> Path | None:
    """The table of patches: of the test cohort's maps, or of this case asked for alone."""
    layout = case.endpoint.layout
    aside = Layout(layout.learned_from(case.patient.patient_id))
    paths = (layout.attention(slide.slide_id), aside.attention(slide.slide_id))
    return next((path for path in paths if path.is_file()), None)


def _not_measured(case: OpenedCase) -> str:
    if explained_method(case.endpoint.config.methods) is None:
        return "No method of this study looks at patches, so there is no attention to show."
    return (
        "Attention was not measured on this slide. "
        f"`axilla explain study.yaml --patient {case.patient.patient_id}` measures it."
    )


def _images_of(
    numbers: Iterable[int], regions: tuple[Region, ...], slide: Slide
) -> NDArray[np.int64]:
    """Number of the image that each region, by its own number, is in.

    Raises
    ------
    StoreError
        The slide has no such region any more.
    """
    place = {image: index for index, image in enumerate(slide.images)}
    own = {region.index: place[region.image] for region in regions if region.image in place}
    try:
        return np.array([own[int(number)] for number in numbers], dtype=np.int64)
    except KeyError as error:
        raise StoreError(
            f"the outlines of slide {slide.slide_id} are not those its patches were cut from.",
            "Run the study again, or put the annotation back as it was.",
            patient=slide.patient_id,
            file=slide.annotation,
        ) from error


def _finite(values: pd.Series[Any]) -> list[float | None]:
    return [float(v) if math.isfinite(v) else None for v in values]
