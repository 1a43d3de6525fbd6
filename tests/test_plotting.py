from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Ellipse, StepPatch

from degmm import Ensemble
from degmm.cli.fit_picture import draw_fit
from degmm.clustering import Clustering
from degmm.datasets import make_exchangeable_mixture
from degmm.plotting import cluster_legend, clusters, ensembles, new_figure
from degmm.plotting.comparison import _results
from degmm.plotting.projection import Projection
from degmm.plotting.style import PALETTE, STYLE, line_of, marker_of


def drawn(points, labels, K, D, **more):
    figure, (axes,) = new_figure(size=(3, 3))
    clusters(
        axes,
        points,
        labels,
        weights=np.full(K, 1 / K),
        means=np.linspace(-2, 2, K * D).reshape(K, D),
        covariances=np.stack([np.eye(D)] * K),
        **more,
    )
    return figure, axes


def fitted(K, D, labels, single=False, shared=False):
    return SimpleNamespace(
        _single_member=single,
        n_components=K,
        labels_=labels,
        weights_=np.full(K, 1 / K),
        means_=np.linspace(-2, 2, K * D).reshape(K, D),
        covariances_=np.stack([np.eye(D)] * K),
        within_covariances_=np.stack([0.25 * np.eye(D)] * K),
        between_covariances_=np.stack([0.75 * np.eye(D)] * K) if shared else np.zeros((K, D, D)),
        _projection=None,
    )


@pytest.fixture
def figure_of_fit(monkeypatch, tmp_path):
    """The figure that ``degmm fit`` would write."""

    def draw(data, model):
        kept = []
        monkeypatch.setattr("degmm.plotting.save_figure", lambda figure, path: kept.append(figure))
        draw_fit(tmp_path / "clusters.png", data, model)
        return kept[0]

    return draw


def heights(axes):
    """The top of the stack."""
    return np.max([p.get_data().values for p in axes.patches if isinstance(p, StepPatch)], axis=0)


def coloured_heights(axes):
    return {
        to_hex(p.get_facecolor()): (p.get_data().values - p.get_data().baseline).tolist()
        for p in axes.patches
        if isinstance(p, StepPatch) and p.get_fill()
    }


def test_clusters_that_a_model_leaves_empty():
    for D in (1, 2, 3):
        points = np.random.default_rng(0).normal(size=(30, D))
        figure, axes = drawn(points, np.zeros(30, int), 2, D, title="an empty cluster")
        figure.canvas.draw()
        assert axes.get_title() == "an empty cluster"


@pytest.mark.parametrize("D", [1, 2, 3])
def test_ensembles_without_a_member_are_left_out(D):
    X = np.random.default_rng(0).normal(size=(4, 6, D))
    X[1], X[2, 3:] = np.nan, np.nan
    _, (axes,) = new_figure(size=(3, 3))
    assert ensembles(axes, X) is axes
    assert [len(points.get_offsets()) for points in axes.collections] == [6, 3, 6]
    assert [to_hex(points.get_facecolor()[0]).upper() for points in axes.collections] == [
        PALETTE[i] for i in (0, 2, 3)
    ]
    if D == 1:
        assert set(axes.yaxis.get_major_locator().tick_values(0, 3)) <= {*range(-1, 5)}
    with pytest.raises(ValueError, match="points: none is without NaN"):
        drawn(np.full((3, D), np.nan), np.zeros(3, int), 1, D)


def test_titles_have_the_size_of_the_style():
    _, axes = drawn(np.zeros((3, 2)), np.zeros(3, int), 1, 2, title="t")
    assert axes.title.get_fontsize() == STYLE["axes.titlesize"]


def test_a_histogram_of_all_members_under_their_densities():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 2000)
    X = rng.normal(size=(2000, 9, 1)) + np.where(labels == 0, -2, 2)[:, None, None]
    X[5, 3] = np.nan
    _, axes = drawn(X, labels, 2, 1)
    total = axes.lines[2]
    x, y = total.get_xdata(), total.get_ydata()
    # The densities run over the whole of the axes, and fit the histogram of members.
    assert (x[0], x[-1]) == axes.get_xlim()
    assert x[0] < np.nanmin(X)
    assert x[-1] > np.nanmax(X)
    (edges,) = {tuple(p.get_data().edges) for p in axes.patches if isinstance(p, StepPatch)}
    middle = (np.array(edges[1:]) + np.array(edges[:-1])) / 2
    np.testing.assert_allclose(heights(axes), np.interp(middle, x, y), atol=0.03)
    assert np.sum(heights(axes) * np.diff(edges)) == pytest.approx(1)
    top = max(heights(axes).max(), y.max())
    assert axes.get_ylim()[1] == pytest.approx(1.05 * top)


