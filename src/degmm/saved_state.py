"""Models as arrays and facts, as files hold them, and what these must be, whatever the file says."""

from importlib import import_module
from numbers import Integral
from typing import Any

import numpy as np

from degmm.families import MixtureParameters
from degmm.inference.solution import Result
from degmm.scaling import Scaling

MODULES = {
    **dict.fromkeys(("GMM", "EGMM", "DGMM", "DEGMM", "DAGMM"), "degmm.estimators"),
    **dict.fromkeys(("EMOS", "RegimeEMOS"), "degmm.calibration"),
}
"""Where the classes are that can be saved."""
MOST_MEMBERS = 10**7
"""Of an ensemble: so many are drawn of a model where no number is asked for"""
FLOATS = ("parameters.", "scaling.", "network.", "projection.", "context.", "prior", "reference")
"""How the names of arrays begin that must be finite numbers."""


def described(model: Any) -> dict[str, Any]:
    """Return class and constructor's arguments as JSON can hold them.

    A start, generator or model that was passed as an argument is not kept.
    """
    plain: dict[str, Any] = {}
    for name, value in model.get_params(deep=False).items():
        if name == "dtype" and value is not None:
            value = np.dtype(value).name
        elif isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, tuple | list) and all(isinstance(item, Integral) for item in value):
            plain[name] = [int(item) for item in value]
        elif value is None or isinstance(value, bool | int | float | str):
            plain[name] = value
    return {"estimator": type(model).__name__, "parameters": plain}


def rebuilt(head: dict[str, Any], arrays: dict[str, np.ndarray], encoder: Any = None) -> Any:
    """Return the model of :func:`described`, with ``facts`` beside, and its arrays.

    Raises
    ------
    ValueError
        If it is none that a fit gives; a name that is not there raises KeyError.
    """
    name, facts = head["estimator"], head["facts"]
    if name not in MODULES:
        raise ValueError(f"there is no estimator {name!r}")
    arguments = {k: tuple(v) if isinstance(v, list) else v for k, v in head["parameters"].items()}
    given = {} if encoder is None else {"encoder": encoder}
    model = getattr(import_module(MODULES[name]), name)(**arguments, **given)
    model._check_state(arrays, facts)
    model._set_state(arrays, facts)
    for name in ("means_", "_covariances", "log_likelihood_"):
        if not all(np.isfinite(part).all() for part in np.atleast_1d(getattr(model, name, 0.0))):
            raise ValueError(f"{name.strip('_')} in the units of the data: not finite")
    return model


def check_state(
    arrays: dict[str, np.ndarray], facts: dict[str, Any], n_components: int, *, diagonal: bool
) -> None:
    """See that a model's state is whole: precision, sizes, shapes, finite numbers.

    Parameters
    ----------
    arrays, facts
        What ``_get_state`` of an estimator gave, or was read from a file.
    n_components : int
        Number of clusters K.
    diagonal : bool
        Whether covariances may be held as diagonals.

    Raises
    ------
    ValueError
        If not; the message says what is wrong. A name that is not there raises KeyError.
    """
    if facts["precision"] not in ("float32", "float64"):
        raise ValueError(f"precision {facts['precision']!r} is neither float32 nor float64")
    sizes = {"n_components": n_components} | {name: facts[name] for name in ("n_features", "n_members")}
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
            raise ValueError(f"{name} is {size!r}, not an integer of at least 1")
    for name, shape in _shapes(n_components, facts.get("latent_dim", facts["n_features"])).items():
        held = shape[:2] if diagonal else shape
        if arrays[name].shape not in (shape, held):
            raise ValueError(f"{name} has shape {arrays[name].shape}, expected {held}")
    for name, array in arrays.items():
        if name.startswith(FLOATS):
            if array.dtype not in (np.float32, np.float64):
                raise ValueError(f"{name} has dtype {array.dtype}")
            if not np.isfinite(array).all():
                raise ValueError(f"{name} is not finite")
    _check_values(arrays, n_components)
    _check_covariances(arrays)
    if facts["result"] == Result.NON_FINITE.name:
        raise ValueError("its fit broke down")
    _check_network(facts, n_components)
    if facts["n_members"] > MOST_MEMBERS:
        raise ValueError(f"n_members is {facts['n_members']}, of {MOST_MEMBERS} at most")
    named, units = facts.get("feature_names"), facts.get("units") or []
    if named is not None and not isinstance(named, list):
        raise ValueError("feature_names are no list")
    if named is not None and len(named) != facts["n_features"]:
        raise ValueError(f"{len(named)} feature_names for {facts['n_features']} features")
    if not isinstance(units, list) or len(units) not in (0, facts["n_features"]):
        raise ValueError(f"units are not those of {facts['n_features']} features")


