"""Paths of `study.yaml`: environment variables expanded, relative ones made absolute."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from axilla.core.encoder_names import WEIGHTS_WORDS
from axilla.core.errors import ConfigError


def expand_paths(raw: dict[str, Any], path: Path) -> None:
    """Expand every path of a study in its place; relative ones are to the study's file.

    Raises
    ------
    ConfigError
        An environment variable is not set.
    """
    for key in ("cohort", "slides", "annotations", "out"):
        if isinstance(raw.get(key), str):
            raw[key] = _expand(raw[key], path)
    notes = raw.get("annotations")
    if isinstance(notes, dict) and isinstance(notes.get("folder"), str):
        raw["annotations"] = {**notes, "folder": _expand(notes["folder"], path)}
    if isinstance(raw.get("bags"), dict) and isinstance(raw["bags"].get("file"), str):
        raw["bags"] = {**raw["bags"], "file": _expand(raw["bags"]["file"], path)}
    features = raw.get("features")
    if isinstance(features, str):
        features = {"folder": features}
    if isinstance(features, dict) and isinstance(features.get("folder"), str):
        raw["features"] = {**features, "folder": _expand(features["folder"], path)}
    weights = raw["encoder"].get("weights") if isinstance(raw.get("encoder"), dict) else None
    if isinstance(weights, str) and weights not in WEIGHTS_WORDS:
        raw["encoder"] = {**raw["encoder"], "weights": str(_expand(weights, path))}
    own = raw["nuclei"].get("weights") if isinstance(raw.get("nuclei"), dict) else None
    if isinstance(own, str):
        raw["nuclei"] = {**raw["nuclei"], "weights": str(_expand(own, path))}
    target = raw["stain"].get("target") if isinstance(raw.get("stain"), dict) else None
    if isinstance(target, str) and target not in {"published", "training"}:
        raw["stain"] = {**raw["stain"], "target": str(_expand(target, path))}


def _expand(text: str, study: Path) -> Path:
    missing = [name for name in re.findall(r"\$\{(\w+)\}", text) if name not in os.environ]
    if missing:
        raise ConfigError(
            f"`{text}` uses the environment variable {missing[0]}, which is not set.",
            f"Set it, for example: export {missing[0]}=/path/to/data.",
            file=study,
        )
    expanded = Path(os.path.expandvars(text)).expanduser()
    return expanded if expanded.is_absolute() else (study.resolve().parent / expanded)
