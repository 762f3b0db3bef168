"""The report's plain sentences: what came out, and what it must not be taken for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from axilla.analysis.tables.performance_table import told_comparisons
from axilla.core.cohort import is_generated
from axilla.core.config import StudyConfig
from axilla.core.endpoint import class_names
from axilla.core.methods import aggregator_title, method_spec, method_title
from axilla.core.types import Cohort
from axilla.nuclei.feature_bags import FEATURES
from axilla.report.contents import Highlight
from axilla.study.clinical_telling import clinical_sentence, filled_sentences
from axilla.study.fitting import Fitting
from axilla.study.imported import Imported
from axilla.study.spread import ensemble_sentences, spread_sentences
from axilla.study.training_words import training_sentences

SHOWN_SLIDES = 20
"""Most slides that a sentence lists."""
_FIRST_WEIGHTS = {
    "none": "drawn at random",
    "imagenet": "those of ImageNet",
    "published": "those that its authors published",
}
SMALL_TEST = 100
"""Under so many test patients the report warns that intervals are wide."""


def summary_sentences(cohort: Cohort, metrics: Mapping[str, Any]) -> tuple[str, ...]:
    """What a reader in a hurry should know of the test cohort."""
    sentences = _fold_sentences(metrics)
    # In cross-validation there is no one test cohort, and the mean over repeats is an ensemble.
    folded = bool(sentences)
    whom = "patients, each scored out of fold, repeats averaged" if folded else "test patients"
    where = "out of fold" if folded else "in the test cohort"
    for method, by_cohort in metrics["methods"].items():
        entry = by_cohort.get("test")
        if entry is None:
            continue
        shown = method_title(method)
        if "auc_by_class" in entry:
            sentences.append(f"{shown}: {_classes_sentence(entry, whom)}")
            continue
        auc = entry["auc"]
        if auc["value"] is None:
            sentences.append(f"{shown}: no AUC ({auc.get('reason', 'not defined')}).")
            continue
        sentences.append(
            f"{shown}: AUC {auc['value']:.3f} (95% CI {auc['low']:.3f} to {auc['high']:.3f}) in "
            f"{entry['n']:,} {whom}; {entry['positives']:,} of them {cohort.classes[1]}."
        )
    tests = [c for c in told_comparisons(metrics) if c["cohort"] == "test"]
    for comparison in tests:
        if comparison.get("p") is not None:
            a, b = (method_title(comparison[side]) for side in "ab")
            p = comparison["p"]
            shown_p = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
            of = f" for {comparison['class']}" if "class" in comparison else ""
            sentences.append(
                f"{a} against {b}{of} {where}: difference of AUC "
                f"{_signed(comparison['difference'])}, {shown_p} (paired DeLong{_adjusted(tests)})."
            )
    return (*sentences, *spread_sentences(metrics))


def _adjusted(tests: Sequence[Mapping[str, Any]]) -> str:
    """That a p-value is one of several and stands as it is."""
    return f", one of {len(tests)} tests, not adjusted" if len(tests) > 1 else ""


def _classes_sentence(entry: Mapping[str, Any], whom: str) -> str:
    """More than two classes: the mean area and each class's, and how often the call is right."""
    auc, accuracy = entry["auc"], entry["accuracy"]
    areas = ", ".join(
        f"{name} {'not defined' if area['value'] is None else format(area['value'], '.3f')}"
        for name, area in entry["auc_by_class"].items()
    )
    mean = "is not defined"
    if auc["value"] is not None:
        mean = f"{auc['value']:.3f}"
        if auc["delong_low"] is not None:
            mean += f" (95% CI {auc['delong_low']:.3f} to {auc['delong_high']:.3f})"
    return (
        f"mean one-versus-rest AUC {mean} in {entry['n']:,} {whom}; by class: {areas}. The "
        f"likeliest class is right in {accuracy['value']:.0%} of them."
    )


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "\u2212")


def highlights(metrics: Mapping[str, Any]) -> tuple[Highlight, ...]:
    """The AUC of each method, set large: over folds where there are folds, else in test."""
    found = []
    for method, by_cohort in metrics["methods"].items():
        shown = method_title(method)
        figures = metrics.get("folds", {}).get(method)
        if figures is not None and figures["auc"]["se"] is not None:
            auc = figures["auc"]
            detail = f"mean over {auc['n']} folds, SE {auc['se']:.3f}"
            found.append(Highlight(f"AUC, {shown}", f"{auc['mean']:.3f}", detail))
        elif "test" in by_cohort and by_cohort["test"]["auc"]["value"] is not None:
            auc = by_cohort["test"]["auc"]
            detail = f"test cohort, n = {by_cohort['test']['n']}"
            exact = auc.get("low") is not None  # a mean over classes has DeLong's interval only
            low, high = ("low", "high") if exact else ("delong_low", "delong_high")
            if auc.get(low) is not None:
                detail = f"95% CI {auc[low]:.3f} to {auc[high]:.3f}; {detail}"
            found.append(Highlight(f"AUC, {shown}", f"{auc['value']:.3f}", detail))
    return tuple(found)


