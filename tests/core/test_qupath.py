import json

import numpy as np
from shapely.geometry import shape

from axilla.core.qupath import detection, patch_tiles


def test_tiles_lie_where_the_patches_are_and_carry_their_values():
    text = patch_tiles(
        np.array([[0, 256], [1024, 0]], dtype=np.int32),
        size_level0=256,
        measurements={"Attention": [0.5, 2.0], "Contribution (logit)": [-1.0, np.nan]},
    )
    collection = json.loads(text)
    assert collection["type"] == "FeatureCollection"
    first, second = collection["features"]
    assert shape(first["geometry"]).bounds == (0, 256, 256, 512)
    assert shape(second["geometry"]).bounds == (1024, 0, 1280, 256)
    assert shape(first["geometry"]).is_valid
    assert first["properties"] == {
        "objectType": "tile",
        "measurements": {"Attention": 0.5, "Contribution (logit)": -1.0},
    }
    # JSON has no NaN, and QuPath would not open the file.
    assert second["properties"]["measurements"] == {"Attention": 2.0}


def test_no_patches_are_an_empty_collection():
    text = patch_tiles(np.zeros((0, 2)), size_level0=256, measurements={"Attention": []})
    assert json.loads(text) == {"type": "FeatureCollection", "features": []}


def test_an_outlined_object_is_a_detection_in_one_line():
    ring = np.array([[0.0, 0.25], [4, 0.25], [4, 3.123456]])
    text = detection(ring, kind="Nucleus", measurements={"Area µm²": 12.3456789, "None": np.inf})
    assert "\n" not in text
    feature = json.loads(text)
    assert feature["geometry"]["coordinates"] == [[[0, 0.25], [4, 0.25], [4, 3.12], [0, 0.25]]]
    assert feature["properties"] == {
        "objectType": "detection",
        "classification": {"name": "Nucleus"},
        "measurements": {"Area µm²": 12.346},
    }
