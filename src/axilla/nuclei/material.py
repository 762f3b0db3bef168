"""Which files there are to train on: pictures with an instance map or points beside each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from axilla.core.errors import AnnotationError

if TYPE_CHECKING:
    from collections.abc import Iterable

SUFFIXES = frozenset({".png", ".tif", ".tiff", ".jpg", ".jpeg"})


def outlined_files(paths: Iterable[Path]) -> list[tuple[Path, Path]]:
    """Images with their instance maps, `<name>.npz` or `<name>.npy`.

    Parameters
    ----------
    paths
        Images, and folders of which every image with a map is taken.

    Raises
    ------
    AnnotationError
        An image, or all of a folder, has no map.
    """
    pairs = []
    for path in paths:
        images = sorted(path.glob("*")) if path.is_dir() else [path]
        found = [
            (image, nuclei)
            for image in images
            if image.suffix.lower() in SUFFIXES
            if (nuclei := _map_of(image)) is not None
        ]
        if not found:
            raise AnnotationError(
                "has no instance map beside it." if path.is_file() else "has no outlined image.",
                "Lay <name>.npz (with inst_map) beside each <name>.png.",
                file=path,
            )
        pairs += found
    return pairs


def _map_of(image: Path) -> Path | None:
    """The instance map beside an image."""
    maps = (image.with_suffix(suffix) for suffix in (".npz", ".npy"))
    return next((path for path in maps if path.is_file()), None)


def image_of(points: Path) -> Path:
    """The image of the same name beside a file of points.

    Raises
    ------
    AnnotationError
        There is none.
    """
    for suffix in sorted(SUFFIXES):
        if (image := points.with_suffix(suffix)).is_file():
            return image
    raise AnnotationError(
        "has no image beside it.", "Lay <name>.png beside <name>.geojson, or name it by --image.",
        file=points,
    )  # fmt: skip
