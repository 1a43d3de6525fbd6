"""Densities that follow from a fitted mixture: of one more member, of some variables, given others."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from sklearn.utils.validation import check_is_fitted

from degmm.density import MixtureDensity
from degmm.estimators.base import BaseMixture
from degmm.estimators.labels import of_ensembles
from degmm.families import MixtureParameters
from degmm.families.base import in_units
from degmm.families.covariance import dense
from degmm.scaling import DATA_UNITS

if TYPE_CHECKING:
    from degmm.estimators.em import EGMM


class Mixture(BaseMixture):
    """A mixture that also gives the densities derived from it."""

    @of_ensembles("predictive")
    def predictive(self, X: Any, *, context: Any = None) -> MixtureDensity:
        """Return the density of one more member of each ensemble, given the members seen.

        Σ_k γ_ik N(μ_k, W_k) for independent members, and Σ_k γ_ik N(ĉ_ik, W_k + V_ik) for a shared
        centre, with ĉ_ik and V_ik the centre's mean and covariance given the members
        (docs/architecture.md, equation 9). γ is the exact posterior.

        Parameters
        ----------
        X : Ensemble, xarray.DataArray or array-like, shape (n, M, D)
        context : array-like, shape (n, C), optional
            For a model that was fitted with one.

        Returns
        -------
        MixtureDensity
            With ``weights`` (n, K), ``means`` (n, K, D), ``covariances`` (n, K, D, D), ``logpdf``
            and ``sample``, in the units of the data; of a code, for a model with a projection.
        """
        moments = self._moments(X)
        _, posterior = self._evaluate(moments, self._log_prior(context, moments.n_samples))
        standard = MixtureParameters(*(np.asarray(part, np.float64) for part in self._parameters))
        means, covariances = self._fitted_family.next_member(standard, moments)
        scale = self._scaling.scale
        return MixtureDensity(
            posterior.astype(np.float64),
            means * scale + self._scaling.centre,
            covariances * np.outer(scale, scale),
        )

    @of_ensembles("mean_dispersion")
    def mean_dispersion(self, X: Any, *, context: Any = None) -> float:
        """Return how far ensemble means scatter about their cluster's mean, as a ratio of variances.

        1 where the model holds. Far above 1 for independent members, it says that the members of an
        ensemble are alike, which ``member_model="shared_centre"`` describes.

        Parameters
        ----------
        X : Ensemble, xarray.DataArray or array-like, shape (n, M, D)
        context : array-like, shape (n, C), optional
            For a model that was fitted with one.

        Returns
        -------
        float
            Mean over ensembles and clusters, weighted by the posterior, of the squared Mahalanobis
            distance of x̄_i from μ_k under B_k + W_k/M_i, divided by D.
        """
        moments = self._moments(X)
        posterior = self._evaluate(moments, self._log_prior(context, moments.n_samples))[1]
        _, centres, within, between = (np.asarray(part, np.float64) for part in self._parameters)
        counts = np.asarray(moments.counts, np.float64)
        mean = np.asarray(moments.mean, np.float64).T
        total = 0.0
        for M in np.unique(counts):
            alike = counts == M
            for k, covariance in enumerate(between + within / M):
                lengths = _squared_lengths(mean[alike] - centres[k], covariance)
                total += float(posterior[alike, k] @ lengths)
        return total / (len(mean) * mean.shape[1])

    def marginal(self, features: Any) -> "EGMM":
        """Return the fitted mixture of some variables alone, as an EGMM.

        Parameters
        ----------
        features : int, str, or sequence of them
            Variables to keep, by position, or by name where X had names.

        Returns
        -------
        EGMM
            Fitted; it clusters and scores ensembles of those variables. The record of the fit
            (``log_likelihood_``, ``history_``, ``labels_``, ``result_``) stays that of all variables.
        """
        from degmm.estimators.em import EGMM

        check_is_fitted(self)
        single = isinstance(features, str) or np.ndim(features) == 0
        kept = self._positions("features", [features] if single else list(features))
        shared = set(EGMM().get_params()) - {"init_params"}
        model = EGMM(**{name: value for name, value in self.get_params().items() if name in shared})
        arrays, facts = self._get_state()
        arrays["parameters.means"] = arrays["parameters.means"][:, kept]
        for name in ("parameters.within", "parameters.between"):
            part = arrays[name][:, kept]
            arrays[name] = part if part.ndim == 2 else part[:, :, kept]
        for name in ("scaling.centre", "scaling.scale"):
            arrays[name] = arrays[name][kept]
        facts["n_features"] = len(kept)
        if "feature_names" in facts:
            for name in ("feature_names", "units"):
                facts[name] = [facts[name][d] for d in kept] if facts[name] else []
        if "climatology" in arrays:
            arrays["climatology"] = arrays["climatology"][..., kept]
        model._set_state(arrays, facts)
        return model

    def conditional(self, given: Mapping[int | str, Any]) -> MixtureDensity:
        """Return the density of a member's other variables, given its values of some.

        The density of one member is Σ_k π_k N(μ_k, W_k + B_k); conditioning it on some variables
        gives a mixture of the others, with weights in proportion to π_k N(given; ·).

        Parameters
        ----------
        given : mapping of int or str to float or array-like of shape (n,)
            Values of some variables, by position, or by name where X had names.
            Scalars are one case; arrays are n.

        Returns
        -------
        MixtureDensity
            Of the variables not given, in their order.
        """
        check_is_fitted(self)
        known = self._positions("given", list(given))
        rest = [d for d in range(self.n_features_in_) if d not in known]
        if not rest:
            raise ValueError("given: all variables are given; leave at least one out")
        columns = []
        for feature, value in given.items():
            try:
                columns.append(np.atleast_1d(np.asarray(value, np.float64)))
            except (TypeError, ValueError) as error:
                raise ValueError(f"given: the value of {feature!r} is no number ({error})") from error
            if columns[-1].ndim > 1:
                raise ValueError(f"given: expected a number or one for each case for {feature!r}")
        for feature, column in zip(given, columns, strict=True):
            if not np.isfinite(column).all():
                raise ValueError(
                    f"given: the value of {feature!r} is {column[~np.isfinite(column)][0]}; leave the "
                    "variable out where it is not known"
                )
        try:
            values = np.stack(np.broadcast_arrays(*columns), axis=1)
        except ValueError as error:
            raise ValueError(f"given: the values have different lengths ({error})") from error
        weights, means, within, between = in_units(self._parameters, self._scaling, DATA_UNITS)
        member = MixtureDensity(weights[None], means[None], dense(within + between)[None])
        return member.given(known, values)

    def _positions(self, argument: str, features: Sequence[int | str]) -> list[int]:
        if self._projection is not None:
            raise ValueError(
                f"{argument}: with a projection the mixture is one of codes, not of variables; "
                "fit without projection for densities of some variables"
            )
        names = [str(name) for name in getattr(self, "feature_names_in_", [])]
        D = self.n_features_in_
        found = []
        for feature in features:
            if isinstance(feature, str) and feature in names:
                found.append(names.index(feature))
            elif (
                isinstance(feature, int | np.integer) and not isinstance(feature, bool) and -D <= feature < D
            ):
                found.append(int(feature) % D)
            else:
                known = f"one of {', '.join(names)}, or " if names else "(the model knows no names) "
                raise ValueError(f"{argument}: expected {known}a position below {D}; got {feature!r}")
        if len(set(found)) < len(found) or not found:
            raise ValueError(f"{argument}: expected one or more variables, each once; got {list(features)}")
        return found


def _squared_lengths(
    apart: Float[np.ndarray, "n D"], covariance: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "n"]:
    """Return squared Mahalanobis distances under a covariance, or under a diagonal one, shape (D,)."""
    if covariance.ndim == 1:
        return np.asarray((apart**2 / covariance).sum(axis=1))
    import scipy.linalg

    root = scipy.linalg.cholesky(covariance, lower=True)
    return np.asarray((scipy.linalg.solve_triangular(root, apart.T, lower=True) ** 2).sum(axis=0))
