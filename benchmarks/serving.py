"""Serving a study: tiles from a warm cache, 100 asked for at once, and pages until they are usable.

The server runs as `axilla serve` does, kept to one core; who asks runs on another where there is
one. 100 connections each ask for the next tile as soon as one came, so that 100 are in flight all
the time: a tile takes 100 over the tiles a second. Making a tile is compared with the way that
OpenSlide's own viewer makes it (DeepZoomGenerator, Pillow). A page is usable once its table, its
curve and its figures stand, or the slide and all that lies over it are there; the browser is
Chromium without a window, its cache empty.
"""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import cv2
import numpy as np
import yaml

from axilla.cohorts.synthetic import SyntheticConfig, generate_cohort
from axilla.core.config import load_config
from axilla.study.chain import run
from axilla.wsi.slides import open_slide
from axilla.wsi.strips import write_pyramid
from axilla.wsi.tiles import TILE_PX, levels_of, tile_jpeg

IN_FLIGHT = 100
REQUESTS = 20_000
VISITS = 9
TILE_LIMIT_MS, PAGE_LIMIT_S = 30.0, 1.5
_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def make_study(folder: Path) -> tuple[Path, Path]:
    """A small generated study that was run, and its first patient's slide, made large."""
    cohort = generate_cohort(
        folder / "cohort", patients=40, seed=5,
        config=SyntheticConfig(width=420, height=320, patch=32),
    )  # fmt: skip
    settings = {
        "name": "Benchmark", "cohort": str(cohort.table), "slides": str(cohort.slides),
        "annotations": str(cohort.annotations), "regions": "annotation", "endpoint": "n0-vs-npos",
        "patches": {"size": 32}, "bags": {"size": 5, "per_epoch": 1, "redraw": True},
        "encoder": {"name": "small_cnn", "weights": "none", "trainable": True},
        "training": {"epochs": 1, "batch_size": 8, "restarts": None}, "out": str(folder / "out"),
    }  # fmt: skip
    study = folder / "study.yaml"
    study.write_text(yaml.safe_dump(settings), encoding="utf-8")
    run(load_config(study), until="explain")
    slide = next(iter(sorted(cohort.slides.iterdir())))
    large, pyramid = folder / "large.png", folder / "large.tif"
    cv2.imwrite(str(large), np.tile(cv2.imread(str(slide)), (20, 20, 1)))
    write_pyramid(large, pyramid, slide_id="large", patient_id="large")
    # In the place of the small one, which the study does not look at any more.
    shutil.copyfile(pyramid, slide.with_suffix(".tif"))
    slide.unlink()
    return study, slide.with_suffix(".tif")


