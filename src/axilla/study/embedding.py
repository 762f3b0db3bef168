"""Embed: every slide's patches into features, once, where the encoder is not trained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import chain, groupby

import numpy as np
from numpy.typing import NDArray

from axilla.core import store
from axilla.core.ahead import ahead
from axilla.core.config import StudyConfig
from axilla.core.progress import Reporter
from axilla.core.types import Slide
from axilla.features.computing import Computing, FrozenEncoder, choose_computing
from axilla.features.encoders import build_encoder
from axilla.study.layout import Layout
from axilla.study.slide_checks import slides_of
from axilla.study.staining import Stains
from axilla.study.tiling import Tiles, open_patches

PATCHES_AT_ONCE = 64
COMPUTING = 2
"""Counts up whenever the same patch and weights come to give other features."""


def ready_encoder(config: StudyConfig) -> FrozenEncoder:
    """The study's frozen encoder; its weights are read, so that it is made once.

    Raises
    ------
    WeightsError, ConfigError
        As `build_encoder`.
    """
    encoder = build_encoder(config.encoder, seed=config.training.seed)
    computing = choose_computing(config.encoder.precision, encoder=encoder)
    falls_back = config.encoder.precision == "auto"
    return FrozenEncoder(encoder, computing=computing, falls_back=falls_back)


def embed_slides(
    tiles: Tiles,
    *,
    config: StudyConfig,
    reporter: Reporter,
    stains: Stains | None = None,
    ready: FrozenEncoder | None = None,
) -> dict[str, str]:
    """Features of every slide that has none yet; the key of each slide's features.

    Where the encoder is trained end to end there is nothing to embed, and a slide's key is its
    grid's. Where the stain is normalised, its target and the slide's own are part of either key.
    The encoder is made here where none is `ready`.
    """
    grids = tiles.keys if stains is None else {s: stains.key(s, k) for s, k in tiles.keys.items()}
    if config.encoder.trainable:
        reporter.done("embed", "not needed: the encoder is trained end to end")
        return dict(grids)
    layout = Layout(config.out)
    encoder = ready or ready_encoder(config)
    paths = {s: layout.features(config.encoder.name, s) for s in grids}
    if encoder.may_fall_back:
        exact = _keys(grids, encoder, replace(encoder.computing, precision="float32"), config)
        # Slides that are float32 already, of which bfloat16 changed the features, or which were
        # computed on another machine: the others are to be like them.
        if any(store.read_features_key(path) == exact[s] for s, path in paths.items()):
            encoder.stay_exact()
    keys = _keys(grids, encoder, encoder.computing, config)
    todo = [
        slide
        for slide in slides_of(tiles.cohort.patients)
        if store.read_features_key(paths[slide.slide_id]) != keys[slide.slide_id]
    ]
    # Closed at once where writing fails: nothing is read on in the background.
    with closing(ahead(_pixels_of(todo, tiles, config=config, stains=stains))) as pixels:
        chosen, early = encoder.computing, _settled(pixels, encoder)
        if encoder.computing != chosen:
            reporter.say(
                f"note      {encoder.name} gives other features in bfloat16 than in float32, so "
                "they are computed in float32."
            )
            keys = _keys(grids, encoder, encoder.computing, config)
        of_slide = groupby(chain(early, pixels), key=lambda part: part[0])
        tracked = reporter.track(todo, f"Embedding with {config.encoder.name}")
        for slide, (_, parts) in zip(tracked, of_slide, strict=True):
            grid, path = tiles.grids[slide.slide_id], paths[slide.slide_id]
            value = store.Features(
                features=np.empty((0, encoder.features), np.float16),
                coords=grid.xy,
                encoder=encoder.name,
                weights_digest=encoder.weights_digest,
                patch_size=config.patches.size,
                mpp=grid.mpp,
                computing=str(encoder.computing),
            )
            found = _extract_features(parts, encoder)
            store.write_features(path, value, key=keys[slide.slide_id], parts=found)
    reporter.done(
        "embed",
        f"{len(keys):,} slides with {config.encoder.name} in {encoder.computing.precision}"
        + (f", {len(todo):,} now" if todo else ", done before"),
    )
    return keys


def _keys(
    grids: Mapping[str, str], encoder: FrozenEncoder, computing: Computing, config: StudyConfig
) -> dict[str, str]:
    """What each slide's features depend on, computed so."""
    return {
        slide: store.digest(
            "embed", COMPUTING, key, config.encoder.name, encoder.input_px, encoder.weights_digest,
            str(computing), *(["original"] if config.encoder.original else []),
        )
        for slide, key in grids.items()
    }  # fmt: skip


def _pixels_of(
    slides: Sequence[Slide], tiles: Tiles, *, config: StudyConfig, stains: Stains | None
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Slide id and pixels [n, h, w, 3], some patches at a time: a slide's do not pile up."""
    for slide in slides:
        grid = tiles.grids[slide.slide_id]
        with open_patches(slide, tiles, config=config) as reader:
            # A slide without patches is told of as well, by an empty array.
            for start in range(0, len(grid) or 1, PATCHES_AT_ONCE):
                pixels = reader.read(np.arange(start, min(start + PATCHES_AT_ONCE, len(grid))))
                if stains is not None and len(pixels):
                    pixels = stains.apply(slide.slide_id, pixels)
                yield slide.slide_id, pixels


def _settled(
    pixels: Iterator[tuple[str, NDArray[np.uint8]]], encoder: FrozenEncoder
) -> list[tuple[str, NDArray[np.uint8]]]:
    """What was read until the first patches made the encoder ready."""
    early = []
    for part in pixels:
        early.append(part)
        if len(part[1]):
            encoder.settle(part[1])
            break
    return early


def _extract_features(
    parts: Iterable[tuple[str, NDArray[np.uint8]]], frozen: FrozenEncoder
) -> Iterator[NDArray[np.float16]]:
    """Features [n, D] of some patches at a time."""
    for _, pixels in parts:
        if len(pixels):
            yield frozen.encode(pixels)
