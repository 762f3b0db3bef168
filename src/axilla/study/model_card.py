"""A model card in Markdown, made from the bundle alone.

Source: Mitchell 2019, doi:10.1145/3287560.3287596.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from axilla.core import store
from axilla.core.methods import method_title
from axilla.core.store import ModelRecord
from axilla.core.store.model_record import (
    SMALLEST_GROUP,
    CohortSummary,
    Interval,
    parse_model_record,
)
from axilla.study.layout import write_if_new

CARD = "model_card.md"
LONGEST = 300
"""Characters of the data's own text that are shown."""
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|~&#!$:@]|(?<=www)\.)", re.IGNORECASE)
_SETTINGS = ("epochs", "optimizer", "lr", "weight_decay", "batch_size", "weight_by", "precision")
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
    parts = [
        f"# Model card: {plain(method_title(record.method))}",
        _section("What it is", _what(record)),
        _section("Intended use", _use(record)),
        _section("Training cohort", _cohort(record)),
        _section("Input and encoder", _input(record)),
        _section("Training", _training(record)),
        _section("Threshold, and what it meant on validation", _validation(record)),
        _section("Limits", _limits(record)),
        _section("Versions and digests", _digests(record)),
    ]
    return "\n\n".join(parts) + "\n"


def plain(text: object) -> str:
    """Text from data as Markdown that shows it and does nothing else: one line, no markup."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    short = line if len(line) <= LONGEST else line[:LONGEST] + "…"
    return _SPECIAL.sub(r"\\\1", short)


def _section(title: str, lines: Iterable[str]) -> str:
    return f"## {title}\n\n" + "\n".join(lines)


def _what(record: ModelRecord) -> Iterator[str]:
    count = len(record.members)
    kind = (
        "a multiple-instance network over the patches of the core-needle biopsy slide"
        + (", fused with clinical data" if record.clinical is not None else "")
        if record.architecture.kind == "dl-cnb"
        else f"a {plain(record.architecture.kind)} model of clinical data alone"
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
    if record.original:
        yield "- The weights are an imported checkpoint of the original code."


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
    yield from _columns(summary)
    val = record.patients.get("val")
    if val:
        shown = ", ".join(f"{count:,} {plain(name)}" for name, count in val.items())
        total = sum(val.values())
        yield f"- Validation patients, who chose epoch and threshold: {total:,} ({shown})"
    yield f"- Groups under {SMALLEST_GROUP} patients are not told."


def _columns(summary: CohortSummary) -> Iterator[str]:
    for name, number in summary.numbers.items():
        shown = (
            "not told" if number.mean is None or number.sd is None
            else f"mean {number.mean:.3g}, SD {number.sd:.3g}"
        )  # fmt: skip
        yield f"- {plain(name)}: {shown}{_missing(number.missing)}"
    for name, category in summary.categories.items():
        shares = ", ".join(
            f"{plain(level)} {'not told' if share is None else f'{share:.1%}'}"
            for level, share in category.shares.items()
        )
        yield f"- {plain(name)}: {shares}{_missing(category.missing)}"


def _missing(count: int | None) -> str:
    if count == 0:
        return ""
    return f"; missing in {f'under {SMALLEST_GROUP}' if count is None else f'{count:,}'}"


def _input(record: ModelRecord) -> Iterator[str]:
    encoder = record.encoder
    if encoder is not None and encoder.imported:
        maker = encoder.name or "an encoder that their files do not name"
        length = record.architecture.features
        yield f"- Features of length {length} made elsewhere, by {plain(maker)}."
    elif encoder is not None:
        way = "trained end to end, part of this bundle" if encoder.trainable else "frozen"
        yield f"- Encoder: {plain(encoder.name)}, {way}; first weights: {plain(encoder.weights)}"
        licence = encoder.licence or "none needed, they were drawn at random"
        yield f"- Licence of these weights, as far as known: {plain(licence)}"
        if encoder.weights_digest is not None:
            yield f"- Digest of the weights: {plain(encoder.weights_digest)}"
        if encoder.weights_sha256 is not None:
            yield "- The weights came from a file; its own terms hold."
    for title, settings in (
        ("Patches", record.patches), ("Stain normalisation", record.stain), ("Bags", record.bags),
    ):  # fmt: skip
        if settings:
            yield f"- {title}: {_listed(settings)}"
    if record.clinical is not None:
        kinds = ("numeric", "categorical", "statuses")
        columns = [name for kind in kinds for name in record.clinical.get(kind, ())]
        yield f"- Clinical data: {', '.join(map(plain, columns))}"
        if "missing" in record.clinical:
            yield f"- Missing clinical values: {plain(record.clinical['missing'])}"


def _listed(settings: Mapping[str, Any]) -> str:
    shown = {n: v for n, v in settings.items() if v is not None and not isinstance(v, dict | list)}
    return ", ".join(f"{plain(name)} {plain(value)}" for name, value in shown.items())


def _training(record: ModelRecord) -> Iterator[str]:
    if record.source is not None:
        yield f"- Trained elsewhere; imported from {_listed(record.source)}"
        return
    if record.training is None:
        yield f"- A {plain(record.architecture.kind)} model, fitted once, without chance."
        return
    if record.aggregator is not None:
        yield f"- Pooling: {_listed(record.aggregator)}"
    chosen = {name: record.training[name] for name in _SETTINGS if name in record.training}
    yield f"- Settings: {_listed(chosen)}"
    yield f"- Seeds: {', '.join(str(member.seed) for member in record.members)}"
    epochs = [str(m.best_epoch + 1) for m in record.members if m.best_epoch is not None]
    if epochs:
        yield f"- Epoch kept, by the AUC in validation: {', '.join(epochs)}"
    if record.batch_norm == "batch":
        yield "- Batch normalisation uses the bag's own patches, as the original code did."


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
            else "fixed"
        )  # fmt: skip
        yield (
            f"- Positive from a probability of {threshold.value:.4f} on ({how}; rule "
            f"{plain(threshold.rule)})."
        )
    if found is None:
        yield "- No validation figures: no patients were kept apart from all of its training."
        return
    yield f"- AUC: {_figure(found.auc)}, {found.n} patients" + (
        f", {found.positives} of them {plain(record.classes[1])}"
        if found.positives is not None
        else ""
    )
    for name, title in _MEASURES.items():
        figure = getattr(found, name)
        if figure is not None:
            yield f"- {title}: {_figure(figure)}"
    if found.confusion is not None:
        counts = found.confusion
        yield (
            f"- True positives {counts['tp']}, false negatives {counts['fn']}, true negatives "
            f"{counts['tn']}, false positives {counts['fp']}"
        )
    yield (
        "- These patients chose the epoch and the threshold: the figures are optimistic, and no "
        "substitute for a test cohort."
    )


def _figure(figure: Interval) -> str:
    if figure.value is None:
        return f"not defined ({plain(figure.reason or 'no reason given')})"
    if figure.low is None or figure.high is None:
        return f"{figure.value:.3f}"
    return f"{figure.value:.3f} (95% CI {figure.low:.3f} to {figure.high:.3f})"


def _limits(record: ModelRecord) -> Iterator[str]:
    yield (
        "- Calibration: "
        + (
            "none; a probability is the model's own."
            if record.calibration is None
            else "see record."
        )
    )
    yield "- Scanner, stain and case mix of another site shift the probabilities and the threshold."
    summary = record.training_cohort
    if summary is not None and summary.patients < 200:
        yield f"- Trained on {summary.patients} patients: few."
    if len(record.members) > 1:
        yield (
            "- The spread tells how far the members disagree; a small one does not make a score "
            "right."
        )


def _digests(record: ModelRecord) -> Iterator[str]:
    yield f"- Layout of the record: {record.schema_}"
    yield "- " + ", ".join(f"{plain(name)} {plain(v)}" for name, v in record.versions.items())
    yield f"- SHA-256 of model.safetensors: `{record.weights_sha256}`"
    if record.history_sha256 is not None:
        yield f"- SHA-256 of history.csv: `{record.history_sha256}`"
    yield f"- Key of the training: {plain(record.key)}"
