"""One case on a page of its own: what it shows, what it says, and what it leaves alone."""

from __future__ import annotations

import base64
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from axilla import features_from_arrays
from axilla.cli import main
from axilla.core import store
from axilla.core.config import StudyConfig
from axilla.core.errors import CohortError, ConfigError, StoreError
from axilla.core.methods import NUCLEI
from axilla.core.types import Partition, Patient
from axilla.nuclei.feature_bags import FEATURES
from axilla.study.case_asking import Case, refuse_case
from axilla.study.case_explaining import HAD_A_PART, asked_of
from axilla.study.chain import StudyResult, run
from axilla.study.fitting import Fitting

Study = tuple[StudyConfig, StudyResult]


@pytest.fixture(scope="module")
def scored(tiny_settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study of patches and nuclei, trained and scored, nothing explained; not to be changed."""
    own = {
        "methods": ["dl-cnb", NUCLEI],
        "slide_mpp": 1.0,
        "nuclei": {"classical": True, "bins": 8},
    }
    out = tmp_path_factory.mktemp("scored") / "out"
    config = StudyConfig.model_validate(tiny_settings | own | {"out": out, "threshold": 0.5})
    return config, run(config, until="predict")


def explain_study(config: StudyConfig) -> StudyResult:
    """Explain all test slides; the figures of `evaluate`, which take longer, are not looked at."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("axilla.study.chain._evaluate", lambda *_, **__: {})
        return run(config, until="explain")


@pytest.fixture(scope="module")
def explained(scored: Study, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The same with all test slides explained; not to be changed."""
    out = tmp_path_factory.mktemp("explained") / "out"
    shutil.copytree(scored[0].out, out)
    config = scored[0].model_copy(update={"out": out})
    return config, explain_study(config)


@pytest.fixture(scope="module")
def imported(tiny_settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The patients with features made elsewhere, all test slides explained; not to be changed."""
    folder, rng = tmp_path_factory.mktemp("imported"), np.random.default_rng(6)
    corners = 64 * np.argwhere(np.ones((4, 3)))
    for patient in pd.read_csv(tiny_settings["cohort"], dtype=str)["patient_id"]:
        found = rng.normal(size=(12, 8)).astype(np.float32)
        features_from_arrays(folder / "feats", patient, found, coords=corners, patch_size=64)
    own = {"features": {"folder": folder / "feats"}, "methods": ["dl-cnb"], "threshold": 0.5}
    names = ("cohort", "endpoint", "bags", "training")
    told = {name: tiny_settings[name] for name in names} | own | {"out": folder / "out"}
    config = StudyConfig.model_validate(told)
    return config, explain_study(config)


def somebody(study: Study, cohort: str) -> str:
    return study[1].partitions[0].members(cohort)[0]  # type: ignore[arg-type]


def explain(config: StudyConfig, patient: str, page: Path | None = None) -> tuple[str, Any]:
    """The page and its numbers."""
    result = run(config, until="explain", case=Case(patient, page))
    assert result.case is not None
    text = result.case.read_text(encoding="utf-8")
    return text, store.read_json(result.case.with_suffix(".json"))


def pictures(page: str) -> list[str]:
    """Kinds of what the page shows; there is nothing else that it would load."""
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", page)
    return re.findall(r'<img src="data:(image/[a-z+]+);base64,', page)


def test_a_test_patient(
    scored: Study, again: Callable[..., StudyConfig], work: Counter[str]
) -> None:
    config = again(scored[0])
    patient = somebody(scored, "test")
    page, told = explain(config, patient)
    assert work == {"measure_slide": 1, "draw_slide": 1}, "this slide only, and nothing is trained"
    assert [path.name for path in (config.out / "attention").glob("*.csv")] == [f"{patient}.csv"]
    # Attention, contribution, patches, nuclei, and the drawing of the features.
    kinds = pictures(page)
    assert len(kinds) == 5
    assert kinds.count("image/svg+xml") == 1
    assert "did not learn from them" in page
    assert not any(sentence in page for sentence in HAD_A_PART.values())
    assert "no evidence" in page
    assert "no patient&#39;s risk" in page

    scores = store.read_predictions(config.out / "predictions.csv")
    rows = scores[scores["patient_id"] == patient].set_index("method")
    assert (told["cohort"], told["notes"]) == ("test", [])
    for score in told["scores"]:
        (value,) = score["scores"].values()
        assert value == rows["score"][score["method"]]
        assert score["called"] == ("N(+)" if value >= 0.5 else "N0")
        assert f"{value:.3f}" in page

    (slide,) = told["slides"]
    table = pd.read_csv(config.out / "attention" / f"{patient}.csv")
    assert slide["patches"] == len(table)
    highest = table.loc[table["attention"].idxmax()]
    first = slide["highest_attention"][0]
    assert (first["x"], first["y"]) == (highest["x"], highest["y"])
    assert slide["lowest_attention"][0]["attention"] == table["attention"].min()
    assert all((config.out / name).is_file() for name in slide["files"])
    assert f"attention/{patient}.geojson" in slide["files"]
    assert all(name in page for name in slide["files"])

    work.clear()
    again_page, _ = explain(config, patient)
    assert (work, again_page) == ({}, page)


def test_the_nuclei_stand_among_those_of_the_training_patients(
    scored: Study, explained: Study, again: Callable[..., StudyConfig]
) -> None:
    config = again(scored[0])
    patient = somebody(scored, "test")
    _, told = explain(config, patient)
    features = {row["feature"]: row for row in told["nuclei"]["features"]}
    assert set(features) == set(FEATURES)
    assert np.mean([row["attention"] for row in features.values()]) == pytest.approx(1)
    study = explained[0].out / "nuclei"
    everybody = pd.read_csv(study / "features.csv", dtype={"patient_id": str})
    everybody = everybody.set_index("patient_id")
    training = everybody.loc[list(scored[1].partitions[0].members("train"))]
    smallest = training["label"].value_counts().min()
    assert smallest < told["nuclei"]["smallest_group"] <= len(training)
    for name, row in features.items():
        assert row["value"] == pytest.approx(everybody.loc[patient, name])
        # One class is small: nothing is told by class.
        (group,) = row["training"]
        assert (group["group"], group["n"]) == ("All", len(training))
        assert group["median"] == pytest.approx(training[name].median())
        low, high = np.quantile(training[name], [0.1, 0.9])
        assert group["middle_four_fifths"] == pytest.approx([low, high])
    weights = pd.read_csv(study / "weights.csv", dtype={"patient_id": str})
    own = weights.set_index("patient_id").loc[patient]
    assert [features[n]["attention"] for n in FEATURES] == pytest.approx(own[list(FEATURES)])


def test_the_case_is_the_same_once_the_study_is_explained(
    scored: Study, explained: Study, again: Callable[..., StudyConfig], tmp_path: Path
) -> None:
    patient = somebody(scored, "test")
    page, told = explain(again(scored[0]), patient)
    out = tmp_path / "explained"
    shutil.copytree(explained[0].out, out)
    known = explained[0].model_copy(update={"out": out})
    assert explain(known, patient) == (page, told)


def test_contributions_are_told_feature_by_feature(
    scored: Study, again: Callable[..., StudyConfig]
) -> None:
    _, told = explain(again(scored[0]), somebody(scored, "test"))
    given = [row["contribution"] for row in told["nuclei"]["features"]]
    assert len(set(given)) == len(FEATURES)
    assert all(np.isfinite(given))


@pytest.mark.parametrize("cohort", ["train", "val"])
def test_who_had_a_part_in_the_model_is_told_so_and_lies_apart(
    scored: Study, again: Callable[..., StudyConfig], cohort: str
) -> None:
    config = again(scored[0])
    patient = somebody(scored, cohort)
    page, told = explain(config, patient)
    sentence = HAD_A_PART[cohort]  # type: ignore[index]
    assert sentence in page
    assert told["notes"] == [sentence]
    assert not (config.out / "heatmaps").exists(), "the folder of the test slides' maps"
    assert not (config.out / "attention").exists()
    own = f"explained/learned-from/{patient}/attention/{patient}.csv"
    assert own in told["slides"][0]["files"]
    assert (config.out / own).is_file()
    assert len(pictures(page)) == 5


COHORT = {"scale": "cohort", "ome_tiff": True}


def test_colours_of_the_cohort_where_it_is_not_measured(
    scored: Study, again: Callable[..., StudyConfig]
) -> None:
    config = again(scored[0], heatmaps=COHORT)
    patient = somebody(scored, "test")
    page, told = explain(config, patient)
    assert "one colour scale over all test slides" in page
    assert len(told["notes"]) == 1
    assert f"heatmaps/{patient}-attention.ome.tif" in told["slides"][0]["files"]


@pytest.mark.parametrize("kind", ["explained", "imported"])
def test_colours_of_the_cohort_where_it_is_measured(
    kind: str,
    request: pytest.FixtureRequest,
    again: Callable[..., StudyConfig],
    work: Counter[str],
) -> None:
    study: Study = request.getfixturevalue(kind)
    work.clear()  # of making the study
    config = again(study[0], heatmaps=COHORT)
    patient = somebody(study, "test")
    _, told = explain(config, patient)
    assert told["notes"] == []
    assert work == {"draw_slide": 1}
    work.clear()
    explain_study(config)
    assert work == {"draw_slide": 5}, "this one has the colours of all already"
    # The study's map stays as it is.
    drawn = (config.out / "heatmaps" / f"{patient}.png").read_bytes()
    explain(config, patient)
    assert (config.out / "heatmaps" / f"{patient}.png").read_bytes() == drawn
    # The range is that of the test slides and of the patient's own.
    explain(config, somebody(study, "train"))
    work.clear()
    explain_study(config)
    assert work == {}


def test_the_page_goes_where_it_is_asked_for(
    scored: Study, again: Callable[..., StudyConfig], tmp_path: Path
) -> None:
    config = again(scored[0])
    patient = somebody(scored, "test")
    page, told = explain(config, patient, tmp_path / "case.html")
    assert f"<h1>Patient {patient}</h1>" in page
    assert told == store.read_json(tmp_path / "case.json")
    assert not (config.out / "explained" / f"{patient}.html").exists()
    shown = base64.b64decode(re.search(r"data:image/png;base64,([^\"]+)", page)[1])  # type: ignore[index]
    assert shown.startswith(b"\x89PNG")


def test_mistakes_are_sentences(scored: Study, tiny_settings: dict[str, Any]) -> None:
    config = scored[0]
    patient = somebody(scored, "test")
    with pytest.raises(CohortError, match=r"no patient 'SYN-00031'.*The nearest: SYN-0031, SYN"):
        refuse_case(
            config.model_copy(update={"cohort": _with_patient(config.cohort, "SYN-0031")}),
            Case("SYN-00031"),
        )
    with pytest.raises(CohortError, match=r"no patient 'Zoë' in the table\. Give an id") as told:
        run(config, case=Case("Zoë"))
    assert told.value.problem.file == config.cohort
    with pytest.raises(StoreError, match=r"is no name of a page\. Name it \.html"):
        run(config, case=Case(patient, Path("page.pdf")))
    clinical = StudyConfig.model_validate(
        tiny_settings | {"methods": ["clinical"], "out": config.out}
    )
    with pytest.raises(ConfigError, match="nothing to explain: no method of this study looks at"):
        run(clinical, case=Case(patient))


def _with_patient(table: Path, name: str) -> Path:
    frame = pd.read_csv(table, dtype=str, keep_default_na=False)
    new = table.with_name("more.csv")
    pd.concat([frame, frame.tail(1).assign(patient_id=name)]).to_csv(new, index=False)
    return new


def test_a_patient_outside_the_endpoint_is_told_why(scored: Study) -> None:
    config = scored[0].model_copy(update={"endpoint": "n0-vs-n3plus"})
    table = pd.read_csv(config.cohort, dtype=str)
    few = table[table["nodes"].astype(int).isin([1, 2])]["patient_id"].iloc[0]
    with pytest.raises(CohortError, match=f"patient {few}.*is not in the study: ") as told:
        run(config, case=Case(few))
    assert told.value.problem.patient == few


def test_of_several_models_one_that_did_not_see_the_patient_is_asked() -> None:
    person = Patient("P", 0, (), {})
    folds = tuple(
        Partition(f"r{repeat}f{fold}", {"P": "test" if fold == 2 else "train"}, repeat, fold)
        for repeat in range(2)
        for fold in range(3)
    )
    cohort = type("Cohort", (), {"patients": (person,)})()
    fitting = Fitting(None, cohort, folds, None, {})  # type: ignore[arg-type]
    asked, side = asked_of(fitting, "P")
    assert (asked.partition.name, side) == ("r0f2", "test")
    never = Fitting(None, cohort, folds[:2], None, {})  # type: ignore[arg-type]
    asked, side = asked_of(never, "P")
    assert (asked.partition.name, side) == ("r0f0", "train")


def test_several_endpoints_have_a_page_each(
    scored: Study, tiny_settings: dict[str, Any], tmp_path: Path
) -> None:
    own = {n: v for n, v in tiny_settings.items() if n != "endpoint"}
    config = StudyConfig.model_validate(
        own
        | {
            "endpoints": ["n0-vs-npos", "n0-vs-n3plus"], "methods": ["dl-cnb"], "threshold": 0.5,
            "out": tmp_path / "out", "training": {"epochs": 1, "restarts": None},
        }
    )  # fmt: skip
    with pytest.raises(ConfigError, match=r"each gets a page of its own\. Leave out --out"):
        run(config, case=Case("SYN-0001", tmp_path / "page.html"))
    table = pd.read_csv(config.cohort, dtype=str)
    few = table[table["nodes"].astype(int).isin([1, 2])]["patient_id"].iloc[0]
    found = run(config, case=Case(few))
    assert found.case is None
    assert found.report is None
    pages = {name: one.case for name, one in found.endpoints.items()}
    assert pages == {
        "n0-vs-npos": tmp_path / "out" / "n0-vs-npos" / "explained" / f"{few}.html",
        "n0-vs-n3plus": None,
    }


@pytest.fixture
def study_file(scored: Study, again: Callable[..., StudyConfig], tmp_path: Path) -> Path:
    study = tmp_path / "study.yaml"
    told = again(scored[0]).model_dump(mode="json")
    study.write_text(yaml.safe_dump(told), encoding="utf-8")
    return study


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--patient", "SYN-0001", "--audit"), "leave out --patient"),
        (("--out", "page.html"), "--out goes with --patient"),
        (("--patient", "nobody"), "there is no patient 'nobody' in the table."),
    ],
)
def test_the_command_refuses(
    study_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    args: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.setattr(sys, "argv", ["axilla", "explain", str(study_file), *args])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert said in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_the_command_tells_where_the_page_is(
    scored: Study,
    study_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    patient = somebody(scored, "test")
    monkeypatch.setattr(sys, "argv", ["axilla", "explain", str(study_file), "--patient", patient])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    out = capsys.readouterr().out
    assert "train     2 models, done before" in out
    assert f"explain   1 slide of patient {patient}, 1 now" in out
    page = study_file.parent / "out" / "explained" / f"{patient}.html"
    assert str(page) in out.replace("\n", "")
    assert page.is_file()


def test_three_classes_have_a_score_each(tiny_settings: dict[str, Any], tmp_path: Path) -> None:
    config = StudyConfig.model_validate(
        tiny_settings
        | {
            "endpoint": "n0-vs-n1-2-vs-n3plus", "methods": ["dl-cnb", NUCLEI], "slide_mpp": 1.0,
            "nuclei": {"classical": True}, "out": tmp_path / "out", "threshold": 0.5,
            "training": {"epochs": 1, "restarts": None},
        }
    )  # fmt: skip
    page, told = explain(config, "SYN-0001")
    for score in told["scores"]:
        assert list(score["scores"]) == told["classes"]
        assert sum(score["scores"].values()) == pytest.approx(1)
        assert score["called"] == max(score["scores"], key=score["scores"].get)
    # Contributions are told of two classes only.
    assert all(row["contribution"] is None for row in told["nuclei"]["features"])
    assert "Contribution" not in page
    assert len(pictures(page)) == 4
