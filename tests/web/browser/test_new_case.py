"""A new case in a real browser: a slide is uploaded, outlined, asked about, and looked at."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from axilla.web.served import Served

pytestmark = pytest.mark.browser

EVIL = "<img src=x onerror=document.title=1>"
SLIDE_SHOWN = "() => window.axillaStage?.viewer.world.getItemAt(0)?.getFullyLoaded() === true"
AT = """([x, y]) => {
  const at = () => {
    const view = window.axillaStage.view();
    const box = document.getElementById("viewer").getBoundingClientRect();
    return [box.left + view.x + x * view.scale, box.top + view.y + y * view.scale];
  };
  const high = at()[1];
  // What lies below the window cannot be clicked.
  const seen = high > 80 && high < window.innerHeight - 20;
  if (!seen) window.scrollBy(0, high - window.innerHeight / 2);
  return at();
}"""


def upload(page: Page, slide: Path) -> None:
    """Give the slide, and wait until it is seen."""
    page.locator("#files").set_input_files(slide)
    page.wait_for_function(SLIDE_SHOWN)
    page.locator("#viewer").scroll_into_view_if_needed()
    page.wait_for_timeout(300)


def click_at(page: Page, *points: tuple[float, float]) -> None:
    """Click level-0 pixels of the slide, slowly enough not to be double clicks."""
    for point in points:
        page.mouse.click(*page.evaluate(AT, list(point)))
        page.wait_for_timeout(350)


def fill(page: Page, typed: dict[str, str]) -> None:
    """Type the clinical values."""
    for name, value in typed.items():
        field = page.locator(f"#columns [name={name}]")
        if field.evaluate("one => one.tagName") == "SELECT":
            field.select_option(value)
        else:
            field.fill(value)


def draw(page: Page) -> None:
    """Outline most of the slide."""
    page.locator("#draw").click()
    click_at(page, (40, 40), (320, 40), (320, 290), (40, 290))
    page.locator("#draw-close").click()
    expect(page.locator("#outlines li")).to_have_count(1)


def run(page: Page) -> str:
    """Ask, and wait for the result; its number."""
    page.locator("#run").click()
    page.wait_for_url("**/new/*", timeout=60_000)
    page.wait_for_selector("html[data-ready=yes]", timeout=60_000)
    return page.locator("#probability").inner_text()


def download(page: Page, name: str) -> str:
    """What a link's file holds."""
    with page.expect_download() as waiting:
        page.get_by_role("link", name=name).click()
    assert waiting.value.suggested_filename == name
    return Path(waiting.value.path()).read_text(encoding="utf-8")


def test_a_case_from_its_slide_to_its_page(
    open_tab: Callable[..., Any],
    start: Callable[..., Any],
    new_served: Callable[..., Served],
    given: Any,
    tmp_path: Path,
) -> None:
    slide = tmp_path / f"{EVIL}{given.slide.suffix}"
    shutil.copy(given.slide, slide)
    served = new_served()
    tab = open_tab(accept_downloads=True)
    page = tab.visit(f"{start(served).address}/new")
    expect(page.locator("#model-generated")).to_be_visible()
    upload(page, slide)
    expect(page.locator("#given button").first).to_have_text(slide.name)
    draw(page)
    page.locator("#mpp").fill("0.5")
    page.locator("#patient").fill("P 7")
    # Nothing is filled in, and what is missing is told.
    values = page.locator("#columns [name]").evaluate_all("all => all.map((one) => one.value)")
    assert values == [""] * 5
    expect(page.locator("#missing")).to_contain_text("Not given: Age, years; Tumor size, cm; ER")
    page.locator("#run").click()
    expect(page.locator("#run-problem")).to_contain_text("`age` is not given")
    tab.complaints.clear()  # the browser tells of a 422 itself
    fill(page, given.typed)
    expect(page.locator("#missing")).to_be_hidden()
    number = run(page)
    expect(page.locator("h1")).to_have_text("Patient P 7")
    assert page.title().startswith("New case P 7")
    assert number in download(page, "case.html")
    record = json.loads(download(page, "case.json"))
    assert f"{record['probability'][record['model']['classes'][1]]:.3f}" == number
    # The slide does not say its scale, and more: doubts come before the number.
    assert page.locator(".doubts li").count() == sum(w["severe"] for w in record["warnings"])
    page.locator("#delete").click()
    page.wait_for_url("**/new")
    assert served.new is not None
    assert len(served.new) == 0


