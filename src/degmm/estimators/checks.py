"""Checks of what a user passes to an estimator."""

import numbers
from collections.abc import Iterable
from typing import Any

import numpy as np

from degmm.ensembles import Ensemble
from degmm.ensembles.arrays import LARGEST, check_size, doubles_of, without_masks
from degmm.ensembles.matching import of_cases
from degmm.sharding import current_mesh


def check_integer(name: str, value: Any, least: int) -> int:
    """Return ``value`` if it is an integer of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise ValueError(f"{name}: expected an integer of at least {least}, got {_brief(value)}")
    return int(value)


def check_number(name: str, value: Any, least: float, *, open_below: bool = False) -> float:
    """Return ``value`` if it is a finite number of at least (or, if open, above) ``least``."""
    bad = isinstance(value, bool) or not isinstance(value, numbers.Real) or not np.isfinite(float(value))
    if bad or value < least or (open_below and value == least):
        bound = f"above {least:g}" if open_below else f"of at least {least:g}"
        raise ValueError(f"{name}: expected a number {bound}, got {_brief(value)}")
    return float(value)


def _brief(value: Any) -> str:
    """Return what a message says of a value that is none."""
    shape = getattr(value, "shape", ())
    return f"an array of shape {tuple(shape)}" if shape else repr(value)


def check_components(components: Iterable[int]) -> list[int]:
    """Return numbers of components, each once and in order, if they are integers of at least 1."""
    given = list(components) if isinstance(components, Iterable) else []
    bad = [K for K in given if not isinstance(K, numbers.Integral) or isinstance(K, bool) or K < 1]
    if bad or not given:
        raise ValueError(
            f"components: expected one or more integers of at least 1, got {bad[0] if bad else components!r}"
        )
    return sorted({int(K) for K in given})


def check_weights(sample_weight: Any, n: int, X: Any = None, *, called: str = "") -> np.ndarray:
    """Return the weights of n ensembles in float64: those given, else those in X, else 1 each.

    Those of a block, which is ``called`` so in messages, may all be 0.
    """
    if sample_weight is None and isinstance(X, Ensemble):
        sample_weight = X.weights
    if sample_weight is None:
        return np.ones(n)
    sample_weight = of_cases(X, sample_weight, "sample_weight", of_variables=False)
    weights = doubles_of(sample_weight, "sample_weight")
    if weights.ndim == 0:
        weights = np.full(n, float(weights))
    if weights.shape != (n,):
        raise ValueError(
            f"sample_weight: expected one weight for each of {n} ensembles, got shape {weights.shape}"
        )
    bad = ~(weights <= LARGEST) | (weights < 0)
    if bad.any():
        i = int(np.argmax(bad))
        kind = "weights up to 1e100" if LARGEST < weights[i] < np.inf else "finite weights of at least 0"
        raise ValueError(f"{called or 'sample_weight'}: expected {kind}, got {weights[i]} at ensemble {i}")
    if not called and not weights.any():
        raise ValueError("sample_weight: every weight is zero; give at least one ensemble a positive weight")
    return weights


def check_devices(n_used: int) -> None:
    """Raise an error if there are more devices than ensembles of a weight above 0."""
    mesh = current_mesh()
    if mesh is not None and n_used < mesh.size:
        raise ValueError(
            f"devices: {mesh.size} devices are more than the {n_used} ensembles; give fewer, such as "
            f"degmm.devices({n_used})"
        )


def check_min_weight(value: Any, n_components: int) -> float | None:
    """Return the smallest weight of a component if it leaves room for all; None stays None."""
    if value is None:
        return None
    weight = check_number("min_weight", value, 0, open_below=True)
    if weight * n_components >= 1:
        raise ValueError(
            f"min_weight: {weight:g} is too large for {n_components} components; it must be below "
            f"{1 / n_components:g}"
        )
    return weight


def check_responsibilities(given: Any, n: int, n_components: int) -> np.ndarray:
    """Return starting responsibilities, shape (n, K), each row with sum 1."""
    responsibilities = doubles_of(given, "init_params")
    if responsibilities.shape != (n, n_components):
        raise ValueError(
            f"init_params: responsibilities of shape {responsibilities.shape}, expected {(n, n_components)}"
        )
    bad = ~(np.isfinite(responsibilities) & (responsibilities >= 0)).all(axis=1)
    bad |= ~(responsibilities.sum(axis=1) > 0)
    if bad.any():
        raise ValueError(
            f"init_params: responsibilities of ensemble {int(np.argmax(bad))} are not all at "
            "least 0 with a positive sum"
        )
    return responsibilities / responsibilities.sum(axis=1, keepdims=True)


def check_dtype(dtype: Any) -> np.dtype | None:
    """Return the precision asked for, if any."""
    if dtype is None:
        return None
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = None
    if found not in (np.float32, np.float64):
        raise ValueError(f"dtype: expected float32 or float64, got {repr(dtype) if found is None else found}")
    return found


def generator(random_state: Any) -> np.random.Generator:
    """Return a generator from a seed, a ``RandomState``, a ``Generator`` or None."""
    if isinstance(random_state, np.random.Generator):
        return random_state
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(random_state.randint(2**31 - 1))
    if random_state is None:
        return np.random.default_rng()
    return np.random.default_rng(check_integer("random_state", random_state, 0))


def check_widths(name: str, widths: Any, *, least: int = 0) -> tuple[int, ...]:
    """Return the widths of layers, of which there must be at least ``least``."""
    good = isinstance(widths, tuple | list) and len(widths) >= least
    if good:
        whole = (isinstance(w, numbers.Integral) and not isinstance(w, bool) for w in widths)
        good = all(whole) and all(w >= 1 for w in widths)
    if not good:
        raise ValueError(
            f"{name}: expected a tuple of layer widths of at least 1 such as (32,), got {widths!r}"
        )
    return tuple(int(width) for width in widths)


def check_share(name: str, value: Any, *, below: float | None = None) -> float:
    """Return a share between 0 and 1 or, with ``below``, smaller than that."""
    share = check_number(name, value, 0)
    if share > 1 or (below is not None and share >= below):
        ends = "between 0 and 1" if below is None else f"of at least 0 and below {below:g}"
        raise ValueError(f"{name}: expected a share {ends}, got {share:g}")
    return share


def check_context(context: Any, n: int, n_columns: int | None = None) -> np.ndarray:
    """Return a context as an array (n, C) in float64; (n,) is read as C = 1."""
    context = without_masks(context)
    kind = np.asarray(context).dtype.kind
    if kind in "mMc":
        raise ValueError(
            f"context: expected numbers, got {np.asarray(context).dtype}; pass the day of the year, its sine "
            "and cosine, or what else matters of a date"
        )
    values = doubles_of(context, "context")
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or values.shape[0] != n or not values.shape[1]:
        raise ValueError(f"context: expected shape ({n}, C), a row for each ensemble; got {values.shape}")
    if n_columns is not None and values.shape[1] != n_columns:
        raise ValueError(f"context: expected {n_columns} columns as in the fit, got {values.shape[1]}")
    bad = ~np.isfinite(values)
    if bad.any():
        i, c = np.argwhere(bad)[0]
        raise ValueError(f"context: {values[i, c]} at ensemble {i}, column {c}; every value must be finite")
    check_size(values, "context", ("ensemble", "column"))
    return values
