"""What a study knows of each item of TRIPOD+AI.

Nothing is claimed that the study did not do: an item without an answer here is left whole to the
authors, and an answer tells only what settings, cohort and figures hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from axilla import __version__
from axilla.core.cohort import is_generated
from axilla.core.config import ColumnSplit, StudyConfig
from axilla.core.methods import method_title
from axilla.core.types import COHORT_TITLES
from axilla.study.clinical_telling import clinical_sentence, filled_sentences
from axilla.study.fitting import Fitting
from axilla.study.flow import class_mix
from axilla.study.report_figures import rule_text
from axilla.study.split_sentences import split_sentences
from axilla.study.summary import method_sentences
from axilla.study.training_words import training_sentences

TO_WRITE = "For the authors to write."
COMPLETE = "–"
"""Where the study tells all that an item asks for."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the study knows of an item."""

    known: str
    rest: str = COMPLETE
    """What is left to the authors."""


@dataclass(frozen=True, slots=True, eq=False)
class StudyFacts:
    """What answers are made from."""

    fitting: Fitting
    metrics: Mapping[str, Any]

    @property
    def config(self) -> StudyConfig:
        """The study."""
        return self.fitting.config

    @property
    def folded(self) -> bool:
        """Whether everybody is tested in some fold."""
        return len(self.fitting.partitions) > 1


def answer_to(number: str, facts: StudyFacts) -> Answer:
    """What the study says to an item; nothing where it knows nothing of it."""
    if number in _ALWAYS:
        return _ALWAYS[number]
    return _ANSWERS[number](facts) if number in _ANSWERS else Answer("", TO_WRITE)


def _endpoint(facts: StudyFacts) -> str:
    classes = " against ".join(facts.fitting.cohort.classes)
    endpoint = facts.config.endpoint
    if isinstance(endpoint, str):
        return f"axillary lymph node status, {classes}"
    return f"the column `{endpoint.column}`, {classes}"


def _title(facts: StudyFacts) -> Answer:
    read = "biopsy slides" if facts.config.uses_slides else "clinical data"
    if facts.config.uses_slides and facts.config.uses_clinical:
        read += " and clinical data"
    return Answer(
        f"Development and internal evaluation of a prediction model from {read}; outcome: "
        f"{_endpoint(facts)}. Name of the study: {facts.config.name}.",
        "The title itself, with the patients meant.",
    )


def _objectives(facts: StudyFacts) -> Answer:
    methods = ", ".join(map(method_title, facts.config.methods))
    return Answer(
        f"Development, and evaluation on patients of the same table: {methods}.",
        "The objectives in the authors' words.",
    )


def _source(facts: StudyFacts) -> Answer:
    config = facts.config
    if is_generated(config.cohort):
        return Answer(
            f"A generated cohort ({config.cohort.name}): no patients.",
            "Generated data are no source for a report of a model for patients.",
        )
    return Answer(
        f"One table, {config.cohort.name}, {facts.fitting.cohort.enrolled:,} patients, for "
        "development and evaluation both.",
        "Where the table comes from, why these data, how typical they are.",
    )


def _eligibility(facts: StudyFacts) -> Answer:
    cohort = facts.fitting.cohort
    outside = [e for e in cohort.excluded if e.step == "endpoint"]
    failed = {e.patient_id for e in cohort.excluded if e.step != "endpoint"}
    known = (
        f"Of {cohort.enrolled:,} patients in the table, {len({e.patient_id for e in outside}):,} "
        f"are outside the endpoint and {len(failed):,} left because of their inputs; the flow "
        "diagram gives each reason."
    )
    return Answer(known, "Who came into the table, and who did not.")


def _preparation(facts: StudyFacts) -> Answer:
    config = facts.config
    checked = "The table was checked for unclear, missing and contradictory values"
    if config.uses_slides and config.imported is None:
        checked += ", every slide opened, every annotation read, and copied slides looked for"
    checked += "; all problems were told before anything was computed."
    return Answer(
        " ".join([checked, *_prepared(config)]), "Checks before the table; groups of people."
    )


def _prepared(config: StudyConfig) -> list[str]:
    if not config.uses_slides or config.imported is not None:
        return []
    found = [f"Patches of {config.patches.size} pixels were cut from regions ({config.regions})."]
    if config.stain is not None:
        found.append(f"The stain was normalised ({config.stain.method}).")
    return found


def _outcome(facts: StudyFacts) -> Answer:
    cohort, endpoint = facts.fitting.cohort, facts.config.endpoint
    made = (
        "from the number of positive lymph nodes or the written node status of the table"
        if isinstance(endpoint, str)
        else "as the table's column says"
    )
    return Answer(
        f"{_endpoint(facts)[:1].upper()}{_endpoint(facts)[1:]}, {made}. The model gives the "
        f"probability of {' and '.join(cohort.classes[1:])}.",
        "When and how it was found out (such as sentinel biopsy or dissection), and why this one.",
    )


