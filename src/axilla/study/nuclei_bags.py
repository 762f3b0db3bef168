"""What the method dl-cnb-nuclei sees of a study: bags of nucleus features in place of patches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axilla.core.config import Bags, Encoder, ImportedFeatures
from axilla.core.methods import method_spec
from axilla.core.types import Partition
from axilla.nuclei.feature_bags import FEATURES, Bins, feature_bag, fix_bins
from axilla.study.fitting import Fitting
from axilla.study.imported import FileFacts, Imported
from axilla.study.instances import SlideArrays
from axilla.study.nuclei_slides import SlideNuclei
from axilla.study.slide_checks import slides_of

ENCODER = "nucleus features"


@dataclass(frozen=True, slots=True, eq=False)
class FeatureBags:
    """Bags of every slide, with bins fixed on the training patients of a partition."""

    nuclei: SlideNuclei
    training: tuple[str, ...]
    """Slides of the training patients."""
    bins: int
    _fixed: list[Bins] = field(default_factory=list)

    def fixed(self) -> Bins:
        """The bins, fixed when first asked for: not before nuclei are looked at."""
        if not self._fixed:
            seen = [self.nuclei.values(slide) for slide in self.training]
            self._fixed.append(fix_bins(seen, bins=self.bins))
        return self._fixed[0]

    def bag(self, slide_id: str) -> NDArray[np.float32]:
        """The slide's bag [features, D]; [0, D] where no patch of it was kept.

        Nobody saw a nucleus on such a slide or saw that there was none: it has no bag to score or
        to learn from.
        """
        values, fixed = self.nuclei.values(slide_id), self.fixed()
        if not len(values["density"]):
            return np.empty((0, fixed.length), np.float32)
        return feature_bag(values, fixed)

    def record(self) -> dict[str, Any]:
        """Edges by feature, for the model's record."""
        return self.fixed().to_json()


def seen_by(fitting: Fitting, method: str, partition: Partition) -> Fitting:
    """What a method sees of the study: `fitting` itself, but for dl-cnb-nuclei.

    Its bags hold one instance a feature, all of them, and its bins come from the training patients
    of the partition alone.
    """
    if not method_spec(method).nuclei:
        return fitting
    if fitting.nuclei is None:
        raise ValueError("feature bags need nuclei")
    config, nuclei = fitting.config, fitting.nuclei
    own = {slide.slide_id for slide in slides_of(fitting.cohort.patients)}
    keys = {slide: key for slide, key in nuclei.keys.items() if slide in own}
    training = tuple(s.slide_id for s in slides_of(fitting.patients(partition, "train")))
    bags = FeatureBags(nuclei, training, config.nuclei.bins)
    length = config.nuclei.bins + len(FEATURES)
    return replace(
        fitting,
        config=config.model_copy(
            update={
                "features": ImportedFeatures(folder=config.out / "nuclei"),
                "encoder": Encoder(),
                "stain": None,
                "bags": Bags(size=len(FEATURES)),
            }
        ),
        slides=SlideArrays(list(keys), bags.bag),
        slide_keys=keys,
        stains=None,
        bags=None,
        imported=Imported(_facts(keys, length)),
        feature_bags=bags,
    )


def _facts(keys: Mapping[str, str], length: int) -> dict[str, FileFacts]:
    return {
        slide: FileFacts(
            identity=key, patches=len(FEATURES), dimension=length, source="axilla nuclei",
            encoder=ENCODER, coords=False,
        )
        for slide, key in keys.items()
    }  # fmt: skip
