"""Tiles from memory, so many made at once, and slides that come and go."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import simplejpeg
from starlette.testclient import TestClient

from axilla.core.errors import SlideError
from axilla.core.types import Slide
from axilla.web.app import create_app
from axilla.web.security import Access
from axilla.web.served import Served
from axilla.web.tiles import BusyError, OpenSlides, TileCache, Workshop


class TestCache:
    def test_it_holds_so_many_bytes_of_what_was_used_last(self) -> None:
        cache = TileCache(most_bytes=30)
        for name in "abc":
            cache.put(name, name.encode() * 10)
        assert cache.get("a") == b"a" * 10
        cache.put("d", b"d" * 10)
        assert cache.get("b") is None
        assert [name for name in "acd" if cache.get(name)] == ["a", "c", "d"]

    def test_a_file_put_again_counts_once(self) -> None:
        cache = TileCache(most_bytes=30)
        for _ in range(10):
            cache.put("a", b"a" * 20)
        cache.put("b", b"b" * 10)
        assert len(cache) == 2

    def test_what_is_larger_than_all_of_it_is_not_held(self) -> None:
        cache = TileCache(most_bytes=5)
        cache.put("a", b"a" * 6)
        assert len(cache) == 0


class TestWorkshop:
    def test_whoever_asks_for_the_same_waits_for_the_same(self) -> None:
        shop, made = Workshop(workers=2), []

        async def ask() -> list[int]:
            return await asyncio.gather(*(shop.make("a", lambda: made.append(1) or 7)
                                          for _ in range(500)))  # fmt: skip

        assert asyncio.run(ask()) == [7] * 500
        assert made == [1]
        shop.close()

    def test_beyond_the_queue_one_is_told_to_come_again(self) -> None:
        shop, gate = Workshop(workers=1, waiting=3), threading.Event()

        async def ask() -> list[Any]:
            waiting = [asyncio.ensure_future(shop.make(str(i), gate.wait)) for i in range(10)]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            gate.set()
            return await asyncio.gather(*waiting, return_exceptions=True)

        found = asyncio.run(ask())
        assert found[:3] == [True] * 3
        assert all(isinstance(one, BusyError) for one in found[3:])
        assert asyncio.run(shop.make("again", lambda: 1)) == 1  # the queue is free again
        shop.close()

    def test_one_who_leaves_takes_nothing_from_the_others(self) -> None:
        shop, gate = Workshop(workers=1), threading.Event()

        async def ask() -> int:
            first = asyncio.ensure_future(shop.make("a", lambda: gate.wait() and 5))
            second = asyncio.ensure_future(shop.make("a", lambda: 0))
            await asyncio.sleep(0.01)
            first.cancel()
            await asyncio.sleep(0)
            gate.set()
            return await second

        assert asyncio.run(ask()) == 5
        shop.close()


def write_image(path: Path, value: int) -> Slide:
    cv2.imwrite(str(path), np.full((60, 80, 3), value, np.uint8))
    return Slide("s", "p", (path,))


class TestSlides:
    def test_so_many_are_held_open(self, tmp_path: Path) -> None:
        slides = OpenSlides(most=2)
        for index in range(4):
            slide = write_image(tmp_path / f"{index}.png", index)
            assert slides.reader(slide, slide.images[0]).read(0, 0, 1, 1)[0, 0, 0] == index
        assert len(slides) == 2

    def test_one_that_changed_is_opened_again(self, tmp_path: Path) -> None:
        slides, path = OpenSlides(), tmp_path / "a.png"
        slide = write_image(path, 10)
        first = slides.reader(slide, path)
        assert slides.reader(slide, path) is first
        write_image(path, 20)
        os.utime(path, ns=(1, 1))
        assert slides.reader(slide, path).read(0, 0, 1, 1)[0, 0, 0] == 20

    def test_one_that_went_away_is_told_and_comes_back(self, tmp_path: Path) -> None:
        slides, path = OpenSlides(), tmp_path / "a.png"
        slide = write_image(path, 10)
        slides.reader(slide, path)
        path.rename(tmp_path / "away")
        with pytest.raises(SlideError, match="no longer there"):
            slides.reader(slide, path)
        (tmp_path / "away").rename(path)
        assert slides.reader(slide, path).size == (80, 60)

    def test_many_who_ask_at_once_open_it_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import axilla.web.tiles as module

        opened: list[Path] = []
        real = module.open_slide

        def counted(path: Path, **settings: Any) -> Any:
            opened.append(path)
            return real(path, **settings)

        monkeypatch.setattr(module, "open_slide", counted)
        slides, path = OpenSlides(), tmp_path / "a.png"
        slide = write_image(path, 10)
        threads = [threading.Thread(target=slides.reader, args=(slide, path)) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert opened == [path]

    def test_a_large_flat_image_gets_a_pyramid_that_goes_in_the_end(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("axilla.wsi.slides.STREAM_ABOVE_PX", 100)
        slides, path = OpenSlides(), tmp_path / "a.png"
        slide = write_image(path, 90)
        reader = slides.reader(slide, path)
        assert type(reader).__name__ == "_OpenSlideReader"
        assert reader.size == (80, 60)
        assert abs(int(reader.read(5, 5, 1, 1)[0, 0, 0]) - 90) <= 1
        folder = slides._pyramids.path
        assert len(list(folder.glob("*.tif"))) == 1
        slides.close()
        assert not folder.exists()

    def test_a_slide_over_the_limit_is_refused_before_it_is_decoded(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("axilla.wsi.slides.STREAM_ABOVE_PX", 100)
        path = tmp_path / "a.png"
        write_image(path, 1)
        with pytest.raises(SlideError, match="max_slide_px"):
            OpenSlides().reader(Slide("s", "p", (path,), max_px=4000), path)


def tile_address(client: TestClient, patient: int) -> tuple[str, dict[str, Any]]:
    found = client.get(f"/api/e/0/p/{patient}/slides/0/images/0").json()
    return f"{found['tiles']}/{found['highest']}/0_0", found


def test_a_tile_comes_as_it_is_and_then_from_memory(client: TestClient, served: Served) -> None:
    address, found = tile_address(client, 1)
    assert (found["width"], found["height"], found["mpp"]) == (420, 320, 0.5)
    first, again = client.get(address), client.get(address)
    assert first.headers["content-type"] == again.headers["content-type"] == "image/jpeg"
    assert first.content == again.content
    slide = served.endpoints[0].cohort.patients[1].slides[0]
    pixels = cv2.imread(str(slide.images[0]))[..., ::-1]
    shown = simplejpeg.decode_jpeg(first.content)
    assert shown.shape == (320, 420, 3)
    assert np.abs(shown.astype(int) - pixels).mean() < 4


@pytest.mark.parametrize(
    "address",
    [
        "/tiles/0/1/0/0/1/9/9_9", "/tiles/0/1/0/0/1/99/0_0", "/tiles/9/1/0/0/1/9/0_0",
        "/tiles/0/999/0/0/1/9/0_0", "/tiles/0/1/9/0/1/9/0_0", "/tiles/0/1/0/9/1/9/0_0",
        "/tiles/", "/tiles/0/1/0/0/../9/0_0", "/tiles/../../etc/passwd",
        "/tiles/0/1/0/0/1/9/%2e%2e%2fetc", "/tiles/-1/1/0/0/1/9/0_0", "/tiles/0/1/0/0/1/9/0_0/x",
        "/tiles/٠/1/0/0/1/9/0_0",
    ],
)  # fmt: skip
def test_no_other_address_is_a_tile(client: TestClient, address: str) -> None:
    assert client.get(address).status_code in {404, 400}


def test_a_tile_is_not_written_to(client: TestClient) -> None:
    assert client.post("/tiles/0/1/0/0/1/9/0_0", content=b"").status_code == 405


def test_ten_thousand_at_once_leave_it_alive(served: Served) -> None:
    app = create_app(served, access=Access("127.0.0.1", 8765))

    async def one(address: str) -> int:
        status: list[int] = []
        scope = {
            "type": "http", "method": "GET", "path": address, "query_string": b"",
            "headers": [(b"host", b"127.0.0.1:8765")], "scheme": "http",
        }  # fmt: skip

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                status.append(message["status"])

        await app(scope, asyncio.Queue().get, send)
        return status[0]

    async def all_of_them() -> list[int]:
        # Each another tile, as the version makes it: nothing comes from memory.
        places = (f"/tiles/0/{i % 20}/0/0/{i:x}/9/0_0" for i in range(10_000))
        return await asyncio.gather(*map(one, places))

    found = asyncio.run(all_of_them())
    assert set(found) <= {200, 503}
    assert found.count(200) >= 100
    assert asyncio.run(one("/e/0")) == 200


def test_busy_is_told_with_when_to_come_again(
    client: TestClient, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: Any) -> None:
        raise BusyError

    monkeypatch.setattr(Workshop, "make", full)
    for address in ("/tiles/0/1/0/0/abc/9/0_0", "/api/e/0/p/1/slides/0/images/0"):
        answer = client.get(address)
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"


def test_a_slide_that_goes_away_is_told_and_nothing_else_stops(
    client: TestClient, served: Served
) -> None:
    slide = served.endpoints[0].cohort.patients[5].slides[0]
    path = slide.images[0]
    address, _ = tile_address(client, 5)
    path.rename(path.with_suffix(".away"))
    try:
        answer = client.get(address)
        assert answer.status_code == 410
        assert "no longer there" in answer.json()["problem"]
        assert str(path.parent) not in answer.text
        assert client.get("/api/e/0/p/5/slides/0/images/0").status_code == 410
        assert client.get("/e/0/p/5").status_code == 200
        other, _ = tile_address(client, 6)
        assert client.get(other).status_code == 200
    finally:
        path.with_suffix(".away").rename(path)
    assert client.get(address).status_code == 200
