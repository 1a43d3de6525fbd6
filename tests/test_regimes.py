"""Calibration by regime: known regimes are found, and forecasts are calibrated and better."""

import json

import numpy as np
import pytest
import xarray as xr
from conftest import real_file
from scipy.optimize import linear_sum_assignment
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from degmm import DEGMM, EGMM, Ensemble, load, read_ensemble, save
from degmm.calibration import EMOS, RegimeEMOS, cross_validated, select_regimes
from degmm.calibration.families import find_family
from degmm.calibration.gated import Experts, Gate, Regimes, distributions, responsibilities
from degmm.calibration.minimisation import Result
from degmm.datasets import make_lorenz96
from degmm.verification import coverage, diebold_mariano, flatness, pit

BRIEF = {"gate": "deep", "max_steps": 60, "n_networks": 2, "batch_size": 64, "random_state": 0}


def two_regimes(n, seed, M=10, clusters=True):
    """Ensembles of two kinds with opposite errors; the kind is seen in the ensemble, or in the context alone."""
    rng = np.random.default_rng(seed)
    kind = rng.uniform(size=n) < 0.4
    centre = rng.normal(np.where(kind & clusters, 12.0, 0.0), 2)
    spread = np.where(kind & clusters, 1.5, 0.7)
    X = centre[:, None] + spread[:, None] * rng.normal(size=(n, M))
    y = centre + np.where(kind, 3.0, -2.0) + np.where(kind, 2.0, 0.8) * rng.normal(size=n)
    return X, y, kind


def agreement(gamma, kind):
    table = np.array([[np.sum((gamma.argmax(1) == k) & (kind == j)) for j in (0, 1)] for k in range(2)])
    rows, columns = linear_sum_assignment(-table)
    return table[rows, columns].sum() / len(kind)


@pytest.mark.parametrize("gate", ["mixture", "deep"])
def test_known_regimes_are_found(gate):
    X, y, kind = two_regimes(3000, 0)
    # Errors of opposite sign, several times their spread: more than the defaults, for weather, let be learnt.
    more = {"max_steps": 2000, "gate_decay": 0.03, "expert_decay": 0.03} if gate == "deep" else {}
    model = RegimeEMOS(2, gate=gate, random_state=0, **more).fit(X, y)
    assert model.converged_
    new, truth, kind = two_regimes(4000, 1)
    assert agreement(model.predict_proba(new), kind) > 0.97
    forecast = model.predict(new)
    assert forecast.crps(truth).mean() < 0.97 * EMOS().fit(X, y).predict(new).crps(truth).mean()
    values = pit(forecast, truth)
    assert flatness(np.histogram(values, 10, (0, 1))[0]).p_value > 1e-3
    assert coverage(forecast, truth).coverage == pytest.approx(0.9, abs=0.02)
    table = model.regimes_.sort_values("bias")
    assert model.regimes_["share"].is_monotonic_decreasing
    np.testing.assert_allclose(table["share"], [0.4, 0.6], atol=0.03)
    np.testing.assert_allclose(table["bias"], [-3, 2], atol=0.2)
    np.testing.assert_allclose(table["correction"], [3, -2], atol=0.2)
    np.testing.assert_allclose(table["ensemble_spread"], [1.5, 0.7], rtol=0.05)
    np.testing.assert_allclose(table["spread_ratio"], [2.0 / 1.5, 0.8 / 0.7], rtol=0.2)
    np.testing.assert_allclose(table["error"], np.hypot([3, 2], [2.0, 0.8]), rtol=0.1)


def test_regimes_of_the_context_alone():
    X, y, kind = two_regimes(3000, 2, clusters=False)
    rng = np.random.default_rng(0)
    context = np.column_stack([kind + 0.05 * rng.normal(size=len(kind)), rng.normal(size=len(kind))])
    deep = RegimeEMOS(2, gate="deep", random_state=0).fit(X[:2000], y[:2000], context=context[:2000])
    blind = RegimeEMOS(2, gate="deep", context_terms=False, random_state=0).fit(X[:2000], y[:2000])
    told, not_told = deep.predict(X[2000:], context[2000:]), blind.predict(X[2000:])
    assert told.crps(y[2000:]).mean() < 0.6 * not_told.crps(y[2000:]).mean()
    with pytest.raises(
        ValueError, match="context: the fit was with one of 2 columns; pass that of these cases"
    ):
        deep.predict(X[2000:])
    with pytest.raises(ValueError, match="context: has no effect with context_terms=False"):
        blind.predict(X[2000:], context[2000:])


