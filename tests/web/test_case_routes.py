"""A case: what lies over its slide, and the model asked with other clinical values."""

from __future__ import annotations

import csv
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import simplejpeg
from starlette.testclient import TestClient

from axilla.core import store
from axilla.core.config import StudyConfig
from axilla.core.progress import Silent
from axilla.core.recent import Recent
from axilla.core.types import Region
from axilla.study.chain import prepare
from axilla.study.layout import Layout
from axilla.study.scoring import load_bundle, score_patients
from axilla.web.served import Served


def place_of(served: Served, cohort: str) -> int:
    """Place of the first patient of a cohort."""
    endpoint = served.endpoints[0]
    where = endpoint.partitions[0].cohort_of
    ids = [p.patient_id for p in endpoint.cohort.patients]
    return next(i for i, patient in enumerate(ids) if where[patient] == cohort)


def values_of(served: Served, place: int) -> dict[str, str]:
    """The patient's own values, as the form holds them."""
    clinical = served.endpoints[0].cohort.patients[place].clinical
    return {n: f"{v:g}" if isinstance(v, float) else str(v) for n, v in clinical.items()}


def test_the_page_of_a_hostile_id_shows_it_as_text(client: TestClient, hostile: str) -> None:
    html = client.get("/e/0/p/0").text
    assert "<img" not in html
    assert "&lt;img src=x onerror=document.title=1&gt;" in html
    assert hostile not in html
    assert "Not a medical device" in html
    assert "Generated data" in html
    assert "style=" not in html


def test_a_patient_the_model_learned_from_is_named_so(client: TestClient, served: Served) -> None:
    learned = client.get(f"/e/0/p/{place_of(served, 'train')}").text
    assert "The model learned from this patient" in learned
    fresh = client.get(f"/e/0/p/{place_of(served, 'test')}").text
    assert "The model learned from" not in fresh
    assert "no model shown here learned from the patient" in fresh


def test_overlays_are_the_tables_that_explain_wrote(
    client: TestClient, served: Served, study: StudyConfig
) -> None:
    place = place_of(served, "test")
    slide = served.endpoints[0].cohort.patients[place].slides[0]
    found = client.get(f"/api/e/0/p/{place}/slides/0/overlays").json()
    table = pd.read_csv(Layout(study.out).attention(slide.slide_id))
    patches = found["patches"]
    assert found["side"] == 32
    assert patches["x"] == table["x"].tolist()
    assert patches["y"] == table["y"].tolist()
    assert patches["attention"] == pytest.approx(table["attention"].tolist())
    assert patches["contribution"] == pytest.approx(table["contribution"].tolist())
    assert set(patches["image"]) == {0}
    assert found["method"] == "DL-CNB model"
    ring = np.array(found["images"][0]["outlines"][0])
    assert ring.shape[1] == 2
    assert (ring[0] == ring[-1]).all()
    assert ring.min() >= 0
    assert (ring.max(axis=0) <= (420, 320)).all()


def test_a_slide_that_was_not_measured_says_how_to(client: TestClient, served: Served) -> None:
    place = place_of(served, "train")
    found = client.get(f"/api/e/0/p/{place}/slides/0/overlays").json()
    assert found["patches"] is None
    assert "axilla explain" in found["reason"]
    assert len(found["images"][0]["outlines"]) >= 1


def test_outlines_that_changed_since_are_told(served: Served, client_of: Any) -> None:
    endpoint, place = served.endpoints[0], place_of(served, "test")
    slide = endpoint.cohort.patients[place].slides[0]
    regions: Recent[tuple[Region, ...]] = Recent(4)
    regions.get(slide.slide_id, lambda: (Region(77, slide.images[0], None, "whole"),))
    changed = Served(served.name, served.generated, (replace(endpoint, _regions=regions),))
    answer = client_of(changed).get(f"/api/e/0/p/{place}/slides/0/overlays")
    assert answer.status_code == 410
    assert "are not those its patches were cut from" in answer.json()["problem"]


