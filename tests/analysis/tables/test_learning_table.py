from axilla.analysis.learning_curve import LearningRun, learning_curve
from axilla.analysis.tables.learning_table import learning_table


def table(*runs):
    return learning_table({"clinical": learning_curve(runs, extrapolate_to=800, seed=0)})


def rising(repeats, *, last):
    law = [(n, 0.85 - 1.5 * n**-0.6) for n in (50, 100, 200)]
    runs = [LearningRun(n, r, auc + 0.01 * r) for r in range(repeats) for n, auc in law]
    return [*runs, LearningRun(400, 0, last)]


def test_the_spread_is_told_where_there_is_one():
    found = table(*rising(2, last=0.81))
    assert found.frame["Validation AUC"].tolist()[-1] == "0.810"
    assert " ± 0.007" in found.frame["Validation AUC"][0]
    assert found.notes[0].startswith("AUC: mean ± standard deviation over the trainings")
    alone = table(*rising(1, last=0.81))
    assert not any("±" in text for text in (*alone.frame["Validation AUC"], *alone.notes))


def test_an_extrapolation_below_what_was_seen_says_so():
    assert "little is to be made of it" not in table(*rising(3, last=0.8)).notes[-1]
    high = table(*rising(3, last=0.95)).notes[-1]
    assert "it lies under the mean of 0.950 with 400, which the curve does not fit" in high
