"""The TRIPOD+AI checklist as data: what a report of a prediction model should say.

Items and numbers: Collins 2024, doi:10.1136/bmj-2023-078378 (27 items, 52 with their parts). What
each asks for is put in our own words; for a submission, the published wording counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TripodItem:
    """One item, or one part of it."""

    number: str
    """Such as '12a'."""
    section: str
    asks: str


def _section(title: str, items: Mapping[str, str]) -> tuple[TripodItem, ...]:
    return tuple(TripodItem(number, title, asks) for number, asks in items.items())


TRIPOD_ITEMS: tuple[TripodItem, ...] = (
    *_section(
        "Title and abstract",
        {
            "1": "Title: that a prediction model is developed or evaluated, for whom, for what.",
            "2": "Abstract: by the checklist for abstracts of TRIPOD+AI.",
        },
    ),
    *_section(
        "Introduction",
        {
            "3a": "The clinical question, diagnostic or prognostic; why a model; earlier models.",
            "3b": "The patients meant, where in their care the model would be used, and by whom.",
            "3c": "Known health inequalities between groups of people.",
            "4": "Objectives: whether a model is developed, evaluated, or both.",
        },
    ),
    *_section(
        "Methods: data and patients",
        {
            "5a": "Where the data for development and evaluation come from; why; how typical.",
            "5b": "Dates: first and last patient, end of follow-up.",
            "6a": "Setting: kind, number and place of the centres.",
            "6b": "Who could take part and who could not.",
            "6c": "Treatments received, and how they were taken into account.",
            "7": "How data were prepared and checked, alike for all groups of people.",
        },
    ),
    *_section(
        "Methods: outcome and predictors",
        {
            "8a": "The outcome: what, when and how it was found out, and why this one.",
            "8b": "Who judged the outcome, where that takes judgement.",
            "8c": "Whether who judged the outcome was blinded.",
            "9a": "How the first predictors were chosen, and any selection among them.",
            "9b": "All predictors: what they are, how and when measured, any blinding.",
            "9c": "Who judged the predictors, where that takes judgement.",
        },
    ),
    *_section(
        "Methods: sample size and missing data",
        {
            "10": "How the number of patients came about, and whether it is enough.",
            "11": "Missing data: what was done, and why anything was left out.",
        },
    ),
    *_section(
        "Methods: analysis",
        {
            "12a": "How the data were used, and how divided, for development and evaluation.",
            "12b": "How predictors entered: scaling, transformation, form.",
            "12c": "Kind of model and why; all steps of building, tuning, internal validation.",
            "12d": "Differences between clusters such as hospitals: how handled and measured.",
            "12e": "Measures and plots of performance and why; how models were compared.",
            "12f": "Any updating of the model, such as recalibration.",
            "12g": "How predictions were computed in the evaluation.",
            "13": "Class imbalance: any method against it, why, and recalibration after it.",
            "14": "Fairness: any approach to it, and why.",
            "15": "The model's output; how classes and thresholds were chosen, and why.",
            "16": "Differences between development and evaluation data.",
            "17": "Ethical approval and consent, or their waiver.",
        },
    ),
    *_section(
        "Open science and involvement",
        {
            "18a": "Funding, and the part of the funders.",
            "18b": "Conflicts of interest of all authors.",
            "18c": "Where the protocol is, or that there is none.",
            "18d": "Registration, or that there is none.",
            "18e": "Whether and how the data can be had.",
            "18f": "Whether and how the code of the analysis can be had.",
            "19": "How patients and the public were involved, or that they were not.",
        },
    ),
    *_section(
        "Results",
        {
            "20a": "Flow of patients, with and without the outcome; follow-up. A diagram helps.",
            "20b": "The patients in numbers, by source where there are several; missing data.",
            "20c": "Development and evaluation patients side by side.",
            "21": "Patients and outcome events in each analysis.",
            "22": "The whole model, so that others can predict with it; limits of its use.",
            "23a": "Performance with confidence intervals, also of important subgroups.",
            "23b": "Differences of performance between clusters, where looked at.",
            "24": "Results of updating the model, and the updated model.",
        },
    ),
    *_section(
        "Discussion",
        {
            "25": "What the main results mean, fairness included, beside earlier studies.",
            "26": "Limitations, and what they do to bias, uncertainty and generality.",
            "27a": "In use: how poor or missing input is recognised and handled.",
            "27b": "In use: what users have to do, and what they must know for it.",
            "27c": "Next steps of research, for use elsewhere.",
        },
    ),
)
