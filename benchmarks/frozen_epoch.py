"""One frozen epoch from disk: axilla against the original's way, in one run.

4,498 training bags of 10 patches of 25,088 numbers, as BCNB has them, lie in the files that `embed`
writes. The features are GENERATED: random numbers, good for timing and for nothing else. The
original took one bag a step in float32 with PyTorch's plain Adam; it is measured on some of the
bags, told, and scaled to all. Axilla takes 32 bags a step: a larger batch, and fewer steps. What
that does to the validation AUC after equally many epochs is measured by `--auc`, on features with a
planted signal: at the same learning rate, and at that rate times the root of 32, which is how
Adam's rate goes with the batch (Malladi 2022, doi:10.48550/arXiv.2205.10287).

The machine's limit is the time that the products take at the rate of large bfloat16 products, and
the bytes at the rate of copying. Each way runs in a process of its own, in turns. Memory is
measured on the whole cohort, 72,010 patches and 3.6 GB, in a process that may take 2 GiB for data.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from axilla.core import store
from axilla.core.config import Aggregator, Bags, Training
from axilla.mil.batches import PatientInstances
from axilla.mil.model import DLCNB
from axilla.mil.prediction import predict_patients
from axilla.mil.training import Epoch, TrainingData, denormals_flushed, train
from axilla.study.instances import SlideArrays, bag_drawer
from machine import (
    answer,
    child_options,
    core_counts,
    in_child,
    matrix_rate,
    peak_mib,
    seconds,
)  # fmt: skip

WIDTH, BAG = 25_088, 10
COHORTS = {"train": (634, 4_498), "val": (212, 1_396), "test": (212, 1_307)}
"""Patients and bags of each cohort, in all 1,058 and 7,201."""
SAMPLE = 300
"""Bags that the original's way is timed on, after 20 that are not counted."""
ROUNDS = 3
EPOCHS = 3
"""Epochs of a round; the first, which opens the files, is told apart."""
BATCH = 32
DATA_LIMIT = 2 * 2**30
WAYS = ("original", "float32", "bfloat16")

AUC_COHORTS = {"train": (140, 1_000), "val": (200, 1_000)}
AUC_EPOCHS, AUC_SEEDS = 20, (11, 12, 13)
"""A whole cycle of the cosine with its default period, after which the rate is at its least."""
RATE = 1e-4
AUC_WAYS = ((1, RATE), (BATCH, RATE), (BATCH, RATE * BATCH**0.5))
"""Bags a step, and the learning rate."""
LATENT = 64
"""Dimensions in which the features with a planted signal really vary."""


def bags_of_patients(patients: int, bags: int, rng: np.random.Generator) -> list[int]:
    """How many bags each patient has: most a few, some very many, as biopsies are."""
    share = rng.lognormal(0, 0.9, patients)
    counts = 1 + np.floor(share / share.sum() * (bags - patients)).astype(int)
    for place in rng.choice(patients, bags - counts.sum(), replace=False):
        counts[place] += 1
    return [int(count) for count in counts]


def write_cohort(folder: Path) -> None:
    """Features of every patient, one file a slide; rows are drawn from 2,000 generated ones."""
    rng = np.random.default_rng(8888)
    pool = rng.standard_normal((2_000, WIDTH), dtype=np.float32).clip(min=0).astype(np.float16)
    for cohort, (patients, bags) in COHORTS.items():
        for number, count in enumerate(bags_of_patients(patients, bags, rng)):
            rows = pool[rng.integers(len(pool), size=count * BAG)]
            write_slide(folder / f"{cohort}-{number}.h5", rows)


def write_slide(path: Path, rows: np.ndarray) -> None:
    """As `embed` writes a slide."""
    coords = np.zeros((len(rows), 2), np.int32)
    value = store.Features(rows, coords, "GENERATED", "none", 256, None)
    store.write_features(path, value, key="k")


def patients_of(folder: Path, cohort: str) -> list[PatientInstances]:
    """One slide a patient; the label is in the file's name where it means anything."""
    names = sorted(path.stem for path in folder.glob(f"{cohort}-*.h5"))
    return [
        PatientInstances(name, int(name.split("-")[-1]) % 2, (name,), clinical=None)
        for name in names
    ]


def study_data(folder: Path, *, validate: bool) -> TrainingData:
    """What a study hands to training: slides by id, read when asked for."""
    names = [path.stem for path in sorted(folder.glob("*.h5"))]
    return TrainingData(
        train=patients_of(folder, "train"),
        val=patients_of(folder, "val") if validate else [],
        slides=SlideArrays(names, lambda name: store.open_features(folder / f"{name}.h5")),
        draw=bag_drawer(Bags()),
        classes=2,
    )


def make_model() -> DLCNB:
    """DL-CNB as the study makes it."""
    return DLCNB(encoder=None, features=WIDTH, clinical=0, classes=2, config=Aggregator())


