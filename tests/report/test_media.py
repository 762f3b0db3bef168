"""Pictures and downloads inside the page."""

from __future__ import annotations

import base64
import io

import pytest
from PIL import Image

from axilla.report.contents import Figure
from axilla.report.media import aspect_ratio, csv_name, csv_uri, data_uri


def figure(image: bytes, media_type: str) -> Figure:
    return Figure(title="", caption="", image=image, media_type=media_type, alt="")


def raster(width: int, height: int, kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height)).save(file, kind)
    return file.getvalue()


def test_a_data_address_holds_every_byte() -> None:
    content = bytes(range(256))
    head, _, body = data_uri(content, "image/png").partition(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(body) == content


def test_a_csv_begins_with_a_mark_that_excel_reads() -> None:
    body = csv_uri("µm,±\n").partition(",")[2]
    assert base64.b64decode(body) == b"\xef\xbb\xbf\xc2\xb5m,\xc2\xb1\n"


def test_a_download_without_a_name_gets_one_from_its_title() -> None:
    assert csv_name("roc.csv", "ROC") == "roc.csv"
    assert csv_name("", "ROC curves, test") == "roc-curves-test.csv"
    assert csv_name("", "../ΑΩ") == "numbers.csv"


@pytest.mark.parametrize(
    ("image", "media_type", "expected"),
    [
        (raster(300, 200, "PNG"), "image/png", 1.5),
        (raster(100, 400, "JPEG"), "image/jpeg", 0.25),
        (b'<?xml version="1.0"?><svg height="2in" width="6in"/>', "image/svg+xml", 3.0),
        (b"<svg width='100%' viewBox='0 0 50 100'></svg>", "image/svg+xml", 0.5),
        (b'<svg width="0" height="0"/>', "image/svg+xml", None),
        (b"<svg/>", "image/svg+xml", None),
        (b"\x89PNG\r\n\x1a\n", "image/png", None),
        (b"\xff\xd8", "image/jpeg", None),
        (b"", "image/png", None),
    ],
)
def test_a_picture_says_how_wide_it_is(
    image: bytes, media_type: str, expected: float | None
) -> None:
    assert aspect_ratio(figure(image, media_type)) == expected
