"""What a running server holds: the opened study, its models, its open slides."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from axilla.core.cohort import is_generated
from axilla.core.config import StudyConfig
from axilla.core.recent import Recent
from axilla.core.types import Slide
from axilla.study.case_asking_live import LiveModels
from axilla.study.case_opened import OpenedCase, open_case
from axilla.study.opened import OpenedEndpoint, open_study
from axilla.web.new_cases import NewCases
from axilla.web.tiles import ImageKey, OpenSlides, TileCache, Workshop


class NotThereError(LookupError):
    """An address names what is not there."""


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """A study as it is served. Everything in it is found by its place in a list."""

    name: str
    generated: bool
    endpoints: tuple[OpenedEndpoint, ...]
    models: LiveModels = field(default_factory=LiveModels)
    slides: OpenSlides = field(default_factory=OpenSlides)
    tiles: TileCache = field(default_factory=TileCache)
    workshop: Workshop = field(default_factory=Workshop)
    overlays: Recent[dict[str, Any]] = field(default_factory=lambda: Recent(16))
    """What lies over the last slides, by the address that asks for it."""
    new: NewCases | None = None
    """New cases; None where no model is there to show them to."""

    @classmethod
    def of(cls, config: StudyConfig) -> Served:
        """A study that was run.

        Raises
        ------
        StoreError
            It was not run to its end, or changed since.
        """
        return cls(config.name, is_generated(config.cohort), open_study(config))

    @property
    def stale(self) -> bool:
        """Whether what is shown is no longer what the study holds."""
        return any(endpoint.stale for endpoint in self.endpoints)

    def endpoint(self, place: int) -> OpenedEndpoint:
        """An endpoint by its place.

        Raises
        ------
        NotThereError
            There is none.
        """
        if not 0 <= place < len(self.endpoints):
            raise NotThereError("There is no such endpoint.")
        return self.endpoints[place]

    def case(self, endpoint: int, patient: int) -> OpenedCase:
        """A patient by place in the endpoint's cohort.

        Raises
        ------
        NotThereError
            There is none.
        AxillaError
            An artefact of the study is missing.
        """
        opened = self.endpoint(endpoint)
        if not 0 <= patient < len(opened.cohort.patients):
            raise NotThereError("There is no such patient.")
        return open_case(opened, opened.cohort.patients[patient].patient_id)

    def slide(self, endpoint: int, patient: int, slide: int) -> Slide:
        """A slide by place among the patient's.

        Raises
        ------
        NotThereError
            There is none.
        """
        patients = self.endpoint(endpoint).cohort.patients
        if not 0 <= patient < len(patients) or not 0 <= slide < len(patients[patient].slides):
            raise NotThereError("There is no such slide.")
        return patients[patient].slides[slide]

    def image(self, key: ImageKey) -> Slide:
        """The slide that an image is of.

        Raises
        ------
        NotThereError
            There is no such image.
        """
        slide = self.slide(key.endpoint, key.patient, key.slide)
        if not 0 <= key.image < len(slide.images):
            raise NotThereError("There is no such image.")
        return slide

    def close(self) -> None:
        """Let go of threads, slides and what was made of them; new cases are deleted."""
        if self.new is not None:
            self.new.close()
        self.workshop.close()
        self.slides.close()
