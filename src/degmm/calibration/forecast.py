"""The predicted distribution: a mixture of distributions for each case."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from degmm.calibration.families import find_family
from degmm.calibration.rows import on_rows
from degmm.choices import find
from degmm.ensembles import Ensemble
from degmm.ensembles.arrays import doubles_of, point_out_fills
from degmm.ensembles.matching import of_cases, with_variables
from degmm.estimators.checks import check_integer, generator

NAMES = {what: f"forecast_{what}" for what in ("mean", "std", "quantile")}
"""Of labelled answers, as in the files that the command line writes"""
HOW = {"quantiles": True, "random": False}
"""Ways to make an ensemble of a distribution: whether of its quantiles"""


@dataclass(frozen=True, eq=False)  # arrays have no truth value to compare by
class Forecast:
    """Predicted distributions, Σ_k w_k F(location_k, scale_k[, shift_k]) for each case.

    Answers are NumPy arrays in float64, or DataArrays with the coordinates of the cases where
    ``labels`` are given. A case without a forecast has NaN in all that is said of it.

    Parameters
    ----------
    weights : ndarray, shape (n, K), or (n, D, K) for D variables, each with its own distribution
        Of sum 1 in each case.
    locations, scales : ndarray, shaped as ``weights``
        In the unit of the variable: of ``"censored_gamma"`` mean and standard deviation before it is shifted
        and censored, the latter taken for 10⁴ times the mean where it is more.
    shifts : ndarray, shaped as ``weights``, optional
        For families with a shift.
    family : str
        ``"normal"``, ``"truncated_normal"``, ``"censored_logistic"`` or ``"censored_gamma"``.
    labels : Ensemble, optional
        The n cases, whose coordinates the answers shall have.
    variables : sequence of str, optional
        Names of the D variables.

    Raises
    ------
    ValueError
        If shapes differ, weights are none, a scale is not positive, or the family is unknown.
    """

    weights: Float[np.ndarray, "n *D K"]
    locations: Float[np.ndarray, "n *D K"]
    scales: Float[np.ndarray, "n *D K"]
    shifts: Float[np.ndarray, "n *D K"] | None = None
    family: str = "normal"
    labels: Ensemble | None = None
    variables: Sequence[str] = ()

    def __post_init__(self) -> None:
        family = find_family(self.family)
        if family.shifted != (self.shifts is not None):
            raise ValueError(f"shifts: family {family.name!r} has {'one' if family.shifted else 'none'}")
        if np.ndim(self.weights) not in (2, 3):
            raise ValueError(f"weights: expected shape (n, K) or (n, D, K), got {np.shape(self.weights)}")
        names = ("weights", "locations", "scales") + (("shifts",) if family.shifted else ())
        for name in names:
            values = doubles_of(getattr(self, name), name)
            if values.shape != np.shape(self.weights):
                raise ValueError(f"{name}: shape {values.shape}, where weights have {np.shape(self.weights)}")
            object.__setattr__(self, name, values)
        object.__setattr__(self, "family", family.name)
        totals = self.weights.sum(axis=-1)
        if (self.weights < 0).any() or (np.abs(totals - 1) > 1e-6).any():
            raise ValueError("weights: expected weights of at least 0 with the sum 1 in each case")
        if (np.isnan(self.weights) & np.isfinite(self.locations)).any():
            raise ValueError("weights: NaN for a case that has a location")
        if (self.scales <= 0).any():
            i = int(np.argwhere(self.scales <= 0)[0][0])
            raise ValueError(f"scales: case {i} has a scale that is not positive")
        if self.labels is not None and len(self.labels) != len(self):
            raise ValueError(f"labels: {len(self.labels)} cases, where the forecast has {len(self)}")

    def __repr__(self) -> str:
        sizes = ", ".join(map(str, self.shape))
        return f"Forecast(family={self.family!r}, shape=({sizes}), K={self.n_components})"

    def __len__(self) -> int:
        return self.weights.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """(n,), or (n, D) for D variables."""
        return self.weights.shape[:-1]

    @property
    def n_components(self) -> int:
        """Number K of components."""
        return self.weights.shape[-1]

    def __getitem__(self, index: Any) -> "Forecast":
        """Return the forecasts of the cases that ``index`` (slice, or array of int or bool) selects."""
        index = [index] if isinstance(index, int | np.integer) else index
        parts: dict[str, Any] = {name: part[index] for name, part in self._parts().items()}
        return replace(self, **parts, labels=None if self.labels is None else self.labels[index])

    def margin(self, d: int | str) -> "Forecast":
        """Return the forecast of variable d, its number or name; of one variable, the forecast itself."""
        names, D = tuple(self.variables), 1 if len(self.shape) == 1 else self.shape[1]
        if isinstance(d, str):
            if d not in names:
                raise ValueError(f"d: no variable {d!r}; there are {', '.join(names) or 'no names'}")
            d = names.index(d)
        if not -D <= d < D:
            raise ValueError(f"d: expected a variable from 0 to {D - 1}, got {d}")
        if len(self.shape) == 1:
            return self
        names = names[d % D : d % D + 1]
        parts: dict[str, Any] = {name: part[:, d] for name, part in self._parts().items()}
        return replace(self, **parts, variables=names, labels=with_variables(self.labels, names))

    # --- what is predicted ----------------------------------------------------------------------

    def mean(self) -> Any:
        """Return the mean of each distribution, shape (n,) or (n, D)."""
        return self._labelled(self._of_each("mean"), NAMES["mean"])

    def std(self) -> Any:
        """Return the standard deviation of each distribution, shape (n,) or (n, D)."""
        return self._labelled(self._of_each("std"), NAMES["std"])

    def cdf(self, y: Any) -> Any:
        """Return the probability of at most y.

        Parameters
        ----------
        y : array-like
            A number, or one for each distribution, shape (n,) or (n, D), or m for each, (n, m) or
            (n, D, m).

        Returns
        -------
        ndarray
            Shaped as y; NaN where y is.
        """
        return self._at("cdf", y)

    def cdf_below(self, y: Any) -> Any:
        """Return the probability of less than y: not :meth:`cdf` where y has one, as 0 does if censored.

        The argument is that of :meth:`cdf`.
        """
        values = self._points(y)
        found = self._with("cdf", values)
        if find_family(self.family).from_zero:
            found = found * np.where(values <= 0, 0.0, 1.0)
        return self._of_points(found, "cdf_below")

    def logpdf(self, y: Any) -> Any:
        """Return the log density at y in nats, or the log probability of a y that has one (0, if censored).

        The argument is that of :meth:`cdf`.
        """
        return self._at("logpdf", y)

    def pdf(self, y: Any) -> Any:
        """Return the density at y, or the probability of a y that has one; see :meth:`logpdf`."""
        return np.exp(self._at("logpdf", y, "pdf"))

    def crps(self, y: Any) -> Any:
        """Return the continuous ranked probability score of y, in its unit; the lower, the better.

        ∫ (F(x) − 1{y ≤ x})² dx: in closed form for single distributions and mixtures of normals (Grimit
        et al. 2006), by quadrature to about 1e-9 of the scale for other mixtures. The argument is that
        of :meth:`cdf`.
        """
        return self._at("crps", y)

    def quantile(self, q: Any) -> Any:
        """Return quantiles, for mixtures by bisection to 1e-10 of the quantile, and of the scale.

        Of single distributions they are as precise near probabilities of 0 and 1 as elsewhere; those of
        ``"censored_gamma"`` to 1e-10 where the shape, (mean/standard deviation)², is 1e-3 or more.

        Parameters
        ----------
        q : float or array-like, shape (Q,)
            Probabilities.

        Returns
        -------
        ndarray
            Shape (n,) or (n, D), with Q at the end where q has it.

        Raises
        ------
        ValueError
            If q is no probability, or of more dimensions.
        """
        levels = np.asarray(q, np.float64)
        if levels.ndim > 1 or not ((levels >= 0) & (levels <= 1)).all():
            raise ValueError(f"q: expected probabilities between 0 and 1, a number or (Q,); got {q!r}")
        found = self._with("quantile", np.broadcast_to(levels, self.shape + levels.shape))
        answer = self._labelled(found, NAMES["quantile"], ("quantile",) * levels.ndim)
        if self.labels is not None and levels.ndim:
            answer = answer.assign_coords({answer.dims[-1]: levels})
        return answer

    def sample(self, m: int = 1, *, random_state: Any = None) -> Any:
        """Draw m values from each distribution, shape (n, m) or (n, m, D), independent of one another."""
        return self._members(self._drawn(check_integer("m", m, 1), random_state))

    def to_ensemble(self, m: int, how: str = "quantiles", *, random_state: Any = None) -> Any:
        """Return an ensemble of m members for each case.

        Parameters
        ----------
        m : int
            Number of members.
        how : {"quantiles", "random"}
            The quantiles of (j − ½)/m, j = 1 … m, in rising order, which have the least CRPS of all
            ensembles of m (Bröcker 2012, doi:10.1002/qj.1891), or random draws.
        random_state : int, Generator or None
            Seed of the draws.

        Returns
        -------
        ndarray, shape (n, m) or (n, m, D)
            The variables of a case are not yet joined: see :func:`degmm.calibration.ecc`.
        """
        m = check_integer("m", m, 1)
        if not find("how", how, HOW):
            return self._members(self._drawn(m, random_state))
        levels = (np.arange(m) + 0.5) / m
        return self._members(self._with("quantile", np.broadcast_to(levels, (*self.shape, m))))

    # --- for the above --------------------------------------------------------------------------

    def _parts(self) -> dict[str, np.ndarray]:
        parts = {"weights": self.weights, "locations": self.locations, "scales": self.scales}
        return parts if self.shifts is None else parts | {"shifts": self.shifts}

    def _of_each(self, what: str) -> np.ndarray:
        parts = (part.reshape(-1, self.n_components) for part in self._parts().values())
        return on_rows(what, self.family, *parts).reshape(self.shape)

    def _with(self, what: str, values: np.ndarray) -> np.ndarray:
        """Return a function of values of the shape of the cases, or with some for each."""
        K, extra = self.n_components, values.shape[len(self.shape) :]
        per_case = int(np.prod(extra))
        parts = (np.repeat(part.reshape(-1, K), per_case, axis=0) for part in self._parts().values())
        return on_rows(what, self.family, values.reshape(-1), *parts).reshape(values.shape)

    def _at(self, what: str, y: Any, name: str | None = None) -> Any:
        values = self._points(y)
        point_out_fills(values, "y", ("case", *("variable",) * (len(self.shape) - 1), "point")[: values.ndim])
        return self._of_points(self._with(what, values), name or what)

    def _points(self, y: Any) -> np.ndarray:
        """Return y in the order of the cases, of their shape or with some for each."""
        # of a single variable, which observations may have a dimension for
        single = "variable" in getattr(y, "dims", ()) and len(self.shape) == 1
        y = of_cases(self.labels, y, "y")
        y = y[:, 0] if single and np.ndim(y) == 2 and y.shape[1] == 1 else y
        values = doubles_of(y, "y")
        values = np.broadcast_to(values, self.shape) if values.ndim == 0 else values
        rank = len(self.shape)
        if values.shape[:rank] != self.shape or values.ndim > rank + 1:
            raise ValueError(f"y: expected shape {self.shape}, or that with m at the end; got {values.shape}")
        return values

    def _of_points(self, values: np.ndarray, name: str) -> Any:
        return self._labelled(values, name, ("point",) * (values.ndim - len(self.shape)))

    def _drawn(self, m: int, random_state: Any) -> np.ndarray:
        rng = generator(random_state)
        K = self.n_components
        chosen = np.zeros((*self.shape, m), np.intp)
        if K > 1:
            shares = np.cumsum(self.weights, axis=-1)[..., None, :]
            chosen = (rng.uniform(size=(*self.shape, m, 1)) * shares[..., -1:] > shares).sum(axis=-1)
            chosen = np.minimum(chosen, K - 1)
        parts = [np.take_along_axis(part, chosen, axis=-1) for part in self._parts().values()]
        # of those chosen, NaN where there is no forecast, the weight is 1
        parts[0] = np.ones_like(parts[0])
        levels = rng.uniform(np.finfo(np.float64).tiny, 1, size=chosen.shape)
        rows = (part.reshape(-1, 1) for part in parts)
        return on_rows("quantile", self.family, levels.reshape(-1), *rows).reshape(chosen.shape)

    def _members(self, values: np.ndarray) -> Any:
        """Return members (…, m) of the cases as ensembles, members before variables."""
        values = np.moveaxis(values, -1, 1)
        return self._labelled(values, "forecast", ("member", "variable")[: values.ndim - 1])

    def _labelled(self, values: np.ndarray, name: str, over: Sequence[str] = ()) -> Any:
        if self.labels is None:
            return values
        from degmm.results import data_array

        if len(over) < values.ndim - 1:
            over = ("variable", *over)
        answer = data_array(self.labels, values, name, over)
        if "variable" in over and self.variables:
            dim = answer.dims[answer.ndim - len(over) + list(over).index("variable")]
            answer = answer.assign_coords({dim: list(self.variables)})
        return answer
