"""A new case: what may be given, what is told of what may not, what comes out, when it goes."""

from __future__ import annotations

import asyncio
import io
import json
import re
import struct
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from axilla.core.config import StudyConfig
from axilla.core.errors import InputProblems, Problem
from axilla.deploy.case_inputs import CaseInput
from axilla.deploy.loading import load_model
from axilla.deploy.predicting import predict_case
from axilla.web import new_running
from axilla.web.new_cases import MOST_CASES
from axilla.web.new_files import MAX_OUTLINE_BYTES
from axilla.web.new_running import WAITING, FullError, Job, Queue
from axilla.web.security import Access
from axilla.web.served import Served

EVERYWHERE = "0.0.0.0"  # noqa: S104 - nothing listens there


def new_case(client: TestClient) -> str:
    """The address of an empty case."""
    answer = client.post("/api/new")
    assert answer.status_code == 201
    return f"/api/new/{answer.json()['case']}"


def folder_of(served: Served, case: str) -> Path:
    """Where a case's files lie."""
    assert served.new is not None
    found = served.new.find(case.rsplit("/", 1)[1])
    assert found is not None
    return found.folder


def asked(typed: dict[str, str], **changed: Any) -> dict[str, Any]:
    """What the page sends when it is run."""
    return {"model": 0, "patient": "P 7", "regions": "annotation", "mpp": "0.5",
            "values": typed} | changed  # fmt: skip


def wait(client: TestClient, case: str) -> dict[str, Any]:
    """How it ended."""
    for _ in range(1200):
        found: dict[str, Any] = client.get(f"{case}/state").json()
        if found["state"] in {"done", "failed", "stopped"}:
            return found
        time.sleep(0.05)
    raise AssertionError(found)


