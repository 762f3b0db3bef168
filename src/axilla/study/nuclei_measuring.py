"""Nuclei of one image: read, measured, written as a table or for QuPath."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from axilla.core import store
from axilla.core.errors import StoreError
from axilla.core.types import MicronsPerPixel
from axilla.nuclei.morphometry import measure_nuclei
from axilla.nuclei.outlines import outlines
from axilla.nuclei.reading import read_nuclei
from axilla.study.nuclei_geojson import add_nuclei
from axilla.wsi.slides import open_slide, scanned_origin


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredNuclei:
    """Nuclei of an image with the scale that their lengths are in."""

    table: pd.DataFrame
    """As of `measure_nuclei`."""
    mpp: MicronsPerPixel | None
    """µm per pixel; None where nobody knows, and lengths are pixels."""


def measure_image(
    nuclei: Path,
    image: Path,
    out: Path,
    *,
    mpp: MicronsPerPixel | None = None,
    cropped: bool = True,
) -> MeasuredNuclei:
    """Measure the nuclei that a tool found in an image, and write them as a table.

    Parameters
    ----------
    nuclei
        See `read_nuclei`.
    image
        The image they were found in: its size, and its µm per pixel where it tells.
    out
        `.parquet` or `.csv`; `.geojson` for QuPath, with the outlines.
    mpp
        µm per pixel; goes before what the image tells.
    cropped
        Whether QuPath shows the scanned part of a slide only, and counts from its corner.

    Raises
    ------
    AnnotationError, SlideError
        The nuclei or the image do not open, or do not go together.
    StoreError
        `out` is none of these, or cannot be written.
    """
    kind = out.suffix.lower()
    if kind not in {".parquet", ".csv", ".geojson"}:
        raise StoreError(
            "is no table that is written.", "Name it .parquet or .csv, or .geojson for QuPath.",
            file=out,
        )  # fmt: skip
    with open_slide(image, slide_id=image.stem, patient_id=image.stem) as reader:
        width, height = reader.size
        scale = mpp if mpp is not None else reader.mpp
    origin = scanned_origin(image) if cropped else (0, 0)
    instances = read_nuclei(nuclei, shape=(height, width), qupath_origin=origin)
    table = measure_nuclei(instances, mpp=scale)
    if kind == ".geojson":
        with store.writing_features(out) as add:
            rings = dict(outlines(instances))
            add_nuclei(add, rings, table, in_um=scale is not None, origin=origin)
    elif kind == ".csv":
        store.write_text(out, table.to_csv(index=False))
    else:
        buffer = io.BytesIO()
        table.to_parquet(buffer, index=False)
        store.write_bytes(out, buffer.getvalue())
    return MeasuredNuclei(table, scale)
