import pandas as pd

from axilla.core.types import Cohort
from axilla.study.summary import SHOWN_SLIDES, outline_sentences, summary_sentences


def test_repaired_outlines_are_named_by_slide():
    assert outline_sentences({"A": 0, "B": 0}) == ()
    (sentence,) = outline_sentences({"A": 2, "B": 0, "C": 1})
    assert sentence == (
        "Outlines that cross themselves were repaired, in slides (regions) A (2), C (1); "
        "`axilla explain --audit` draws what was taken."
    )
    (many,) = outline_sentences({f"S{n}": 1 for n in range(SHOWN_SLIDES + 3)})
    assert f"S{SHOWN_SLIDES - 1} (1) and 3 more;" in many


def test_folds_without_a_threshold_have_no_accuracy():
    cohort = Cohort(("N0", "N(+)"), (), (), 0, pd.DataFrame())
    auc = {"mean": 0.7, "se": 0.02, "n": 3, "undefined": []}
    fold = {"repeat": 0, "fold": 1, "reason": "no threshold reaches it"}

    def told(accuracy):
        figures = {"auc": auc, "accuracy": accuracy, "by_fold": []}
        metrics = {"folds": {"clinical": figures}, "methods": {}, "comparisons": []}
        (sentence,) = summary_sentences(cohort, metrics)
        return sentence.partition("(SE 0.020), ")[2]

    one = {"mean": 0.8, "se": None, "n": 1, "undefined": [fold, fold]}
    one["reason"] = "a single value has no spread"
    assert told(one) == "no mean accuracy (a single value has no spread)."
    two = {"mean": 0.8, "se": 0.03, "n": 2, "undefined": [fold]}
    assert told(two) == "mean accuracy 0.800 (SE 0.030) over the 2 folds that have one."
    all_of_them = two | {"n": 3, "undefined": []}
    assert told(all_of_them) == "mean accuracy 0.800 (SE 0.030)."
