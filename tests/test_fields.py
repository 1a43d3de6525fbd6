"""Pictures of cluster means on a grid, and clusters of fields of many variables against Bayes' rule."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from numpy.testing import assert_allclose

from degmm import DEGMM
from degmm.metrics import accuracy
from degmm.plotting import cluster_fields, new_figure, save_figure

LATITUDE, LONGITUDE = np.arange(30.0, 46.0, 5), np.arange(-10.0, 41.0, 10)


@pytest.fixture
def fields():
    return np.random.default_rng(0).normal(280, 3, size=(3, 4, 6))


def values(panel):
    """What a panel draws, from south to north and from west to east."""
    return panel.collections[0].get_array()


def labels(axis, ends):
    return [axis.get_major_formatter()(end) for end in ends]


def test_departures_share_symmetric_colours(fields):
    axes = cluster_fields(fields, LATITUDE, LONGITUDE, unit="K")
    assert len(axes) == 3
    departures = fields - fields.mean(axis=0)
    furthest = np.abs(departures).max()
    for panel, field in zip(axes, departures, strict=True):
        assert_allclose(values(panel), field)
        assert_allclose(panel.collections[0].get_clim(), [-furthest, furthest])
    figure = axes[0].get_figure()
    assert [bar.get_ylabel() for bar in figure.axes[3:]] == ["departure from the mean [K]"]
    assert [panel.get_title() for panel in axes] == ["cluster 0", "cluster 1", "cluster 2"]


def test_weights_count_in_the_mean(fields):
    axes = cluster_fields(fields, LATITUDE, LONGITUDE, weights=[2, 1, 1])
    assert_allclose(values(axes[1]), fields[1] - (fields * [[[0.5]], [[0.25]], [[0.25]]]).sum(axis=0))
    assert axes[0].get_title() == "cluster 0 (50 %)"


def test_fields_themselves(fields):
    axes = cluster_fields(fields, LATITUDE, LONGITUDE, anomalies=False, titles=["a", "b", "c"])
    for panel, field, title in zip(axes, fields, "abc", strict=True):
        assert_allclose(values(panel), field)
        assert_allclose(panel.collections[0].get_clim(), [fields.min(), fields.max()])
        assert panel.get_title() == title


def test_coordinates_are_on_the_axes(fields):
    panel = cluster_fields(fields, LATITUDE - 35, LONGITUDE)[0]
    assert_allclose(panel.get_xlim(), [-15, 45])
    assert_allclose(panel.get_ylim(), [-7.5, 12.5])
    assert labels(panel.xaxis, [-10, 0, 7.5]) == ["10°W", "0°", "7.5°E"]
    assert labels(panel.yaxis, [-5, 0, 5]) == ["5°S", "0°", "5°N"]
    assert panel.yaxis.get_majorticklocs().size > 2


def test_north_is_up_and_east_is_right_in_whatever_order(fields):
    known = cluster_fields(fields, LATITUDE, LONGITUDE)
    order = np.array([2, 3, 4, 5, 0, 1])  # 10°E to 40°E, then 10°W and 0°
    longitude = LONGITUDE[order] % 360  # 10 to 40, 350, 0
    axes = cluster_fields(fields[:, ::-1][:, :, order], LATITUDE[::-1], longitude)
    for panel, same in zip(axes, known, strict=True):
        assert_allclose(values(panel), values(same))
        assert_allclose(panel.get_xlim(), same.get_xlim())
        assert panel.get_ylim()[0] < panel.get_ylim()[1]


@pytest.mark.parametrize(
    ("longitude", "west", "east"),
    [
        (np.arange(0, 360, 60), -30, 330),
        (np.arange(-180, 180, 60), -210, 150),
        ([165, 170, 175, 180, -175, -170], 162.5, 192.5),
    ],
)
def test_the_globe_starts_where_the_grid_does_and_the_pacific_stays_whole(fields, longitude, west, east):
    panel = cluster_fields(fields, LATITUDE, longitude)[1]
    assert_allclose(values(panel), (fields - fields.mean(axis=0))[1])
    assert_allclose(panel.get_xlim(), [west, east])
    assert labels(panel.xaxis, [180, 190, -180]) == ["180°", "170°W", "180°"]


def test_poles_end_the_axis():
    axes = cluster_fields(np.zeros((2, 3, 4)), [90, 0, -90], [0, 90, 180, 270])
    assert_allclose(axes[0].get_ylim(), [-90, 90])
    assert_allclose(axes[0].collections[0].get_clim(), [-1, 1])  # fields that are alike


def test_nan_is_grey(fields, tmp_path):
    fields[:, 0, 0] = np.nan
    fields[2, 1, 1] = np.nan
    axes = cluster_fields(fields, LATITUDE, LONGITUDE)
    assert [values(panel).mask.sum() for panel in axes] == [1, 1, 2]
    assert_allclose(values(axes[0])[1, 1], fields[0, 1, 1] - fields[:2, 1, 1].mean())
    assert len({*to_rgb(axes[0].get_facecolor())}) == 1  # seen through what is not drawn
    assert save_figure(axes[0].get_figure(), tmp_path / "fields.png").stat().st_size > 1000
    empty = cluster_fields(np.full((1, 4, 6), np.nan), LATITUDE, LONGITUDE)
    assert save_figure(empty[0].get_figure(), str(tmp_path / "empty.png")).exists()


def test_many_panels_and_own_axes(fields, tmp_path):
    axes = cluster_fields(np.concatenate([fields, fields[:2]]), LATITUDE, LONGITUDE)
    figure = axes[0].get_figure()
    assert (len(axes), len(figure.axes)) == (5, 6)  # one of the six panels is gone, a colour bar is there
    save_figure(figure, tmp_path / "five.png")
    _, given = new_figure(1, 3, size=(8, 3))
    assert cluster_fields(fields, LATITUDE, LONGITUDE, axes=given) is given


def test_what_is_masked_is_absent(fields):
    masked = np.ma.masked_greater(fields, 283)
    axes = cluster_fields(masked, LATITUDE, LONGITUDE, anomalies=False)
    for given in (axes, cluster_fields([*masked], LATITUDE, LONGITUDE, anomalies=False)):
        for panel, field in zip(given, masked, strict=True):
            np.testing.assert_array_equal(values(panel).mask, field.mask)
            assert panel.collections[0].get_clim()[1] == masked.max()
    with pytest.raises(ValueError, match="latitude: every number must be finite"):
        cluster_fields(fields, np.ma.masked_equal(LATITUDE, 35), LONGITUDE)


def test_one_cluster_is_drawn_itself_on_one_pair_of_axes(fields):
    _, given = new_figure(size=(4, 3))
    axes = cluster_fields(fields[:1], LATITUDE, LONGITUDE, axes=given[0], titles=(t for t in ["only"]))
    assert axes[0] is given[0]
    assert axes[0].get_title() == "only"
    assert_allclose(values(axes[0]), fields[0])
    assert axes[0].get_figure().axes[-1].get_ylabel() == "mean of the cluster"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fields": np.zeros((4, 6))}, r"fields: expected the shape \(K, n_lat, n_lon\)"),
        ({"fields": "north"}, "fields: could not be read"),
        ({"latitude": LONGITUDE}, r"latitude: expected the shape \(4,\)"),
        ({"longitude": LATITUDE}, r"longitude: expected the shape \(6,\)"),
        ({"latitude": [30, 35, 40, np.nan]}, "latitude: every number must be finite"),
        ({"latitude": [80, 85, 90, 95]}, "latitude: expected degrees from -90 to 90, got 95"),
        ({"longitude": [0, 1, 2, 3, 4, 360]}, "longitude: the same degree appears twice"),
        ({"weights": [1, 1]}, r"weights: expected the shape \(3,\)"),
        ({"weights": [1, 1, -1]}, "weights: expected finite numbers from 0"),
        ({"titles": ["a"]}, "titles: expected one for each of 3 clusters"),
        ({"titles": (t for t in "ab")}, "titles: expected one for each of 3 clusters, got .'a', 'b'"),
        ({"titles": 3}, "titles: expected one for each of 3 clusters, got 3"),
        ({"fields": np.zeros((3, 4, 6), complex)}, "fields: could not be read .*complex numbers"),
        ({"axes": []}, "axes: expected 3, one per cluster, got 0"),
    ],
)
def test_errors_name_the_argument(fields, settings, message):
    given = {"fields": fields, "latitude": LATITUDE, "longitude": LONGITUDE} | settings
    with pytest.raises(ValueError, match=message):
        cluster_fields(given.pop("fields"), given.pop("latitude"), given.pop("longitude"), **given)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_clusters_of_curved_fields_are_near_those_of_bayes_rule():
    """As benchmarks/high_dimension.py, smaller. Bayes' rule is told the latent numbers."""
    fixed = np.random.default_rng(3)
    means, spreads = 0.45 * fixed.normal(size=(3, 5)), np.exp(0.2 * fixed.normal(size=(3, 5)))
    weights, patterns = np.array([0.45, 0.33, 0.22]), fixed.normal(size=(5, 200)) / np.sqrt(5)

    def draw(n, rng):
        truth = rng.choice(3, size=n, p=weights)
        latent = means[truth][:, None] + spreads[truth][:, None] * rng.normal(size=(n, 10, 5))
        X = np.tanh(latent @ patterns) + 0.5 * rng.normal(size=(n, 10, 200))
        parts = zip(weights, means, spreads, strict=True)
        joint = [
            np.log(w) - 0.5 * (((latent - m) / s) ** 2).sum(axis=(1, 2)) - 10 * np.log(s).sum()
            for w, m, s in parts
        ]
        return X.astype(np.float32), truth, np.argmax(joint, axis=0)

    rng = np.random.default_rng(0)
    X = draw(300, rng)[0]
    fresh, truth, bayes = draw(1000, rng)
    model = DEGMM(
        3, projection="autoencoder", latent_dim=5, hidden=(32,), max_epochs=60, n_init=4, random_state=0
    ).fit(X)
    assert 0.9 < accuracy(truth, bayes) < 0.995
    assert accuracy(truth, model.predict(fresh)) > accuracy(truth, bayes) - 0.05
    assert model.decode(model.means_).shape == (3, 200)
