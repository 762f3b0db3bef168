"""Units, ranges and values of clinical columns, as `axilla check` tells them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from axilla.core.cohort import read_cohort
from axilla.core.config import Clinical
from axilla.core.config_clinical import NumericColumn
from axilla.core.spellings import several_spellings


def test_names_and_mappings_stand_side_by_side():
    clinical = Clinical.model_validate(
        {
            "numeric": ["age", {"name": "tumor_size_cm", "unit": "cm", "min": 0.1, "max": 20}],
            "categorical": ["er", {"name": "grade", "values": [1, 2, 3]}],
        }
    )
    assert clinical.names == ("age", "tumor_size_cm", "er", "grade")
    age, size = clinical.numeric
    assert (age.shown_unit, age.low, age.high) == ("years", 10, 120)
    assert (size.shown_unit, size.low, size.high) == ("cm", 0.1, 20)
    assert clinical.categorical[1].known_values == ("1", "2", "3")
    written = clinical.model_dump(mode="json")
    assert written["numeric"][0] == "age"
    assert written["categorical"][0] == "er"
    assert Clinical.model_validate(written) == clinical


def test_one_bound_may_be_declared_and_the_other_is_known():
    column = NumericColumn.model_validate({"name": "age", "min": 18})
    assert (column.low, column.high) == (18, 120)
    other = NumericColumn(name="ki67")
    assert (other.shown_unit, other.low, other.high) == (None, None, None)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"name": "tumor_size_cm", "unit": "mm"}, "in cm by its name"),
        ({"name": "ki67", "min": 5, "max": 5}, "of no range: min 5 is not below max 5"),
        ({"name": "age", "min": 130}, "of no range: min 130 is not below max 120"),
        ({"name": "ki67", "lowest": 5}, "Extra inputs"),
        ({"unit": "cm"}, "Field required"),
        ({"name": " "}, "String should match"),
    ],
)
def test_a_declaration_that_cannot_be(column, message):
    with pytest.raises(ValidationError, match=message):
        Clinical.model_validate({"numeric": [column]})


def test_values_named_twice_in_other_case():
    with pytest.raises(ValidationError, match="name 'positive' twice"):
        Clinical.model_validate(
            {"categorical": [{"name": "er", "values": ["positive", "Positive "]}]}
        )


@pytest.mark.parametrize(
    ("column", "cell", "cause", "instead"),
    [
        ("age", "200", "200 years, but should be at most 120.", "Correct the value; max"),
        (
            "age", "1965",
            "1965 years, but should be at most 120; it is probably the year of birth.",
            "Write the age at biopsy in years; max",
        ),
        ("age", "-1", "-1 years, but should be at least 10.", "Correct the value; min"),
        (
            "tumor_size_cm", "250", "250 cm, but should be at most 20; it is probably in mm.",
            "Write it in cm; max",
        ),
        ("tumor_size_cm", "0", "0 cm, but should be at least 0.01.", "Correct the value; min"),
    ],
)  # fmt: skip
def test_a_number_that_no_patient_has(study, rows, column, cell, cause, instead):  # noqa: PLR0917
    rows[1][column] = cell
    config = study(rows)
    reading = read_cohort(config)
    (problem,) = reading.problems
    assert (problem.patient, problem.file, problem.fatal) == ("8", config.cohort, False)
    assert problem.cause == f"`{column}` is {cause}"
    what, bound = instead.split("; ")
    assert problem.remedy == (
        f"{what}; if it is right, declare the range: {{name: {column}, {bound}: ...}}."
    )
    assert [p.patient_id for p in reading.cohort.patients] == ["007", "9", "10"]


def test_a_declared_range_goes_before_the_known_one(study, rows):
    rows[1]["tumor_size_cm"] = "25"
    wide = {"numeric": ["age", {"name": "tumor_size_cm", "max": 30}]}
    assert not read_cohort(study(rows, clinical=wide)).problems
    narrow = {"numeric": [{"name": "age", "min": 18, "max": 55}]}
    reading = read_cohort(study(rows, clinical=narrow))
    assert [(p.patient, p.cause) for p in reading.problems] == [
        ("9", "`age` is 60.5 years, but should be at most 55."),
        ("10", "`age` is 70 years, but should be at most 55."),
    ]


def many(rows, **cells):
    """Twelve patients; `cells` gives a column as a function of the row's number."""
    return [
        {**rows[i % 4], "patient_id": f"p{i}", **{n: str(make(i)) for n, make in cells.items()}}
        for i in range(12)
    ]


def test_a_whole_column_in_mm_is_told_once(study, rows):
    reading = read_cohort(study(many(rows, tumor_size_cm=lambda i: 12 + i)))
    (problem,) = reading.problems
    assert problem.fatal
    assert problem.patient is None
    assert problem.cause == (
        "half of the patients have `tumor_size_cm` above 8 cm: the values are probably in mm."
    )
    assert problem.remedy.startswith("Name the column `tumor_size_mm` in the table;")
    declared = {"numeric": ["age", {"name": "tumor_size_cm", "min": 0, "max": 300}]}
    assert not read_cohort(
        study(many(rows, tumor_size_cm=lambda i: 12 + i), clinical=declared)
    ).problems


