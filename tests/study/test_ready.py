"""A study of ready patches with given bags: the same as one that cuts, through every step."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pandas as pd
import pytest

from axilla.core.config import StudyConfig
from axilla.core.errors import InputProblems
from axilla.mil.batches import PatientInstances
from axilla.study.chain import check, run
from axilla.study.given import bags_record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SIZE = 16
PATIENTS = 15


@pytest.fixture
def settings(plain_study: Callable[..., dict[str, Any]], tmp_path: Path) -> dict[str, Any]:
    """Fifteen patients of seven patches in two regions; two bags of three, one patch in none."""
    rows = [f"{n},50,2,positive,negative,negative,{n % 2}" for n in range(PATIENTS)]
    found = plain_study(rows, [])
    bags = {}
    for n in range(PATIENTS):
        rng = np.random.default_rng(n)
        folder = found["slides"] / str(n)
        folder.mkdir()
        names = [f"{n}_0_{x}_{y}" for y in (0, SIZE) for x in (0, SIZE)]
        names += [f"{n}_3_{x}_0" for x in (0, SIZE, 4 * SIZE)]
        for name in names:
            pixels = rng.integers(80 + 60 * (n % 2), 250, (SIZE, SIZE, 3), np.uint8)
            cv2.imwrite(str(folder / f"{name}.png"), pixels)
        order = rng.permutation(names)[:6].tolist()
        bags[str(n)] = [order[:3], order[3:]]
    path = tmp_path / "bags.json"
    path.write_text(json.dumps(bags), encoding="utf-8")
    return found | {
        "regions": "patches",
        "patches": {"size": SIZE},
        "bags": {"file": path},
        "split": {"test": 0.4, "validation": 0.4},
    }


def study(settings: dict[str, Any], **changes: Any) -> StudyConfig:
    return StudyConfig.model_validate(settings | changes)


def test_the_bags_are_used_as_they_are(
    settings: dict[str, Any], coarse_pictures: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: dict[str, list[list[int]]] = {}
    real = PatientInstances.bags_of

    def spy(self: PatientInstances, slide_id: str, *args: Any, **kwargs: Any) -> Any:
        bags = real(self, slide_id, *args, **kwargs)
        assert used.setdefault(slide_id, [b.tolist() for b in bags]) == [b.tolist() for b in bags]
        return bags

    monkeypatch.setattr(PatientInstances, "bags_of", spy)
    config = study(settings)
    assert check(config) == ()
    result = run(config)
    given = json.loads(config.bags.file.read_text()) if config.bags.file else {}
    assert set(used) == set(given), "in training, validation and test"
    for slide, bags in used.items():
        grid = pd.read_parquet(result.layout.grid(slide))
        assert len(grid) == 7
        names = [f"{slide}_{r.region}_{r.x}_{r.y}" for r in grid.itertuples()]
        assert [[names[i] for i in bag] for bag in bags] == given[slide]
    # Explained: the patch in no bag has no attention, and the heat map is drawn without it.
    test = [p.patient_id for p in result.cohort.patients
            if result.partitions[0].cohort_of[p.patient_id] == "test"]  # fmt: skip
    for slide in test:
        table = pd.read_csv(result.layout.attention(slide))
        blank = table[table["attention"].isna()]
        (row,) = blank.itertuples()
        name = f"{slide}_{row.region}_{row.x}_{row.y}"
        assert name not in {n for bag in given[slide] for n in bag}
        assert table["attention"].mean() == pytest.approx(1)
        assert result.layout.heatmap(slide).is_file()
    assert result.report is not None
    page = result.report.read_text(encoding="utf-8")
    assert "Ready patches of 16 pixels were used as they are." in page
    assert "The bags are those of the file bags.json." in page


def test_other_bags_are_another_model(settings: dict[str, Any]) -> None:
    config = study(settings)
    record = bags_record(config)
    assert record["file"] == "bags.json"
    path = settings["bags"]["file"]
    bags = json.loads(path.read_text())
    bags["0"] = bags["0"][::-1]
    path.write_text(json.dumps(bags), encoding="utf-8")
    assert bags_record(config)["file_sha256"] != record["file_sha256"]
    plain = bags_record(study(settings, bags={"size": 3}))
    assert plain == {"size": 3, "redraw": False, "per_epoch": None}


def test_what_is_wrong_is_told_before_computing(settings: dict[str, Any]) -> None:
    slides, path = settings["slides"], settings["bags"]["file"]
    bags = json.loads(path.read_text())
    gone = bags["1"][1][2]
    (slides / "1" / f"{gone}.png").unlink()
    del bags["2"]
    path.write_text(json.dumps(bags), encoding="utf-8")
    for file in (slides / "3").iterdir():
        file.unlink()
    (slides / "4" / "notes.png").write_bytes((slides / "4" / "4_0_0_0.png").read_bytes())
    cv2.imwrite(str(slides / "5" / "5_0_0_0.png"), np.zeros((8, SIZE, 3), np.uint8))
    problems = {p.patient: p for p in check(study(settings))}
    assert set(problems) == {"1", "2", "3", "4", "5"}
    assert problems["1"].cause == (
        f"the patch {gone} of a bag is not among the patches of slide 1 (1 of the 6 in its bags "
        "are missing)."
    )
    assert problems["1"].file == problems["2"].file == path
    assert problems["2"].cause == "slide 2 has no bag."
    assert problems["3"].cause == "there are no patches of slide 3."
    assert "does not say which patch of slide 4" in problems["4"].cause
    assert problems["4"].file == slides / "4" / "notes.png"
    assert "16 x 8 pixels, and `patches.size` is 16 (1 of 7" in problems["5"].cause
    with pytest.raises(InputProblems):
        run(study(settings), until="tile")
    result = run(study(settings), until="train", exclude_failed=True)
    assert len(result.cohort.patients) == PATIENTS - 5
    assert {e.patient_id for e in result.cohort.excluded} == {"1", "2", "3", "4", "5"}


def test_bags_of_regions_that_are_cut_here(settings: dict[str, Any], tmp_path: Path) -> None:
    """The names say the same of a region image; a wrong one is told once slides are cut."""
    folder = tmp_path / "regions"
    folder.mkdir()
    bags = {}
    for n in range(PATIENTS):
        pixels = np.random.default_rng(n).integers(80, 250, (2 * SIZE, 3 * SIZE, 3), np.uint8)
        cv2.imwrite(str(folder / f"{n}_1.png"), pixels)
        bags[str(n)] = [[f"{n}_1_0_0", f"{n}_1_32_16"], [f"{n}_1_16_0"]]
    path = tmp_path / "bags.json"
    path.write_text(json.dumps(bags), encoding="utf-8")
    changes = {"slides": folder, "regions": "whole"}
    result = run(study(settings, **changes), until="predict")
    assert len(result.cohort.patients) == PATIENTS
    bags["7"][1] = ["7_1_17_0"]
    path.write_text(json.dumps(bags), encoding="utf-8")
    assert check(study(settings, **changes)) == ()
    with pytest.raises(InputProblems) as caught:
        run(study(settings, **changes), until="tile")
    (problem,) = caught.value.problems
    assert problem.patient == "7"
    assert "the patch 7_1_17_0 of a bag is not among" in problem.cause
    kept = run(study(settings, **changes), until="tile", exclude_failed=True)
    assert [(e.patient_id, e.step) for e in kept.cohort.excluded] == [("7", "bags")]


def test_patches_of_all_slides_in_one_folder(settings: dict[str, Any]) -> None:
    for n in range(PATIENTS):
        folder = settings["slides"] / str(n)
        for file in folder.iterdir():
            file.rename(settings["slides"] / file.name)
        folder.rmdir()
    assert check(study(settings)) == ()
