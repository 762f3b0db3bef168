"""One patient, slide or site on two sides, and columns that give the answer away."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from axilla.core.config import StudyConfig
from axilla.core.types import Cohort, Partition, Patient, Slide
from axilla.study.chain import check
from axilla.study.checking import CheckMemory, same_files
from axilla.study.leakage import alike_groups, alike_patients, duplicate_slides
from axilla.study.telling import telling_columns


def make_config(tmp_path: Path = Path(), **changes: Any) -> StudyConfig:
    settings = {
        "cohort": tmp_path / "cohort.csv", "endpoint": "n0-vs-npos", "methods": ("clinical",),
        "threshold": 0.5,
    }  # fmt: skip
    return StudyConfig.model_validate(settings | changes)


def make_cohort(names: list[str], *, groups: list[str] | None = None) -> Cohort:
    patients = tuple(
        Patient(name, index % 2, (), {}, group=None if groups is None else groups[index])
        for index, name in enumerate(names)
    )
    frame = pd.DataFrame(index=pd.Index(names, name="patient_id"))
    return Cohort(("N0", "N(+)"), patients, (), len(names), frame)


@pytest.mark.parametrize(
    ("names", "alike"),
    [
        (["P1", "P2", "P10", "P100", "10P"], []),
        (["007", "7", "07", "70", "700"], ["007", "7", "07"]),
        (["P1", "p1", "P 1", "P-1", "P1a"], ["P1", "p1", "P 1"]),
        (["SYN-0001", "SYN-1", "SYN-10", "SYN-0010"],
         ["SYN-0001", "SYN-1", "SYN-10", "SYN-0010"]),
        (["0", "00", "000a", "A0", "A00"], ["0", "00", "A0", "A00"]),
        (["1.0", "1.00", "１"], ["1.0", "1.00"]),
    ],
)  # fmt: skip
def test_ids_that_are_one_but_for_their_spelling(names: list[str], alike: list[str]) -> None:
    problems = alike_patients(make_cohort(names), config=make_config())
    assert [p.patient for p in problems] == alike
    for problem in problems:
        assert not problem.fatal
        assert problem.code == "alike-patients"
        assert "case, space or leading zeros" in problem.cause


def test_a_site_in_two_spellings_would_be_split() -> None:
    sites = ["Ulm", "ulm ", "Bonn", "Bonn", "Köln", "KÖLN"]
    cohort = make_cohort(list("abcdef"), groups=sites)
    config = make_config(split={"folds": 2, "group": "site"})
    problems = alike_groups(cohort, config=config)
    assert [p.cause for p in problems] == [
        "`site` writes one group in several ways ('Ulm', 'ulm '), so it would be split.",
        "`site` writes one group in several ways ('Köln', 'KÖLN'), so it would be split.",
    ]
    assert all(p.fatal for p in problems)
    assert alike_groups(cohort, config=make_config()) == []


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def memory_of(out: Path) -> CheckMemory:
    return CheckMemory(out, key_of=lambda slide: slide.slide_id)


def test_equal_files_are_found_by_their_whole_content(tmp_path: Path) -> None:
    long = np.random.default_rng(0).bytes(300_000)
    middle = bytearray(long)
    middle[150_000] ^= 1  # equal in size, head and tail
    files = {
        "a.tif": long, "b.tif": bytes(middle), "c.tif": long, "d.tif": long + b"x",
        "e.png": b"same", "f.png": b"same", "g.png": b"else", "h.png": b"same",
        "i.png": b"", "j.svs": b"",
    }  # fmt: skip
    paths = [write(tmp_path / name, content) for name, content in files.items()]
    groups = same_files([*paths, tmp_path / "gone.tif"], memory=memory_of(tmp_path / "out"))
    assert [[p.name for p in group] for group in groups] == [
        ["a.tif", "c.tif"], ["e.png", "f.png", "h.png"],
    ]  # fmt: skip


def test_a_mrxs_is_what_lies_in_its_folder(tmp_path: Path) -> None:
    for name, data in (("a", b"one"), ("b", b"two"), ("c", b"one")):
        write(tmp_path / f"{name}.mrxs", b"the same thumbnail")
        (tmp_path / name).mkdir()
        write(tmp_path / name / "Data0001.dat", data)
    paths = [tmp_path / f"{name}.mrxs" for name in "abc"]
    (group,) = same_files(paths, memory=memory_of(tmp_path / "out"))
    assert [p.name for p in group] == ["a.mrxs", "c.mrxs"]


def test_digests_are_remembered_until_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [write(tmp_path / name, b"same") for name in ("a.png", "b.png")]
    first = memory_of(tmp_path / "out")
    assert len(same_files(paths, memory=first)) == 1
    first.save()
    read: list[str] = []
    real = __import__("hashlib").file_digest

    def note(file: Any, name: str) -> Any:
        read.append(Path(file.name).name)
        return real(file, name)

    monkeypatch.setattr("axilla.study.checking.hashlib.file_digest", note)
    second = memory_of(tmp_path / "out")
    assert len(same_files(paths, memory=second)) == 1
    assert read == []
    second.save()
    write(paths[1], b"same")
    os.utime(paths[1], (1, 1))
    third = memory_of(tmp_path / "out")
    assert len(same_files(paths, memory=third)) == 1
    assert read == ["b.png"]
    # A memory that was cut is none.
    stored = tmp_path / "out" / "steps" / "checked.json"
    stored.write_bytes(stored.read_bytes()[:40])
    assert len(same_files(paths, memory=memory_of(tmp_path / "out"))) == 1
    assert sorted(read) == ["a.png", "b.png", "b.png"]


def test_one_slide_under_two_patients(tmp_path: Path) -> None:
    slides = [
        Slide("s1", "A", (tmp_path / "s1.png",)),
        Slide("s2", "B", (tmp_path / "s2.png",)),
        Slide("s3", "B", (tmp_path / "s3_1.png", tmp_path / "s3_2.png")),
    ]
    images = [image for slide in slides for image in slide.images]
    problems = duplicate_slides(slides, [images[:2], images[2:]])
    assert [(p.patient, p.slide, p.code, p.fatal) for p in problems] == [
        ("A", "s1", "duplicate-slide", False), ("B", "s2", "duplicate-slide", False),
    ]  # fmt: skip
    assert problems[0].cause == (
        "the slide s1 holds the same image, byte for byte, as slide s2 of patient B."
    )


def test_most_ready_patches_of_a_slide_must_be_another_slides(tmp_path: Path) -> None:
    a, b = (tuple(tmp_path / f"{s}_{n}.png" for n in range(4)) for s in "ab")
    slides = [Slide("a", "A", a), Slide("b", "B", b)]
    pairs = list(zip(a, b, strict=True))
    assert duplicate_slides(slides, pairs[:2], patches=True) == []
    assert [p.slide for p in duplicate_slides(slides, pairs[:3], patches=True)] == ["a", "b"]


COLUMNS = {
    "nodes_positive": "nodes", "aln_involved": "nodes", "number_of_lymph_node_metastases": "nodes",
    "sln": "nodes", "ln_ratio": "nodes", "pn": "nodes", "n_stage": "nodes", "stage": "nodes",
    "tnm": "nodes", "axillary_involvement": "nodes",
    "surgical": "surgery", "surgery_type": "surgery", "alnd": "surgery", "mastectomy": "surgery",
    "age": None, "tumor_size_cm": None, "t_stage": None, "ki67": None, "ln_ki67": None,
    "us_axilla": None, "mri_lymph_nodes": None, "surgery_before": None, "menopause": None,
    "histological_grading": None, "molecular_subtype": None, "previous_breast_surgery": None,
}  # fmt: skip


@pytest.mark.parametrize(("name", "about"), COLUMNS.items())
def test_columns_by_their_name(name: str, about: str | None) -> None:
    problems = tell({name: list(np.arange(40.0))}, numeric=[name])
    if about is None:
        assert problems == []
    else:
        (cause,) = problems
        assert f"`{name}` gives the answer away: it is " in cause
        assert about in cause


def test_nodes_may_predict_what_is_not_made_of_nodes() -> None:
    endpoint = {"column": "recurrence", "negative": "no", "positive": "yes"}
    assert tell({"nodes": list(np.arange(40.0))}, numeric=["nodes"], endpoint=endpoint) == []
    endpoint |= {"column": "ln_positive"}
    assert len(tell({"sln": list(np.arange(40.0))}, numeric=["sln"], endpoint=endpoint)) == 1


def tell(
    columns: dict[str, list[Any]],
    *,
    labels: list[int] | None = None,
    classes: tuple[str, ...] = ("N0", "N(+)"),
    **changes: Any,
) -> list[str]:
    count = len(next(iter(columns.values())))
    labels = labels or [index % 2 for index in range(count)]
    patients = tuple(
        Patient(f"p{i}", labels[i], (), {name: v[i] for name, v in columns.items()})
        for i in range(count)
    )
    cohort = Cohort(classes, patients, (), count, pd.DataFrame())
    partition = Partition("split", dict.fromkeys(cohort.labels(), "train"))
    clinical = {"numeric": [], "categorical": [], **{
        name: changes.pop(name) for name in ("numeric", "categorical") if name in changes
    }}  # fmt: skip
    config = make_config(clinical=clinical, **changes)
    return [p.cause for p in telling_columns(cohort, (partition,), config=config)]


HALF = [i % 2 for i in range(40)]


@pytest.mark.parametrize(
    ("values", "labels", "told"),
    [
        ([10.0 * y + i / 100 for i, y in enumerate(HALF)], HALF, True),  # a threshold tells
        ([-10.0 * y for y in HALF], HALF, True),
        (
            [float(2 * (i % 5) + y) for i, y in enumerate(HALF)],
            HALF,
            True,
        ),  # codes: odd is positive
        ([None if y else i / 10 for i, y in enumerate(HALF)], HALF, True),  # filled in for N0 only
        ([float(i) for i in range(40)], HALF, False),  # all different, as ages may be
        ([10.0 * y for y in HALF[:20]], HALF[:20], False),  # 2 of 184,756: too few to accuse
        ([10.0 * y for y in HALF[:24]], HALF[:24], True),  # 2 of 2,704,156
        ([10.0 * y if i else 10.0 for i, y in enumerate(HALF)], HALF, False),  # one exception
        ([None] * 35 + [1.0, 2.0, 1.0, 2.0, 1.0], HALF, False),  # hardly anybody has it
    ],
)
def test_numbers_by_their_values(values: list[Any], labels: list[int], told: bool) -> None:
    assert bool(tell({"x": values}, labels=labels, numeric=["x"])) == told


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (["yes" if y else "no" for y in HALF], True),
        (["ab"[i % 4 // 2] + str(y) for i, y in enumerate(HALF)], True),  # four pure levels
        ([f"id{i}" for i in range(40)], False),  # names tell everybody apart, and nothing
        ([None if y else "done" for y in HALF], True),
        (["positive" if i % 3 else "negative" for i in range(40)], False),
        (["same"] * 40, False),
    ],
)
def test_categories_by_their_values(values: list[Any], told: bool) -> None:
    found = tell({"x": values}, categorical=["x"])
    assert bool(found) == told
    if told:
        assert "separates N0 from N(+) without one error in all 40 training patients" in found[0]


def test_three_classes_by_their_values() -> None:
    classes = ("N0", "N+(1-2)", "N+(>=3)")
    labels = [i % 3 for i in range(36)]
    settings: dict[str, Any] = {"labels": labels, "classes": classes, "numeric": ["x"]}
    assert len(tell({"x": [5.0 * y for y in labels]}, **settings)) == 1
    assert len(tell({"x": [5.0 * ((y + 1) % 3) + i / 99 for i, y in enumerate(labels)]},
                    **settings)) == 1  # fmt: skip
    assert tell({"x": [5.0 * min(y, 1) for y in labels]}, **settings) == []


def test_innocent_columns_are_not_accused() -> None:
    """200 random columns of every kind against random labels of small cohorts."""
    rng = np.random.default_rng(7)
    for _ in range(200):
        count = int(rng.integers(4, 60))
        labels = [0, 1, *rng.integers(0, 2, count - 2).tolist()]
        columns: dict[str, list[Any]] = {
            "a": rng.normal(60, 10, count).tolist(),
            "b": rng.integers(0, rng.integers(2, 8), count).astype(float).tolist(),
            "c": [f"l{v}" for v in rng.integers(0, rng.integers(2, 30), count)],
        }
        assert tell(columns, labels=labels, numeric=["a", "b"], categorical=["c"]) == []


def test_check_refuses_a_copied_slide_and_a_telling_column(
    plain_study: Callable[..., dict[str, Any]],
) -> None:
    people = [f"G{number:02d}" for number in range(50)]
    rows = [f"{p},{20 + i},{'AB'[i % 2]},{i % 2}" for i, p in enumerate(people)]
    settings = plain_study(rows, people, header="patient_id,age,group,nodes") | {
        "regions": "whole", "methods": ("clinical", "dl-cnb"), "threshold": 0.5,
        "clinical": {"numeric": ["age"], "categorical": ["group"]},
    }  # fmt: skip
    slides = settings["slides"]
    (slides / "G07.png").write_bytes((slides / "G31.png").read_bytes())
    problems = check(StudyConfig.model_validate(settings))
    assert [(p.patient, p.code, p.fatal) for p in problems] == [
        ("G07", "duplicate-slide", False), ("G31", "duplicate-slide", False),
        (None, "telling-column", True),
    ]  # fmt: skip
    assert "`group` gives the answer away" in problems[2].cause
