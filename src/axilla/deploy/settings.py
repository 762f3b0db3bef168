"""The settings with which a model is applied: how from the model, to what from the user."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from axilla.core.config import StudyConfig, Training
from axilla.core.config_choices import ENDPOINT, UNIONS
from axilla.core.config_clinical import (
    KNOWN_NUMBERS,
    CategoricalColumn,
    Clinical,
    NumericColumn,
)
from axilla.core.config_heatmaps import Heatmaps
from axilla.core.config_sentences import sentences
from axilla.core.endpoint import class_names
from axilla.core.errors import ConfigError, StoreError
from axilla.core.methods import method_names, method_spec
from axilla.deploy.encoding import encoder_for
from axilla.study.staining import stain_of_record

_NUCLEI = (
    "the model {method} looks at nuclei, and its folder does not hold how they were found: neither "
    "the size of the patches nor the network's weights."
)


def config_of(
    record: Mapping[str, Any],
    *,
    base: StudyConfig | None,
    encoder_weights: Path | None,
    out: Path,
) -> StudyConfig:
    """The study that applies a model: how it computes from the model, on what from the user.

    Patches, stain, bags, encoder, aggregator, the clinical columns and what is done where one is
    missing, seed, method and endpoint are the model's. Cohort, slides, annotations, features,
    regions, µm/px, heat maps and what is measured are the user's, and so are the ranges and values
    that the user's study declares of the model's clinical columns. A case without a study has its
    heat maps in the scale of the model's.

    Parameters
    ----------
    record
        Of the bundle, `model.json`.
    base
        The user's study; None for cases without one, whose patients the caller makes.
    encoder_weights
        File of the frozen encoder's weights, where these came from a file. A study whose
        `encoder.weights` names a file gives it too.
    out
        Where everything is written.

    Raises
    ------
    StoreError
        The record's settings do not fit this version.
    ConfigError
        The model and the user's study do not go together.
    WeightsError
        The encoder's weights were a file, and none is given.
    """
    method = str(record["method"])
    if method not in method_names():
        raise StoreError(
            f"this axilla knows no method {method}, which the model is of.", "Update axilla."
        )
    if method_spec(method).nuclei:
        raise ConfigError(_NUCLEI.format(method=method), "Take a model of patches, such as dl-cnb.")
    base = None if base is None else _one_endpoint(base, record)
    own = _own_settings(record, method, base=base, encoder_weights=encoder_weights)
    if base is None:
        told: dict[str, Any] = {"cohort": out / "cohort.csv", "endpoint": record["endpoint"]}
        imported = bool((record.get("encoder") or {}).get("imported"))
        told |= {"features": {"folder": out}} if imported else {"slides": out}
    else:
        told = base.model_dump()
    try:
        return StudyConfig.model_validate({**told, **own, "methods": (method,), "out": out})
    except ValidationError as error:
        wrong = {str(item["loc"][0]) for item in error.errors() if item["loc"]}
        if base is None or wrong & own.keys():
            raise _unfit(error) from error
        raise ConfigError(
            f"the model and the study do not go together: {_told(error)}.",
            "Change the study; what the model was trained with cannot be changed.",
        ) from error


def _own_settings(
    record: Mapping[str, Any],
    method: str,
    *,
    base: StudyConfig | None,
    encoder_weights: Path | None,
) -> dict[str, Any]:
    """What the model says of itself, as keys of a study."""
    try:
        own: dict[str, Any] = {"clinical": _clinical(record, base=base)}
        ENDPOINT.validate_python(record["endpoint"])
        if not method_spec(method).images:
            return own | {"stain": None}
        # Of the training only the seed says how a patient's bags are drawn.
        drawn = {n: v for n, v in (record.get("training") or {}).items() if n == "seed"}
        own |= {"training": Training.model_validate(drawn)}
        own |= {"aggregator": dict(record["aggregator"] or {})}
        own["bags"] = _bags(record, base=base)
        imported = bool(record["encoder"].get("imported"))
        features = None if base is None else base.features
        if imported and base is not None and features is None:
            raise ConfigError(
                "the model takes features made elsewhere"
                + (f", by {record['encoder']['name']}" if record["encoder"].get("name") else "")
                + ", not slides.",
                "Name the folder of such features in the study: `features: FOLDER`.",
            )
        if imported or features is not None:
            if record["architecture"]["end_to_end"]:
                raise ConfigError(
                    "the model encodes patches itself, so features made elsewhere are of no use "
                    "to it.",
                    "Give slides in the study in place of `features:`.",
                )
            own |= {"stain": None, "encoder": {}}
            return own
        if encoder_weights is None and base is not None:
            encoder_weights = _named_file(base)
        own["encoder"] = encoder_for(record, encoder_weights)
        own["patches"] = dict(record["patches"])
        if base is None and record.get("heatmaps") is not None:
            own["heatmaps"] = Heatmaps.model_validate(record["heatmaps"])
        stain = record.get("stain")
        own["stain"] = None if stain is None else stain_of_record(stain)[0]
    except ValidationError as error:
        raise _unfit(error) from error
    return own


def _unfit(error: ValidationError) -> StoreError:
    return StoreError(
        f"the settings of the model's record do not fit this version of axilla ({_told(error)}).",
        "Update axilla, or train the model again with this one.",
    )


def _told(error: ValidationError) -> str:
    return "; ".join(sentences(error, StudyConfig, unions=UNIONS))


def _one_endpoint(base: StudyConfig, record: Mapping[str, Any]) -> StudyConfig:
    """The user's study of the endpoint that the model predicts.

    A column may be called otherwise in another hospital; the classes may not.

    Raises
    ------
    ConfigError
        The study has no endpoint of these classes.
    """
    wanted = tuple(record["classes"])
    for study in base.studies:
        if class_names(study.endpoint) == wanted:
            return study
    theirs = "; ".join(" against ".join(class_names(s.endpoint)) for s in base.studies)
    raise ConfigError(
        f"the model predicts {' against '.join(wanted)}, but the study asks for {theirs}.",
        "Set `endpoint:` to what the model predicts, or take a model of the study's endpoint.",
    )


def _clinical(record: Mapping[str, Any], *, base: StudyConfig | None) -> Clinical:
    """The columns that the model reads, as the user declares them where it is declared."""
    read = record.get("clinical")
    declared = Clinical() if base is None else base.clinical
    if read is None:
        return declared
    known = {column.name: column for column in declared.columns}
    units = read.get("units") or [None] * len(read["numeric"])
    numbers, categories = [], []
    for name, unit in zip(read["numeric"], units, strict=True):
        column = known.get(name)
        if not isinstance(column, NumericColumn):
            column = NumericColumn(name=name, unit=None if name in KNOWN_NUMBERS else unit)
        numbers.append(column)
    original = read.get("kind") == "original"
    for name in read["statuses"] if original else read["categorical"]:
        column = known.get(name)
        if not isinstance(column, CategoricalColumn):
            column = CategoricalColumn(name=name)
        if original and column.values is None:
            column = CategoricalColumn(name=name, values=("positive", "negative"))
        categories.append(column)
    return Clinical(
        numeric=tuple(numbers),
        categorical=tuple(categories),
        missing="refuse" if original else read["missing"],
        unseen="error" if original else read.get("unseen", "error"),
    )


def _bags(record: Mapping[str, Any], *, base: StudyConfig | None) -> dict[str, Any]:
    """How the model draws bags; those that the user's study gives by name are used as they are."""
    own = {n: v for n, v in (record["bags"] or {}).items() if n not in {"file", "file_sha256"}}
    given = None if base is None else base.bags.file
    return own if given is None else own | {"file": given, "redraw": False}


def _named_file(base: StudyConfig) -> Path | None:
    """The file that the user's study names as its encoder's weights."""
    path = Path(base.encoder.weights)
    return path if path.is_absolute() and path.is_file() else None
