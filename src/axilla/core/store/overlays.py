"""`heatmaps/<slide>-<values>.ome.tif`: patch values as an image that viewers lay over the slide."""

from __future__ import annotations

import uuid
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from axilla.core.store.atomic import atomic_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    import tifffile
    from numpy.typing import NDArray

_CLASSIC_BYTES = 2**32 - 2**25
"""A TIFF that may become larger needs 64-bit offsets, which fewer programs read."""
_FAST = 1
"""zlib's level: patches are constant, so that more effort finds no more."""
Level = tuple[tuple[int, int], "Iterable[NDArray[np.float32] | None]"]
"""Rows and columns, and the tiles, row by row; None is a tile of NaN."""


def write_overlay(
    path: Path,
    levels: Sequence[Level],
    *,
    tile: int,
    channel: str,
    description: str,
    identity: str,
    microns_per_px: float | None,
) -> None:
    """Write one float32 channel as a pyramidal OME-TIFF: tiles, zlib, smaller levels as SubIFDs.

    Parameters
    ----------
    path
        Where to; its name ends in `.ome.tif`.
    levels
        From the finest, each half as fine as the one before. Never more than a tile is held.
    tile
        Side of a tile in pixels, a multiple of 16.
    channel
        Its name.
    description
        Of the image, for its readers.
    identity
        What the file is made from: the same gives the same file, byte for byte.
    microns_per_px
        µm that a pixel of the first level spans; None where nobody knows.

    Raises
    ------
    WriteError
        The disk refuses.
    """
    import tifffile

    metadata: dict[str, Any] = {
        "axes": "YX",
        "UUID": str(uuid.uuid5(uuid.NAMESPACE_OID, identity)),
        "Creator": "axilla",
        "Name": channel,
        "Description": description,
        "Channel": {"Name": [channel]},
    }
    if microns_per_px is not None:
        metadata |= {f"PhysicalSize{axis}": microns_per_px for axis in "XY"}
        metadata |= {f"PhysicalSize{axis}Unit": "µm" for axis in "XY"}
    raw = sum(4 * rows * columns for (rows, columns), _ in levels)
    packed = [_Packed(tiles, tile=tile) for _, tiles in levels]
    with atomic_path(path) as temporary:
        with tifffile.TiffWriter(
            temporary, bigtiff=raw > _CLASSIC_BYTES, byteorder="<", ome=True
        ) as file:
            for number, (shape, _) in enumerate(levels):
                own: dict[str, Any] = {"subfiletype": 1, "metadata": None}
                if number == 0:
                    own = {"subifds": len(levels) - 1, "metadata": metadata}
                if microns_per_px is not None:
                    per_cm = 1e4 / (microns_per_px * 2**number)
                    own |= {"resolution": (per_cm, per_cm), "resolutionunit": "CENTIMETER"}
                file.write(
                    iter(packed[number]), shape=shape, dtype="<f4", tile=(tile, tile),
                    photometric="minisblack", compression="zlib", software="axilla", **own,
                )  # fmt: skip
        with tifffile.TiffFile(temporary, mode="r+") as file:
            for level, tiles in zip(file.series[0].levels, packed, strict=True):
                tiles.share(level.keyframe)


class _Packed:
    """Tiles as they are stored. Those without a patch, most of a slide, are all stored once."""

    def __init__(self, tiles: Iterable[NDArray[np.float32] | None], *, tile: int) -> None:
        self._tiles = tiles
        self._tile = tile
        self._empty: list[int] = []

    def __iter__(self) -> Iterator[bytes]:
        for index, one in enumerate(self._tiles):
            if one is not None:
                yield zlib.compress(one.astype("<f4").tobytes(), _FAST)
                continue
            self._empty.append(index)
            if len(self._empty) > 1:
                yield b""
                continue
            yield zlib.compress(np.full(self._tile**2, np.nan, "<f4").tobytes(), _FAST)

    def share(self, page: tifffile.TiffPage) -> None:
        """Let all empty tiles of a level be the one that was stored."""
        for name in ("TileOffsets", "TileByteCounts"):
            values = list(page.tags[name].value)
            for index in self._empty:
                values[index] = values[self._empty[0]]
            if self._empty:
                page.tags[name].overwrite(values)
