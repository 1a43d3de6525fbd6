"""Pictures of calibrated forecasts: what is drawn, against counting by hand."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from degmm.calibration import Forecast
from degmm.plotting import (
    coverage_in_time,
    forecast_density,
    new_figure,
    pit_histogram,
    regime_errors,
    responsibilities,
    scores_by_month,
)
from degmm.plotting.style import PALETTE, across


@pytest.fixture
def axes():
    return new_figure(size=(6, 3))[1][0]


def normal(mean, scale=1.0):
    mean = np.atleast_1d(np.asarray(mean, float))[:, None]
    return Forecast(np.ones_like(mean), mean, np.full_like(mean, scale))


def days(n, first="2001-01-01"):
    return np.datetime64(first, "D") + np.arange(n)


def line(axes, label):
    (found,) = [line for line in axes.lines if line.get_label() == label]
    return found


def test_scores_by_month(axes):
    scores = np.random.default_rng(0).gamma(2, size=500)
    scores[10] = np.nan
    times = days(500, "2001-03-01")
    assert scores_by_month(axes, {"a": scores, "b": 2 * scores}, times, colours=[4, 0]) is axes
    expected = pd.Series(scores).groupby(pd.DatetimeIndex(times).month).mean()
    np.testing.assert_allclose(line(axes, "a").get_xdata(), np.asarray(expected.index) - 1)
    np.testing.assert_allclose(line(axes, "b").get_ydata(), 2 * expected)
    assert to_hex(line(axes, "a").get_color()).upper() == PALETTE[4].upper()
    assert [text.get_text() for text in axes.get_xticklabels()][::11] == ["Jan", "Dec"]


def test_scores_without_dates_are_by_part(axes):
    scores = np.arange(24.0)
    scores_by_month(axes, {"a": scores})
    np.testing.assert_allclose(line(axes, "a").get_ydata(), scores.reshape(12, 2).mean(axis=1))
    assert axes.get_xlabel() == "part of the series, of 2 cases or so"


def test_coverage_over_time(axes):
    from scipy.stats import binom

    rng = np.random.default_rng(1)
    inside = (rng.uniform(size=600) < 0.9).astype(float)
    inside[[0, 70]] = np.nan
    coverage_in_time(axes, {"a": inside}, days(600), level=0.9)
    np.testing.assert_allclose(line(axes, "a").get_ydata(), np.nanmean(inside.reshape(12, 50), axis=1))
    (band,) = axes.patches
    np.testing.assert_allclose(
        [band.get_y(), band.get_y() + band.get_height()], np.array(binom.interval(0.95, 50, 0.9)) / 50
    )
    axes.clear()
    coverage_in_time(axes, {"a": inside[:45]})  # so few that there are two parts
    assert len(line(axes, "a").get_ydata()) == 2
    assert axes.get_xlabel() == "case (parts of 22 cases or so)"


def test_a_single_forecast(axes):
    members = np.array([1.0, 2, np.nan, 3])
    forecast_density(axes, members, {"EMOS": normal(2)}, 2.5, unit="K", title="one", level=0.9)
    curve = line(axes, "EMOS")
    x, density = curve.get_data()
    np.testing.assert_allclose(density, normal(2).pdf(x[None])[0])
    np.testing.assert_allclose(np.trapezoid(density, x), 1, atol=0.03)
    np.testing.assert_allclose(line(axes, "members").get_xdata(), [1, 2, 3])
    assert list(line(axes, "observed").get_xdata()) == [2.5, 2.5]
    (interval,) = [drawn for drawn in axes.lines if len(drawn.get_xdata()) == 2 and drawn.get_linewidth() > 3]
    np.testing.assert_allclose(interval.get_xdata(), 2 + np.array([-1, 1]) * 1.6448536, rtol=1e-6)
    assert (axes.get_title(), axes.get_xlabel()) == ("one", "K")
    axes.clear()
    forecast_density(axes, members, {"EMOS": normal(2)}, np.nan)
    assert "observed" not in [drawn.get_label() for drawn in axes.lines]


def test_errors_of_regimes():
    regimes = pd.DataFrame(
        {"bias": [0.5, -1], "correction": [-0.4, 0.9], "spread_ratio": [1.5, 3]}, index=[1, 2]
    )
    _, (left, right) = new_figure(1, 2, size=(6, 3))
    regime_errors(left, right, regimes, unit="K", name="t2m")
    assert [bar.get_height() for bar in left.patches] == [0.5, -1, 0.4, -0.9]
    assert [bar.get_height() for bar in right.patches] == [1.5, 3]
    assert left.get_ylabel() == "t2m\nbias [K]"
    assert [text.get_text() for text in left.get_xticklabels()] == ["1", "2"]


def test_pit_histogram(axes):
    rng = np.random.default_rng(2)
    mean, y = rng.normal(size=(2, 1000))
    y = y + mean
    y[:10] = np.nan
    assert pit_histogram(axes, normal(mean), y, bins=10, title="after") is axes
    counts = [bar.get_height() for bar in axes.patches[:10]]
    expected = np.histogram(normal(mean).cdf(y)[10:], 10, (0, 1))[0]
    np.testing.assert_array_equal(counts, expected)
    assert "990 cases" in [text.get_text() for text in axes.get_legend().get_texts()]
    axes.clear()
    pit_histogram(axes, normal(mean), y, legend=False)
    assert axes.get_legend() is None


def test_responsibilities_over_the_year(axes):
    from matplotlib.patches import StepPatch

    times = days(3 * 365, "2001-01-01")
    winter = np.cos(2 * np.pi * np.arange(len(times)) / 365.25) > 0
    gamma = np.stack([winter, ~winter], axis=1).astype(float)
    responsibilities(axes, gamma, times, by="dayofyear", noun="regime", first=1)
    whole, first = [p.get_data().values for p in axes.patches if isinstance(p, StepPatch)]
    assert len(first) == 120
    np.testing.assert_allclose(whole, 1)
    np.testing.assert_allclose(first[[0, 10, 60, 119]], [1, 1, 0, 1])
    assert np.all((first >= 0) & (first <= 1))
    assert axes.get_legend().get_title().get_text() == "regime (mean)"
    assert [t.get_text()[:2] for t in axes.get_legend().get_texts()] == ["2 ", "1 "]
    axes.clear()
    responsibilities(axes, gamma[:40], times[:40], by="dayofyear")
    first = axes.patches[-1].get_data().values
    assert np.isnan(first[40:90]).all()  # no case for months, and none is made up


def test_a_panel_across_others():
    figure, axes = new_figure(2, 2, size=(6, 4))
    whole = across(axes[:2])
    assert len(figure.axes) == 3
    figure.canvas.draw()
    assert whole.get_position().width > 1.8 * axes[2].get_position().width
