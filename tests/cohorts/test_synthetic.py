"""The patients, the files, and that one seed means the same bytes."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pandas as pd
import pytest
from shapely import Polygon, box
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from axilla.cohorts.synthetic import (
    SyntheticCohort,
    SyntheticConfig,
    draw_patients,
    draw_witness_share,
    generate_cohort,
    read_truth,
)
from axilla.core.errors import CohortError, StoreError

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = SyntheticConfig()
SMALL = SyntheticConfig(width=480, height=360, patch=48)


def patients_frame(count: int, seed: int, config: SyntheticConfig = CONFIG) -> pd.DataFrame:
    drawn = draw_patients(count, np.random.default_rng(seed), config=config)
    return pd.DataFrame([asdict(patient) for patient in drawn])


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_shares_are_those_of_table_1():
    frame = patients_frame(1058, seed=3)

    assert (frame["nodes"] == 0).sum() == 655
    assert frame["nodes"].between(1, 2).sum() == 210
    assert (frame["nodes"] >= 3).sum() == 193
    assert (frame["er"] == "positive").sum() == 831
    assert (frame["pr"] == "positive").sum() == 790
    assert (frame["her2"] == "positive").sum() == 277
    assert set(frame["er"]) == {"positive", "negative"}
    assert frame["patient_id"].iloc[[0, -1]].tolist() == ["SYN-0001", "SYN-1058"]


def test_means_and_standard_deviations_are_those_of_table_1():
    frame = patients_frame(20_000, seed=4)

    assert frame["age"].mean() == pytest.approx(57.58, abs=0.3)
    assert frame["age"].std() == pytest.approx(12.523, abs=0.3)
    assert frame["age"].between(22, 90).all()
    assert frame["tumor_size_cm"].mean() == pytest.approx(2.234, abs=0.02)
    assert frame["tumor_size_cm"].std() == pytest.approx(0.8623, abs=0.02)
    assert frame["tumor_size_cm"].between(0.5, 4.5).all()
    assert (frame["tumor_size_cm"] <= 2).mean() == pytest.approx(556 / 1058, abs=0.02)
    assert frame["nodes"].mean() == pytest.approx(1.20, abs=0.06)
    assert frame["nodes"].std() == pytest.approx(2.081, abs=0.1)


def test_progesterone_receptor_follows_estrogen_receptor():
    frame = patients_frame(5000, seed=5)
    both = ((frame["er"] == "positive") & (frame["pr"] == "positive")).mean()
    assert both == pytest.approx(773 / 1058, abs=0.02)  # BCNB's own table


def clinical_auc(frame: pd.DataFrame) -> float:
    receptors = (frame[["er", "pr", "her2"]] == "positive").astype(float)
    inputs = frame[["age", "tumor_size_cm"]].join(receptors)
    inputs = (inputs - inputs.mean()) / inputs.std()
    label = frame["nodes"] > 0
    return float(
        roc_auc_score(label, LogisticRegression().fit(inputs, label).decision_function(inputs))
    )


def test_clinical_data_alone_tell_as_little_as_in_the_paper():
    assert 0.60 <= clinical_auc(patients_frame(5000, seed=6)) <= 0.66
    unrelated = replace(CONFIG, size_shift=0.0, age_shift=0.0)
    assert clinical_auc(patients_frame(5000, seed=6, config=unrelated)) < 0.54


def test_larger_tumours_and_younger_patients_have_nodes():
    frame = patients_frame(5000, seed=7)
    n0, positive = frame[frame["nodes"] == 0], frame[frame["nodes"] > 0]
    assert positive["tumor_size_cm"].mean() - n0["tumor_size_cm"].mean() > 0.25
    assert positive["age"].mean() - n0["age"].mean() < -1.5


def test_small_cohorts_keep_the_shares():
    for seed in range(5):
        nodes = patients_frame(16, seed=seed)["nodes"]
        assert (nodes > 0).sum() in {6, 7}


def test_witness_share_follows_the_nodes():
    rng = np.random.default_rng(0)

    def shares(nodes: int, config: SyntheticConfig = CONFIG) -> np.ndarray:
        return np.array([draw_witness_share(nodes, rng, config=config) for _ in range(400)])

    assert shares(0).min() >= 0
    assert shares(0).max() <= 0.02
    assert shares(1).min() >= 0.25
    assert shares(1).mean() == pytest.approx(0.35, abs=0.02)
    assert shares(6).mean() == pytest.approx(0.43, abs=0.02)
    half_silent = shares(3, replace(CONFIG, silent_share=0.5))
    assert (half_silent <= 0.02).mean() == pytest.approx(0.5, abs=0.1)


def test_every_patient_has_every_file(cohort: SyntheticCohort):
    frame = pd.read_csv(cohort.table)
    assert frame.columns.tolist() == [
        *("patient_id", "age", "tumor_size_cm", "er", "pr", "her2", "nodes")
    ]
    assert frame["patient_id"].tolist() == [f"SYN-{number:04d}" for number in range(1, 9)]
    assert frame["nodes"].tolist() == [patient.nodes for patient in cohort.patients]
    for folder, ending in (
        (cohort.slides, "jpg"),
        (cohort.annotations, "json"),
        (cohort.truth, "npz"),
    ):
        assert sorted(path.name for path in folder.iterdir()) == [
            f"{patient}.{ending}" for patient in frame["patient_id"]
        ]


def test_the_folder_says_that_it_is_generated(cohort: SyntheticCohort):
    text = (cohort.directory / "GENERATED.txt").read_text(encoding="utf-8")
    assert text.startswith("GENERATED DATA - no patient")
    assert "seed 11" in text
    assert '"witness_share": 0.35' in text


def test_outlines_are_bcnb_json_inside_the_slide(cohort: SyntheticCohort):
    for patient in cohort.patients:
        image = cv2.imread(str(cohort.slides / f"{patient.patient_id}.jpg"))
        assert image.shape == (800, 1100, 3)
        file = cohort.annotations / f"{patient.patient_id}.json"
        annotation = json.loads(file.read_text(encoding="utf-8"))
        assert list(annotation) == ["positive"]
        truth = read_truth(cohort.truth / f"{patient.patient_id}.npz")
        assert len(annotation["positive"]) == len(truth.polygons) >= 1
        for entry, polygon in zip(annotation["positive"], truth.polygons, strict=True):
            np.testing.assert_array_equal(entry["vertices"], polygon)
            assert Polygon(entry["vertices"]).is_valid
            assert box(0, 0, 1099, 799).covers(Polygon(entry["vertices"]))


def test_truth_agrees_with_itself_and_the_nodes(cohort: SyntheticCohort):
    for patient in cohort.patients:
        truth = read_truth(cohort.truth / f"{patient.patient_id}.npz")
        assert truth.inst_map.dtype == np.int32
        assert truth.inst_map.shape == (800, 1100)
        assert len(truth.patch_xy) == len(truth.patch_region) == len(truth.witness)
        assert 45 <= len(truth.patch_xy) <= 100
        np.testing.assert_array_equal(truth.witness_centres, truth.patch_xy[truth.witness] + 32)
        if patient.nodes:
            assert 0.2 < truth.witness.mean() < 0.6
        else:
            assert truth.witness.mean() <= 0.03


def test_one_seed_gives_the_same_bytes_with_any_number_of_workers(tmp_path: Path):
    one = generate_cohort(tmp_path / "one", patients=4, seed=5, config=SMALL)
    two = generate_cohort(tmp_path / "two", patients=4, seed=5, config=SMALL, workers=2)
    other = generate_cohort(tmp_path / "other", patients=4, seed=6, config=SMALL)

    files = contents(one.directory)
    assert len(files) == 2 + 3 * 4
    assert files == contents(two.directory)
    assert all(files[name] != data for name, data in contents(other.directory).items())


def test_slides_do_not_depend_on_the_nodes_but_for_the_witnesses(tmp_path: Path):
    none = replace(
        SMALL,
        witness_share=0.0,
        witness_spread=0.0,
        witness_per_node=0.0,
        noise_witness_share=(0.0, 0.0),
    )
    usual = generate_cohort(tmp_path / "usual", patients=6, seed=2, config=SMALL)
    without = generate_cohort(tmp_path / "without", patients=6, seed=2, config=none)

    assert contents(usual.annotations) == contents(without.annotations)
    same = contents(usual.slides).items() & contents(without.slides).items()
    n0 = {f"{patient.patient_id}.jpg" for patient in usual.patients if patient.nodes == 0}
    assert {name for name, _ in same} == n0
    assert 0 < len(n0) < 6


def test_progress_counts_slides(tmp_path: Path):
    seen: list[tuple[int, int]] = []
    generate_cohort(
        tmp_path / "cohort",
        patients=3,
        seed=1,
        config=SMALL,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_new_cohort_replaces_a_generated_one_whole(tmp_path: Path):
    generate_cohort(tmp_path, patients=3, seed=1, config=SMALL)
    cohort = generate_cohort(tmp_path, patients=2, seed=1, config=SMALL)
    assert len(list(cohort.slides.iterdir())) == len(list(cohort.truth.iterdir())) == 2
    assert len(pd.read_csv(cohort.table)) == 2


def test_never_mixes_with_what_was_not_generated(tmp_path: Path):
    (tmp_path / "cohort.csv").write_text("patient_id\n1\n", encoding="utf-8")
    with pytest.raises(CohortError, match="holds other files"):
        generate_cohort(tmp_path, patients=2, seed=1, config=SMALL)
    assert (tmp_path / "cohort.csv").read_text(encoding="utf-8") == "patient_id\n1\n"


def test_a_cohort_of_nobody_is_refused(tmp_path: Path):
    with pytest.raises(CohortError, match="0 patients"):
        generate_cohort(tmp_path / "empty", patients=0, seed=1)
    assert not (tmp_path / "empty").exists()


def test_a_damaged_truth_file_is_named(tmp_path: Path):
    with pytest.raises(StoreError, match=r"SYN-0001\.npz"):
        read_truth(tmp_path / "SYN-0001.npz")
    damaged = tmp_path / "damaged.npz"
    damaged.write_bytes(b"not an archive")
    with pytest.raises(StoreError, match=r"damaged\.npz"):
        read_truth(damaged)