def method_sentences(config: StudyConfig, imported: Imported | None = None) -> tuple[str, ...]:
    """How it was done, from the settings, and from the features where they came ready."""
    found = []
    if imported is not None:
        found.append(
            f"Features of length {imported.dimension:,} came ready from files of "
            f"{' and '.join(imported.sources)}, made by "
            f"{imported.encoder or 'an encoder that the files do not name'}. Bags of "
            f"{config.bags.size} patches were drawn without replacement; instances are pooled by "
            f"{_pooling(config)}; a patient's score is the mean over the patient's bags."
        )
    elif config.uses_slides:
        found += _image_sentences(config)
    if config.uses_nuclei:
        found.append(_nuclei_sentence(config))
    if config.uses_slides:
        found += training_sentences(config.training)
    found += ensemble_sentences(config)
    if config.uses_clinical:
        found.append(clinical_sentence(config))
    return (*found, *statistics_sentences(class_names(config.endpoint)))


def statistics_sentences(classes: Sequence[str]) -> tuple[str, ...]:
    """How figures, intervals and tests are made, of an endpoint of these classes."""
    found = [
        (
            "AUC with binomial exact and DeLong intervals, methods compared by the paired DeLong "
            "test; accuracy, sensitivity and specificity with Clopper-Pearson, predictive values "
            "with logit intervals. All tests are two-sided."
        )
    ]
    if len(classes) == 2:
        found.append(
            "Calibration by intercept, slope and observed/expected with Wald intervals and the "
            "Brier score; net benefit by Vickers and Elkin with score intervals; subgroups by "
            "DeLong's unpaired test, with Holm's correction, and the likelihood-ratio test of an "
            "interaction with the score."
        )
    return tuple(found)


def _pooling(config: StudyConfig) -> str:
    """The aggregators of the study's methods, and which is the study's own where there are more."""
    named = [config.aggregator_of(name).kind for name in config.methods if method_spec(name).images]
    kinds = [aggregator_title(kind) for kind in dict.fromkeys(named)]
    if len(kinds) == 1:
        return kinds[0]
    own = aggregator_title(config.aggregator.kind)
    return f"{own}, or as the name of a method says ({', '.join(k for k in kinds if k != own)})"


def _nuclei_sentence(config: StudyConfig) -> str:
    """From patches to bags of nucleus features."""
    way = (
        "by colour deconvolution and watershed"
        if config.nuclei.classical
        else "by the nuclear network of the package"
        if config.nuclei.weights is None
        else f"by {config.nuclei.tool} with the weights {config.nuclei.weights.name}"
        if config.nuclei.tool is not None
        else f"by the nuclear network {config.nuclei.weights.name}"
    )
    return (
        f"Nuclei of the patches were found {way}; those that a patch's edge, the outline of the "
        "tumour or the slide's border cuts were not measured, and one that several patches show "
        f"counts once. Each of {len(FEATURES)} features became a histogram of {config.nuclei.bins} "
        "bins, whose edges are fixed on the training patients; a slide is a bag of these "
        "histograms, and DL-CNB was re-trained on such bags."
    )


def _image_sentences(config: StudyConfig) -> list[str]:
    """From the slides to a patient's score."""
    way = "trained end to end" if config.encoder.trainable else "frozen"
    start = _FIRST_WEIGHTS.get(config.encoder.weights, "those of a file")
    patches = (
        f"Ready patches of {config.patches.size} pixels were used as they are."
        if config.regions == "patches"
        else f"Regions ({config.regions}) were cut into patches of {config.patches.size} "
        f"pixels without overlap; patches with {config.patches.max_blank:.0%} or more white "
        "were dropped."
    )
    if not config.uses_patches:
        return [patches]
    bags = (
        f"Bags of {config.bags.size} patches were drawn without replacement."
        if config.bags.file is None
        else f"The bags are those of the file {config.bags.file.name}."
    )
    model = (
        f"The encoder is {config.encoder.name} ({way}, first weights {start}); instances are "
        f"pooled by {_pooling(config)}; a patient's score is the mean over the patient's "
        "bags, computed in evaluation mode."
    )
    found = [f"{patches} {bags} {model}"]
    if config.stain is not None:
        target = {
            "published": "a published constant", "training": "the mean of training slides",
        }.get(config.stain.target, "a reference image")  # fmt: skip
        found.append(
            f"The stain of every slide was normalised by the method of "
            f"{config.stain.method.capitalize()}, from the slide's own patches to {target}."
        )
    return found


