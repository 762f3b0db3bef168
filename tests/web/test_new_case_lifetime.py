"""New cases wait, are bounded, and go: when one says so, after a while, and at the end."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from axilla.deploy.case_inputs import CaseInput
from axilla.web import new_running
from axilla.web.new_cases import MOST_CASES
from axilla.web.new_running import WAITING, FullError, Job, Queue
from axilla.web.security import Access
from axilla.web.served import Served

EVERYWHERE = "0.0.0.0"  # noqa: S104 - nothing listens there

NewCaseOf = Callable[[TestClient], str]
Begin = Callable[..., Any]
Asked = Callable[..., dict[str, Any]]


def test_a_case_is_deleted_when_one_says_so(done: Any) -> None:
    client, tile = done.client, f"{done.slide['tiles']}/{done.slide['highest']}/0_0"
    assert client.get(tile).status_code == 200
    folder = done.folder
    assert not (folder / "work").exists()
    # Asked already: what it was asked of stays as it was.
    assert client.delete(f"{done.case}/slides/1").status_code == 422
    assert client.delete(done.case).status_code == 200
    assert not folder.exists()
    gone = client.get(done.own)
    assert gone.status_code == 404
    assert "deleted 60 minutes after somebody last looked" in gone.text
    assert client.get(tile).status_code == 404


def test_what_waits_is_bounded_and_can_be_stopped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(model: Any, case: Any, *, reporter: Any, work: Path) -> Any:
        begun.set()
        go_on.wait(20)
        list(reporter.track([1, 2], "Cutting patches"))
        raise AssertionError("stopped before")

    monkeypatch.setattr(new_running, "predict_case", slow)
    queue = Queue()

    def job() -> Job:
        return Job(None, CaseInput(), tmp_path / "work")  # type: ignore[arg-type]  # not asked

    first = job()
    queue.put(first)
    assert begun.wait(20)
    waiting = [job() for _ in range(WAITING)]
    for one in waiting:
        queue.put(one)
    assert [queue.ahead(one) for one in waiting] == [1, 2, 3, 4]
    with pytest.raises(FullError):
        queue.put(job())
    waiting[0].stop()
    queue.put(job())  # its place is free
    first.stop()
    go_on.set()
    queue.close()
    assert first.state == "stopped"
    assert {one.state for one in waiting} == {"stopped"}


def test_a_mistake_of_the_programs_is_told_and_the_next_case_is_worked_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("not foreseen")

    monkeypatch.setattr(new_running, "predict_case", broken)
    queue = Queue()
    jobs = [Job(None, CaseInput(), tmp_path / "work") for _ in range(2)]  # type: ignore[arg-type]  # not asked
    for one in jobs:
        queue.put(one)
    while not all(one.ended for one in jobs):
        time.sleep(0.01)
    queue.close()
    assert [one.state for one in jobs] == ["failed", "failed"]
    assert "was not foreseen" in str(jobs[0].problem)
    assert "not foreseen" in caplog.text


def test_a_full_line_is_told_with_429(
    *,
    begin: Begin,
    asked: Asked,
    monkeypatch: pytest.MonkeyPatch,
    given: Any,
) -> None:
    begun = begin()
    client, case = begun.client, begun.case
    assert begun.served.new is not None

    def full(job: Job) -> None:
        raise FullError

    monkeypatch.setattr(begun.served.new.queue, "put", full)
    client.put(f"{case}/slides", content=given.slide.read_bytes())
    answer = client.post(f"{case}/run", json=asked(given.typed, regions="whole"))
    assert answer.status_code == 429
    assert "wait for the model already" in answer.json()["problem"]
    assert client.get(f"{case}/state").json() == {"state": "none"}


def test_cases_are_bounded_and_those_left_empty_give_way(
    begin: Begin,
    new_case: NewCaseOf,
    given: Any,
) -> None:
    begun = begin()
    client, first = begun.client, begun.case
    others = [new_case(client) for _ in range(MOST_CASES)]
    assert client.get(f"{first}/state").status_code == 404
    for case in others:
        assert client.put(f"{case}/slides", content=given.slide.read_bytes()).status_code == 201
    assert client.post("/api/new").status_code == 429


def test_what_nobody_looks_at_is_deleted_and_all_of_it_at_the_end(
    begin: Begin,
    new_case: NewCaseOf,
    given: Any,
) -> None:
    kept = begin()
    client, served = kept.client, kept.served
    assert served.new is not None
    left = replace(kept, case=new_case(client))
    for one in (kept, left):
        client.put(f"{one.case}/slides", content=given.slide.read_bytes())
    folders = [kept.folder, left.folder]
    found = served.new.find(left.case.rsplit("/", 1)[1])
    assert found is not None
    found.touched -= served.new.idle_s + 1
    with found.used():
        found.touched -= served.new.idle_s + 1
        served.new.sweep()
        assert folders[1].exists()  # a file is coming in
    found.touched -= served.new.idle_s + 1
    served.new.sweep()
    assert [folder.exists() for folder in folders] == [True, False]
    assert client.get(f"{left.case}/state").status_code == 404
    root = folders[0].parent
    served.new.close()
    assert not root.exists()


def test_the_server_sweeps_by_itself(new_served: Callable[..., Served]) -> None:
    served = new_served()
    assert served.new is not None
    served.new.idle_s = 0.02
    served.new.create()

    async def a_moment() -> None:
        sweeping = asyncio.create_task(served.new.keep_sweeping())  # type: ignore[union-attr]  # seen above
        await asyncio.sleep(0.3)
        sweeping.cancel()

    asyncio.run(a_moment())
    assert len(served.new) == 0


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_another_site_and_whoever_has_no_token_changes_nothing(
    begin: Begin,
    client_of: Callable[..., TestClient],
    method: str,
) -> None:
    begun = begin()
    client, served, case = begun.client, begun.served, begun.case
    assert served.new is not None
    path = {"POST": "/api/new", "PUT": f"{case}/slides", "DELETE": case}[method]
    for headers in (
        {"origin": "http://evil.example"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
    ):
        assert client.request(method, path, headers=headers, content=b"x").status_code == 403
    stranger = client_of(served, replace(Access(EVERYWHERE, 8765), token="secret"))  # noqa: S106 - a test's
    assert stranger.request(method, path, content=b"x").status_code == 401
    assert len(served.new) == 1