def _predictors(facts: StudyFacts) -> Answer:
    config = facts.config
    found = [*config.clinical.names] if config.uses_clinical else []
    if config.uses_patches:
        found.append("features of the slide's patches")
    if config.uses_nuclei:
        found.append("features of the nuclei in the slide's patches")
    return Answer(
        f"Taken as the study's settings name them: {', '.join(found)}. The study selected "
        "none of them.",
        "Why these.",
    )


def _defined(facts: StudyFacts) -> Answer:
    config = facts.config
    units = {c.name: c.shown_unit for c in config.clinical.numeric}
    found = []
    if config.uses_clinical:
        numbers = ", ".join(f"{name} ({units[name]})" if units[name] else name for name in units)
        categories = ", ".join(config.clinical.categorical_names)
        found.append(f"Numbers: {numbers or 'none'}; categories: {categories or 'none'}.")
    if config.uses_slides:
        found.append("The digitised slide of the core-needle biopsy, as patches.")
    return Answer(
        " ".join(found), "How and when each was measured; scanner and stain; any blinding."
    )


def _sample_size(facts: StudyFacts) -> Answer:
    return Answer(
        f"All patients of the table that could be used: {_sizes(facts)}. No sample size was "
        "calculated by the study.",
        "Whether that is enough, and why.",
    )


def _sizes(facts: StudyFacts) -> str:
    """Patients and outcome events of each cohort."""
    fitting, classes = facts.fitting, facts.fitting.cohort.classes
    if facts.folded:
        patients = fitting.cohort.patients
        return f"{len(patients):,} ({class_mix(patients, classes)}), each tested out of fold"
    only = fitting.partitions[0]
    return "; ".join(
        f"{COHORT_TITLES[name].lower()} {len(members):,} ({class_mix(members, classes)})"
        for name in ("train", "val", "test")
        if (members := fitting.patients(only, name))
    )


def _missing(facts: StudyFacts) -> Answer:
    config = facts.config
    if not config.uses_clinical:
        return Answer("No clinical data are used.", "Missing slides, if any were.")
    if config.clinical.missing == "impute":
        rule = "Missing values were imputed from the training patients."
        filled = filled_sentences(facts.fitting) or ("None was missing.",)
        return Answer(" ".join([rule, *filled]), "Why values are missing.")
    lacking = tuple(f"`{name}` is missing" for name in config.clinical.names)
    gone = sum(any(w in e.reason for w in lacking) for e in facts.fitting.cohort.excluded)
    left = f" Patients who left for one: {gone}."
    return Answer(
        f"No value was imputed; a patient with a missing clinical value cannot take part.{left}",
        "Why values are missing.",
    )


def _data_use(facts: StudyFacts) -> Answer:
    config, split = facts.config, facts.config.split
    told = split_sentences(config, facts.fitting.partitions)
    if told:
        return Answer(" ".join(told))
    way = (
        f"by the table's column `{split.column}`"
        if isinstance(split, ColumnSplit)
        else "at random by patient, stratified by outcome"
    )
    chose = [
        name
        for name, so in (
            ("the epoch", config.uses_slides),
            ("the threshold", config.needs_validation),
        )
        if so and facts.fitting.partitions[0].members("val")
    ]
    validated = f" Validation patients chose {' and '.join(chose)}." if chose else ""
    return Answer(
        f"Divided {way}: {_sizes(facts)}. Models were fitted on training patients.{validated} "
        "The test cohort took part in neither."
        if config.threshold != "youden-per-cohort"
        else f"Divided {way}: {_sizes(facts)}. Models were fitted on training patients, and the "
        "threshold of each cohort was chosen on itself, the test cohort included."
    )


def _handling(facts: StudyFacts) -> Answer:
    config = facts.config
    found = [clinical_sentence(config)] if config.uses_clinical else []
    if config.uses_patches:
        found.append("Of slides: patches, as features of an encoder, in bags.")
    if config.uses_nuclei:
        found.append("Of slides: histograms of nucleus features, in bags.")
    return Answer(" ".join(found))


def _model(facts: StudyFacts) -> Answer:
    config = facts.config
    told = method_sentences(config, facts.fitting.imported)[:-1]  # the last is of the statistics
    return Answer(
        " ".join(told), "Why this kind of model; whether settings were tuned before this study."
    )


def _clusters(facts: StudyFacts) -> Answer:
    column = facts.config.group_column
    if column is None:
        return Answer("Clusters such as hospitals are not taken into account.", TO_WRITE)
    return Answer(
        f"Groups of `{column}` stay whole: none is on both sides of a fold. Figures of each fold "
        "are in the tables.",
        "Parameters are not compared between groups.",
    )


