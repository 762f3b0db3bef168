"""The whole chain on a generated cohort: what comes out, what is not computed twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from axilla.cohorts.synthetic import SyntheticCohort
from axilla.core import store
from axilla.core.config import StudyConfig
from axilla.core.errors import SlideError
from axilla.study.bundles import read_bundle
from axilla.study.chain import StudyResult, run

Study = tuple[StudyConfig, StudyResult]
Again = Callable[..., StudyConfig]


def files_in(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Time of change and content of every file."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_who_is_in_which_cohort(finished: Study) -> None:
    config, result = finished
    split = pd.read_csv(config.out / "split.csv")
    assert list(split.columns) == ["patient_id", "partition", "split"]
    assert split["split"].value_counts().to_dict() == {"train": 18, "val": 6, "test": 6}
    assert split.loc[split["split"] == "test", "patient_id"].tolist() == [
        "SYN-0005", "SYN-0006", "SYN-0016", "SYN-0019", "SYN-0020", "SYN-0021",
    ]  # fmt: skip
    assert dict(result.partitions[0].cohort_of) == dict(
        zip(split["patient_id"], split["split"], strict=True)
    )
    gone = pd.read_csv(config.out / "exclusions.csv")
    assert list(gone.columns) == ["patient_id", "step", "reason"]
    assert gone.empty


def test_patches(finished: Study) -> None:
    config, _ = finished
    counts = {}
    for path in sorted((config.out / "patches").iterdir()):
        table = pq.read_table(path)
        assert table.column_names == ["region", "x", "y", "white_share"]
        meta = json.loads(table.schema.metadata[b"axilla"])
        assert set(meta) == {
            "schema",
            "key",
            "slide_id",
            "size_level0",
            "dropped",
            "mpp",
            "repaired",
        }
        assert (meta["slide_id"], meta["size_level0"]) == (path.stem, 32)
        assert max(table["white_share"].to_pylist()) < 0.3
        counts[path.stem] = (len(table), meta["dropped"])
    assert len(counts) == 30
    assert sum(kept for kept, _ in counts.values()) == 1093
    assert (counts["SYN-0001"], counts["SYN-0002"]) == ((34, 20), (34, 24))


def test_predictions(finished: Study) -> None:
    config, _ = finished
    frame = pd.read_csv(config.out / "predictions.csv")
    columns = ["patient_id", "method", "cohort", "label", "score", "imputed"]
    assert list(frame.columns) == columns
    assert frame["imputed"].isna().all()
    assert len(frame) == 90
    assert frame["score"].between(0, 1).all()
    by_method = frame.set_index(["method", "patient_id"])["score"]
    # Sums in another order on other machines; two epochs of training hardly magnify that.
    assert by_method["dl-cnb", "SYN-0001"] == pytest.approx(0.2926, abs=1e-3)
    assert by_method["dl-cnb", "SYN-0005"] == pytest.approx(0.2796, abs=1e-3)


def test_metrics(finished: Study) -> None:
    config, result = finished
    metrics = store.read_json(config.out / "metrics.json")
    assert metrics == result.metrics
    assert set(metrics) == {"endpoint", "threshold_rule", "methods", "comparisons", "subgroups"}
    assert (metrics["endpoint"], metrics["threshold_rule"]) == ("n0-vs-npos", "youden-validation")
    assert list(metrics["methods"]) == ["clinical", "dl-cnb", "dl-cnb+c"]
    for cohorts in metrics["methods"].values():
        assert {name: (e["n"], e["positives"]) for name, e in cohorts.items()} == {
            "train": (18, 8), "val": (6, 2), "test": (6, 2),
        }  # fmt: skip
        assert len({entry["threshold"] for entry in cohorts.values()}) == 1
        for entry in cohorts.values():
            assert {"value", "low", "high", "delong_low", "delong_high"} <= set(entry["auc"])
            assert set(entry["confusion"]) == {"tp", "fn", "tn", "fp"}
            assert entry["calibration"]["n"] == entry["decision_curve"]["n"] == entry["n"]
            rules = [point["rule"] for point in entry["operating_points"]]
            assert rules[0] == "youden-validation"
            assert entry["operating_points"][0]["threshold"] == entry["threshold"]
            for name in ("accuracy", "sensitivity", "specificity", "ppv", "npv", "f1"):
                assert {"value", "low", "high"} <= set(entry[name])
    clinical = {name: e["auc"]["value"] for name, e in metrics["methods"]["clinical"].items()}
    assert clinical == pytest.approx({"train": 0.675, "val": 1.0, "test": 0.5}, abs=1e-6)
    pairs = [(c["cohort"], c["a"], c["b"]) for c in metrics["comparisons"]]
    assert len(pairs) == 9
    assert ("test", "clinical", "dl-cnb") in pairs


def test_models(finished: Study) -> None:
    config, _ = finished
    for method in ("clinical", "dl-cnb", "dl-cnb+c"):
        folder = config.out / "models" / method
        record = store.read_model(folder).record
        assert record["method"] == method
        assert record["classes"] == ["N0", "N(+)"]
        assert record["endpoint"] == "n0-vs-npos"
        assert record["patients"] == {"train": {"N0": 10, "N(+)": 8}, "val": {"N0": 4, "N(+)": 2}}
        assert record["threshold"]["rule"] == "youden-validation"
        assert record["threshold"]["validation_patients"] == 6
        assert 0 < record["threshold"]["value"] < 1
        assert "SYN-" not in json.dumps(dict(record)), "a model names no patient"
        assert str(config.out) not in json.dumps(dict(record))
        if method != "clinical":
            history = pd.read_csv(folder / "history.csv")
            assert list(history.columns) == ["epoch", "lr", "train_loss", "val_loss", "val_auc"]
            assert len(history) == 2
            ranked = history.sort_values(["val_auc", "val_loss"], ascending=[False, True])
            assert record["best_epoch"] == ranked.index[0]


def test_tables_figures_and_heatmaps(finished: Study) -> None:
    config, _ = finished
    out = config.out
    stems = ["table1", "table1_by_class", "table2", "comparison", "confusion", "calibration"]
    stems += ["operating_points", "decision"]
    for method in ("clinical", "dl-cnb", "dl-cnb+c"):
        stems += [f"cross_{method}", f"subgroups_{method}"]
    assert {p.name for p in (out / "tables").iterdir()} - {"tripod.csv"} == {
        f"{stem}.{suffix}" for stem in stems for suffix in ("csv", "tex", "html")
    }
    table2 = pd.read_csv(out / "tables" / "table2.csv", dtype=str)
    assert list(table2.columns) == [
        "Method", "Cohort", "n", "AUC", "ACC (%)", "SENS (%)", "SPEC (%)", "PPV (%)", "NPV (%)",
    ]  # fmt: skip
    assert len(table2) == 9
    assert table2["AUC"][0] == "0.675 [0.418, 0.872]"
    figures = {p.name for p in (out / "figures").iterdir()}
    assert {"roc_cohorts.svg", "roc_cohorts.png", "roc_cohorts.csv"} <= figures
    for cohort in ("train", "val", "test"):
        assert {f"roc_{cohort}.{s}" for s in ("svg", "png", "csv")} <= figures
        for method in ("clinical", "dl-cnb", "dl-cnb+c"):
            for kind in ("confusion", "scores"):
                stem = f"{kind}_{method}_{cohort}"
                assert {f"{stem}.{s}" for s in ("svg", "png", "csv")} <= figures
    tests = [p for p, c in finished[1].partitions[0].cohort_of.items() if c == "test"]
    for patient in tests:
        assert (out / "heatmaps" / f"{patient}.png").read_bytes().startswith(b"\x89PNG")
        assert (out / "heatmaps" / f"{patient}-patches.png").is_file()
        attention = pd.read_csv(out / "attention" / f"{patient}.csv")
        assert list(attention.columns) == ["region", "x", "y", "attention", "contribution"]
        assert (out / "heatmaps" / f"{patient}-contribution.png").is_file()
        grid = store.read_grid(out / "patches" / f"{patient}.parquet")
        assert len(attention) == len(grid)
        assert attention["attention"].mean() == pytest.approx(1, abs=0.2)
        tiles = json.loads((out / "attention" / f"{patient}.geojson").read_text(encoding="utf-8"))
        corners = [tile["geometry"]["coordinates"][0][0] for tile in tiles["features"]]
        assert corners == attention[["x", "y"]].to_numpy().tolist()
        found = [tile["properties"]["measurements"] for tile in tiles["features"]]
        for name in ("attention", "contribution"):
            assert [m[name.capitalize()] for m in found] == attention[name].tolist()
        assert max(m["Attention rank"] for m in found) == 1
    assert {p.stem for p in (out / "attention").iterdir()} == set(tests), "test slides only"


def test_a_frozen_model_records_how_its_features_were_computed(frozen: Study) -> None:
    """What `precision: auto` came to here, and no terms for weights of the user's own file."""
    config, _ = frozen
    folder = config.out / "models" / "dl-cnb"
    encoder = store.read_model_record(folder)["encoder"]
    files = (config.out / "features" / "small_cnn").glob("*.h5")
    assert {store.read_computing(path) for path in files} == {encoder["computing"]}
    assert encoder["computing"].split(", ")[0] in {"float32", "bfloat16"}
    assert encoder["licence"] is None
    card = (folder / "model_card.md").read_text()
    assert f"Features were computed in {encoder['computing']};" in card
    assert "its own terms hold" in card
    assert read_bundle(folder).network is not None


