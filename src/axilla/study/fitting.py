"""What training and predicting need, and what a trained model depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from axilla.core import store
from axilla.core.config import StudyConfig
from axilla.core.encoder_names import WEIGHTS_WORDS
from axilla.core.methods import method_spec
from axilla.core.types import Cohort, CohortName, Partition, PatchGrid, Patient
from axilla.mil.batches import Instances
from axilla.mil.seeds import member_seed
from axilla.study.given import BagIndices, bags_record
from axilla.study.imported import Imported
from axilla.study.staining import Stains

if TYPE_CHECKING:
    from axilla.study.nuclei_bags import FeatureBags
    from axilla.study.nuclei_slides import SlideNuclei


@dataclass(frozen=True, slots=True, eq=False)
class Fitting:
    """Everything that training and predicting need."""

    config: StudyConfig
    cohort: Cohort
    partitions: tuple[Partition, ...]
    slides: Mapping[str, Instances] | None
    slide_keys: Mapping[str, str]
    stains: Stains | None = None
    bags: BagIndices | None = None
    """Bags that a file gives; None where they are drawn."""
    imported: Imported | None = None
    """The features made elsewhere, where the study has such."""
    nuclei: SlideNuclei | None = None
    """Nuclei of the slides, where a method looks at them."""
    grids: Mapping[str, PatchGrid] | None = None
    """Kept patches by slide, each read when it is asked for; None where features were made
    elsewhere."""
    feature_bags: FeatureBags | None = None
    """Bags of nucleus features, in what the method dl-cnb-nuclei sees (`seen_by`)."""
    shared: Path | None = None
    """The `out` that patches and features lie under, where it is not this config's: endpoints have
    folders of their own, and so have the trainings of a learning curve."""

    def patients(self, partition: Partition, cohort: CohortName) -> tuple[Patient, ...]:
        """Patients of one cohort of a partition."""
        members = set(partition.members(cohort))
        return tuple(p for p in self.cohort.patients if p.patient_id in members)

    def slide_keys_of(self, patient: Patient) -> list[tuple[str, str]]:
        """A patient's slides, each with the key of what it holds; empty where none is looked at.

        Whose slide it is counts as much: a corrected table may give it to somebody else.
        """
        return [
            (slide.slide_id, self.slide_keys[slide.slide_id])
            for slide in patient.slides
            if slide.slide_id in self.slide_keys
        ]

    def seeds(self, method: str, partition: Partition) -> tuple[int, ...]:
        """Seed of each member; one for a method without images."""
        count = self.config.training.seeds if method_spec(method).images else 1
        return tuple(member_seed(partition.seed, index) for index in range(count))

    def key(self, method: str, partition: Partition) -> str:
        """What a trained model depends on: the keys of its members."""
        keys = [self.member_key(method, partition, s) for s in self.seeds(method, partition)]
        return keys[0] if len(keys) == 1 else store.digest("ensemble", keys)

    def member_key(self, method: str, partition: Partition, seed: int) -> str:
        """What one training depends on: its patients, their slides, the settings; no test.

        The threshold is not among them: it is chosen on what was trained, without training anew;
        nor is the number of members, which changes none of them.
        """
        config, spec = self.config, method_spec(method)
        used = ("endpoint", "bags", "encoder", "aggregator", "clinical", "training")
        people = [
            (
                cohort,
                [
                    (
                        p.patient_id, p.label, dict(p.clinical) if spec.clinical else None,
                        self.slide_keys_of(p) if spec.images else [],
                    )
                    for p in self.patients(partition, cohort)
                ],
            )
            for cohort in ("train", "val")
        ]  # fmt: skip
        settings = {n: v for n, v in config.model_dump(mode="json").items() if n in used}
        settings["encoder"] = encoder_record(self)
        settings["bags"] = bags_record(config)
        settings["training"] = config.training.decisive()
        settings["aggregator"] = config.aggregator_of(method).model_dump(mode="json")
        if not spec.images:
            settings = {n: settings[n] for n in ("endpoint", "clinical")}
        elif not spec.clinical:
            del settings["clinical"]
        return store.digest("train", method, seed, settings, people)


def encoder_record(fitting: Fitting) -> dict[str, Any]:
    """The encoder's settings; a file of weights by its name and content, not by its place."""
    if fitting.imported is not None:
        return fitting.imported.record()
    config = fitting.config
    record = config.encoder.model_dump(mode="json")
    weights = Path(config.encoder.weights)
    if config.encoder.weights not in WEIGHTS_WORDS and weights.is_file():
        record["weights"] = weights.name
        record["weights_sha256"] = store.file_identity(weights, content=True)
    return record
