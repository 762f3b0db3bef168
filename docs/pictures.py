"""The README's pictures of `axilla serve`: `python docs/pictures.py [DEMO]`.

DEMO is the folder of a finished `axilla demo`, axilla-demo unless given. Needs Chromium, which
AXILLA_CHROMIUM names where it is not on the path.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import threading
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from axilla.cli_serving import find_study
from axilla.core.config import load_config
from axilla.web.security import Access
from axilla.web.served import Served
from axilla.web.serving import bound, server_of

HERE = Path(__file__).resolve().parent
MOST_BYTES = 400_000
_SIZE = {"width": 1180, "height": 860}


def main() -> int:
    """Serve the demo, look at two pages of it, write what is seen."""
    demo = Path(sys.argv[1] if len(sys.argv) > 1 else "axilla-demo")
    served = Served.of(load_config(find_study(demo)))
    listening = bound("127.0.0.1", 0)
    access = Access.at("127.0.0.1", listening.getsockname()[1])
    server = server_of(served, access=access)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    named = os.environ.get("AXILLA_CHROMIUM") or shutil.which("chromium")
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=named, args=["--no-sandbox"])
            page = browser.new_page(viewport=_SIZE, color_scheme="light")
            _visit(page, f"{access.address}e/0")
            _write(page, HERE / "serve-study.png")
            _visit(page, f"{access.address}e/0/p/{_positive(served)}")
            page.locator(".tops button").first.click()
            page.locator("#slides").scroll_into_view_if_needed()
            page.wait_for_timeout(2_500)  # until it has flown there
            _write(page, HERE / "serve-case.png")
            browser.close()
    finally:
        server.should_exit = True
        thread.join()
    return 0


def _positive(served: Served) -> int:
    """Place of the test patient with nodes whom the last method is surest of."""
    endpoint = served.endpoints[0]
    part = endpoint.table.select(endpoint.methods[-1], "test")
    positive = [i for i, label in enumerate(part.labels) if label == 1]
    surest = part.patients[max(positive, key=lambda i: part.scores[i, 1])]
    return [p.patient_id for p in endpoint.cohort.patients].index(surest)


def _visit(page: Page, address: str) -> None:
    page.goto(address)
    page.wait_for_selector("html[data-ready=yes]", timeout=60_000)
    page.wait_for_timeout(1_500)  # until the last tile is drawn


def _write(page: Page, path: Path) -> None:
    """A PNG under 400 KB: in as many colours as that leaves room for."""
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    for colours in (None, 256, 128, 64):
        buffer = io.BytesIO()
        shown = image if colours is None else image.quantize(colours)
        shown.save(buffer, "PNG", optimize=True)
        if buffer.tell() < MOST_BYTES:
            break
    path.write_bytes(buffer.getvalue())
    sys.stdout.write(f"{path}: {buffer.tell():,} bytes\n")


if __name__ == "__main__":
    sys.exit(main())
