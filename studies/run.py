"""Run the studies that the README quotes, and write what came out to studies/out/results.md.

    python studies/run.py                    all, one after another
    python studies/run.py bcnb               those whose name begins so: bcnb, ucsb, synthetic
    python studies/run.py --jobs 2           two at a time, each on one thread
    python studies/run.py --only ucsb        the one of exactly this name

A study that is done is not computed again. Real data are read from AXILLA_DATA.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from axilla.cohorts.synthetic import read_truth
from axilla.cohorts.synthetic_config import SyntheticConfig
from axilla.cohorts.ucsb import write_ucsb_table
from axilla.console import ConsoleReporter, say
from axilla.core.config import load_config
from axilla.core.methods import NUCLEI
from axilla.nuclei.feature_bags import FEATURES
from axilla.study.chain import run
from axilla.study.demo import generate

HERE = Path(__file__).resolve().parent
OUT = HERE / "out"
SYNTHETIC_SEEDS = (1, 2, 3)
NUCLEI_SEEDS = (1, 2, 3, 4, 5)
PLANTED = {"density": 1, "orientation": 1, "circumference": -1, "circularity": -1, "area": -1}
"""Nucleus features that the generated cohort's witnesses have more (1) or less (-1) of."""


def bcnb(name: str) -> list[str]:
    """Clinical data only, beside the paper's AUCs."""
    config = load_config(HERE / f"{name}.yaml")
    metrics = run(config, reporter=ConsoleReporter()).metrics or {}
    rows = []
    for method, cohorts in metrics["methods"].items():
        shown = name if method == "clinical" else f"{name}, {method}"
        published = {item.cohort: item.auc for item in config.published if item.method == method}
        for cohort, entry in cohorts.items():
            ours, theirs = entry["auc"], published.get(cohort)
            rows.append(
                f"| {shown}, {cohort} | {'' if theirs is None else f'{theirs:.3f}'} | "
                f"{ours['value']:.3f} [{ours['low']:.3f}, {ours['high']:.3f}] |"
            )
    return rows


def ucsb(name: str) -> list[str]:
    """AUC and accuracy over folds, beside Ilse 2018."""
    write_ucsb_table(Path(os.environ["AXILLA_DATA"]) / "ucsb", OUT / "ucsb.csv")
    config = load_config(HERE / f"{name}.yaml")
    metrics = run(config, reporter=ConsoleReporter()).metrics or {}
    folds = metrics["folds"]["dl-cnb"]
    rows = []
    for figure in ("auc", "accuracy"):
        ours = folds[figure]
        published = getattr(config.published[0], figure)
        undefined = len(ours["undefined"])
        rows.append(
            f"| {name}, {figure} | {published:.3f} | {ours['mean']:.3f} ± {ours['se']:.3f} "
            f"({ours['n']} folds{f', {undefined} undefined' if undefined else ''}) |"
        )
    pooled = folds["pooled_auc_by_repeat"]
    # One repeat has no spread.
    spread = "" if pooled["sd"] is None else f", SD over repeats {pooled['sd']:.3f}"
    rows.append(f"| {name}, AUC pooled over a repeat's folds | | {pooled['mean']:.3f}{spread} |")
    return rows


def synthetic(name: str) -> list[str]:
    """Test DL-CNB against the clinical data, and attention against the planted witnesses."""
    rows = []
    for seed in SYNTHETIC_SEEDS:
        folder = OUT / f"synthetic-{seed}"
        generate(folder / "cohort", patients=300, seed=seed, reporter=ConsoleReporter())
        os.environ["AXILLA_SYNTHETIC"] = str(folder)
        result = run(load_config(HERE / f"{name}.yaml"), reporter=ConsoleReporter())
        metrics = result.metrics or {}
        by_method = {m: metrics["methods"][m]["test"]["auc"]["value"] for m in metrics["methods"]}
        p = next(c["p"] for c in metrics["comparisons"] if c["cohort"] == "test")
        labels = result.cohort.labels()
        test = [x for x in result.partitions[0].members("test") if labels[x] == 1]
        witness = _witness_auc(folder, test)
        rows.append(
            f"| {name}, seed {seed} | p < 0.01, witness AUC >= 0.8 | clinical "
            f"{by_method['clinical']:.3f}, DL-CNB {by_method['dl-cnb']:.3f}, p = {p:.1e}, "
            f"witness AUC {witness:.3f} |"
        )
    return rows


def ucsb_nuclei(name: str) -> list[str]:
    """Nucleus features, arrays left out: the area over the folds, and what carries it."""
    write_ucsb_table(Path(os.environ["AXILLA_DATA"]) / "ucsb", OUT / "ucsb.csv")
    config = load_config(HERE / f"{name}.yaml")
    metrics = run(config, reporter=ConsoleReporter()).metrics or {}
    rows = []
    for method, shown in ((NUCLEI, ""), ("dl-cnb", "DL-CNB on the same patches, ")):
        area = metrics["methods"][method]["test"]["auc"]
        rows.append(
            f"| {name}, {shown}AUC pooled over folds | | {area['value']:.3f} [{area['low']:.3f}, "
            f"{area['high']:.3f}] |"
        )
    tests = pd.read_csv(config.out / "nuclei" / "tests.csv").sort_values("p_adjusted")
    weights = pd.read_csv(config.out / "nuclei" / "weights.csv")[list(FEATURES)].mean()
    told = "; ".join(
        f"{FEATURES[row.feature].lower()} effect {row.effect:.2f}, p {row.p_adjusted:.1e}"
        for row in tests.head(3).itertuples()
    )
    heaviest = ", ".join(
        f"{FEATURES[feature].lower()} {weight:.1f}"
        for feature, weight in weights.sort_values(ascending=False).head(3).items()
    )
    rows.append(f"| {name}, smallest adjusted p | | {told} |")
    rows.append(f"| {name}, heaviest features | | {heaviest} |")
    return rows


