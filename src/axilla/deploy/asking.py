"""One prepared case, asked again and again: other bags, other clinical values, no encoding anew."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axilla.core.types import Patient
from axilla.deploy.applying import Application
from axilla.mil.batches import Instances
from axilla.mil.bundle import Bundle, Member
from axilla.mil.clinical import Preprocessor
from axilla.mil.contribution import is_told, projected_patches
from axilla.mil.devices import denormals_flushed
from axilla.mil.encoding import encode_rows, encodes_alone, head_of, own_encoding
from axilla.mil.ensemble import combine
from axilla.mil.model import DLCNB
from axilla.study.fitting import Fitting
from axilla.study.scoring import score_patients, slide_attention, slide_contribution
from axilla.study.trained_encoders import encode_of

REDRAWS = 20
"""Seeded draws of bags beside the first one."""
SLOW_REDRAWS = 2
"""The same where each draw has to encode every patch anew (`batch_norm: batch`)."""
ODDS_CLIP = 1e-9
"""A probability nearer to 0 or 1 has no log-odds that would say anything."""


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """A member of the bundle alone, with the patches as it takes them."""

    exact: tuple[Fitting, Bundle]
    """As the study asked it: features, or patches where nothing can be computed once."""
    quick: tuple[Fitting, Bundle]
    """Behind its first layer, which sees each patch alone; the same but for the last bits."""


@dataclass(frozen=True, slots=True, eq=False)
class PreparedCase:
    """A case whose patches are encoded: what is asked now costs milliseconds."""

    application: Application
    views: tuple[_View, ...]
    """One a member."""

    @property
    def patient(self) -> Patient:
        """As the model was given it."""
        return self.application.cohort.patients[0]

    @property
    def bundle(self) -> Bundle:
        """The model."""
        return self.application.bundle

    @property
    def features(self) -> Mapping[str, Instances] | None:
        """Features by slide as the first member takes them; None where it takes patches."""
        fitting, bundle = self.views[0].exact
        network = bundle.network
        return None if network is None or network.encoder is not None else fitting.slides


def prepare(application: Application) -> PreparedCase:
    """Encode what the members encode themselves, and project every patch, once."""
    with denormals_flushed():
        views = tuple(_view(application, member) for member in application.bundle.members)
    return PreparedCase(application, views)


def _view(application: Application, member: Member) -> _View:
    fitting, bundle = application.fitting, application.bundle
    network = member.network
    if network is None or fitting.slides is None:
        own = fitting, replace(bundle, members=(member,))
        return _View(own, own)
    slides: Mapping[str, Instances] = fitting.slides
    if network.encoder is not None:
        if not encodes_alone(network):
            own = fitting, replace(bundle, members=(member,))
            return _View(own, own)
        encode = encode_of(network, config=fitting.config.encoder) or own_encoding(network.encoder)
        slides = {s: encode_rows(p, np.arange(len(p)), encode=encode) for s, p in slides.items()}
        network = head_of(network)
    exact = _alone(fitting, bundle, member, network, slides)
    quick = {slide: projected_patches(network, rows, encode=None) for slide, rows in slides.items()}
    pool = next(iter(quick.values()))[0]
    projected = {slide: rows for slide, (_, rows) in quick.items()}
    return _View(exact, _alone(fitting, bundle, member, pool, projected))


def _alone(
    fitting: Fitting, bundle: Bundle, member: Member, network: DLCNB, slides: Mapping[str, Any]
) -> tuple[Fitting, Bundle]:
    return (
        replace(fitting, slides=slides),
        replace(bundle, members=(Member(network=network, preprocessor=member.preprocessor),)),
    )


def without_pixels(case: PreparedCase) -> PreparedCase:
    """The same case for a form that is left open for long: patches' pixels are let go of.

    `probability` answers as before; what needs exact numbers or pixels cannot be asked any more.
    """
    application = case.application
    if application.tiles is not None:
        tiles = replace(application.tiles, held=None)
        application = replace(application, tiles=tiles)
    fitting = case.views[0].quick[0]
    views = tuple(replace(view, exact=view.quick) for view in case.views)
    return PreparedCase(replace(application, fitting=fitting), views)


def member_scores(
    case: PreparedCase,
    *,
    redraw: int = 0,
    patient: Callable[[Member], Patient] | None = None,
    exact: bool = False,
) -> NDArray[np.float64]:
    """Probabilities [M, K] by every member, the mean over a draw of bags each.

    Parameters
    ----------
    redraw
        0 are the study's own bags, any other number other ones.
    patient
        The patient with other clinical values, by member; None as the case was given.
    exact
        The very numbers that the study would write; else the same but for the last bits.
    """
    rows = []
    with denormals_flushed():
        for view in case.views:
            fitting, bundle = view.exact if exact else view.quick
            training = fitting.config.training
            other = training.model_copy(update={"seed": training.seed + redraw})
            asked = case.patient if patient is None else patient(bundle.members[0])
            drawn = replace(fitting, config=fitting.config.model_copy(update={"training": other}))
            rows.append(score_patients(drawn, bundle, (asked,))[asked.patient_id].mean)
    return np.stack(rows)


def probability(
    case: PreparedCase, clinical: Mapping[str, float | str | None] | None = None
) -> NDArray[np.float64]:
    """Probability of each class [K], perhaps with other clinical values than the case's.

    For a form that is changed while one looks: patches are not looked at again.

    Raises
    ------
    CohortError
        A value is missing that the model needs, or is a category it was not trained with.
    """
    asked = case.patient if clinical is None else replace(case.patient, clinical=dict(clinical))
    return combine(list(member_scores(case, patient=lambda _: asked))).mean


def redraws_of(case: PreparedCase) -> int:
    """How often other bags are drawn: never for a clinical model, or bags that are given."""
    fitting, bundle = case.views[0].exact
    if bundle.network is None or fitting.bags is not None:
        return 0
    return REDRAWS if bundle.network.encoder is None else SLOW_REDRAWS


def redrawn_scores(case: PreparedCase) -> NDArray[np.float64]:
    """Probabilities [R, M, K] over other bags; R is `redraws_of`."""
    found = [member_scores(case, redraw=index + 1) for index in range(redraws_of(case))]
    return np.stack(found) if found else np.empty((0, len(case.views), len(case.bundle.classes)))


def patch_values(case: PreparedCase, slide_id: str) -> dict[str, NDArray[np.float64]]:
    """Attention of every patch of a slide, and its contribution where that can be told.

    The means over the members; see `patch_attention` and `patch_contribution`.
    """
    attention, contribution = [], []
    slow = redraws_of(case) == SLOW_REDRAWS
    with denormals_flushed():
        for view in case.views:
            fitting, bundle = view.quick
            attention.append(
                slide_attention(
                    fitting, bundle, case.patient, slide_id, draws=SLOW_REDRAWS if slow else None
                )
            )
            if bundle.network is not None and is_told(bundle.network):
                contribution.append(slide_contribution(fitting, bundle, case.patient, slide_id))
    found = {"attention": np.asarray(np.mean(attention, axis=0))}
    if len(contribution) == len(case.views):
        found["contribution"] = np.asarray(np.mean(np.stack(contribution), axis=0))  # type: ignore[arg-type]  # told, so never None
    return found


def log_odds(share: float) -> float:
    """log(p / (1 - p)), of a probability at least `ODDS_CLIP` from 0 and 1."""
    p = min(max(share, ODDS_CLIP), 1 - ODDS_CLIP)
    return math.log(p / (1 - p))


@dataclass(frozen=True, slots=True)
class Parts:
    """What moved the log-odds of the positive class away from those of the training patients.

    prevalence + image + clinical are the log-odds of the probability.
    """

    prevalence: float | None
    """Log-odds of the share of positive training patients; None where the bundle does not tell."""
    image: float | None
    """Log-odds with these slides and a reference patient's clinical values, less the prevalence's.
    """
    clinical: float | None
    """Log-odds with the patient's clinical values, less those with the reference's."""
    columns: Mapping[str, float]
    """The same for one column alone replaced by the reference's; they do not add up."""
    reason: str | None = None
    """Why they cannot be told apart."""