def test_features_of_a_frozen_encoder(frozen: Study) -> None:
    config, result = frozen
    paths = sorted((config.out / "features" / "small_cnn").iterdir())
    assert len(paths) == 30
    assert result.metrics is None
    for path in paths:
        grid = store.read_grid(config.out / "patches" / f"{path.stem}.parquet")
        with h5py.File(path) as file:
            assert set(file) == {"features", "coords"}
            assert (file["features"].shape, file["features"].dtype) == ((len(grid), 512), "f2")
            assert file["coords"].dtype == np.int32
            assert (file["coords"][()] == grid.xy).all()
            assert set(file.attrs) == {
                "encoder", "weights_digest", "patch_size", "mpp", "computing", "config_hash",
                    "schema_version",
            }  # fmt: skip
            assert (file.attrs["encoder"], file.attrs["patch_size"]) == ("small_cnn", 32)
            assert len(file.attrs["weights_digest"]) == 64


def test_a_second_run_computes_and_writes_nothing(
    finished: Study, again: Again, work: Counter[str]
) -> None:
    config = again(finished[0])
    before = files_in(config.out)
    result = run(config)
    assert files_in(config.out) == before
    assert work == Counter()
    assert result.metrics == finished[1].metrics


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"name": "Another name"}, {}),
        ({"methods": ["clinical"]}, {}),
        ({"clinical": {"numeric": ["age"]}},
         {"fit_logistic": 1, "train": 1, "predict_patients": 7}),
        ({"bags": {"size": 6}, "methods": ["clinical", "dl-cnb"]},
         {"train": 1, "predict_patients": 4}),
        ({"patches": {"size": 32, "max_blank": 0.2}, "methods": ["clinical", "dl-cnb"]},
         {"open_slide": 30, "cut_patches": 30, "train": 1, "predict_patients": 4}),
    ],
    ids=["name", "methods", "clinical", "bags", "max_blank"],
)  # fmt: skip
def test_a_changed_key_reruns_what_depends_on_it(
    changes: dict[str, Any],
    expected: dict[str, int],
    finished: Study,
    again: Again,
    work: Counter[str],
) -> None:
    """`predict_patients` is called for the threshold and then for each of three cohorts."""
    run(again(finished[0], **changes), until="predict")
    assert dict(work) == expected


