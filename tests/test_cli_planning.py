"""The commands about how many patients are needed."""

from __future__ import annotations

import sys

import pytest

from axilla.cli import main


def _run(monkeypatch: pytest.MonkeyPatch, *args: str) -> int:
    monkeypatch.setattr(sys, "argv", ["axilla", *args])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_sample_size_prints_the_patients_for_a_width(monkeypatch, capsys):
    # 4252 is what the authors' program pmvalsampsize prints for this area.
    settings = ("--auc", "0.8", "--prevalence", "0.018", "--oe-width", "1", "--sensitivity", "0.9")
    assert _run(monkeypatch, "sample-size", *settings, "--specificity", "0.7") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["Figure", "Assumed", "Width", "Patients", "Positive"]
    assert lines[1].split() == ["AUC", "(DeLong)", "0.800", "0.100", "4,252", "77"]
    # 1 - NPV = 0.1 * 0.018 / (0.1 * 0.018 + 0.7 * 0.982)
    assert "0.997" in next(line for line in lines if line.startswith("NPV"))
    assert len({len(line) for line in lines[:8]}) == 1
    assert lines[-1].startswith("For all of them: ")


def test_sample_size_prints_the_widths_of_given_patients(monkeypatch, capsys):
    settings = ("--auc", "0.816", "--prevalence", "0.385", "--patients", "218")
    assert _run(monkeypatch, "sample-size", *settings) == 0
    out = capsys.readouterr().out
    # The paper prints 0.816 [0.758, 0.865].
    assert ["AUC", "(binomial)", "0.816", "0.107", "218", "84"] in [
        line.split() for line in out.splitlines()
    ]
    assert "For all" not in out


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("--auc", "80", "--prevalence", "0.3"), "an AUC of 80 cannot be planned for"),
        (("--auc", "0.8", "--prevalence", "0.3", "--width", "0"), "cannot be 0 wide"),
        (("--auc", "0.8", "--prevalence", "0.3", "--patients", "3"), "fewer than two"),
    ],
)
def test_what_cannot_be_planned_is_a_sentence(monkeypatch, capsys, settings, said):
    assert _run(monkeypatch, "sample-size", *settings) == 2
    said_to_user = capsys.readouterr().err
    assert said in said_to_user
    assert "Give" in said_to_user or "Plan" in said_to_user
