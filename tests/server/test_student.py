"""Student's t against SciPy's."""

from __future__ import annotations

import pytest
from scipy.stats import t

from reidscope_server.student import central, two_sided


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 6, 7, 19, 20, 99, 500])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_quantiles_are_students(freedom: int, confidence: float) -> None:
    ours = two_sided(confidence, freedom)
    assert ours == pytest.approx(t.ppf((1 + confidence) / 2, freedom), rel=1e-9)
    assert central(ours, freedom) == pytest.approx(confidence, abs=1e-9)
