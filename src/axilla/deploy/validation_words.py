"""What an external validation says in sentences; never that anything was trained here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from axilla.analysis.sample_size import Assumed, patients_needed
from axilla.analysis.tables.printed import format_number
from axilla.core.cohort import is_generated
from axilla.core.errors import StatisticsError
from axilla.core.methods import method_spec, method_title
from axilla.core.store.model_record import SMALLEST_GROUP, SMALLEST_RANGE
from axilla.core.types import COHORT_TITLES, Patient
from axilla.deploy.cohort_difference import Summary
from axilla.deploy.feature_distance import FeatureDistances
from axilla.deploy.recalibrated import AS_IT_COMES, HERE, Versions, moved, told_correction
from axilla.deploy.samples import ShareSample
from axilla.mil.bundle import Bundle
from axilla.mil.clinical import Preprocessor
from axilla.report.contents import Highlight
from axilla.study.clinical_telling import told_cells
from axilla.study.fitting import Fitting
from axilla.study.summary import statistics_sentences
from axilla.study.wording import Wording

TITLE = "External validation"
EXTERNAL = Wording(
    titles={**COHORT_TITLES, "test": TITLE},
    tested="the external cohort",
    threshold="locked in the model before it saw these patients",
    groups_counted="",
    points_caption="Operating points, as the model brings them",
    points_note="Thresholds come with the model, or are fixed; none was chosen on these patients.",
    points_told=(
        "The threshold was locked in the model's own study and is applied unchanged. What its rule "
        "asked for, such as an NPV of 95%, was met there; here it need not be."
    ),
)
MPP_RATIO = 1.1
"""Scanners of one magnification differ by less."""
WANTED_WIDTH = 0.1
LEAST_EVENTS = 100
"""Patients with, and patients without the outcome that an external validation should have."""
FAR_EXPECTED = 0.05
BEYOND_MORE = 0.03
"""So much larger a share than in training lies outside the trained range, where it is told."""


def summary(
    bundle: Bundle, entry: Mapping[str, Any], sample: int, versions: Versions | None
) -> tuple[str, ...]:
    """What a reader in a hurry should know."""
    record = bundle.record
    of = f" of the study {record['study']!r}" if record.get("study") else ""
    kept = (
        f" {sample:,} further patients served to recalibrate and are measured nowhere."
        if sample
        else ""
    )
    found = [
        (
            f"{method_title(bundle.method)}{of} was applied as it is to {entry['n']:,} patients of "
            f"another cohort.{kept} Nothing was trained and no threshold was chosen here."
        )
    ]
    auc = entry["auc"]
    if auc["value"] is None:
        return (*found, f"There is no AUC: {auc.get('reason', 'not defined')}.")
    if "auc_by_class" in entry:
        areas = ", ".join(
            f"{name} {'not defined' if a['value'] is None else format(a['value'], '.3f')}"
            for name, a in entry["auc_by_class"].items()
        )
        found.append(f"Mean one-versus-rest AUC {auc['value']:.3f}; by class: {areas}.")
        return tuple(found)
    found.append(
        f"AUC {auc['value']:.3f} (95% CI {auc['low']:.3f} to {auc['high']:.3f}, binomial exact"
        + _delong(auc) + f"){_own_auc(record)}."
    )  # fmt: skip
    if entry["threshold"] is not None:
        shares = [
            f"{name} {_percent(entry[key])}"
            for key, name in (
                ("sensitivity", "sensitivity"), ("specificity", "specificity"), ("npv", "NPV"),
            )
        ]  # fmt: skip
        found.append(
            f"At the threshold {entry['threshold']:.3f}, locked in the model: {', '.join(shares)}."
        )
    found += _calibrated(entry["calibration"])
    if versions is not None and versions.correction is not None:
        found.append(
            f"Recalibrated on the sample ({versions.correction.method}, "
            f"n = {versions.correction.n}): see 'Recalibration' for before and after."
        )
    return tuple(found)


def _delong(auc: Mapping[str, Any]) -> str:
    if auc.get("delong_low") is None:
        return ""
    return f"; DeLong {auc['delong_low']:.3f} to {auc['delong_high']:.3f}"


def _own_auc(record: Mapping[str, Any]) -> str:
    own = record.get("validation")
    if own is None or own["auc"]["value"] is None:
        return ""
    auc = own["auc"]["value"]
    return f"; on the {own['n']:,} validation patients of its own study it was {auc:.3f}"


def _percent(entry: Mapping[str, Any]) -> str:
    if entry["value"] is None:
        return "not defined"
    if entry["low"] is None:
        return f"{entry['value']:.1%}"
    return f"{entry['value']:.1%} ({entry['low']:.1%} to {entry['high']:.1%})"


def _calibrated(entry: Mapping[str, Any]) -> Iterator[str]:
    ratio, slope = entry["observed_expected"], entry["slope"]
    if ratio["value"] is None or ratio["low"] is None:
        return
    observed = entry["positives"]
    told = (
        f"The model's probabilities expect {observed / ratio['value']:.0f} positive patients, and "
        f"{observed} are (observed/expected {ratio['value']:.2f}, 95% CI {ratio['low']:.2f} to "
        f"{ratio['high']:.2f})"
    )
    if slope["value"] is not None and slope["low"] is not None:
        told += (
            "; calibration slope "
            f"{_number(slope['value'])} ({_number(slope['low'])} to {_number(slope['high'])})"
        )
    yield told + "."


def _number(value: float) -> str:
    return format_number(value, 2)


def highlights(entry: Mapping[str, Any]) -> tuple[Highlight, ...]:
    """The figures set large."""
    auc, found = entry["auc"], []
    if auc["value"] is not None:
        exact = auc.get("low") is not None
        low, high = (auc["low"], auc["high"]) if exact else (auc["delong_low"], auc["delong_high"])
        bounds = "" if low is None else f"95% CI {low:.3f} to {high:.3f}; "
        found.append(Highlight("AUC", f"{auc['value']:.3f}", f"{bounds}n = {entry['n']}"))
    if entry.get("threshold") is not None:
        for key, name in (("sensitivity", "Sensitivity"), ("npv", "NPV")):
            if entry[key]["value"] is not None and entry[key]["low"] is not None:
                detail = (
                    f"95% CI {entry[key]['low']:.1%} to {entry[key]['high']:.1%}; locked threshold"
                )
                found.append(Highlight(name, f"{entry[key]['value']:.1%}", detail))
    return tuple(found)


def size_sentences(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """How wide the AUC's interval came out, and how many patients would make it narrow."""
    auc = entry["auc"]
    if auc["value"] is None or auc.get("delong_low") is None or "positives" not in entry:
        return ()
    width = auc["delong_high"] - auc["delong_low"]
    share = entry["positives"] / entry["n"]
    told = (
        f"The AUC's 95% interval (DeLong) is {width:.3f} wide with {entry['n']:,} patients, "
        f"{entry['positives']:,} of them positive."
    )
    found = []
    if width > WANTED_WIDTH and 0.5 < auc["value"] < 1:
        try:
            needed = patients_needed(
                "auc", Assumed(auc=auc["value"], prevalence=share), width=WANTED_WIDTH
            )
            told += (
                f" For a width of {WANTED_WIDTH:g} at this AUC and this share of positive patients "
                f"some {needed:,} would be needed (Riley 2021, as `axilla sample-size` plans)."
            )
        except StatisticsError:
            pass  # a width that no number of patients gives: nothing is to be said of it
    found.append(told)
    rarer = min(entry["positives"], entry["n"] - entry["positives"])
    if rarer < LEAST_EVENTS:
        found.append(
            f"The rarer class has {rarer} patients; {LEAST_EVENTS} of each are commonly asked of "
            "an external validation (Collins 2016, doi:10.1002/sim.6787): calibration above all "
            "is uncertain with fewer."
        )
    return tuple(found)