def png(width: int, height: int) -> bytes:
    """A PNG whose header claims so many pixels, with hardly any behind it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def bomb() -> bytes:
    """A JPEG of few bytes that claims 65,500 x 65,500 pixels."""
    small = io.BytesIO()
    Image.new("RGB", (16, 16), "white").save(small, "JPEG")
    data = small.getvalue()
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", 65500, 65500) + data[at + 4 :]


@dataclass(frozen=True)
class Done:
    """A case that was asked about, and what was told on the way."""

    client: TestClient
    served: Served
    case: str
    slide: dict[str, Any]
    outline: dict[str, Any]
    ended: dict[str, Any]

    @property
    def own(self) -> str:
        """Address of its result."""
        return self.case.removeprefix("/api")

    def record(self) -> dict[str, Any]:
        """`case.json`."""
        found: dict[str, Any] = self.client.get(f"{self.own}/case.json").json()
        return found


@pytest.fixture
def done(
    new_served: Callable[..., Served], client_of: Callable[..., TestClient], given: Any
) -> Done:
    """A case with an uploaded slide and outline."""
    served = new_served()
    client = client_of(served)
    case = new_case(client)
    slide = client.put(f"{case}/slides", content=given.slide.read_bytes())
    assert slide.status_code == 201
    outline = client.put(f"{case}/slides/1/outline", content=given.outline.read_bytes())
    assert outline.status_code == 200
    assert client.post(f"{case}/run", json=asked(given.typed)).status_code == 202
    return Done(client, served, case, slide.json(), outline.json(), wait(client, case))


def test_a_case_is_asked_as_predict_case_asks_it(
    done: Done, study: StudyConfig, given: Any, tmp_path: Path
) -> None:
    assert (done.ended["state"], done.ended["problem"]) == ("done", None)
    titles = [step["title"] for step in done.ended["steps"]]
    assert {"Checking slides", "Cutting patches", "Drawing maps"} <= set(titles)
    assert all(step["done"] == step["of"] for step in done.ended["steps"])
    model = load_model(
        study.out / "models" / "dl-cnb+c", encoder_weights=Path(study.encoder.weights)
    )
    # The slide's name draws its bags: the same name, the same numbers.
    copy = tmp_path / f"slide-1{given.slide.suffix}"
    copy.write_bytes(given.slide.read_bytes())
    values: dict[str, str | float | None] = dict(given.typed)
    case = CaseInput((copy,), (given.outline,), values, "P 7", "annotation", 0.5)
    same = predict_case(model, case)
    record = done.record()
    assert record["probability"] == dict(same.record.probability)
    assert record["patient_id"] == "P 7"
    positive = record["model"]["classes"][1]
    html = done.client.get(done.own).text
    assert f"{same.record.probability[positive]:.3f}" in html
    assert ("Do not rely on this number." in html) == same.doubtful
    again = done.client.post(f"{done.case}/ask", json={"values": given.typed}).json()["answers"][0]
    assert again["scores"][positive] == pytest.approx(same.record.probability[positive], abs=1e-6)
    changed = {"values": given.typed | {"age": "80"}}
    older = done.client.post(f"{done.case}/ask", json=changed).json()["answers"][0]
    assert older["scores"][positive] != again["scores"][positive]


OPTION = re.compile(r"(?<!\w)--[a-z]")


def test_a_warning_speaks_of_the_page_and_not_of_the_command_line(
    new_served: Callable[..., Served], client_of: Callable[..., TestClient], given: Any
) -> None:
    client = client_of(new_served())
    case = new_case(client)
    client.put(f"{case}/slides", content=given.slide.read_bytes())
    run = asked(given.typed, regions="whole", mpp="")
    assert client.post(f"{case}/run", json=run).status_code == 202
    assert wait(client, case)["state"] == "done"
    own = case.replace("/api", "")
    html = client.get(own).text
    assert "The µm per pixel of slide slide-1 is not known" in html
    assert "Give it, if it is known, and ask again." in html
    page = re.sub(r"<style>.*?</style>", "", client.get(f"{own}/case.html").text, flags=re.DOTALL)
    assert "Give it, if it is known, and ask again." in page
    assert not OPTION.search(html)
    assert not OPTION.search(page)


def test_a_failure_names_no_option(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def wrong(*_: Any, **__: Any) -> Any:
        raise InputProblems(
            (
                Problem("The outline is missing.", "Give it with --annotation."),
                Problem("The slide is blank.", "Scan it again."),
            )
        )

    monkeypatch.setattr(new_running, "predict_case", wrong)
    job = Job(None, CaseInput(), tmp_path / "work")  # type: ignore[arg-type]  # not asked
    job.run()
    assert (job.state, job.problem) == (
        "failed", "The outline is missing. The slide is blank. Scan it again."
    )  # fmt: skip


def test_the_result_is_shown_laid_over_the_slide_and_downloaded(done: Done) -> None:
    client = done.client
    html = client.get(done.own).text
    assert "It has seen no patient" in html  # the model is of a generated cohort
    assert "style=" not in html
    page = client.get(f"{done.own}/case.html")
    assert page.headers["content-disposition"] == 'attachment; filename="case.html"'
    assert "sandbox" in page.headers["content-security-policy"]
    assert "<!DOCTYPE html>" in page.text
    geo = client.get(f"{done.own}/tiles/0").json()
    overlays = client.get(f"{done.case}/slides/1/overlays").json()
    assert len(geo["features"]) == len(overlays["patches"]["x"]) > 0
    assert overlays["images"][0]["outlines"] == done.outline["rings"]
    assert done.outline["regions"] == len(done.outline["rings"]) > 0
    patch = client.get(f"{done.case}/slides/1/patches/0")
    assert patch.headers["content-type"] == "image/jpeg"
    assert client.get(f"{done.case}/slides/1/patches/99999").status_code == 404
    assert client.get(f"{done.own}/tiles/1").status_code == 404
    assert (done.slide["slide"], done.slide["width"], done.slide["height"]) == (1, 420, 320)
    tile = client.get(f"{done.slide['tiles']}/{done.slide['highest']}/0_0")
    assert (tile.status_code, tile.headers["content-type"]) == (200, "image/jpeg")


def test_a_case_is_deleted_when_one_says_so(done: Done) -> None:
    client, tile = done.client, f"{done.slide['tiles']}/{done.slide['highest']}/0_0"
    assert client.get(tile).status_code == 200
    folder = folder_of(done.served, done.case)
    assert not (folder / "work").exists()
    # Asked already: what it was asked of stays as it was.
    assert client.delete(f"{done.case}/slides/1").status_code == 422
    assert client.delete(done.case).status_code == 200
    assert not folder.exists()
    gone = client.get(done.own)
    assert gone.status_code == 404
    assert "deleted 60 minutes after somebody last looked" in gone.text
    assert client.get(tile).status_code == 404


def test_an_outline_is_asked_for_where_it_is_to_be_used(
    new_served: Callable[..., Served], client_of: Callable[..., TestClient], given: Any
) -> None:
    client = client_of(new_served())
    assert client.get("/").headers["location"] == "/new"
    case = new_case(client)
    assert client.get(case.removeprefix("/api")).headers["location"] == "/new"
    client.put(f"{case}/slides", content=given.slide.read_bytes())
    without = client.post(f"{case}/run", json=asked(given.typed))
    assert without.status_code == 422
    assert "the tumour is not outlined on slide 1" in without.json()["problem"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "The file is empty"),
        (b"MZ\x90\x00" + b"\0" * 500, "this is no slide"),
        (b"<svg onload='alert(1)'/>", "this is no slide"),
        (b"II*\x00" + b"\x08\x00\x00\x00" + b"\xff" * 300, "slide-1"),
        (b"\xff\xd8\xff" + b"\0" * 200, "slide-1"),
        (bomb(), "this image claims 65,500 x 65,500 pixels"),
        (png(60_000, 60_000), "this image claims 60,000 x 60,000 pixels"),
    ],
    ids=["empty", "program", "svg", "no-svs", "no-jpeg", "jpeg-bomb", "png-bomb"],
)
def test_what_is_no_slide_is_told_and_leaves_nothing(
    new_served: Callable[..., Served],
    client_of: Callable[..., TestClient],
    content: bytes,
    told: str,
) -> None:
    served = new_served()
    client = client_of(served)
    case = new_case(client)
    answer = client.put(f"{case}/slides", content=content)
    assert answer.status_code == 422
    assert told.lower() in answer.json()["problem"].lower()
    assert list(folder_of(served, case).iterdir()) == []
    assert client.get("/new").status_code == 200


def test_half_a_slide_is_told(
    new_served: Callable[..., Served], client_of: Callable[..., TestClient], given: Any
) -> None:
    served = new_served()
    client = client_of(served)
    case = new_case(client)
    content = given.slide.read_bytes()
    half = client.put(f"{case}/slides", content=content[: len(content) // 2])
    assert half.status_code == 422
    # Fewer bytes than were announced, as where a browser is closed.
    short = client.put(
        f"{case}/slides", content=content[:1000], headers={"content-length": str(len(content))}
    )
    assert short.status_code == 422
    assert "did not come to its end" in short.json()["problem"]
    assert list(folder_of(served, case).iterdir()) == []


def test_bytes_are_bounded_by_case_and_counted_as_they_come(
    new_served: Callable[..., Served], client_of: Callable[..., TestClient], given: Any
) -> None:
    content = given.slide.read_bytes()
    served = new_served(max_upload=len(content) + 10)
    client = client_of(served)
    case = new_case(client)
    assert client.put(f"{case}/slides", content=content + b"\0" * 11).status_code == 413
    lying = client.put(
        f"{case}/slides", content=content + b"\0" * 11, headers={"content-length": "10"}
    )
    assert lying.status_code == 422
    assert list(folder_of(served, case).iterdir()) == []
    assert client.put(f"{case}/slides", content=content).status_code == 201
    second = client.put(f"{case}/slides", content=content)
    assert second.status_code == 422
    assert "larger than what may still be uploaded" in second.json()["problem"]
    assert client.post(f"{case}/run", content=b"{" * 70_000).status_code == 413
    too_long = b"{" + b" " * MAX_OUTLINE_BYTES
    assert client.put(f"{case}/slides/1/outline", content=too_long).status_code == 413


def test_a_name_says_nothing_and_leads_nowhere(
    new_served: Callable[..., Served], client_of: Callable[..., TestClient], given: Any
) -> None:
    served = new_served()
    client = client_of(served)
    case = new_case(client)
    named = {"content-disposition": 'attachment; filename="../../evil.svs"', "x-name": "../a"}
    assert client.put(f"{case}/slides?name=../b", content=given.slide.read_bytes(),
                      headers=named).status_code == 201  # fmt: skip
    folder = folder_of(served, case)
    assert [path.name for path in folder.iterdir()] == [f"slide-1{given.slide.suffix}"]
    assert folder.stat().st_mode & 0o777 == 0o700
    assert folder.parent.stat().st_mode & 0o777 == 0o700
    for path in (
        "/api/new/../../etc",
        "/api/new/%2e%2e/state",
        f"{case}/slides/..%2f..",
        "/new/..",
    ):
        assert client.get(path).status_code in {303, 404, 405}
    assert client.get(f"/api/new/{'0' * 32}/state").status_code == 404


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"nothing of the sort", "neither JSON nor XML"),
        (b"{}", "annotation of slide slide-1"),
        (b"[" * 200_000, "annotation of slide slide-1"),
        (b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "annotation of slide slide-1"),
        (
            json.dumps({"type": "Polygon", "coordinates": [
                [[9000, 9000], [9900, 9000], [9900, 9900], [9000, 9000]]]}).encode(),
            "outside the slide of 420 x 320",
        ),
    ],
    ids=["text", "no-outline", "deep", "entities", "elsewhere"],
)  # fmt: skip
def test_a_wrong_outline_is_told_and_the_one_before_stays(
    new_served: Callable[..., Served],
    client_of: Callable[..., TestClient],
    given: Any,
    content: bytes,
    told: str,
) -> None:
    served = new_served()
    client = client_of(served)
    case = new_case(client)
    client.put(f"{case}/slides", content=given.slide.read_bytes())
    assert client.put(f"{case}/slides/1/outline", content=given.outline.read_bytes()).is_success
    before = sorted(path.name for path in folder_of(served, case).iterdir())
    answer = client.put(f"{case}/slides/1/outline", content=content)
    assert answer.status_code == 422
    assert told in answer.json()["problem"]
    assert sorted(path.name for path in folder_of(served, case).iterdir()) == before
    assert client.delete(f"{case}/slides/1/outline").is_success
    assert client.delete(f"{case}/slides/1").is_success
    assert list(folder_of(served, case).iterdir()) == []


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"values": {"age": "450"}}, "`age`"),
        ({"values": {"age": "old"}}, "`age`"),
        ({"values": {"er": "perhaps"}}, "`er`"),
        ({"values": {"age": ""}}, "`age` is not given, and the model needs it"),
        ({"values": {"shoe": "44"}}, "a value that the model does not read"),
        ({"mpp": "47"}, "no microscope's"),
        ({"mpp": "nan"}, "no microscope's"),
        ({"patient": "a/b"}, "cannot have slashes"),
        ({"model": 7}, "no such model"),
        ({"regions": "patches"}, "not what the page sends"),
        ({"more": 1}, "not what the page sends"),
    ],
)
def test_what_the_model_cannot_be_asked_is_a_sentence(
    new_served: Callable[..., Served],
    client_of: Callable[..., TestClient],
    given: Any,
    changed: dict[str, Any],
    told: str,
) -> None:
    client = client_of(new_served())
    case = new_case(client)
    nothing = client.post(f"{case}/run", json=asked(given.typed, regions="tissue"))
    assert "looks at slides, and none is given" in nothing.json()["problem"]
    client.put(f"{case}/slides", content=given.slide.read_bytes())
    values = given.typed | changed.get("values", {})
    answer = client.post(
        f"{case}/run", json=asked(given.typed, regions="whole", **changed) | {"values": values}
        if "regions" not in changed else asked(given.typed, **changed)
    )  # fmt: skip
    assert answer.status_code in {404, 422}
    assert told in answer.json()["problem"]
    assert "--set" not in answer.json()["problem"]
    assert client.get(f"{case}/state").json() == {"state": "none"}


def test_the_form_is_the_models_with_units_ranges_and_nothing_filled_in(
    new_served: Callable[..., Served], client_of: Callable[..., TestClient]
) -> None:
    client = client_of(new_served())
    found = client.get("/api/new/models/0").json()
    assert (found["slides"], found["needed"], found["generated"]) == (True, True, True)
    columns = {column["name"]: column for column in found["columns"]}
    assert list(columns) == ["age", "tumor_size_cm", "er", "pr", "her2"]
    assert columns["age"]["title"] == "Age, years"
    assert columns["age"]["low"] < 47 < columns["age"]["high"]
    assert set(columns["er"]["choices"]) == {"positive", "negative"}
    assert {column["value"] for column in columns.values()} == {None}
    assert client.get("/api/new/models/9").status_code == 404


def test_a_clinical_model_asks_for_no_slide(
    new_served: Callable[..., Served], client_of: Callable[..., TestClient], given: Any
) -> None:
    client = client_of(new_served(method="clinical"))
    assert client.get("/api/new/models/0").json()["slides"] is False
    case = new_case(client)
    assert client.post(f"{case}/run", json=asked(given.typed, mpp="")).status_code == 202
    assert wait(client, case)["state"] == "done"
    html = client.get(case.replace("/api", "")).text
    assert 'id="viewer"' not in html
    assert 'id="clinical"' in html


def test_a_study_offers_its_own_models_as_well(
    new_served: Callable[..., Served], client_of: Callable[..., TestClient]
) -> None:
    served = new_served(with_study=True)
    assert served.new is not None
    titles = [offer.title for offer in served.new.models.offers]
    assert len(titles) == 3
    assert titles[0].startswith("DL-CNB+C")  # the one that was named comes first, and once
    client = client_of(served)
    assert 'href="/new"' in client.get("/e/0").text
    assert client.get("/").headers["location"] == "/e/0"


def test_without_a_model_there_is_no_such_page(client: TestClient) -> None:
    assert client.get("/new").status_code == 404
    assert client.post("/api/new").status_code == 404
    assert client.put("/api/new/1/slides", content=b"\0" * 70_000).status_code == 413


def test_a_slide_is_picked_by_its_place_and_stays_where_it_is(
    new_served: Callable[..., Served],
    client_of: Callable[..., TestClient],
    given: Any,
    hostile: str,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    (folder / "notes.txt").write_text("no slide", encoding="utf-8")
    (folder / f"{hostile}{given.slide.suffix}").write_bytes(given.slide.read_bytes())
    served = new_served(pick=folder)
    client = client_of(served)
    html = client.get("/new").text
    assert hostile not in html
    assert "&lt;img src=x onerror" in html
    assert "notes.txt" not in html
    assert str(folder) not in html
    case = new_case(client)
    for wrong in ({"pick": 1}, {"pick": -1}, {"pick": "../notes.txt"}, {"path": "/etc/passwd"}):
        assert client.post(f"{case}/slides", json=wrong).status_code in {404, 422}
    found = client.post(f"{case}/slides", json={"pick": 0})
    assert found.status_code == 201
    assert found.json()["width"] == 420
    assert client.delete(case).is_success
    assert len(list(folder.iterdir())) == 2


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
    new_served: Callable[..., Served],
    client_of: Callable[..., TestClient],
    monkeypatch: pytest.MonkeyPatch,
    given: Any,
) -> None:
    served = new_served()
    assert served.new is not None

    def full(job: Job) -> None:
        raise FullError

    monkeypatch.setattr(served.new.queue, "put", full)
    client = client_of(served)
    case = new_case(client)
    client.put(f"{case}/slides", content=given.slide.read_bytes())
    answer = client.post(f"{case}/run", json=asked(given.typed, regions="whole"))
    assert answer.status_code == 429
    assert "wait for the model already" in answer.json()["problem"]
    assert client.get(f"{case}/state").json() == {"state": "none"}


def test_cases_are_bounded_and_those_left_empty_give_way(
    new_served: Callable[..., Served], client_of: Callable[..., TestClient], given: Any
) -> None:
    client = client_of(new_served())
    first = new_case(client)
    others = [new_case(client) for _ in range(MOST_CASES)]
    assert client.get(f"{first}/state").status_code == 404
    for case in others:
        assert client.put(f"{case}/slides", content=given.slide.read_bytes()).status_code == 201
    assert client.post("/api/new").status_code == 429


def test_what_nobody_looks_at_is_deleted_and_all_of_it_at_the_end(
    new_served: Callable[..., Served], client_of: Callable[..., TestClient], given: Any
) -> None:
    served = new_served()
    assert served.new is not None
    client = client_of(served)
    kept, left = new_case(client), new_case(client)
    for case in (kept, left):
        client.put(f"{case}/slides", content=given.slide.read_bytes())
    folders = [folder_of(served, case) for case in (kept, left)]
    found = served.new.find(left.rsplit("/", 1)[1])
    assert found is not None
    found.touched -= served.new.idle_s + 1
    with found.used():
        found.touched -= served.new.idle_s + 1
        served.new.sweep()
        assert folders[1].exists()  # a file is coming in
    found.touched -= served.new.idle_s + 1
    served.new.sweep()
    assert [folder.exists() for folder in folders] == [True, False]
    assert client.get(f"{left}/state").status_code == 404
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


def test_a_pyramid_goes_with_its_slide(
    new_served: Callable[..., Served], client_of: Callable[..., TestClient], tmp_path: Path
) -> None:
    """A flat image that is too large to be held gets one for the viewer."""
    served = new_served()
    assert served.new is not None
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (90, 90, 3), np.uint8)
    large = Image.fromarray(small).resize((8300, 8300), Image.Resampling.NEAREST)
    content = io.BytesIO()
    large.save(content, "JPEG", quality=60)
    client = client_of(served)
    case = new_case(client)
    assert client.put(f"{case}/slides", content=content.getvalue()).status_code == 201
    made = [path for paths in served.new.slides._made.values() for path in paths]
    assert len(made) == 1
    assert made[0].is_file()
    assert client.delete(f"{case}/slides/1").is_success
    assert not made[0].exists()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_another_site_and_whoever_has_no_token_changes_nothing(
    new_served: Callable[..., Served], client_of: Callable[..., TestClient], method: str
) -> None:
    served = new_served()
    assert served.new is not None
    client = client_of(served)
    case = new_case(client)
    path = {"POST": "/api/new", "PUT": f"{case}/slides", "DELETE": case}[method]
    for headers in (
        {"origin": "http://evil.example"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
    ):
        assert client.request(method, path, headers=headers, content=b"x").status_code == 403
    stranger = client_of(served, replace(Access(EVERYWHERE, 8765), token="secret"))  # noqa: S106 - a test's
    assert stranger.request(method, path, content=b"x").status_code == 401
    assert len(served.new) == 1
