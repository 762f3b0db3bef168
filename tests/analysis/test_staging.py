import numpy as np
import pandas as pd
import pytest

from axilla.analysis.staging import t_stage
from axilla.core.errors import StatisticsError


def test_t_stage_at_its_limits():
    sizes = pd.Series([0.1, 2.0, 2.01, 5.0, 5.1, np.nan])
    assert t_stage(sizes).tolist() == ["T1", "T1", "T2", "T2", "T3", None]
    with pytest.raises(StatisticsError, match="patient p9"):
        t_stage(pd.Series([0.0], index=["p9"]))
