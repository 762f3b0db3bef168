"""BCNB to a study: a small folder as it is published, and one with the authors' bags."""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml

from axilla.cli import main
from axilla.cohorts.bcnb import TASKS
from axilla.core.config import load_config
from axilla.core.errors import AxillaError, CohortError, InputProblems
from axilla.core.given_bags import read_bags
from axilla.study.chain import check, run
from axilla.study.importing import import_bcnb

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

N = 15
COLUMNS = (
    "Patient ID", "Age(years)", "Tumour Size(cm)", "Tumour Type", "ER", "PR", "HER2",
    "HER2 Expression", "Histological grading", "Surgical ", "Ki67", "Molecular subtype",
    "Number of lymph node metastases ", "ALN status",
)  # fmt: skip
"""As published; trailing blanks as in copies of it."""
NODES = (0, 2, 0, 5)


def clinical_table() -> pd.DataFrame:
    rows = [
        (
            n, 40 + n, 1 + n / 10, "Invasive ductal carcinoma", "Positive", "Negative", "Negative",
            "1+", 2 if n % 2 else None, "ALND", "30%", "Luminal A", NODES[n % 4],
            {0: "N0", 2: "N+(1-2)", 5: "N+(>2)"}[NODES[n % 4]],
        )
        for n in range(1, N + 1)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)


def cohort_of(n: int) -> str:
    return "test" if n <= 4 else "val" if n <= 8 else "train"


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """BCNB as published, of 15 patients with slides of 700 x 560 pixels."""
    folder = tmp_path / "BCNB"
    (folder / "WSIs").mkdir(parents=True)
    (folder / "dataset-splitting").mkdir()
    clinical_table().to_excel(folder / "patient-clinical-data.xlsx", index=False)
    for n in range(1, N + 1):
        image = np.random.default_rng(n).integers(90, 200, (560, 700, 3), np.uint8)
        cv2.imwrite(str(folder / "WSIs" / f"{n}.jpg"), image)
        box = [[20, 30], [532, 30], [532, 286 + 30], [20, 286 + 30]]
        outline = {"name": "Annotation 0", "vertices": box}
        (folder / "WSIs" / f"{n}.json").write_text(
            json.dumps({"positive": [outline], "negative": []})
        )
    for cohort in ("train", "val", "test"):
        ids = [str(n) for n in range(1, N + 1) if cohort_of(n) == cohort]
        (folder / "dataset-splitting" / f"{cohort}_id.txt").write_text("\n".join(ids) + "\n")
    return folder


@pytest.fixture
def with_bags(tmp_path: Path) -> Path:
    """The authors' folder: bag files of task 0 and 2, patches, the table."""
    folder = tmp_path / "dataset"
    (folder / "json").mkdir(parents=True)
    table = clinical_table()
    table.to_excel(folder / "patient-clinical-data.xlsx", index=False)
    for n in range(1, N + 1):
        (folder / "patches" / str(n)).mkdir(parents=True)
        for x in range(4):
            name = f"{n}_0_{256 * x}_0.jpg"
            patch = np.random.default_rng([n, x]).integers(90, 200, (256, 256, 3), np.uint8)
            cv2.imwrite(str(folder / "patches" / str(n) / name), patch)
    for task in (0, 2):
        bags: dict[str, list[Any]] = {"train": [], "val": [], "test": []}
        for n in range(1, N + 1):
            nodes = NODES[n % 4]
            label = min(nodes, 1) if task == 0 else {0: 0, 2: 1, 5: 2}[nodes]
            paths = [f"patches/{n}/{n}_0_{256 * x}_0.jpg" for x in (2, 0, 1)]
            cohort = cohort_of(n) if task == 0 else cohort_of(N + 1 - n)
            # Labels are text in some files and numbers in others.
            entry = {"id": str(n), "label": str(label) if task == 0 else label}
            bags[cohort] += [entry | {"patch_paths": paths}]
        for cohort, entries in bags.items():
            path = folder / "json" / f"{cohort}-type-{task}.json"
            path.write_text(json.dumps(entries), encoding="utf-8")
    return folder


def small(study: Path) -> Any:
    """The study with a net that needs no weights."""
    config = load_config(study)
    encoder = {"name": "small_cnn", "weights": "none", "trainable": True, "input_px": 16}
    more = {"encoder": encoder, "training": {"epochs": 1}, "methods": ["dl-cnb"]}
    return type(config).model_validate(config.model_dump() | more)