def reference_values(reads: object) -> dict[str, float | str | None] | None:
    """A reference patient's clinical values: training means, and the most frequent categories."""
    if not isinstance(reads, Preprocessor):
        return None
    numbers = dict(zip(reads.numeric, reads.means, strict=True))
    return {**numbers, **dict(zip(reads.categorical, reads.modes, strict=True))}


def told_apart(case: PreparedCase) -> Parts | None:
    """What image and clinical values each gave, in log-odds; None with more than two classes.

    The reference patient has the training patients' mean of every number and their most frequent
    category; where members come from several folds, each has its own.
    """
    if len(case.bundle.classes) != 2:
        return None
    prevalence = _prevalence(case.bundle)
    whole = log_odds(float(member_scores(case).mean(axis=0)[1]))
    reads = [member.reads for member in case.bundle.members]
    above = None if prevalence is None else whole - prevalence
    if reads[0] is None:
        return Parts(prevalence, above, None, {})
    if case.bundle.network is None:
        return Parts(prevalence, None, above, _columns(case, whole))
    if any(reference_values(one) is None for one in reads):
        reason = "the imported model does not tell its training patients' most frequent categories"
        return Parts(prevalence, None, None, {}, reason)
    without = _with(case, lambda own, ref: ref)
    image = None if prevalence is None else without - prevalence
    return Parts(prevalence, image, whole - without, _columns(case, whole))


Values = Mapping[str, float | str | None]


def _with(case: PreparedCase, chosen: Callable[[Values, Values], Values]) -> float:
    """Log-odds with clinical values chosen from the patient's and a member's reference's."""

    def patient(member: Member) -> Patient:
        reference = reference_values(member.reads)
        if reference is None:
            raise ValueError("a reference patient needs a fitted preprocessor")
        return replace(case.patient, clinical=dict(chosen(case.patient.clinical, reference)))

    return log_odds(float(member_scores(case, patient=patient).mean(axis=0)[1]))


def _columns(case: PreparedCase, whole: float) -> dict[str, float]:
    reads = case.bundle.members[0].reads
    if not isinstance(reads, Preprocessor):
        return {}
    return {
        name: whole - _with(case, lambda own, ref, name=name: {**own, name: ref[name]})  # type: ignore[misc]  # bound now
        for name in (*reads.numeric, *reads.categorical)
    }


def _prevalence(bundle: Bundle) -> float | None:
    """Log-odds of the positive class among the training patients."""
    counts = (bundle.record.get("patients") or {}).get("train")
    if not counts:
        return None
    positive, total = counts[bundle.classes[1]], sum(counts.values())
    return log_odds(positive / total) if 0 < positive < total else None
