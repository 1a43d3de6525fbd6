"""The drawn density of a member, against samples and closed forms."""

import dataclasses

import numpy as np
import pytest
from matplotlib.contour import QuadContourSet
from matplotlib.path import Path
from scipy.stats import chi2, multivariate_normal, norm

from degmm import EGMM, GMM, Ensemble
from degmm.density import MixtureDensity
from degmm.plotting import density, new_figure
from degmm.plotting.density import MOST_POINTS, _contours
from degmm.plotting.regions import regions

LEVELS = (0.5, 0.8, 0.95, 0.99)


@pytest.fixture
def axes():
    return new_figure(size=(5, 4))[1][0]


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(3)
    centres = np.array([[0, 0, 0], [4, 1, -2]])[rng.integers(0, 2, 200)] + rng.normal(size=(200, 3))
    values = centres[:, None] + rng.normal(size=(200, 6, 3)) * [1, 0.5, 2]
    values[3, 1, 0] = np.nan
    return Ensemble(values, ("t2m", "wind", "rain"), ("K", "m/s", ""))


@pytest.fixture(scope="module")
def model(data):
    return EGMM(2, n_init=1, random_state=0).fit(data)


def mixture(weights, means, covariances):
    return MixtureDensity(*(np.array(part, float)[None] for part in (weights, means, covariances)))


def contour_lines(axes):
    """Outline of each region by level, from the lowest."""
    (lines,) = [c for c in axes.collections if isinstance(c, QuadContourSet) and not c.filled]
    return lines.levels, lines.get_paths()


