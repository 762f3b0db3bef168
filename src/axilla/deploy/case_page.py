"""The sentences, tables and pictures of a case's page, from its record and its maps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from axilla.core.methods import method_title
from axilla.deploy.case_maps import HeatMap, SlideMaps
from axilla.deploy.case_record import CaseRecord, Measure
from axilla.report.case_html import (
    Bar,
    CasePage,
    Gauge,
    MapPicture,
    PatchPicture,
    SlidePictures,
)
from axilla.report.contents import Table

_ATTENTION = (
    "Attention shows which patches weighed most in the number. It is no evidence of metastasis, "
    "and what it marks need not be tumour. "
)
_CONTRIBUTION = (
    "A patch's contribution is by how much the log-odds of {positive} fall when it is left out: "
    "brown speaks for {positive}, teal against it."
)
_PARTS = (
    "In log-odds of {positive}, from the share of {positive} training patients to this number. "
    "Image: these slides with the clinical values of a reference patient (the training patients' "
    "means and most frequent categories). Clinical: the patient's values in place of the "
    "reference's. A single value is replaced alone; these do not add up."
)
_RULES = {
    "youden-validation": "Youden's index on validation",
    "youden-per-cohort": "Youden's index",
}


def page_of(record: CaseRecord, maps: Sequence[SlideMaps]) -> CasePage:
    """All that the page says."""
    classes = record.model.classes
    binary = len(classes) == 2
    best = max(record.probability, key=lambda name: record.probability[name])
    return CasePage(
        patient_id=record.patient_id,
        endpoint=" against ".join(classes),
        model=f"{method_title(record.model.method)} of the study {record.model.study}".strip(),
        generated=record.model.generated,
        severe=tuple(_plain_text(w.sentence) for w in record.warnings if w.severe),
        cautions=tuple(_plain_text(w.sentence) for w in record.warnings if not w.severe),
        number=f"{record.probability[classes[1]]:.3f}" if binary else best,
        number_label=f"Probability of {classes[1]}" if binary else "Likeliest class",
        number_detail=_detail(record) if binary else f"probability {record.probability[best]:.3f}",
        gauge=_gauge(record) if binary else None,
        sentences=tuple(_sentences(record)),
        classes=None if binary else _classes(record),
        validation=_validation(record),
        bars=tuple(_bars(record)),
        bars_note=_bars_note(record),
        slides=tuple(_slide(record, own) for own in maps),
        maps_note=_maps_note(record, maps),
        clinical=_clinical(record),
        facts=tuple(_facts(record)),
        notes=tuple(map(_plain_text, record.notes)),
        written=record.model.axilla,
    )


def _plain_text(text: str) -> str:
    """Without the marks about names of columns, which are for a terminal."""
    return text.replace("`", "")


def _detail(record: CaseRecord) -> str:
    if record.call is None:
        return "no threshold is locked"
    return f"called {record.call.called} at the threshold {record.call.threshold:.3f}"


def _gauge(record: CaseRecord) -> Gauge:
    positive = record.model.classes[1]
    point = record.probability[positive]
    ends, call = record.range, record.call
    alt = f"Probability of {positive}: {point:.3f} on a line from 0 to 1"
    if ends is not None:
        alt += f", range {ends.low:.3f} to {ends.high:.3f}"
    if call is not None:
        alt += f", threshold {call.threshold:.3f}"
    return Gauge(
        point=point,
        low=None if ends is None else ends.low,
        high=None if ends is None else ends.high,
        threshold=None if call is None else call.threshold,
        alt=alt,
    )


def _sentences(record: CaseRecord) -> Iterator[str]:
    ends, members = record.range, record.model.members
    if ends is not None:
        over = [f"{ends.redraws} other draws of bags"] if ends.redraws else []
        over += [f"{members} members"] if members > 1 else []
        yield (
            f"Over {' and '.join(over)} it lies between {ends.low:.3f} and {ends.high:.3f}: a "
            f"{ends.name}."
        )
    if record.spread is not None:
        yield f"Standard deviation over the {members} members: {record.spread:.3f}."
    fitted = record.calibrated
    if fitted is not None:
        lies = "" if fitted.low is None else f" ({fitted.low:.3f} to {fitted.high:.3f})"
        yield (
            f"Calibrated risk: {fitted.probability:.3f}{lies}, recalibrated by {fitted.method} on "
            f"{fitted.n} {fitted.fitted_on} patients. It holds where metastasis is as frequent as "
            "among them."
        )
    elif len(record.model.classes) == 2:
        yield (
            "There is no calibrated risk: the model holds no recalibration, so that its "
            f"probability is its own output, and no patient's risk. {record.reasons['calibrated']}"
        )
    if record.stability is not None and record.call is not None:
        stable = record.stability
        yield (
            f"{stable.same:.0%} of {stable.redraws} redraws of bags give {record.call.called} as "
            "well"
            + (
                f"; of redraws and members taken singly, {stable.same_by_member:.0%}."
                if members > 1
                else "."
            )
        )
    if len(record.model.classes) > 2:
        yield (
            "With more than two classes there is no threshold, no range and no calibrated risk: "
            "the likeliest class is named."
        )
    else:
        yield from _missing(record)


_MISSING = {
    "range": "There is no range about it.",
    "call": "No class is called.",
    "call.validation": "There are no validation figures of the threshold.",
}
"""What a reader would look for; that there is one member only stands among the facts."""


def _missing(record: CaseRecord) -> Iterator[str]:
    """What is not told of a model of two classes, and why."""
    for name, sentence in _MISSING.items():
        if name in record.reasons:
            yield f"{sentence} {record.reasons[name]}"
    parts = record.log_odds
    if parts is not None and parts.reason is not None:
        yield _not_apart(parts.reason)


def _not_apart(reason: str) -> str:
    return f"Image and clinical values cannot be told apart: {reason}."


def _classes(record: CaseRecord) -> Table:
    return Table(
        title="Probability of each class",
        columns=("Class", "Probability"),
        rows=tuple((name, f"{value:.3f}") for name, value in record.probability.items()),
        number_columns=(1,),
    )


def _validation(record: CaseRecord) -> Table | None:
    if record.call is None or record.call.validation is None:
        return None
    told, classes = record.call.validation, record.model.classes
    positives = "" if told.positives is None else f", {told.positives} of them {classes[1]}"
    rule = record.call.rule
    named = _RULES.get(str(rule), "") or ", ".join(
        [f"{name} of {value:g}" for name, value in rule.items()]
        if isinstance(rule, dict)
        else [f"fixed at {rule}"]
    )
    note = (
        f"These patients chose the threshold ({named}), so the figures are optimistic."
        if told.chose_threshold
        else f"The threshold was {named}; these patients chose the model's epoch."
    )
    rows = [
        (title, _shown(measure))
        for title, measure in (
            (f"Sensitivity: {classes[1]} called so", told.sensitivity),
            (f"Specificity: {classes[0]} called so", told.specificity),
            (f"PPV: called {classes[1]}, is so", told.ppv),
            (f"NPV: called {classes[0]}, is so", told.npv),
        )
    ]
    notes = [f"{told.n} validation patients of the study{positives}. {note}"]
    if any(_NO_INTERVAL in shown for _, shown in rows):
        notes.append(
            "Where no interval could be computed, the figure alone says little: "
            "1.000 of a few patients is no certainty."
        )
    return Table(
        title=f"What the threshold {record.call.threshold:.3f} meant on validation",
        columns=("Measure", "Value [95% CI]"),
        rows=tuple(rows),
        notes=tuple(notes),
        number_columns=(1,),
    )


_NO_INTERVAL = "no interval"


def _shown(measure: Measure | None) -> str:
    if measure is None or measure.value is None:
        return "–"
    if measure.low is None or measure.high is None:
        return f"{measure.value:.3f} [{_NO_INTERVAL}]"
    return f"{measure.value:.3f} [{measure.low:.3f}, {measure.high:.3f}]"


def _bars(record: CaseRecord) -> Iterator[Bar]:
    parts = record.log_odds
    if parts is None or (parts.image is None and parts.clinical is None):
        return
    shown = [
        (name, value, False)
        for name, value in (
            ("Training patients", parts.prevalence), ("Image", parts.image),
            ("Clinical", parts.clinical),
        )
        if value is not None
    ]  # fmt: skip
    shown += [(name, value, True) for name, value in parts.columns.items()]
    most = max(abs(value) for _, value, _ in shown) or 1.0
    for name, value, minor in shown:
        yield Bar(name, f"{value:+.2f}", value / most, minor)


def _bars_note(record: CaseRecord) -> str:
    if record.log_odds is None:
        return ""
    return _PARTS.format(positive=record.model.classes[1])


def _slide(record: CaseRecord, own: SlideMaps) -> SlidePictures:
    facts = next(s for s in record.slides if s.slide_id == own.slide.slide_id)
    told = [f"{facts.patches:,} patches looked at"]
    if facts.dropped is not None:
        told.append(f"{facts.dropped:,} too white")
    told.append("µm per pixel not known" if facts.mpp is None else f"{facts.mpp:.3g} µm per pixel")
    told.append("no outline" if facts.annotation is None else f"outline {facts.annotation}")
    return SlidePictures(
        slide_id=facts.slide_id,
        detail=" · ".join(told),
        maps=tuple(_map(record, found) for found in own.maps),
        patches=tuple(
            PatchPicture(
                jpeg=patch.jpeg,
                alt=f"Patch at {patch.x}, {patch.y} of {patch.image}",
                caption=f"{patch.attention:.2f}"
                + ("" if patch.contribution is None else f" / {patch.contribution:+.2f}"),
            )
            for patch in own.top
            if patch.jpeg
        ),
    )


def _map(record: CaseRecord, found: HeatMap) -> MapPicture:
    attention = found.name == "attention"
    return MapPicture(
        title="Attention" if attention else "Contribution",
        jpeg=found.jpeg,
        alt=f"{'Attention' if attention else 'Contribution'} of each patch over the slide",
        width=found.width,
        height=found.height,
        bar_text="" if found.bar is None else found.bar.text,
        bar_percent=0.0 if found.bar is None else 100 * found.bar.share,
        ramp=found.ramp,
        low=f"{found.low:.2f}" if attention else f"{found.low:+.2f}",
        high=f"{found.high:.2f}" if attention else f"{found.high:+.2f}",
        caption="Rank within the slide: 1 = the slide's most; no evidence."
        if found.ranked
        else "1 = as if all patches weighed the same; no evidence."
        if attention
        else f"To the log-odds of {record.model.classes[-1]}: with the patch, less without it.",
    )


def _maps_note(record: CaseRecord, maps: Sequence[SlideMaps]) -> str:
    if not maps:
        return ""
    told = _ATTENTION
    if any(len(own.maps) > 1 for own in maps):
        told += _CONTRIBUTION.format(positive=record.model.classes[-1])
    if any(patch.jpeg for own in maps for patch in own.top):
        told += " Patches: the most attention first, with their attention / contribution."
    return told


def _clinical(record: CaseRecord) -> Table | None:
    if not record.clinical:
        return None
    rows = []
    for name, own in record.clinical.items():
        unit = f" {own.unit}" if own.unit else ""
        given = "not given" if own.value is None else f"{_plain(own.value)}{unit}"
        used = "unknown" if own.used is None else f"{_plain(own.used)}{unit}"
        rows.append((name, given, "as given" if own.used == own.value else used))
    return Table("Clinical values", ("Column", "Given", "Taken as"), tuple(rows), listed=True)


def _plain(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"


def _facts(record: CaseRecord) -> Iterator[tuple[str, str]]:
    model = record.model
    yield "Study", model.study or "not named"
    yield "Method", method_title(model.method)
    if model.encoder is not None:
        yield "Encoder", model.encoder
    yield "Members", str(model.members)
    yield "Weights", f"SHA-256 {model.weights_sha256[:16]}…"
    yield "Asked by", f"axilla {model.axilla}"
