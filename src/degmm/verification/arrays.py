"""What the scores and tests read: members and observations as checked arrays."""

from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float

from degmm.ensembles.arrays import check_size, doubles_of, labelled, members_of, without_masks
from degmm.ensembles.ensemble import Ensemble
from degmm.ensembles.matching import in_order, of_cases

AXES = ("case", "member", "variable")
TIES = 1
"""Of the random numbers that settle ties: with the seed that others have, they are others than theirs"""


def one_variable(
    X: Any, y: Any, *, ties: bool = False
) -> tuple[Float[np.ndarray, "n M"], Float[np.ndarray, "n"]]:
    """Return the members of one variable and the observations of it, in float64.

    For comparisons that ask for ``ties``, both are rounded to the lower of their two precisions: 0.3 of
    float32 is another number than 0.3 of float64.
    """
    X = labelled(X)
    y = of_cases(X, y, "y")
    members, observed = members_of_one(X), numbers("y", y)
    if observed.shape != members.shape[:1]:
        raise ValueError(
            f"y: expected one observation per case, shape ({len(members)},), got {observed.shape}"
        )
    if ties:
        lower = min(_precision(members_of(X)), _precision(y), key=lambda dtype: dtype.itemsize)
        with np.errstate(over="ignore"):  # a value beyond the lower precision is beyond all that have it
            members, observed = (part.astype(lower).astype(np.float64) for part in (members, observed))
    return members, observed


def _precision(values: Any) -> np.dtype[Any]:
    """Return the precision that values have, or had before they were stored in a higher one."""
    found = np.asarray(without_masks(values))
    if found.dtype in (np.float16, np.float32):
        return found.dtype
    wide = np.dtype(np.float64)
    if found.dtype.kind in "iub":
        return wide  # exact
    found = doubles_of(found, "values")
    with np.errstate(over="ignore"):
        same = (found == found.astype(np.float32)) | np.isnan(found)
    # Whole numbers do not tell.
    return np.dtype(np.float32) if same.all() and (found % 1 > 0).any() else wide


def members_of_one(X: Any) -> Float[np.ndarray, "n M"]:
    """Return the members of one variable, in float64."""
    members = numbers("X", members_of(X))
    if members.ndim == 3 and members.shape[2] == 1:
        members = members[..., 0]
    if members.ndim != 2 or 0 in members.shape:
        raise ValueError(
            f"X: expected the members of one variable, shape (n, M) or (n, M, 1), got {members.shape}"
        )
    return members


def by_position(forecast: Any, y: Any) -> tuple[Any, Any]:
    """Return a forecast without its labels, and observations in the order of its cases."""
    labels = getattr(forecast, "labels", None)
    if not isinstance(labels, Ensemble):
        return forecast, y
    return replace(forecast, labels=None), of_cases(labels, y, "y")


def several_variables(X: Any, y: Any) -> tuple[Float[np.ndarray, "n M D"], Float[np.ndarray, "n D"]]:
    """Return members and observations of any number of variables, in float64."""
    X = labelled(X)
    members, observed = numbers("X", members_of(X)), numbers("y", of_cases(X, y, "y"))
    if members.ndim != 3 or 0 in members.shape:
        raise ValueError(f"X: expected members of D variables, shape (n, M, D), got {members.shape}")
    n, _, D = members.shape
    observed = observed[:, None] if D == 1 and observed.ndim == 1 else observed
    if observed.shape != (n, D):
        raise ValueError(f"y: expected shape ({n}, {D}), got {observed.shape}")
    return members, observed


def numbers(name: str, values: Any) -> np.ndarray:
    """Return values as float64, which may be NaN but not infinite."""
    found = doubles_of(values, name)
    if np.isinf(found).any():
        raise ValueError(f"{name}: infinite values; set what is missing to NaN")
    axes = AXES if name == "X" else AXES[:1] + AXES[2:]
    check_size(found, name, axes[: found.ndim] if found.ndim <= len(axes) else ("axis",) * found.ndim)
    return found


def in_order_of(reference: Any, values: Any, name: str) -> Any:
    """Return a DataArray of one dimension in the order of another's labels; anything else as it is."""
    both = (reference, values)
    if not all(
        type(part).__module__.startswith("xarray.") and getattr(part, "ndim", 0) == 1 for part in both
    ):
        return values
    dim = str(values.dims[0])
    return in_order(values, dim, reference.indexes.get(dim), name, "case")


def series(name: str, values: Any) -> Float[np.ndarray, "n"]:
    """Return values in order of time, of which at least one is no NaN."""
    found = numbers(name, values)
    if found.ndim != 1 or np.isnan(found).all():
        raise ValueError(f"{name}: expected a series of shape (n,) with a value, got shape {found.shape}")
    return found


def generator(seed: Any, name: str = "seed", stream: int | None = None) -> np.random.Generator:
    """Return the random numbers of a seed, for a numbered stream others than without."""
    try:
        if stream is not None and isinstance(seed, int | np.integer | list | tuple | np.ndarray):
            seed = np.random.SeedSequence(seed, spawn_key=(stream,))
        return np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: expected an integer of at least 0, got {seed!r}") from error


def share(name: str, value: Any) -> float:
    """Return a number between 0 and 1, both excluded."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 < value < 1:
        raise ValueError(f"{name}: expected a number between 0 and 1, got {value!r}")
    return float(value)


def whole(name: str, value: Any, least: int = 1) -> int:
    """Return an integer of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name}: expected an integer of at least {least}, got {value!r}")
    return int(value)
