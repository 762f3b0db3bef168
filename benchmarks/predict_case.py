"""`axilla predict-case` of one real region set: seconds after the model is loaded, and where spent.

The case is a real patient's cut tumour regions, whole; the model DL-CNB+C on a frozen encoder, its
weights drawn, which costs the same as trained ones. Told are the seconds from files to page, record
and tiles written, how many of them the encoder took, and the share of the rest: decoding, cutting,
21 draws of bags, attention, contributions, clinical parts, maps and page. Medians of five runs.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch

from axilla.core import store
from axilla.core.config import Aggregator, Bags, Encoder, Patches
from axilla.deploy.case_inputs import CaseInput
from axilla.deploy.loading import LoadedModel, load_model
from axilla.deploy.predicting import predict_case, write_case
from axilla.features.computing import FrozenEncoder
from axilla.features.registry import encoder_spec
from axilla.mil.bundle import Bundle, to_stored
from axilla.mil.clinical import Preprocessor
from axilla.mil.model import DLCNB
from machine import region_files

PATIENT = "351899"
ENCODERS = ("small_cnn", "alexnet", "resnet50")
LIMIT_S, LIMIT_SHARE, RUNS = 5.0, 0.10, 5
"""The seconds with every core; the share with one, where nothing is done beside the encoder."""
VALUES = {"age": 47.0, "tumor_size_cm": 2.1, "er": "positive", "pr": "negative", "her2": "negative"}
SIGNS = ("negative", "positive")


def write_bundle(folder: Path, encoder: str) -> None:
    """DL-CNB+C with drawn weights, as a study would have written it."""
    reads = Preprocessor(
        numeric=("age", "tumor_size_cm"), means=(56.0, 2.4), sds=(11.0, 1.1),
        categorical=("er", "pr", "her2"), categories=(SIGNS,) * 3,
        modes=("positive", "positive", "negative"), missing="refuse",
        units=("years", "cm"), ranges=((30.0, 80.0), (0.8, 5.0)),
    )  # fmt: skip
    torch.manual_seed(1)
    own = encoder == "small_cnn"
    settings = Encoder(name=encoder, weights="none", trainable=own)
    length = encoder_spec(encoder).features
    body = None
    if own:
        from axilla.features.encoders import build_encoder

        body = build_encoder(settings, seed=1)
    network = DLCNB(
        encoder=body, features=length, clinical=reads.width, classes=2, config=Aggregator()
    )
    record: dict[str, Any] = {
        "study": "Drawn weights", "endpoint": "n0-vs-npos", "encoder": settings.model_dump(),
        "aggregator": Aggregator().model_dump(), "patches": Patches().model_dump(),
        "bags": Bags().model_dump(exclude={"file"}), "training": {"seed": 8888},
        "members": [{"key": "drawn", "seed": None}],
        "patients": {"train": {"N0": 395, "N(+)": 243}},
        "threshold": {"rule": 0.5, "value": 0.5}, "versions": {},
    }  # fmt: skip
    bundle = Bundle.single(
        "dl-cnb+c", ("N0", "N(+)"), record, network=network.eval(), preprocessor=reads
    )
    store.write_model(folder, to_stored(bundle), key="drawn")


class Clock:
    """Seconds spent within the encoder."""

    def __init__(self, monotone: Any) -> None:
        self.taken = 0.0
        self._monotone = monotone

    def around(self, function: Any) -> Any:
        """The same function, its time counted."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            start = self._monotone()
            try:
                return function(*args, **kwargs)
            finally:
                self.taken += self._monotone() - start

        return timed


def measure(model: LoadedModel, case: CaseInput, out: Path) -> tuple[float, float, int]:
    """Wall seconds of all and of the encoder, and how many patches there were."""
    from axilla.deploy import asking

    clock = Clock(time.perf_counter)
    real, rows = FrozenEncoder.encode, asking.encode_rows
    # A clock is put around the package's own functions for the time of one case, and taken off
    # again; that is an assignment that mypy rightly forbids elsewhere.
    FrozenEncoder.encode = clock.around(real)  # type: ignore[method-assign]  # a clock, see above
    if model.ready is None:
        asking.encode_rows = clock.around(rows)  # type: ignore[assignment]  # a clock, see above
    start = time.perf_counter()
    try:
        result = predict_case(model, case)
        write_case(result, out)
    finally:
        FrozenEncoder.encode, asking.encode_rows = real, rows  # type: ignore[method-assign]  # taken off again
    return time.perf_counter() - start, clock.taken, result.record.slides[0].patches


def main() -> int:
    """Measure each encoder, with every core and with one; 1 where the smallest misses a limit."""
    files = tuple(path for path in region_files() if path.stem.startswith(f"{PATIENT}_"))
    case = CaseInput(slides=files, clinical=VALUES, regions="whole", mpp=0.5)
    cores, failed = os.cpu_count() or 1, False
    for encoder in sys.argv[1:] or ENCODERS:
        with tempfile.TemporaryDirectory() as folder:
            write_bundle(Path(folder) / "model", encoder)
            start = time.perf_counter()
            model = load_model(Path(folder) / "model")
            loaded = time.perf_counter() - start
            measure(model, case, Path(folder) / "out")  # makes the network ready
            for threads in sorted({cores, 1}, reverse=True):
                torch.set_num_threads(threads)
                runs = [measure(model, case, Path(folder) / "out") for _ in range(RUNS)]
                wall = median(run[0] for run in runs)
                inside = median(run[1] for run in runs)
                share = median(1 - run[1] / run[0] for run in runs)
                print(
                    f"{encoder:<10} {runs[0][2]} patches, loaded in {loaded:.1f} s; threads "
                    f"{threads}: {wall:.2f} s, encoder {inside:.2f} s, outside it {share:.0%}"
                )
                if encoder == "small_cnn":
                    failed |= wall > LIMIT_S if threads == cores else share > LIMIT_SHARE
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
