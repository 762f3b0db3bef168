"""What keys of a study say together: each rule raises ValueError with a sentence for the user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from axilla.core.config_choices import ColumnSplit, endpoint_name
from axilla.core.methods import ZOO, ZOO_HEADS

if TYPE_CHECKING:
    from collections.abc import Callable

    from axilla.core.config import StudyConfig


def _endpoints_fit(study: StudyConfig) -> None:
    names = [endpoint_name(endpoint).casefold() for endpoint in study.endpoints]
    if len(set(names)) < len(names):
        raise ValueError("endpoints: an endpoint is named twice")
    if study.endpoints and any(p.endpoint not in study.endpoints for p in study.published):
        raise ValueError(
            "published: a figure does not say of which of the endpoints it is; add endpoint: "
            "to it, as in endpoints:"
        )


def _fits_together(study: StudyConfig) -> None:
    if study.uses_slides and study.slides is None and study.features is None:
        raise ValueError(
            "slides: missing, but methods name dl-cnb; give the folder of slides, or set "
            "methods: [clinical]"
        )
    if study.bags.file is not None and study.bags.redraw:
        raise ValueError("bags: a file gives the bags, so they cannot be redrawn; take one out")
    if study.regions == "patches" and study.patches.mpp is not None:
        raise ValueError(
            "patches.mpp: ready patches are used as they are; take mpp out, or cut the slides"
        )
    if len(set(study.methods)) != len(study.methods):
        raise ValueError("methods: a method is named twice")
    if (
        not isinstance(study.split, ColumnSplit)
        and study.split.validation == 0
        and study.needs_validation
    ):
        raise ValueError(
            "threshold: is chosen on the validation cohort, but split.validation is 0; "
            "set a share for validation or a fixed threshold such as 0.5"
        )
    untrained = not study.encoder.trainable and study.encoder.weights == "none"
    reads_slides = study.uses_patches and study.features is None
    if study.encoder.name == "small_cnn" and untrained and reads_slides:
        raise ValueError("encoder: small_cnn without weights must be trained; set trainable: true")


def _training_fits(study: StudyConfig) -> None:
    """What training could only refuse, or pass over, once everything before it is computed."""
    if not study.uses_slides:
        return
    training = study.training
    unvalidated = not isinstance(study.split, ColumnSplit) and study.split.validation == 0
    if training.patience is not None and unvalidated:
        raise ValueError(
            "training.patience: stops by validation, but split.validation is 0; set a share for "
            "validation, or take patience out"
        )
    size, devices = training.batch_size, training.devices
    if size is not None and devices != "auto" and size % devices:
        raise ValueError(
            f"training.batch_size: is {size}, which {devices} devices cannot share; set a multiple "
            f"of {devices}"
        )
    if training.augment and not study.encoder.trainable:
        raise ValueError(
            "training.augment: varies patches as they are encoded, but the encoder is not trained, "
            "so that features are computed once; set encoder.trainable: true, or take augment out"
        )


def _aggregators_fit(study: StudyConfig) -> None:
    zoo = study.zoo_methods
    if zoo and study.aggregator.width % ZOO_HEADS:
        raise ValueError(
            f"aggregator.width: is {study.aggregator.width}, but methods of the zoo "
            f"({', '.join(zoo)}) need a multiple of {ZOO_HEADS}, which heads can share"
        )
    if study.aggregator.kind in ZOO and study.aggregator.original:
        raise ValueError(
            "aggregator.original: is about the original code's attention, but the kind is "
            f"{study.aggregator.kind}; take out one of them"
        )


def _stain_fits(study: StudyConfig) -> None:
    fitted = study.stain is not None and study.stain.target == "training"
    if fitted and study.crossed:
        raise ValueError(
            "stain: target is training, but all folds share one set of features, so that every "
            "patient who is tested would have a part in it; set target: published or the file "
            "of a reference image"
        )


def _nuclei_fit(study: StudyConfig) -> None:
    """Another tool's network has weights of its own; nothing is ever fetched."""
    own = study.nuclei
    if own.tool is not None and own.weights is None:
        raise ValueError(
            f"nuclei.weights: {own.tool} finds nuclei with its own weights; give a local file"
        )
    if own.tool is not None and own.classical:
        raise ValueError("nuclei: found by a tool or by colour; take out tool or classical")
    if own.tool is None and own.tool_mpp is not None:
        raise ValueError(
            "nuclei.tool_mpp: is that of a tool's network; name the tool, or take it out"
        )


def _imported_fit(study: StudyConfig) -> None:
    """Nothing is asked of features made elsewhere that only slides could give."""
    if study.features is None:
        return
    if study.uses_nuclei:
        raise ValueError(
            "methods: dl-cnb-nuclei looks at nuclei, which features made elsewhere do not show; "
            "take it out, or give slides"
        )
    if study.slides is not None:
        raise ValueError(
            "slides: are not read where features: were made elsewhere; take out one of them"
        )
    if study.encoder.trainable:
        raise ValueError(
            "features: were made elsewhere, so there is no encoder to train; take out "
            "encoder.trainable, or features"
        )
    if study.stain is not None:
        raise ValueError(
            "stain: features made elsewhere have no colours to normalise; take out one of them"
        )
    if study.bags.file is not None:
        raise ValueError(
            "bags.file: names patches, and features made elsewhere have no names; take out "
            "one of them"
        )


def _clinical_fits(study: StudyConfig) -> None:
    """The clinical columns are there, once each, and none of them gives the label away."""
    if not study.uses_clinical:
        return
    columns = study.clinical.names
    if not columns:
        raise ValueError(
            "clinical: names no column, but methods use clinical data; name columns, or set "
            "methods: [dl-cnb]"
        )
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"clinical: names the column `{twice}` twice")
    given = {
        name
        for one in study.endpoints or (study.endpoint,)
        for name in (("nodes", "aln_status") if isinstance(one, str) else (one.column,))
    }
    leak = next((name for name in columns if name in given), None)
    if leak is not None:
        raise ValueError(
            f"clinical: `{leak}` is what the endpoint is made from, so a model that reads it "
            "has nothing to predict; take it out"
        )


RULES: tuple[Callable[[StudyConfig], None], ...] = (
    _endpoints_fit,
    _fits_together,
    _training_fits,
    _aggregators_fit,
    _stain_fits,
    _nuclei_fit,
    _imported_fit,
    _clinical_fits,
)