def warnings(
    bundle: Bundle,
    fitting: Fitting,
    entry: Mapping[str, Any],
    patients: Sequence[Patient],
    *,
    told: Sequence[str],
    training: Summary | None,
    here: Summary | None,
    distances: FeatureDistances | None,
) -> tuple[str, ...]:
    """What stops a figure from being believed, or has to be known before it is passed on."""
    found = []
    if is_generated(fitting.config.cohort):
        found.append(
            "The cohort is generated: tissue, patients and outcome are drawn by a program."
        )
    found.append(
        "Whether somebody here was a training patient of the model cannot be told: its folder "
        "holds nobody's row. Patients whom both places treated have to be taken out by hand; with "
        "them the figures look better than they are."
    )
    selected = {e.patient_id for e in fitting.cohort.excluded if e.step == "endpoint"}
    if selected:
        found.append(
            f"{len(selected):,} patients are left out because of their own outcome, which nobody "
            "knows before surgery: figures of this endpoint do not hold for all patients who come "
            "for a biopsy."
        )
    others = {e.patient_id for e in fitting.cohort.excluded} - selected
    if others:
        found.append(
            f"{len(others):,} patients left because of their inputs; the flow diagram names them."
        )
    found += size_sentences(entry)
    found += told
    found += _clinical(bundle, patients)
    found += _outlines(bundle, fitting, patients)
    found += _scales(fitting, training, here)
    found += _far(distances, bundle)
    if fitting.stains is not None and fitting.stains.kept:
        found.append(
            f"The stain of {len(fitting.stains.kept)} slides could not be estimated, so that they "
            f"keep their colours: {', '.join(fitting.stains.kept)}."
        )
    if bundle.record.get("generated"):
        found.append("The model was trained on a generated cohort: no patient stands behind it.")
    if bundle.record.get("source") is not None:
        found.append(
            "The model is an imported checkpoint: its folder tells nothing of its training cohort, "
            "and its threshold was chosen on nobody."
        )
    return tuple(found)


