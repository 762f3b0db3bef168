"""The report: nothing in the data becomes markup, nothing in it leads to this machine."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest

from axilla.core.config import StudyConfig
from axilla.core.errors import InputProblems
from axilla.study.chain import StudyResult, check, run
from axilla.study.reporting import shown_settings

Make = Callable[..., dict[str, Any]]
EVIL = '<img src=x onerror="alert(1)">'


class Tags(HTMLParser):
    """Collects the elements with what would run or load in them."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts = 0
        self.sources: list[str] = []
        self.handlers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.sources += [v or "" for n, v in attrs if n in {"src", "href"}]
        self.handlers += [n for n, _ in attrs if n.startswith("on")]


def read(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    return tags


def evil_study(plain_study: Make) -> dict[str, Any]:
    rows = [
        f'"{p}",{40 + i},{1 + i % 7 * 0.3:.1f},"{EVIL_CELL if i % 3 else "positive"}",'
        f"negative,negative,{'<b>bad</b>' if i % 2 else '<i>good</i>'}"
        for i, p in enumerate([EVIL_ID, *(f"P{n:02d}" for n in range(19))])
    ]
    header = "patient_id,age,tumor_size_cm,er,pr,her2,outcome"
    endpoint = {"column": "outcome", "negative": "<i>good</i>", "positive": "<b>bad</b>"}
    return plain_study(rows, [], header=header) | {
        "name": f"</title><script>alert(2)</script>{EVIL}", "endpoint": endpoint,
        "methods": ("clinical",), "slides": None, "threshold": 0.5,
    }  # fmt: skip


EVIL_CELL = EVIL.replace('"', '""')
EVIL_ID = EVIL_CELL


def test_what_the_data_say_is_text(plain_study: Make) -> None:
    settings = evil_study(plain_study)
    table = settings["cohort"].read_text(encoding="utf-8")
    bad = f'"<svg onload=alert(3)>",,1.0,positive,negative,negative,"{"<b>bad</b>"}"\n'
    settings["cohort"].write_text(table + bad, encoding="utf-8")
    result = run(StudyConfig.model_validate(settings), exclude_failed=True)
    assert result.report is not None
    page = result.report.read_text(encoding="utf-8")
    tags = read(page)
    assert tags.scripts == 1, "the report's own"
    assert tags.handlers == []
    assert all(source.startswith(("data:", "#")) for source in tags.sources)
    for raw in ("<img src=x", "<svg onload", "<b>bad", "<i>good", "<script>alert"):
        assert raw not in page
    assert "&lt;svg onload=alert(3)&gt;" in page, "who was excluded is named"
    assert "&lt;b&gt;bad&lt;/b&gt;" in page
    tables = settings["out"] / "tables"
    for name in ("table1.html", "table2.html"):
        assert read((tables / name).read_text(encoding="utf-8")).handlers == []
    assert "<img" not in (tables / "table1.html").read_text(encoding="utf-8")


def test_an_id_that_is_no_file_name_is_refused(plain_study: Make) -> None:
    rows = [f"P{n},{40 + n},{1 + n / 10},positive,negative,negative,{n % 2}" for n in range(20)]
    rows.append("<script>alert(1)</script>,50,1,positive,negative,negative,0")
    settings = plain_study(rows, []) | {"methods": ("clinical",), "slides": None}
    (problem,) = check(StudyConfig.model_validate(settings))
    assert problem.patient == "<script>alert(1)</script>"
    assert "cannot be a file's name" in problem.cause
    with pytest.raises(InputProblems):
        run(StudyConfig.model_validate(settings))


def test_the_report_of_the_tiny_study(finished: tuple[StudyConfig, StudyResult]) -> None:
    config, result = finished
    assert result.report == config.out / "report.html"
    page = (config.out / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    tags = read(page)
    assert all(source.startswith(("data:", "#")) for source in tags.sources)
    assert not re.search(r"https?://(?!www\.w3\.org)", re.sub(r"data:[^\"']*", "", page))
    assert str(config.out.parent) not in page, "a report is passed on"
    assert str(config.cohort.parent) not in page
    assert re.search(r"0\.\d{3}<sup>a,b</sup>", page), "Table 2 marks what was compared"
    assert "DeLong, in comparison with DL-CNB model in the independent test cohort" in page
    for text in (
        "This cohort is generated", "30 patients", "1,093 patches", "18 patients", "6 patients",
        "AUC 0.500", "SYN-0005", "Clinical data only", "DL-CNB+C model",
    ):  # fmt: skip
        assert text in page


def test_the_settings_shown_lead_to_no_folder() -> None:
    settings = StudyConfig.model_validate(
        {
            "cohort": "/home/me/cohort.csv", "slides": "/home/me/slides",
            "endpoint": "n0-vs-npos", "bags": {"file": "/home/me/bags.json"},
            "annotations": {"folder": "/home/me/drawn", "keep": ["tumour"]},
            "encoder": {"name": "small_cnn", "weights": "/home/me/w.safetensors"},
            "stain": {"method": "macenko", "target": "/home/me/reference.png"},
        }
    )  # fmt: skip
    shown = shown_settings(settings)
    assert "/home" not in str(shown)
    assert (shown["bags"]["file"], shown["stain"]["target"]) == ("bags.json", "reference.png")
