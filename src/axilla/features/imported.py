"""Features made elsewhere, read as they are: TRIDENT, CLAM, STAMP, tensors, and our own files.

| written by | features | coords |
|---|---|---|
| TRIDENT | `features` [n, D] or [1, n, D] | level-0 pixels |
| CLAM | `features` [n, D] | level-0 pixels |
| STAMP | `feats` [n, D] | µm; before version 2, 224ths of 256 µm |
| axilla | `features` [n, D] | level-0 pixels |
| .pt | a tensor [n, D] or [1, n, D] | none |

Besides, TRIDENT's file says the encoder (`features.attrs`) and the patch size (`coords.attrs`:
patch_size_level0); STAMP's the extractor and tile_size_um (tile_size and unit in 2.0); ours the
encoder and the schema_version.
"""

from __future__ import annotations

from dataclasses import dataclass
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, Literal

import h5py
import numpy as np
import torch
from scipy.spatial import cKDTree

from axilla.core.archives import is_packed
from axilla.core.errors import FeaturesError
from axilla.core.store import FeatureRows, plain_rows

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

MAX_BYTES = 4 * 2**30
"""Of one slide's features, unpacked: 400,000 patches of 2,560 numbers; what says it holds more is
not read."""
_STAMP_UM, _STAMP_PX = 256.0, 224
_STEP_DECIMALS = 3
"""To which distances of coordinates in µm count as the same."""
_UNREADABLE = (OSError, KeyError, ValueError, TypeError, RuntimeError)
"""What h5py raises for a file that is not whole."""
_UNLOADABLE = (OSError, RuntimeError, ValueError, EOFError, LookupError, TypeError, UnpicklingError)
Format = Literal["trident", "clam", "stamp", "axilla", "pt"]


@dataclass(frozen=True, slots=True, eq=False)
class SlideFeatures:
    """Features of one slide as its file has them.

    `features` float16 or float32 [n, D], all finite; `coords` float64 [n, 2], the patches' top left
    corners (x, y) in `unit`, None where the file has none.
    """

    features: NDArray[Any]
    coords: NDArray[np.float64] | None
    unit: Literal["px", "µm"]
    """Pixels of level 0, or µm."""
    patch_size: float | None
    """Side of a patch in `unit`; None where the file does not say."""
    source: Format
    encoder: str | None
    """As the file names it."""


class _LayoutError(Exception):
    """What is wrong with a file; it becomes a FeaturesError, which knows patient and file."""

    def __init__(self, cause: str, remedy: str) -> None:
        self.cause, self.remedy = cause, remedy
        super().__init__(cause)


def read_slide_features(
    path: Path, *, patient_id: str, source: Format | Literal["auto"] = "auto"
) -> SlideFeatures:
    """Read features made elsewhere.

    Raises
    ------
    FeaturesError
        The file is cut short, of no known layout or of another than `source`, holds no patch or
        values that are no numbers; patient and file are named.
    """
    try:
        found = _read_pt(path) if path.suffix == ".pt" else _read_h5(path, source)
        checked = _checked(found)
    except _LayoutError as wrong:
        raise FeaturesError(wrong.cause, wrong.remedy, patient=patient_id, file=path) from wrong
    return checked


def open_slide_rows(path: Path) -> FeatureRows | None:
    """Rows of an h5 file that `read_slide_features` found in order; None where they are not plain.

    Plain is what lies in the file in one piece, neither chunked nor compressed.
    """
    if path.suffix == ".pt":
        return None
    try:
        with h5py.File(path, "r") as file:
            name = "feats" if "feats" in file else "features"
            inside = isinstance(file.get(name, getlink=True), h5py.HardLink)
            return plain_rows(path, file[name], file=file) if inside else None
    except _UNREADABLE:
        return None  # whoever reads the whole says what is wrong


def slide_features(
    features: ArrayLike,
    *,
    coords: ArrayLike | None = None,
    patch_size: float | None = None,
    encoder: str | None = None,
) -> SlideFeatures:
    """Features and coordinates from arrays, held to the same rules as files.

    Parameters
    ----------
    features
        [n, D].
    coords
        [n, 2], top left corners (x, y) in level-0 pixels.
    patch_size
        Side of a patch in level-0 pixels.

    Raises
    ------
    FeaturesError
        Shapes do not match, or values are no numbers.
    """
    try:
        return _checked(
            SlideFeatures(
                features=np.asarray(features),
                coords=None if coords is None else np.asarray(coords, dtype=np.float64),
                unit="px",
                patch_size=patch_size,
                source="trident",
                encoder=encoder,
            )
        )
    except _LayoutError as wrong:
        raise FeaturesError(wrong.cause, wrong.remedy) from wrong