def test_a_new_threshold_is_locked_into_the_models_without_training(
    finished: Study, again: Again, work: Counter[str]
) -> None:
    config = again(finished[0], threshold={"sensitivity": 1.0})
    metrics = run(config, until="evaluate").metrics
    assert metrics is not None
    # Validation is scored by the two networks for the new threshold; nobody else, nothing else.
    assert dict(work) == {"predict_patients": 2, "evaluate_predictions": 1}
    for method in config.methods:
        was = store.read_model(finished[0].out / "models" / method)
        now = store.read_model(config.out / "models" / method)
        assert now.record["threshold"]["rule"] == {"sensitivity": 1.0}
        assert metrics["methods"][method]["test"]["threshold"] == now.record["threshold"]["value"]
        assert metrics["methods"][method]["val"]["sensitivity"]["value"] == 1.0
        assert {n: (t == was.tensors[n]).all() for n, t in now.tensors.items()} == dict.fromkeys(
            was.tensors, True
        )


def test_a_touched_slide_alone_is_cut_again(
    frozen: Study, tiny: SyntheticCohort, again: Again, work: Counter[str]
) -> None:
    config = again(frozen[0])
    slide = tiny.slides / "SYN-0005.jpg"  # a test patient: nothing is trained again
    status = slide.stat()
    os.utime(slide, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000_000))
    try:
        run(config, until="predict")
        assert {n: work[n] for n in ("open_slide", "cut_patches", "extract_features", "train")} == {
            "open_slide": 1, "cut_patches": 1, "extract_features": 1, "train": 0,
        }  # fmt: skip
    finally:
        os.utime(slide, ns=(status.st_atime_ns, status.st_mtime_ns))
    was = pd.read_csv(frozen[0].out / "predictions.csv")
    pd.testing.assert_frame_equal(pd.read_csv(config.out / "predictions.csv"), was)


