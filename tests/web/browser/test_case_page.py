"""A patient's page in a real browser: the slide, what lies over it, and the clinical values."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from axilla.core.recent import Recent
from axilla.core.types import Region
from axilla.web.served import Served

if TYPE_CHECKING:
    from axilla.core.config import StudyConfig

pytestmark = pytest.mark.browser

ShownPatient = Callable[[Served], int]
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
DOWNLOAD = """() => {
  const { image } = window.axillaStage;
  const job = { src: `${image.tiles}/${image.highest}/0_0`, userData: {}, finish: () => {} };
  return window.axillaStage.download(job);
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


def test_the_slide_is_shown_and_the_overlay_is_as_clear_as_asked(
    tab: Any, address: str, served: Served, shown_patient: ShownPatient
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
    tab: Any, address: str, served: Served, shown_patient: ShownPatient
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
    tab: Any, address: str, client: Any, served: Served, shown_patient: ShownPatient
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
    tab: Any,
    address: str,
    client: Any,
    *,
    served: Served,
    shown_patient: ShownPatient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Of so few training patients the model keeps no range to remark on.
    monkeypatch.setattr(
        "axilla.study.case_asking_live.value_remarks",
        lambda bundle, patient: (f"tumor_size_cm is {patient.clinical['tumor_size_cm']:g}.",),
    )
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
    expect(page.locator("#remarks")).to_contain_text("tumor_size_cm is 9.5.")
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


def test_a_tile_that_was_refused_once_is_asked_again(
    tab: Any, address: str, served: Served, shown_patient: ShownPatient
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


def test_what_was_told_of_a_tile_goes_when_another_one_comes(
    tab: Any, address: str, served: Served, shown_patient: ShownPatient
) -> None:
    tab.page.route(
        "**/tiles/**", lambda route: route.fulfill(status=410, json={"problem": "It is gone."})
    )
    page = tab.visit(f"{address}/e/0/p/{shown_patient(served)}")
    expect(page.locator("#problem")).to_have_text("It is gone.")
    page.unroute("**/tiles/**")
    page.evaluate(DOWNLOAD)  # the slide has one tile, which OpenSeadragon asks for once
    expect(page.locator("#problem")).to_be_hidden()
    # OpenSeadragon gives a tile up later than the page does, which asks eight times.
    assert page.evaluate("() => window.axillaStage.viewer.imageLoader.timeout") >= 60_000
    tab.expected = ("410", "Tile %s")  # made above


def test_a_slide_that_goes_away_while_it_is_open_is_told(
    tab: Any,
    start: Callable[..., Any],
    study: StudyConfig,
    served: Served,
    shown_patient: ShownPatient,
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


@pytest.fixture
def two_images(served: Served, shown_patient: ShownPatient) -> Served:
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
    shown_patient: ShownPatient,
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