def _checked(found: SlideFeatures) -> SlideFeatures:
    features, coords = found.features, found.coords
    if features.ndim == 3 and features.shape[0] == 1:
        features = features[0]
    again = "Compute them again, or run with --exclude-failed."
    if features.size == 0:
        raise _LayoutError("the features hold no patch.", again)
    if features.ndim != 2 or not np.issubdtype(features.dtype, np.floating):
        raise _LayoutError(
            f"the features are {features.dtype} {list(features.shape)}, not numbers [n, D].", again
        )
    if features.dtype not in (np.float16, np.float32):
        with np.errstate(over="ignore"):
            features = features.astype(np.float32)
    bad = int((~np.isfinite(features).all(axis=1)).sum())
    if bad:
        raise _LayoutError(f"the features of {bad} patches are no finite numbers.", again)
    if coords is not None:
        if coords.ndim == 3 and coords.shape[0] == 1:
            coords = coords[0]
        if coords.shape != (len(features), 2) or not np.isfinite(coords).all():
            raise _LayoutError(
                f"there are {len(features)} patches, but the coordinates are "
                f"{list(coords.shape)}, not [{len(features)}, 2].",
                again,
            )
    return SlideFeatures(
        features=features, coords=coords, unit=found.unit, patch_size=found.patch_size,
        source=found.source, encoder=found.encoder,
    )  # fmt: skip


def _read_pt(path: Path) -> SlideFeatures:
    if path.stat().st_size > MAX_BYTES:
        raise _too_large()
    if is_packed(path):
        raise _LayoutError(
            "the file is a packed archive, which torch.save does not write.",
            "Save the features with torch.save(tensor, file), or as .h5.",
        )
    try:
        # weights_only: a pickle that holds anything but tensors is refused, never run.
        tensor = torch.load(path, map_location="cpu", weights_only=True)
    except _UNLOADABLE as error:
        raise _LayoutError(
            f"the file is cut short, or holds something else than a tensor ({_first(error)}).",
            "Save the features with torch.save(tensor, file), or as .h5.",
        ) from error
    if not isinstance(tensor, torch.Tensor):
        raise _LayoutError(
            "the file holds no tensor.", "Save the features with torch.save(tensor, file)."
        )
    if tensor.layout != torch.strided:
        raise _LayoutError(
            "the file holds a sparse tensor.", "Save tensor.to_dense() in its place."
        )
    # A single number may be stored and said to be repeated.
    if tensor.numel() * tensor.element_size() > MAX_BYTES:
        raise _too_large()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    return SlideFeatures(
        features=tensor.detach().numpy(), coords=None, unit="px", patch_size=None, source="pt",
        encoder=None,
    )  # fmt: skip


def _too_large() -> _LayoutError:
    return _LayoutError(
        f"the file holds more than {MAX_BYTES // 2**30} GiB, too much for one slide.",
        "Check the file.",
    )


def _read_h5(path: Path, source: str) -> SlideFeatures:
    try:
        with h5py.File(path, "r") as file:
            found = _layout(file)
            if source not in {"auto", found}:
                raise _LayoutError(
                    f"the file is laid out as {found} writes it, but features.format is {source}.",
                    "Set features.format: auto, or give the files of one program.",
                )
            features = _dataset(file, "feats" if found == "stamp" else "features")
            coords = _dataset(file, "coords") if "coords" in file else None
            attrs = dict(file.attrs)
            of_features = dict(file["features"].attrs) if found == "trident" else {}
            of_coords = (
                dict(file["coords"].attrs) if found == "trident" and "coords" in file else {}
            )
    except _UNREADABLE as error:
        raise _LayoutError(
            f"the file is cut short or no HDF5 ({_first(error)}).",
            "Copy it again, or compute the features again; or run with --exclude-failed.",
        ) from error
    try:
        if found == "stamp":
            return _stamp(features, coords, attrs)
        size = of_coords.get("patch_size_level0")
        return SlideFeatures(
            features=features,
            coords=None if coords is None else coords.astype(np.float64),
            unit="px",
            patch_size=None if size is None else float(size),
            source=found,
            encoder=_text((of_features if found == "trident" else attrs).get("encoder")),
        )
    except (ValueError, TypeError, IndexError) as error:
        raise _LayoutError(
            f"its coordinates or the size of its patches are no numbers ({_first(error)}).",
            f"Compute the features again, by {found} as it comes.",
        ) from error


