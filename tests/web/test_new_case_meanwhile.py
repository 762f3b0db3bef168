"""What comes of a new case's requests when something else happens while they wait."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from axilla.deploy.case_inputs import CaseInput
from axilla.web import new_cases, new_slide_routes
from axilla.web.new_cases import NewCase, NewCases
from axilla.web.new_running import Job

Begin = Callable[..., Any]
Asked = Callable[..., dict[str, Any]]


def new_of(begun: Any) -> NewCases:
    """The server's new cases."""
    found: NewCases | None = begun.served.new
    assert found is not None
    return found


def case_of(begun: Any) -> NewCase:
    """The case as the server holds it."""
    found = new_of(begun).find(begun.case.rsplit("/", 1)[1])
    assert found is not None
    return found


def once_opened(begun: Any, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Do something when a slide was opened, before its request goes on."""
    make = begun.served.workshop.make

    async def made(address: str, work: Callable[[], Any]) -> Any:
        found = await make(address, work)
        act()
        return found

    monkeypatch.setattr(begun.served.workshop, "make", made)


@pytest.fixture
def scans(given: Any, tmp_path: Path) -> Path:
    """A folder of the owner's: a slide, and the first half of a JPEG."""
    folder = tmp_path / "scans"
    folder.mkdir()
    content = given.slide.read_bytes()
    (folder / f"a{given.slide.suffix}").write_bytes(content)
    (folder / f"b{given.slide.suffix}").write_bytes(content[: len(content) // 2])
    return folder


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_slide_that_the_server_is_too_busy_to_open_leaves_nothing(
    *,
    begin: Begin,
    given: Any,
    scans: Path,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
) -> None:
    begun = begin(pick=scans)
    sent: dict[str, Any] = (
        {"content": given.slide.read_bytes()} if method == "PUT" else {"json": {"pick": 0}}
    )
    with monkeypatch.context() as busy:
        busy.setattr(begun.served.workshop, "_most", 0)
        answer = begun.client.request(method, f"{begun.case}/slides", **sent)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert case_of(begun).slides == {}
    assert list(begun.folder.iterdir()) == []
    assert begun.client.request(method, f"{begun.case}/slides", **sent).status_code == 201
    assert len(case_of(begun).slides) == 1


def test_half_a_picked_slide_is_told_and_stays_where_it_is(begin: Begin, scans: Path) -> None:
    (scans / "c.mrxs").write_bytes(b"\xff\xd8\xff")
    (scans / "c").mkdir()  # linked as well
    begun = begin(pick=scans)
    for place in (1, 2):
        answer = begun.client.post(f"{begun.case}/slides", json={"pick": place})
        assert answer.status_code == 422
        assert f"slide-{place}" in answer.json()["problem"]
        assert list(begun.folder.iterdir()) == []
    assert len(list(scans.iterdir())) == 4


def test_the_model_is_not_asked_while_a_slide_is_coming_in(
    *,
    begin: Begin,
    asked: Asked,
    given: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun = begin()
    client, case, content = begun.client, begun.case, given.slide.read_bytes()
    assert client.put(f"{case}/slides", content=content).status_code == 201
    refused: list[Any] = []
    run = asked(given.typed, regions="whole")
    once_opened(
        begun, monkeypatch, lambda: refused.append(client.post(f"{case}/run", json=run))
    )  # fmt: skip
    assert client.put(f"{case}/slides", content=content).status_code == 201
    assert refused[0].status_code == 422
    assert "a file is still coming in" in refused[0].json()["problem"]
    assert client.get(f"{case}/state").json() == {"state": "none"}
    assert list(case_of(begun).slides) == [1, 2]


def test_a_slide_that_is_picked_while_the_model_is_asked_does_not_come_in(
    begin: Begin, scans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = begin(pick=scans)
    listed = new_slide_routes.pickable

    def asked_meanwhile(folder: Path | None) -> tuple[Path, ...]:
        case_of(begun).job = Job(None, CaseInput(), begun.folder / "work")  # type: ignore[arg-type]  # not asked
        return listed(folder)

    monkeypatch.setattr(new_slide_routes, "pickable", asked_meanwhile)
    answer = begun.client.post(f"{begun.case}/slides", json={"pick": 0})
    assert answer.status_code == 422
    assert "asked about this case already" in answer.json()["problem"]
    assert case_of(begun).slides == {}
    assert list(begun.folder.iterdir()) == []


def test_a_slide_that_is_taken_out_does_not_come_back_with_its_outline(
    begin: Begin, given: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = begin()
    client, case = begun.client, begun.case
    client.put(f"{case}/slides", content=given.slide.read_bytes())
    read = new_slide_routes.read_outline

    def taken_out_meanwhile(path: Path, **settings: Any) -> Any:
        found = read(path, **settings)
        assert client.delete(f"{case}/slides/1").is_success
        return found

    monkeypatch.setattr(new_slide_routes, "read_outline", taken_out_meanwhile)
    answer = client.put(f"{case}/slides/1/outline", content=given.outline.read_bytes())
    assert answer.status_code == 404
    assert case_of(begun).slides == {}
    assert list(begun.folder.iterdir()) == []


def test_two_requests_at_once_ask_the_model_once(
    *,
    begin: Begin,
    asked: Asked,
    given: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun = begin()
    client, case, new = begun.client, begun.case, new_of(begun)
    client.put(f"{case}/slides", content=given.slide.read_bytes())
    run = asked(given.typed, regions="whole")
    jobs: list[Job] = []
    load, others = new.models.load, []

    def overtaken(place: int) -> Any:
        if not others:
            others.append(None)
            others[0] = client.post(f"{case}/run", json=run).status_code
        return load(place)

    monkeypatch.setattr(new.queue, "put", jobs.append)
    monkeypatch.setattr(new.models, "load", overtaken)
    answer = client.post(f"{case}/run", json=run)
    assert others == [202]
    assert answer.status_code == 422
    assert "asked about this case already" in answer.json()["problem"]
    assert [case_of(begun).job] == jobs


def test_of_a_case_that_is_deleted_while_its_slide_is_opened_nothing_is_held(
    begin: Begin, given: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = begin()
    client, case, new = begun.client, begun.case, new_of(begun)
    folder, held = begun.folder, []

    def delete() -> None:
        held.append(len(new.slides))
        assert client.delete(case).is_success

    once_opened(begun, monkeypatch, delete)
    answer = client.put(f"{case}/slides", content=given.slide.read_bytes())
    assert answer.status_code == 404
    assert "no longer here" in answer.json()["problem"]
    assert (held, len(new.slides), len(new)) == ([1], 0, 0)
    assert not folder.exists()


def test_slides_that_come_in_together_count_together(
    begin: Begin, given: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = given.slide.read_bytes()
    begun = begin(max_upload=len(content) * 3 // 2)
    refused: list[Any] = []
    once_opened(
        begun,
        monkeypatch,
        lambda: refused.append(begun.client.put(f"{begun.case}/slides", content=content)),
    )
    assert begun.client.put(f"{begun.case}/slides", content=content).status_code == 201
    assert refused[0].status_code == 422
    assert "larger than what may still be uploaded" in refused[0].json()["problem"]
    assert list(case_of(begun).slides) == [1]
    assert case_of(begun).bytes == len(content)


def test_a_place_is_taken_while_its_slide_comes_in(
    begin: Begin, given: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(new_cases, "MOST_SLIDES", 1)
    begun, content, refused = begin(), given.slide.read_bytes(), list[Any]()
    once_opened(
        begun,
        monkeypatch,
        lambda: refused.append(begun.client.put(f"{begun.case}/slides", content=content)),
    )
    assert begun.client.put(f"{begun.case}/slides", content=content).status_code == 201
    assert "a case has at most" in refused[0].json()["problem"]
    assert list(case_of(begun).slides) == [1]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_fails_while_a_file_comes_in_is_a_sentence_and_leaves_nothing(
    begin: Begin, given: Any, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    begun = begin()
    client, case, content = begun.client, begun.case, given.slide.read_bytes()
    assert client.put(f"{case}/slides", content=content).status_code == 201
    lying = sorted(begun.folder.iterdir())
    open_file = Path.open

    def failing(path: Path, mode: str = "r", **settings: Any) -> Any:
        if mode == "xb":
            open_file(path, mode).close()
            raise OSError(number, "no")
        return open_file(path, mode, **settings)

    monkeypatch.setattr(Path, "open", failing)
    for address, sent in (("slides", content), ("slides/1/outline", given.outline.read_bytes())):
        answer = client.put(f"{case}/{address}", content=sent)
        assert answer.status_code == 422
        told = "has no room for" if number == errno.ENOSPC else "could not write"
        assert f"{told} this file. Tell the server's owner." in answer.json()["problem"]
        assert sorted(begun.folder.iterdir()) == lying


def test_of_two_outlines_at_once_the_last_holds(
    begin: Begin, given: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = begin()
    client, case, outline = begun.client, begun.case, given.outline.read_bytes()
    client.put(f"{case}/slides", content=given.slide.read_bytes())
    read, others = new_slide_routes.read_outline, list[Any]()

    def another_meanwhile(path: Path, **settings: Any) -> Any:
        found = read(path, **settings)
        if not others:
            others.append(None)
            others[0] = client.put(f"{case}/slides/1/outline", content=outline).status_code
        return found

    monkeypatch.setattr(new_slide_routes, "read_outline", another_meanwhile)
    assert client.put(f"{case}/slides/1/outline", content=outline).status_code == 200
    assert others == [200]
    kept = case_of(begun).slides[1].outline
    assert kept is not None
    assert len(list(begun.folder.iterdir())) == 2
    assert kept.path.read_bytes() == outline
