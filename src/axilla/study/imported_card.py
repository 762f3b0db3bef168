"""What the card says of a model that was trained elsewhere: mostly what is not known of it."""

from __future__ import annotations

from collections.abc import Iterator

from axilla.core.encoder_names import WITHOUT_BATCH_NORM
from axilla.core.store import ModelRecord
from axilla.study.card_words import listed, plain


def imported_what() -> Iterator[str]:
    """Where it comes from, and who named its endpoint."""
    yield (
        "- The weights are an imported checkpoint of the original code, trained elsewhere. A "
        "checkpoint does not say its endpoint: it was named at the import, or taken from the "
        "number of classes."
    )


def imported_cohort(_: ModelRecord) -> Iterator[str]:
    """Nobody is known."""
    yield (
        "- Not known: a checkpoint names no patients. The authors trained theirs on patients of "
        "BCNB. Figures measured on patients who trained it, or by whom its epoch was chosen, say "
        "nothing about new ones."
    )


def imported_input(record: ModelRecord) -> Iterator[str]:
    """The encoder with its licence, and what the import assumes of the patches."""
    if record.encoder is not None:
        yield (
            f"- Encoder: {plain(record.encoder.name)}, trained elsewhere, part of this bundle; the "
            "weights it began with are not known."
        )
    yield "- Licence of these weights: not known; ask those from whom the checkpoint comes."
    if record.patches:
        yield f"- Patches: {listed(record.patches)}"
    if record.bags:
        yield f"- Bags: {listed(record.bags)}"
    yield (
        "- Patches and bags are taken to be as in the paper; a checkpoint does not say how it was "
        "trained."
    )
    if record.clinical is not None:
        yield from _clinical(record)


def _clinical(record: ModelRecord) -> Iterator[str]:
    clinical = record.clinical or {}
    columns = [*clinical.get("numeric", ()), *clinical.get("statuses", ())]
    yield f"- Clinical data: {', '.join(map(plain, columns))}; a missing value is an error."
    numbers = zip(
        clinical.get("numeric", ()),
        clinical.get("means", ()),
        clinical.get("sds", ()),
        strict=False,
    )
    shown = "; ".join(f"{plain(n)} mean {mean:.4g}, SD {sd:.4g}" for n, mean, sd in numbers)
    yield (
        f"- Numbers are standardised as the authors did for this endpoint ({shown}); for a "
        "checkpoint that was trained with other figures the probabilities are wrong."
    )


def imported_training(record: ModelRecord) -> Iterator[str]:
    """The file, and whose statistics BatchNorm takes."""
    source = record.source or {}
    yield (
        f"- Trained elsewhere; imported from the file {plain(source.get('file'))}, SHA-256 "
        f"`{plain(source.get('sha256'))}`, as task {plain(source.get('task'))} of the authors."
    )
    yield "- Settings, seed, number of epochs and what chose the epoch are not known."
    if record.encoder is not None and record.encoder.name in WITHOUT_BATCH_NORM:
        return
    yield (
        "- Batch normalisation uses the bag's own patches (batch), as the original code did at "
        "test time: a patch's feature depends on the patches that it is drawn with."
        if record.batch_norm == "batch"
        else "- Batch normalisation uses the statistics that the checkpoint holds (running): a "
        "patch's feature depends on no other patch. The original code went on updating them in "
        "validation and test, so that they are mostly those of the last test bags before the "
        "weights were saved, not of the training patients; its own scores are those of batch."
    )


def imported_validation(record: ModelRecord) -> Iterator[str]:
    """A threshold that no cohort is known to have chosen, and no figures."""
    if record.threshold.value is None:
        yield "- No threshold is locked: the likeliest class is called."
    else:
        yield (
            f"- Positive from a probability of {record.threshold.value:.4f} on, the original "
            "code's own rule. No cohort chose this threshold, and on none was it tested: choose "
            "one on patients with known outcome before using it."
        )
    yield (
        "- No validation figures: it is not known which patients trained the model, chose its "
        "epoch, or were kept apart. Nothing here tells how good it is; measure it on patients of "
        "your own."
    )


def imported_digests(record: ModelRecord) -> Iterator[str]:
    """Versions of the importing machine, called so."""
    yield f"- Layout of the record: {record.schema_}"
    found = ", ".join(f"{plain(name)} {plain(v)}" for name, v in record.versions.items())
    yield f"- Imported with {found}; the versions that trained it are not known."
    yield f"- SHA-256 of model.safetensors: `{record.weights_sha256}`"
    yield f"- Key of the import: {plain(record.key)}"
