"""What all mixtures share once they are fitted: densities, posteriors, draws, criteria."""

from typing import Any, Self

import numpy as np
from jaxtyping import Float, Int
from sklearn.base import BaseEstimator, ClusterMixin, DensityMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from degmm.ensembles import as_members, members_of
from degmm.estimators.checks import check_integer, check_weights, generator
from degmm.families import Family, MixtureParameters, make_family
from degmm.inference.mixture import evaluate
from degmm.inference.solution import Result, Solution
from degmm.moments import Moments, Scaling, moments_of, standardised_moments
from degmm.precision import precision_of


class BaseMixture(ClusterMixin, DensityMixin, BaseEstimator):
    """A mixture of exchangeable Gaussian components, however it is fitted.

    Subclasses set ``_single_member`` and write ``fit``.
    """

    _single_member = False
    """Whether the model is of one member an ensemble (GMM, DGMM)"""
    _many_members_model = "EGMM"
    """The model to name to a user who passes more"""

    n_components: int
    covariance_type: str
    dtype: Any

    # Fitted state, in standard units; the public attributes are in the units of the data.
    _parameters: MixtureParameters
    _scaling: Scaling
    _precision: Any

    def fit_predict(self, X: Any, y: Any = None, **fit_arguments: Any) -> Int[np.ndarray, "n"]:
        """Fit the model and return the cluster of each ensemble."""
        return self.fit(X, y, **fit_arguments).labels_

    def fit(self, X: Any, y: Any = None, *, sample_weight: Any = None) -> Self:
        """Fit the model."""
        raise TypeError(f"{type(self).__name__} has no way to fit")

    # --- what a fitted mixture says of ensembles ---------------------------------------------

    def predict(self, X: Any) -> Int[np.ndarray, "n"]:
        """Return the most probable cluster of each ensemble."""
        return self.predict_proba(X).argmax(axis=1)

    def predict_proba(self, X: Any) -> Float[np.ndarray, "n K"]:
        """Return the probability of each cluster for each ensemble, γ, shape (n, K)."""
        return self.posterior(X)

    def posterior(self, X: Any) -> Float[np.ndarray, "n K"]:
        """Return the exact posterior of the clusters under the fitted parameters, shape (n, K)."""
        return self._evaluate(self._moments(X))[1]

    def score_samples(self, X: Any) -> Float[np.ndarray, "n"]:
        """Return the log density of each whole ensemble, log Σ_k π_k f_k(x_i), in nats, shape (n,)."""
        return self._evaluate(self._moments(X))[0]

    def score(self, X: Any, y: Any = None) -> float:
        """Return the mean of :meth:`score_samples`: nats an ensemble."""
        return float(self.score_samples(X).mean())

    def bic(self, X: Any) -> float:
        """Return −2ℓ + p log n, Schwarz's criterion; ensembles, not members, are the n units."""
        log_density = self.score_samples(X)
        return float(-2 * log_density.sum() + self.n_parameters_ * np.log(log_density.size))

    def aic(self, X: Any) -> float:
        """Return −2ℓ + 2p, Akaike's criterion."""
        return float(-2 * self.score_samples(X).sum() + 2 * self.n_parameters_)

    def icl(self, X: Any) -> float:
        """Return BIC + 2 × the entropy of the posterior (Biernacki, Celeux & Govaert 2000)."""
        posterior = self.posterior(X)
        entropy = -(posterior * np.log(np.where(posterior > 0, posterior, 1))).sum()
        return self.bic(X) + 2 * float(entropy)

    def sample(
        self, n_samples: int = 1, *, n_members: int | None = None, random_state: Any = None
    ) -> tuple[Float[np.ndarray, "n M D"], Int[np.ndarray, "n"]]:
        """Draw ensembles from the fitted mixture.

        Parameters
        ----------
        n_samples : int
            Number of ensembles.
        n_members : int, optional
            Members of each; by default the largest number seen in the fit.
        random_state : int, Generator or None
            Seed.

        Returns
        -------
        X : ndarray, shape (n_samples, n_members, D)
        labels : ndarray of int, shape (n_samples,)
        """
        check_is_fitted(self)
        n_samples = check_integer("n_samples", n_samples, 1)
        n_members = check_integer("n_members", self.n_members_ if n_members is None else n_members, 1)
        rng = generator(random_state)
        parameters = MixtureParameters(*(np.asarray(part, np.float64) for part in self._parameters))
        weights = parameters.weights / parameters.weights.sum()
        labels = rng.choice(weights.size, size=n_samples, p=weights)
        drawn = self._family().draw(parameters, labels, n_members, rng)
        return (drawn * self._scaling.scale + self._scaling.centre).astype(self._precision), labels

    # --- for subclasses -----------------------------------------------------------------------

    def _family(self) -> Family:
        return make_family(getattr(self, "member_model", "independent"), self.covariance_type)

    def _validated(self, X: Any, *, reset: bool) -> np.ndarray:
        """Return the members behind X, having checked them against the model."""
        X = members_of(X)
        # scikit-learn's own validation keeps feature names and gives its messages for tables.
        if not reset and hasattr(self, "feature_names_in_"):
            validate_data(self, X, skip_check_array=True, reset=False)
        members = as_members(X, dtype=self.dtype if reset else self._precision)
        n, M, D = members.shape
        if self._single_member and M > 1:
            name = type(self).__name__
            raise ValueError(
                f"X: {name} takes one member an ensemble and X has {M}; pass X[:, 0], or use "
                f"{self._many_members_model} for whole ensembles"
            )
        if reset:
            if n < self.n_components:
                raise ValueError(
                    f"X: {n} ensembles (n_samples={n}) are too few for {self.n_components} components; "
                    f"lower n_components"
                )
            if np.ndim(X) == 2:
                validate_data(self, X, skip_check_array=True, reset=True)
            self.n_features_in_, self.n_members_ = D, M
        elif self.n_features_in_ != D:
            raise ValueError(
                f"X has {D} features, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input"
            )
        return members

    def _standardised(self, members: np.ndarray, sample_weight: Any) -> tuple[Moments, Scaling]:
        weights = check_weights(sample_weight, members.shape[0])
        common = self._family().covariance.common_scale
        return standardised_moments(members, weights, common_scale=common)

    def _moments(self, X: Any) -> Moments:
        check_is_fitted(self)
        members = self._validated(X, reset=False)
        return moments_of(members, np.ones(members.shape[0]), self._scaling)

    def _evaluate(self, moments: Moments) -> tuple[np.ndarray, np.ndarray]:
        with precision_of(self._precision):
            log_density, responsibilities = evaluate(self._family(), self._parameters, moments)
        in_data_units = np.asarray(log_density) - np.asarray(moments.counts) * self._scaling.log_jacobian
        return in_data_units.astype(self._precision), np.ascontiguousarray(np.asarray(responsibilities).T)

    def _keep(self, solution: Solution, moments: Moments, scaling: Scaling) -> None:
        """Keep a solution, and give its parameters in the units of the data."""
        self._precision = moments.mean.dtype
        self._scaling, self._parameters = scaling, solution.parameters
        self._publish()
        mass = np.asarray(moments.weights, np.float64) @ np.asarray(moments.counts, np.float64)
        shift = float(mass) * scaling.log_jacobian
        self.log_likelihood_ = solution.log_likelihood - shift
        self.n_iter_ = solution.n_iter
        self.result_ = solution.result
        self.converged_ = solution.result is Result.CONVERGED
        self.history_ = {"log_likelihood": solution.history - shift}

    def _publish(self) -> None:
        scale = self._scaling.scale
        squares = np.outer(scale, scale)
        parameters = MixtureParameters(*(np.asarray(part, np.float64) for part in self._parameters))
        K, D = parameters.means.shape

        def public(part: np.ndarray) -> np.ndarray:
            return part.astype(self._precision)

        self.weights_ = public(parameters.weights)
        self.means_ = public(parameters.means * scale + self._scaling.centre)
        self.within_covariances_ = public(parameters.within * squares)
        self.between_covariances_ = public(parameters.between * squares)
        self.covariances_ = self.within_covariances_ + self.between_covariances_
        self.n_parameters_ = self._family().n_parameters(K, D)

    def _get_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return all that a fit set, as arrays and as facts that JSON can hold."""
        check_is_fitted(self)
        arrays = {f"parameters.{k}": v for k, v in self._parameters._asdict().items()}
        arrays |= {f"scaling.{k}": v for k, v in self._scaling._asdict().items()}
        arrays |= {f"history.{k}": v for k, v in self.history_.items()}
        arrays["labels"] = self.labels_
        facts = {
            "precision": np.dtype(self._precision).name,
            "n_features": self.n_features_in_,
            "n_members": self.n_members_,
            "log_likelihood": self.log_likelihood_,
            "n_iter": self.n_iter_,
            "result": self.result_.name,
        }
        if hasattr(self, "feature_names_in_"):
            facts["feature_names"] = [str(name) for name in self.feature_names_in_]
        return {name: np.asarray(array) for name, array in arrays.items()}, facts

    def _set_state(self, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> None:
        """Set what :meth:`_get_state` gave."""
        self._precision = np.dtype(facts["precision"])
        self._parameters = MixtureParameters(*(arrays[f"parameters.{k}"] for k in MixtureParameters._fields))
        self._scaling = Scaling(*(arrays[f"scaling.{k}"] for k in Scaling._fields))
        self.n_features_in_, self.n_members_ = int(facts["n_features"]), int(facts["n_members"])
        if "feature_names" in facts:
            self.feature_names_in_ = np.array(facts["feature_names"], dtype=object)
        self._publish()
        self.log_likelihood_, self.n_iter_ = float(facts["log_likelihood"]), int(facts["n_iter"])
        self.result_ = Result[facts["result"]]
        self.converged_ = self.result_ is Result.CONVERGED
        prefix = "history."
        self.history_ = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
        self.labels_ = arrays["labels"]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
        return tags