def test_as_published(published: Path, tmp_path: Path) -> None:
    result = import_bcnb(published, out=tmp_path / "study")
    assert result.patients == {"train": 7, "val": 4, "test": 4}
    assert (result.bags, result.patches, result.notes) == (None, None, ())
    table = pd.read_csv(tmp_path / "study" / "cohort.csv", dtype=str, keep_default_na=False)
    assert table.iloc[1].to_dict() == {
        "patient_id": "2", "age": "42", "tumor_size_cm": "1.2", "er": "positive", "pr": "negative",
        "her2": "negative", "nodes": "0", "aln_status": "N0", "her2_expression": "1+",
        "tumor_type": "Invasive ductal carcinoma", "grade": "", "surgery": "ALND", "ki67": "30%",
        "molecular_subtype": "Luminal A", "split": "test",
    }  # fmt: skip
    config = small(result.study)
    assert config.slides == config.annotations == published / "WSIs"
    assert (config.endpoint, config.regions) == ("n0-vs-npos", "annotation")
    assert config.patches.white_by == "channel", "the original's blank rule"
    assert check(config) == ()
    done = run(config, until="tile")
    # 512 x 286 pixels of tumour: 2 patches, and 2 padded ones below that are mostly white.
    grids = {p.stem: pd.read_parquet(p) for p in (config.out / "patches").iterdir()}
    assert {name: len(grid) for name, grid in grids.items()} == dict.fromkeys(
        map(str, range(1, N + 1)), 2
    )
    assert Counter(done.partitions[0].cohort_of.values()) == {"train": 7, "val": 4, "test": 4}
    note = (tmp_path / "study" / "PROVENANCE.txt").read_text(encoding="utf-8")
    assert "non-commercial" in note
    assert "10.3389/fonc.2021.759007" in note
    assert str(published) in note


def test_other_tasks_as_published_share_the_split(published: Path, tmp_path: Path) -> None:
    out = tmp_path / "study"
    import_bcnb(published, out=out)
    for task, patients in ((1, 8), (2, 15), (3, 11), (4, 11)):
        result = import_bcnb(published, out=out, task=task)
        assert result.study.name == f"study-task{task}.yaml"
        assert sum(result.patients.values()) == patients
        assert load_config(result.study).endpoint == TASKS[task]
        assert result.notes == (), "one split, nothing to contradict"


def test_without_the_split_and_without_slides(published: Path, tmp_path: Path) -> None:
    shutil.rmtree(published / "dataset-splitting")
    shutil.rmtree(published / "WSIs")
    with pytest.raises(InputProblems, match=r"WSIs: there is no such folder.*--tables-only"):
        import_bcnb(published, out=tmp_path / "study")
    result = import_bcnb(published, out=tmp_path / "study", tables_only=True)
    assert result.patients == {"all": N}
    assert "splits at random" in result.notes[0]
    assert "were not looked for" in result.notes[1]
    assert "split" not in yaml.safe_load(result.study.read_text(encoding="utf-8"))


def test_what_is_wrong_with_slides(published: Path, tmp_path: Path) -> None:
    slides = published / "WSIs"
    (slides / "1.jpg").unlink()
    (slides / "2.json").unlink()
    (slides / "3.json").write_text('{"shapes": []}')
    (slides / "4.json").write_text("no JSON")
    (slides / "99.jpg").touch()
    with pytest.raises(InputProblems) as caught:
        import_bcnb(published, out=tmp_path / "study")
    found = {p.patient: p for p in caught.value.problems}
    assert {name: p.file.name for name, p in found.items() if p.file} == {
        "1": "1.jpg", "2": "2.json", "3": "3.json", "4": "4.json", "99": "99.jpg",
    }  # fmt: skip
    assert found["1"].cause == "the slide is missing."
    assert found["2"].cause == "the annotation is missing."
    assert "JSON of an unknown layout" in found["3"].cause
    assert "neither JSON nor XML" in found["4"].cause
    assert found["99"].cause == "the slide's patient has no row in the table."
    assert all(p.remedy for p in found.values())
    assert not (tmp_path / "study").exists()


