"""Ranks and spread against error, by loops over the cases."""

import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import binom, chisquare, rankdata

from degmm import Ensemble
from degmm.plotting import new_figure, rank_histogram, spread_skill
from degmm.verification import rank_counts, ranks
from degmm.verification import spread_skill as binned


@pytest.fixture
def cases():
    """Members (n, M) and observations that are exchangeable, with what is missing."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(500, 9)) * rng.uniform(0.5, 3, size=(500, 1))
    y, X = X[:, 0].copy(), X[:, 1:].copy()
    X[rng.uniform(size=X.shape) < 0.1] = np.nan
    X[7], X[8], y[20] = np.nan, np.nan, np.nan
    X[8, 0] = 0.5
    return X, y


@pytest.fixture
def axes():
    return new_figure(size=(4, 3))[1][0]


def test_ranks_are_those_of_scipy():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 7)), rng.normal(size=300)
    expected = rankdata(np.column_stack([y, X]), axis=1)[:, 0] - 1
    assert (ranks(X, y) == expected).all()
    assert (ranks(X[..., None], y, seed=5) == expected).all()
    assert (ranks(Ensemble.from_numpy(X[..., None]), y) == expected).all()
    assert rank_counts(X, y).tolist() == [int((expected == r).sum()) for r in range(8)]


def test_ties_take_each_rank_among_them():
    X = np.tile([0.0, 0, 0, 1, 2], (4000, 1))
    assert rank_counts(X, np.full(4000, -1.0)).tolist() == [4000, 0, 0, 0, 0, 0]
    counts = rank_counts(X, np.zeros(4000))
    assert counts[4:].tolist() == [0, 0]
    assert chisquare(counts[:4]).pvalue > 1e-3
    assert (ranks(X, np.zeros(4000), 3) == ranks(X, np.zeros(4000), 3)).all()
    assert (ranks(X, np.zeros(4000), 3) != ranks(X, np.zeros(4000), 4)).any()


def test_ranks_among_fewer_members_are_spread_over_their_share(cases):
    X, y = cases
    found = ranks(X, y)
    for i, rank in enumerate(found):
        present = X[i][~np.isnan(X[i])]
        if np.isnan(y[i]) or present.size == 0:
            assert rank == -1
            continue
        below, share = (present < y[i]).sum(), 9 / (present.size + 1)
        assert np.floor(below * share) <= rank <= np.ceil((below + 1) * share) - 1
    assert rank_counts(X, y).sum() == 498
    # Few, and varying, members of the distribution of the observations leave all ranks as probable.
    rng = np.random.default_rng(2)
    X = rng.normal(size=(9000, 4))
    X[np.arange(4) >= rng.integers(1, 5, 9000)[:, None]] = np.nan
    assert chisquare(rank_counts(X, rng.normal(size=9000))).pvalue > 1e-3


def test_single_members_and_single_cases():
    assert ranks([[1.0]], [0.0]).tolist() == [0]
    assert ranks([[1.0]], [2.0]).tolist() == [1]
    found = binned([[1.0, 3.0]], [5.0])
    assert (found.spread[0], found.error[0], found.counts[0]) == pytest.approx((np.sqrt(3), 3, 1))


def test_bins_of_spread_by_a_loop(cases):
    X, y = cases
    rows = []
    for members, observed in zip(X, y, strict=True):
        present = members[~np.isnan(members)]
        if present.size > 1 and not np.isnan(observed):
            M = present.size
            rows.append((np.var(present, ddof=1) * (M + 1) / M, (present.mean() - observed) ** 2))
    rows.sort()
    parts = np.array_split(np.array(rows), 7)
    found = binned(X, y, bins=7)
    np.testing.assert_allclose(found.spread, [np.sqrt(part[:, 0].mean()) for part in parts])
    np.testing.assert_allclose(found.error, [np.sqrt(part[:, 1].mean()) for part in parts])
    assert found.counts.tolist() == [len(part) for part in parts]


def test_spread_is_error_where_observations_are_as_members():
    # With three members the factor (M + 1)/M is what makes them equal.
    rng = np.random.default_rng(0)
    sigma = rng.uniform(0.5, 3, size=(60000, 1))
    X = sigma * rng.normal(size=(60000, 4))
    found = binned(X[:, 1:], X[:, 0], bins=1)
    assert found.error[0] / found.spread[0] == pytest.approx(1, abs=0.02)


def test_cases_of_the_same_spread_share_a_bin():
    X, y = np.tile([0.0, 1, 2], (50, 1)), np.arange(50.0)
    found = binned(X, y)
    assert found.counts.tolist() == [50]
    assert found.error[0] == pytest.approx(np.sqrt(np.mean((y - 1) ** 2)))
    mixed = np.concatenate([np.zeros((30, 3)), X[:20] * np.arange(1, 21)[:, None]])
    assert binned(mixed, y, bins=5).counts.tolist() == [30, 10, 10]
    assert binned(mixed, y, bins=1000).counts.tolist() == [30] + [1] * 20


def test_drawn_spread_and_error(axes, cases):
    found = binned(*cases, bins=6)
    assert spread_skill(axes, *cases, unit="K", bins=6, title="t2m") is axes
    points, diagonal = axes.lines
    np.testing.assert_allclose(points.get_xydata(), np.column_stack([found.spread, found.error]))
    assert (diagonal.get_xdata() == diagonal.get_ydata()).all()
    assert axes.get_xlim() == axes.get_ylim()
    assert axes.get_aspect() == 1
    assert points.get_xydata().max() < axes.get_xlim()[1]
    assert "√((M + 1)/M)" in axes.get_xlabel()
    assert all("[K]" in label for label in (axes.get_xlabel(), axes.get_ylabel()))
    words = [text.get_text() for text in axes.get_legend().get_texts()]
    assert words == ["6 bins of\n82 to 83 cases", "error = spread"]
    assert axes.get_title() == "t2m"


def test_drawn_without_spread_or_error(axes):
    spread_skill(axes, np.ones((3, 2)), np.ones(3))
    assert axes.lines[0].get_xydata().tolist() == [[0, 0]]
    assert axes.get_xlim() == (0, 1)
    assert "[" not in axes.get_xlabel()


def test_drawn_ranks(axes, cases):
    X, y = cases
    assert rank_histogram(axes, X, y, seed=4, title="t2m") is axes
    (bars,) = axes.containers
    assert [bar.get_height() for bar in bars] == rank_counts(X, y, 4).tolist()
    assert [bar.get_x() + bar.get_width() / 2 for bar in bars] == pytest.approx(range(9))
    (line,) = axes.lines
    assert line.get_ydata() == pytest.approx([498 / 9] * 2)
    band = axes.patches[-1].get_extents().transformed(axes.transData.inverted())
    low, high = band.y0, band.y1
    counts = np.arange(499)
    held = binom.pmf(counts, 498, 1 / 9)[(counts >= low - 1e-9) & (counts <= high + 1e-9)].sum()
    assert 0.95 <= held < 0.98
    assert low < 498 / 9 < high
    assert axes.get_xlabel() == "rank of the observation among 8 members"


def test_a_legend_lies_beside_the_axes(axes, cases):
    for draw in (rank_histogram, spread_skill):
        axes.clear()
        draw(axes, *cases)
        axes.figure.canvas.draw()
        legend = axes.get_legend().get_window_extent()
        assert legend.x0 >= axes.get_window_extent().x1
        assert legend.x1 <= axes.figure.bbox.x1


@pytest.mark.parametrize(
    ("X", "y", "match"),
    [
        (np.zeros(3), np.zeros(3), r"X: expected the members of one variable"),
        (np.zeros((3, 2, 2)), np.zeros(3), r"X: expected .* got \(3, 2, 2\)"),
        (np.zeros((0, 2)), np.zeros(0), "X: expected"),
        (np.zeros((3, 2)), np.zeros(2), r"y: expected one observation per case, shape \(3,\)"),
        (np.zeros((3, 2)), np.zeros((3, 1)), "y: expected"),
        (np.array([[1.0, np.inf]]), np.zeros(1), "X: infinite"),
        (np.zeros((1, 2)), [-np.inf], "y: infinite"),
        ([["a", "b"]], [0], "X: could not be read"),
    ],
)
def test_bad_members_and_observations(axes, X, y, match):
    for function in (ranks, binned):
        with pytest.raises(ValueError, match=match):
            function(X, y)
    for draw in (spread_skill, rank_histogram):
        with pytest.raises(ValueError, match=match):
            draw(axes, X, y)
    assert not axes.lines


def test_bad_settings(axes):
    X = np.zeros((3, 2))
    for bins in (0, True, 2.5):
        with pytest.raises(ValueError, match="bins: expected an integer of at least 1"):
            binned(X, np.zeros(3), bins)
    with pytest.raises(ValueError, match="seed: expected an integer"):
        ranks(X, np.zeros(3), seed=-1)
    with pytest.raises(ValueError, match="X: no case has two members"):
        spread_skill(axes, X[:, :1], np.zeros(3))
    with pytest.raises(ValueError, match="X: no case has a member"):
        rank_histogram(axes, X, np.full(3, np.nan))


def test_pictures_leave_pyplot_alone():
    code = (
        "import sys, numpy as np\n"
        "from matplotlib import rcParams\n"
        "before = rcParams.copy()\n"  # dict() would choose a backend, and import pyplot
        "from degmm import plotting\n"
        "axes = plotting.new_figure(size=(4, 3))[1][0]\n"
        "plotting.rank_histogram(axes, np.zeros((3, 2)), np.zeros(3))\n"
        "plotting.responsibilities(axes, np.ones((3, 1)), ['2020-01-01', '2020-01-02', '2021-01-01'])\n"
        "assert dict.__eq__(rcParams, before)\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
