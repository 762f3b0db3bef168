"""GeoJSON is written feature by feature, whole or not at all."""

import json

import pytest

from axilla.core import store


@pytest.mark.parametrize("count", [0, 1, 3])
def test_features_a_line_each(tmp_path, count):
    path = tmp_path / "new" / "a.geojson"
    features = [{"type": "Feature", "geometry": None, "properties": {"n": n}} for n in range(count)]
    with store.writing_features(path) as add:
        for feature in features:
            add(json.dumps(feature))
        assert not path.exists()
    text = path.read_text(encoding="utf-8")
    assert json.loads(text) == {"type": "FeatureCollection", "features": features}
    assert len(text.splitlines()) == count + 2


def test_an_error_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.geojson"
    path.write_text("old")

    def stop() -> None:
        with store.writing_features(path) as add:
            add("{}")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        stop()
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]
