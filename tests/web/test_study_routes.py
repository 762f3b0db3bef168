"""The study's page and its figures, against what the study itself wrote."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from axilla.core import store
from axilla.core.config import StudyConfig
from axilla.core.types import Confusion
from axilla.web.served import Served

MEASURES = ("sensitivity", "specificity", "ppv", "npv")


def test_the_page_says_what_it_is_and_escapes_names(client: TestClient, hostile: str) -> None:
    assert client.get("/").headers["location"] == "/e/0"
    html = client.get("/e/0").text
    assert "Tiny &amp; &lt;served&gt;" in html
    assert "<served>" not in html
    assert hostile not in html
    assert "Not a medical device" in html
    assert "Generated data" in html
    assert "<script>" not in html
    assert "style=" not in html
    assert " onclick" not in html


def test_every_patient_is_there_with_the_scores_of_the_study(
    client: TestClient, study: StudyConfig, hostile: str
) -> None:
    rows = client.get("/api/e/0/patients").json()["rows"]
    written = store.read_predictions(study.out / "predictions.csv")
    expected = {(row.patient_id, row.cohort, row.method): row.score for row in written.itertuples()}
    found = {
        (row["id"], row["cohort"], method): scores[0]
        for row in rows
        for method, scores in row["scores"].items()
    }
    assert found == pytest.approx(expected, abs=1e-15)
    assert len(rows) == 24
    assert sum(row["id"] == hostile for row in rows) == 1
    assert {"Age, years", "T stage", "ER", "PR", "HER2"} == set(rows[1]["groups"])


@pytest.mark.parametrize("method", ["clinical", "dl-cnb", "dl-cnb+c"])
@pytest.mark.parametrize("cohort", ["train", "val", "test"])
def test_figures_at_the_locked_threshold_are_those_of_the_metrics(
    client: TestClient, study: StudyConfig, method: str, cohort: str
) -> None:
    entry = store.read_json(study.out / "metrics.json")["methods"][method][cohort]
    asked = {"method": method, "cohort": cohort}
    live = client.get("/api/e/0/figures", params=asked).json()
    assert live["auc"] == entry["auc"]
    assert live["threshold"] == entry["threshold"]
    assert (live["n"], live["positives"]) == (entry["n"], entry["positives"])
    at = client.get("/api/e/0/operating", params=asked | {"threshold": entry["threshold"]}).json()
    assert at["confusion"] == entry["confusion"]
    assert {name: at[name] for name in MEASURES} == {name: entry[name] for name in MEASURES}


def test_every_threshold_of_the_curve_gives_the_point_it_stands_for(client: TestClient) -> None:
    asked = {"method": "dl-cnb+c", "cohort": "train"}
    points = client.get("/api/e/0/figures", params=asked).json()["roc"]["points"]
    assert points[0] == [0.0, 0.0, None]
    assert points[-1][:2] == [1.0, 1.0]
    for fpr, tpr, threshold in points[1:]:
        at = client.get("/api/e/0/operating", params=asked | {"threshold": threshold}).json()
        assert at["sensitivity"]["value"] == pytest.approx(tpr)
        assert at["specificity"]["value"] == pytest.approx(1 - fpr)
        counts = Confusion(**at["confusion"])
        below, n = counts.tn + counts.fn, sum(at["confusion"].values())
        assert at["avoided_per_100"]["value"] == pytest.approx(100 * below / n)
        assert at["missed_per_100"]["value"] == pytest.approx(100 * counts.fn / n)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/e/1", 404), ("/e/x", 404), ("/e/0/p/999", 404), ("/e/0/p/-1", 404), ("/nowhere", 404),
        ("/api/e/0/figures", 404), ("/api/e/0/figures?method=x&cohort=test", 404),
        ("/api/e/0/operating?method=dl-cnb&cohort=test", 404),
        ("/api/e/0/operating?method=dl-cnb&cohort=test&threshold=nan", 404),
        ("/api/e/0/operating?method=dl-cnb&cohort=test&threshold=<script>", 404),
        ("/api/e/9/patients", 404), ("/static/../served.py", 404), ("/static/nothing.js", 404),
    ],
)  # fmt: skip
def test_what_is_not_there_is_told_in_a_sentence(
    client: TestClient, path: str, status: int
) -> None:
    answer = client.get(path)
    assert answer.status_code == status
    assert "Traceback" not in answer.text
    assert "<script>" not in answer.text
    if path.startswith("/api/"):
        assert answer.json()["problem"].endswith(".")
    else:
        assert "Not here" in answer.text


def test_folds_are_shown_as_the_means_that_the_metrics_pool(
    clinical_study: Callable[..., StudyConfig], client_of: Callable[..., TestClient]
) -> None:
    config = clinical_study(split={"folds": 3, "repeats": 2})
    client = client_of(Served.of(config))
    asked = {"method": "clinical", "cohort": "test"}
    entry = store.read_json(config.out / "metrics.json")["methods"]["clinical"]["test"]
    live = client.get("/api/e/0/figures", params=asked).json()
    assert live["auc"] == entry["auc"]
    assert "cross-validation" in live["note"]
    at = client.get("/api/e/0/operating", params=asked | {"threshold": live["threshold"]}).json()
    rows = client.get("/api/e/0/patients").json()["rows"]
    rows = [row for row in rows if row["cohort"] == "test"]
    assert len(rows) == 90
    called = [(row["label"], row["scores"]["clinical"][0] >= live["threshold"]) for row in rows]
    assert at["confusion"] == {
        "tp": called.count((1, True)), "fn": called.count((1, False)),
        "fp": called.count((0, True)), "tn": called.count((0, False)),
    }  # fmt: skip
    assert f"sensitivity {entry['sensitivity']['value']:.3f}" in live["note"]
    assert f"specificity {entry['specificity']['value']:.3f}" in live["note"]
    html = client.get("/e/0").text
    assert "Out-of-fold test" in html
    assert "all folds together" in html
    assert "a fold's model that did not learn" in client.get("/e/0/p/3").text


def test_several_endpoints_have_a_page_each(
    clinical_study: Callable[..., StudyConfig], client_of: Callable[..., TestClient]
) -> None:
    config = clinical_study(endpoints=("n0-vs-npos", "n1-2-vs-n3plus"))
    client = client_of(Served.of(config))
    for place, (name, patients) in enumerate([("n0-vs-npos", 90), ("n1-2-vs-n3plus", 44)]):
        page = client.get(f"/e/{place}").text
        assert f'aria-current="page">{name}' in page
        rows = client.get(f"/api/e/{place}/patients").json()["rows"]
        assert len(rows) == patients
        written = store.read_json(config.out / name / "metrics.json")
        live = client.get(f"/api/e/{place}/figures?method=clinical&cohort=test").json()
        assert live["auc"] == written["methods"]["clinical"]["test"]["auc"]
    assert client.get("/e/2").status_code == 404


def test_three_classes_have_a_matrix_and_no_threshold(
    clinical_study: Callable[..., StudyConfig], client_of: Callable[..., TestClient]
) -> None:
    config = clinical_study(endpoint="n0-vs-n1-2-vs-n3plus")
    client = client_of(Served.of(config))
    live = client.get("/api/e/0/figures?method=clinical&cohort=test").json()
    written = store.read_json(config.out / "metrics.json")["methods"]["clinical"]["test"]
    assert live["confusion_matrix"] == written["confusion_matrix"]
    assert live["auc_by_class"] == written["auc_by_class"]
    answer = client.get("/api/e/0/operating?method=clinical&cohort=test&threshold=0.5")
    assert answer.status_code == 404
    asked = client.post("/api/e/0/p/0/ask", json={"values": own_values(config)}).json()
    assert len(asked["answers"][0]["scores"]) == 3


def own_values(config: StudyConfig) -> dict[str, str]:
    line = config.cohort.read_text(encoding="utf-8").splitlines()[1].split(",")
    names = ("age", "tumor_size_cm", "er", "pr", "her2")
    return dict(zip(names, line[1:6], strict=True))


def test_a_study_that_was_run_again_is_told(
    clinical_study: Callable[..., StudyConfig], client_of: Callable[..., TestClient]
) -> None:
    config = clinical_study()
    client = client_of(Served.of(config))
    again = "The study was run again since this page was started"
    assert again not in client.get("/e/0").text
    os.utime(config.out / "predictions.csv", ns=(1, 1))
    assert again in client.get("/e/0").text
    assert again in client.get("/e/0/p/1").text
    answer = client.post("/api/e/0/p/0/ask", json={"values": own_values(config)})
    assert answer.status_code == 410
    assert "was run again" in answer.json()["problem"]
