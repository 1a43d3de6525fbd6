"""Experts and their gate: the mixture of predicted distributions that deep regimes are trained as.

In standard units, with features f of the gate, regressors r of the experts (1, x̄_d, log s_d, context)
and one tanh layer,

    γ = softmax(W₂ᵀ tanh(W₁ᵀ f + b₁) + b₂),   location_dk = link((α_d + a_dk) · r_d),
    log scale_dk = (β_d + b_dk) · r_d,

where α and β are shared by all experts, and a and b, which alone decay, are what is an expert's own. So a
regime that little is known of has the distribution of all.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from degmm.arrays import Array
from degmm.calibration.families import PredictiveFamily
from degmm.calibration.linear import FIRST_SHIFT, LOG_SHIFTS

LOG_SCALES = (-10.0, 4.0)
"""Floor and ceiling of the log scale, in units of the residuals of a regression on the regressors; float32
tells values apart down to that floor"""
SPREAD_OF_STARTS = (1.0, 0.3)
"""Standard deviations of a and b at the start: experts that begin alike would stay alike"""


class Gate(NamedTuple):
    """Weights of the network."""

    hidden: Float[Array, "G H"]
    hidden_bias: Float[Array, "H"]
    out: Float[Array, "H K"]
    out_bias: Float[Array, "K"]


class Experts(NamedTuple):
    """Coefficients of location (first) and log scale of the K experts, and the shift, where there is one."""

    shared: Float[Array, "2 D P"]
    own: Float[Array, "K 2 D P"]
    log_shift: Float[Array, "D"]


class Regimes(NamedTuple):
    """All that one network learns."""

    gate: Gate
    experts: Experts


def initial(
    key: Array, least_squares: Float[Array, "D P"], n_features: int, n_hidden: int, n_components: int
) -> Regimes:
    """Return the start of a training: experts about a regression, which explains all it can."""
    first, second, own = jax.random.split(key, 3)
    D, P = least_squares.shape
    gate = Gate(
        jax.random.normal(first, (n_features, n_hidden)) / n_features**0.5,
        jnp.zeros(n_hidden),
        jax.random.normal(second, (n_hidden, n_components)) / n_hidden**0.5,
        jnp.zeros(n_components),
    )
    spread = jnp.asarray(SPREAD_OF_STARTS)[:, None, None]
    experts = Experts(
        jnp.stack([least_squares, jnp.zeros_like(least_squares)]),
        spread * jax.random.normal(own, (n_components, 2, D, P)),
        jnp.full(D, FIRST_SHIFT),
    )
    return Regimes(gate, experts)


def responsibilities(gate: Gate, features: Float[Array, "n G"]) -> Float[Array, "n K"]:
    """Return γ."""
    hidden = jnp.tanh(features @ gate.hidden + gate.hidden_bias)
    return jax.nn.softmax(hidden @ gate.out + gate.out_bias, axis=1)


def distributions(
    family: PredictiveFamily, experts: Experts, regressors: Float[Array, "n D P"]
) -> tuple[Float[Array, "n D K"], ...]:
    """Return location, scale and, in families with one, shift of each expert."""
    return tuple(part.T for part in by_expert(family, experts, regressors))


def by_expert(
    family: PredictiveFamily, experts: Experts, regressors: Float[Array, "n D P"]
) -> tuple[Float[Array, "K D n"], ...]:
    """Return what :func:`distributions` does, with the cases last."""
    location, log_scale = jnp.einsum("ndp,kjdp->jkdn", regressors, experts.shared + experts.own)
    parts = (family.link(location), jnp.exp(jnp.clip(log_scale, *LOG_SCALES)))
    if not family.shifted:
        return parts
    shift = jnp.exp(jnp.clip(experts.log_shift, *LOG_SHIFTS))
    return *parts, jnp.broadcast_to(shift[:, None], parts[0].shape)
