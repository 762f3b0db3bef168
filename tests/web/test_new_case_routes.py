"""A new case: what the model is asked, what comes out, and in which words."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from axilla.core.config import StudyConfig
from axilla.core.errors import InputProblems, Problem
from axilla.deploy.case_inputs import CaseInput
from axilla.deploy.loading import load_model
from axilla.deploy.predicting import predict_case
from axilla.web import new_running
from axilla.web.new_running import Job
from axilla.web.served import Served

Begin = Callable[..., Any]
Asked = Callable[..., dict[str, Any]]
Wait = Callable[[TestClient, str], dict[str, Any]]


def test_a_case_is_asked_as_predict_case_asks_it(
    done: Any, study: StudyConfig, given: Any, tmp_path: Path
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
    *,
    begin: Begin,
    asked: Asked,
    wait: Wait,
    given: Any,
) -> None:
    begun = begin()
    client, case = begun.client, begun.case
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


def test_the_result_is_shown_laid_over_the_slide_and_downloaded(done: Any) -> None:
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


def test_an_outline_is_asked_for_where_it_is_to_be_used(
    begin: Begin,
    asked: Asked,
    given: Any,
) -> None:
    begun = begin()
    client, case = begun.client, begun.case
    assert client.get("/").headers["location"] == "/new"
    assert client.get(case.removeprefix("/api")).headers["location"] == "/new"
    client.put(f"{case}/slides", content=given.slide.read_bytes())
    without = client.post(f"{case}/run", json=asked(given.typed))
    assert without.status_code == 422
    assert "the tumour is not outlined on slide 1" in without.json()["problem"]


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
    *,
    begin: Begin,
    asked: Asked,
    given: Any,
    changed: dict[str, Any],
    told: str,
) -> None:
    begun = begin()
    client, case = begun.client, begun.case
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
    *,
    begin: Begin,
    asked: Asked,
    wait: Wait,
    given: Any,
) -> None:
    begun = begin(method="clinical")
    client, case = begun.client, begun.case
    assert client.get("/api/new/models/0").json()["slides"] is False
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