def _layout(file: h5py.File) -> Format:
    if "feats" in file:
        return "stamp"
    if "features" not in file:
        raise _LayoutError(
            f"the file holds neither `features` nor `feats` ({', '.join(file) or 'nothing'}).",
            "Give files of TRIDENT, CLAM or STAMP, or .pt tensors.",
        )
    if "schema_version" in file.attrs and "encoder" in file.attrs:
        return "axilla"
    says = set(file["features"].attrs) | (set(file["coords"].attrs) if "coords" in file else set())
    return "trident" if says & {"encoder", "patch_size_level0", "level0_magnification"} else "clam"


def _dataset(file: h5py.File, name: str) -> NDArray[Any]:
    """One array of the file itself, of a size that can be."""
    data = file[name]
    inside = isinstance(file.get(name, getlink=True), h5py.HardLink)
    if not inside or not isinstance(data, h5py.Dataset) or data.external or data.is_virtual:
        # Such a file could make us read any other file of this machine.
        raise _LayoutError(
            f"`{name}` is no array of the file itself.", "Write the arrays into the file."
        )
    if data.size is None or data.size * data.dtype.itemsize > MAX_BYTES:
        raise _LayoutError(
            f"`{name}` says it is {data.shape}, too large for one slide.", "Check the file."
        )
    value: NDArray[Any] = data[()]
    return value


def _stamp(
    features: NDArray[Any], coords: NDArray[Any] | None, attrs: Mapping[str, Any]
) -> SlideFeatures:
    kind = _text(attrs.get("feat_type")) or "tile"
    if kind != "tile":
        raise _LayoutError(
            f"these are the features of a whole {kind}, not of its tiles.",
            "Give the files that `stamp preprocess` wrote.",
        )
    size: float | None = None
    if "tile_size_um" in attrs:
        size = float(attrs["tile_size_um"])
    elif _text(attrs.get("unit")) == "um" and "tile_size" in attrs:
        size = float(attrs["tile_size"])
    elif coords is not None and _in_stamp_px(float(attrs.get("tile_size", _stride(coords)))):
        # Before version 2: tiles of 256 µm at 224 pixels, counted in those pixels.
        coords = coords.astype(np.float64) * (_STAMP_UM / _STAMP_PX)
        size = _STAMP_UM
    else:
        coords = None  # of no known unit: none is better than made up
    return SlideFeatures(
        features=features,
        coords=None if coords is None else coords.astype(np.float64),
        unit="µm",
        patch_size=size,
        source="stamp",
        encoder=_text(attrs.get("extractor")),
    )


def _in_stamp_px(step: float) -> bool:
    """Whether tiles lie so far apart that their places are counted in STAMP's first pixels.

    A multiple of a tile's side, where those between two tiles were left out.
    """
    return round(step) >= _STAMP_PX and round(step) % _STAMP_PX == 0


def patch_side(found: SlideFeatures) -> float | None:
    """Side of a patch in `unit`: as the file says, else what most patches are from the next."""
    if found.patch_size is not None or found.coords is None:
        return found.patch_size
    step = _stride(found.coords)
    return step if step > 0 else None


def _stride(coords: NDArray[Any]) -> float:
    """From how far most patches have their nearest neighbour; 0 where there is one patch only.

    As squares lie: the larger of both distances. Not the smallest step between any two columns:
    CLAM begins a grid at each piece of tissue, and these do not line up.
    """
    places = np.unique(np.reshape(np.asarray(coords, dtype=np.float64), (-1, 2)), axis=0)
    if len(places) < 2:
        return 0.0
    steps = cKDTree(places).query(places, k=2, p=np.inf)[0][:, 1]
    values, counts = np.unique(np.round(steps, _STEP_DECIMALS), return_counts=True)
    return float(values[counts.argmax()])


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    # TRIDENT writes the word None where it does not know.
    return None if value is None or str(value) in {"", "None"} else str(value)


def _first(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