def change_table(folder: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    path = folder / "patient-clinical-data.xlsx"
    change(pd.read_excel(path, dtype=str)).to_excel(path, index=False)


def test_what_is_wrong_with_rows(published: Path, tmp_path: Path) -> None:
    def spoil(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[0, "Age(years)"] = "old"
        frame.loc[1, "ER"] = "unknown"
        frame.loc[2, "ALN status"] = "N0"  # with 5 nodes
        frame.loc[3, "Tumour Size(cm)"] = "2,5"
        frame.loc[5, "Patient ID"] = "5"
        return frame

    change_table(published, spoil)
    with pytest.raises(InputProblems) as caught:
        import_bcnb(published, out=tmp_path / "study")
    causes = {(p.patient, p.file.name if p.file else None): p.cause for p in caught.value.problems}
    table = "patient-clinical-data.xlsx"
    assert causes == {
        ("1", table): "`age` is 'old', no number.",
        ("2", table): "`er` is 'unknown'.",
        ("3", table): "`nodes` is '5', but `aln_status` is 'N0'.",
        ("5", table): "the patient stands in 2 rows.",
        ("6", "dataset-splitting"): "is in the split, but has no row in the table.",
        ("6", "6.jpg"): "the slide's patient has no row in the table.",
    }


def test_what_is_wrong_with_the_table_or_the_split(published: Path, tmp_path: Path) -> None:
    out = tmp_path / "study"
    table = published / "patient-clinical-data.xlsx"
    change_table(published, lambda frame: frame.drop(columns="HER2"))
    with pytest.raises(CohortError, match=r"patient-clinical-data.xlsx: has no column `HER2`"):
        import_bcnb(published, out=out)
    table.unlink()
    with pytest.raises(CohortError, match=r"there is no such table.*as published"):
        import_bcnb(published, out=out)
    clinical_table().drop(columns="ALN status").to_excel(table, index=False)
    ids = published / "dataset-splitting" / "val_id.txt"
    ids.write_text(ids.read_text() + "1\n")
    with pytest.raises(CohortError, match=r"patient 1, .*test_id.txt: .*is in val_id.txt as well"):
        import_bcnb(published, out=out)
    ids.unlink()
    with pytest.raises(CohortError, match=r"val_id.txt: the file of a cohort is missing"):
        import_bcnb(published, out=out)
    with pytest.raises(CohortError, match="there is no such folder"):
        import_bcnb(tmp_path / "nowhere", out=out)


def test_the_authors_bags(with_bags: Path, tmp_path: Path) -> None:
    out = tmp_path / "study"
    result = import_bcnb(with_bags, out=out)
    assert result.patients == {"train": 7, "val": 4, "test": 4}
    assert (result.bags, result.patches, result.notes) == (N, 3 * N, ())
    config = small(result.study)
    assert config.bags.file == out / "bags.json"
    names = read_bags(out / "bags.json")["7"]
    assert [[str(name) for name in bag] for bag in names] == [["7_0_512_0", "7_0_0_0", "7_0_256_0"]]
    assert check(config) == ()
    done = run(config, until="predict")
    assert Counter(done.partitions[0].cohort_of.values()) == {"train": 7, "val": 4, "test": 4}
    assert import_bcnb(with_bags, out=out) == result, "again the same"
    (out / "cohort.csv").write_text("mine\n", encoding="utf-8")
    with pytest.raises(CohortError, match=r"cohort.csv: the file is there already"):
        import_bcnb(with_bags, out=out)


def test_bags_that_nobody_has_are_noted(with_bags: Path, tmp_path: Path) -> None:
    out = tmp_path / "study"
    config = small(import_bcnb(with_bags, out=out).study)
    bags = json.loads((out / "bags.json").read_text())
    bags["9999"] = [["9999_0_0_0"]]
    (out / "bags.json").write_text(json.dumps(bags), encoding="utf-8")
    assert check(config) == ()
    (note,) = json.loads((config.out / "check.json").read_text())["notes"]
    assert note["cause"] == (
        "the file has bags of 1 slides that no patient of this study has (9999); they are not used."
    )
    assert note["file"] == str(out / "bags.json")


def test_another_task_says_that_its_split_contradicts(with_bags: Path, tmp_path: Path) -> None:
    out = tmp_path / "study"
    import_bcnb(with_bags, out=out)
    result = import_bcnb(with_bags, out=out, task=2)
    assert result.study == out / "study-task2.yaml"
    assert len(result.notes) == 2
    assert "4 training and 0 validation patients of cohort.csv are in the test set of " in "".join(
        result.notes
    )


def test_what_is_wrong_with_bags(with_bags: Path, tmp_path: Path) -> None:
    out = tmp_path / "study"
    (with_bags / "patches" / "3" / "3_0_512_0.jpg").unlink()
    with pytest.raises(InputProblems) as caught:
        import_bcnb(with_bags, out=out)
    (problem,) = caught.value.problems
    assert (problem.patient, problem.file) == ("3", with_bags / "patches" / "3")
    assert problem.cause == ("1 of 3 patches of the bags are missing (the first is 3_0_512_0.jpg).")
    change_table(
        with_bags,
        lambda frame: frame[frame["Patient ID"] != "4"].replace({"N+(>2)": "N0", "5": "0"}),
    )
    with pytest.raises(InputProblems) as caught:
        import_bcnb(with_bags, out=out, tables_only=True)
    causes = {p.patient: p.cause for p in caught.value.problems}
    assert causes["4"] == "has bags, but no row in the table."
    assert causes["3"] == "the bags' label is 1 (N(+)), but the table says N0."
    (with_bags / "patient-clinical-data.xlsx").unlink()
    with pytest.raises(CohortError, match="there is no table of the patients"):
        import_bcnb(with_bags, out=out, tables_only=True)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"label": "7"}, "has the label '7', and task 0 .* has the labels 0 to 1"),
        ({"patch_paths": []}, "bag 1 is empty"),
        ({"patch_paths": ["patches/2/2_0_0_0.jpg"]}, "names one that is not 1_<region>"),
        ({"patch_paths": ["../1_0_0.jpg"]}, "names one that is not 1_<region>"),
        ({"id": "../1"}, "has the patient id '../1'"),
        ({"id": "9"}, "names one that is not 9_<region>"),
        (None, "has not the keys id, label and patch_paths"),
    ],
)
def test_what_is_no_bag_file(change: Any, cause: str, with_bags: Path, tmp_path: Path) -> None:
    path = with_bags / "json" / "test-type-0.json"
    entries = json.loads(path.read_text())
    entries[0] = entries[0] | change if change is not None else "bag"
    path.write_text(json.dumps(entries))
    with pytest.raises(AxillaError, match=cause) as caught:
        import_bcnb(with_bags, out=tmp_path / "study")
    assert caught.value.problem.file == path
    path.unlink()
    with pytest.raises(CohortError, match="a bag file of the task is missing"):
        import_bcnb(with_bags, out=tmp_path / "study")


