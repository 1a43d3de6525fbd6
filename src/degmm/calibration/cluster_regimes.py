"""Regimes that a mixture finds in the ensembles, with an EMOS for each."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from jaxtyping import Bool, Float
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from degmm.calibration.base import CalibrationData, check_arrays
from degmm.calibration.emos import EMOS, WORST, margins
from degmm.calibration.families import PredictiveFamily, find_family
from degmm.calibration.linear import n_parameters
from degmm.calibration.minimisation import Result
from degmm.calibration.predictors import PredictorRecipe, Predictors, values_of
from degmm.ensembles import Ensemble
from degmm.ensembles.context import named_context
from degmm.estimators.base import BaseMixture
from degmm.estimators.em import EGMM
from degmm.saved_state import described, rebuilt

LEAST_SHRINKAGE = 1e-9
MIXTURE = "mixture."
"""How the names of a saved mixture's arrays begin"""


@dataclass(frozen=True, eq=False)
class ClusterRegimes:
    """The clusters of a mixture, each with the parameters of an EMOS (Jouan et al. 2023)."""

    recipe: PredictorRecipe
    mixture: BaseMixture
    parameters: Float[np.ndarray, "K D Q"]
    """In the units of the recipe and of the observations"""

    @classmethod
    def fit(
        cls,
        data: CalibrationData,
        family: PredictiveFamily,
        n_components: int,
        mixture: Any,
        context: Any,
        shrinkage: float,
        rng: np.random.Generator,
    ) -> tuple[Self, Result]:
        """Fit an EMOS to the cases of each cluster, by their responsibilities.

        To each cluster all cases count a little, ``shrinkage`` cases together: so the EMOS of a small
        one is near that of all.
        """
        data.check_enough(n_components * n_parameters(family, 2 + data.recipe.n_context))
        mixture = _fitted(mixture, n_components, data, context, rng)
        gamma = _responsibilities(mixture, data.X, context)
        total = data.weights.sum(axis=0)
        experts = []
        for k in range(n_components):
            # at least a trace of all cases: a cluster may have none that was observed
            weights = data.weights * (gamma[:, k, None] + max(shrinkage, LEAST_SHRINKAGE) / total)
            experts.append(EMOS(family.name)._fit_prepared(data._replace(weights=weights), rng))
        parameters = np.stack([expert._parameters for expert in experts])
        result = min((expert.result_ for expert in experts), key=WORST.index)
        return cls(data.recipe, mixture, parameters), result

    @property
    def n_parameters(self) -> int:
        """Number of parameters of all experts of a variable; those of the mixture are not counted."""
        return self.parameters.shape[0] * self.parameters.shape[2]

    def proba(self, X: Any, predictors: Predictors, context: Any) -> Float[np.ndarray, "n K"]:
        """Return the responsibilities of the clusters; their weights, where a case has no member."""
        return _responsibilities(self.mixture, X, context)

    def parts(
        self, family: PredictiveFamily, X: Any, predictors: Predictors, context: Any, only_best: bool = False
    ) -> tuple[Float[np.ndarray, "n D K"], list[Float[np.ndarray, "n D K"]]]:
        """Return weights and parameters of the mixture."""
        gamma = self.proba(X, predictors, context)
        K, D, _ = self.parameters.shape
        weights = np.repeat(gamma[:, None], D, axis=1)
        by_expert = [margins(family, self.parameters[k], predictors) for k in range(K)]
        return weights, [np.stack(part, axis=2) for part in zip(*by_expert, strict=True)]

    # --- for saved models -----------------------------------------------------------------------

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return the regimes as arrays, and facts that JSON can hold."""
        arrays, facts = self.mixture._get_state()
        held = {f"{MIXTURE}{name}": array for name, array in arrays.items()}
        return {"parameters": self.parameters, **held}, {
            "mixture": {**described(self.mixture), "facts": facts}
        }

    @classmethod
    def restored(
        cls, arrays: dict[str, np.ndarray], facts: dict[str, Any], recipe: PredictorRecipe, K: int
    ) -> Self:
        """Return the regimes of :meth:`state`.

        Raises
        ------
        ValueError
            If a size or a number is none that a fit gives; a name that is not there raises KeyError.
        """
        held = {name[len(MIXTURE) :]: array for name, array in arrays.items() if name.startswith(MIXTURE)}
        mixture = rebuilt(facts["mixture"], held)
        if mixture.n_components != K:
            raise ValueError(f"the mixture has {mixture.n_components} clusters, expected {K}")
        if mixture.n_features_in_ != recipe.n_features:
            raise ValueError(f"the mixture is of {mixture.n_features_in_} variables, not {recipe.n_features}")
        Q = n_parameters(find_family(facts["family"]), 2 + recipe.n_context)
        check_arrays(arrays, {"parameters": (K, recipe.n_features, Q)})
        return cls(recipe, mixture, arrays["parameters"])


def _fitted(
    mixture: Any, n_components: int, data: CalibrationData, context: Any, rng: np.random.Generator
) -> BaseMixture:
    """Return the mixture that gives the regimes: the one that was passed, if it is fitted."""
    if mixture is None:
        mixture = EGMM(n_components, member_model="shared_centre")
    elif isinstance(mixture, type) or not isinstance(mixture, BaseMixture):
        raise ValueError(f"mixture: expected an EGMM or another mixture of this package, got {mixture!r}")
    try:
        check_is_fitted(mixture)
    except NotFittedError:
        seed = int(rng.integers(2**31 - 1))
        if getattr(mixture, "random_state", None) is not None:
            seed = mixture.random_state
        mixture = clone(mixture).set_params(n_components=n_components, random_state=seed)
        X, present = _readable(data.X)
        reads = context is not None and has_fit_parameter(mixture, "context")
        given = {"context": _context_of(present, context)} if reads else {}
        return mixture.fit(X[present], sample_weight=data.case_weights[present], **given)
    if mixture.n_components != n_components:
        raise ValueError(
            f"mixture: it has {mixture.n_components} clusters; pass n_components={mixture.n_components}"
        )
    return mixture


def _responsibilities(mixture: BaseMixture, X: Any, context: Any) -> Float[np.ndarray, "n K"]:
    """Return γ; where a case has no member, the clusters' weights."""
    X, present = _readable(X)
    gamma = np.tile(np.asarray(mixture.weights_, np.float64), (len(present), 1))
    if not present.any():
        return gamma
    reads = context is not None and getattr(mixture, "_context_scaling", None) is not None
    given = {"context": _context_of(present, context)} if reads else {}
    found = np.asarray(mixture.predict_proba(X[present], **given), np.float64)
    gamma[present] = found / found.sum(axis=1, keepdims=True)
    return gamma


def _readable(X: Any) -> tuple[Any, Bool[np.ndarray, "n"]]:
    """Return ensembles as mixtures read them, and which have a member with all variables."""
    values = values_of(X)
    present = ~np.isnan(values).any(axis=2)
    return X if isinstance(X, Ensemble) else values, present.any(axis=1)


def _context_of(present: Bool[np.ndarray, "n"], context: Any) -> Any:
    """Return the context of some cases: names of columns stay, rows are taken."""
    return context if named_context(context) is not None else np.asarray(context)[present]
