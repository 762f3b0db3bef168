"""The pages in a real browser, by keyboard and by mouse, as a pathologist uses them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Page, expect

from axilla.core import store
from axilla.core.recent import Recent
from axilla.core.types import Region
from axilla.web.served import Served

if TYPE_CHECKING:
    from axilla.core.config import StudyConfig

pytestmark = pytest.mark.browser

CENTRE = """() => {
  const { viewer } = window.axillaStage;
  const at = viewer.viewport.viewportToImageCoordinates(viewer.viewport.getCenter(false));
  return [at.x, at.y, viewer.viewport.getZoom(false)];
}"""
OVERLAY = """() => {
  const canvas = document.querySelector("#viewer canvas.over");
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  let sum = 0;
  for (let k = 3; k < pixels.length; k += 4) sum += pixels[k];
  return sum;
}"""
SLIDE = """() => {
  const canvas = document.querySelector("#viewer canvas:not(.over)");
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  let pink = 0;
  for (let k = 0; k < pixels.length; k += 4) if (pixels[k] > pixels[k + 1] + 30) pink += 1;
  return pink / (pixels.length / 4);
}"""
PLACED = """() => {
  const canvas = document.querySelector("#viewer canvas:not(.over)");
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  const rows = [];
  for (let y = 0; y < canvas.height; y += 1) {
    if (pixels[4 * (y * canvas.width + Math.floor(canvas.width / 2)) + 3] > 0) rows.push(y);
  }
  const view = window.axillaStage.view();
  return [rows[0], rows.at(-1), view.y, view.y + view.scale * 320, canvas.height];
}"""
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


def shown_patient(served: Served) -> int:
    """Place of a test patient, whose slide was measured."""
    endpoint = served.endpoints[0]
    where = endpoint.partitions[0].cohort_of
    return next(i for i, p in enumerate(endpoint.cohort.patients) if where[p.patient_id] == "test")


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


def test_the_slide_is_shown_and_the_overlay_is_as_clear_as_asked(
    tab: Any, address: str, served: Served
) -> None:
    page = tab.visit(f"{address}/e/0/p/{shown_patient(served)}")
    page.wait_for_timeout(300)
    assert page.evaluate(SLIDE) > 0.05
    half = page.evaluate(OVERLAY)
    assert half > 0
    page.get_by_label("Opacity of the patches").focus()
    page.keyboard.press("End")
    full = page.evaluate(OVERLAY)
    page.keyboard.press("Home")
    page.get_by_label("Opacity of the outlines").focus()
    page.keyboard.press("Home")
    assert page.evaluate(OVERLAY) == 0
    assert full > half
    low, high = page.locator(".layer[data-layer=attention] .legend span:not(.ramp)").all()
    assert float(low.inner_text()) < float(high.inner_text())
    page.get_by_label("Contribution to the log-odds").check()
    assert "no evidence" in page.locator("#reading").text_content()
    assert re.fullmatch(r"\d+ µm", page.locator("#scale-told").inner_text())


def test_what_lies_over_the_slide_stays_on_it_when_the_page_changes_its_size(
    tab: Any, address: str, served: Served
) -> None:
    page = tab.visit(f"{address}/e/0/p/{shown_patient(served)}")
    sizes = ((1280, 900), (800, 900), (800, 1400), (800, 700), (1280, 700))
    for (width, height), zoom in [
        *((s, False) for s in sizes),
        ((1280, 700), True),
        ((800, 1200), True),
    ]:
        page.set_viewport_size({"width": width, "height": height})
        if zoom:
            page.locator("#zoom-out").click()
        page.wait_for_timeout(1_500)
        top, bottom, expected_top, expected_bottom, stage = page.evaluate(PLACED)
        assert top == pytest.approx(max(0, expected_top), abs=2)
        assert bottom == pytest.approx(min(stage, expected_bottom), abs=2)
        if not zoom:  # all of it, in the middle
            assert expected_top == pytest.approx(stage - expected_bottom, abs=2)


def test_a_patch_flies_to_its_place_by_click_and_by_key(
    tab: Any, address: str, client: Any, served: Served
) -> None:
    place = shown_patient(served)
    page = tab.visit(f"{address}/e/0/p/{place}")
    patches = client.get(f"/api/e/0/p/{place}/slides/0/overlays").json()["patches"]
    attention = patches["attention"]
    order = sorted(range(len(attention)), key=lambda i: (-attention[i], i))
    buttons = page.locator(".tops button")
    for rank, act in ((0, "click"), (1, "key")):
        if act == "click":
            buttons.nth(rank).click()
        else:
            buttons.nth(rank).focus()
            page.keyboard.press("Enter")
        x, y, zoom = page.evaluate(CENTRE)
        assert (x, y) == pytest.approx(
            (patches["x"][order[rank]] + 16, patches["y"][order[rank]] + 16), abs=2
        )
        assert zoom > 1.5
    assert f"attention {attention[order[0]]:.2f}" in buttons.nth(0).get_attribute("aria-label")
    page.locator("#tops-by").select_option("against")
    most = min(patches["contribution"])
    expect(buttons.nth(0)).to_contain_text(f"contribution {most:.3f}")
    page.locator("#zoom-home").focus()
    page.keyboard.press("Enter")
    assert page.evaluate(CENTRE)[:2] == pytest.approx((210, 160), abs=2)
    before = page.evaluate(CENTRE)[2]
    page.locator("#zoom-in").click()
    assert page.evaluate(CENTRE)[2] > before


def test_a_clinical_value_moves_the_probability_as_it_is_typed(
    tab: Any, address: str, client: Any, served: Served
) -> None:
    place = shown_patient(served)
    page = tab.visit(f"{address}/e/0/p/{place}")
    row = page.locator("#answers tr").filter(has_text="DL-CNB+C")
    written = client.get("/api/e/0/patients").json()["rows"][place]["scores"]["dl-cnb+c"][0]
    expect(row.locator("td").nth(0)).to_have_text(f"{written:.3f}")
    expect(row.locator("td").nth(1)).to_have_text(f"{written:.3f}")
    size = page.get_by_label("Tumor size, cm")
    size.fill("9.5")
    expect(row.locator("td").nth(1)).not_to_have_text(f"{written:.3f}")
    expect(row.locator("td").nth(0)).to_have_text(f"{written:.3f}")
    expect(page.locator(".own:visible")).to_have_count(1)
    expect(page.locator("#remarks")).to_contain_text("tumor_size_cm")
    size.fill("95")
    expect(page.locator("#asking-problem")).to_contain_text("probably in mm")
    expect(row.locator("td").nth(1)).to_have_text("–")
    size.fill("")
    expect(page.locator("#asking-problem")).to_contain_text("is missing")
    tab.expected = ("422",)  # told above
    page.get_by_role("button", name="Back to the recorded values").click()
    expect(row.locator("td").nth(1)).to_have_text(f"{written:.3f}")
    expect(page.locator("#asking-problem")).to_be_hidden()
    expect(page.locator(".own:visible")).to_have_count(0)


def test_a_slide_that_goes_away_leaves_the_page_up(tab: Any, address: str, served: Served) -> None:
    endpoint = served.endpoints[0]
    place = len(endpoint.cohort.patients) - 1
    path = endpoint.cohort.patients[place].slides[0].images[0]
    path.rename(path.with_suffix(".away"))
    try:
        page = tab.visit(f"{address}/e/0/p/{place}")
        expect(page.locator("#problem")).to_contain_text("is no longer there")
        assert str(path.parent) not in page.content()
        expect(page.locator("#answers tr")).to_have_count(2)
        tab.expected = ("410",)  # told above
    finally:
        path.with_suffix(".away").rename(path)
    page.reload()
    page.wait_for_selector("html[data-ready=yes]")
    expect(page.locator("#problem")).to_be_hidden()


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


def test_a_tile_that_was_refused_once_is_asked_again(
    tab: Any, address: str, served: Served
) -> None:
    refused: list[str] = []

    def once(route: Any) -> None:
        if route.request.url in refused:
            route.continue_()
            return
        refused.append(route.request.url)
        route.fulfill(status=503, headers={"retry-after": "1"}, json={"problem": "Busy."})

    tab.page.route("**/tiles/**", once)
    page = tab.visit(f"{address}/e/0/p/{shown_patient(served)}")
    page.wait_for_timeout(4_000)  # a second later it is asked again
    assert len(refused) >= 1
    assert page.evaluate(SLIDE) > 0.05
    expect(page.locator("#problem")).to_be_hidden()
    tab.expected = ("503",)  # made above


def test_a_slide_that_goes_away_while_it_is_open_is_told(
    tab: Any, start: Callable[..., Any], study: StudyConfig, served: Served
) -> None:
    place = shown_patient(served)
    path = served.endpoints[0].cohort.patients[place].slides[0].images[0]

    def gone(route: Any) -> None:
        if path.is_file():
            path.rename(path.with_suffix(".away"))
        route.continue_()

    tab.page.route("**/tiles/**", gone)  # the page is there, and then its slide is not
    try:
        page = tab.visit(f"{start(study).address}/e/0/p/{place}")
        expect(page.locator("#problem")).to_contain_text("no longer there", timeout=30_000)
        expect(page.locator("#answers tr")).to_have_count(2)
        page.get_by_label("Opacity of the patches").focus()
        page.keyboard.press("End")  # what was read before stays
        assert page.evaluate(OVERLAY) > 0
    finally:
        if not path.is_file():
            path.with_suffix(".away").rename(path)
    # Told above; OpenSeadragon also says it of the tile.
    tab.expected = ("410", "Tile %s")


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
    open_tab: Callable[..., Any], address: str, served: Served, scheme: str
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


def test_every_step_of_the_tab_key_is_seen(tab: Any, address: str, served: Served) -> None:
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
    open_tab: Callable[..., Any], address: str, served: Served, page_of: str
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


@pytest.fixture
def two_images(served: Served) -> Served:
    """The study as if a test patient's regions had come as images already cut."""
    endpoint, place = served.endpoints[0], shown_patient(served)
    patients = list(endpoint.cohort.patients)
    own = patients[place]
    other = patients[place - 1].slides[0].images[0]
    count = len({region.index for region in endpoint.regions(own.slides[0])})
    slide = replace(own.slides[0], images=(own.slides[0].images[0], other), annotation=None)
    patients[place] = replace(own, slides=(slide,))
    regions = tuple(
        Region(index=index, image=slide.images[min(index, 1)], polygon=None, source="whole")
        for index in range(max(2, count))
    )
    recent: Recent[tuple[Region, ...]] = Recent(4)
    recent.get(slide.slide_id, lambda: regions)
    cohort = replace(endpoint.cohort, patients=tuple(patients))
    return Served(
        served.name, served.generated, (replace(endpoint, cohort=cohort, _regions=recent),)
    )


def test_a_slide_of_several_images_shows_each_and_flies_to_the_right_one(
    tab: Any,
    start: Callable[..., Any],
    client_of: Callable[..., Any],
    two_images: Served,
) -> None:
    place = shown_patient(two_images)
    overlays = client_of(two_images).get(f"/api/e/0/p/{place}/slides/0/overlays").json()
    patches = overlays["patches"]
    attention = patches["attention"]
    first = patches["image"][max(range(len(attention)), key=lambda i: (attention[i], -i))]
    page = tab.visit(f"{start(two_images).address}/e/0/p/{place}")
    choice = page.locator("#image")
    expect(choice.locator("option")).to_have_count(2)
    for image in (first, 1 - first):
        choice.select_option(f"0/{image}")
        expect(page.locator("#layers-told")).to_have_text(
            f"Measured by DL-CNB model on {patches['image'].count(image)} patches of this image."
        )
    page.locator(".tops button").first.click()
    expect(choice).to_have_value(f"0/{first}")
    page.wait_for_timeout(1_500)
    assert page.evaluate(CENTRE)[2] > 1.5
    assert page.evaluate(OVERLAY) > 0
