"""The nuclear network, trained on outlined images; what it was trained on is written beside it."""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import axilla
from axilla.cohorts.synthetic_config import SyntheticConfig
from axilla.cohorts.tissue_painter import paint_slide
from axilla.core import store
from axilla.core.errors import AnnotationError, SlideError, StoreError
from axilla.core.progress import Reporter
from axilla.nuclei.augmentation import OutlinedImage
from axilla.nuclei.learned import LearnedSegmenter, write_network
from axilla.nuclei.material import outlined_files
from axilla.nuclei.numbering import numbered
from axilla.nuclei.points import LEAST_IN_ALL, instances_from_points, read_points, refined
from axilla.nuclei.reading import MAX_PX, read_nuclei
from axilla.nuclei.training import NucleusTraining, train_network
from axilla.wsi.slides import open_slide

GENERATED = SyntheticConfig(width=1400, height=1000, mpp=0.4, patch=160)
"""Generated tissue at which nuclei have a radius of about 9 pixels."""
GENERATED_SHARE = 0.1
"""Of all samples; the folders of images share the rest evenly."""


def train_nuclei(
    material: Sequence[Path],
    out: Path,
    *,
    config: NucleusTraining,
    generated: int = 8,
    terms: str = "not stated",
    reporter: Reporter,
) -> int:
    """Train the network and write its weights.

    Parameters
    ----------
    material
        Images with an instance map beside each, and folders of them.
    out
        `.safetensors`; `.json` beside it says what the weights were made from.
    config
    generated
        How many slides of generated tissue are painted besides.
    terms
        Of the material, as a licence names them.
    reporter

    Returns
    -------
    int
        Outlined nuclei in the material.

    Raises
    ------
    AnnotationError
        An image or its map does not open.
    StoreError
        `out` has another ending or cannot be written.
    """
    _require_weights_name(out)
    pairs = outlined_files(material)
    real = [read_outlined(*pair) for pair in pairs]
    folders = [str(image.parent) for image, _ in pairs]
    per_folder = Counter(folders)
    share = (1 - GENERATED_SHARE * bool(generated)) / len(per_folder)
    sources = [
        replace(source, weight=share / per_folder[folder])
        for source, folder in zip(real, folders, strict=True)
    ]
    sources += _generated(generated, seed=config.seed)
    with reporter.epochs(config.steps, "Training") as step_ended:
        listen = _Losses(step_ended)
        network = train_network(sources, config=config, told=listen)
    nuclei = sum(len(np.unique(source.instances)) - 1 for source in real)
    record = _record([file for pair in pairs for file in pair], config=config)
    record |= {
        "command": f"axilla nuclei train {out.name} MATERIAL... --steps {config.steps} "
        f"--generated {generated} --seed {config.seed}",
        "terms_of_the_material": terms,
        "outlined_nuclei": nuclei,
        "generated_slides": generated,
        "mean_loss_of_the_last_100_steps": listen.mean,
    }
    write_network(out, network, record=record)
    return nuclei


def read_outlined(image: Path, nuclei: Path) -> OutlinedImage:
    """An image with its nuclei, whose numbers are small, however the file numbers them.

    Raises
    ------
    AnnotationError, SlideError
        Either does not open, or they do not go together.
    """
    pixels = read_pixels(image)
    height, width = pixels.shape[:2]
    instances, _ = numbered(read_nuclei(nuclei, shape=(height, width)))
    return OutlinedImage(pixels, instances.astype(np.int32, copy=False))


def read_pixels(image: Path) -> NDArray[np.uint8]:
    """A picture to train on, RGB [h, w, 3], as `segment_file` would see it.

    Raises
    ------
    SlideError
        It does not open, or has more than 2^28 pixels.
    """
    with open_slide(image, slide_id=image.stem, patient_id=image.stem) as reader:
        width, height = reader.size
        if width * height > MAX_PX:
            raise SlideError(
                f"the image has {width * height:,} pixels, at most {MAX_PX:,} are read.",
                "Cut it into tiles.",
                file=image,
            )
        return reader.read(0, 0, width, height)


