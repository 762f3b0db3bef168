"""One case from region files to probability and heat map: axilla against the original's way.

The case is a real patient's tumour regions, the model DL-CNB+C on VGG16_BN trained end to end; its
weights are drawn, which costs the same as trained ones. The original decodes and cuts with OpenCV,
writes every patch as a JPEG file of quality 100, reads it again with Pillow, resizes, normalises,
and runs bags of ten in float32, a bag at a time, BatchNorm by the bag's statistics. Axilla cuts and
reads, encodes each patch once, and draws the bags of the score and 16 covers of the heat map from
those features. Each way runs in a process of its own, in turns; making the network ready is told
apart, as a process does it once. The machine's limit is the rate at which it multiplies large
bfloat16 matrices.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torchvision import transforms

from axilla.core.config import Aggregator, Bags, Encoder, Patches
from axilla.core.types import Slide
from axilla.features.encoders import build_encoder
from axilla.mil.batches import PatientInstances
from axilla.mil.encoding import encode_rows, head_of
from axilla.mil.model import DLCNB
from axilla.mil.prediction import patch_attention, predict_patients
from axilla.study.instances import bag_drawer, covering_drawer
from axilla.study.trained_encoders import encode_of
from axilla.wsi.patches import cut_and_read
from axilla.wsi.regions import find_regions
from encoding import count_products
from machine import DATA, answer, child_options, core_counts, in_child, matrix_rate, region_files
from machine import seconds as seconds_of
from original_way import cut_to_files

PATIENT = "389510"
"""71 patches; the mean of the cohort is 68."""
ROUNDS, REPEATS = 3, 1
BAG, CLINICAL = 10, 8
TARGET = 3.0
VECTOR = np.linspace(-1, 1, CLINICAL)


def case_files() -> list[Path]:
    """The patient's tumour regions."""
    return [path for path in region_files() if path.stem.startswith(f"{PATIENT}_")]


def make_model() -> DLCNB:
    """DL-CNB+C on VGG16_BN with drawn weights, in evaluation mode."""
    encoder = build_encoder(Encoder(name="vgg16_bn", weights="none", trainable=True), seed=1)
    torch.manual_seed(1)
    return DLCNB(
        encoder=encoder, features=encoder.features, clinical=CLINICAL, classes=2,
        config=Aggregator(),
    ).eval()  # fmt: skip


def original(repeats: int) -> dict[str, float]:
    """Region files to probability and attention, as the original evaluated."""
    model = make_model().to(memory_format=torch.contiguous_format)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.train()
    body = model.encoder.body
    head = head_of(model)
    prepare = transforms.Compose(
        [
            transforms.Resize((224, 224)),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    clinical = torch.from_numpy(VECTOR).float()[None]

    def go() -> int:
        with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
            for path in case_files():
                cut_to_files(path, Path(folder))
            files = sorted(Path(folder).iterdir())
            order = np.random.default_rng(0).permutation(len(files))
            scores, attention = [], np.full(len(files), np.nan)
            for start in range(0, len(files) // BAG * BAG, BAG):
                rows = order[start : start + BAG]
                bag = torch.stack([prepare(Image.open(files[i]).convert("RGB")) for i in rows])
                output = head(body(bag).flatten(1), [BAG], clinical)
                scores.append(output.logits.softmax(1)[0].numpy())
                attention[rows] = BAG * output.attention[0].numpy()
            assert np.mean(scores, axis=0).shape == (2,)
        return len(files)

    with torch.inference_mode():
        body(torch.zeros(1, 3, 224, 224))
    counts: list[int] = []
    taken = [seconds_of(lambda: counts.append(go())) for _ in range(repeats)]
    return {"seconds": statistics.median(taken), "patches": counts[0]}


def axilla(repeats: int, *, exact: bool) -> dict[str, float]:
    """Region files to probability and attention."""
    model = make_model()
    slide = Slide(slide_id=PATIENT, patient_id=PATIENT, images=tuple(case_files()))
    patient = PatientInstances(PATIENT, 0, (PATIENT,), VECTOR)
    encode = encode_of(model, config=Encoder(name="vgg16_bn"))
    bags = Bags()

    def cut() -> np.ndarray:
        return cut_and_read(slide, find_regions(slide, mode="whole"), config=Patches())[1]

    def look(network: DLCNB, instances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        slides = {PATIENT: instances}
        scores = predict_patients(network, [patient], slides=slides, draw=bag_drawer(bags), seed=0)
        attention = patch_attention(
            network, patient, PATIENT, slides=slides, cover=covering_drawer(bags), seed=0
        )
        return scores[PATIENT], attention

    def go() -> tuple[np.ndarray, np.ndarray]:
        pixels = cut()
        features = encode_rows(pixels, np.arange(len(pixels)), encode=encode)
        return look(head_of(model), features)

    pixels = cut()
    found: list[tuple[np.ndarray, np.ndarray]] = []
    ready = seconds_of(lambda: encode(pixels[:8]))
    taken = [seconds_of(lambda: found.append(go())) for _ in range(repeats)]
    assert np.isfinite(found[0][1]).all()
    result = {"seconds": statistics.median(taken), "ready": ready, "patches": len(pixels)}
    if exact:
        scores, attention = look(model, pixels)
        result["score_off"] = float(np.abs(scores - found[0][0]).max())
        result["attention_off"] = float(np.abs(attention - found[0][1]).max())
        result["products"] = count_products(model.encoder.body, 224)
    return result


def measure(way: str, repeats: int, *, exact: bool) -> int:
    """One way, in this process."""
    limit = matrix_rate()
    found = original(repeats) if way == "original" else axilla(repeats, exact=exact)
    return answer({**found, "limit": max(limit, matrix_rate())})


def main() -> int:
    """Alternate the ways and print medians; 1 where the target is missed."""
    options = child_options(way=str, repeats=int, exact=int)
    if options is not None:
        torch.set_num_threads(options.cores)
        return measure(options.way, options.repeats, exact=bool(options.exact))
    if not DATA:
        print("one case: left out, AXILLA_DATA is not set")
        return 0
    cores = core_counts()[-1]
    runs: dict[str, list[dict[str, Any]]] = {"original": [], "axilla": []}
    for number in range(ROUNDS):
        for way, done in runs.items():
            exact = int(way == "axilla" and number == 0)
            done.append(in_child(__file__, cores=cores, way=way, repeats=REPEATS, exact=exact))

    def middle(way: str, key: str) -> float:
        return statistics.median(run[key] for run in runs[way])

    first = runs["axilla"][0]
    if first["patches"] != runs["original"][0]["patches"]:
        print("one case: the two ways do not keep the same patches")
        return 1
    ours, theirs = middle("axilla", "seconds"), middle("original", "seconds")
    limit = statistics.median(run["limit"] for done in runs.values() for run in done)
    ready = middle("axilla", "ready")
    share = first["patches"] * first["products"] / ours / limit
    print(
        f"one case, {first['patches']} patches of {len(case_files())} real regions, {cores} "
        f"core{'s' * (cores > 1)}: axilla {ours:.1f} s, the original's way {theirs:.1f} s, "
        f"{theirs / ours:.1f} times as long; {share:.0%} of the rate of large bfloat16 products; "
        f"making the network ready {ready:.1f} s, once a process ({theirs / (ours + ready):.1f} "
        f"times as long with it); from float32 the "
        f"probability is {first['score_off']:.5f} off and the heat map's values "
        f"{first['attention_off']:.5f} at most (medians of {ROUNDS * REPEATS})"
    )
    return int(theirs / ours < TARGET)


if __name__ == "__main__":
    sys.exit(main())
