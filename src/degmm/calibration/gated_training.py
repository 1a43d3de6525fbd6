"""Training of gate and experts together, on the CRPS of their mixture, several networks side by side."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float, Int

from degmm.arrays import Array
from degmm.calibration.families import FAMILIES, PredictiveFamily
from degmm.calibration.gated import Experts, Gate, Regimes, by_expert, initial, responsibilities
from degmm.calibration.linear import filled, padded_size
from degmm.calibration.training_score import training_crps
from degmm.compilation import jit
from degmm.precision import precision_of


class GatedSettings(NamedTuple):
    """How networks are trained."""

    n_components: int
    n_networks: int
    n_hidden: int
    n_steps: int
    batch_size: int
    learning_rate: float
    """At the first step; it falls to 0 by a cosine"""
    gate_decay: float
    """Weight decay, decoupled from the gradient (Loshchilov & Hutter 2019), of the gate's weights"""
    expert_decay: float
    """Of what is an expert's own"""


class GatedCases(NamedTuple):
    """What is learned from: n cases of D variables in units in which y has residuals of size 1."""

    y: Float[Array, "n D"]
    """Any number where there is no observation"""
    features: Float[Array, "n G"]
    regressors: Float[Array, "n D P"]
    weights: Float[Array, "n D"]
    """0 where there is no observation"""


class Training(NamedTuple):
    """What came of it, with the networks along the first axis of all arrays."""

    regimes: Regimes
    losses: Float[np.ndarray, "N steps"]
    """Mean CRPS of each batch, averaged over variables in units of their residuals"""


def train(
    family: str,
    cases: GatedCases,
    least_squares: Float[np.ndarray, "D P"],
    settings: GatedSettings,
    left_out: Int[np.ndarray, "n"],
    rng: np.random.Generator,
) -> Training:
    """Train networks from random starts.

    Each step draws a batch of cases, with replacement and by their weights.

    Parameters
    ----------
    family : str
        Name of the experts' family.
    cases : GatedCases
    least_squares : ndarray, shape (D, P)
        Regression of y that the experts' locations start about.
    settings : GatedSettings
    left_out : ndarray of int, shape (n,)
        Which network does not learn from each case.
    rng : Generator
        For starts and batches.

    Returns
    -------
    Training
    """
    n = len(cases.y)
    size = padded_size(n)
    y, features, regressors = (filled(np.asarray(part), size) for part in cases[:3])
    weights = np.pad(np.asarray(cases.weights), [(0, size - n), (0, 0)])
    weights = weights / weights.max()  # float32 has no very small ones
    of_case = weights[:n].sum(axis=1)
    drawn = []
    for network in range(settings.n_networks):
        learnt = np.where(left_out == network, 0, of_case)
        sizes = (settings.n_steps, settings.batch_size)
        drawn.append(rng.choice(n, size=sizes, p=learnt / learnt.sum()).astype(np.int32))
    batches = np.stack(drawn)
    with precision_of(np.float32):
        parts = [jnp.asarray(part, jnp.float32) for part in (y, features, regressors, weights)]
        found = _compiled(
            FAMILIES[family],
            settings,
            jax.random.split(jax.random.key(int(rng.integers(2**31 - 1))), settings.n_networks),
            batches,
            GatedCases(*parts),
            jnp.asarray(least_squares, jnp.float32),
        )
    regimes, losses = jax.tree.map(lambda part: np.asarray(part, np.float64), found)
    return Training(regimes, losses)


def decays(settings: GatedSettings) -> Regimes:
    """Return what decays, and how much."""
    gate = Gate(settings.gate_decay, 0.0, settings.gate_decay, 0.0)
    experts = Experts(0.0, settings.expert_decay, 0.0)
    return Regimes(gate, experts)


def _train(
    of: PredictiveFamily,
    settings: GatedSettings,
    keys: Array,
    batches: Int[Array, "N steps b"],
    cases: GatedCases,
    least_squares: Float[Array, "D P"],
) -> tuple[Regimes, Float[Array, "N steps"]]:
    rate = optax.cosine_decay_schedule(settings.learning_rate, settings.n_steps)
    adam = optax.scale_by_adam()
    shares = cases.weights / jnp.maximum(cases.weights.sum(axis=1, keepdims=True), 1e-30)

    def loss(regimes: Regimes, batch: Int[Array, "b"]) -> Float[Array, ""]:
        gamma = responsibilities(regimes.gate, cases.features[batch])
        parts = by_expert(of, regimes.experts, cases.regressors[batch])
        K, D, _ = parts[0].shape
        rows = [part.reshape(K, -1) for part in parts]
        crps = training_crps(of, cases.y[batch].T.reshape(-1), jnp.tile(gamma.T, (1, D)), *rows)
        return (shares[batch].T * crps.reshape(D, -1)).sum(axis=0).mean()

    def step(state: Any, at: Any) -> Any:
        regimes, moments = state
        t, batch = at
        value, gradient = jax.value_and_grad(loss)(regimes, batch)
        update, moments = adam.update(gradient, moments)
        regimes = jax.tree.map(
            lambda part, by, decay: part - rate(t) * (by + decay * part), regimes, update, decays(settings)
        )
        return (regimes, moments), value

    def one(key: Array, batches: Int[Array, "steps b"]) -> Any:
        G, K = cases.features.shape[1], settings.n_components
        regimes = initial(key, least_squares, G, settings.n_hidden, K)
        steps = (jnp.arange(settings.n_steps), batches)
        (regimes, _), losses = jax.lax.scan(step, (regimes, adam.init(regimes)), steps)
        return regimes, losses

    return jax.vmap(one)(keys, batches)


_compiled = jit(_train, static_argnums=(0, 1))