def test_the_result_flies_to_patches_and_is_asked_again(
    tab: Any, start: Callable[..., Any], new_served: Callable[..., Served], given: Any
) -> None:
    page = tab.visit(f"{start(new_served()).address}/new")
    upload(page, given.slide)
    page.get_by_label("from the whole image").check()
    expect(page.locator("#drawing")).to_be_hidden()
    fill(page, given.typed)
    number = run(page)
    expect(page.locator("#layers-told")).to_contain_text("patches of this image")
    page.locator(".tops button").first.click()
    page.wait_for_timeout(1_500)
    assert page.evaluate("() => window.axillaStage.viewer.viewport.getZoom(false)") > 1.2
    told = page.locator("#answers td")
    expect(told.nth(0)).to_have_text(number)
    page.locator("#clinical [name=age]").fill("80")
    expect(told.nth(1)).not_to_have_text(number)
    page.locator("#clinical [name=age]").fill("800")
    expect(page.locator("#asking-problem")).to_contain_text("`age`")
    tab.complaints.clear()  # the browser tells of a 422 itself
    page.locator("#clinical [type=reset]").click()
    expect(told.nth(1)).to_have_text(number)


def test_an_outline_by_the_mouse(
    tab: Any, start: Callable[..., Any], new_served: Callable[..., Served], given: Any
) -> None:
    page = tab.visit(f"{start(new_served()).address}/new")
    upload(page, given.slide)
    page.locator("#draw").click()
    click_at(page, (40, 40), (320, 40), (320, 290), (200, 160))
    page.locator("#draw-undo").click()
    expect(page.locator("#draw-told")).to_have_text(
        "3 corners. Set more corners, or close the outline."
    )
    click_at(page, (40, 290), (40, 40))  # the last one is the first
    expect(page.locator("#outlines li")).to_have_count(1)
    page.locator("#draw").click()
    click_at(page, (60, 60), (150, 60), (150, 150))
    page.keyboard.press("Enter")
    expect(page.locator("#outlines li")).to_have_count(2)
    page.get_by_role("button", name="Delete Outline 2").click()
    expect(page.locator("#outlines li")).to_have_count(1)


def test_an_outline_by_the_keyboard_and_one_from_a_file(
    open_tab: Callable[..., Any],
    start: Callable[..., Any],
    new_served: Callable[..., Served],
    given: Any,
    tmp_path: Path,
) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text("{}", encoding="utf-8")
    # A phone with a keyboard; whatever does not fit would be seen by scrolling sideways.
    tab = open_tab(viewport={"width": 390, "height": 844}, color_scheme="dark")
    page = tab.visit(f"{start(new_served()).address}/new")
    upload(page, given.slide)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
    page.locator("#draw").focus()
    page.keyboard.press("Enter")
    for key in ("ArrowRight", "ArrowDown", "ArrowLeft"):
        page.keyboard.press("Space")
        page.wait_for_timeout(100)
        for _ in range(3):
            page.keyboard.press(key)
        page.wait_for_timeout(1_300)
    expect(page.locator("#draw-told")).to_contain_text("3 corners")
    page.keyboard.press("Backspace")
    expect(page.locator("#draw-told")).to_contain_text("2 corners. Set at least three")
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    expect(page.locator("#outlines li")).to_have_text(["Outline 1Delete"])
    page.locator("#draw").click()
    page.keyboard.press("Escape")
    expect(page.locator("#draw")).to_have_text("Draw another outline")
    page.locator("#outline-file").set_input_files(wrong)
    expect(page.locator("#outline-problem")).to_contain_text("wrong.json: the annotation of slide")
    expect(page.locator("#outlines li")).to_have_text(["Outline 1Delete"])
    tab.complaints.clear()  # the browser tells of a 422 itself
    page.locator("#outline-file").set_input_files(given.outline)
    expect(page.locator("#outlines li")).to_contain_text([given.outline.name])