def outline_sentences(repaired: Mapping[str, int]) -> tuple[str, ...]:
    """Which slides' outlines were repaired; `repaired` counts regions by slide."""
    found = {slide: count for slide, count in repaired.items() if count}
    if not found:
        return ()
    shown = [f"{slide} ({count})" for slide, count in list(found.items())[:SHOWN_SLIDES]]
    more = f" and {len(found) - len(shown)} more" if len(found) > len(shown) else ""
    sentence = (
        "Outlines that cross themselves were repaired, in slides (regions) "
        f"{', '.join(shown)}{more}; `axilla explain --audit` draws what was taken."
    )
    return (sentence,)


def _fold_sentences(metrics: Mapping[str, Any]) -> list[str]:
    sentences = []
    for method, figures in metrics.get("folds", {}).items():
        auc, accuracy = figures["auc"], figures["accuracy"]
        if auc["mean"] is None or auc["se"] is None:
            continue
        undefined = len(auc["undefined"])
        named = [e["held_out"] for e in figures["by_fold"] if e["auc"] is None and "held_out" in e]
        where = f"the folds of {', '.join(named)}" if named else f"{undefined} folds"
        sentences.append(
            f"{method_title(method)}, over {auc['n']} folds: mean AUC "
            f"{auc['mean']:.3f} (SE {auc['se']:.3f}), {_fold_accuracy(accuracy)}."
            + (
                f" In {where} the AUC is not defined ({auc['undefined'][0]['reason']})."
                if undefined
                else ""
            )
        )
    return sentences


def _fold_accuracy(accuracy: Mapping[str, Any]) -> str:
    """Folds that could choose no threshold have no accuracy."""
    if accuracy["se"] is None:
        return f"no mean accuracy ({accuracy['reason']})"
    told = f"mean accuracy {accuracy['mean']:.3f} (SE {accuracy['se']:.3f})"
    if accuracy["undefined"]:
        told += f" over the {accuracy['n']} folds that have one"
    return told


def _reach_sentences(fitting: Fitting, metrics: Mapping[str, Any]) -> list[str]:
    """For whom the figures hold: patients of the same table, of this endpoint, and these models."""
    found = []
    if "folds" in metrics:
        found.append(
            "Everybody was tested by models of the other folds, so that there is no one model "
            "whose figures these are; the ensemble of all folds' models was itself not tested."
        )
    elif any("test" in by for by in metrics["methods"].values()):
        found.append(
            "Training and test patients come from one table: how the models do in other hospitals "
            "is not known from this report."
        )
    return [*found, *outcome_sentences(fitting.cohort)]


def outcome_sentences(cohort: Cohort) -> tuple[str, ...]:
    """That patients were left out for what is known after surgery only; nothing where none was."""
    selected = {e.patient_id for e in cohort.excluded if e.step == "endpoint"}
    if not selected:
        return ()
    sentence = (
        f"{len(selected):,} patients are left out because of their own outcome, which nobody "
        "knows before surgery: figures of this endpoint do not hold for all patients who come "
        "for a biopsy."
    )
    return (sentence,)


def warning_sentences(fitting: Fitting, metrics: Mapping[str, Any]) -> tuple[str, ...]:
    """What stops a figure from being believed."""
    found = []
    if is_generated(fitting.config.cohort):
        found.append(
            "The cohort is generated: tissue, patients and outcome are drawn by a program."
        )
    found += _reach_sentences(fitting, metrics)
    tests = [by["test"]["n"] for by in metrics["methods"].values() if "test" in by]
    if tests and max(tests) < SMALL_TEST:
        found.append(
            f"The test cohort has {max(tests)} patients: the intervals are wide, and differences "
            "between methods may be chance."
        )
    found += filled_sentences(fitting)
    if fitting.config.threshold == "youden-per-cohort":
        found.append(
            "The threshold was chosen on each cohort itself (the paper's way): sensitivity, "
            "specificity, accuracy and predictive values are optimistic."
        )
    if isinstance(fitting.config.threshold, float) and len(fitting.cohort.classes) == 2:
        found.append(
            f"The threshold {fitting.config.threshold:g} was fixed beforehand, not chosen on "
            "patients: it has no clinical meaning unless the probabilities are calibrated."
        )
    if fitting.stains is not None and fitting.stains.kept:
        kept = fitting.stains.kept
        found.append(
            f"The stain of {len(kept)} slide{'s' if len(kept) != 1 else ''} could not be "
            f"estimated, so that the colours are those of the file: {', '.join(kept)}."
        )
    bare = () if fitting.imported is None else fitting.imported.without_coords
    if bare:
        found.append(
            f"The features of {len(bare)} slides come without coordinates of their patches: no "
            "heat map can be drawn of them."
        )
    excluded = [e for e in fitting.cohort.excluded if e.step != "endpoint"]
    if excluded:
        found.append(
            f"{len({e.patient_id for e in excluded})} patients left the study because of their "
            "inputs; the flow diagram names them."
        )
    return tuple(found)
