"""The report as a file: whole, closed to the outside, and safe with hostile text."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest
from PIL import Image

from axilla.report.contents import (
    CaseView,
    Figure,
    FlowStep,
    Highlight,
    Part,
    ReportContents,
    Table,
)
from axilla.report.html import GENERATED_NOTICE, USE_NOTICE, render_report

HOSTILE = (
    """<script>alert(1)</script>"'><img src=https://evil.example/x onerror=alert(2)>{{ 7*7 }}"""
)
SVG = (
    b'<svg xmlns="http://www.w3.org/2000/svg" width="4" height="4"><script>alert(3)</script></svg>'
)
VOID = {"meta", "img", "br", "hr", "link", "input"}
LOADING = {"src", "srcset", "href", "poster", "data", "action", "formaction", "background", "style"}


def sample_contents(text: str = "") -> ReportContents:
    """A small report with every part; `text` is put into every place that data can reach."""
    file = io.BytesIO()
    Image.new("RGB", (8, 6), "navy").save(file, "PNG")
    drawn = Figure(
        f"ROC{text}", f"Curves.{text}", SVG, "image/svg+xml", f"ROC{text}", text, "a,b\n"
    )
    heat = Figure(f"Heat map{text}", "", file.getvalue(), "image/png", f"Heat{text}")
    table = Table(
        title=f"Performance{text}",
        columns=("Method", "Cohort", f"AUC{text}"),
        rows=(
            (f"DL-CNB{text}", "Training", "0.901 [0.877, 0.921]"),
            ("", f"Test{text}", "0.816 [0.758, 0.865]"),
        ),
        notes=(f"A note.{text}",),
        csv_name=f"table2.csv{text}",
    )
    flow = (
        FlowStep(f"Enrolled{text}", 1060),
        FlowStep(
            "Included",
            1058,
            slides=1,
            patches=76578,
            excluded=((f"No nodes counted{text}", (f"P-7{text}", "P-8")),),
            branches=((f"Training{text}", 1, f"1 of 1 N(+){text}"), ("Test", 1057, "")),
        ),
    )
    return ReportContents(
        name=f"Northgate{text}",
        endpoint=f"N0 against N(+){text}",
        generated=False,
        summary=(f"It works a little.{text}",),
        warnings=(f"Small cohort.{text}",),
        flow=flow,
        tables=(table,),
        figures=(drawn,),
        cases=(
            CaseView(
                f"P-1{text}",
                f"S-1{text}",
                f"N(+){text}",
                f"0.87{text}",
                (heat, drawn),
                (heat,),
                drawn,
            ),
            CaseView("P-2", "S-2", "N0", "0.25 [0.10, 0.40]", (heat,)),
        ),
        published=replace(table, title=f"Beside the paper{text}", csv_name=""),
        settings={
            f"name{text}": text,
            "split": {"seed": 8888, f"test{text}": 0.2},
            "training": {"restarts": {"t0": 20}, "seed": 17, "mpp": None},
            "methods": ["clinical", text],
            "redraw": False,
            "published": [{"source": f"Xu 2021{text}", "auc": 0.661, "accuracy": None}],
        },
        versions={"axilla": f"0.1.0{text}", f"torch{text}": "2.9"},
        highlights=(Highlight(f"AUC{text}", f"0.816{text}", f"95% CI{text}"),),
        plain=(f"Of 100 patients{text}",),
        plain_table=replace(table, title=f"Of 100{text}", csv_name="", listed=True),
        parts=(
            Part("calibration", f"Calibration{text}", "tables", (f"Told.{text}",), (table,)),
            Part("curve", "Decision curve", "figures", figures=(drawn,)),
            Part(
                "list",
                f"A list{text}",
                "settings",
                folded=True,
                numbered=False,
                tables=(
                    replace(
                        table,
                        rows=((f"Head{text}", "", ""), *table.rows),
                        csv_name="",
                        listed=True,
                        number_columns=(),
                    ),
                ),
            ),
        ),
        methods=(f"Ten patches a bag.{text}",),
        created=f"14 March 2026{text}",
        kind=f"study report{text}",
        cases_intro=(f"No evidence.{text}",),
    )