@pytest.mark.usefixtures("drawn")
def test_a_lost_file_is_made_again(finished: Study, again: Again, work: Counter[str]) -> None:
    config = again(finished[0])
    lost = ("figures/roc_test.svg", "heatmaps/SYN-0005.png", "patches/SYN-0003.parquet")
    for name in lost:
        (config.out / name).unlink()
    run(config)
    assert dict(work) == {
        "cut_patches": 1, "evaluate_predictions": 1, "draw_slide": 1,
    }  # fmt: skip
    for name in lost:
        assert (config.out / name).read_bytes() == (finished[0].out / name).read_bytes()


@pytest.mark.parametrize("kind", ["finished", "frozen"])
def test_training_never_reads_the_test_cohort(
    kind: str, again: Again, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, result = request.getfixturevalue(kind)
    config = again(source, methods=["dl-cnb"], training=source.training.model_dump() | {"seed": 9})
    tests = set(result.partitions[0].members("test"))
    read: list[str] = []
    spy(monkeypatch, read, forbidden=tests)
    run(config, until="train")
    others = {p.patient_id for p in result.cohort.patients} - tests
    assert set(read) == others, "training and validation, each read once"
    assert len(read) == len(others)
    with pytest.raises(SlideError, match="test slide"):
        run(config, until="predict")


def spy(monkeypatch: pytest.MonkeyPatch, read: list[str], *, forbidden: set[str]) -> None:
    """Note each slide whose patches or features are read, and refuse some."""
    from axilla.study import instances

    real_patches, real_features = instances.read_patches, store.open_features

    def note(slide_id: str) -> None:
        if slide_id in forbidden:
            raise SlideError("a test slide is read.", "Train without it.")
        read.append(slide_id)

    def patches(slide: Any, *args: Any, **kwargs: Any) -> Any:
        note(slide.slide_id)
        return real_patches(slide, *args, **kwargs)

    def features(path: Path) -> Any:
        note(path.stem)
        return real_features(path)

    monkeypatch.setattr(instances, "read_patches", patches)
    monkeypatch.setattr(store, "open_features", features)


KILLED = """
import os, signal, sys
from pathlib import Path
import axilla.mil.training as training
from axilla.cli import main

moment, count = sys.argv[1], int(sys.argv[2])
del sys.argv[1:3]
seen = 0

def die_at(real):
    def call(*args, **kwargs):
        global seen
        if moment == "epoch" or str(args[-1]).endswith(moment):
            seen += 1
            if seen == count:
                os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)
    return call

Path.replace = die_at(Path.replace)
if moment == "epoch":
    Path.replace = lambda self, to, real=Path.replace: os.replace(self, to)
    training._validate = die_at(training._validate)
main()
"""
"""`axilla`, killed when it is about to give the count-th file its name, or after that epoch."""


def start_and_kill(study: Path, moment: str, count: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, moment, str(count), "predict", str(study)],
        check=False, capture_output=True, text=True, timeout=300,
        # As many threads as this process: sums are equal to the last bit only then.
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_killed_and_started_again_it_goes_on(
    frozen: Study, frozen_settings: dict[str, Any], tmp_path: Path, work: Counter[str]
) -> None:
    plain = StudyConfig.model_validate(frozen_settings).model_dump(mode="json")
    study = tmp_path / "study.yaml"
    study.write_text(yaml.safe_dump(plain | {"out": "out"}), encoding="utf-8")
    out = tmp_path / "out"

    start_and_kill(study, ".h5", 12)
    assert len(list(out.glob("features/small_cnn/*.h5"))) == 11
    assert len(list(out.rglob("*.axilla-tmp"))) == 1, "killed between writing and naming"
    start_and_kill(study, "epoch", 3)
    assert len(list(out.glob("features/small_cnn/*.h5"))) == 30
    assert (out / "models" / "dl-cnb" / "model.json").is_file()
    assert not (out / "models" / "dl-cnb+c" / "model.json").exists()

    run(StudyConfig.model_validate(frozen_settings | {"out": out}), until="predict")
    assert {n: work[n] for n in ("cut_patches", "extract_features", "train")} == {
        "cut_patches": 0, "extract_features": 0, "train": 1,
    }  # fmt: skip
    whole, interrupted = files_in(frozen[0].out), files_in(out)
    assert set(interrupted) == set(whole), "nothing half-written is left"
    for name, (_, content) in whole.items():
        assert interrupted[name][1] == content, name