def settings(precision: str, *, epochs: int, size: int = BATCH, lr: float = RATE) -> Training:
    """The same loss for every way: a bag weighs a bag."""
    return Training(epochs=epochs, batch_size=size, precision=precision, weight_by="bag", lr=lr)


def original(folder: Path) -> dict[str, float]:
    """One bag a step, float32, plain Adam; rows are read as axilla reads them."""
    torch.manual_seed(0)
    data, model = study_data(folder, validate=False), make_model().train()
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, weight_decay=1e-3)
    rng = np.random.default_rng(0)
    patients = [data.train[i] for i in rng.integers(len(data.train), size=SAMPLE + 20)]
    start = 0.0
    for step, patient in enumerate(patients):
        if step == len(patients) - SAMPLE:
            start = time.perf_counter()
        rows = data.slides[patient.slides[0]]
        bag = torch.from_numpy(rows[rng.choice(len(rows), BAG, replace=False)]).float()
        loss = F.cross_entropy(model(bag, [BAG]).logits, torch.tensor([patient.label]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
    return {"epoch_s": (time.perf_counter() - start) / SAMPLE * COHORTS["train"][1]}


def axilla(folder: Path, precision: str) -> dict[str, Any]:
    """Whole epochs as a study trains them; the first with no file in the system's cache."""
    drop_from_cache(folder)
    times = [time.perf_counter()]

    def on_epoch(_: Epoch) -> None:
        times.append(time.perf_counter())

    train(
        make_model, study_data(folder, validate=False), config=settings(precision, epochs=EPOCHS),
        bags=Bags(), seed=0, on_epoch=on_epoch,
    )  # fmt: skip
    first, *others = np.diff(times)
    data = study_data(folder, validate=True)
    model = make_model()

    def validate() -> None:
        predict_patients(model, data.val, slides=data.slides, draw=data.draw, seed=0)

    validate()
    return {
        "epoch_s": statistics.median(others),
        "first_s": float(first),
        "validation_s": seconds(validate),
    }


def drop_from_cache(folder: Path) -> None:
    """Ask the system to forget the files, so that the next to read them waits for the disk."""
    for path in folder.glob("*.h5"):
        file = os.open(path, os.O_RDONLY)
        os.fsync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)


def memory(folder: Path) -> dict[str, float]:
    """An epoch with validation, then the test cohort, in a process of bounded size."""
    resource.setrlimit(resource.RLIMIT_DATA, (DATA_LIMIT, DATA_LIMIT))
    data = study_data(folder, validate=True)
    before = peak_mib()
    model, _ = train(make_model, data, config=settings("bfloat16", epochs=1), bags=Bags(), seed=0)
    test = patients_of(folder, "test")
    predict_patients(model, test, slides=data.slides, draw=data.draw, seed=0)
    return {"before_mib": before}


def limit_seconds() -> float:
    """Least time of an epoch: products at the rate of products, bytes at the rate of copies.

    The bytes: each feature is read and written once as float16; each step reads and writes 7
    numbers a weight for Adam.
    """
    bags = COHORTS["train"][1]
    products = 2 * bags * BAG * WIDTH * 256
    steps = -(-bags // BATCH)
    moved = 2 * 2 * bags * BAG * WIDTH + steps * 7 * 4 * WIDTH * 256
    source, target = torch.ones(2**26), torch.zeros(2**26)
    copied = (
        2 * 4 * 2**26 / statistics.median(seconds(lambda: target.copy_(source)) for _ in range(5))
    )
    return products / matrix_rate() + moved / copied


def measure(way: str, folder: Path) -> int:
    """One way, in this process."""
    with denormals_flushed():
        if way == "memory":
            return answer(memory(folder))
        limit = limit_seconds()
        # The original knew nothing of denormal numbers; in few steps there are none to speak of.
        found = original(folder) if way == "original" else axilla(folder, way)
    return answer({**found, "limit_s": limit})


def compare(folder: Path, cores: int) -> None:
    """Alternate the ways and print medians."""
    runs: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for _ in range(ROUNDS):
        for way in WAYS:
            runs[way].append(in_child(__file__, cores=cores, way=way, folder=str(folder)))

    def middle(way: str, key: str = "epoch_s") -> float:
        return statistics.median(run[key] for run in runs[way])

    theirs = middle("original")
    limit = statistics.median(run["limit_s"] for way in WAYS for run in runs[way])
    bags = COHORTS["train"][1]
    text = (
        f"frozen epoch, {bags:,} bags of {BAG} x {WIDTH:,} from disk, {cores} "
        f"core{'s' * (cores > 1)}: one bag a step in float32 {theirs:.1f} s ({SAMPLE} bags "
        f"measured, times {bags / SAMPLE:.1f})"
    )
    for way in ("float32", "bfloat16"):
        ours = middle(way)
        text += (
            f"; axilla, {BATCH} bags a step, {way} {ours:.2f} s, {theirs / ours:.1f} times as fast"
            f", {limit / ours:.0%} of the limit of {limit:.2f} s, first epoch off a cold disk "
            f"{middle(way, 'first_s'):.2f} s, validation of {COHORTS['val'][1]:,} bags "
            f"{middle(way, 'validation_s'):.2f} s"
        )
    print(f"{text} (medians of {ROUNDS})", flush=True)


def tell_memory(folder: Path) -> None:
    """Peak memory of a study's training on the whole cohort."""
    size = sum(path.stat().st_size for path in folder.glob("*.h5"))
    found = in_child(__file__, cores=core_counts()[-1], way="memory", folder=str(folder))
    print(
        f"frozen epoch, memory: {size / 1e9:.1f} GB of features trained, validated and predicted "
        f"with {found['peak_mib']:.0f} MiB at most, {found['before_mib']:.0f} of them before the "
        f"first feature was read; the process was held to {DATA_LIMIT / 2**20:.0f} MiB of data",
        flush=True,
    )


def write_planted(folder: Path, seed: int) -> None:
    """Features with a signal: a fifth of a positive patient's patches differ in one direction."""
    rng = np.random.default_rng([8888, seed])
    mix = rng.standard_normal((LATENT, WIDTH), dtype=np.float32) / np.float32(np.sqrt(LATENT))
    for cohort, (patients, bags) in AUC_COHORTS.items():
        for number, count in enumerate(bags_of_patients(patients, bags, rng)):
            latent = rng.standard_normal((count * BAG, LATENT), dtype=np.float32)
            latent += 0.5 * rng.standard_normal(LATENT, dtype=np.float32)  # the patient's own
            latent[:, 0] += 3 * (number % 2) * (rng.random(len(latent)) < 0.2)
            noise = rng.standard_normal((len(latent), WIDTH), dtype=np.float32)
            rows = (latent @ mix + 0.5 * noise).clip(min=0).astype(np.float16)
            write_slide(folder / f"{cohort}-{number}.h5", rows)


def auc(folder: Path, *, size: int, lr: float, seed: int) -> dict[str, Any]:
    """Validation AUC after each epoch."""
    precision = "float32" if size == 1 else "bfloat16"
    config = settings(precision, epochs=AUC_EPOCHS, size=size, lr=lr)
    with denormals_flushed():
        _, history = train(
            make_model, study_data(folder, validate=True), config=config, bags=Bags(), seed=seed
        )
    return {"auc": [epoch.val_auc for epoch in history.epochs]}


def compare_auc() -> int:
    """One bag a step in float32 against axilla's batch in bfloat16, the same epochs and bags."""
    found: dict[tuple[int, float], list[list[float]]] = {way: [] for way in AUC_WAYS}
    for seed in AUC_SEEDS:
        with tempfile.TemporaryDirectory() as name:
            write_planted(Path(name), seed)
            for (size, lr), curves in found.items():
                run = in_child(
                    __file__, cores=core_counts()[-1], way="auc", folder=name, size=size,
                    lr=str(lr), seed=seed,
                )  # fmt: skip
                curves.append(run["auc"])
                shown = " ".join(f"{value:.3f}" for value in run["auc"])
                print(f"  seed {seed}, {size} a step, rate {lr:.1e}: {shown}", flush=True)
    text = []
    for (size, lr), curves in found.items():
        last = [curve[-1] for curve in curves]
        best = [max(curve) for curve in curves]
        text.append(
            f"{size} bag{'s' * (size > 1)} a step at rate {lr:.1e} {statistics.mean(last):.3f} "
            f"({min(last):.3f} to {max(last):.3f}), best epoch {statistics.mean(best):.3f}"
        )
    print(
        f"frozen epoch, validation AUC after {AUC_EPOCHS} epochs of {AUC_COHORTS['train'][1]:,} "
        f"generated bags, mean of {len(AUC_SEEDS)} seeds: {'; '.join(text)}"
    )
    return 0


def main() -> int:
    """Speed and memory; with `--auc` what the larger batch does to the AUC."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the folder is removed
    if "--auc" in sys.argv:
        return compare_auc()
    options = child_options(way=str, folder=str, size=int, lr=float, seed=int)
    if options is not None:
        torch.set_num_threads(options.cores)
        if options.way == "auc":
            folder = Path(options.folder)
            return answer(auc(folder, size=options.size, lr=options.lr, seed=options.seed))
        return measure(options.way, Path(options.folder))
    needed = 2.5 * WIDTH * BAG * sum(bags for _, bags in COHORTS.values())
    if shutil.disk_usage(tempfile.gettempdir()).free < needed:
        print(
            f"frozen epoch: left out, {tempfile.gettempdir()} has less than {needed / 1e9:.0f} GB"
        )
        return 0
    with tempfile.TemporaryDirectory() as name:
        write_cohort(Path(name))
        for cores in core_counts():
            compare(Path(name), cores)
        tell_memory(Path(name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
