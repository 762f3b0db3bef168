from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from axilla.analysis.metrics import evaluate
from axilla.analysis.plots.look import COLUMN_IN, PAGE_IN, in_print
from axilla.core.types import COHORT_TITLES
from axilla.study.evaluation_figures import draw_evaluation


def make_predictions(methods: tuple[str, ...]) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        {"patient_id": f"{cohort}{n}", "method": method, "cohort": cohort, "label": n % 2,
         "score": float(np.clip(0.3 * (n % 2) + 0.7 * rng.random(), 0, 1))}
        for method in methods for cohort in ("val", "test") for n in range(20)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize("methods", [("dl-cnb",), ("clinical-boosting", *"abcde")])
def test_every_text_can_be_read_at_the_width_of_a_column(methods: tuple[str, ...]) -> None:
    frame = make_predictions(methods)
    metrics = evaluate(frame, endpoint="x", threshold_rule=0.5)
    names = set()
    with in_print():
        for drawn in draw_evaluation(frame, metrics, classes=None, cohort_titles=COHORT_TITLES):
            names.add(drawn.name)
            if drawn.name not in {"roc_test", "roc_cohorts"} and not drawn.name.endswith("_a_test"):
                continue
            width = PAGE_IN if drawn.name == "roc_cohorts" else COLUMN_IN
            drawn.figure.draw_without_rendering()
            box = drawn.figure.get_tightbbox()
            assert box.width <= width + 0.02
            shown = [t for t in drawn.figure.findobj(Text) if t.get_visible() and t.get_text()]
            assert min(float(text.get_fontsize()) for text in shown) >= 6
    kinds = {f"{kind}_{m}_{c}" for kind in ("confusion", "scores") for m in methods
             for c in ("val", "test")}  # fmt: skip
    assert names == kinds | {"roc_val", "roc_test", "roc_cohorts"}