def words(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


@pytest.mark.parametrize("p", [1, 2])
def test_regions_of_one_gaussian_are_those_of_chi_square(p):
    covariance = np.array([[2.0, -1.2], [-1.2, 1.0]])[:p, :p]
    found = regions(mixture([1], np.zeros((1, p)), covariance[None]), LEVELS)
    top = multivariate_normal(np.zeros(p), covariance).logpdf(np.zeros(p))
    np.testing.assert_allclose(found.levels, top - chi2.ppf(LEVELS, p) / 2, atol=5e-3)
    # The ellipse of a level reaches sigma times its radius along each axis.
    reach = np.sqrt(chi2.ppf(0.99, p) * np.diagonal(covariance))
    np.testing.assert_allclose(found.high, reach, rtol=0.04)
    np.testing.assert_allclose(found.low, -reach, rtol=0.04)


def test_regions_hold_their_probability_of_a_sample(axes, model):
    density(axes, model, levels=(0.95, 0.5, 0.8))
    levels, _ = contour_lines(axes)
    part = model.marginal([0, 1])
    one = mixture(part.weights_, part.means_, part.covariances_)
    sample = one.sample(200_000, random_state=1)[0]
    # Summed here from SciPy's densities, apart from the code under test.
    parts = zip(part.weights_, part.means_, part.covariances_, strict=True)
    log_density = np.log(sum(w * multivariate_normal(m, C).pdf(sample) for w, m, C in parts))
    held = [(log_density >= level).mean() for level in levels]
    np.testing.assert_allclose(held, [0.95, 0.8, 0.5], atol=0.005)
    assert words(axes)[:3] == ["50 % of members", "80 % of members", "95 % of members"]


def test_outlines_are_where_the_level_is(axes):
    covariance = np.array([[4.0, 3.9], [3.9, 4.0]])
    one = mixture([1], [[10, -5]], [covariance])
    _contours(axes, one, None, "members", list(LEVELS), [0])
    _, paths = contour_lines(axes)
    for path, level in zip(paths, LEVELS[::-1], strict=True):
        apart = path.vertices - [10, -5]
        distance = np.einsum("id,de,ie->i", apart, np.linalg.inv(covariance), apart)
        np.testing.assert_allclose(distance, chi2.ppf(level, 2), rtol=0.03)
    assert paths[0].contains_points([[10, -5]]).all()


def test_a_very_narrow_component_has_its_region(axes):
    one = mixture([0.7, 0.3], [[0, 0], [3.001, 2.003]], [np.eye(2), 1e-8 * np.eye(2)])
    _contours(axes, one, None, "members", [0.25, 0.9], [0, 1])
    _, (outer, inner) = contour_lines(axes)
    assert inner.contains_point([3.001, 2.003])
    assert np.abs(inner.vertices - [3.001, 2.003]).max() < 1e-3
    assert Path(outer.vertices).contains_point([0, 0])


def test_labels_means_and_weights(axes, model):
    assert density(axes, model, features=("wind", "t2m"), title="members") is axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("wind [m/s]", "t2m [K]")
    assert axes.get_title() == "members"
    squares = [line.get_xydata()[0] for line in axes.lines if line.get_marker() == "s"]
    np.testing.assert_allclose(squares, model.means_[:, [1, 0]])
    shares = [f"cluster {k} ({100 * weight:.0f} %)" for k, weight in enumerate(model.weights_)]
    assert words(axes)[-2:] == shares
    axes.clear()
    density(axes, model, features=[2, 0])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("rain", "t2m [K]")
    assert words(axes)[:4] == [f"{p} % of members" for p in (50, 80, 95, 99)]
    axes.figure.canvas.draw()
    assert axes.get_legend().get_window_extent().x0 >= axes.get_window_extent().x1


def test_members_and_means_are_points(axes, model, data):
    def points():
        (drawn,) = [c for c in axes.collections if not isinstance(c, QuadContourSet)]
        return drawn.get_offsets()

    density(axes, model, X=data)
    members = data.values[data.mask][:, :2]
    assert len(points()) == len(members) == 1199 < MOST_POINTS
    np.testing.assert_allclose(np.sort(points(), axis=0), np.sort(members, axis=0))
    low, high = np.transpose([axes.get_xlim(), axes.get_ylim()])
    assert ((low < points()) & (points() < high)).all()
    axes.clear()
    density(axes, model, X=data, show="means")
    means = np.nanmean(np.where(data.mask[..., None], data.values, np.nan), axis=1)[:, :2]
    np.testing.assert_allclose(points(), means)
    assert "ensemble mean of X" in words(axes)


def test_one_variable_is_a_curve_of_its_components(axes, model, data):
    density(axes, model, features="wind", X=data)
    *parts, total = [line for line in axes.lines if len(line.get_xdata()) > 1]
    x = total.get_xdata()
    for k, line in enumerate(parts):
        one = norm(model.means_[k, 1], np.sqrt(model.covariances_[k, 1, 1]))
        np.testing.assert_allclose(line.get_ydata(), model.weights_[k] * one.pdf(x), atol=1e-9)
    np.testing.assert_allclose(total.get_ydata(), sum(line.get_ydata() for line in parts))
    assert np.trapezoid(total.get_ydata(), x) == pytest.approx(1, abs=2e-3)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("wind [m/s]", "density [1/(m/s)]")
    assert words(axes)[:2] == ["members of X", "density"]
    heights = [bar.get_height() * bar.get_width() for bar in axes.patches]
    assert sum(heights) == pytest.approx(1)
    axes.clear()
    density(axes, model, features=0)
    assert axes.get_ylabel() == "density [1/K]"
    assert not axes.patches


def test_models_of_one_variable_and_of_single_members(axes):
    X = np.random.default_rng(0).normal(size=(80, 1))
    model = GMM(1, n_init=1).fit(X)
    density(axes, model, X=X)
    x, y = axes.lines[0].get_data()
    np.testing.assert_allclose(y, norm(X.mean(), X.std()).pdf(x), rtol=2e-3, atol=1e-4)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("value", "density")
    assert words(axes) == ["members of X", "density", "cluster 0 (100 %)"]


def test_a_model_of_anomalies_says_so(axes, data):
    times = np.datetime64("2020-01-01", "ns") + np.arange(200) * np.timedelta64(5, "D")
    dated = dataclasses.replace(data, coords={"time": times})
    model = EGMM(2, n_init=1, random_state=0).fit(dated.anomalies("month"))
    density(axes, model, X=dated, features=("wind", "rain"))  # values as they are are made anomalies
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("anomaly of wind [m/s]", "anomaly of rain")
    points = axes.collections[-1].get_offsets()
    expected = dated.anomalies("month")
    np.testing.assert_allclose(
        points.mean(axis=0), expected.values[expected.mask][:, 1:].mean(axis=0), atol=1e-9
    )


def test_bad_arguments(axes, model, data):
    for options, match in (
        ({"features": [0, 1, 2]}, "features: expected one or two variables, got 3"),
        ({"features": "snow"}, "features: expected one of t2m, wind, rain"),
        ({"features": [1, 1]}, "features: expected one or more variables, each once"),
        ({"features": []}, "features: expected"),
        ({"show": "medians"}, "show: expected 'members' or 'means'"),
        ({"levels": [0.5, 1]}, "levels: expected probabilities between 0 and 1"),
        ({"levels": []}, "levels: expected"),
        ({"colours": [1]}, "colours: expected 2"),
        ({"X": data.values[..., :2]}, "X has 2 features"),
    ):
        with pytest.raises(ValueError, match=match):
            density(axes, model, **options)
    assert not axes.lines