def test_a_patch_is_shown_as_it_is_on_the_slide(client: TestClient, served: Served) -> None:
    place = place_of(served, "test")
    base = f"/api/e/0/p/{place}/slides/0"
    patches = client.get(f"{base}/overlays").json()["patches"]
    shown = simplejpeg.decode_jpeg(client.get(f"{base}/patches/3").content)
    assert shown.shape == (112, 112, 3)
    image = client.get(f"{base}/images/0").json()
    tile = client.get(f"{image['tiles']}/{image['highest']}/0_0").content
    x, y = patches["x"][3], patches["y"][3]
    there = simplejpeg.decode_jpeg(tile)[y : y + 32, x : x + 32]
    assert np.abs(shown.mean(axis=(0, 1)) - there.mean(axis=(0, 1))).max() < 3
    assert client.get(f"{base}/patches/{len(patches['x'])}").status_code == 404


def test_a_study_without_nuclei_has_none(client: TestClient, served: Served) -> None:
    base = f"/api/e/0/p/{place_of(served, 'test')}/slides/0/images/0"
    assert client.get(base).json()["nuclei"] is False
    found = client.get(f"{base}/nuclei?x=0&y=0&w=420&h=320").json()
    assert found == {"count": 0, "ellipses": []}
    assert client.get(f"{base}/nuclei?x=0&y=0&w=inf&h=1").status_code == 404


@pytest.fixture
def with_nuclei(served: Served, study: StudyConfig) -> Any:
    """A table of nuclei beside the first test patient's slide, as the study would write it."""
    slide = served.endpoints[0].cohort.patients[place_of(served, "test")].slides[0]
    grid = store.read_grid(Layout(study.out).grid(slide.slide_id))
    path = Layout(study.out).nuclei(slide.slide_id)
    path.parent.mkdir(exist_ok=True)
    rows = [
        {"patch": i % len(grid), "x": float(x), "y": 40.0, "major_axis": 6.0, "minor_axis": 3.0,
         "orientation": 30.0}
        for i, x in enumerate(range(10, 110, 10))
    ]  # fmt: skip
    pd.DataFrame(rows).to_parquet(path)
    yield path
    path.unlink()


