"""Classic multiple-instance sets through the study's own model and training: accuracy over folds.

    python benchmarks/classic_mil.py                 one repeat over the sets of AXILLA_DATA/mil
    python benchmarks/classic_mil.py --repeats 5     all five, as published
    python benchmarks/classic_mil.py --sets FILE.csv.gz --pool gated --repeats 5

A set is a table of `bag`, `label` (of the bag, positive above 0), then the features, one row an
instance. 10 stratified folds a repeat; features are standardised by the instances of the training
folds and cut at 3 standard deviations; a bag is given whole; there is no validation cohort, so the
last epoch counts; a bag is called positive from a probability of 0.5. Beside it what Ilse 2018
published (doi:10.48550/arXiv.1802.04712, Table 1).

One set of settings, `TRAINING` and `POOLING`, for all sets. It was chosen by the mean accuracy over
both sets and both ways of pooling, one repeat on folds of the split seed `CHOSEN_ON`. The seed that
is reported is another, `REPORTED`, so that the folds which are told did not choose. They are still
folds of the same bags: a fair figure comes from sets that took no part in it. What was tried (its
standard error is about 0.02: neighbours are alike):

    epochs  lr    weight decay  dropout  width  cut at   accuracy  AUC
    30      2e-4  1e-2          0.25     512    3 SD     0.869     0.935    chosen
    20      5e-4  2e-2          0.25     256    3 SD     0.864     0.925
    20      2e-4  5e-3          0.25     256    3 SD     0.863     0.922
    20      5e-4  5e-3          0.25     256    3 SD     0.862     0.932
    20      5e-4  5e-3          0.25     256    nowhere  0.850     0.882
    20      2e-4  5e-3          0.5      256    nowhere  0.850     0.880
    40      5e-4  5e-3          0.5      256    nowhere  0.847     0.882
    20      5e-4  1e-4          0.5      256    nowhere  0.844     0.877
    20      1e-3  5e-3          0.5      256    nowhere  0.837     0.877
    20      5e-4  5e-3          0.5      256    nowhere  0.836     0.880
    40      5e-4  5e-2          0.5      256    nowhere  0.833     0.883

The fifth was chosen first, and reported 0.879 and 0.885 on MUSK1, 0.803 and 0.813 on TIGER over all
five repeats (attention, gated). The cut was tried after that was seen.

Why MUSK1 stays below what is published, as far as it was looked into (attention, three repeats on
the seeds 7 to 9, by a copy of model and loop that trains all folds side by side and draws other
weights):

    the chosen setting, last epoch                              0.859 +- 0.021, AUC 0.955
    the same, mean over its last 10 epochs                      0.855
    the same, the one epoch that is best over all test folds    0.862
    the same, in each fold the epoch that tests best            0.899: nobody may choose so
    the rate annealed to 0 by a cosine over the 30 epochs       0.844 +- 0.022, AUC 0.930

So neither fewer epochs nor annealing helps, and an epoch chosen by the fold that is tested would be
worth 0.04, more than what is missing. Which epoch the published figure is of was not found out. The
set has 92 bags: at 0.89 the standard error of an accuracy is 0.033, and what is published comes
with 0.040. Code of the networks before it (MINNs, github.com/yanyongluan/MINNs) standardises by all
bags, those that are tested among them; here the training folds do.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from axilla.core.config import Aggregator, Bags, Training
from axilla.mil.batches import PatientInstances
from axilla.mil.model import DLCNB
from axilla.mil.prediction import predict_patients
from axilla.mil.training import TrainingData, train

FOLDS = 10
CLIP = 3.0
"""Standard deviations; features of counts have tails that one instance would pull a unit by."""
CHOSEN_ON, REPORTED = 7, 2018
TRAINING = Training(epochs=30, lr=2e-4, weight_decay=1e-2, restarts=None, batch_size=8)
POOLING = Aggregator(width=512, attention=128, dropout=0.25)
PUBLISHED = {
    ("musk1", "attention"): "0.892 +- 0.040",
    ("musk1", "gated"): "0.900 +- 0.050",
    ("tiger", "attention"): "0.839 +- 0.022",
    ("tiger", "gated"): "0.845 +- 0.018",
}
"""Mean accuracy and its standard error, as printed."""


@dataclass(frozen=True, slots=True, eq=False)
class BagSet:
    """The bags of a set."""

    name: str
    bags: tuple[NDArray[np.float32], ...]
    """Instances of each bag, [n, D]."""
    labels: NDArray[np.int64]
    """0 or 1 a bag."""


def read_set(path: Path) -> BagSet:
    """Read `bag, label, features...`, a row an instance."""
    table = pd.read_csv(path)
    bags, labels = [], []
    for _, rows in table.groupby("bag", sort=False):
        bags.append(rows.drop(columns=["bag", "label"]).to_numpy(np.float32))
        labels.append(int(rows["label"].iloc[0] > 0))
    return BagSet(path.name.split(".")[0], tuple(bags), np.array(labels))


def folds_of(labels: NDArray[np.int64], *, repeats: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Indices of the test bags of each fold of each repeat."""
    for repeat in range(repeats):
        cut = StratifiedKFold(FOLDS, shuffle=True, random_state=seed + repeat)
        for _, test in cut.split(labels, labels):
            yield test