def test_one_cluster_is_emos():
    X, y, _ = two_regimes(300, 3)
    one = RegimeEMOS(1, random_state=0).fit(X, y)
    assert one.crps_ == pytest.approx(EMOS().fit(X, y).crps_, abs=1e-8)


def test_a_small_cluster_is_shrunk_to_all():
    """A cluster of a few cases gets nearly the EMOS of all, and with no shrinkage one of its own."""
    rng = np.random.default_rng(4)
    X = rng.normal(size=(400, 8))
    X[:6] += 30
    y = X.mean(axis=1) + 0.5 * rng.normal(size=400)
    y[:6] += 4
    new = 30 + rng.normal(size=(50, 8))
    slopes = {}
    for shrinkage in (0.0, 1e5):
        model = RegimeEMOS(2, shrinkage=shrinkage, random_state=0).fit(X, y)
        slopes[shrinkage] = np.ptp(model.predict(new).mean())
    of_all = np.ptp(EMOS().fit(X, y).predict(new).mean())
    assert slopes[1e5] == pytest.approx(of_all, rel=0.02)
    assert abs(slopes[0.0] - of_all) > 0.1 * of_all


def test_forecast_is_the_mixture_of_the_equations():
    """The equations of ``gated``, written out in NumPy."""
    rng = np.random.default_rng(5)
    n, G, H, K, D, P = 7, 4, 3, 2, 2, 3
    gate = Gate(rng.normal(size=(G, H)), rng.normal(size=H), rng.normal(size=(H, K)), rng.normal(size=K))
    experts = Experts(rng.normal(size=(2, D, P)), 0.3 * rng.normal(size=(K, 2, D, P)), np.zeros(D))
    read, regressors = rng.normal(size=(n, G)), rng.normal(size=(n, D, P))
    gamma = np.asarray(responsibilities(Regimes(gate, experts).gate, read))
    location, scale = distributions(find_family("normal"), experts, regressors)
    for i in range(n):
        logits = np.tanh(read[i] @ gate.hidden + gate.hidden_bias) @ gate.out + gate.out_bias
        np.testing.assert_allclose(gamma[i], np.exp(logits) / np.exp(logits).sum(), rtol=1e-5)
        for d in range(D):
            for k in range(K):
                expected = (experts.shared + experts.own[k])[:, d] @ regressors[i, d]
                assert location[i, d, k] == pytest.approx(expected[0], rel=1e-5, abs=1e-6)
                assert scale[i, d, k] == pytest.approx(np.exp(np.clip(expected[1], -4, 4)), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("gate", ["mixture", "deep"])
def test_calibrated_on_a_chaotic_truth(gate):
    data = make_lorenz96(n=8000, M=10, seed=1, n_variables=1)
    model = RegimeEMOS(3, gate=gate, random_state=0).fit(data[:4000])
    forecast, y = model.predict(data[4000:]), data.observations[4000:]
    values = pit(forecast, y).ravel()
    assert flatness(np.histogram(values, 10, (0, 1))[0]).p_value > 0.01
    assert np.mean(np.abs(values - 0.5) < 0.45) == pytest.approx(0.9, abs=0.025)
    of_all = EMOS().fit(data[:4000]).predict(data[4000:])
    assert flatness(np.histogram(pit(of_all, y), 10, (0, 1))[0]).p_value > 0.01
    assert forecast.crps(y).mean() < of_all.crps(y).mean()


@pytest.mark.parametrize("gate", ["mixture", "deep"])
def test_several_variables_and_what_is_missing(gate, tmp_path):
    data = make_lorenz96(n=400, M=8, seed=1, n_variables=2)
    members, observed = data.values.copy(), data.observations.copy()
    members[3] = np.nan
    members[4, 2:] = np.nan
    observed[5, 1] = np.nan
    data = Ensemble(members, variables=data.variables, coords=data.coords, observations=observed)
    model = RegimeEMOS(2, gate=gate, random_state=0, max_steps=60, n_networks=2)
    model.fit(data, context="season")
    forecast = model.predict(data)
    assert forecast.shape == (400, 2)
    mean = np.asarray(forecast.mean())
    assert np.isnan(mean[3]).all()
    assert np.isnan(np.asarray(model.predict_proba(data))[3]).all()
    assert np.isfinite(np.delete(mean, 3, axis=0)).all()
    assert list(model.regimes_.index.names) == ["regime", "variable"]
    assert len(model.regimes_) == 4
    assert (model.regimes_["typical"].str.count("-") == 6).all()  # three dates
    # the same seed, the same fit; saved and loaded, the same forecast
    again = clone(model).fit(data, context="season")
    np.testing.assert_array_equal(np.asarray(again.predict(data).mean()), mean)
    save(model, tmp_path)
    loaded = load(tmp_path)
    np.testing.assert_array_equal(np.asarray(loaded.predict(data).mean()), mean)
    assert loaded.regimes_.equals(model.regimes_)
    assert loaded.crps_ == model.crps_
    json.loads((tmp_path / "model.json").read_text())


def test_labels_come_back():
    times = np.datetime64("2001-01-01") + 3 * np.arange(200)
    X, y, _ = two_regimes(200, 6)
    array = xr.DataArray(X, dims=("time", "member"), coords={"time": times}, name="t2m")
    model = RegimeEMOS(2, **BRIEF).fit(array, y, context="season")
    gamma = model.predict_proba(array)
    assert gamma.dims == ("time", "regime")
    assert model.predict(array).mean().dims == ("time",)
    assert set(model.regimes_["season"]) <= {"all year"} | {
        text for text in model.regimes_["season"] if "–" in text
    }


@pytest.mark.parametrize("gate", ["mixture", "deep"])
def test_censored_family(gate):
    rng = np.random.default_rng(7)
    n = 400
    base = rng.gamma(1.2, 2.0, n)
    X = np.maximum(base[:, None] + rng.normal(size=(n, 8)), 0)
    y = np.maximum(1.2 * base - 1.5 + rng.logistic(size=n), 0)
    model = RegimeEMOS(2, gate=gate, family="censored_logistic", random_state=0).fit(X, y)
    forecast = model.predict(X)
    assert forecast.cdf(0).mean() == pytest.approx((y == 0).mean(), abs=0.05)
    assert model.crps_ < 1.02 * EMOS("censored_logistic").fit(X, y).crps_
    with pytest.raises(ValueError, match="y: -1 at case 0, variable 0, is below 0"):
        model.fit(X, np.where(np.arange(n) == 0, -1, y))


def test_a_mixture_of_ones_own():
    X, y, kind = two_regimes(600, 8)
    context = np.column_stack([kind, np.arange(600) % 7]).astype(float)
    fitted = EGMM(2, random_state=0).fit(X[..., None])
    model = RegimeEMOS(2, mixture=fitted).fit(X, y)
    assert model.mixture_ is fitted
    np.testing.assert_allclose(model.predict_proba(X), fitted.predict_proba(X[..., None]), atol=1e-12)
    deep = DEGMM(5, max_epochs=30, n_init=4)
    model = RegimeEMOS(2, mixture=deep, random_state=0).fit(X, y, context=context)
    assert model.mixture_.n_components == 2
    assert model.predict_proba(X, context).shape == (600, 2)
    assert not hasattr(deep, "weights_")
    with pytest.raises(ValueError, match="mixture: it has 2 clusters; pass n_components=2"):
        RegimeEMOS(3, mixture=fitted).fit(X, y)
    with pytest.raises(ValueError, match="mixture: expected an EGMM"):
        RegimeEMOS(3, mixture="egmm").fit(X, y)
    with pytest.raises(ValueError, match="mixture: has no effect with gate='deep'"):
        RegimeEMOS(3, gate="deep", mixture=fitted).fit(X, y)


def test_weights_are_copies():
    X, y, _ = two_regimes(200, 9)
    weights = np.arange(200) % 3
    twice = np.repeat(np.arange(200), weights)
    by_weight = RegimeEMOS(1, random_state=0).fit(X, y, sample_weight=weights)
    by_copies = RegimeEMOS(1, random_state=0).fit(X[twice], y[twice])
    np.testing.assert_allclose(by_weight.predict(X).mean(), by_copies.predict(X).mean(), rtol=1e-6)
    # cases of weight 0 are not seen by the networks
    strange = np.where(weights == 0, 1e6, y)
    one, two = (RegimeEMOS(2, **BRIEF).fit(X, of, sample_weight=weights) for of in (y, strange))
    np.testing.assert_array_equal(one.predict(X).mean(), two.predict(X).mean())


def test_cross_validated_forecasts_are_of_the_other_blocks():
    X, y, _ = two_regimes(100, 10)
    forecast = cross_validated(EMOS(), X, y, n_blocks=4)
    first = np.arange(100) < 25
    np.testing.assert_allclose(
        forecast.mean()[first], EMOS().fit(X[~first], y[~first]).predict(X[first]).mean(), rtol=1e-9
    )
    with pytest.raises(ValueError, match="n_blocks: 101 blocks are too many for 100 cases"):
        cross_validated(EMOS(), X, y, n_blocks=101)
    with pytest.raises(TypeError, match="calibration: expected an EMOS or RegimeEMOS"):
        cross_validated(EGMM(2), X, y)


def test_number_of_regimes_by_held_out_crps():
    X, y, _ = two_regimes(600, 11)
    found = select_regimes(RegimeEMOS(random_state=0), X, y, components=[3, 1, 2], n_blocks=3)
    assert list(found.table.index) == [1, 2, 3]
    assert found.best in (2, 3)
    assert found.table.loc[2, "crps"] < 0.95 * found.table.loc[1, "crps"]
    held_out = cross_validated(RegimeEMOS(2, random_state=0), X, y, n_blocks=3).crps(y)
    assert found.table.loc[2, "crps"] == pytest.approx(held_out.mean())
    with pytest.raises(TypeError, match="calibration: expected a RegimeEMOS"):
        select_regimes(EMOS(), X, y)
    with pytest.raises(ValueError, match="components: expected one or more integers"):
        select_regimes(RegimeEMOS(), X, y, components=[0])


def test_the_number_that_cannot_be_fitted_is_named():
    X, y, _ = two_regimes(60, 12)
    with pytest.raises(
        ValueError, match=r"^components: K = 30 cannot be fitted, while 1 can \(the fit without"
    ):
        select_regimes(RegimeEMOS(gate="mixture", random_state=0), X, y, components=[30, 1], n_blocks=2)


@pytest.mark.parametrize("gate", ["mixture", "deep"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": None}, "y: no observations"),
        ({"y": np.full(60, np.nan)}, "y: every observation is missing"),
        ({"y": np.zeros(59)}, "y: expected an observation a case"),
        (
            {"keep": 3},
            "X: 3 cases with an observation.* are too few for|n_components: 4 regimes are too many",
        ),
        ({"context": np.ones((60, 1))}, "context: column 0 does not vary"),
        ({"context": "season"}, "context: coordinates were named, and X is an array"),
        ({"settings": {"n_components": 0}}, "n_components: expected an integer of at least 1"),
        ({"settings": {"n_components": 61}}, "n_components: 61 regimes are too many for 60 cases"),
        ({"settings": {"gate": "networks"}}, "gate: expected one of 'mixture', 'deep'"),
        ({"settings": {"family": "cauchy"}}, "family: expected one of"),
        ({"settings": {"shrinkage": -1}}, "shrinkage: expected a number of at least 0"),
        ({"settings": {"n_networks": 0}}, "n_networks: expected an integer"),
        ({"settings": {"learning_rate": 0}}, "learning_rate: expected a number above 0"),
    ],
)
def test_bad_input(gate, change, message):
    X, y, _ = two_regimes(60, 12)
    if "keep" in change:
        y = np.where(np.arange(60) < change["keep"], y, np.nan)
    y = change.get("y", y)
    settings = {"n_components": 4, "gate": gate, "max_steps": 5} | change.get("settings", {})
    with pytest.raises(ValueError, match=message):
        RegimeEMOS(**settings).fit(X, y, context=change.get("context"))


def test_another_variable_is_refused():
    data = make_lorenz96(n=60, M=4, seed=0, n_variables=1)
    model = RegimeEMOS(2, **BRIEF).fit(data)
    other = Ensemble(data.values, variables=("wind",), coords=data.coords, context=data.context)
    with pytest.raises(ValueError, match="X: variables wind; the model was fitted to x1, and x1 is missing"):
        model.predict(other)


def test_a_training_that_breaks_down_says_so():
    X, y, _ = two_regimes(100, 13)
    with pytest.warns(UserWarning, match="RegimeEMOS: stopped: the score was not finite"):
        model = RegimeEMOS(2, **(BRIEF | {"learning_rate": 1e30})).fit(X, y)
    assert model.result_ is Result.NON_FINITE
    with pytest.raises(ValueError, match="model: cannot be saved"):
        save(model, "nowhere")


def split(file, variable):
    data = read_ensemble(real_file(file))
    complete = ~np.isnan(data.values).any((1, 2)) & ~np.isnan(data.observations).any(1)
    data = data.take_variables([data.variables.index(variable)])[complete]
    data = data.drop_control(0) if data.n_members == 11 else data
    return data[: 2 * len(data) // 3], data[2 * len(data) // 3 :]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "variable", "asked", "n_clusters"),
    [
        ("innsbruck_gefs.nc", "tmin2m", 1.235, 8),
        ("germany_ecmwf_t2m.nc", "t2m_list_sylt_24h", 0.735, 2),
        ("germany_ecmwf_t2m.nc", "t2m_magdeburg_24h", 0.783, 7),
    ],
)
def test_real_temperatures(file, variable, asked, n_clusters):
    """The figures of docs/calibration.md. n_clusters is what ``select_regimes`` chooses on the training."""
    train, test = split(file, variable)
    y = test.observations[:, 0]
    forecast = RegimeEMOS(4, gate="deep", random_state=0).fit(train, context="season").predict(test)
    crps = forecast.crps(y)
    assert crps.mean() <= asked
    of_all = EMOS().fit(train).predict(test)
    assert diebold_mariano(crps, of_all.crps(y)).difference < -0.01
    # The ensembles drift: neither is at 90 %.
    assert abs(coverage(forecast, y).coverage - 0.9) < abs(coverage(of_all, y).coverage - 0.9)
    clusters = RegimeEMOS(n_clusters, random_state=0).fit(train).predict(test)
    test_of_clusters = diebold_mariano(clusters.crps(y), of_all.crps(y))
    assert test_of_clusters.difference < 0.005
    if "tmin" in variable:
        assert clusters.crps(y).mean() < 0.93 * of_all.crps(y).mean()


def test_a_cluster_without_an_observed_case_has_the_emos_of_all():
    X, y, _ = two_regimes(300, 9, clusters=False)
    X[0], y[0] = 1e3, np.nan
    model = RegimeEMOS(2, shrinkage=0, random_state=0).fit(X, y)
    expected = EMOS().fit(X, y).predict(X[:1]).mean()
    np.testing.assert_allclose(model.predict(X[:1]).mean(), expected, rtol=1e-3)


def test_a_refit_that_fails_keeps_nothing_of_the_fit_before():
    X, y, _ = two_regimes(200, 9)
    model = RegimeEMOS(2, **BRIEF).fit(X, y)
    with pytest.warns(ConvergenceWarning):
        model.set_params(learning_rate=1e30).fit(X, y)
    assert not hasattr(model, "regimes_")
    assert not hasattr(model, "crps_")


def test_the_mixture_s_own_seed_counts():
    X, y, _ = two_regimes(200, 9)
    mixture = EGMM(3, random_state=5, n_init=1)
    means = [RegimeEMOS(3, mixture=mixture, random_state=seed).fit(X, y).mixture_.means_ for seed in (0, 1)]
    np.testing.assert_array_equal(*means)


def test_tiny_weights_and_too_few_cases():
    X, y, _ = two_regimes(200, 9)
    plain = RegimeEMOS(2, **BRIEF).fit(X, y)
    tiny = RegimeEMOS(2, **BRIEF).fit(X, y, sample_weight=np.full(200, 1e-40))
    np.testing.assert_allclose(tiny.predict(X).mean(), plain.predict(X).mean(), rtol=1e-3, atol=1e-3)
    for gate in ("mixture", "deep"):
        with pytest.raises(ValueError, match=r"X: 6 cases .* are too few for"):
            RegimeEMOS(4, gate=gate).fit(X[:6], y[:6])


@pytest.mark.parametrize("change", [{"family": "truncated_normal"}, {"crps": None}, {"regimes": {}}])
def test_a_tampered_file_is_refused(change, tmp_path):
    X, y, _ = two_regimes(200, 9)
    save(RegimeEMOS(2, random_state=0).fit(X, np.abs(y)), tmp_path)
    path = tmp_path / "model.json"
    record = json.loads(path.read_text())
    record["facts"] |= change
    path.write_text(json.dumps(record))
    with pytest.raises(ValueError, match="model"):
        load(tmp_path)