@contextmanager
def server(study: Path) -> Iterator[str]:
    """`axilla serve` on one core; its address."""
    core = str(min(os.sched_getaffinity(0)))
    command = ["taskset", "-c", core] if shutil.which("taskset") else []
    process = subprocess.Popen(
        [*command, sys.executable, "-m", "axilla", "serve", study, "--no-open", "--port", "0"],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield process.stdout.readline().removeprefix("Open: ").strip().rstrip("/")
    finally:
        process.terminate()
        process.wait()


async def ask_all(address: str, paths: list[str], *, requests: int) -> list[float]:
    """Seconds of every request, so many in flight all the time."""
    where, taken = urlsplit(address), []
    left = iter(range(requests))

    async def one() -> None:
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        for number in left:
            asked = f"GET {paths[number % len(paths)]} HTTP/1.1\r\nHost: {where.netloc}\r\n\r\n"
            start = time.perf_counter()
            writer.write(asked.encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            taken.append(time.perf_counter() - start)
            assert head.startswith(b"HTTP/1.1 200"), head
        writer.close()

    await asyncio.gather(*(one() for _ in range(IN_FLIGHT)))
    return taken


def tile_times(address: str) -> tuple[float, float, float]:
    """Median and 95th centile in ms with 100 in flight, and tiles a second, from a warm cache."""
    with urlopen(f"{address}/api/e/0/p/0/slides/0/images/0") as answer:  # noqa: S310 - our own
        image = yaml.safe_load(answer.read())
    level = image["highest"]
    columns, rows = -(-image["width"] // TILE_PX), -(-image["height"] // TILE_PX)
    paths = [f"{image['tiles']}/{level}/{c}_{r}" for c in range(columns) for r in range(rows)]
    for path in paths:
        urlopen(address + path).read()  # noqa: S310 - our own; made once, and then in memory
    start = time.perf_counter()
    taken = sorted(asyncio.run(ask_all(address, paths, requests=REQUESTS)))
    rate = len(taken) / (time.perf_counter() - start)
    return 1e3 * statistics.median(taken), 1e3 * taken[int(0.95 * len(taken))], rate


def making_times(slide: Path) -> tuple[float, float]:
    """Milliseconds to make a tile of full resolution: ours, and the way of OpenSlide's viewer."""
    import openslide
    from openslide.deepzoom import DeepZoomGenerator

    ours, theirs = [], []
    with open_slide(slide, slide_id="s", patient_id="s") as reader:
        deep = DeepZoomGenerator(openslide.OpenSlide(slide), tile_size=TILE_PX, overlap=0)
        level = levels_of(reader).highest
        for place in [(c, r) for c in range(8) for r in range(8)]:
            start = time.perf_counter()
            tile_jpeg(reader, level, *place)
            ours.append(time.perf_counter() - start)
            start = time.perf_counter()
            deep.get_tile(deep.level_count - 1, place).save(io.BytesIO(), "JPEG", quality=85)
            theirs.append(time.perf_counter() - start)
    return 1e3 * statistics.median(ours), 1e3 * statistics.median(theirs)


def page_times(address: str, path: str) -> list[float]:
    """Seconds until a page is usable, of several first visits."""
    from playwright.sync_api import sync_playwright

    named = os.environ.get("AXILLA_CHROMIUM") or shutil.which("chromium")
    taken = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=named, args=_FLAGS)
        for _ in range(VISITS):
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            tab = context.new_page()
            start = time.perf_counter()
            tab.goto(address + path)
            tab.wait_for_selector("html[data-ready=yes]")
            taken.append(time.perf_counter() - start)
            context.close()
        browser.close()
    return taken


def main() -> int:
    """Print the medians; 1 where a tile or a page takes longer than it may."""
    slow = False
    with tempfile.TemporaryDirectory() as folder:
        study, slide = make_study(Path(folder))
        with server(study) as address:
            median, late, rate = tile_times(address)
            slow |= median > TILE_LIMIT_MS
            print(
                f"serving: a tile from a warm cache, {IN_FLIGHT} in flight, the server on one "
                f"core: {median:.1f} ms at the median, {late:.1f} at the 95th centile, "
                f"{rate:,.0f} tiles a second (at most {TILE_LIMIT_MS:g} ms wanted)"
            )
            ours, theirs = making_times(slide)
            print(
                f"serving: a tile of {TILE_PX} px made anew: {ours:.1f} ms; by DeepZoomGenerator "
                f"and Pillow {theirs:.1f} ms, {theirs / ours:.1f} times as long"
            )
            if not (os.environ.get("AXILLA_CHROMIUM") or shutil.which("chromium")):
                print("serving: pages left out, there is no Chromium")
                return int(slow)
            for title, path in (("study", "/e/0"), ("case", "/e/0/p/1")):
                taken = page_times(address, path)
                slow |= statistics.median(taken[1:]) > PAGE_LIMIT_S
                print(
                    f"serving: the {title}'s page usable after "
                    f"{statistics.median(taken[1:]):.2f} s (median of {VISITS - 1} visits with an "
                    f"empty cache; {max(taken[1:]):.2f} at most; the very first, which reads the "
                    f"models, {taken[0]:.2f}); at most {PAGE_LIMIT_S:g} s wanted"
                )
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