class Page(HTMLParser):
    """What a browser would find, and whether every element is closed in its turn."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"{tag} repeats an attribute"
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def text(self, *, within: str | None = None) -> str:
        if within is None:
            return " ".join(data for tag, data in self.texts if tag not in {"style", "script"})
        return "".join(data for tag, data in self.texts if tag == within)

    def anchors(self) -> list[str]:
        return [
            a["id"] for tag, a in self.elements if tag == "section" and a.get("class") == "part"
        ]


def decoded(address: str) -> tuple[str, bytes]:
    head, _, body = address.partition(",")
    assert head.endswith(";base64")
    return head, base64.b64decode(body, validate=True)


def test_the_page_is_whole() -> None:
    markup = render_report(sample_contents())
    page = Page(markup)
    assert markup.startswith("<!DOCTYPE html>")
    assert page.open == []
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == len(page.all("main")) == 1
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.elements:
        if attributes.get("href", "").startswith("#"):
            assert attributes["href"][1:] in ids
        if "aria-labelledby" in attributes:
            assert attributes["aria-labelledby"] in ids, tag


def test_headings_skip_no_level() -> None:
    levels = [
        int(tag[1])
        for tag, _ in Page(render_report(sample_contents())).elements
        if re.fullmatch(r"h[1-6]", tag)
    ]
    assert levels[0] == 1
    assert all(below <= above + 1 for above, below in pairwise(levels))


def test_the_contents_list_what_there_is() -> None:
    page = Page(render_report(sample_contents()))
    expected = ["summary", "warnings", "patients", "tables", "calibration", "published"]
    expected += ["figures", "curve", "cases", "methods", "settings", "list"]
    assert page.anchors() == expected
    links = [a["href"] for a in page.all("a") if a["href"].startswith("#")]
    assert links[1:] == [f"#{anchor}" for anchor in expected]


@pytest.mark.parametrize(
    ("anchor", "changes"),
    [
        ("summary", {"summary": (), "highlights": (), "plain": ()}),
        ("warnings", {"warnings": ()}),
        ("patients", {"flow": ()}),
        ("tables", {"tables": ()}),
        ("published", {"published": None}),
        ("figures", {"figures": ()}),
        ("cases", {"cases": ()}),
        ("methods", {"methods": ()}),
        ("settings", {"settings": {}, "versions": {}}),
    ],
)
def test_a_part_without_contents_is_left_out(anchor: str, changes: dict[str, Any]) -> None:
    full = Page(render_report(sample_contents())).anchors()
    page = Page(render_report(replace(sample_contents(), **changes)))
    assert page.anchors() == [part for part in full if part != anchor]
    assert f"#{anchor}" not in [a["href"] for a in page.all("a")]


def test_further_parts_go_on_with_the_numbers() -> None:
    markup = re.sub(r"\s+", " ", Page(render_report(sample_contents())).text())
    assert re.findall(r"Table \d|Figure \d", markup) == [
        "Table 1",
        "Table 2",
        "Figure 1",
        "Figure 2",
    ]
    assert "Show A list" in markup
    page = Page(render_report(sample_contents()))
    assert [a for a in page.all("table") if a.get("class") == "listed"]
    assert {"scope": "rowgroup", "colspan": "3"} in page.all("th")
    assert "AUC" in [cell.get("data-column") for cell in page.all("td")]


def test_a_part_keeps_its_place_where_its_neighbour_is_missing() -> None:
    page = Page(render_report(replace(sample_contents(), tables=(), figures=())))
    assert page.anchors()[3:6] == ["calibration", "published", "curve"]


def test_an_empty_report_is_still_a_page() -> None:
    empty = ReportContents("n", "e", False, (), (), (), (), (), (), None, {}, {})
    page = Page(render_report(empty))
    assert page.anchors() == []
    assert page.all("nav") == []
    assert USE_NOTICE in page.text()


def test_a_generated_cohort_is_said_at_the_top_and_on_every_printed_page() -> None:
    markup = render_report(replace(sample_contents(), generated=True))
    page = Page(markup)
    style = page.text(within="style")
    first_heading = markup.index("<h1")
    assert markup.index(GENERATED_NOTICE, markup.index("<body")) < first_heading
    assert f'@top-center {{ content: "{GENERATED_NOTICE}"' in style
    assert "page-mark" in [a.get("class") for a in page.all("p")]
    assert "(generated cohort)" in page.text(within="title")


def test_a_real_cohort_is_not_called_generated() -> None:
    assert "generated" not in Page(render_report(sample_contents())).text().lower()
    assert GENERATED_NOTICE not in render_report(sample_contents())


def test_every_report_says_what_it_is_for() -> None:
    assert Page(render_report(sample_contents())).text().count(USE_NOTICE) == 2


def test_hostile_text_stays_text() -> None:
    markup = render_report(sample_contents(HOSTILE))
    page, plain = Page(markup), Page(render_report(sample_contents("x")))
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
    assert [sorted(a) for _, a in page.elements] == [sorted(a) for _, a in plain.elements]
    assert len(page.all("script")) == 1
    assert "alert" not in page.text(within="script")
    assert page.text(within="style") == plain.text(within="style")
    assert "49" not in page.text()
    for place in ("Northgate", "P-7", "P-1", "S-1", "DL-CNB", "A note.", "Small cohort."):
        assert f"{place}{HOSTILE}" in page.text()
    assert f"ROC{HOSTILE}" in [image["alt"] for image in page.all("img")]


@pytest.mark.parametrize("text", ["", HOSTILE])
def test_nothing_is_loaded_from_outside(text: str) -> None:
    page = Page(render_report(sample_contents(text)))
    for tag, attributes in page.elements:
        assert tag not in {"link", "iframe", "object", "embed", "base", "form", "image", "use"}
        for name in LOADING & attributes.keys():
            assert attributes[name].startswith(("#", "data:image/", "data:text/csv;")), tag
        assert not any(name.startswith("on") for name in attributes)
    for source in (page.text(within="style"), page.text(within="script")):
        assert not re.search(r"https?:|url\(|@import|fetch|XMLHttp|//", source)


def test_the_policy_allows_our_script_alone() -> None:
    page = Page(render_report(sample_contents()))
    (policy,) = (m["content"] for m in page.all("meta") if m.get("http-equiv"))
    digest = base64.b64encode(hashlib.sha256(page.text(within="script").encode()).digest()).decode()
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy


def test_pictures_arrive_as_they_were_given() -> None:
    images = Page(render_report(sample_contents())).all("img")
    assert len(images) == 7
    assert all(image["alt"] for image in images)
    for image in images:
        head, content = decoded(image["src"])
        if "svg" in head:
            assert content == SVG
        else:
            with Image.open(io.BytesIO(content)) as opened:
                assert opened.size == (8, 6)


def test_a_drawing_cannot_run_its_script() -> None:
    page = Page(render_report(sample_contents()))
    assert all("alert" not in text for tag, text in page.texts if tag == "script")
    assert [a.get("class") for a in page.all("svg")] == ["bar", "bar"]


def test_numbers_can_be_downloaded() -> None:
    links = [a for a in Page(render_report(sample_contents())).all("a") if "download" in a]
    assert [a["download"] for a in links] == ["table2.csv"] * 2 + ["roc.csv"] * 4
    assert decoded(links[0]["href"])[1].decode("utf-8-sig").splitlines()[1:] == [
        'DL-CNB,Training,"0.901 [0.877, 0.921]"',
        ',Test,"0.816 [0.758, 0.865]"',
    ]


def test_the_flow_counts_and_names_who_left() -> None:
    page = Page(render_report(sample_contents()))
    text = re.sub(r"\s+", " ", page.text())
    assert "1,060 patients" in text
    assert "1 slide · 76,578 patches" in text
    assert "2 patients excluded No nodes counted 2" in text
    assert "P-7 , P-8" in text
    assert "Training 1 patient 1 of 1 N(+)" in text
    assert "Test 1,057 patients" in text


def test_a_table_is_marked_up_for_screen_readers() -> None:
    page = Page(render_report(sample_contents()))
    heads = page.all("th")
    assert [h["scope"] for h in heads[:3]] == ["col"] * 3
    assert {"scope": "rowgroup", "rowspan": "2"} in heads
    assert all(
        a["tabindex"] == "0" and a["role"] == "region"
        for a in page.all("div")
        if a.get("class") == "scroll"
    )


def test_a_score_is_drawn_where_it_is_a_probability() -> None:
    scores = (
        "0.87 [0.79, 0.92]",
        "1.0",
        "2.5",
        "N0 0.2, N(+) 0.8",
        "87%",
        "0.5%",
        "0.5 %",
        "0.9e-3",
    )
    base = sample_contents()
    cases = tuple(replace(base.cases[0], score=score) for score in scores)
    bars = Page(render_report(replace(base, cases=cases))).all("rect")[1::2]
    assert [bar["width"] for bar in bars] == ["87.0", "100.0"]


def test_settings_versions_and_seeds_are_there() -> None:
    text = re.sub(r"\s+", " ", Page(render_report(sample_contents())).text())
    assert "split.seed = 8888 , training.seed = 17" in text
    for entry in ("restarts.t0 20", "mpp null", "redraw false", "methods [clinical, ]"):
        assert entry in text
    assert "published 1 source: Xu 2021, auc: 0.661" in text
    assert "torch 2.9" in text


def test_the_same_contents_give_the_same_file_and_it_stays_small() -> None:
    page = render_report(sample_contents())
    assert page == render_report(sample_contents())
    assert len(page.encode()) < 60_000


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1])
@pytest.mark.parametrize(
    ("ink", "ground"),
    [
        *((ink, ground) for ink in ("ink", "muted", "accent") for ground in ("paper", "surface")),
        *((ink, "soft") for ink in ("ink", "muted", "accent")),
        ("note-ink", "note"),
        ("warn-ink", "warn"),
    ],
)
def test_contrasts_reach_wcag_aa(scheme: int, ink: str, ground: str) -> None:
    style = Page(render_report(sample_contents())).text(within="style")
    block = re.findall(r":root \{(.*?)\}", style, re.DOTALL)[scheme]
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))
    lights = sorted((_luminance(colours[ink]), _luminance(colours[ground])))
    assert (lights[1] + 0.05) / (lights[0] + 0.05) >= 4.5
