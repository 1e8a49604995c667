from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from freqlstm.reliability import calibration_error, coverage, reliability


def test_coverage_by_hand() -> None:
    """Of five rows one has no interval, one lies below, one above, and one on the edge, which is inside."""
    low, high = np.array([0.0, 0.0, 0.0, 0.0, np.nan]), np.array([1.0, 2.0, 1.0, 1.0, np.nan])
    found = coverage(low, high, np.array([-0.5, 2.0, 0.5, 1.5, 0.5]))
    assert found == {"rows": 4, "coverage": 0.5, "below": 0.25, "above": 0.25, "width": 1.25}
    assert coverage(low[4:], high[4:], np.zeros(1)) == {
        "rows": 0, "coverage": None, "below": None, "above": None, "width": None,
    }  # fmt: skip


def test_the_groups_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    said = random.uniform(0.3, 0.7, 1000)
    came = (random.uniform(0, 1, 1000) < said).astype(float)
    rose, mean = calibration_curve(came, said, n_bins=10, strategy="quantile")
    found = reliability(said, came)
    assert [group["rose"] for group in found] == pytest.approx(rose, abs=1e-12)
    assert [group["said"] for group in found] == pytest.approx(mean, abs=1e-12)
    assert sum(group["rows"] for group in found) == 1000
    error = calibration_error(found)
    assert error is not None
    assert error < 0.06


def test_a_forecast_that_is_too_sure_is_found_out() -> None:
    """0.9 said and 0.6 come, 0.1 said and 0.4 come: a calibration error of 0.3; equal probabilities stay together."""
    said = np.repeat([0.1, 0.9], 10)
    came = np.array([1.0] * 4 + [0.0] * 6 + [1.0] * 6 + [0.0] * 4)
    found = reliability(said, came)
    assert [(group["rows"], group["said"], group["rose"]) for group in found] == [
        (10, pytest.approx(0.1), 0.4),
        (10, pytest.approx(0.9), 0.6),
    ]
    assert found[0]["error"] == pytest.approx(np.sqrt(0.4 * 0.6 / 10))
    assert calibration_error(found) == pytest.approx(0.3)
    assert reliability(np.zeros(0), np.zeros(0)) == []
    assert calibration_error([]) is None
