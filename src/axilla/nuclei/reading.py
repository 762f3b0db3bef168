"""Other people's nuclei: instance maps and outlines of the common tools, as one instance map."""

from __future__ import annotations

import json
import math
import zipfile
import zlib
from dataclasses import dataclass
from tokenize import TokenError
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError
from skimage.draw import polygon

from axilla.core.errors import AnnotationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    _Fill = Callable[[NDArray[np.uint8], NDArray[np.float64], int], None]

MAX_BYTES = 512 * 2**20
"""Largest file that is read: 20 million outlined nuclei have about as many."""
MAX_PX = 2**28
"""Most pixels of an instance map, 1 GiB as int32: a slide's nuclei come in parts."""
OUTLINES = frozenset({".geojson", ".json"})
_MAPS, _DRAWN = "an instance map (.npz with inst_map, .npy, .tif)", "outlines (.geojson, .json)"
_UNREADABLE = (
    ValueError, OSError, EOFError, KeyError, TypeError, AttributeError, NotImplementedError,
    UnidentifiedImageError, Image.DecompressionBombError, zipfile.BadZipFile, zlib.error,
    TokenError, SyntaxError,
)  # fmt: skip
"""What NumPy, zipfile and Pillow raise for a file that is damaged or is something else."""


def read_nuclei(
    path: Path, *, shape: tuple[int, int], qupath_origin: tuple[int, int] = (0, 0)
) -> NDArray[np.int32]:
    """Read the nuclei of an image, whoever found them.

    Parameters
    ----------
    path
        `.npz` with `inst_map` (or one array only), `.npy`, `.tif`: integers [h, w], 0 is
        background. `.geojson` of QuPath, StarDist and CellViT, a polygon a nucleus, of CellViT
        many in one MultiPolygon; of QuPath's cells the nucleus, in one part or several. `.json` of
        HoVer-Net: `nuc`, with a `contour` each. A polygon runs along the edges of pixels, as QuPath
        draws, and has those whose middle it encloses; contours of HoVer-Net and CellViT (the
        MultiPolygon) run through the middle of a nucleus's outermost pixels, and have these too.
    shape
        Height and width of the image that the nuclei were found in.
    qupath_origin
        Pixel, (x, y), that what QuPath detected counts from: of some slides it shows the scanned
        part only.

    Returns
    -------
    ndarray
        int32 [h, w]: 0, or the number of the nucleus, as the file numbers them; outlines are
        numbered from 1 in the order of the file, the later over the earlier.

    Raises
    ------
    AnnotationError
        The file does not open, is of another layout or size, or holds what is no nucleus.
    """
    if shape[0] * shape[1] > MAX_PX:
        raise _error(
            path,
            f"the image has {shape[0] * shape[1]:,} pixels, an instance map at most {MAX_PX:,}.",
            "Give the nuclei of parts of the slide.",
        )
    try:
        size = path.stat().st_size
    except OSError as error:
        raise _error(path, f"does not open ({error.strerror}).", "Correct the path.") from error
    if size > MAX_BYTES:
        raise _error(path, f"has {size:,} bytes, at most {MAX_BYTES:,} are read.", "Give parts.")
    if path.suffix.lower() in OUTLINES:
        return _drawn(path, shape, qupath_origin)
    instances = _array(path)
    if instances.shape != shape:
        raise _error(
            path,
            f"has the shape {instances.shape}, the image {shape}.",
            "Give the map of this image, at its size.",
        )
    return instances


def _array(path: Path) -> NDArray[np.int32]:
    suffix = path.suffix.lower()
    try:
        if suffix == ".npy":
            if zipfile.is_zipfile(path):
                raise ValueError("an archive that calls itself an array")
            values = np.load(path, mmap_mode="r", allow_pickle=False)
        elif suffix == ".npz":
            values = _from_archive(path)
        elif suffix in {".tif", ".tiff"}:
            with Image.open(path, formats=("TIFF",)) as image:
                if image.width * image.height > MAX_PX:
                    raise _error(path, f"has more than {MAX_PX:,} pixels.", "Give parts.")
                values = np.asarray(image)
        else:
            raise _error(
                path, f"is neither {_MAPS} nor {_DRAWN}.", "Export the nuclei in one of these."
            )
    except _UNREADABLE as error:
        if isinstance(error, AnnotationError):
            raise
        raise _error(path, "does not open as an array.", f"Give {_MAPS} or {_DRAWN}.") from error
    if values.ndim != 2 or values.dtype.kind not in "iu" or values.size > MAX_PX:
        raise _error(
            path,
            f"holds {values.dtype} of shape {values.shape}, no instance map.",
            "Give integers [height, width], 0 for background and a number a nucleus.",
        )
    if values.size and (values.min() < 0 or values.max() > np.iinfo(np.int32).max):
        raise _error(path, "numbers nuclei below 0 or beyond 2^31.", "Number them 1, 2, ...")
    return np.asarray(values, dtype=np.int32)


def _from_archive(path: Path) -> NDArray[Any]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        names = archive.files
        chosen = "inst_map" if "inst_map" in names else names[0] if len(names) == 1 else None
        if chosen is None:
            raise _error(
                path,
                f"holds {', '.join(names) or 'nothing'}, and none is called inst_map.",
                "Save the instance map under that name.",
            )
        with archive.zip.open(f"{chosen}.npy") as member:
            # Before a byte is inflated: a small archive may hold a very large array.
            version = np.lib.format.read_magic(member)
            read = {(1, 0): np.lib.format.read_array_header_1_0}.get(
                version, np.lib.format.read_array_header_2_0
            )
            shape, _, _ = read(member)
        if math.prod(shape) > MAX_PX:
            raise _error(path, f"holds more than {MAX_PX:,} pixels.", "Give parts.")
        return np.asarray(archive[chosen])


