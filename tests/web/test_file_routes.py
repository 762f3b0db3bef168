"""The report, the model cards and the ONNX files, and nothing else of the folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from axilla.core.config import StudyConfig
from axilla.study.layout import Layout
from axilla.study.model_card import CARD


@pytest.fixture
def card(study: StudyConfig) -> Iterator[Path]:
    """The first model's card; as it was afterwards."""
    path = Layout(study.out).model("clinical", "split") / CARD
    before = path.read_bytes()
    yield path
    path.write_bytes(before)


def test_cards_are_shown_as_the_study_wrote_them(client: TestClient, card: Path) -> None:
    html = client.get("/e/0/models/0").text
    assert "<li>" in html
    assert "<h1>" in html
    title = card.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
    assert title in html
    assert [client.get(f"/e/0/models/{k}").status_code for k in range(4)] == [200, 200, 200, 404]


def test_a_hostile_card_is_text(client: TestClient, card: Path) -> None:
    card.write_text(
        "# A\n<script>bad()</script> <img src=x onerror=bad()>\n\n"
        "[a](javascript:bad()) ![i](http://evil.example/i.png) [b](data:text/html,bad)\n",
        encoding="utf-8",
    )
    html = client.get("/e/0/models/0").text
    assert "<script>bad" not in html
    assert "<img" not in html
    assert 'href="javascript' not in html
    assert 'href="data:' not in html
    assert "&lt;script&gt;bad()" in html


def test_the_report_is_of_no_site(client: TestClient, study: StudyConfig) -> None:
    answer = client.get("/e/0/report")
    assert answer.content == (study.out / "report.html").read_bytes()
    policy = answer.headers["content-security-policy"]
    assert "sandbox allow-scripts" in policy
    assert "allow-same-origin" not in policy
    assert "default-src 'none'" in policy


def test_a_report_that_is_not_written_is_told(client: TestClient, study: StudyConfig) -> None:
    path = study.out / "report.html"
    path.rename(path.with_suffix(".away"))
    try:
        assert client.get("/e/0/report").status_code == 404
        assert "The whole report" not in client.get("/e/0").text
    finally:
        path.with_suffix(".away").rename(path)
    assert "The whole report" in client.get("/e/0").text


def test_an_onnx_file_is_linked_and_downloaded(client: TestClient, study: StudyConfig) -> None:
    folder = Layout(study.out).model("dl-cnb", "split")
    assert "ONNX" not in client.get("/e/0").text
    (folder / "a & b.onnx").write_bytes(b"graph")
    try:
        assert 'href="/e/0/models/1/onnx/0"' in client.get("/e/0").text
        assert "ONNX (a &amp; b.onnx)" in client.get("/e/0").text
        answer = client.get("/e/0/models/1/onnx/0")
        assert answer.content == b"graph"
        assert answer.headers["content-disposition"].startswith("attachment")
        assert client.get("/e/0/models/1/onnx/1").status_code == 404
        assert client.get("/e/0/models/1/onnx/../model.json").status_code == 404
    finally:
        (folder / "a & b.onnx").unlink()
