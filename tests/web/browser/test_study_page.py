"""A study's page in a real browser, by keyboard and by mouse; what all pages must fulfil."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Page, expect

from axilla.core import store
from axilla.web.served import Served

if TYPE_CHECKING:
    from axilla.core.config import StudyConfig

pytestmark = pytest.mark.browser

ShownPatient = Callable[[Served], int]
UNNAMED = """() => [...document.querySelectorAll("button, input, select, a, [tabindex='0']")]
  .filter((one) => one.checkVisibility() && !one.closest("#viewer .openseadragon-container"))
  .filter((one) => !(one.labels?.length || one.getAttribute("aria-label") ||
    one.getAttribute("aria-labelledby") || one.textContent.trim()))
  .map((one) => one.outerHTML)"""
OUTLINED = """() => {
  const one = document.activeElement;
  const style = getComputedStyle(one);
  const name = one.id || one.textContent.trim().slice(0, 20) || one.tagName;
  return [name, style.outlineStyle, style.outlineWidth];
}"""
CONTRAST = """(selector) => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => parts(colour).slice(0, 3).map((c) => c / 255)
    .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, k) => sum + c * [0.2126, 0.7152, 0.0722][k], 0);
  const behind = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (parts(colour)[3] !== 0) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  return Math.min(...[...document.querySelectorAll(selector)].filter((one) => one.checkVisibility())
    .map((one) => [light(getComputedStyle(one).color), light(behind(one))])
    .map(([a, b]) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)));
}"""
TEXTS = "p, dt, dd, th, td, a, label, button, span:not(.ramp), h1, h2, h3, summary, legend, option"


def figure(page: Page, title: str) -> str:
    """What the page shows of one figure."""
    box = page.locator("#figures > div, #spared > div").filter(has_text=title).first
    return str(box.locator(".large").inner_text())


def test_the_threshold_moves_all_figures_and_the_table_together(
    tab: Any, address: str, study: StudyConfig
) -> None:
    page = tab.visit(f"{address}/e/0")
    page.get_by_label("Method").select_option("dl-cnb+c")
    page.locator("#cohort").select_option("train")
    page.locator("#of-cohort").select_option("train")
    entry = store.read_json(study.out / "metrics.json")["methods"]["dl-cnb+c"]["train"]
    expect(page.locator("#threshold-value")).to_have_text(f"{entry['threshold']:.3f}")
    expect(page.locator("#figures .large").first).to_have_text(
        f"{100 * entry['sensitivity']['value']:.1f}%"
    )
    right = entry["confusion"]["tp"] + entry["confusion"]["tn"]
    expect(page.locator("#patients .call.right")).to_have_count(right)
    # By the keyboard to the end, where nobody is called positive.
    page.locator("#threshold").focus()
    page.keyboard.press("End")
    expect(page.locator("#figures .large").first).to_have_text("0.0%")
    assert figure(page, "Specificity") == "100.0%"
    assert figure(page, "Sentinel biopsies avoided") == "100.0"
    n, positives = entry["n"], entry["positives"]
    assert figure(page, "Metastases missed") == f"{100 * positives / n:.1f}"
    expect(page.locator("[data-count=fn]")).to_have_text(str(positives))
    expect(page.locator("#patients .call.right")).to_have_count(n - positives)
    page.keyboard.press("Home")
    expect(page.locator("#figures .large").first).to_have_text("100.0%")
    # Everybody is called positive: of nobody spared nothing is known, and why is told in full.
    reason = page.locator("#figures .reason, #spared .reason")
    expect(reason.first).to_be_visible()
    for box, part in ((one.bounding_box(), one) for one in reason.all()):
        around = part.locator("xpath=..").bounding_box()
        assert box["x"] + box["width"] <= around["x"] + around["width"] + 1
    page.locator("#to-locked").click()
    expect(page.locator("#threshold-value")).to_have_text(f"{entry['threshold']:.3f}")
    expect(page.locator("#threshold")).to_have_attribute(
        "aria-valuetext", f"{entry['threshold']:.3f}, the locked one"
    )
    assert f"AUC {entry['auc']['value']:.3f}" in page.locator("#roc-told").inner_text()


def test_the_table_is_sorted_by_the_keyboard(tab: Any, address: str) -> None:
    page = tab.visit(f"{address}/e/0")
    page.locator("#of-cohort").select_option("")
    heading = page.locator("#patients th[data-column=score]")
    scores = page.locator("#patients tbody td.number")
    heading.locator("button").focus()
    page.keyboard.press("Enter")
    expect(heading).to_have_attribute("aria-sort", "ascending")
    rising = [float(text) for text in scores.all_inner_texts()]
    assert len(rising) == 24
    assert rising == sorted(rising)
    page.keyboard.press("Space")
    expect(heading).to_have_attribute("aria-sort", "descending")
    assert [float(text) for text in scores.all_inner_texts()] == sorted(rising, reverse=True)
    expect(page.locator("#patients th[data-column=id]")).to_have_attribute("aria-sort", "none")


def test_the_table_is_cut_down_by_cohort_call_subgroup_and_id(
    tab: Any, address: str, client: Any, hostile: str
) -> None:
    page = tab.visit(f"{address}/e/0")
    rows = client.get("/api/e/0/patients").json()["rows"]
    shown = page.locator("#patients tbody tr:not(.end)")
    for cohort in ("train", "val", "test", ""):
        page.locator("#of-cohort").select_option(cohort)
        expect(shown).to_have_count(sum(row["cohort"] == cohort or not cohort for row in rows))
    page.locator("#of-call").select_option("wrong")
    wrong = shown.count()
    page.locator("#of-call").select_option("right")
    assert wrong + shown.count() == len(rows)
    page.locator("#of-call").select_option("")
    page.locator("#of-group").select_option('["ER","positive"]')
    expect(shown).to_have_count(sum(row["groups"].get("ER") == "positive" for row in rows))
    page.locator("#of-group").select_option("")
    page.locator("#find").fill("onerror")
    expect(shown).to_have_count(1)
    expect(page.locator("#shown")).to_have_text("1 of 24 rows shown.")
    expect(shown.locator("a")).to_have_text(hostile)
    shown.locator("a").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#case")
    expect(page.locator("h1")).to_have_text(f"Patient {hostile}")
    assert page.title().startswith("Patient <img")
    assert page.locator("main img[src=x]").count() == 0
    page.wait_for_selector("html[data-ready=yes]")


def test_what_is_busy_is_asked_again(tab: Any, address: str) -> None:
    refused: list[str] = []

    def once(route: Any) -> None:
        if refused:
            route.continue_()
            return
        refused.append(route.request.url)
        route.fulfill(status=503, headers={"retry-after": "0"}, json={"problem": "Busy."})

    tab.page.route("**/operating*", once)
    page = tab.visit(f"{address}/e/0")
    expect(page.locator("#figures .large")).to_have_count(4)
    assert len(refused) == 1
    tab.expected = ("503",)  # made above


def test_a_server_that_was_stopped_is_told(
    tab: Any, start: Callable[..., Any], clinical_study: Callable[..., Any]
) -> None:
    running = start(clinical_study())
    page = tab.visit(f"{running.address}/e/0")
    running.stop()
    page.locator("#threshold").focus()
    page.keyboard.press("Home")
    expect(page.locator("#problem")).to_contain_text("The server does not answer")
    tab.expected = ("ERR_",)  # it is gone


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_can_be_read_in_both_schemes_and_nothing_is_unnamed(
    open_tab: Callable[..., Any],
    address: str,
    served: Served,
    scheme: str,
    shown_patient: ShownPatient,
) -> None:
    tab = open_tab(color_scheme=scheme)
    grounds = set()
    for path in ("/e/0", f"/e/0/p/{shown_patient(served)}", "/e/0/models/0", "/nowhere"):
        if path.startswith("/e/0/models") or path == "/nowhere":
            tab.page.goto(address + path)
        else:
            tab.visit(address + path)
        assert tab.page.evaluate(CONTRAST, TEXTS) >= 4.5, path
        assert tab.page.evaluate(UNNAMED) == []
        grounds.add(tab.page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert "Not a medical device" in tab.page.locator("footer").inner_text()
        assert "contains no patients" in tab.page.locator(".generated").inner_text()
    assert grounds == {"rgb(245, 248, 249)" if scheme == "light" else "rgb(16, 24, 28)"}
    tab.expected = ("404",)  # /nowhere


def test_every_step_of_the_tab_key_is_seen(
    tab: Any, address: str, served: Served, shown_patient: ShownPatient
) -> None:
    for path in ("/e/0", f"/e/0/p/{shown_patient(served)}"):
        page = tab.visit(address + path)
        seen = []
        for _ in range(26):
            page.keyboard.press("Tab")
            name, style, width = page.evaluate(OUTLINED)
            seen.append(name)
            assert style != "none", name
            assert float(width.removesuffix("px")) >= 2, name
        assert seen[0] == "Skip to the content"
        assert len(set(seen)) > 12


@pytest.mark.parametrize("page_of", ["/e/0", "case"])
def test_nothing_runs_out_of_a_phone(
    open_tab: Callable[..., Any],
    address: str,
    served: Served,
    page_of: str,
    shown_patient: ShownPatient,
) -> None:
    tab = open_tab(viewport={"width": 390, "height": 844}, has_touch=True)
    path = f"/e/0/p/{shown_patient(served)}" if page_of == "case" else page_of
    page = tab.visit(address + path)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    if page_of == "case":
        box = page.locator("#viewer").bounding_box()
        assert box["width"] >= 300
        assert box["height"] >= 320
        small = [b.bounding_box() for b in page.locator(".buttons button").all()]
        assert min(min(b["width"], b["height"]) for b in small) >= 40


def test_three_classes_show_their_matrix(
    tab: Any, start: Callable[..., Any], clinical_study: Callable[..., Any]
) -> None:
    config = clinical_study(endpoint="n0-vs-n1-2-vs-n3plus")
    page = tab.visit(f"{start(config).address}/e/0")
    expect(page.locator("#several .confusion tbody tr")).to_have_count(3)
    expect(page.locator("#binary")).to_be_hidden()
    metrics = store.read_json(config.out / "metrics.json")["methods"]["clinical"]["test"]
    cells = page.locator("#several .confusion tbody td").all_inner_texts()
    assert list(map(int, cells)) == [n for row in metrics["confusion_matrix"] for n in row]