def fit_nuclei(
    clicks: Sequence[tuple[Path, Path]],
    out: Path,
    *,
    config: NucleusTraining,
    reporter: Reporter,
) -> int:
    """Train a network from one point in each nucleus alone, and write its weights.

    Two thirds of the steps learn from what points and colours tell, the last third from what the
    network then says of the same pixels (`axilla.nuclei.points`).

    Parameters
    ----------
    clicks
        GeoJSON of points with the image that they were set in.
    out
        As in `train_nuclei`.
    config
    reporter

    Returns
    -------
    int
        Points.

    Raises
    ------
    AnnotationError
        An image or its points do not open.
    StoreError
        `out` has another ending or cannot be written.
    """
    _require_weights_name(out)
    images = [read_pixels(image) for _, image in clicks]
    points = [
        read_points(path, shape=pixels.shape[:2])
        for (path, _), pixels in zip(clicks, images, strict=True)
    ]
    count = sum(map(len, points))
    if count < LEAST_IN_ALL:
        raise AnnotationError(
            f"only {count} nuclei are clicked.", f"Click {LEAST_IN_ALL} or more.", file=clicks[0][0]
        )
    pairs = list(zip(images, points, strict=True))
    told = [OutlinedImage(p, instances_from_points(p, xy), len(xy)) for p, xy in pairs]
    first, last = replace(config, steps=-(-2 * config.steps // 3)), config.steps // 3
    with reporter.epochs(config.steps, "Training") as step_ended:
        listen = _Losses(step_ended)
        network = train_network(told, config=first, told=listen)
        if last:
            segmenter = LearnedSegmenter(network)
            told = [OutlinedImage(p, refined(segmenter(p)[0], xy), len(xy)) for p, xy in pairs]
            second = replace(config, steps=last, seed=config.seed + 1, rate=config.rate / 2)
            network = train_network(told, config=second, start=network, told=listen)
    network.radius_px = float(np.median([image.radius_px for image in told]))
    record = _record([file for pair in clicks for file in pair], config=config)
    record |= {
        "command": f"axilla nuclei fit POINTS... --out {out.name} --steps {config.steps} "
        f"--seed {config.seed}",
        "points": count,
        "median_radius_px": round(network.radius_px, 3),
        "mean_loss_of_the_last_100_steps": listen.mean,
    }
    write_network(out, network, record=record)
    return count


class _Losses:
    """Hears of each step; keeps the losses."""

    def __init__(self, step_ended: Callable[[Any], None]) -> None:
        self._step_ended = step_ended
        self._losses: list[float] = []

    def __call__(self, _: int, loss: float) -> None:
        self._losses.append(loss)
        self._step_ended(None)

    @property
    def mean(self) -> float:
        """Of the last 100 steps."""
        return round(float(np.mean(self._losses[-100:])), 4)


def _require_weights_name(out: Path) -> None:
    if out.suffix != ".safetensors":
        raise StoreError("is no name of weights.", "Name it .safetensors.", file=out)


def _generated(count: int, *, seed: int) -> list[OutlinedImage]:
    """Painted slides, with the truth about their nuclei."""
    slides = (
        paint_slide(np.random.default_rng([seed, number]), witness_share=0.3, config=GENERATED)
        for number in range(count)
    )
    return [OutlinedImage(slide.image, slide.inst_map, GENERATED_SHARE / count) for slide in slides]


def _record(files: Sequence[Path], *, config: NucleusTraining) -> dict[str, Any]:
    """What the weights were made from, and how; no path of this machine."""
    material: dict[str, str] = {}
    for file in files:
        name = f"{file.resolve().parent.name}/{file.name}"
        if name in material:  # of another folder of the same name
            name += f" ({len(material)})"
        material[name] = store.file_identity(file, content=True)
    return {
        "what": "Weights of axilla's nuclear network (axilla.nuclei.network.NucleusNet), float16",
        "axilla": axilla.__version__,
        "torch": str(torch.__version__),
        "python": sys.version.split()[0],
        "training": asdict(config),
        "material_sha256": hashlib.sha256(repr(sorted(material.items())).encode()).hexdigest(),
        "material": material,
    }