def _clinical(bundle: Bundle, patients: Sequence[Patient]) -> Iterator[str]:
    """Values that the model had to fill in, and numbers outside those it was trained on."""
    reads = bundle.members[0].reads
    if not isinstance(reads, Preprocessor):
        return
    yield from told_cells(reads.filled(patients), side=TITLE)
    # Of the training patients themselves about five at either end lie beyond the mean of ten.
    trained = (bundle.record.get("training_cohort") or {}).get("patients", SMALLEST_RANGE)
    usual = 0.02 if reads.centiles else SMALLEST_GROUP / trained
    for column, limits in zip(reads.numeric, reads.ranges, strict=False):
        if limits is None:
            continue
        known = [float(v) for p in patients if (v := p.clinical[column]) is not None]
        beyond = sum(not limits[0] <= value <= limits[1] for value in known)
        if known and beyond / len(known) > usual + BEYOND_MORE:
            yield (
                f"`{column}` of {beyond} of {len(known)} patients lies outside {limits[0]:.4g} to "
                f"{limits[1]:.4g} ({reads.ends} these): the model knows little of such patients."
            )


def _outlines(bundle: Bundle, fitting: Fitting, patients: Sequence[Patient]) -> Iterator[str]:
    """Slides without an outline, where the model learned from outlined tumour alone."""
    regions = fitting.config.regions
    if bundle.record.get("outlined") != "all" or regions not in {"auto", "tissue"}:
        return
    slides = [slide for patient in patients for slide in patient.slides]
    bare = sum(slide.annotation is None or regions == "tissue" for slide in slides)
    if bare:
        yield (
            f"The model learned from outlined tumour; of {bare} of {len(slides)} slides here it "
            "looks at all tissue, as they are not outlined or `regions: tissue` was set."
        )


def _scales(fitting: Fitting, training: Summary | None, here: Summary | None) -> Iterator[str]:
    """Slides of another scale than the training's, or one that cannot be told."""
    if training is None or here is None or fitting.config.patches.mpp is not None:
        return  # cut at the scale that the model asks for
    own, theirs = here.get("slide_mpp"), training.get("slide_mpp")
    if own is None or theirs is None:
        return
    unknown = [name for name, one in (("here", own), ("of training", theirs))
               if one["median"] is None]  # fmt: skip
    if unknown:
        yield (
            f"The µm per pixel of the slides {' and '.join(unknown)} is not known, and patches are "
            "cut at the slides' own resolution: whether the model sees tissue at the magnification "
            "it learned from cannot be told."
        )
        return
    low = theirs["low"] if theirs["low"] is not None else theirs["median"]
    high = theirs["high"] if theirs["high"] is not None else theirs["median"]
    if not low / MPP_RATIO <= own["median"] <= high * MPP_RATIO:
        yield (
            f"The slides have {own['median']:.3f} µm per pixel in the middle, those of training "
            f"{theirs['median']:.3f}, and patches are cut at the slides' own resolution: the model "
            "sees tissue at another magnification than it learned from."
        )


