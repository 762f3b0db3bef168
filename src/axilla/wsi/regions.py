"""Which parts of a slide patches are cut from (DESIGN, Regions)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

import shapely

from axilla.core.errors import AnnotationError
from axilla.core.types import Region
from axilla.wsi.annotations import read_annotation
from axilla.wsi.ready import ready_regions
from axilla.wsi.scale import slide_mpp
from axilla.wsi.slides import open_slide
from axilla.wsi.tissue import find_tissue

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from axilla.core.types import Slide
    from axilla.wsi.slide_images import OpenImage


def find_regions(
    slide: Slide,
    *,
    mode: Literal["auto", "annotation", "tissue", "whole", "patches"],
    keep: Sequence[str] | None = None,
    qupath_cropped: bool = True,
    open_image: OpenImage = open_slide,
) -> tuple[Region, ...]:
    """Find the regions of a slide as `regions:` of the study says.

    Parameters
    ----------
    mode
        annotation: the pathologist's outlines. tissue: what `find_tissue` sees. whole: every image
        as it is. auto: the annotation where there is one; else several images are whole, for they
        are regions already cut, and a single one is searched for tissue. patches: every image is a
        patch, and its name says of which region.
    keep, qupath_cropped
        Classes of outlines that are taken, and what QuPath's count from: see `read_annotation`.

    Returns
    -------
    Regions with indices from 0, or the numbers that cut regions and ready patches bear in their
    names; none where a slide shows no tissue.

    Raises
    ------
    AnnotationError
        An annotation is asked for and missing, cannot be read, or is one for several images.
    SlideError
        An image that is searched for tissue cannot be read, or table and file contradict each other
        on its µm/px.
    """
    if mode == "whole":
        return _whole(slide)
    if mode == "patches":
        return ready_regions(slide)
    if mode == "annotation" or (mode == "auto" and slide.annotation is not None):
        return _annotated(slide, keep, qupath_cropped=qupath_cropped)
    if mode == "auto" and len(slide.images) > 1:
        return _whole(slide)
    found: list[Region] = []
    for image in slide.images:
        with open_image(
            image, slide_id=slide.slide_id, patient_id=slide.patient_id, max_px=slide.max_px
        ) as reader:
            mpp = slide_mpp(slide, reader.mpp, image=image)
            found.extend(find_tissue(reader, image=image, mpp=mpp))
    return tuple(
        Region(index=index, image=region.image, polygon=region.polygon, source=region.source)
        for index, region in enumerate(found)
    )


def outline_rings(region: Region) -> list[NDArray[np.float64]]:
    """Outer and inner rings of a region's polygon, float64 [k, 2] each, closed; for drawing."""
    if region.polygon is None:
        return []
    return [
        shapely.get_coordinates(ring)
        for part in shapely.get_parts(region.polygon)
        for ring in (part.exterior, *part.interiors)
    ]


def _whole(slide: Slide) -> tuple[Region, ...]:
    # The number in the name, so that a patch is called the same where a region is missing.
    named = [re.fullmatch(rf"{re.escape(slide.slide_id)}_(\d+)", i.stem) for i in slide.images]
    numbers = [int(name[1]) for name in named if name is not None]
    if len(set(numbers)) < len(slide.images):
        numbers = list(range(len(slide.images)))
    return tuple(
        Region(index=index, image=image, polygon=None, source="whole")
        for index, image in zip(numbers, slide.images, strict=True)
    )


def _annotated(
    slide: Slide, keep: Sequence[str] | None, *, qupath_cropped: bool
) -> tuple[Region, ...]:
    if slide.annotation is None:
        raise AnnotationError(
            f"slide {slide.slide_id} has no annotation.",
            "Put one into the folder of `annotations:`, named as the slide, or set "
            "`regions: auto`.",
            patient=slide.patient_id,
        )
    if len(slide.images) != 1:
        raise AnnotationError(
            f"slide {slide.slide_id} comes as {len(slide.images)} images with one annotation.",
            "Give the whole slide with the annotation, or the cut regions without and "
            "`regions: whole`.",
            patient=slide.patient_id,
            file=slide.annotation,
        )
    return read_annotation(
        slide.annotation,
        slide_id=slide.slide_id,
        patient_id=slide.patient_id,
        image=slide.images[0],
        keep=keep,
        qupath_cropped=qupath_cropped,
    )
