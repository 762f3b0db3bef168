"""The demo: a generated cohort and the whole study on it."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from axilla.cohorts.synthetic import DEFAULT_CONFIG, generate_cohort
from axilla.cohorts.synthetic_config import SyntheticConfig
from axilla.core import store
from axilla.core.config import load_config
from axilla.core.progress import Reporter
from axilla.study.chain import StudyResult, run

DEMO: dict[str, Any] = {
    "name": "Demo on a generated cohort",
    "cohort": "cohort/cohort.csv",
    "slides": "cohort/slides",
    "annotations": "cohort/annotations",
    "regions": "annotation",
    "endpoint": "n0-vs-npos",
    "patches": {"size": 64},
    "bags": {"size": 20, "redraw": True, "per_epoch": 1},
    "encoder": {"name": "small_cnn", "weights": "none", "trainable": True, "input_px": 32},
    "aggregator": {"dropout": 0.25},
    "out": "out",
}
TRAINING: dict[str, Any] = {
    "epochs": 56, "lr": 5.0e-4, "weight_decay": 1.0e-4, "restarts": None, "batch_size": 4,
    "precision": "bfloat16",
}  # fmt: skip


DEMO_COHORT = SyntheticConfig(witness_share=0.65, stain_sd=0.05)
"""A strong effect and an even stain: few patients and a minute of training are to suffice."""


def generate(
    directory: Path,
    *,
    patients: int,
    seed: int,
    reporter: Reporter,
    config: SyntheticConfig = DEFAULT_CONFIG,
) -> None:
    """Write a generated cohort, unless it lies there already."""
    record = directory / "request.json"
    wanted = {"patients": patients, "seed": seed, "config": store.digest(asdict(config))}
    if record.is_file() and store.read_json(record) == wanted:
        reporter.done("generate", f"{patients} patients, done before")
        return
    with reporter.epochs(patients, "Painting slides") as on_slide:
        generate_cohort(
            directory,
            patients=patients,
            seed=seed,
            config=config,
            workers=min(os.cpu_count() or 1, 8),
            progress=lambda done, total: on_slide(None),
        )
    store.write_json(record, wanted)
    reporter.done("generate", f"{patients} generated patients in {directory / 'slides'}")


def run_demo(out: Path, *, patients: int, seed: int, reporter: Reporter) -> StudyResult:
    """Generate the cohort, write its study.yaml and run it; a done demo is not run again."""
    out.mkdir(parents=True, exist_ok=True)
    generate(out / "cohort", patients=patients, seed=seed, reporter=reporter, config=DEMO_COHORT)
    settings = {**DEMO, "split": {"seed": seed}, "training": {**TRAINING, "seed": seed}}
    study = out / "study.yaml"
    store.write_text(study, yaml.safe_dump(settings, sort_keys=False))
    return run(load_config(study), reporter=reporter)
