"""What the names of methods stand for."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from axilla.core.config import Aggregator, StudyConfig
from axilla.core.methods import AGGREGATORS, ZOO, method_names, method_spec, method_title


@pytest.mark.parametrize(
    ("name", "images", "clinical", "variant", "title"),
    [
        ("clinical", False, True, None, "Clinical data only"),
        ("dl-cnb", True, False, None, "DL-CNB model"),
        ("dl-cnb+c", True, True, None, "DL-CNB+C model"),
        ("dl-cnb-gated", True, False, "gated", "DL-CNB, gated"),
        ("dl-cnb+c-mean", True, True, "mean", "DL-CNB+C, mean"),
    ],
)
def test_a_name_says_what_is_read_and_how_it_is_pooled(name, images, clinical, variant, title):
    spec = method_spec(name)
    assert (spec.images, spec.clinical, spec.variant) == (images, clinical, variant)
    assert method_title(name) == title


def test_names_are_unique_and_fit_for_folders():
    names = method_names()
    assert len(set(names)) == len(names)
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789+-") for name in names)


def test_predictions_from_elsewhere_keep_their_name():
    assert method_title("radiologist A") == "radiologist A"


def test_a_variant_pools_its_own_way_with_the_study_s_other_settings():
    config = StudyConfig(
        cohort="c.csv", endpoint="n0-vs-npos", slides="s", aggregator=Aggregator(width=32)
    )
    assert config.aggregator_of("dl-cnb") == Aggregator(width=32)
    assert config.aggregator_of("dl-cnb-gated") == Aggregator(width=32, kind="gated")


def zoo_study(methods, **aggregator):
    return StudyConfig(
        cohort="c.csv", endpoint="n0-vs-npos", slides="s", methods=methods,
        aggregator=Aggregator(**aggregator),
    )  # fmt: skip


def test_methods_of_the_zoo_are_known_by_name_and_by_the_study_s_aggregator():
    config = zoo_study(("clinical", "dl-cnb", "dl-cnb+c-clam", "dl-cnb-mean"), original=True)
    assert config.zoo_methods == ("dl-cnb+c-clam",)
    # The original code's attention is not that of CLAM.
    assert config.aggregator_of("dl-cnb+c-clam") == Aggregator(kind="clam")
    assert config.aggregator_of("dl-cnb-mean").original
    assert zoo_study(("clinical", "dl-cnb", "dl-cnb-max"), kind="dsmil").zoo_methods == ("dl-cnb",)
    assert method_title("dl-cnb+c-dtfdmil") == "DL-CNB+C, DTFD-MIL"
    assert set(ZOO) < set(AGGREGATORS)


def test_what_the_zoo_cannot_do_is_said_with_the_study():
    with pytest.raises(
        ValidationError, match=r"width: is 20, .*\(dl-cnb-clam\) need a multiple of 8"
    ):
        zoo_study(("dl-cnb", "dl-cnb-clam"), width=20)
    assert zoo_study(("dl-cnb", "dl-cnb-mean"), width=20).aggregator.width == 20
    with pytest.raises(ValidationError, match="original code's attention, but the kind is clam"):
        zoo_study(("dl-cnb",), kind="clam", original=True)