def _measures(facts: StudyFacts) -> Answer:
    binary = len(facts.fitting.cohort.classes) == 2
    said = method_sentences(facts.config, facts.fitting.imported)[-2 if binary else -1 :]
    plots = "ROC curves, confusion matrices, scores by class"
    if not binary:
        plots += ", calibration of each class"
        curves = [e.get("decision_curve", {}) for by in facts.metrics["methods"].values()
                  for e in by.values()]  # fmt: skip
        plots += ", decision curve" if any("points" in curve for curve in curves) else ""
    else:
        plots += ", calibration, decision curve, precision and recall, AUC by subgroup"
    return Answer(f"{' '.join(said)} Plots: {plots}.", "Why these.")


def _performance(facts: StudyFacts) -> Answer:
    told = "The performance table and the figures, with 95% confidence intervals"
    if facts.metrics.get("subgroups"):
        names = [c["title"] for c in facts.metrics["subgroups"][0]["characteristics"]]
        return Answer(f"{told}; by subgroup: {', '.join(names)}.", "Other groups that matter.")
    return Answer(f"{told}.", "Subgroups.")


def _imbalance(facts: StudyFacts) -> Answer:
    config = facts.config
    if not config.uses_slides:
        return Answer("No method against imbalance was used.")
    weighed = training_sentences(config.training)[1:]
    weighed = [s for s in weighed if "classes" in s]
    return Answer(" ".join(weighed) or "No method against imbalance was used.")


def _output(facts: StudyFacts) -> Answer:
    if len(facts.fitting.cohort.classes) > 2:
        return Answer("A probability of each class; the likeliest class is called.")
    values = [
        f"{method_title(name)} {by['test']['threshold']:.4f}"
        for name, by in facts.metrics["methods"].items()
        if by.get("test", {}).get("threshold") is not None
    ]
    told = f"; in the test cohort {', '.join(values)}" if values else ""
    return Answer(
        f"A probability, and a class by a threshold: {rule_text(facts.config)}{told}.",
        "Why this rule suits the use that is meant.",
    )


def _differences(facts: StudyFacts) -> Answer:
    if facts.folded:
        return Answer("None by design: the same patients are trained on and tested, in turn.")
    return Answer(
        "Both come from one table; Table 1 sets them side by side.",
        "Differences in setting and time, if the split is by either.",
    )


def _flow(facts: StudyFacts) -> Answer:
    return Answer(f"Flow diagram in this report. Analysed: {_sizes(facts)}.", "Follow-up, if any.")


def _compared(facts: StudyFacts) -> Answer:
    if facts.folded:
        return Answer("Table 1 is by class: development and test patients are the same.")
    return Answer("Table 1 sets training (with validation) and test side by side.")


def _events(facts: StudyFacts) -> Answer:
    return Answer(f"{_sizes(facts)}.")


def _specified(facts: StudyFacts) -> Answer:
    paths = ", ".join(f"models/{name}/" for name in facts.config.methods)
    return Answer(
        f"Bundles of weights and settings, enough to predict elsewhere: {paths} in the study's "
        f"folder, each with model_card.md.",
        "Whether and how they are handed on, and on which terms.",
    )


def _by_cluster(facts: StudyFacts) -> Answer:
    if facts.config.group_column is None:
        return Answer("Not looked at.")
    return Answer("The table of folds gives each group's figures.")


def _input_in_use(facts: StudyFacts) -> Answer:
    if not facts.config.uses_clinical:
        return Answer("", TO_WRITE)
    way = (
        "a missing clinical value is imputed, as in training"
        if facts.config.clinical.missing == "impute"
        else "a missing clinical value is refused"
    )
    return Answer(f"By the bundle's own rule, {way}.", "Poor slides; the rest.")


_ANSWERS: Mapping[str, Callable[[StudyFacts], Answer]] = {
    "1": _title,
    "4": _objectives,
    "5a": _source,
    "6b": _eligibility,
    "7": _preparation,
    "8a": _outcome,
    "9a": _predictors,
    "9b": _defined,
    "10": _sample_size,
    "11": _missing,
    "12a": _data_use,
    "12b": _handling,
    "12c": _model,
    "12d": _clusters,
    "12e": _measures,
    "13": _imbalance,
    "15": _output,
    "16": _differences,
    "20a": _flow,
    "20c": _compared,
    "21": _events,
    "22": _specified,
    "23a": _performance,
    "23b": _by_cluster,
    "27a": _input_in_use,
}
_ALWAYS: Mapping[str, Answer] = {
    "12f": Answer("No model was updated or recalibrated."),
    "12g": Answer(
        f"By axilla {__version__} from the stored models; predictions.csv holds every score. "
        "The report lists the files' SHA-256."
    ),
    "18f": Answer(
        f"axilla {__version__}; settings, seeds and versions stand at the end of this report.",
        "Where the settings file and any code of the authors can be had.",
    ),
    "20b": Answer("Table 1.", "Dates, treatments, sources; what Table 1 does not hold."),
    "24": Answer("No model was updated or recalibrated."),
}
"""Answers that are the same of every study."""
