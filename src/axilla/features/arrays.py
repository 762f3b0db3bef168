"""Features of one's own encoder, handed over as arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h5py

from axilla.core.errors import FeaturesError
from axilla.core.slide_files import is_file_name
from axilla.core.store.atomic import atomic_path
from axilla.features.imported import slide_features

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import ArrayLike


def features_from_arrays(
    folder: Path,
    slide_id: str,
    features: ArrayLike,
    *,
    coords: ArrayLike | None = None,
    patch_size: int | None = None,
    encoder: str | None = None,
) -> Path:
    """Write the features of one slide where a study with `features: <folder>` finds them.

    Parameters
    ----------
    folder
        The folder that the study file names.
    features
        [n, D] of any floating type; kept as float16 or float32.
    coords
        [n, 2], top left corners of the patches (x, y) in level-0 pixels; without them there is no
        heat map.
    patch_size
        Side of a patch in level-0 pixels.
    encoder
        What made the features; all slides of a study must say the same.

    Returns
    -------
    Path
        `<folder>/<slide_id>.h5`, laid out as TRIDENT does.

    Raises
    ------
    FeaturesError
        Shapes do not match, values are no numbers, or the id cannot name a file.
    """
    if not is_file_name(slide_id):
        raise FeaturesError(
            f"the slide id {slide_id!r} cannot be a file's name.", "Take out slashes."
        )
    value = slide_features(features, coords=coords, patch_size=patch_size, encoder=encoder)
    path = folder / f"{slide_id}.h5"
    with atomic_path(path) as temporary, h5py.File(temporary, "w", track_order=False) as file:
        data = file.create_dataset("features", data=value.features, track_times=False)
        data.attrs["encoder"] = encoder or "None"
        if value.coords is not None:
            places = file.create_dataset("coords", data=value.coords, track_times=False)
            if patch_size is not None:
                places.attrs["patch_size_level0"] = patch_size
    return path