def _shapes(K: int, D: int) -> dict[str, tuple[int, ...]]:
    of_parameters = {"weights": (K,), "means": (K, D)}
    return {
        # All that are not named here are covariances.
        **{f"parameters.{name}": of_parameters.get(name, (K, D, D)) for name in MixtureParameters._fields},
        **{f"scaling.{name}": (D,) for name in Scaling._fields},
    }


def _check_values(arrays: dict[str, np.ndarray], K: int) -> None:
    weights, labels = arrays["parameters.weights"], arrays["labels"]
    if (weights < 0).any() or not np.isclose(weights.sum(), 1, atol=1e-3):
        raise ValueError("parameters.weights are no probabilities")
    if not (arrays["scaling.scale"] > 0).all():
        raise ValueError("scaling.scale is not positive")
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not ((labels >= 0) & (labels < K)).all():
        raise ValueError(f"labels are not numbers of {K} clusters")
    order = arrays.get("order", np.arange(K))
    if order.dtype.kind != "i" or not np.array_equal(np.sort(order), np.arange(K)):
        raise ValueError(f"order is no order of {K} clusters")
    for name in ("prior", "reference"):
        if name in arrays and (arrays[name].shape != (K,) or not (arrays[name] > 0).all()):
            raise ValueError(f"{name} is not positive of shape {(K,)}")


def _check_covariances(arrays: dict[str, np.ndarray]) -> None:
    """See that W is positive definite and B at least semidefinite, as far as their precision tells."""
    for name in ("parameters.within", "parameters.between"):
        parts = arrays[name].astype(np.float64)
        rounding = 100 * np.finfo(arrays[name].dtype).eps * parts.shape[1] * np.abs(parts).max(initial=0)
        if parts.ndim == 2:
            sound = bool((parts >= 0).all())
        else:
            sound = bool((np.abs(parts - parts.transpose(0, 2, 1)) <= rounding).all())
            sound = sound and (rounding == 0 or _has_root(parts + rounding * np.eye(parts.shape[1])))
        if not sound or (name == "parameters.within" and not _diagonals(parts).all()):
            raise ValueError(f"{name} holds what is no covariance")


def _diagonals(parts: np.ndarray) -> np.ndarray:
    return (parts if parts.ndim == 2 else np.diagonal(parts, axis1=1, axis2=2)) > 0


def _has_root(parts: np.ndarray) -> bool:
    try:
        return bool(np.isfinite(np.linalg.cholesky(parts)).all())
    except np.linalg.LinAlgError:
        return False


def _check_network(facts: dict[str, Any], K: int) -> None:
    sizes = facts.get("sizes")
    if sizes is None:
        return
    for name, size in (("n_features", facts.get("latent_dim", facts["n_features"])), ("n_components", K)):
        if sizes[name] != size:
            raise ValueError(f"the network is of {name} {sizes[name]!r}, expected {size}")
    if sizes["n_members"] not in (None, facts["n_members"]):
        raise ValueError(f"the network is of n_members {sizes['n_members']!r}, not {facts['n_members']}")