def test_a_column_in_mm_serves_a_study_in_cm(study, rows):
    for row, size in zip(rows, ("21", "10", "", "many"), strict=True):
        row["tumor_size_mm"] = size
        del row["tumor_size_cm"]
    reading = read_cohort(study(rows, clinical={"missing": "impute"}))
    sizes = [p.clinical["tumor_size_cm"] for p in reading.cohort.patients]
    assert sizes == [2.1, 1.0, None]
    assert reading.cohort.frame["tumor_size_cm"].tolist()[:2] == ["2.1", "1"]
    assert [p.cause for p in reading.problems] == ["`tumor_size_cm` is 'many', which is no number."]
    (note,) = reading.notes
    assert note.cause == (
        "has no column `tumor_size_cm`, but `tumor_size_mm`: its values were multiplied by 0.1."
    )


def test_a_column_in_mm_may_be_used_as_it_is(study, rows):
    rows = many(rows, tumor_size_mm=lambda i: 12 + i)
    reading = read_cohort(study(rows, clinical={"numeric": ["age", "tumor_size_mm"]}))
    assert not reading.problems
    assert not reading.notes
    assert reading.cohort.patients[0].clinical["tumor_size_mm"] == 12.0
    in_cm = many(rows, tumor_size_mm=lambda i: 1.2 + i / 10)
    (problem,) = read_cohort(study(in_cm, clinical={"numeric": ["age", "tumor_size_mm"]})).problems
    assert problem.cause.endswith("below 4 mm: the values are probably in cm.")


def test_a_category_that_is_not_declared(study, rows):
    rows[0]["er"], rows[1]["er"] = "POSITIVE", "positiv"
    clinical = {"categorical": [{"name": "er", "values": ["Negative", "Positive"]}]}
    reading = read_cohort(study(rows, clinical=clinical))
    (problem,) = reading.problems
    assert problem.patient == "8"
    assert problem.cause == (
        "`er` is 'positiv', but may be negative, positive (did you mean positive?)."
    )
    assert problem.remedy == "Correct the value, or add it to the column's `values`."


@pytest.mark.parametrize(
    ("column", "make", "wrong"),
    [
        ("er", lambda i: f"{5 * i}%", True),
        ("er", lambda i: 5 * i, True),
        ("her2", lambda i: f"{i % 4}+", False),
        ("ki67", lambda i: 5 * i, True),
        ("histology", lambda i: f"type {i}", False),
    ],
)
def test_a_measurement_named_as_a_category(study, rows, column, make, wrong):
    table = many(rows, **{column: make})
    reading = read_cohort(study(table, clinical={"categorical": [column]}))
    assert [p.cause.split(" has ")[0] for p in reading.problems] == [f"`{column}`"] * wrong
    assert all(p.fatal for p in reading.problems)


DASHES = ["-", "\u2013", "\u2014", "\u2212", "\uff0d"]


def test_a_minus_beside_a_plus_is_negative_and_not_missing(study, rows):
    table = many(rows, er=lambda i: "+" if i % 3 == 0 else DASHES[i % 5], age=lambda i: 40 + i)
    table[1]["er"] = ""
    for missing, problems in (("impute", []), ("refuse", ["`er` is missing."])):
        clinical = {"numeric": ["age"], "categorical": ["er"], "missing": missing}
        reading = read_cohort(study(table, clinical=clinical))
        assert [p.cause for p in reading.problems] == problems
    kept = read_cohort(study(table, clinical=clinical | {"missing": "impute"})).cohort
    assert [p.clinical["er"] for p in kept.patients] == ["+", None, *("-", "+", "-") * 3, "-"]
    assert kept.frame["er"].value_counts().to_dict() == {"-": 7, "+": 4}


def test_a_dash_in_a_column_of_numbers_is_missing(study, rows):
    rows[1]["age"], rows[2]["age"] = "-", "\u2013"
    reading = read_cohort(study(rows, clinical={"missing": "impute"}))
    assert not reading.problems
    assert [p.clinical["age"] for p in reading.cohort.patients] == [40.0, None, None, 70.0]


@pytest.mark.parametrize("missing", ["impute", "refuse"])
def test_a_dash_that_may_say_two_things_is_told_once_for_its_column(study, rows, missing):
    table = many(rows, her2=lambda i: "-" if i % 3 == 0 else f"{i % 3}+")
    clinical = {"categorical": ["her2"], "missing": missing}
    (problem,) = read_cohort(study(table, clinical=clinical)).problems
    assert (problem.fatal, problem.patient) == (True, None)
    assert problem.cause == (
        "`her2` is a dash in 4 rows and `+` in none, so that the dash may say negative or missing."
    )
    assert problem.remedy == (
        "Write negative, or leave the cells empty where the value is missing; if `-` is a "
        'category, declare it: {name: her2, values: ["+", "-"]}.'
    )
    declared = {"categorical": [{"name": "her2", "values": ["\u2013", "1+", "2+"]}]}
    reading = read_cohort(study(table, clinical=declared | {"missing": missing}))
    assert not reading.problems
    assert [p.clinical["her2"] for p in reading.cohort.patients[:3]] == ["-", "1+", "2+"]