def _drawn(path: Path, shape: tuple[int, int], origin: tuple[int, int]) -> NDArray[np.int32]:
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise _error(path, "is no JSON.", "Export the nuclei again as GeoJSON.") from error
    instances = np.zeros(shape, dtype=np.int32)
    for number, nucleus in enumerate(_polygons(path, content, origin), start=1):
        for rings in nucleus.parts:
            if not _draw(instances, rings, nucleus.fill, number):
                raise _error(
                    path,
                    f"nucleus {number} lies outside the image of {shape[1]} x {shape[0]} pixels.",
                    "Is it the file of this image, in its pixels?",
                )
    return instances


def _draw(
    instances: NDArray[np.int32], rings: list[NDArray[np.float64]], fill: _Fill, number: int
) -> bool:
    """Draw one closed shape with its holes; False where it lies outside."""
    height, width = instances.shape
    left, top = np.floor(rings[0].min(axis=0)).astype(int)
    right, bottom = np.ceil(rings[0].max(axis=0)).astype(int)
    if right < 0 or bottom < 0 or left >= width or top >= height:
        return False
    # On a canvas of its own, within the image, so that a hole shows what was there before.
    corner = np.maximum((left, top), 0)
    window = instances[corner[1] : bottom + 1, corner[0] : right + 1]
    canvas = np.zeros(window.shape, dtype=np.uint8)
    for ring, value in zip(rings, (1, *[0] * (len(rings) - 1)), strict=True):
        fill(canvas, ring - corner, value)
    window[canvas > 0] = number
    return True


def _fill_along_edges(canvas: NDArray[np.uint8], ring: NDArray[np.float64], value: int) -> None:
    """Pixels whose middle the ring encloses."""
    rows, columns = polygon(ring[:, 1] - 0.5, ring[:, 0] - 0.5, canvas.shape)
    canvas[rows, columns] = value


def _fill_through_middles(canvas: NDArray[np.uint8], ring: NDArray[np.float64], value: int) -> None:
    """Pixels that the ring encloses or runs through, counted by their middle."""
    cv2.fillPoly(canvas, [np.rint(ring).astype(np.int32)], value)


@dataclass(frozen=True, slots=True, eq=False)
class _Drawn:
    """One nucleus as a file draws it."""

    parts: list[list[NDArray[np.float64]]]
    """Rings of each closed shape, the outer one first."""
    fill: _Fill


def _polygons(path: Path, content: Any, origin: tuple[int, int]) -> Iterator[_Drawn]:
    """Each nucleus of a file, in pixels of the whole image."""
    if isinstance(content, dict) and isinstance(content.get("nuc"), dict):
        for name, nucleus in content["nuc"].items():
            contour = nucleus.get("contour") if isinstance(nucleus, dict) else None
            yield _Drawn([[_ring(path, contour, f"nucleus {name}")]], _fill_through_middles)
        return
    features = content.get("features") if isinstance(content, dict) else content
    if not isinstance(features, list):
        raise _error(path, "is neither GeoJSON nor HoVer-Net's JSON.", f"Give {_MAPS} or {_DRAWN}.")
    for number, feature in enumerate(features, start=1):
        name = f"feature {number}"
        if not isinstance(feature, dict):
            raise _error(path, f"is malformed: {name} is no object.", "Export it again.")
        # QuPath's cells hold the cell's outline and, beside it, the nucleus.
        geometry = feature.get("nucleusGeometry") or feature.get("geometry") or feature
        kind = geometry.get("type") if isinstance(geometry, dict) else None
        if not isinstance(kind, str) or kind not in {"Polygon", "MultiPolygon"}:
            raise _error(path, f"{name} is a {str(kind)[:40]}, no outline.", "Export polygons.")
        given = geometry.get("coordinates")
        of_qupath = _is_object_of_qupath(feature, kind)
        parts = []
        for part in [given] if kind == "Polygon" else _list(path, given, name):
            rings = [_ring(path, ring, name) for ring in _list(path, part, name)]
            if not rings:
                raise _error(path, f"is malformed: {name} has no points.", "Export it again.")
            parts.append([ring + origin for ring in rings] if of_qupath else rings)
        if kind == "Polygon" or of_qupath:
            yield _Drawn(parts, _fill_along_edges)
        else:
            yield from (_Drawn([part], _fill_through_middles) for part in parts)


def _is_object_of_qupath(feature: dict[str, Any], kind: str) -> bool:
    """Whether it is one object of QuPath; CellViT's are annotations of many nuclei."""
    properties = feature.get("properties")
    told = properties.get("objectType") if isinstance(properties, dict) else None
    drawn = told == "annotation" and kind == "Polygon"
    return "nucleusGeometry" in feature or told in ("detection", "cell") or drawn


def _list(path: Path, value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise _error(path, f"is malformed: {name} has no list of points.", "Export it again.")
    return value


def _ring(path: Path, points: Any, name: str) -> NDArray[np.float64]:
    try:
        ring = np.array(points, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        ring = np.zeros(0)
    # Far outside any slide a number would not fit the canvas.
    if ring.ndim != 2 or ring.shape[1] != 2 or len(ring) < 3 or not (np.abs(ring) < 2**24).all():
        raise _error(
            path, f"is malformed: {name} is no ring of three points or more.", "Export it again."
        )
    return ring


def _error(path: Path, cause: str, remedy: str) -> AnnotationError:
    return AnnotationError(cause, remedy, file=path)