def test_what_is_no_slide_is_a_sentence_and_the_page_stays(
    open_tab: Callable[..., Any],
    start: Callable[..., Any],
    new_served: Callable[..., Served],
    given: Any,
    tmp_path: Path,
) -> None:
    wrong = tmp_path / "scan.svs"
    wrong.write_bytes(b"no slide at all" * 40)
    folder = tmp_path / "scans"
    folder.mkdir()
    shutil.copy(given.slide, folder / f"{EVIL}{given.slide.suffix}")
    tab = open_tab()
    page = tab.visit(f"{start(new_served(pick=folder)).address}/new")
    page.locator("#files").set_input_files(wrong)
    expect(page.locator("#slides-problem")).to_contain_text("scan.svs: this is no slide")
    tab.complaints.clear()  # the browser tells of a 422 itself
    page.locator("#pick").select_option("0")
    page.locator("#pick-take").click()
    page.wait_for_function(SLIDE_SHOWN)
    expect(page.locator("#given li")).to_have_count(1)
    page.get_by_role("button", name="Take out").click()
    expect(page.locator("#given li")).to_have_count(0)
    expect(page.locator("#part-outline")).to_be_hidden()


def test_what_is_busy_is_told_and_a_slide_is_not_sent_again(
    *,
    tab: Any,
    start: Callable[..., Any],
    new_served: Callable[..., Served],
    given: Any,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    shutil.copy(given.slide, folder)
    asked: list[str] = []

    def busy(route: Any) -> None:
        asked.append(route.request.method)
        route.fulfill(status=503, headers={"retry-after": "0"}, json={"problem": "Busy."})

    tab.page.route("**/slides", busy)
    page = tab.visit(f"{start(new_served(pick=folder)).address}/new")
    page.locator("#pick").select_option("0")
    page.locator("#pick-take").click()
    expect(page.locator("#slides-problem")).to_have_text(f"{given.slide.name}: Busy.")
    expect(page.locator("#given li")).to_have_count(0)
    assert asked == ["POST"]
    tab.expected = ("503",)  # made above


def hold(page: Page, *addresses: str) -> list[Any]:
    """Let what is asked of these addresses wait; it is put into the list."""
    held: list[Any] = []

    def keep(route: Any) -> None:
        held.append(route)

    for address in addresses:
        page.route(address, keep)
    return held


def let_go(page: Page, held: list[Any]) -> None:
    """Let what waits go on, once it was asked."""
    for _ in range(200):
        if held:
            break
        page.wait_for_timeout(50)
    held.pop().continue_()


def test_the_model_cannot_be_asked_while_a_file_comes_in(
    tab: Any, start: Callable[..., Any], new_served: Callable[..., Served], given: Any
) -> None:
    page = tab.visit(f"{start(new_served()).address}/new")
    expect(page.locator("#run")).to_be_enabled()
    held = hold(page, "**/slides", "**/outline")
    page.locator("#files").set_input_files(given.slide)
    expect(page.locator("#given progress")).to_have_count(1)
    expect(page.locator("#run")).to_be_disabled()
    let_go(page, held)
    page.wait_for_function(SLIDE_SHOWN)
    expect(page.locator("#run")).to_be_enabled()
    page.locator("#outline-file").set_input_files(given.outline)
    expect(page.locator("#run")).to_be_disabled()
    let_go(page, held)
    expect(page.locator("#outlines li")).to_have_count(1)
    expect(page.locator("#run")).to_be_enabled()


def test_what_was_told_of_a_slide_goes_when_another_one_is_shown(
    tab: Any, start: Callable[..., Any], new_served: Callable[..., Served], given: Any
) -> None:
    page = tab.visit(f"{start(new_served()).address}/new")
    page.route(
        "**/tiles/new/*/1/**",
        lambda route: route.fulfill(status=410, json={"problem": "It is gone."}),
    )
    hold(page, "**/tiles/new/*/2/**")  # no tile of it comes
    page.locator("#files").set_input_files(given.slide)
    expect(page.locator("#stage-problem")).to_have_text("It is gone.")
    page.locator("#files").set_input_files(given.slide)
    expect(page.locator("#given li button:not([aria-pressed])")).to_have_count(2)
    expect(page.locator("#stage-problem")).to_be_hidden()
    tab.expected = ("410", "Tile %s")  # made above; OpenSeadragon also says it of the tile