def test_a_dash_of_a_column_that_no_method_reads(study, rows):
    for row, er, pr in zip(rows, "+-+-", ("positive", "-", "positive", ""), strict=True):
        row |= {"er": er, "pr": pr}
    files = tuple(f"{row['patient_id']}.svs" for row in rows)
    reading = read_cohort(study(rows, slides=files, methods=["dl-cnb"]))
    assert not reading.problems
    assert reading.cohort.frame["er"].tolist() == ["+", "-", "+", "-"]
    assert reading.cohort.frame["pr"].isna().tolist() == [False, True, False, True]


def test_an_endpoint_of_plus_and_minus(study, rows):
    for row, response in zip(rows, "+-+-", strict=True):
        row["response"] = response
    endpoint = {"column": "response", "negative": "-", "positive": "+"}
    reading = read_cohort(study(rows, endpoint=endpoint))
    assert not reading.problems
    assert [p.label for p in reading.cohort.patients] == [1, 0, 1, 0]


WAYS = ["positive", "Pos", "+", "1", "negative", "neg", "0", "NEG", "", "positive"]


def test_one_value_in_several_spellings_is_a_problem_of_the_study(study, rows):
    table = many(rows, er=lambda i: WAYS[i % len(WAYS)])
    for row in table:
        row["er"] = row["er"] or "negative"
    reading = read_cohort(study(table))
    (problem,) = reading.problems
    assert (problem.fatal, problem.patient, problem.file.name) == (True, None, "cohort.csv")
    assert problem.cause == (
        "`er` writes one value in several ways ('+', '1', 'pos', 'positive'; '0', 'neg', "
        "'negative')."
    )
    assert problem.remedy == (
        "Write positive and negative, or declare the values: "
        "categorical: [{name: er, values: [...]}]."
    )
    values = ["positive", "pos", "+", "1", "negative", "neg", "0"]
    declared = {"categorical": [{"name": "er", "values": values}, "pr", "her2"]}
    assert not read_cohort(study(table, clinical=declared)).problems


@pytest.mark.parametrize(
    ("name", "values", "several"),
    [
        ("er", "+ -", ()),
        ("er", "1 0", ()),
        ("er", "Positive positive NEG neg", ()),  # case never made a category
        ("er", "pos positive unknown", (("pos", "positive"),)),
        ("her2", "0 1 2 3 negative positive", ()),  # scores
        ("her2", "0 1+ 2+ 3+", ()),
        ("invasion", "pos + neg", (("+", "pos"),)),
        ("invasion", "pos + none", ()),  # not only positive and negative
        ("grade", "1 2 3", ()),
    ],
)
def test_which_spellings_are_of_one_value(name, values, several):
    assert several_spellings(name, values.split()) == several


def test_a_few_sizes_in_mm_are_noted(study, rows):
    def notes(**sizes):
        table = many(rows, tumor_size_cm=lambda i: sizes.get(f"p{i}", 2.1))
        reading = read_cohort(study(table))
        return [n.cause for n in reading.notes], [p.cause for p in reading.problems]

    (note,), problems = notes(p7=12, p9=15)
    assert note == "`tumor_size_cm` of 2 patients lies above 8 cm (p7: 12, p9: 15): is it in mm?"
    assert problems == []
    assert notes(p7=8) == ([], [])
    (note,), problems = notes(p0=120, p1=9)  # what is refused is not noted as well
    assert note == "`tumor_size_cm` of 1 patient lies above 8 cm (p1: 9): is it in mm?"
    assert len(problems) == 1
    assert notes(**{f"p{i}": 12 for i in range(12)})[0] == []  # the column is told as a whole
    (note,), _ = notes(**{f"p{i}": 12 for i in range(6)})
    assert "(p0: 12, p1: 12, p2: 12, p3: 12, p4: 12 and 1 more)" in note


def test_a_few_sizes_in_cm_are_noted_in_a_column_of_mm(study, rows):
    table = [
        {**{k: v for k, v in row.items() if k != "tumor_size_cm"}, "tumor_size_mm": size}
        for row, size in zip(rows, ("21", "90", "2.1", "18"), strict=True)
    ]
    reading = read_cohort(study(table, clinical={"numeric": ["age", "tumor_size_mm"]}))
    assert [note.cause for note in reading.notes] == [
        "`tumor_size_mm` of 1 patient lies below 4 mm (9: 2.1): is it in cm?"
    ]
    converted = read_cohort(study(table))
    assert [note.cause[:13] for note in converted.notes] == ["has no column"]