def test_nuclei_in_sight_are_ellipses_of_level_0_pixels(
    client: TestClient, served: Served, with_nuclei: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = f"/api/e/0/p/{place_of(served, 'test')}/slides/0/images/0"
    assert client.get(base).json()["nuclei"] is True
    found = client.get(f"{base}/nuclei?x=5&y=0&w=40&h=100").json()
    # At 0.5 µm/px, axes of 6 and 3 µm are 12 and 6 pixels: half axes of 6 and 3.
    assert found == {"count": 4, "ellipses": [[x, 40, 6, 3, 30] for x in (10, 20, 30, 40)]}
    monkeypatch.setattr("axilla.study.case_opened.MOST_NUCLEI", 3)
    assert client.get(f"{base}/nuclei?x=5&y=0&w=40&h=100").json() == {"count": 4, "ellipses": []}


class TestAsking:
    @pytest.mark.parametrize("cohort", ["test", "val", "train"])
    def test_with_the_recorded_values_it_says_what_was_predicted(
        self, client: TestClient, served: Served, study: StudyConfig, cohort: str
    ) -> None:
        place = place_of(served, cohort)
        answers = client.post(
            f"/api/e/0/p/{place}/ask", json={"values": values_of(served, place)}
        ).json()["answers"]
        assert [answer["method"] for answer in answers] == ["clinical", "dl-cnb+c"]
        patient = served.endpoints[0].cohort.patients[place].patient_id
        written = store.read_predictions(study.out / "predictions.csv")
        for answer in answers:
            here = (written["patient_id"] == patient) & (written["method"] == answer["method"])
            assert answer["scores"]["N(+)"] == pytest.approx(float(written[here]["score"].iloc[0]))
            locked = store.read_json(study.out / "metrics.json")["methods"][answer["method"]]
            assert answer["threshold"] == locked["test"]["threshold"]

    def test_with_other_values_it_says_what_the_whole_chain_would(
        self, client: TestClient, served: Served, study: StudyConfig
    ) -> None:
        place = place_of(served, "test")
        values = values_of(served, place) | {"age": "71", "tumor_size_cm": "4.5"}
        answers = client.post(f"/api/e/0/p/{place}/ask", json={"values": values}).json()["answers"]
        (fitting,) = prepare(study, exclude_failed=False, reporter=Silent())
        patient = fitting.cohort.patients[place]
        other = replace(patient, clinical={**patient.clinical, "age": 71.0, "tumor_size_cm": 4.5})
        for answer in answers:
            bundle = load_bundle(fitting, answer["method"], fitting.partitions[0])
            expected = score_patients(fitting, bundle, (other,))[patient.patient_id].mean[1]
            own = score_patients(fitting, bundle, (patient,))[patient.patient_id].mean[1]
            assert answer["scores"]["N(+)"] == pytest.approx(float(expected))
            assert answer["scores"]["N(+)"] != pytest.approx(float(own), abs=1e-6)

    @pytest.mark.parametrize(
        ("changed", "told"),
        [
            ({"age": "500"}, "should be at most 120"),
            ({"tumor_size_cm": "25"}, "probably in mm"),
            ({"age": "old"}, "no number"),
            ({"age": ""}, "is missing"),
            ({"er": ""}, "is missing"),
            ({"age": "nan"}, "no number"),
            ({"age": "<script>"}, "no number"),
        ],
    )
    def test_a_value_that_cannot_be_is_told_and_gives_no_number(
        self, client: TestClient, served: Served, changed: dict[str, str], told: str
    ) -> None:
        values = values_of(served, 1) | changed
        answer = client.post("/api/e/0/p/1/ask", json={"values": values})
        assert answer.status_code == 422
        assert told in answer.json()["problem"]
        assert "answers" not in answer.json()

    def test_a_value_beyond_the_trained_range_is_scored_and_told(
        self, clinical_study: Any, client_of: Any
    ) -> None:
        # Of the 24 patients of the other study no range is kept: it would tell of single ones.
        served = Served.of(clinical_study())
        values = values_of(served, 1) | {"age": "119"}
        said = client_of(served).post("/api/e/0/p/1/ask", json={"values": values})
        (answer,) = said.json()["answers"]
        assert "knows little of such patients" in " ".join(answer["remarks"])

    @pytest.mark.parametrize(
        "body",
        [b"", b"[]", b"{", b'{"values": 3}', b'{"values": {"age": 3}}', b'{"other": {}}',
         b"[" * 20_000, "\u00ff".encode("latin-1")],
    )  # fmt: skip
    def test_what_the_form_does_not_send_is_refused(self, client: TestClient, body: bytes) -> None:
        headers = {"content-type": "application/json"}
        assert client.post("/api/e/0/p/1/ask", content=body, headers=headers).status_code == 400

    def test_a_form_of_another_page_cannot_send_it(self, client: TestClient) -> None:
        answer = client.post("/api/e/0/p/1/ask", content=b'{"values": {}}')
        assert answer.status_code == 415

    def test_an_unknown_column_is_refused(self, client: TestClient, served: Served) -> None:
        values = values_of(served, 1) | {"nodes": "3"}
        assert client.post("/api/e/0/p/1/ask", json={"values": values}).status_code == 422

    def test_it_is_not_asked_by_a_link(self, client: TestClient) -> None:
        assert client.get("/api/e/0/p/1/ask").status_code == 405


def test_what_is_filled_in_for_a_missing_value_is_told(clinical_study: Any, client_of: Any) -> None:
    config = clinical_study(clinical={"missing": "impute"})
    with config.cohort.open(encoding="utf-8", newline="") as file:
        row = next(csv.DictReader(file))
    values = {name: row[name] for name in ("age", "tumor_size_cm", "er", "pr", "her2")}
    client = client_of(Served.of(config))
    asked = {"values": values | {"age": "", "her2": ""}}
    (answer,) = client.post("/api/e/0/p/0/ask", json=asked).json()["answers"]
    told = " ".join(answer["remarks"])
    assert "age is missing: the model takes the training mean in its place." in told
    assert "her2 is missing: the model takes the commonest value in its place." in told
    assert '<option value="">missing</option>' in client.get("/e/0/p/0").text


def test_a_study_without_slides_says_so(clinical_study: Any, client_of: Any) -> None:
    client = client_of(Served.of(clinical_study()))
    assert "No method of this study looks at slides" in client.get("/e/0/p/0").text
    assert client.get("/api/e/0/p/0/slides/0/images/0").status_code == 404