def synthetic_nuclei(name: str) -> list[str]:
    """Planted differences come out in their direction; what was not planted does not."""
    rows = []
    for seed in NUCLEI_SEEDS:
        folder = OUT / f"{name}-{seed}"
        # Of 1 µm a pixel nuclei have too few pixels to have a shape.
        finer = SyntheticConfig.at(0.5)
        generate(
            folder / "cohort", patients=60, seed=seed, reporter=ConsoleReporter(), config=finer
        )
        os.environ["AXILLA_SYNTHETIC"] = str(folder)
        metrics = run(load_config(HERE / f"{name}.yaml"), reporter=ConsoleReporter()).metrics or {}
        area = metrics["methods"][NUCLEI]["test"]["auc"]["value"]
        tests = pd.read_csv(folder / "out" / "nuclei" / "tests.csv").set_index("feature")
        right = [
            feature
            for feature, sign in PLANTED.items()
            if tests.p_adjusted[feature] < 0.05 and np.sign(tests.effect[feature] - 0.5) == sign
        ]
        weights = pd.read_csv(folder / "out" / "nuclei" / "weights.csv")[list(FEATURES)].mean()
        other = "rectangularity"
        rows.append(
            f"| {name}, seed {seed} | 5 of 5 planted; {other} not | AUC {area:.3f}; "
            f"{len(right)} of {len(PLANTED)} planted; {other} p {tests.p_adjusted[other]:.2f}, "
            f"weight {weights[other]:.3f} ({int(weights.rank(ascending=False)[other])} of "
            f"{len(FEATURES)}) |"
        )
    return rows


def _witness_auc(folder: Path, patients: list[str]) -> float:
    """AUC of attention for witness patches, over all patches of N(+) test patients."""
    truth: list[bool] = []
    attention: list[float] = []
    for patient in patients:
        slide = read_truth(folder / "cohort" / "truth" / f"{patient}.npz")
        planted = dict(zip(map(tuple, slide.patch_xy.tolist()), slide.witness, strict=True))
        table = pd.read_csv(folder / "out" / "attention" / f"{patient}.csv")
        for row in table.itertuples():
            if (row.x, row.y) in planted:
                truth.append(bool(planted[row.x, row.y]))
                attention.append(float(row.attention))
    return float(roc_auc_score(np.array(truth), np.array(attention)))


# The longest first, so that none is left over for a single process at the end.
STUDIES: dict[str, Callable[[str], list[str]]] = {
    "ucsb": ucsb,
    "ucsb-gated": ucsb,
    "synthetic": synthetic,
    "synthetic-nuclei": synthetic_nuclei,
    "ucsb-nuclei": ucsb_nuclei,
    "ucsb-by-array": ucsb,
    "bcnb-boosting": bcnb,
    "bcnb-clinical": bcnb,
    "bcnb-clinical-n1-2": bcnb,
    "bcnb-clinical-n3plus": bcnb,
}


def record(name: str) -> Path:
    """Where one study's rows of the table are kept."""
    return OUT / f"{name}.rows.json"


def run_one(name: str) -> None:
    """Run one study here and keep its rows."""
    say(f"\n== {name}")
    start = time.perf_counter()
    rows = STUDIES[name](name)
    kept: dict[str, Any] = {"rows": rows, "seconds": round(time.perf_counter() - start)}
    record(name).write_text(json.dumps(kept, indent=1, ensure_ascii=False))


def run_apart(name: str) -> int:
    """Run one study in a process of its own, on one thread; return its exit status."""
    # Two processes of one thread each outrun one process of two.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    log = OUT / f"{name}.log"
    with log.open("w", encoding="utf-8") as file:
        command = [sys.executable, __file__, "--only", name]
        status = subprocess.run(  # noqa: S603 - our own program
            command, check=False, env=environment, stdout=file, stderr=file
        ).returncode
    say(f"{name}: {'done' if status == 0 else f'failed ({status})'}; its output is in {log}")
    return status


def results_table() -> str:
    """Return the Markdown table of every study that has run."""
    lines = ["| study | published or asked | ours |", "|---|---|---|"]
    for name in sorted(STUDIES):
        if record(name).is_file():
            lines += json.loads(record(name).read_text())["rows"]
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Run the studies whose names begin as asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("wanted", nargs="*", help="beginnings of names; none means all")
    parser.add_argument("--only", choices=STUDIES, help="exactly this one, in this process")
    parser.add_argument("--jobs", type=int, default=1, help="studies at a time")
    asked = parser.parse_args(arguments)
    chosen = [n for n in STUDIES if not asked.wanted or n.startswith(tuple(asked.wanted))]
    chosen = [asked.only] if asked.only else chosen
    if any(not n.startswith("synthetic") for n in chosen) and not os.environ.get("AXILLA_DATA"):
        say("The bcnb and ucsb studies read real data: set AXILLA_DATA to their folder.")
        return 2
    if asked.only:
        run_one(asked.only)
        return 0
    with ThreadPoolExecutor(asked.jobs) as pool:
        failed = any(list(pool.map(run_apart, chosen)))
    table = results_table()
    (OUT / "results.md").write_text(table + "\n")
    say("\n" + table)
    return int(failed)


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    sys.exit(main(sys.argv[1:]))
