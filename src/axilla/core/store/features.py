"""`features/<encoder>/<slide>.h5`: the layout that CLAM, TRIDENT and STAMP users have."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import h5py
import numpy as np

from axilla.core.errors import StoreError
from axilla.core.store.atomic import atomic_path
from axilla.core.store.records import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from _typeshed import ReadableBuffer as Buffer
    from numpy.typing import NDArray


UNREADABLE = (OSError, KeyError, ValueError, TypeError, RuntimeError)
"""What h5py raises for a file that is not whole."""


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Feature vectors of one slide.

    `features` float16 or float32 [n, D]; `coords` int32 [n, 2], level-0 pixels (x, y).
    """

    features: NDArray[np.float16] | NDArray[np.float32]
    coords: NDArray[np.int32]
    encoder: str
    weights_digest: str
    patch_size: int
    mpp: float | None
    computing: str = ""
    """Precision and library that computed them, as far as the file says."""


class _Sink(io.FileIO):
    """A file that keeps the first refusal of the disk until HDF5 has closed.

    HDF5 fails when it closes a file on a full disk, and then leaves it open for good.
    """

    refused: OSError | None = None

    def write(self, data: Buffer, /) -> int:
        """Write, or pretend to once the disk has refused."""
        size = memoryview(data).nbytes
        if self.refused is None:
            try:
                return super().write(data)
            except OSError as error:
                self.refused = error
        return size

    def truncate(self, size: int | None = None, /) -> int:
        """Set the length, or pretend to once the disk has refused."""
        if self.refused is None:
            try:
                return super().truncate(size)
            except OSError as error:
                self.refused = error
        return size or 0


def write_features(
    path: Path,
    value: Features,
    *,
    key: str,
    parts: Iterable[NDArray[np.float16]] | None = None,
) -> None:
    """Write the features of one slide; the same input gives the same bytes.

    Parameters
    ----------
    parts
        The features some rows at a time, so that a slide's are never in memory as a whole;
        `value.features` is then an empty [0, D], and its coordinates say how many rows there are.
    """
    rows, kind = (len(value.coords), value.features.shape[1]), value.features.dtype
    with atomic_path(path) as temporary, _Sink(temporary, "w+b") as sink:
        with h5py.File(sink, "w", track_order=False) as file:
            # No creation times: a run that was killed and started again writes byte-equal files.
            features = file.create_dataset("features", rows, kind, track_times=False)
            start = 0
            for part in [value.features] if parts is None else parts:
                features[start : start + len(part)] = part
                start += len(part)
            file.create_dataset("coords", data=value.coords, track_times=False)
            file.attrs["encoder"] = value.encoder
            file.attrs["weights_digest"] = value.weights_digest
            file.attrs["patch_size"] = value.patch_size
            file.attrs["mpp"] = np.nan if value.mpp is None else value.mpp
            file.attrs["computing"] = value.computing
            file.attrs["config_hash"] = key
            file.attrs["schema_version"] = SCHEMA_VERSION
        if sink.refused is not None:
            raise sink.refused


def read_features_key(path: Path) -> str | None:
    """Key of the step that wrote the file; None where there is none of this schema."""
    if not path.is_file():
        return None
    try:
        with h5py.File(path, "r") as file:
            if int(file.attrs.get("schema_version", 0)) != SCHEMA_VERSION:
                return None
            return str(file.attrs["config_hash"])
    except UNREADABLE:
        return None


def unreadable(path: Path) -> StoreError:
    """The error of features that cannot be read."""
    return StoreError(
        "the features are missing, damaged or of another version.",
        "Delete the file and run `axilla embed study.yaml`.",
        file=path,
    )


def check_schema(file: h5py.File) -> None:
    """Refuse, with a ValueError, a file of another version."""
    if int(file.attrs["schema_version"]) != SCHEMA_VERSION:
        raise ValueError("another schema")


def read_features(path: Path) -> Features:
    """Read the features of one slide.

    Raises
    ------
    StoreError
        The file is missing, damaged or of another schema.
    """
    try:
        with h5py.File(path, "r") as file:
            check_schema(file)
            mpp = float(file.attrs["mpp"])
            value = Features(
                features=file["features"][()],
                coords=file["coords"][()],
                encoder=str(file.attrs["encoder"]),
                weights_digest=str(file.attrs["weights_digest"]),
                patch_size=int(file.attrs["patch_size"]),
                mpp=None if np.isnan(mpp) else mpp,
                computing=str(file.attrs.get("computing", "")),
            )
        if value.features.ndim != 2 or value.coords.shape != (len(value.features), 2):
            raise ValueError("features and coordinates do not match")
    except UNREADABLE as error:
        raise unreadable(path) from error
    return value
