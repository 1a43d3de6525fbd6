"""Probabilities of clusters over time and over the year, against pandas."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.dates import num2date
from matplotlib.patches import StepPatch

from degmm.plotting import new_figure, responsibilities
from degmm.plotting.cells import MOST_CASES, MOST_MEANS
from degmm.plotting.style import PALETTE


@pytest.fixture
def axes():
    return new_figure(size=(6, 3))[1][0]


def probabilities(n, K=3, seed=0):
    return np.random.default_rng(seed).dirichlet(np.full(K, 0.5), n)


def days(*ends):
    return np.concatenate([np.arange(a, b, dtype="datetime64[D]") for a, b in ends])


def drawn(axes):
    """Edges of the cells, and the probabilities in them (m, K)."""
    areas = [patch.get_data() for patch in axes.patches if isinstance(patch, StepPatch)][::-1]
    assert all(area.baseline == 0 for area in areas)
    return areas[0].edges, np.diff([area.values for area in areas], axis=0, prepend=0).T


def dates(edges):
    return np.array([num2date(edge).replace(tzinfo=None) for edge in edges], "datetime64[s]")


def test_cases_in_their_order(axes):
    gamma = probabilities(20)
    gamma[4] = np.nan
    assert responsibilities(axes, gamma, title="regimes") is axes
    edges, shares = drawn(axes)
    np.testing.assert_allclose(edges, np.arange(21) - 0.5)
    np.testing.assert_allclose(shares, gamma)
    assert (axes.get_xlim(), axes.get_ylim()) == ((-0.5, 19.5), (0, 1))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("case", "probability")
    assert axes.get_title() == "regimes"
    colours = [to_hex(patch.get_facecolor()).upper() for patch in axes.patches]
    assert colours == [colour.upper() for colour in PALETTE[2::-1]]


def test_legend_names_clusters_from_the_top_with_their_means(axes):
    gamma = np.array([[1, 0, 0], [0.5, 0.5, 0], [np.nan] * 3, [0.3, 0.3, 0.4], [0.2, 0.4, 0.4]])
    responsibilities(axes, gamma, colours=[4, 12, 0])
    legend = axes.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["2 (20 %)", "1 (30 %)", "0 (50 %)"]
    assert [patch.get_hatch() for patch in legend.get_patches()] == [None, "////", None]
    assert to_hex(legend.get_patches()[2].get_facecolor()).upper() == PALETTE[4]
    axes.figure.canvas.draw()
    assert legend.get_window_extent().x0 >= axes.get_window_extent().x1
    assert legend.get_window_extent().x1 <= axes.figure.bbox.x1


def test_very_many_cases_are_averaged(axes):
    gamma = probabilities(4426)
    responsibilities(axes, gamma)
    edges, shares = drawn(axes)
    size = int(edges[1] + 0.5)
    assert MOST_MEANS * 0.9 < len(shares) <= MOST_MEANS
    np.testing.assert_allclose(shares[3], gamma[3 * size : 4 * size].mean(axis=0))
    np.testing.assert_allclose(shares[-1], gamma[(len(shares) - 1) * size :].mean(axis=0))
    assert edges[-1] == 4425.5
    assert axes.get_ylabel() == f"mean probability\nof {size} cases each"


def test_days_in_any_order_with_a_gap_between(axes):
    times = days(("2001-12-01", "2002-01-10"), ("2002-03-01", "2002-03-11"))
    gamma = probabilities(len(times))
    gamma[7] = np.nan
    order = np.random.default_rng(1).permutation(len(times))
    responsibilities(axes, gamma[order], times[order])
    edges, shares = drawn(axes)
    # Each day from noon to noon, and one white cell over the seven weeks without any.
    expected = np.insert(gamma, 40, np.nan, axis=0)
    np.testing.assert_allclose(shares, expected)
    starts = np.insert(times, 40, np.datetime64("2002-01-10")).astype("datetime64[s]") - 43200
    assert (dates(edges)[:-1] == starts).all()
    assert dates(edges)[-1] == np.datetime64("2002-03-10T12")
    assert axes.get_ylabel() == "probability"


def test_weekends_without_a_forecast_are_no_gap(axes):
    times = pd.bdate_range("2020-01-01", periods=60).to_numpy()
    gamma = probabilities(60)
    responsibilities(axes, gamma, times)
    np.testing.assert_allclose(drawn(axes)[1], gamma)


def test_years_of_days_are_averaged_by_month(axes):
    times = days(("2001-11-20", "2008-05-03"))
    times = times[np.isin(times.astype("datetime64[M]").astype(int) % 12, [11, 0, 1])]  # winters
    gamma = probabilities(len(times))
    gamma[:15] = np.nan
    order = np.random.default_rng(0).permutation(len(times))
    responsibilities(axes, gamma[order], times[order])
    expected = pd.DataFrame(gamma, index=times).resample("MS").mean()
    edges, shares = drawn(axes)
    np.testing.assert_allclose(shares, expected)
    assert np.isnan(shares[3:12]).all()  # March to November
    assert (dates(edges)[:-1] == expected.index.to_numpy()).all()
    assert axes.get_ylabel() == "mean probability\nin each month"


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ("15m", "in each hour"),
        ("1h", "in each six hours"),
        ("1D", "in each week"),
        ("20D", "in each quarter"),
        ("99D", "in each year"),
    ],
)
def test_the_calendar_unit_follows_the_span(axes, step, words):
    times = np.datetime64("2000-01-01T00:00:00") + np.arange(700) * np.timedelta64(*_split(step))
    responsibilities(axes, probabilities(700), times)
    _, shares = drawn(axes)
    assert 20 < len(shares) <= MOST_MEANS
    assert axes.get_ylabel().endswith(words)


def _split(step):
    return int(step[:-1]), step[-1]


def test_bursts_that_are_years_apart_can_be_seen(axes):
    starts = np.array([f"{year}-07-01" for year in range(1990, 2020, 3)], "datetime64[h]")
    times = (starts[:, None] + np.arange(24)).ravel()
    responsibilities(axes, probabilities(len(times)), times)
    _, shares = drawn(axes)
    assert len(shares) < MOST_MEANS < MOST_CASES
    assert (~np.isnan(shares[:, 0])).sum() == 10


def test_cases_of_the_same_time_are_averaged(axes):
    times = np.repeat(days(("2020-01-01", "2020-01-06")), 4)
    gamma = probabilities(20)
    gamma[0] = np.nan
    gamma[8:12] = np.nan
    responsibilities(axes, gamma, times)
    expected = pd.DataFrame(gamma).groupby(times).mean()
    np.testing.assert_allclose(drawn(axes)[1], expected)
    assert axes.get_ylabel() == "mean probability\nat each time"


def test_months_by_pandas(axes):
    times = days(("2003-02-01", "2006-11-13"))
    gamma = probabilities(len(times), 4)
    gamma[5:9] = np.nan
    table = pd.DataFrame(gamma, index=times)
    dry = table[table.index.month != 8]
    responsibilities(axes, dry.to_numpy(), dry.index, by="month")
    expected = dry.groupby(dry.index.month).mean()
    bars = np.array([[bar.get_height() for bar in bars] for bars in axes.containers]).T
    np.testing.assert_allclose(bars, expected)
    centres = [bar.get_x() + bar.get_width() / 2 for bar in axes.containers[0]]
    np.testing.assert_allclose(centres, expected.index - 1)
    tops = [bar.get_y() + bar.get_height() for bar in axes.containers[-1]]
    np.testing.assert_allclose(tops, 1)
    words = [label.get_text() for label in axes.get_xticklabels()]
    assert words == ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


@pytest.mark.parametrize("times", [None, ["2020-05-17"]])
@pytest.mark.parametrize("gamma", [[[1.0]], [[0.25, 0.75]]])
def test_one_case(axes, gamma, times):
    responsibilities(axes, gamma, times)
    np.testing.assert_allclose(drawn(axes)[1], gamma)
    axes.figure.canvas.draw()
    if times:
        axes.clear()
        responsibilities(axes, gamma, times, by="month")
        assert [bar.get_x() for bar in axes.containers[0]] == pytest.approx([4 - 0.425])


def test_times_far_from_1970_and_all_alike(axes):
    times = np.array(["0850-01-01", "0850-01-02", "1849-12-31"], "datetime64[D]")
    responsibilities(axes, probabilities(3), times)
    assert axes.get_ylabel() == "mean probability\nin each decade"
    axes.clear()
    gamma = probabilities(3)
    responsibilities(axes, gamma, np.repeat(times[:1], 3))
    np.testing.assert_allclose(drawn(axes)[1], [gamma.mean(axis=0)])


DAYS = ["2020-01-01", "2020-01-02"]


@pytest.mark.parametrize(
    ("gamma", "times", "options", "match"),
    [
        (np.ones(3), None, {}, r"responsibilities: expected the shape \(n, K\), got \(3,\)"),
        (np.ones((0, 2)), None, {}, "responsibilities: expected"),
        ([["a"]], None, {}, "responsibilities: could not be read"),
        (np.full((2, 2), np.nan), None, {}, "responsibilities: every row has a NaN"),
        ([[0.5, 0.5], [0.2, 0.2]], None, {}, "responsibilities: row 1 is no probabilities"),
        ([[1.5, -0.5], [1, 0]], None, {}, "responsibilities: row 0"),
        ([[np.inf, 0], [1, 0]], None, {}, "responsibilities: row 0"),
        (np.ones((2, 1)), DAYS[:1], {}, "times: expected one for each of 2 cases"),
        (np.ones((2, 1)), [0, 1], {}, "times: expected dates"),
        (np.ones((2, 1)), ["a", "b"], {}, "times: expected dates"),
        (np.ones((2, 1)), [DAYS[0], "NaT"], {}, "times: case 1 has no date"),
        (np.ones((2, 1)), None, {"by": "month"}, "times: by='month' needs"),
        (
            np.ones((2, 1)),
            DAYS,
            {"by": "year"},
            "by: expected one of 'time', 'month', 'dayofyear'; got 'year'",
        ),
        (np.ones((2, 1)), DAYS, {"colours": [1, 2]}, "colours: expected 1"),
    ],
)
def test_bad_arguments(axes, gamma, times, options, match):
    with pytest.raises(ValueError, match=match):
        responsibilities(axes, gamma, times, **options)
    assert not axes.patches