def test_a_narrow_component_does_not_flatten_the_rest():
    values = np.random.default_rng(0).normal(size=(500, 1))
    _, (axes,) = new_figure(size=(3, 3))
    parameters = {"weights": np.array([0.5, 0.5]), "means": np.zeros((2, 1))}
    clusters(
        axes,
        values,
        np.zeros(500, int),
        **parameters,
        covariances=np.array([1, 1e-6]).reshape(2, 1, 1),
    )
    assert axes.get_ylim()[1] == pytest.approx(1.3 * heights(axes).max())


@pytest.mark.parametrize("D", [1, 2])
def test_beyond_ten_clusters_are_numbered_and_drawn_differently(D):
    K = 23
    labels = np.repeat(np.arange(K), 5)
    points = np.random.default_rng(0).normal(size=(len(labels), D))
    _, axes = drawn(points, labels, K, D)
    assert [text.get_text() for text in axes.texts] == [str(k) for k in range(K)]
    looks = {(k % len(PALETTE), str(line_of(k)), marker_of(k)) for k in range(K)}
    assert len(looks) == K
    if D == 2:
        outlines = [(to_hex(p.get_edgecolor()), str(p.get_linestyle())) for p in axes.patches]
        assert len({*outlines}) == K
    _, axes = drawn(points[:50], labels[:50], 10, D)
    assert not axes.texts


def test_legend_names_clusters_with_their_weights_and_dashes_the_empty():
    _, (axes,) = new_figure(size=(3, 3))
    cluster_legend(axes, np.array([0, 0, 2]), np.array([0.6, 0.397, 0.003]))
    legend = axes.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["0 (60 %)", "1 (40 %)", "2 (< 1 %)"]
    lines = legend.get_lines()
    assert [line.get_linestyle() for line in lines] == ["-", "--", "-"]
    assert [line.get_color() for line in lines] == list(PALETTE[:3])


def test_picture_of_a_fit_says_what_it_shows(figure_of_fit):
    values = np.random.default_rng(0).normal(size=(40, 4, 2))
    values[7, 1:, 0] = np.nan  # leaves one member, in both variables
    data, labels = Ensemble(values, ("t2m", "wind"), ("K", "")), np.repeat([0, 1], 20)
    figure = figure_of_fit(data, fitted(2, 2, labels))
    (axes,) = figure.axes
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["0 (50 %)", "1 (50 %)"]
    assert figure.get_supxlabel() == (
        "point: mean of an ensemble; ellipse: 2 sigma of single members; square: mean of a cluster"
    )
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("t2m [K]", "wind")
    assert "40 ensemble means" in axes.get_title()
    offsets = axes.collections[0].get_offsets()
    assert np.isclose(offsets, values[7, 0]).all(axis=1).any()
    assert sum(isinstance(p, Ellipse) for p in axes.patches) == 2
    assert "dashed: no ensemble in it" in figure_of_fit(data, fitted(3, 2, labels)).get_supxlabel()


def test_models_of_one_member_are_drawn_with_it(figure_of_fit):
    values = np.random.default_rng(0).normal(size=(40, 4, 2))
    labels = np.repeat([0, 1], 20)
    figure = figure_of_fit(Ensemble(values, ("a", "b")), fitted(2, 2, labels, single=True))
    (axes,) = figure.axes
    assert "40 first members" in axes.get_title()
    assert figure.get_supxlabel().startswith("point: first member of an ensemble")
    offsets = np.sort(axes.collections[0].get_offsets(), axis=0)
    np.testing.assert_allclose(offsets, np.sort(values[:, 0], axis=0))


def test_picture_of_one_variable_counts_all_members(figure_of_fit):
    values = np.random.default_rng(0).normal(size=(40, 4, 1))
    values[3, 2] = np.nan
    data, labels = Ensemble(values, ("wind",)), np.repeat([0, 1], 20)
    figure = figure_of_fit(data, fitted(2, 1, labels))
    assert "159 members of 40 ensembles" in figure.axes[0].get_title()
    assert figure.get_supxlabel().startswith("histogram: all members")
    single = figure_of_fit(data, fitted(2, 1, labels, single=True))
    assert "40 first members" in single.axes[0].get_title()
    assert single.get_supxlabel().startswith("histogram: first members")


