"""Features made elsewhere: read once, checked together, and what a model remembers of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from axilla.core import store
from axilla.core.config import StudyConfig
from axilla.core.errors import AxillaError, FeaturesError, Problem, StoreError
from axilla.core.progress import Reporter
from axilla.core.types import Cohort, Slide
from axilla.features.imported import SlideFeatures, open_slide_rows, read_slide_features
from axilla.mil.bundle import Bundle
from axilla.study.layout import Layout


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What one file of features turned out to hold."""

    identity: str
    """Name, size and time of the file as it was read."""
    patches: int
    dimension: int
    source: str
    encoder: str | None
    coords: bool


@dataclass(frozen=True, slots=True)
class Imported:
    """The features of a whole study."""

    facts: Mapping[str, FileFacts]
    """By slide id."""

    @property
    def dimension(self) -> int:
        """Length D of every vector."""
        return next(iter(self.facts.values())).dimension

    @property
    def encoder(self) -> str | None:
        """What made the features, where any file says so."""
        return next((f.encoder for f in self.facts.values() if f.encoder is not None), None)

    @property
    def sources(self) -> tuple[str, ...]:
        """The programs that wrote the files."""
        return tuple(sorted({f.source for f in self.facts.values()}))

    @property
    def without_coords(self) -> tuple[str, ...]:
        """Slides whose files hold no coordinates, of which no heat map can be drawn."""
        return tuple(slide for slide, f in self.facts.items() if not f.coords)

    @property
    def keys(self) -> dict[str, str]:
        """What any later step over a slide depends on."""
        return {s: store.digest("imported", f.identity) for s, f in self.facts.items()}

    def record(self) -> dict[str, Any]:
        """What a model remembers of the features it was trained on."""
        return {
            "imported": True,
            "name": self.encoder,
            "sources": list(self.sources),
            "features": self.dimension,
        }


def check_imported(
    cohort: Cohort, *, config: StudyConfig, reporter: Reporter
) -> tuple[Imported, list[Problem]]:
    """Read every file that is new or changed; what is wrong with each, and with all together.

    A file that was in order before and did not change is not read again: what was found is kept
    under `out:`.
    """
    if config.imported is None:
        raise ValueError("the study imports no features")
    before = _read_facts(_record(config))
    facts: dict[str, FileFacts] = {}
    problems: list[Problem] = []
    slides = [slide for patient in cohort.patients for slide in patient.slides]
    source = config.imported.format
    for slide in reporter.track(slides, "Checking features"):
        if slide.features is None:
            continue
        identity = f"{source}:{store.file_identity(slide.features)}"
        known = before.get(slide.slide_id)
        if known is not None and known.identity == identity:
            facts[slide.slide_id] = known
            continue
        try:
            found = read_slide_features(slide.features, patient_id=slide.patient_id, source=source)
        except AxillaError as error:
            problems.append(
                Problem(
                    error.problem.cause, error.problem.remedy, patient=slide.patient_id,
                    file=slide.features, fatal=False, slide=slide.slide_id, code=error.code,
                )
            )  # fmt: skip
            continue
        facts[slide.slide_id] = _facts(found, identity)
    record = {slide: asdict(fact) for slide, fact in facts.items()}
    if record != {slide: asdict(fact) for slide, fact in before.items()}:
        store.write_json(_record(config), record)
    problems += _disagreements(facts, slides)
    bad = {problem.file for problem in problems}
    facts = {s.slide_id: facts[s.slide_id] for s in slides if s.features not in bad}
    return Imported(facts=facts), problems


def import_features(cohort: Cohort, *, config: StudyConfig, reporter: Reporter) -> Imported:
    """What stands in place of cutting and embedding: the files as they were checked."""
    found, problems = check_imported(cohort, config=config, reporter=reporter)
    if problems:  # a file changed since the inputs were checked, a moment ago
        first = problems[0]
        raise FeaturesError(first.cause, first.remedy, patient=first.patient, file=first.file)
    made_by = found.encoder or "an encoder that the files do not name"
    reporter.done("tile", f"not needed: features come from {' and '.join(found.sources)} files")
    patches = sum(f.patches for f in found.facts.values())
    reporter.done(
        "embed",
        f"not needed: {len(found.facts):,} slides, {patches:,} patches, {found.dimension:,} "
        f"numbers each, by {made_by}",
    )
    return found


