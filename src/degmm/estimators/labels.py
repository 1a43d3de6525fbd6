"""Labels of the data that a model was fitted to, and of what it says of others."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import wraps
from typing import Any

import numpy as np
from jaxtyping import Float

from degmm.ensembles import Climatology, ContextRecipe, Ensemble, labelled
from degmm.ensembles.blocks import as_chunks
from degmm.ensembles.context import named_context
from degmm.ensembles.matching import of_cases
from degmm.ensembles.names import NAMELESS, same_unit, unlike_unit
from degmm.estimators.lazy import LAZY, lazily
from degmm.results import data_array
from degmm.shortage import shortage_told


def of_ensembles(name: str, *over: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator for what a model says of each ensemble.

    It makes the context of coordinates where that was named, and gives a DataArray with the coordinates
    of the cases where X is one; ``over`` names the dimensions of the answer after that of the cases. Of
    chunked ensembles the answer is chunked, and unread.
    """

    def decorate(method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def answer(self: Any, X: Any, *arguments: Any, **options: Any) -> Any:
            chunks = as_chunks(X)
            if chunks is not None and name in LAZY:
                return lazily(self, method.__name__, chunks, name, over, options)
            if chunks is not None and name == "score":  # a mean of what is lazy
                return method(self, X, *arguments, **options)
            data = labelled(X)
            context = self._context_of(data, options.get("context"))
            if context is not None:
                options["context"] = context
            with shortage_told():
                found = method(self, data, *arguments, **options)
            if data is X or not isinstance(found, np.ndarray):
                return found
            return data_array(data, found, name, over)

        return answer

    return decorate


def matched(
    data: Ensemble, names: Sequence[str], units: Sequence[str], climatology: Climatology | None
) -> Ensemble:
    """Return ensembles with the variables of a fit, in its order and units, as anomalies if it was of them.

    Raises
    ------
    ValueError
        If a variable is missing, or is in another unit.
    """
    names = [str(name) for name in names]
    if len(names) == len(data.variables) == 1 and NAMELESS in (*names, *data.variables):
        data = replace(data, variables=tuple(names))
    for name in names:
        if name not in data.variables:
            raise ValueError(
                f"X: variables {shown(data.variables)}; the model was fitted to {shown(names)}, "
                f"and {name} is missing"
            )
    if data.variables != tuple(names):
        data = data.take_variables([data.variables.index(name) for name in names])
    d = unlike_unit(units, data.units) if units and data.units else None
    if d is not None:
        raise ValueError(
            f"X: {names[d]} is in {data.units[d]!r}; the model was fitted to {units[d]!r}: convert it first"
        )
    if climatology is None:
        if data.climatology is not None:
            raise ValueError("X: these are anomalies; the model was fitted to values as they are")
        return data
    if data.climatology is None:
        return climatology.taken_off(data)
    if not data.climatology.same(climatology):
        raise ValueError(
            "X: anomalies from another climatology than the model's; pass the values as they are"
        )
    return data


FAR_APART = 150.0
"""Degrees between the temperatures of a fit and others, beyond which these cannot be in the same unit"""
FEW = 1000
"""Members that are looked at for this"""


def tell_of_unlikely(
    data: Any, units: Sequence[str], members: Float[np.ndarray, "n M D"], means: Float[np.ndarray, "K D"]
) -> None:
    """Warn of temperatures without a unit that cannot be in the unit of the fit, as those in °C and K.

    Parameters
    ----------
    data : Ensemble or array-like
    units : sequence of str
        Units of the fit, if they are known.
    members : array, shape (n, M, D)
        Of the data.
    means : array, shape (K, D)
        Of the fit.
    """
    given = data.units if isinstance(data, Ensemble) else ()
    some = members.reshape(-1, members.shape[2])
    some = some[:: max(1, len(some) // FEW)]
    for d, unit in enumerate(units):
        if not (same_unit(unit, "K") or same_unit(unit, "degC")) or (given and given[d]):
            continue
        known = some[~np.isnan(some[:, d]), d]
        if not known.size or known.min() == known.max():  # as are those made up to learn of an answer
            continue
        typical = float(np.median(known))
        nearest = float(means[np.argmin(np.abs(means[:, d] - typical)), d])
        if abs(typical - nearest) > FAR_APART:
            warnings.warn(
                f"X: variable {d} has values about {typical:.4g} and no unit; the model was fitted to values "
                f"about {nearest:.4g}, in {unit!r}: convert it first",
                UserWarning,
                stacklevel=4,
            )


def shown(names: Sequence[str]) -> str:
    """Return names in a row, the first of very many."""
    return ", ".join(names[:12]) + (", …" if len(names) > 12 else "")


def context_given(data: Any, context: Any, recipe: ContextRecipe | None) -> Any:
    """Return the context that is meant: the one given, that of coordinates, or that of the ensembles."""
    names = named_context(context)
    if names is not None and (recipe is None or names != recipe.names):
        fitted = "without one" if recipe is None else f"with {', '.join(recipe.names)}"
        raise ValueError(f"context: {', '.join(names)} was named, and the model was fitted {fitted}")
    if context is not None and names is None:
        return of_cases(data, context, "context", of_variables=False)
    if recipe is not None:
        return recipe.of(with_labels(data))
    return data.context if isinstance(data, Ensemble) else None


def with_labels(data: Any) -> Ensemble:
    """Return data if they are labelled.

    Raises
    ------
    ValueError
        If they are a plain array, which has no coordinates.
    """
    if not isinstance(data, Ensemble):
        raise ValueError(
            "context: coordinates were named, and X is an array without any; pass an Ensemble or a "
            "DataArray, or the context as an array"
        )
    return data


def recipe_facts(recipe: ContextRecipe) -> dict[str, Any]:
    """Return a recipe as JSON can hold it."""
    labels = {k: list(v) for k, v in recipe.labels.items()}
    return {"names": list(recipe.names), "labels": labels, "kinds": dict(recipe.kinds)}


def restored_recipe(facts: dict[str, Any]) -> ContextRecipe:
    """Return the recipe of :func:`recipe_facts`."""
    labels = {str(k): tuple(map(str, v)) for k, v in facts["labels"].items()}
    kinds = {str(k): str(v) for k, v in facts["kinds"].items()}
    return ContextRecipe(tuple(map(str, facts["names"])), labels, kinds)