@pytest.mark.parametrize(("M", "D"), [(1, 1), (3, 1), (3, 2)])
def test_panels_of_results(M, D, monkeypatch, tmp_path):
    X, labels, truth = make_exchangeable_mixture(60, M, D, 3, seed=0)
    kept = []
    monkeypatch.setattr("degmm.plotting.comparison.save_figure", lambda figure, path: kept.append(figure))
    order = np.array([2, 0, 1])  # the same clusters, numbered in another way
    renumbered = np.argsort(order)[labels]
    answers = [
        Clustering(
            "model",
            M,
            renumbered,
            0.0,
            truth.weights[order],
            truth.means[order],
            truth.within[order],
            None,
        )
        for _ in range(4)
    ]
    bayes = Clustering("Bayes", M, labels, 0.0, truth.weights, truth.means, truth.within, None)
    points = X[:, 0]
    _results(tmp_path / "r.png", X, points, labels, truth, [bayes, bayes, *answers], Projection.of(points))
    axes = kept[0].axes
    panels = [axes[i] for i in (0, 1, 2, 4, 5)]
    assert all(panel.get_xlabel() == panels[0].get_xlabel() != "" for panel in panels)
    words = axes[3].texts[0].get_text()
    assert f"60 ensembles of {M} member{'s' if M > 1 else ''}, each" in words
    if D == 1:
        # Equal clusterings look equal: the same colours, stacked in the same order.
        for panel in panels[1:]:
            assert coloured_heights(panel) == coloured_heights(panels[0])
            baselines = [
                p.get_data().baseline.tolist()
                for p in panel.patches
                if isinstance(p, StepPatch) and p.get_fill()
            ]
            assert np.isin(0, np.sum(baselines, axis=1))
        assert len({panel.get_ylim() for panel in panels}) == 1


@pytest.mark.parametrize("D", [1, 2])
def test_shared_centres_show_the_spread_within_an_ensemble(D, figure_of_fit):
    X = np.random.default_rng(0).normal(size=(40, 5, D))
    data = Ensemble(X, variables=tuple("ab"[:D]))
    figure = figure_of_fit(data, fitted(2, D, np.arange(40) % 2, shared=True))
    assert "of the members of one ensemble" in figure.get_supxlabel()
    axes = figure.axes[0]
    if D == 2:
        widths = sorted(patch.width for patch in axes.patches if isinstance(patch, Ellipse))
        np.testing.assert_allclose(widths, [2, 2, 4, 4])  # two deviations to each side: 0.5 and 1
    else:
        bars = [line.get_xdata() for line in axes.lines if line.get_linewidth() == 3]
        np.testing.assert_allclose(bars, [[-3, -1], [1, 3]])
    plain = figure_of_fit(data, fitted(2, D, np.arange(40) % 2))
    assert "of one ensemble about" not in plain.get_supxlabel()


def test_the_picture_of_a_training():
    from degmm.plotting import training

    epochs = np.arange(1, 41)
    history = {"log_likelihood": -100.0 - 50 / epochs, "kl": 1.0 / epochs, "validation": -1 - 1 / epochs}
    upper, lower = training(history, 100, warmup=10, kl=0.01)
    band = upper.patches[0].get_extents().transformed(upper.transData.inverted())
    assert (band.x0, band.x1) == pytest.approx((0.5, 10.5))
    assert upper.get_lines()[0].get_ydata()[-1] == pytest.approx(-1.0125)
    assert [line.get_xdata()[0] for line in lower.get_lines() if line.get_linestyle() == ":"] == [40]
    broken = {"log_likelihood": np.full(5, np.nan), "kl": np.full(5, -np.inf)}
    training(broken, 10)
    with pytest.raises(ValueError, match="axes: expected 2"):
        training(history, 100, axes=[upper])


@pytest.mark.parametrize("D", [1, 2])
def test_an_ensemble_is_drawn_with_its_names_and_units(D):
    from degmm.plotting import ensembles

    values = np.random.default_rng(0).normal(size=(6, 5, 2))[..., :D]
    values[0, 0] = np.nan
    data = Ensemble(values, ("t2m", "wind")[:D], units=("K", "m/s")[:D])
    _, axes = drawn(data, np.array([0, 0, 0, 1, 1, 1]), 2, D)
    assert axes.get_xlabel() == "t2m [K]"
    _, (axes,) = new_figure(size=(3, 3))
    ensembles(axes, data)
    assert axes.get_xlabel() == "t2m [K]"
    assert axes.get_ylabel() == ("ensemble" if D == 1 else "wind [m/s]")
