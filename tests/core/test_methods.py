"""What the names of methods stand for."""

from __future__ import annotations

import pytest

from axilla.core.config import Aggregator, StudyConfig
from axilla.core.methods import method_names, method_spec, method_title


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