def _far(distances: FeatureDistances | None, bundle: Bundle) -> Iterator[str]:
    if distances is None:
        if bundle.network is not None:
            why = (bundle.record.get("reference") or {}).get("reason")
            yield (
                "Whether the slides look like those of training cannot be told: "
                f"{why or 'the model does not hold what they would be compared with'}."
            )
        return
    share = distances.far()
    if share.low > FAR_EXPECTED:
        yield (
            f"{share.value:.0%} of the patients (95% CI {share.low:.0%} to {share.high:.0%}) lie "
            "beyond the training cohort's 0.95 quantile in their features, where 5% would be "
            "expected: stain, scanner or tissue differ from what the model learned from."
        )


def recalibration_paragraphs(versions: Versions) -> tuple[str, ...]:
    """Who the corrections were fitted on, what they are, and what they do not touch."""
    found = []
    if versions.bundled is not None:
        one = versions.bundled
        found.append(
            f"The model brings a recalibration of its own ({one.method}, on {one.n:,} validation "
            f"patients of its study, {one.positives:,} positive): {told_correction(one)}."
        )
    if versions.correction is not None and versions.asked is not None:
        one, sample = versions.correction, versions.asked.sample
        drawn = "" if isinstance(sample, ShareSample) else ", as this validation was told"
        found.append(
            f"'{HERE}' was fitted by {one.method} on {one.n:,} patients of this cohort, "
            f"{one.positives:,} of them positive: {sample}{drawn}. They are measured nowhere in "
            f"this report, neither before nor after. The correction: {told_correction(one)}; a "
            f"probability of {moved(one)}. It is for patients of this place."
        )
    found.append(
        "A recalibration keeps the order of the patients: the AUC stays, and so does who is called "
        "positive, as the locked threshold is one of the model's own probability. What changes is "
        "how a probability may be read as a risk, and with it the decision curve."
    )
    found += _gained(versions)
    return tuple(found)


def _gained(versions: Versions) -> Iterator[str]:
    """Whether the probabilities came nearer to what happened, on the patients who were measured."""
    scores = {
        name: float(((frame["score"] - frame["label"]) ** 2).mean())
        for name, frame in versions.frames.items()
    }
    before = scores.pop(AS_IT_COMES)
    for name, after in scores.items():
        better = after < before
        yield (
            f"'{name}': the measured patients' Brier score is {after:.3f}, after {before:.3f} as "
            f"the model comes; it is {'better' if better else 'no better'}, so that "
            + ("the correction helps here, as far as these patients can tell." if better
               else "these patients give no reason to use the correction.")
        )  # fmt: skip


def methods(bundle: Bundle, *, sample: bool) -> tuple[str, ...]:
    """How it was done, for a reviewer."""
    record, spec = bundle.record, method_spec(bundle.method)
    how = []
    if spec.images:
        encoder = record["encoder"]
        name = encoder.get("name") or "an encoder that is not named"
        how.append(
            "features made elsewhere by " + name if encoder.get("imported")
            else f"patches of {record['patches']['size']} pixels by the encoder {name}"
        )  # fmt: skip
        if record.get("stain"):
            how.append(f"the stain normalised to the model's target ({record['stain']['method']})")
        how.append(f"bags of {record['bags']['size']} patches, a score the mean over bags")
    if spec.clinical:
        how.append("clinical data standardised and coded as the model's own preprocessor does")
    many = f" of {len(bundle.members)} members" if len(bundle.members) > 1 else ""
    first = (
        f"The model is {method_title(bundle.method)}{many}, read from its folder: "
        f"{'; '.join(how)}. Its weights, preprocessing and threshold were not changed."
    )
    left = (
        "Left out on purpose: a TRIPOD+AI checklist, whose answers on development belong to the "
        "study that trained the model; its items on evaluation are answered by the sections above."
    )
    chosen = ["The sample for recalibration was set aside before anything was measured."]
    return (first, *(chosen if sample else ()), *statistics_sentences(bundle.classes), left)
