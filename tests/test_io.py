import json

import numpy as np
import pytest

from degmm import DEGMM, DGMM, EGMM, GMM, load, save
from degmm.datasets import make_exchangeable_mixture

X = make_exchangeable_mixture(60, 4, 2, 2, seed=0)[0]


@pytest.mark.parametrize(
    "model",
    [
        GMM(2, n_init=4, random_state=0),
        EGMM(2, n_init=4, covariance_type="tied", random_state=0),
        DGMM(2, n_init=4, max_epochs=20, random_state=0),
        DEGMM(2, n_init=4, encoder="mlp", hidden=(8, 4), max_epochs=20, dtype="float32", random_state=0),
    ],
    ids=lambda model: type(model).__name__,
)
def test_a_loaded_model_predicts_identically(model, tmp_path):
    data = X[:, :1] if model._single_member else X
    model.fit(data)
    again = load(save(model, tmp_path / "model"))
    assert again.get_params() == model.get_params()
    for method in ("predict_proba", "posterior", "score_samples", "predict"):
        np.testing.assert_array_equal(getattr(again, method)(data), getattr(model, method)(data))
    np.testing.assert_array_equal(again.sample(3, random_state=0)[0], model.sample(3, random_state=0)[0])
    for name in ("weights_", "means_", "covariances_", "labels_"):
        np.testing.assert_array_equal(getattr(again, name), getattr(model, name))
    for name in ("log_likelihood_", "n_iter_", "converged_", "result_", "n_parameters_"):
        assert getattr(again, name) == getattr(model, name)


def test_saving_again_replaces_the_model(tmp_path):
    save(EGMM(2, n_init=4, random_state=0).fit(X), tmp_path)
    second = EGMM(3, n_init=4, random_state=0).fit(X)
    save(second, tmp_path)
    np.testing.assert_array_equal(load(tmp_path).means_, second.means_)
    assert len(list(tmp_path.iterdir())) == 2


def saved(tmp_path):
    return save(EGMM(2, n_init=4, random_state=0).fit(X), tmp_path / "model")


def truncate_arrays(folder):
    path = next(folder.glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:-10])


def change_head(**changes):
    def change(folder):
        path = folder / "model.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (truncate_arrays, "is damaged or not of this model"),
        (lambda folder: next(folder.glob("*.safetensors")).unlink(), "cannot be read"),
        (lambda folder: (folder / "model.json").unlink(), "no saved model there"),
        (lambda folder: (folder / "model.json").write_text("{"), "model.json is damaged"),
        (change_head(format=99), "newer format"),
        (change_head(estimator="os.system"), "unknown estimator"),
        (change_head(facts={}), "the saved model is damaged"),
        (change_head(parameters={"no_such": 1}), "the saved model is damaged"),
    ],
)
def test_damaged_models_give_one_clear_sentence(tmp_path, harm, message):
    folder = saved(tmp_path)
    harm(folder)
    with pytest.raises(ValueError, match=message):
        load(folder)


def test_not_fitted_and_not_writable(tmp_path):
    with pytest.raises(ValueError, match="not fitted"):
        save(EGMM(2), tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot be written"):
        save(EGMM(2, n_init=4, random_state=0).fit(X), tmp_path / "file")
