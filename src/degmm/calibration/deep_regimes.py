"""Regimes that a network finds, trained with their experts on the CRPS of the forecast."""

from dataclasses import dataclass
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from degmm.calibration.base import CalibrationData, check_arrays
from degmm.calibration.families import PredictiveFamily
from degmm.calibration.gate_features import GateFeatures
from degmm.calibration.gated import LOG_SCALES, Experts, Gate, Regimes, distributions, responsibilities
from degmm.calibration.gated_training import GatedCases, GatedSettings, train
from degmm.calibration.held_out import left_out_by, spread_factor
from degmm.calibration.minimisation import Result
from degmm.calibration.predictors import PredictorRecipe, Predictors
from degmm.precision import precision_of
from degmm.scaling import Scaling

ROUNDING = 1e-12
LEAST_RESIDUAL = 1e-3
"""Least unit of the residuals, in units of the observations: they may be a function of the predictors"""


@dataclass(frozen=True, eq=False)
class DeepRegimes:
    """Trained networks, whose forecasts are averaged; the regimes are those of the best one.

    Each network leaves out some blocks of the cases, by whose errors the spread of all is calibrated. Each
    has regimes of its own, and to match them would blur them. The best is that of the least
    mean CRPS over the last tenth of its training.
    """

    recipe: PredictorRecipe
    features: GateFeatures
    networks: Regimes
    """With the networks along the first axis; regimes by falling share"""
    best: int

    @classmethod
    def fit(
        cls,
        data: CalibrationData,
        family: PredictiveFamily,
        settings: GatedSettings,
        rng: np.random.Generator,
    ) -> tuple[Self, Scaling, Float[np.ndarray, "N steps"], Result]:
        """Train networks on the cases.

        Returns
        -------
        regimes : DeepRegimes
        units : Scaling
            Units of the observations that these are in: of the residuals of a regression.
        losses : ndarray, shape (n_networks, n_steps)
        result : Result
        """
        features = GateFeatures.fit(data.recipe, data.predictors, data.weights)
        read, regressors = features.of(data.recipe, data.predictors)
        data.check_enough(settings.n_components * 2 * regressors.shape[2] + int(family.shifted))
        regressors = np.nan_to_num(regressors)
        y = np.nan_to_num((data.observed - data.units.centre) / data.units.scale)
        residual, least_squares = _regression(y, regressors, data.weights)
        cases = GatedCases(y / residual, read, regressors, data.weights)
        left_out = left_out_by(data.weights.sum(axis=1), settings.n_networks)
        found, losses = train(family.name, cases, least_squares / residual[:, None], settings, left_out, rng)
        finite = all(np.isfinite(part).all() for part in jax.tree.leaves(found))
        if finite:
            found = _calibrated(found, family, cases, left_out)
        late = losses[:, -max(losses.shape[1] // 10, 1) :].mean(axis=1)
        best = int(np.argmin(late)) if finite else 0
        share = data.weights.sum(axis=1) / data.weights.sum()
        ordered = _by_share(found, read, share)
        units = Scaling(data.units.centre, data.units.scale * residual)
        result = Result.TRAINED if finite else Result.NON_FINITE
        if finite and _at_limit(ordered, family, cases):
            result = Result.AT_FLOOR
        return cls(data.recipe, features, ordered, best), units, losses, result

    def proba(self, X: Any, predictors: Predictors, context: Any) -> Float[np.ndarray, "n K"]:
        """Return the regimes of each case, by the best network."""
        read, _ = self.features.of(self.recipe, predictors)
        with precision_of(np.float64):
            return np.asarray(responsibilities(self._network(self.best).gate, read))

    def parts(
        self, family: PredictiveFamily, X: Any, predictors: Predictors, context: Any, only_best: bool = False
    ) -> tuple[Float[np.ndarray, "n D K"], list[Float[np.ndarray, "n D K"]]]:
        """Return weights and parameters of the mixture of all networks' mixtures, or of the best one's."""
        read, regressors = self.features.of(self.recipe, predictors)
        indices = [self.best] if only_best else range(len(self.networks.experts.shared))
        D, weights, columns = regressors.shape[1], [], []
        with precision_of(np.float64):
            for i in indices:
                gate, experts = self._network(i)
                gamma = np.asarray(responsibilities(gate, read)) / len(indices)
                weights.append(np.repeat(gamma[:, None], D, axis=1))
                columns.append([np.asarray(part) for part in distributions(family, experts, regressors)])
        parts = [np.concatenate(part, axis=2) for part in zip(*columns, strict=True)]
        return np.concatenate(weights, axis=2), parts

    def _network(self, index: int) -> Regimes:
        return jax.tree.map(lambda part: jnp.asarray(part[index]), self.networks)

    # --- for saved models -----------------------------------------------------------------------

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return the regimes as arrays, and facts that JSON can hold."""
        gate, experts = self.networks
        arrays = {f"gate.{name}": part for name, part in gate._asdict().items()}
        arrays |= {f"experts.{name}": part for name, part in experts._asdict().items()}
        return arrays | self.features.state(), {"best": self.best}

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
        D = recipe.n_features
        features = GateFeatures.restored(arrays, recipe.n_context, D)
        C = len(features.context.centre)
        G, P = 2 * D + (C + D if C else 0), 3 + C
        N, H = len(arrays["experts.shared"]), arrays["gate.hidden"].shape[-1]
        of_gate = {"hidden": (N, G, H), "hidden_bias": (N, H), "out": (N, H, K), "out_bias": (N, K)}
        of_experts = {"shared": (N, 2, D, P), "own": (N, K, 2, D, P), "log_shift": (N, D)}
        check_arrays(arrays, {f"gate.{name}": shape for name, shape in of_gate.items()})
        check_arrays(arrays, {f"experts.{name}": shape for name, shape in of_experts.items()})
        best = int(facts["best"])
        if not 0 <= best < N:
            raise ValueError(f"best is {best}, of {N} networks")
        gate = Gate(*(arrays[f"gate.{name}"] for name in Gate._fields))
        experts = Experts(*(arrays[f"experts.{name}"] for name in Experts._fields))
        return cls(recipe, features, Regimes(gate, experts), best)


def _regression(
    y: Float[np.ndarray, "n D"], regressors: Float[np.ndarray, "n D P"], weights: Float[np.ndarray, "n D"]
) -> tuple[Float[np.ndarray, "D"], Float[np.ndarray, "D P"]]:
    """Return the size of the residuals and the coefficients of a regression, variable by variable."""
    sizes, coefficients = [], []
    for d in range(y.shape[1]):
        root = np.sqrt(weights[:, d] / weights[:, d].sum())
        found = np.linalg.lstsq(root[:, None] * regressors[:, d], root * y[:, d], rcond=None)[0]
        residual = root * (y[:, d] - regressors[:, d] @ found)
        sizes.append(max(float(np.sqrt(residual @ residual)), LEAST_RESIDUAL))
        coefficients.append(found)
    return np.array(sizes), np.stack(coefficients)


def _calibrated(
    networks: Regimes, family: PredictiveFamily, cases: GatedCases, left_out: Int[np.ndarray, "n"]
) -> Regimes:
    """Return networks whose spread is right for cases that they have not seen.

    What is learnt explains the cases that it is learnt from too well. So each network forecasts those that it
    left out, and one factor a variable makes the spread of all networks fit these errors.
    """
    held, gammas, parts = [], [], []
    for i in range(len(networks.experts.shared)):
        own = np.flatnonzero(left_out == i)
        gate, experts = jax.tree.map(lambda part, i=i: jnp.asarray(part[i]), networks)
        with precision_of(np.float64):
            gammas.append(np.asarray(responsibilities(gate, cases.features[own])))
            parts.append([np.asarray(p) for p in distributions(family, experts, cases.regressors[own])])
        held.append(own)
    cases_held, gamma = np.concatenate(held), np.concatenate(gammas)
    columns = [np.concatenate(part) for part in zip(*parts, strict=True)]
    shared = networks.experts.shared.copy()
    for d in range(shared.shape[2]):
        y, weights = cases.y[cases_held, d], cases.weights[cases_held, d]
        factor = spread_factor(family, y, weights, gamma, [column[:, d] for column in columns])
        shared[:, 1, d, 0] += np.log(factor)  # the first regressor is 1
    return networks._replace(experts=networks.experts._replace(shared=shared))


def _at_limit(networks: Regimes, family: PredictiveFamily, cases: GatedCases) -> bool:
    """Return whether the most probable expert of a case has a spread at the floor or ceiling."""
    low, high = np.exp(LOG_SCALES)
    for i in range(len(networks.experts.shared)):
        gate, experts = jax.tree.map(lambda part, i=i: jnp.asarray(part[i]), networks)
        with precision_of(np.float64):
            top = np.asarray(responsibilities(gate, cases.features)).argmax(axis=1)[:, None, None]
            parts = [np.asarray(part) for part in distributions(family, experts, cases.regressors)]
        own = [np.take_along_axis(part, top, axis=2)[..., 0] for part in parts]
        at = (own[1] <= low * (1 + ROUNDING)) | (own[1] >= high * (1 - ROUNDING))
        if family.limited is not None:
            at |= family.limited(*own)
        if (at & (cases.weights > 0)).any():
            return True
    return False


def _by_share(networks: Regimes, read: Float[np.ndarray, "n G"], share: Float[np.ndarray, "n"]) -> Regimes:
    """Return networks whose regimes are numbered by falling share of the cases."""
    gates, experts = networks
    out, bias, own = gates.out.copy(), gates.out_bias.copy(), experts.own.copy()
    for i in range(len(own)):
        gate = jax.tree.map(lambda part, i=i: part[i], gates)
        with precision_of(np.float64):
            gamma = np.asarray(responsibilities(gate, read))
        order = np.argsort(-(share @ gamma), kind="stable")
        out[i], bias[i], own[i] = out[i][:, order], bias[i][order], own[i][order]
    return Regimes(gates._replace(out=out, out_bias=bias), experts._replace(own=own))