def test_the_command(
    with_bags: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def call(*args: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["axilla", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), " ".join((said.out + said.err).split())

    monkeypatch.chdir(tmp_path)
    code, said = call("import-bcnb", with_bags)
    assert (code, said) == (
        0,
        "15 patients (7 train, 4 val, 4 test; 45 patches in 15 bags) in bcnb-task0/study.yaml",
    )
    assert call("import-bcnb", with_bags, "--task", 2)[0] == 0
    assert call("import-bcnb", with_bags, "--task", 5)[0] == 2
    shutil.rmtree(with_bags / "patches")
    code, said = call("import-bcnb", with_bags, "--out", "other")
    assert code == 2
    assert "all 45 patches of the bags are missing" in said
    assert "Traceback" not in said
    code, said = call("import-bcnb", with_bags, "--out", "other", "--tables-only")
    assert code == 0
    # Two studies together: nobody may train in one and be tested in the other.
    for task in (0, 2):
        study = tmp_path / f"bcnb-task{task}" / "study.yaml"
        settings = yaml.safe_load(study.read_text(encoding="utf-8"))
        for key in ("bags", "slides", "regions"):
            del settings[key]
        study.write_text(yaml.safe_dump(settings | {"methods": ["clinical"]}), encoding="utf-8")
    studies = [f"bcnb-task{task}/study.yaml" for task in (0, 2)]
    for study_file in studies:
        assert call("check", study_file) == (0, "No problem found.")
    code, said = call("check", *studies)
    assert code == 2
    assert "4 training and 0 validation patients of study 1 (BCNB, task 0)" in said
