import hashlib
import json

import numpy as np
import pytest
from safetensors.numpy import load as from_bytes
from safetensors.numpy import save as to_bytes

from degmm import DEGMM, DGMM, EGMM, GMM, load, save
from degmm.datasets import make_exchangeable_mixture
from degmm.files import writable_folder, write_bytes
from degmm.folders import output_folder

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
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
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


def test_seeds_of_many_bits_are_kept(tmp_path):
    model = EGMM(2, n_init=1, random_state=2**128 - 1).fit(X)
    assert load(save(model, tmp_path)).random_state == 2**128 - 1


def test_saving_again_replaces_the_model(tmp_path):
    save(EGMM(2, n_init=4, random_state=0).fit(X), tmp_path)
    second = EGMM(3, n_init=4, random_state=0).fit(X)
    save(second, tmp_path)
    np.testing.assert_array_equal(load(tmp_path).means_, second.means_)
    assert len(list(tmp_path.iterdir())) == 2


def test_only_the_files_of_the_model_before_are_deleted(tmp_path):
    mine = [
        tmp_path / name
        for name in ("model-00001-of-00002.safetensors", "model-.safetensors", ".degmm-writes")
    ]
    for path in mine:
        path.write_text("mine")
    for K in (2, 3, 2):
        save(EGMM(K, n_init=2, random_state=0).fit(X), tmp_path)
        assert len(list(tmp_path.iterdir())) == len(mine) + 2
    # A head of other origin owns no file, whatever it names.
    head = json.loads((tmp_path / "model.json").read_text())
    for other in ("[]", "{", json.dumps(head | {"arrays": mine[0].name})):
        (tmp_path / "model.json").write_text(other)
        save(EGMM(2, n_init=2, random_state=0).fit(X), tmp_path)
    assert all(path.read_text() == "mine" for path in mine)


def test_arguments_that_are_no_plain_values_are_not_kept(tmp_path):
    gamma = np.random.default_rng(0).dirichlet([1, 1], len(X)).tolist()
    model = EGMM(2, init_params=gamma, random_state=np.random.default_rng(0)).fit(X)
    again = load(save(model, tmp_path))
    assert (again.init_params, again.random_state) == ("k-means++", None)
    np.testing.assert_array_equal(again.means_, model.means_)


def test_a_model_that_broke_down_is_not_saved(tmp_path):
    model = EGMM(2, n_init=2, random_state=0).fit(X)
    model._parameters = model._parameters._replace(means=model._parameters.means * np.nan)
    with pytest.raises(ValueError, match=r"model: cannot be saved \(parameters.means is not finite\)"):
        save(model, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_writable_folder(tmp_path):
    (tmp_path / ".degmm-writes").write_text("mine")
    assert writable_folder(tmp_path, "a.png") == tmp_path
    assert [path.name for path in tmp_path.iterdir()] == [".degmm-writes"]
    (tmp_path / "a.png").mkdir()
    with pytest.raises(ValueError, match=r"output: .*a.png is a folder"):
        writable_folder(tmp_path, "a.png")
    with pytest.raises(ValueError, match=r"output: the folder .* cannot be written"):
        writable_folder(tmp_path / ".degmm-writes" / "x")


def fails_in(folder):
    with output_folder(folder, "x"):
        (folder.parent / "mine").write_text("mine")
        raise RuntimeError


def test_output_folder_is_kept_when_it_holds_something(tmp_path):
    with pytest.raises(RuntimeError):
        fails_in(tmp_path / "a" / "b")
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "mine"]
    with output_folder(tmp_path / "c"):
        pass
    assert (tmp_path / "c").exists()


def test_the_head_of_a_saved_model_stands_for_its_folder(tmp_path):
    folder = saved(tmp_path)
    np.testing.assert_array_equal(load(folder / "model.json").means_, load(str(folder)).means_)
    with pytest.raises(ValueError, match="no saved model there"):
        load(tmp_path / "other" / "model.json")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda m, t: save(str(t), m),
            r"model: expected a fitted mixture or calibration, got str; the model comes first",
        ),
        (lambda m, t: save(EGMM, t), "model: expected a fitted mixture or calibration, got the class EGMM"),
        (lambda m, t: save(None, t), "model: expected a fitted mixture or calibration, got NoneType"),
        (lambda m, t: save(m, m), "path: expected the path of a folder, got EGMM"),
        (lambda m, t: save(m, 5), "path: expected the path of a folder, got int"),
        (lambda m, t: load(m), "path: expected the path of a folder, got EGMM"),
        (lambda m, t: load(None), "path: expected the path of a folder, got NoneType"),
    ],
)
def test_wrong_types(call, message, tmp_path):
    with pytest.raises(TypeError, match=message):
        call(EGMM(2), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "a.png").mkdir()
    with pytest.raises(OSError, match=r"a\.png") as error:
        write_bytes(tmp_path / "a.png", b"")
    assert error.value.filename == str(tmp_path / "a.png")
    assert len(list(tmp_path.iterdir())) == 1


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


