from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import real_file
from sklearn.model_selection import KFold

from degmm import EGMM, Ensemble, Selection, plotting, read_ensemble, select_components
from degmm.cli import main
from degmm.cli.select import numbers
from degmm.datasets import make_exchangeable_mixture
from degmm.inference.solution import Result
from degmm.selection import _best, _held_out, _workers


def draw(n=90, M=4, seed=0):
    """Ensembles of three clusters that lie apart, in random order."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=n)
    means = np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0]])
    return means[labels][:, None] + rng.normal(size=(n, M, 2))


@pytest.fixture(scope="module", name="X")
def ensembles():
    return draw()


@pytest.fixture(scope="module")
def selection(X):
    return select_components(EGMM(n_init=4, random_state=0), X, [4, 2, 3, 1], cv=3, n_jobs=1)


def test_easy_mixture_gives_its_number(selection):
    assert selection.best["bic"] == selection.best["icl"] == 3
    assert selection.best["held_out"] >= 3
    assert selection.table.index.tolist() == [1, 2, 3, 4]
    assert selection.table.index.name == "n_components"
    assert {K: model.n_components for K, model in selection.models.items()} == {K: K for K in (1, 2, 3, 4)}
    assert (selection.table["result"] == "CONVERGED").any()


def test_criteria_are_the_formulas(X, selection):
    n = len(X)
    for K, row in selection.table.iterrows():
        model = selection.models[K]
        p = (K - 1) + 2 * K + 3 * K
        gamma = model.predict_proba(X)
        entropy = -np.sum(gamma * np.log(np.maximum(gamma, 1e-300)))
        assert row["n_parameters"] == p
        assert row["log_likelihood"] == pytest.approx(model.score_samples(X).sum())
        assert row["bic"] == pytest.approx(-2 * row["log_likelihood"] + p * np.log(n))
        assert row["aic"] == pytest.approx(-2 * row["log_likelihood"] + 2 * p)
        assert row["icl"] == pytest.approx(row["bic"] + 2 * entropy)
    for name in ("bic", "aic", "icl"):
        assert selection.best[name] == selection.table[name].idxmin()
    assert selection.best["held_out"] == selection.table["held_out"].idxmax()


def test_held_out_is_that_of_scikit_learn(X, selection):
    model = EGMM(2, n_init=4, random_state=selection.models[2].random_state)
    scores = [model.fit(X[train]).score_samples(X[test]) for train, test in KFold(3).split(X)]
    assert selection.table.loc[2, "held_out"] == pytest.approx(np.concatenate(scores).mean())
    means = [s.mean() for s in scores]
    assert selection.table.loc[2, "held_out_se"] == pytest.approx(np.std(means, ddof=1) / np.sqrt(3))


@pytest.mark.slow
def test_processes_give_what_one_process_gives(X, selection):
    other = select_components(EGMM(n_init=4, random_state=0), X, [1, 2], cv=3, n_jobs=2)
    columns = ["log_likelihood", "bic", "held_out"]
    np.testing.assert_allclose(other.table[columns], selection.table.loc[[1, 2], columns])
    np.testing.assert_array_equal(other.models[2].predict(X), selection.models[2].labels_)


def test_number_of_processes(monkeypatch):
    assert _workers(-1, 1) == _workers(1, 8) == _workers(None, 8) == 1
    assert _workers(3, 2) == 2
    monkeypatch.setattr("joblib.effective_n_jobs", lambda n_jobs: 1)
    assert _workers(-1, 8) == 1  # one core
    monkeypatch.setattr("joblib.effective_n_jobs", lambda n_jobs: 8 if n_jobs == -1 else n_jobs)
    assert _workers(-1, 5) == 5
    monkeypatch.setattr("jax.default_backend", lambda: "gpu")
    assert _workers(-1, 5) == 1
    assert _workers(2, 5) == 2


def test_weights_count_ensembles(X):
    weights = np.random.default_rng(1).integers(3, size=len(X))
    estimator = EGMM(n_init=4, random_state=0)
    # Splits of whole ensembles: repeated ones stay on their side.
    cut = len(X) // 2
    folds = [(np.arange(cut, len(X)), np.arange(cut))]
    weighted = select_components(estimator, X, [1], cv=folds, sample_weight=weights, n_jobs=1)
    copies = np.repeat(X, weights, axis=0)
    cut = int(weights[:cut].sum())
    folds = [(np.arange(cut, len(copies)), np.arange(cut))]
    repeated = select_components(estimator, copies, [1], cv=folds, n_jobs=1)
    for name in ("log_likelihood", "bic", "aic", "icl", "held_out"):
        assert weighted.table.loc[1, name] == pytest.approx(repeated.table.loc[1, name], rel=1e-6)
    assert np.isnan(weighted.table.loc[1, "held_out_se"])  # of one fold


def test_without_cross_validation(X):
    found = select_components(EGMM(n_init=4, random_state=0), Ensemble(X, ("a", "b")), [1], cv=None)
    assert found.table["held_out"].isna().all()
    assert sorted(found.best) == ["aic", "bic", "icl"]


def test_fits_do_not_warn_and_the_table_says_how_they_ended(X):
    found = select_components(EGMM(n_init=1, max_iter=1, tol=1e-9, random_state=0), X, [4], cv=None)
    assert found.table["result"].tolist() == ["MAX_ITERATIONS"]


def test_smallest_of_equals_and_nothing_of_nan():
    table = pd.DataFrame(
        {
            "bic": [2.0, 1.0, 1.0],
            "aic": [np.nan, 3.0, 4.0],
            "icl": [np.nan] * 3,
            "held_out": [0.0, np.nan, 0.0],
        },
        index=[1, 2, 3],
    )
    assert _best(table) == {"bic": 2, "aic": 2, "held_out": 1}


def test_fold_of_weight_zero_counts_for_nothing():
    scores, weights = [np.array([1.0, 3.0]), np.array([5.0])], [np.ones(2), np.zeros(1)]
    assert _held_out(scores, weights)["held_out"] == 2


@pytest.mark.parametrize("components", [[], [0], [2, 1.5], [True], 3, ["2"]])
def test_wrong_components(X, components):
    with pytest.raises(ValueError, match="components: expected"):
        select_components(EGMM(), X, components)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cv": 1}, "cv: "),
        ({"cv": 1000}, "cv: "),
        ({"cv": "five"}, "cv: "),
        ({"n_jobs": 0}, "n_jobs: "),
        ({"n_jobs": 1.5}, "n_jobs: "),
        ({"sample_weight": [1.0]}, "sample_weight: "),
    ],
)
def test_wrong_settings(X, settings, message):
    with pytest.raises(ValueError, match=message):
        select_components(EGMM(), X, [1], **settings)


@pytest.mark.parametrize("estimator", [EGMM, "egmm", None])
def test_wrong_estimator(X, estimator):
    with pytest.raises(TypeError, match="estimator: expected a GMM"):
        select_components(estimator, X)


def test_more_components_than_ensembles(X):
    with pytest.raises(ValueError, match="components: 9 components are too many for 8 ensembles"):
        select_components(EGMM(n_init=1), X[:8], [9], cv=None)


def test_picture_has_the_curves_and_the_best(selection):
    criteria, held_out = plotting.selection(selection.table, selection.best)
    assert [text.get_text() for text in criteria.get_legend().get_texts()] == ["BIC", "AIC", "ICL", "best K"]
    curves = {line.get_label(): line for line in criteria.lines if len(line.get_xdata()) == 4}
    np.testing.assert_allclose(
        curves["BIC"].get_ydata(), selection.table["bic"] - selection.table["bic"].min()
    )
    stars = [line for line in criteria.lines if line.get_marker() == "*" and len(line.get_xdata())]
    assert [round(float(star.get_xdata()[0])) for star in stars] == [
        selection.best[name] for name in ("bic", "aic", "icl")
    ]
    (star,) = [line for line in held_out.lines if line.get_marker() == "*"]
    assert star.get_xdata()[0] == selection.best["held_out"]
    assert star.get_ydata()[0] == selection.table["held_out"].max()
    (bars,) = held_out.containers
    ends = np.array(bars.lines[2][0].get_segments())[:, :, 1]
    np.testing.assert_allclose((ends[:, 1] - ends[:, 0]) / 2, selection.table["held_out_se"])


def test_picture_without_cross_validation(selection):
    best = {name: K for name, K in selection.best.items() if name != "held_out"}
    axes = plotting.new_figure(size=(3, 3))[1]
    assert plotting.selection(selection.table.drop(columns=["held_out"]), best, axes=axes) is axes
    with pytest.raises(ValueError, match="axes: expected 2"):
        plotting.selection(selection.table, selection.best, axes=axes)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1:4", [1, 2, 3, 4]),
        ("1:8:2", [1, 3, 5, 7]),
        ("2,4,6", [2, 4, 6]),
        ("3", [3]),
        ("4,1:3,2", [1, 2, 3, 4]),
    ],
)
def test_numbers(text, expected):
    assert numbers(text) == expected


@pytest.mark.parametrize("text", ["", "0:3", "3:1", "a", "1:2:3:4", "1:4:0", "1,,2", "1:"])
def test_no_numbers(text):
    with pytest.raises(ValueError, match="components: expected numbers"):
        numbers(text)


def degmm(*arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    return stop.value.code or 0


def test_command_prints_the_table_and_writes_it(netcdf, tmp_path, capsys):
    out = tmp_path / "out"
    options = ["--K", "1:3", "--n-init", 4, "--folds", 2, "--variable", "wind", "--jobs", 1]
    assert degmm("select", netcdf, *options, "--member-model", "shared-centre", "-o", out) == 0
    text = capsys.readouterr().out
    assert "1 of 300 ensembles (no member left)" in text
    assert "comparing 3 numbers of clusters: 9 fits of EGMM" in text
    assert text.count("*") == 1 + 4  # the title's, and one for each criterion
    table = pd.read_csv(out / "selection.csv", index_col="n_components")
    assert table.index.tolist() == [1, 2, 3]
    assert f"best K: {table['bic'].idxmin()} by BIC" in text
    assert (out / "selection.png").stat().st_size > 10_000


def test_command_with_one_member_and_no_folds(netcdf, tmp_path, capsys):
    out = tmp_path / "out"
    options = ["--model", "gmm", "--K", "1,2", "--n-init", 4, "--folds", 0, "--jobs", 1, "--format", "svg"]
    assert degmm("select", netcdf, *options, "--variable", "wind", "-o", out) == 0
    text = capsys.readouterr().out
    assert "GMM sees the first member of each ensemble" in text
    assert "held-out" not in text
    assert (out / "selection.svg").exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--K", "0:3"], "--K: expected numbers of at least 1"),
        (["--folds", "1"], "--folds: expected 0"),
        (["--folds", "400"], "--folds: "),
        (["--jobs", "0"], "--jobs: "),
        (["--model", "gmm", "--member-model", "shared-centre"], "--member-model: model gmm has no such"),
        (["--member-model", "other"], "--member-model: expected one of"),
        (["--K", "301", "--folds", "0"], "--K: 301 components are too many for"),
    ],
)
def test_mistakes_are_one_sentence(netcdf, tmp_path, capsys, options, sentence):
    assert degmm("select", netcdf, *options, "-o", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def print_table_of_session(title, columns, rows, records):
    from degmm.cli.tables import print_table

    assert [record["K"] for record in records] == [int(row[0]) for row in rows]
    print_table(title, columns, rows)


def test_report_of_fits_that_went_wrong(capsys):
    from degmm.cli.select import _report

    table = pd.DataFrame(
        {
            "log_likelihood": [-5.0, -4.0],
            "n_parameters": [2, 5],
            "bic": [12.0, 11.0],
            "aic": [11.0, 12.0],
            "icl": [12.0, np.nan],
            "held_out": [np.nan, np.nan],
            "held_out_se": [np.nan, np.nan],
            "result": ["CONVERGED", "AT_FLOOR"],
            "seconds": [1.0, 2.0],
        },
        index=[1, 2],
    )
    session = SimpleNamespace(note=print, table=print_table_of_session)
    _report(session, SimpleNamespace(table=table, best=_best(table)))
    text = capsys.readouterr().out
    assert "K = 2: a component's covariance sits at the floor" in text
    assert "best K: 2 by BIC, 1 by AIC, 1 by ICL\n" in text
    assert "the largest K tried is the best by BIC" in text


@pytest.mark.slow
def test_real_forecasts_have_a_finite_number_of_clusters_by_icl():
    data = read_ensemble(real_file("innsbruck_gefs.nc"), variables=["tmin2m"])
    X = data.dropna().values[:, 1:].astype(np.float64)  # member 0 is the control run
    estimator = EGMM(member_model="shared_centre", n_init=8, random_state=0)
    found = select_components(estimator, X, range(1, 9), cv=None, n_jobs=1)
    assert isinstance(found, Selection)
    assert 1 < found.best["icl"] < 8
    # BIC goes on falling (docs/selection.md), for spreads that vary continuously, but ever less.
    gains = -np.diff(found.table["bic"])
    assert gains[3:].max() < 0.03 * gains[0]


def test_a_fold_of_weight_0_says_nothing():
    X = make_exchangeable_mixture(60, 4, 2, 1, seed=0)[0]
    weights = np.ones(60)
    weights[:12] = 0
    with_it = select_components(EGMM(n_init=2, random_state=0), X, [1], sample_weight=weights, n_jobs=1).table
    without = select_components(EGMM(n_init=2, random_state=0), X[12:], [1], cv=4, n_jobs=1).table
    np.testing.assert_allclose(with_it["held_out_se"], without["held_out_se"], rtol=1e-6)


def test_a_number_that_the_folds_leave_too_few_ensembles_for_is_named():
    X = make_exchangeable_mixture(6, 4, 2, 1, seed=0)[0]
    with pytest.raises(
        ValueError, match=r"components: 6 components are too many for the 4 ensembles that fold 0"
    ):
        select_components(EGMM(n_init=2, random_state=0), X, [6], n_jobs=1)


@pytest.fixture
def fails(monkeypatch):
    """Let fits fail of which a function of the number of clusters and of ensembles says so."""

    def install(which):
        def fit(model, X, y=None, *, sample_weight=None):
            if which(model.n_components, len(X)):
                raise ValueError("X: it cannot be fitted")
            return real(model, X, y, sample_weight=sample_weight)

        monkeypatch.setattr(EGMM, "fit", fit)

    real = EGMM.fit
    return install


@pytest.mark.parametrize(
    ("which", "message"),
    [
        (lambda K, n: K > 1, r"^components: K = 2 cannot be fitted: X: it cannot be fitted$"),
        (
            lambda K, n: K > 1 and n < 20,
            r"^components: K = 2 cannot be fitted without fold 0, to 10 ensembles: X",
        ),
        (lambda K, n: n < 20, r"^cv: the fit without fold 0, to 10 ensembles, failed: X: it cannot"),
        (lambda K, n: True, r"^X: it cannot be fitted$"),
    ],
)
def test_the_argument_that_is_to_blame_is_named(which, message, fails, X):
    fails(which)
    with pytest.raises(ValueError, match=message):
        select_components(EGMM(n_init=2, random_state=0), X[:20], [1, 2], cv=2, n_jobs=1)


def test_the_command_blames_the_largest_number_not_the_folds(netcdf, tmp_path, capsys):
    for K, folds in ((250, 5), (299, 2)):
        with pytest.raises(SystemExit) as stop:
            main(
                [
                    "select",
                    str(netcdf),
                    "--K",
                    f"1,{K}",
                    "--folds",
                    str(folds),
                    "-q",
                    "-o",
                    str(tmp_path / "out"),
                ]
            )
        assert stop.value.code == 2
        said = capsys.readouterr().err
        assert said.startswith(f"degmm: --K: {K} components are too many for the ")
        assert "take more folds" in said


def test_a_fit_that_broke_down_has_an_empty_row(X, monkeypatch):
    plain = EGMM.fit

    def broken(self, *arguments, **named):
        plain(self, *arguments, **named)
        if self.n_components == 2:
            self.result_ = Result.NON_FINITE
        return self

    monkeypatch.setattr(EGMM, "fit", broken)
    table = select_components(EGMM(n_init=1, random_state=0), X, [1, 2], cv=2, n_jobs=1).table
    assert table.loc[2, "result"] == "NON_FINITE"
    assert table.loc[2, ["bic", "aic", "icl", "held_out"]].isna().all()
    assert table.loc[1, ["bic", "aic", "icl", "held_out"]].notna().all()
