"""A distributional regression network, the peer of deep regimes: one network straight to one normal.

Rasp & Lerch (2018, doi:10.1175/MWR-D-18-0187.1), with the inputs, the layer and the optimiser that the deep
regimes have: it differs in what comes out, a mean and a spread without regimes.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scoringrules as sr

from degmm.calibration import Forecast

N_HIDDEN, N_STEPS, BATCH, RATE, DECAY = 32, 1500, 256, 5e-3, 1e-2


def inputs(members: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Return mean, log spread, and the season's sine and cosine, shape (n, 4)."""
    spread = np.maximum(members.std(axis=1, ddof=1), 1e-3)
    return np.column_stack([members.mean(axis=1), np.log(spread), np.sin(angle), np.cos(angle)])


def drn(
    train: np.ndarray, y: np.ndarray, test: np.ndarray, n_networks: int = 5, seed: int = 0
) -> list[Forecast]:
    """Return the forecasts of each network for the cases of ``test``."""
    centre, scale = train.mean(axis=0), train.std(axis=0)
    read, new = ((part - centre) / scale for part in (train, test))
    unit = y.std()
    rng = np.random.default_rng(seed)
    batches = rng.integers(len(y), size=(n_networks, N_STEPS, BATCH))
    keys = jax.random.split(jax.random.key(seed), n_networks)
    fitted = jax.vmap(_train, in_axes=(0, 0, None, None))(
        keys, jnp.asarray(batches), jnp.asarray(read, jnp.float32), jnp.asarray((y - y.mean()) / unit)
    )
    mean, log_spread = (
        np.asarray(part, np.float64) for part in jax.vmap(_outputs, in_axes=(0, None))(fitted, new)
    )
    one = np.ones((len(test), 1))
    return [
        Forecast(one, (y.mean() + unit * m)[:, None], (unit * np.exp(s))[:, None])
        for m, s in zip(mean, log_spread, strict=True)
    ]


def averaged(forecasts: list[Forecast]) -> Forecast:
    """Return the normal of the mean of the networks' means and of their spreads, as Rasp & Lerch average."""
    mean = np.mean([part.locations for part in forecasts], axis=0)
    return Forecast(np.ones_like(mean), mean, np.mean([part.scales for part in forecasts], axis=0))


def _outputs(weights, read):  # type: ignore[no-untyped-def]
    hidden = jnp.tanh(read @ weights["hidden"] + weights["bias"])
    out = hidden @ weights["out"] + weights["out_bias"]
    return out[:, 0], out[:, 1]


@partial(jax.jit, static_argnums=())
def _train(key, batches, read, y):  # type: ignore[no-untyped-def]
    first, second = jax.random.split(key)
    d = read.shape[1]
    weights = {
        "hidden": jax.random.normal(first, (d, N_HIDDEN)) / d**0.5,
        "bias": jnp.zeros(N_HIDDEN),
        "out": jax.random.normal(second, (N_HIDDEN, 2)) / N_HIDDEN**0.5,
        "out_bias": jnp.zeros(2),
    }
    adam = optax.adamw(optax.cosine_decay_schedule(RATE, N_STEPS), weight_decay=DECAY)

    def loss(weights, batch):  # type: ignore[no-untyped-def]
        mean, log_spread = _outputs(weights, read[batch])
        return sr.crps_normal(y[batch], mean, jnp.exp(jnp.clip(log_spread, -6, 4)), backend="jax").mean()

    def step(state, batch):  # type: ignore[no-untyped-def]
        weights, moments = state
        update, moments = adam.update(jax.grad(loss)(weights, batch), moments, weights)
        return (optax.apply_updates(weights, update), moments), None

    (weights, _), _ = jax.lax.scan(step, (weights, adam.init(weights)), batches)
    return weights
