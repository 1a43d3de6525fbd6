"""The cases of docs/robustness.md: a sound fit or a clear result code, never a silent NaN."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
spec = importlib.util.spec_from_file_location("hard_data", ROOT / "benchmarks" / "hard_data.py")
hard_data = importlib.util.module_from_spec(spec)
spec.loader.exec_module(hard_data)
CASES = hard_data.cases()
TABLE = (ROOT / "docs" / "robustness.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("member_model", hard_data.MEMBER_MODELS)
@pytest.mark.parametrize("name", CASES)
def test_nothing_is_silently_nan(name, member_model):
    X, K = CASES[name]
    for dtype in (np.float64, np.float32):
        assert "NOT FINITE" not in hard_data.row(X, K, member_model, dtype)
    assert f"| {name} |" in TABLE


def test_an_outlier_hides_nothing():
    """A cluster for the outlier, and the two of the rest as without it."""
    X, _ = CASES["an ensemble 1e6 spreads away, K = 3"]
    plain, _ = CASES["nothing wrong (for comparison)"]
    labels = hard_data.EGMM(3, random_state=0).fit(X).labels_
    alone = hard_data.EGMM(2, random_state=0).fit(plain).labels_
    rest = np.arange(len(X)) != 7
    agreement = (labels[rest] == alone[rest]).mean()
    assert max(agreement, 1 - agreement) > 0.99
    assert (labels == labels[7]).sum() == 1
