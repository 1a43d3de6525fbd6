import subprocess
import sys

import numpy as np
import oracles
import pytest
from PIL import Image

from degmm import DEGMM, EGMM, compare
from degmm.clustering import oracle
from degmm.datasets import make_exchangeable_mixture
from degmm.metrics import accuracy

# A few epochs do not train a network, which it says.
short = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
MODELS = ["Bayes, all members", "Bayes, one member", "GMM", "DGMM", "EGMM", "DEGMM"]


@short
def test_table_and_pictures(tmp_path):
    result = compare(n=200, M=8, D=2, K=3, num_epochs=60, seed=1, output=tmp_path / "new" / "figures")
    table = result.table
    assert list(table.index) == MODELS
    assert list(table["members"]) == [8, 1, 1, 1, 8, 8]
    assert list(table.columns) == ["members", "accuracy", "ari", "log_likelihood", "kl", "seconds"]
    assert list(table["kl"].notna()) == [name in ("DGMM", "DEGMM") for name in MODELS]
    assert (table["kl"].dropna() >= 0).all()
    assert table["accuracy"].between(0, 1).all()
    assert table.loc["EGMM", "accuracy"] > table.loc["GMM", "accuracy"]
    assert table.loc["EGMM", "log_likelihood"] >= table.loc["Bayes, all members", "log_likelihood"]
    assert [path.name for path in result.figures] == ["example.png", "results.png", "inference_degmm.gif"]
    for path in result.figures[:2]:
        with Image.open(path) as picture:
            assert min(picture.size) > 700
            assert len(set(picture.convert("L").resize((50, 50)).tobytes())) > 10
    with Image.open(result.figures[2]) as movie:
        assert movie.n_frames > 10


SHAPES = [
    (1, 2, 1),
    *(pytest.param(*shape, marks=pytest.mark.slow) for shape in [(5, 1, 2), (4, 3, 10), (3, 2, 12)]),
]


@short
@pytest.mark.parametrize(("M", "D", "K"), SHAPES)
def test_other_shapes_draw_too(tmp_path, M, D, K):
    result = compare(n=60, M=M, D=D, K=K, num_epochs=12, seed=0, output=tmp_path)
    assert len(result.figures) == 3
    assert np.isfinite(result.table.drop(columns=["kl", "seconds"]).to_numpy(float)).all()


@short
def test_no_pictures_and_the_same_table_again():
    first, second = (compare(n=100, M=5, num_epochs=10, seed=2, output=None).table for _ in range(2))
    assert first.drop(columns="seconds").equals(second.drop(columns="seconds"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 60.5}, "n: expected an integer of at least 1, got 60.5"),
        ({"M": True}, "M: expected an integer"),
        ({"D": 0}, "D: expected an integer of at least 1, got 0"),
        ({"K": "3"}, "K: expected an integer"),
        ({"num_epochs": 0}, "num_epochs: expected an integer"),
        ({"seed": -1}, "seed: expected an integer of at least 0"),
        ({"dtype": "int8"}, "dtype: expected float32 or float64"),
        ({"dtype": "no"}, "dtype: expected float32 or float64"),
        ({"n": 2, "K": 3}, "n: 2 ensembles are too few for K = 3 clusters"),
        ({"covariance": "x"}, "covariance: expected"),
        ({"format": "gif"}, "format: expected one of 'png', 'pdf', 'svg'; got 'gif'"),
    ],
)
def test_mistakes_are_found_before_anything_is_drawn_or_made(tmp_path, arguments, message, monkeypatch):
    if "covariance" not in arguments:
        monkeypatch.setattr("degmm.comparison.make_exchangeable_mixture", None)
    with pytest.raises(ValueError, match=message):
        compare(output=tmp_path / "figures", **arguments)
    assert not (tmp_path / "figures").exists()


def test_pictures_may_not_be_folders(tmp_path):
    (tmp_path / "results.png").mkdir()
    with pytest.raises(ValueError, match=r"output: .*results\.png is a folder"):
        compare(n=30, output=tmp_path)


def test_a_comparison_that_breaks_down_leaves_no_folder(tmp_path, monkeypatch):
    def fails(*arguments):
        raise RuntimeError

    monkeypatch.setattr("degmm.comparison.oracle", fails)
    with pytest.raises(RuntimeError):
        compare(n=30, output=tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())


@short
def test_pictures_in_another_format(tmp_path):
    result = compare(n=30, M=2, K=2, num_epochs=5, output=tmp_path, format="pdf")
    assert [path.suffix for path in result.figures] == [".pdf", ".pdf", ".gif"]
    assert result.figures[1].read_bytes().startswith(b"%PDF")


def test_pictures_know_nothing_of_the_job():
    code = "import sys, degmm.plotting.comparison; print('degmm.comparison' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_oracle_is_bayes_rule():
    X, _, truth = make_exchangeable_mixture(50, 4, 2, 3, seed=3)
    joint = oracles.log_densities(X, *truth)
    found = oracle(X, truth, "Bayes")
    np.testing.assert_array_equal(found.labels, joint.argmax(axis=1))
    total = np.logaddexp.reduce(joint, axis=1).sum()
    assert found.log_likelihood == pytest.approx(total / 200)


@pytest.mark.slow
def test_twenty_seeds_of_the_readme_reach_the_truth():
    """REFERENCE: log-likelihood at least the truth's on every seed, mean accuracy within 0.003 of Bayes'."""
    lost = {EGMM: [], DEGMM: []}
    for seed in range(20):
        X, labels, truth = make_exchangeable_mixture(1000, 10, 2, 3, seed=seed)
        bayes = oracle(X, truth, "Bayes")
        for model, losses in lost.items():
            fitted = model(3, random_state=seed).fit(X)
            assert fitted.log_likelihood_ >= bayes.log_likelihood * 10_000
            losses.append(accuracy(labels, bayes.labels) - accuracy(labels, fitted.labels_))
    assert np.mean(lost[EGMM]) < 0.003
    assert np.mean(lost[DEGMM]) < 0.003


@pytest.mark.slow
@pytest.mark.parametrize(("n", "M", "D"), [(1000, 50, 10), (500, 1000, 50)])
def test_large_ensembles_in_float32(n, M, D):
    """The original's densities underflow here and its loss is NaN."""
    X, labels, truth = make_exchangeable_mixture(n, M, D, 3, seed=0)
    X = X.astype(np.float32)
    bayes = accuracy(labels, oracle(X, truth, "Bayes").labels)
    for model in (EGMM(3, random_state=0), DEGMM(3, random_state=0, max_epochs=200)):
        model.fit(X)
        assert np.isfinite(model.score_samples(X)).all()
        assert all(np.isfinite(series).all() for series in model.history_.values())
        assert accuracy(labels, model.labels_) >= bayes - 0.002