def score_fold(
    given: BagSet,
    test: NDArray[np.int64],
    *,
    pooling: Aggregator,
    training: Training,
    seed: int,
) -> NDArray[np.float64]:
    """Probability of the positive class of the test bags, by a model of all others."""
    tested = set(test.tolist())
    seen = np.concatenate([x for i, x in enumerate(given.bags) if i not in tested])
    mean, sd = seen.mean(axis=0), seen.std(axis=0)
    scale = np.where(sd > 0, sd, 1)
    slides = {str(i): np.clip((x - mean) / scale, -CLIP, CLIP) for i, x in enumerate(given.bags)}
    people = [
        PatientInstances(str(i), int(label), (str(i),), None)
        for i, label in enumerate(given.labels)
    ]
    data = TrainingData(
        train=[p for i, p in enumerate(people) if i not in tested],
        val=[],
        slides=slides,
        draw=whole_bag,
        classes=2,
    )
    model, _ = train(
        lambda: DLCNB(encoder=None, features=seen.shape[1], clinical=0, classes=2, config=pooling),
        data,
        config=training,
        bags=Bags(size=max(map(len, given.bags))),
        seed=seed,
    )
    chosen = [people[i] for i in test]
    scores = predict_patients(model, chosen, slides=slides, draw=whole_bag, seed=seed)
    return np.array([scores[p.patient_id][1] for p in chosen])


def whole_bag(n: int, _: np.random.Generator) -> list[NDArray[np.int64]]:
    """One bag of all instances."""
    return [np.arange(n)]


@dataclass(frozen=True, slots=True)
class Found:
    """What the folds of one set came to."""

    accuracy: tuple[float, ...]
    """A fold each."""
    auc: tuple[float, ...]
    """A repeat each, over all its folds' test bags."""


def measure(
    given: BagSet,
    *,
    pooling: Aggregator,
    training: Training,
    repeats: int,
    seed: int,
    say: bool = True,
) -> Found:
    """Accuracy of every fold; progress goes to standard error."""
    accuracy: list[float] = []
    auc: list[float] = []
    scores = np.empty(len(given.labels))
    tests = list(folds_of(given.labels, repeats=repeats, seed=seed))
    for number, test in enumerate(tests):
        scores[test] = score_fold(
            given, test, pooling=pooling, training=training, seed=seed + number
        )
        accuracy.append(float(((scores[test] >= 0.5) == given.labels[test]).mean()))
        if (number + 1) % FOLDS == 0:
            auc.append(float(roc_auc_score(given.labels, scores)))
        if say:
            print(
                f"\r{given.name}, {pooling.kind}: fold {number + 1} of {len(tests)}, mean accuracy "
                f"{np.mean(accuracy):.3f}",
                end="" if number + 1 < len(tests) else "\n", file=sys.stderr, flush=True,
            )  # fmt: skip
    return Found(tuple(accuracy), tuple(auc))


def main(arguments: list[str]) -> int:
    """Print a line a set and way of pooling."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sets", nargs="*", type=Path, help="tables; else those of AXILLA_DATA")
    parser.add_argument("--pool", nargs="*", default=["attention", "gated"])
    parser.add_argument("--repeats", type=int, default=1, help="of the 10 folds")
    parser.add_argument("--seed", type=int, default=REPORTED, help="of the folds")
    asked = parser.parse_args(arguments)
    sets = asked.sets or sorted((Path(os.environ.get("AXILLA_DATA", "")) / "mil").glob("*.csv.gz"))
    if not sets:
        print("classic_mil: no sets; set AXILLA_DATA to the folder of real data")
        return 0
    torch.set_num_threads(1)  # bags are too small for more
    for path in sets:
        given = read_set(path)
        for kind in asked.pool:
            start = time.perf_counter()
            found = measure(
                given,
                pooling=POOLING.model_copy(update={"kind": kind}),
                training=TRAINING,
                repeats=asked.repeats,
                seed=asked.seed,
            )
            folds = len(found.accuracy)
            error = np.std(found.accuracy, ddof=1) / math.sqrt(folds)
            print(
                f"classic MIL, {given.name}, {kind}: accuracy {np.mean(found.accuracy):.3f} +- "
                f"{error:.3f} (mean and SE over {folds} folds), AUC {np.mean(found.auc):.3f}; "
                f"Ilse 2018: {PUBLISHED.get((given.name, kind), 'see the paper')}; "
                f"{time.perf_counter() - start:.0f} s"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
