"""What may be given to a new case, and what is told of what may not."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from axilla.web.new_files import MAX_OUTLINE_BYTES

Begin = Callable[..., Any]


def png(width: int, height: int) -> bytes:
    """A PNG whose header claims so many pixels, with hardly any behind it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def bomb() -> bytes:
    """A JPEG of few bytes that claims 65,500 x 65,500 pixels."""
    small = io.BytesIO()
    Image.new("RGB", (16, 16), "white").save(small, "JPEG")
    data = small.getvalue()
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", 65500, 65500) + data[at + 4 :]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "The file is empty"),
        (b"MZ\x90\x00" + b"\0" * 500, "this is no slide"),
        (b"<svg onload='alert(1)'/>", "this is no slide"),
        (b"II*\x00" + b"\x08\x00\x00\x00" + b"\xff" * 300, "slide-1"),
        (b"\xff\xd8\xff" + b"\0" * 200, "slide-1"),
        (bomb(), "this image claims 65,500 x 65,500 pixels"),
        (png(60_000, 60_000), "this image claims 60,000 x 60,000 pixels"),
    ],
    ids=["empty", "program", "svg", "no-svs", "no-jpeg", "jpeg-bomb", "png-bomb"],
)
def test_what_is_no_slide_is_told_and_leaves_nothing(
    *,
    begin: Begin,
    content: bytes,
    told: str,
) -> None:
    begun = begin()
    client, case = begun.client, begun.case
    answer = client.put(f"{case}/slides", content=content)
    assert answer.status_code == 422
    assert told.lower() in answer.json()["problem"].lower()
    assert list(begun.folder.iterdir()) == []
    assert client.get("/new").status_code == 200


def test_half_a_slide_is_told(
    begin: Begin,
    given: Any,
) -> None:
    begun = begin()
    client, case = begun.client, begun.case
    content = given.slide.read_bytes()
    half = client.put(f"{case}/slides", content=content[: len(content) // 2])
    assert half.status_code == 422
    # Fewer bytes than were announced, as where a browser is closed.
    short = client.put(
        f"{case}/slides", content=content[:1000], headers={"content-length": str(len(content))}
    )
    assert short.status_code == 422
    assert "did not come to its end" in short.json()["problem"]
    assert list(begun.folder.iterdir()) == []


def test_bytes_are_bounded_by_case_and_counted_as_they_come(
    begin: Begin,
    given: Any,
) -> None:
    content = given.slide.read_bytes()
    begun = begin(max_upload=len(content) + 10)
    client, case = begun.client, begun.case
    assert client.put(f"{case}/slides", content=content + b"\0" * 11).status_code == 413
    lying = client.put(
        f"{case}/slides", content=content + b"\0" * 11, headers={"content-length": "10"}
    )
    assert lying.status_code == 422
    assert list(begun.folder.iterdir()) == []
    assert client.put(f"{case}/slides", content=content).status_code == 201
    second = client.put(f"{case}/slides", content=content)
    assert second.status_code == 422
    assert "larger than what may still be uploaded" in second.json()["problem"]
    assert client.post(f"{case}/run", content=b"{" * 70_000).status_code == 413
    too_long = b"{" + b" " * MAX_OUTLINE_BYTES
    assert client.put(f"{case}/slides/1/outline", content=too_long).status_code == 413


def test_a_name_says_nothing_and_leads_nowhere(
    begin: Begin,
    given: Any,
) -> None:
    begun = begin()
    client, case = begun.client, begun.case
    named = {"content-disposition": 'attachment; filename="../../evil.svs"', "x-name": "../a"}
    assert client.put(f"{case}/slides?name=../b", content=given.slide.read_bytes(),
                      headers=named).status_code == 201  # fmt: skip
    folder = begun.folder
    assert [path.name for path in folder.iterdir()] == [f"slide-1{given.slide.suffix}"]
    assert folder.stat().st_mode & 0o777 == 0o700
    assert folder.parent.stat().st_mode & 0o777 == 0o700
    for path in (
        "/api/new/../../etc",
        "/api/new/%2e%2e/state",
        f"{case}/slides/..%2f..",
        "/new/..",
    ):
        assert client.get(path).status_code in {303, 404, 405}
    assert client.get(f"/api/new/{'0' * 32}/state").status_code == 404


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"nothing of the sort", "neither JSON nor XML"),
        (b"{}", "annotation of slide slide-1"),
        (b"[" * 200_000, "annotation of slide slide-1"),
        (b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "annotation of slide slide-1"),
        (
            json.dumps({"type": "Polygon", "coordinates": [
                [[9000, 9000], [9900, 9000], [9900, 9900], [9000, 9000]]]}).encode(),
            "outside the slide of 420 x 320",
        ),
    ],
    ids=["text", "no-outline", "deep", "entities", "elsewhere"],
)  # fmt: skip
def test_a_wrong_outline_is_told_and_the_one_before_stays(
    *,
    begin: Begin,
    given: Any,
    content: bytes,
    told: str,
) -> None:
    begun = begin()
    client, case = begun.client, begun.case
    client.put(f"{case}/slides", content=given.slide.read_bytes())
    assert client.put(f"{case}/slides/1/outline", content=given.outline.read_bytes()).is_success
    before = sorted(path.name for path in begun.folder.iterdir())
    answer = client.put(f"{case}/slides/1/outline", content=content)
    assert answer.status_code == 422
    assert told in answer.json()["problem"]
    assert sorted(path.name for path in begun.folder.iterdir()) == before
    assert client.delete(f"{case}/slides/1/outline").is_success
    assert client.delete(f"{case}/slides/1").is_success
    assert list(begun.folder.iterdir()) == []


def test_a_slide_is_picked_by_its_place_and_stays_where_it_is(
    *,
    begin: Begin,
    given: Any,
    hostile: str,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    (folder / "notes.txt").write_text("no slide", encoding="utf-8")
    (folder / f"{hostile}{given.slide.suffix}").write_bytes(given.slide.read_bytes())
    begun = begin(pick=folder)
    client, case = begun.client, begun.case
    html = client.get("/new").text
    assert hostile not in html
    assert "&lt;img src=x onerror" in html
    assert "notes.txt" not in html
    assert str(folder) not in html
    for wrong in ({"pick": 1}, {"pick": -1}, {"pick": "../notes.txt"}, {"path": "/etc/passwd"}):
        assert client.post(f"{case}/slides", json=wrong).status_code in {404, 422}
    found = client.post(f"{case}/slides", json={"pick": 0})
    assert found.status_code == 201
    assert found.json()["width"] == 420
    assert client.delete(case).is_success
    assert len(list(folder.iterdir())) == 2


def test_a_pyramid_goes_with_its_slide(
    begin: Begin,
    tmp_path: Path,
) -> None:
    """A flat image that is too large to be held gets one for the viewer."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (90, 90, 3), np.uint8)
    large = Image.fromarray(small).resize((8300, 8300), Image.Resampling.NEAREST)
    content = io.BytesIO()
    large.save(content, "JPEG", quality=60)
    begun = begin()
    client, case = begun.client, begun.case
    assert client.put(f"{case}/slides", content=content.getvalue()).status_code == 201
    assert begun.served.new is not None
    made = [path for paths in begun.served.new.slides._made.values() for path in paths]
    assert len(made) == 1
    assert made[0].is_file()
    assert client.delete(f"{case}/slides/1").is_success
    assert not made[0].exists()