def change_facts(**changes):
    def change(folder):
        facts = json.loads((folder / "model.json").read_text())["facts"]
        change_head(facts=facts | changes)(folder)

    return change


def change_arrays(**changes):
    """Replace arrays by functions of themselves, with a right digest."""

    def change(folder):
        path = next(folder.glob("*.safetensors"))
        arrays = from_bytes(path.read_bytes())
        for name, function in changes.items():
            name = name.replace("__", ".")
            arrays[name] = np.ascontiguousarray(function(arrays[name]))
        path.write_bytes(to_bytes(arrays))
        change_head(sha256=hashlib.sha256(path.read_bytes()).hexdigest())(folder)

    return change


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (truncate_arrays, "is damaged or not of this model"),
        (lambda folder: next(folder.glob("*.safetensors")).unlink(), "cannot be read"),
        (lambda folder: (folder / "model.json").unlink(), "no saved model there"),
        (lambda folder: (folder / "model.json").write_text("{"), "the saved model is damaged"),
        (lambda folder: (folder / "model.json").write_text("[" * 100_000), "the saved model is damaged"),
        (lambda folder: (folder / "model.json").write_text("[]"), "the saved model is damaged"),
        (lambda folder: (folder / "model.json").write_bytes(b"\xff"), "the saved model is damaged"),
        (change_head(format=float("inf")), "the saved model is damaged"),
        (change_facts(n_features=float("inf")), "damaged .*n_features is inf"),
        (change_facts(n_features=3), r"damaged .*means has shape \(2, 2\), expected \(2, 3\)"),
        (change_facts(n_members=0), "damaged .*n_members is 0"),
        (change_facts(n_members=True), "damaged .*n_members is True"),
        (change_facts(precision="object"), "damaged .*precision 'object'"),
        (change_facts(feature_names=["a"]), "damaged .*1 feature_names for 2"),
        (change_facts(result="no"), "the saved model is damaged"),
        (change_head(parameters={"n_components": 3}), "damaged .*weights has shape"),
        (change_head(parameters={"n_components": "2"}), "damaged .*n_components is '2'"),
        (change_head(parameters={"n_components": 2, "member_model": "x"}), "damaged .*member_model"),
        (change_arrays(parameters__weights=lambda a: np.full(5, 0.2)), "damaged .*weights has shape"),
        (change_arrays(parameters__weights=lambda a: a - 1), "damaged .*no probabilities"),
        (change_arrays(parameters__within=lambda a: a * np.nan), "damaged .*within is not finite"),
        (change_arrays(parameters__between=lambda a: a[0]), "damaged .*between has shape"),
        (change_arrays(parameters__means=lambda a: a.astype(int)), "damaged .*means has dtype int64"),
        (change_arrays(scaling__scale=lambda a: -a), "damaged .*scale is not positive"),
        (change_arrays(labels=lambda a: a + 7), "damaged .*labels"),
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


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (
            change_facts(sizes={"n_features": -1, "n_components": 2, "n_members": None, "hidden": [4]}),
            "n_features -1",
        ),
        (
            change_facts(sizes={"n_features": 2, "n_components": 2, "n_members": 9, "hidden": [4]}),
            "n_members 9",
        ),
        (change_facts(sizes={"n_features": 2, "n_components": 2, "n_members": None, "hidden": [-4]}), ""),
        (change_arrays(order=lambda a: a * 0), "order is no order"),
        (change_arrays(prior=lambda a: a[:1]), "prior is not positive"),
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_damaged_networks_give_one_clear_sentence(tmp_path, harm, message):
    model = DEGMM(2, n_init=2, hidden=(4,), max_epochs=2, random_state=0).fit(X)
    harm(save(model, tmp_path))
    with pytest.raises(ValueError, match=rf"the saved model is damaged .*{message}"):
        load(tmp_path)


def test_not_fitted_and_not_writable(tmp_path):
    with pytest.raises(ValueError, match="not fitted"):
        save(EGMM(2), tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot be written"):
        save(EGMM(2, n_init=4, random_state=0).fit(X), tmp_path / "file")