def read_features_of(slide: Slide, *, config: StudyConfig) -> SlideFeatures:
    """One slide's features, as its file has them now."""
    if slide.features is None or config.imported is None:
        raise ValueError("the slide has no features made elsewhere")
    return read_slide_features(
        slide.features, patient_id=slide.patient_id, source=config.imported.format
    )


def open_features_of(slide: Slide, *, config: StudyConfig) -> store.FeatureRows | NDArray[Any]:
    """One slide's features: rows in their file where it holds them plainly, else all of them.

    The values were checked when the study began.
    """
    if slide.features is None or config.imported is None:
        raise ValueError("the slide has no features made elsewhere")
    rows = open_slide_rows(slide.features)
    return read_features_of(slide, config=config).features if rows is None else rows


def refuse_other_features(bundle: Bundle, imported: Imported) -> None:
    """Stop before a model scores features that it was not trained on.

    Raises
    ------
    FeaturesError
        The length of the vectors is another, or both name an encoder and not the same.
    """
    if bundle.network is None:
        return
    trained = bundle.record.get("encoder", {})
    length = bundle.network.features
    made_by = f" by {trained['name']}" if trained.get("name") else ""
    if bundle.network.encoder is not None or length != imported.dimension:
        raise FeaturesError(
            f"the model {bundle.method} was trained on features of length {length}{made_by}, but "
            f"these have {imported.dimension} numbers a patch.",
            "Give features of the encoder that the model was trained with, or train anew.",
        )
    theirs, ours = trained.get("name"), imported.encoder
    if theirs and ours and _plain(theirs) != _plain(ours):
        raise FeaturesError(
            f"the model {bundle.method} was trained on features{made_by}, but these were made by "
            f"{ours}.",
            "Give features of the encoder that the model was trained with, or train anew.",
        )


def _plain(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())


def _facts(found: SlideFeatures, identity: str) -> FileFacts:
    return FileFacts(
        identity=identity,
        patches=len(found.features),
        dimension=int(found.features.shape[1]),
        source=found.source,
        encoder=found.encoder,
        coords=found.coords is not None,
    )


def _disagreements(facts: Mapping[str, FileFacts], slides: list[Slide]) -> list[Problem]:
    """Files that are not like most: another length, or another encoder where they say which."""
    lengths = Counter(f.dimension for f in facts.values())
    # As spelled by most, but told apart by letters and digits: TRIDENT's uni_v1 is STAMP's uni-v1.
    spelled = Counter(f.encoder for f in facts.values() if f.encoder is not None)
    encoders: Counter[str] = Counter()
    for name, count in spelled.items():
        encoders[_plain(name)] += count
    remedy = "Give the features of one encoder for all slides, or run with --exclude-failed."
    problems = []
    for slide in slides:
        found = facts.get(slide.slide_id)
        if found is None:
            continue
        length = lengths.most_common(1)[0][0]
        if found.dimension != length:
            cause = (
                f"the features have {found.dimension} numbers a patch, but most slides have "
                f"{length}."
            )
        elif found.encoder is not None and _plain(found.encoder) != encoders.most_common(1)[0][0]:
            usual = encoders.most_common(1)[0][0]
            shown = next(name for name, _ in spelled.most_common() if _plain(name) == usual)
            cause = f"the features are by {found.encoder}, but most slides' are by {shown}."
        else:
            continue
        problems.append(
            Problem(
                cause, remedy, patient=slide.patient_id, file=slide.features, fatal=False,
                slide=slide.slide_id, code=FeaturesError.code,
            )
        )  # fmt: skip
    return problems


def _record(config: StudyConfig) -> Path:
    return Layout(config.out).imported


def _read_facts(path: Path) -> dict[str, FileFacts]:
    try:
        return {slide: FileFacts(**value) for slide, value in store.read_json(path).items()}
    except (StoreError, TypeError, AttributeError):
        return {}
