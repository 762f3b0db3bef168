from __future__ import annotations

from typing import get_args

import pytest

from axilla.core.config import ClassesEndpoint, ColumnEndpoint, NodeEndpoint
from axilla.core.config_choices import class_count
from axilla.core.endpoint import (
    Outside,
    Unclear,
    class_names,
    column_class,
    node_class,
    node_stage,
)

LABEL = ColumnEndpoint(column="label", negative="benign", positive="malignant")


def test_classes_are_counted_as_they_are_named():
    several = ClassesEndpoint(column="grade", classes=("G1", "G2", "G3", "G4"))
    endpoints = (*get_args(NodeEndpoint), LABEL, several)
    assert [class_count(e) for e in endpoints] == [len(class_names(e)) for e in endpoints]
    assert [class_count(e) for e in endpoints] == [2, 2, 3, 2, 2, 2, 4]


@pytest.mark.parametrize(
    ("nodes", "stage"),
    [("0", "N0"), ("1", "N+(1-2)"), ("2.0", "N+(1-2)"), ("3", "N+(>=3)"), ("27", "N+(>=3)")],
)
def test_a_count_of_nodes(nodes, stage):
    assert node_stage(nodes=nodes, aln_status=None) == stage


@pytest.mark.parametrize(
    ("status", "stage"),
    [
        ("N0", "N0"), ("n0", "N0"), ("0", "N0"), ("N+(1-2)", "N+(1-2)"), ("N+ (1-2)", "N+(1-2)"),
        ("N+(>2)", "N+(>=3)"), ("N+ (>=3)", "N+(>=3)"), ("N+(≥3)", "N+(>=3)"), ("N+", "N(+)"),
        ("N(+)", "N(+)"),
    ],
)  # fmt: skip
def test_a_written_status(status, stage):
    assert node_stage(nodes="", aln_status=status) == stage


@pytest.mark.parametrize(
    ("nodes", "status", "cause"),
    [
        ("-1", "", "`nodes` is '-1', which is no count of positive lymph nodes."),
        ("1.5", "", "`nodes` is '1.5', which is no count of positive lymph nodes."),
        ("two", "", "`nodes` is 'two', which is no count of positive lymph nodes."),
        ("", "pN1a", "`aln_status` is 'pN1a', which is no node status."),
        ("", "", "the node status is missing."),
        ("0", "N+(1-2)", "`nodes` is '0', but `aln_status` is 'N+(1-2)'."),
        ("1", "N0", "`nodes` is '1', but `aln_status` is 'N0'."),
        ("1", "N+(>2)", "`nodes` is '1', but `aln_status` is 'N+(>2)'."),
    ],
)
def test_unclear_status(nodes, status, cause):
    found = node_stage(nodes=nodes, aln_status=status)
    assert isinstance(found, Unclear)
    assert found.cause == cause


@pytest.mark.parametrize(
    ("nodes", "status", "stage"),
    [("0", "N0", "N0"), ("1", "N+", "N+(1-2)"), ("3", "N+(>2)", "N+(>=3)"), ("0", "pN0", "N0")],
)
def test_count_and_status_that_agree(nodes, status, stage):
    assert node_stage(nodes=nodes, aln_status=status) == stage


@pytest.mark.parametrize(
    ("endpoint", "classes", "of_stage"),
    [
        ("n0-vs-npos", ("N0", "N(+)"), (0, 1, 1)),
        ("n1-2-vs-n3plus", ("N+(1-2)", "N+(>=3)"), (None, 0, 1)),
        ("n0-vs-n1-2-vs-n3plus", ("N0", "N+(1-2)", "N+(>=3)"), (0, 1, 2)),
        ("n0-vs-n1-2", ("N0", "N+(1-2)"), (0, 1, None)),
        ("n0-vs-n3plus", ("N0", "N+(>=3)"), (0, None, 1)),
    ],
)
def test_classes_of_an_endpoint(endpoint, classes, of_stage):
    assert class_names(endpoint) == classes
    for stage, expected in zip(("N0", "N+(1-2)", "N+(>=3)"), of_stage, strict=True):
        found = node_class(stage, endpoint)
        if expected is None:
            assert found == Outside(f"{stage} is not part of the endpoint {endpoint}")
        else:
            assert found == expected


def test_a_positive_status_alone_serves_only_n0_against_npos():
    assert node_class("N(+)", "n0-vs-npos") == 1
    found = node_class("N(+)", "n0-vs-n1-2")
    assert isinstance(found, Unclear)
    assert found.cause == (
        "`aln_status` is only N(+), and n0-vs-n1-2 needs the number of positive nodes."
    )


def test_column_endpoint():
    assert class_names(LABEL) == ("benign", "malignant")
    assert [column_class(cell, LABEL) for cell in ("Benign", "malignant")] == [0, 1]
    assert column_class("unsure", LABEL) == Unclear(
        "`label` is 'unsure', neither 'benign' nor 'malignant'.",
        "Correct the cell, or leave the row out.",
    )
    assert column_class("", LABEL).cause == (
        "`label` is missing, neither 'benign' nor 'malignant'."
    )
    numbers = ColumnEndpoint(column="label", negative="0", positive="1")
    assert [column_class(cell, numbers) for cell in ("0.0", "1.0")] == [0, 1]


def test_a_column_of_several_classes():
    grade = ClassesEndpoint(column="grade", classes=("G1", "G2", "G3"))
    assert class_names(grade) == ("G1", "G2", "G3")
    assert [column_class(cell, grade) for cell in ("g3", "G1", "G2")] == [2, 0, 1]
    assert column_class("G4", grade).cause == "`grade` is 'G4', none of 'G1', 'G2', 'G3'."
    assert column_class("", grade).cause == "`grade` is missing, none of 'G1', 'G2', 'G3'."
    numbers = ClassesEndpoint(column="grade", classes=(1, 2, 3))
    assert [column_class(cell, numbers) for cell in ("1", "2.0", "3")] == [0, 1, 2]
