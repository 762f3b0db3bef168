"""How the authors standardised age and tumour size, by endpoint (their preprocessed tables).

Mean and standard deviation (population, n) of the training patients of each endpoint's own split;
with them the published values come out to the last digit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from axilla.core.config import NodeEndpoint


class Standard(NamedTuple):
    """Mean and standard deviation of age (years) and tumour size (cm)."""

    age_mean: float
    age_sd: float
    size_mean: float
    size_sd: float


STANDARDS: Mapping[NodeEndpoint, Standard] = {
    "n0-vs-npos": Standard(57.8365079365079, 12.4450640637774, 2.23095238095238, 0.845685998025411),
    "n1-2-vs-n3plus": Standard(
        55.3206751054852, 12.8492769653228, 2.54683544303797, 0.826078445060504
    ),
    "n0-vs-n1-2-vs-n3plus": Standard(
        57.4848484848485, 12.6013977390226, 2.27527910685805, 0.863200182618844
    ),
    "n0-vs-n1-2": Standard(58.1216216216216, 12.6015058423149, 2.15849420849421, 0.81775380446409),
    "n0-vs-n3plus": Standard(
        58.1549019607843, 12.3241165411481, 2.19745098039216, 0.85498158021038
    ),
}
