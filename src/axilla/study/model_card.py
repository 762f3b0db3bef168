"""A model card in Markdown, made from the bundle alone.

Source: Mitchell 2019, doi:10.1145/3287560.3287596.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from axilla.analysis.reference_distance import SENSIBLE_PATIENTS
from axilla.core import store
from axilla.core.methods import method_title
from axilla.core.store import ModelRecord
from axilla.core.store.model_record import (
    SMALLEST_GROUP,
    EncoderRecord,
    Reference,
    parse_model_record,
)
from axilla.study.card_cohort import cohort_lines
from axilla.study.card_words import figure_text, listed, plain, section
from axilla.study.imported_card import (
    imported_cohort,
    imported_digests,
    imported_input,
    imported_training,
    imported_validation,
    imported_what,
)
from axilla.study.layout import write_if_new
from axilla.study.training_words import balance_sentence

CARD = "model_card.md"
_SETTINGS = (
    "epochs", "patience", "optimizer", "lr", "weight_decay", "batch_size", "accumulate",
    "weight_by", "class_weights", "sampling", "precision",
)  # fmt: skip
_CLINICAL_KINDS = {"logistic": "a logistic regression", "boosting": "gradient boosted trees"}
_MEASURES = {
    "sensitivity": "Sensitivity", "specificity": "Specificity",
    "ppv": "Positive predictive value", "npv": "Negative predictive value",
}  # fmt: skip


def write_card(folder: Path) -> Path:
    """Write `model_card.md` into a model's folder, unless it is there as it should be.

    Raises
    ------
    StoreError
        The folder holds no model of this version.
    """
    write_if_new(folder / CARD, model_card(folder))
    return folder / CARD


def model_card(folder: Path) -> str:
    """The card of the model in a folder; only `model.json` is read.

    Raises
    ------
    StoreError
        The record is missing, damaged, or of another version.
    """
    path = folder / "model.json"
    return card_of(parse_model_record(store.read_model_record(folder), file=path))


def card_of(record: ModelRecord) -> str:
    """The card of a record; text from data is escaped, so that it stays text."""
    sections = {**_SECTIONS, **(_IMPORTED if record.source is not None else {})}
    parts = [f"# Model card: {plain(method_title(record.method))}"]
    parts += [section(title, tell(record)) for title, tell in sections.items()]
    return "\n\n".join(parts) + "\n"


def _what(record: ModelRecord) -> Iterator[str]:
    count = len(record.members)
    kind = (
        "a multiple-instance network over the patches of the core-needle biopsy slide"
        + (", fused with clinical data" if record.clinical is not None else "")
        if record.architecture.kind == "dl-cnb"
        else f"{_clinical_kind(record)} of clinical data alone"
    )
    if count > 1:
        folds = len({member.partition for member in record.members})
        over = f" of {folds} folds" if folds > 1 else ""
        kind += (
            f"; an ensemble of {count} models{over}: the score is the mean of their probabilities, "
            "its spread their standard deviation"
        )
    yield f"- Method: {plain(record.method)} ({plain(method_title(record.method))}), {kind}."
    yield f"- Endpoint: {_endpoint(record)}"
    yield "- Classes, in the order of the probabilities: " + ", ".join(map(plain, record.classes))
    if record.study:
        yield f"- Trained in the study: {plain(record.study)}"
    if record.source is not None:
        yield from imported_what()


def _clinical_kind(record: ModelRecord) -> str:
    kind = record.architecture.kind
    return _CLINICAL_KINDS.get(kind, f"a {plain(kind)} model")


def _endpoint(record: ModelRecord) -> str:
    if isinstance(record.endpoint, str):
        return f"{plain(record.endpoint)} (axillary lymph node status, before surgery)"
    return ", ".join(f"{plain(name)} = {plain(value)}" for name, value in record.endpoint.items())


def _use(record: ModelRecord) -> Iterator[str]:
    yield (
        "- For research: to measure how well the primary tumour's biopsy tells the endpoint, on "
        "cohorts with known outcome, and to compare methods."
    )
    yield (
        "- Not a medical device. Not for decisions about a patient: not to leave out, choose or "
        "time surgery, sentinel node biopsy, imaging or treatment."
    )
    yield (
        "- Not for other endpoints, organs, stains or specimens than those of its training cohort, "
        "nor for a site on whose own patients it was not measured first."
    )
    if record.architecture.kind == "dl-cnb":
        yield "- Attention shows what the score was made from; it is no evidence of metastasis."


def _cohort(record: ModelRecord) -> Iterator[str]:
    summary = record.training_cohort
    if summary is None:
        yield "- Not known: the record holds no summary of it."
        return
    classes = ", ".join(f"{count:,} {plain(name)}" for name, count in summary.classes.items())
    yield f"- Patients: {summary.patients:,} ({classes})"
    if summary.slides is not None:
        yield f"- Slides: {summary.slides:,}"
    yield from cohort_lines(summary)
    val = record.patients.get("val")
    if val:
        shown = ", ".join(f"{count:,} {plain(name)}" for name, count in val.items())
        chose = _chosen_on_validation(record)
        who = f", who chose {chose}" if chose else ""
        total = sum(val.values())
        yield f"- Validation patients{who}: " + (f"{total:,} ({shown})" if total else "none")
    yield f"- Clinical groups under {SMALLEST_GROUP} patients are not told."


def _chosen_on_validation(record: ModelRecord) -> str:
    """What the validation patients decided; empty where they decided nothing."""
    validated = any(record.patients.get("val", {}).values())
    parts = []
    if validated and any(member.best_epoch is not None for member in record.members):
        parts.append("the epoch")
    if record.threshold.validation_patients is not None:
        parts.append("the threshold")
    return " and ".join(parts)


def _input(record: ModelRecord) -> Iterator[str]:
    encoder = record.encoder
    if encoder is not None and encoder.imported:
        maker = encoder.name or "an encoder that their files do not name"
        length = record.architecture.features
        yield f"- Features of length {length} made elsewhere, by {plain(maker)}."
    elif encoder is not None:
        yield from _own_encoder(encoder)
    for title, settings in (
        ("Patches", record.patches), ("Stain normalisation", record.stain), ("Bags", record.bags),
    ):  # fmt: skip
        if settings:
            yield f"- {title}: {listed(settings)}"
    if record.clinical is not None:
        kinds = ("numeric", "categorical", "statuses")
        columns = [name for kind in kinds for name in record.clinical.get(kind, ())]
        yield f"- Clinical data: {', '.join(map(plain, columns))}"
        if "missing" in record.clinical:
            yield f"- Missing clinical values: {plain(record.clinical['missing'])}"


def _own_encoder(encoder: EncoderRecord) -> Iterator[str]:
    drawn = encoder.weights == "none"
    way = "trained end to end, part of this bundle" if encoder.trainable else "frozen"
    first = "drawn at random" if drawn else plain(encoder.weights)
    yield f"- Encoder: {plain(encoder.name)}, {way}; first weights: {first}"
    if encoder.weights_sha256 is not None:
        yield "- The weights came from a file; its own terms hold."
    else:
        none = "none needed, they were drawn at random"
        licence = encoder.licence or (none if drawn else "not known")
        yield f"- Licence of these weights, as far as known: {plain(licence)}"
    if encoder.weights_digest is not None:
        yield f"- Digest of the weights: {plain(encoder.weights_digest)}"
    if encoder.computing is not None:
        yield (
            f"- Features were computed in {plain(encoder.computing)}; in another precision, as "
            "another machine may choose, probabilities move a little."
        )


def _training(record: ModelRecord) -> Iterator[str]:
    if record.training is None:
        yield from _clinical_training(record)
        return
    if record.aggregator is not None:
        yield f"- Pooling: {listed(record.aggregator)}"
    chosen = {name: record.training[name] for name in _SETTINGS if name in record.training}
    yield f"- Settings: {listed(chosen)}"
    yield f"- Seeds: {', '.join(str(member.seed) for member in record.members)}"
    epochs = [str(m.best_epoch + 1) for m in record.members if m.best_epoch is not None]
    if epochs:
        if _over_folds(record):
            how = "by the AUC in its fold's validation, the last where nobody validated"
        elif any(record.patients.get("val", {}).values()):
            how = "by the AUC in validation"
        else:
            how = "the last, as nobody validated"
        yield f"- Epoch kept, {how}: {', '.join(epochs)}"


def _clinical_training(record: ModelRecord) -> Iterator[str]:
    kind = record.architecture.kind
    times = f"{len(record.members)} times, once a fold" if len(record.members) > 1 else "once"
    if kind == "logistic":
        yield f"- A logistic regression, fitted {times}, without chance."
        return
    if kind == "boosting":
        yield (
            f"- Gradient boosted trees, fitted {times}; each tree saw a part of the training "
            "patients, drawn by the seed."
        )
    else:
        yield f"- {_clinical_kind(record).capitalize()}, fitted {times}."
    yield f"- Seeds: {', '.join(str(member.seed) for member in record.members)}"


def _over_folds(record: ModelRecord) -> bool:
    return record.partition is not None and record.partition.name == "folds"


def _validation(record: ModelRecord) -> Iterator[str]:
    threshold, found = record.threshold, record.validation
    if threshold.value is None:
        yield "- No threshold is locked: " + (
            "the likeliest class is called."
            if len(record.classes) > 2
            else f"the rule is {plain(threshold.rule)}"
            + (f"; {plain(threshold.reason)}." if threshold.reason is not None else ".")
        )
    else:
        how = (
            f"the mean of those of {threshold.mean_of} folds" if threshold.mean_of is not None
            else f"chosen on {threshold.validation_patients} validation patients"
            if threshold.validation_patients is not None
            else "set beforehand, not chosen on patients"
        )  # fmt: skip
        yield (
            f"- Positive from a probability of {threshold.value:.4f} on ({how}; rule "
            f"{plain(threshold.rule)})."
        )
    if found is None:
        yield "- No validation figures: " + (
            "every patient of the study trained or validated some of the members."
            if _over_folds(record)
            else "no patients were kept for validation."
        )
        return
    yield f"- AUC: {figure_text(found.auc)}, {found.n} patients" + (
        f", {found.positives} of them {plain(record.classes[1])}"
        if found.positives is not None
        else ""
    )
    for name, title in _MEASURES.items():
        figure = getattr(found, name)
        if figure is not None:
            yield f"- {title}: {figure_text(figure)}"
    if found.confusion is not None:
        counts = found.confusion
        yield (
            f"- True positives {counts['tp']}, false negatives {counts['fn']}, true negatives "
            f"{counts['tn']}, false positives {counts['fp']}"
        )
    chose = _chosen_on_validation(record)
    yield (
        f"- These patients chose {chose}: the figures are optimistic, and no substitute for a "
        "test cohort."
        if chose
        else "- These patients chose nothing of the model, but are of its own study: no substitute "
        "for a cohort of another hospital."
    )


def _limits(record: ModelRecord) -> Iterator[str]:
    yield _calibration(record)
    training = record.training or {}
    balance = balance_sentence(
        class_weights=training.get("class_weights", "none"),
        sampling=training.get("sampling", "all"),
        classes=[plain(name) for name in record.classes],
    )
    if balance is not None:
        yield f"- {balance}"
    yield (
        "- Scanner, stain and case mix of another site shift the probabilities and the threshold."
        if record.architecture.kind == "dl-cnb"
        else "- The case mix of another site, and how it measures these data, shift the "
        "probabilities and the threshold."
    )
    if record.reference is not None:
        yield _reference(record.reference, members=len(record.members))
    summary = record.training_cohort
    if summary is not None and summary.patients < 200:
        yield f"- Trained on {summary.patients} patients: few."
    if len(record.members) > 1:
        yield (
            "- The spread tells how far the members disagree; a small one does not make a score "
            "right."
        )


def _calibration(record: ModelRecord) -> str:
    found = record.calibration
    if found is None:
        return "- Calibration: none; a probability is the model's own."
    return (
        "- Calibration: a probability is the model's own, and the threshold is of it. A risk "
        f"recalibrated on {found.n} validation patients, {found.positives} of them "
        f"{plain(record.classes[1])}, may be shown beside it: log-odds {found.intercept:.3f} + "
        f"{found.slope:.3f} times the model's (Platt). It holds where that class is as frequent as "
        "among them."
    )


def _reference(found: Reference, *, members: int) -> str:
    head = "- How far a new patient's features lie from those of training patients"
    if found.distance is None:
        return f"{head} cannot be told: {plain(found.reason)}."
    rough = found.patients < SENSIBLE_PATIENTS
    return (
        f"{head} can be told: of patients like the {found.patients} of training, 95% lie within "
        f"a distance of {found.distance.quantiles['0.95']:.2f}"
        + (f" (rough: {SENSIBLE_PATIENTS} patients would be sensible)." if rough else ".")
        + " A small distance does not make a score right."
        + (
            " The features are those of the first member's encoder."
            if found.member is not None and members > 1
            else ""
        )
    )


def _digests(record: ModelRecord) -> Iterator[str]:
    yield f"- Layout of the record: {record.schema_}"
    yield "- " + ", ".join(f"{plain(name)} {plain(v)}" for name, v in record.versions.items())
    yield f"- SHA-256 of model.safetensors: `{record.weights_sha256}`"
    if record.history_sha256 is not None:
        yield f"- SHA-256 of history.csv: `{record.history_sha256}`"
    yield f"- Key of the training: {plain(record.key)}"


_SECTIONS: Mapping[str, Callable[[ModelRecord], Iterator[str]]] = {
    "What it is": _what,
    "Intended use": _use,
    "Training cohort": _cohort,
    "Input and encoder": _input,
    "Training": _training,
    "Threshold, and what it meant on validation": _validation,
    "Limits": _limits,
    "Versions and digests": _digests,
}
_IMPORTED: Mapping[str, Callable[[ModelRecord], Iterator[str]]] = {
    "Training cohort": imported_cohort,
    "Input and encoder": imported_input,
    "Training": imported_training,
    "Threshold, and what it meant on validation": imported_validation,
    "Versions and digests": imported_digests,
}
"""Of a model that was trained elsewhere, in place of those above."""
