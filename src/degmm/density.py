"""Gaussian mixture densities of single members: one mixture a row, ready to evaluate and draw from."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from jaxtyping import Float

from degmm.ensembles.arrays import doubles_of


@dataclass(frozen=True, eq=False)
class MixtureDensity:
    """Row i is the density Σ_k weights[i, k] N(means[i, k], covariances[i, k])."""

    weights: Float[np.ndarray, "n K"]
    means: Float[np.ndarray, "n K D"]
    covariances: Float[np.ndarray, "n K D D"]

    def __repr__(self) -> str:
        n, K, D = self.means.shape
        return f"MixtureDensity(n={n}, K={K}, D={D})"

    def logpdf(self, y: Any) -> Float[np.ndarray, "..."]:
        """Return the log density of y, in nats.

        Parameters
        ----------
        y : array-like, shape (n, D), (n, m, D) or (D,)
            One point a row, m points a row, or one point for all rows.

        Returns
        -------
        ndarray, shape (n,), or (n, m) for m points a row
            NaN where y is.
        """
        from scipy.special import logsumexp

        n, _, D = self.means.shape
        points = doubles_of(y, "y")
        if points.ndim == 1:
            points = np.broadcast_to(points, (n, points.size))
        single = points.ndim == 2
        if single:
            points = points[:, None, :]
        if points.shape[::2] != (n, D):
            raise ValueError(f"y: expected shape ({n}, {D}), ({n}, m, {D}) or ({D},), got {np.shape(y)}")
        root = np.linalg.cholesky(self.covariances)
        deviation = points[:, None] - self.means[:, :, None, :]
        z = np.linalg.solve(root, np.swapaxes(deviation, 2, 3))
        log_determinant = 2 * np.log(np.diagonal(root, axis1=2, axis2=3)).sum(axis=2)
        log_density = -0.5 * (D * np.log(2 * np.pi) + log_determinant[:, :, None] + (z**2).sum(axis=2))
        with np.errstate(divide="ignore"):
            out = logsumexp(log_density + np.log(self.weights)[:, :, None], axis=1)
        return out[:, 0] if single else out

    def given(self, known: Sequence[int], values: Float[np.ndarray, "n d"]) -> "MixtureDensity":
        """Return the density of the other variables, given n values of the known ones.

        Parameters
        ----------
        known : sequence of int
            Positions of the variables known.
        values : ndarray, shape (n, d)
            Their values, a case a row. The mixture has one row, which serves all cases.

        Returns
        -------
        MixtureDensity
            n rows, of the variables not known, in their order.

        Raises
        ------
        ValueError
            If the values of a case are beyond what any cluster gives a density to.
        """
        rest = [d for d in range(self.means.shape[2]) if d not in known]
        weights, means, covariances = self.weights[0], self.means[0], self.covariances[0]
        of_known = covariances[:, known][:, :, known]
        cross = covariances[:, rest][:, :, known]
        gain = np.swapaxes(np.linalg.solve(of_known, np.swapaxes(cross, 1, 2)), 1, 2)
        left = covariances[:, rest][:, :, rest] - gain @ np.swapaxes(cross, 1, 2)
        n, K = values.shape[0], len(weights)
        joint = np.empty((n, K))
        for k in range(K):
            one = MixtureDensity(np.ones((1, 1)), means[None, [k]][:, :, known], of_known[None, [k]])
            with np.errstate(divide="ignore"):
                joint[:, k] = np.log(weights[k]) + one.logpdf(values[None])[0]
        far = ~np.isfinite(joint.max(axis=1))
        if far.any():
            raise ValueError(f"given: the values of case {int(np.argmax(far))} lie too far from all clusters")
        joint = np.exp(joint - joint.max(axis=1, keepdims=True))
        deviation = values[:, None, :] - means[:, known]
        return MixtureDensity(
            joint / joint.sum(axis=1, keepdims=True),
            means[:, rest] + np.einsum("kde,nke->nkd", gain, deviation),
            np.broadcast_to((left + np.swapaxes(left, 1, 2)) / 2, (n, *left.shape)),
        )

    def mean(self) -> Float[np.ndarray, "n D"]:
        """Return the mean of each row's density."""
        return np.einsum("nk,nkd->nd", self.weights, self.means)

    def covariance(self) -> Float[np.ndarray, "n D D"]:
        """Return the covariance of each row's density."""
        deviation = self.means - self.mean()[:, None, :]
        outer = deviation[..., :, None] * deviation[..., None, :]
        return np.einsum("nk,nkde->nde", self.weights, self.covariances + outer)

    def sample(self, m: int = 1, *, random_state: Any = None) -> Float[np.ndarray, "n m D"]:
        """Draw m points from each row's density."""
        if isinstance(m, bool) or not isinstance(m, Integral) or m < 1:
            raise ValueError(f"m: expected a number of points of at least 1, got {m!r}")
        rng = np.random.default_rng(random_state)
        n, K, D = self.means.shape
        shares = np.cumsum(self.weights, axis=1)
        chosen = (rng.uniform(size=(n, m, 1)) * shares[:, None, -1:] > shares[:, None, :]).sum(axis=2)
        chosen = np.minimum(chosen, K - 1)
        rows = np.arange(n)[:, None]
        root = np.linalg.cholesky(self.covariances)
        noise = rng.normal(size=(n, m, D))
        return self.means[rows, chosen] + np.einsum("nmde,nme->nmd", root[rows, chosen], noise)
