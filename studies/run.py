"""Run the studies that the README quotes, and write what came out to studies/out/results.md.

    python studies/run.py            all
    python studies/run.py bcnb       those whose name begins so: bcnb, ucsb, synthetic

A study that is done is not computed again. Real data are read from AXILLA_DATA.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from axilla.cohorts.synthetic import read_truth
from axilla.cohorts.ucsb import write_ucsb_table
from axilla.console import ConsoleReporter, say
from axilla.core.config import load_config
from axilla.study.chain import run
from axilla.study.demo import generate

HERE = Path(__file__).resolve().parent
OUT = HERE / "out"
SYNTHETIC_SEEDS = (1, 2, 3)


def bcnb(name: str) -> list[str]:
    """Clinical data only, beside the paper's AUCs."""
    config = load_config(HERE / f"{name}.yaml")
    metrics = run(config, reporter=ConsoleReporter()).metrics or {}
    rows = []
    for item in config.published:
        ours = metrics["methods"]["clinical"][item.cohort]["auc"]
        rows.append(
            f"| {name}, {item.cohort} | {item.auc:.3f} | {ours['value']:.3f} "
            f"[{ours['low']:.3f}, {ours['high']:.3f}] |"
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


STUDIES: dict[str, Callable[[str], list[str]]] = {
    "bcnb-clinical": bcnb,
    "bcnb-clinical-n1-2": bcnb,
    "bcnb-clinical-n3plus": bcnb,
    "ucsb": ucsb,
    "ucsb-gated": ucsb,
    "ucsb-by-array": ucsb,
    "synthetic": synthetic,
}


def main(wanted: list[str]) -> int:
    """Run the studies whose names begin as asked."""
    chosen = [n for n in STUDIES if not wanted or any(n.startswith(w) for w in wanted)]
    if any(not n.startswith("synthetic") for n in chosen) and not os.environ.get("AXILLA_DATA"):
        say("The bcnb and ucsb studies read real data: set AXILLA_DATA to their folder.")
        return 2
    kept: dict[str, Any] = {}
    record = OUT / "results.json"
    for name in chosen:
        say(f"\n== {name}")
        start = time.perf_counter()
        rows = STUDIES[name](name)
        kept = json.loads(record.read_text()) if record.is_file() else {}
        kept[name] = {"rows": rows, "seconds": round(time.perf_counter() - start)}
        record.write_text(json.dumps(kept, indent=1, ensure_ascii=False))
    lines = ["| study | published or asked | ours |", "|---|---|---|"]
    lines += [row for name in STUDIES for row in kept.get(name, {}).get("rows", [])]
    (OUT / "results.md").write_text("\n".join(lines) + "\n")
    say("\n" + "\n".join(lines))
    return 0


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    sys.exit(main(sys.argv[1:]))
