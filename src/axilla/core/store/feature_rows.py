"""Rows of a slide's features, read from the file when they are asked for."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from axilla.core.errors import StoreError
from axilla.core.store.features import UNREADABLE, check_schema, read_features, unreadable

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import DTypeLike, NDArray


@dataclass(frozen=True, slots=True, eq=False)
class FeatureRows:
    """Features [n, D] that stay in their file: `rows[indices]` reads some, and holds none.

    The system keeps in its cache what fits, and lets it go when memory is short. The file is not
    held open: a study may have more slides than a process may have files.
    """

    path: Path
    offset: int
    """Byte of the file at which the first row begins; row after row follows."""
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    """float16 or float32, in the byte order of this machine."""

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, indices: NDArray[np.int64], /) -> NDArray[Any]:
        """Read rows [k] as [k, D].

        Raises
        ------
        StoreError
            The file is gone, or shorter than it was.
        """
        rows = np.empty((len(indices), self.shape[1]), self.dtype)
        self._fill(rows, indices)
        return rows

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """Read all rows, as NumPy asks for them."""
        if copy is False:
            raise ValueError("the rows are in a file: an array of them is always a copy")
        value: NDArray[Any] = self[np.arange(len(self))]
        return value if dtype is None else value.astype(dtype)

    def _fill(self, rows: NDArray[Any], indices: NDArray[np.int64]) -> None:
        stride = rows.itemsize * self.shape[1]
        buffer = rows.reshape(-1).view(np.uint8).data
        if len(indices) and not 0 <= min(indices) <= max(indices) < len(self):
            raise IndexError(f"rows {min(indices)} to {max(indices)} of {len(self)}")
        try:
            file = os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            try:
                for place, index in enumerate(indices):
                    part = buffer[place * stride : (place + 1) * stride]
                    _read_at(file, part, self.offset + int(index) * stride)
            finally:
                os.close(file)
        except OSError as error:
            raise StoreError(
                f"the features cannot be read any more ({error.strerror or error}).",
                "Leave the files in place during a run; run `axilla embed study.yaml` again.",
                file=self.path,
            ) from error


def _read_at(file: int, part: memoryview, offset: int) -> None:
    done = 0
    while done < len(part):
        if hasattr(os, "preadv"):
            got = os.preadv(file, [part[done:]], offset + done)
        else:  # Windows
            os.lseek(file, offset + done, os.SEEK_SET)
            found = os.read(file, len(part) - done)
            got = len(found)
            part[done : done + got] = found
        if not got:
            raise OSError("the file was cut short")
        done += got


def plain_rows(path: Path, data: h5py.Dataset, *, file: h5py.File) -> FeatureRows | None:
    """Rows of a data set that lies in one piece and as it is; None of any other.

    Chunked, compressed or external data, foreign byte orders and other shapes than [n, D] are for
    the caller to read whole.
    """
    in_one_piece = data.chunks is None and not data.external and not data.is_virtual
    if not in_one_piece or data.ndim != 2 or file.userblock_size:
        return None
    if data.dtype not in (np.dtype(np.float16), np.dtype(np.float32)) or not data.dtype.isnative:
        return None
    offset = data.id.get_offset()
    if offset is None:  # no row was ever written, or the data is in the header
        return None
    if offset + data.size * data.dtype.itemsize > path.stat().st_size:
        raise ValueError("the file was cut short")
    return FeatureRows(path, int(offset), (int(data.shape[0]), int(data.shape[1])), data.dtype)


def open_features(path: Path) -> FeatureRows | NDArray[np.float16] | NDArray[np.float32]:
    """Features of one slide as rows in their file, or read whole where they cannot be such.

    Raises
    ------
    StoreError
        The file is missing, damaged or of another schema.
    """
    try:
        with h5py.File(path, "r") as file:
            check_schema(file)
            data = file["features"]
            rows = plain_rows(path, data, file=file)
            if rows is not None and file["coords"].shape != (len(rows), 2):
                raise ValueError("features and coordinates do not match")
    except UNREADABLE as error:
        raise unreadable(path) from error
    return read_features(path).features if rows is None else rows
