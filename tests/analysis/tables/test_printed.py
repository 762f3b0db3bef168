import math

import pytest

from axilla.analysis.tables.printed import format_auc, format_number, format_p, format_percent


@pytest.mark.parametrize(
    ("value", "decimals", "signed", "printed"),
    [
        (-0.0, 2, False, "0.00"), (-0.0004, 3, True, "0.000"), (0.0004, 3, True, "0.000"),
        (-1.234, 2, False, "−1.23"), (0.05, 3, True, "+0.050"), (-0.05, 3, True, "−0.050"),
        (12.5, 0, False, "12"), (math.nan, 2, False, "–"),
    ],
)  # fmt: skip
def test_numbers_have_a_true_minus_and_zero_no_sign(value, decimals, signed, printed):
    assert format_number(value, decimals, signed=signed) == printed


def test_a_half_is_rounded_as_the_paper_does():
    # Supplementary Table 3: 84 of 128 is 65.625%, printed 65.62.
    assert format_percent({"value": 84 / 128, "low": None, "high": None}) == "65.62"


def test_p_values_as_printed():
    values = (0.045, 0.0004, 0.00099, 0.001, 0.344, 1.0, math.nan)
    assert [format_p(p) for p in values] == [
        "0.045", "<0.001", "<0.001", "0.001", "0.344", "1.000", "–",
    ]  # fmt: skip
    assert format_p(0.00004, decimals=4) == "<0.0001"


def test_undefined_area():
    assert format_auc({"value": None, "low": None, "high": None}, mark="a") == "–^a"
