"""What all mixtures share once they are fitted: densities, posteriors, draws, criteria."""

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from jaxtyping import Bool, Float, Int
from sklearn.base import BaseEstimator, ClusterMixin, DensityMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted, validate_data

from degmm.capacity import check_capacity
from degmm.ensembles import Climatology, ContextRecipe, Ensemble, as_members, labelled, variable_names
from degmm.ensembles.blocks import as_chunks
from degmm.ensembles.chunked import ChunkedEnsemble
from degmm.estimators.alarms import alarm
from degmm.estimators.checks import check_devices, check_dtype, check_integer, check_weights, generator
from degmm.estimators.labels import matched, of_ensembles, tell_of_unlikely
from degmm.estimators.stored import Stored
from degmm.families import Family, MixtureParameters
from degmm.families.base import in_units
from degmm.families.covariance import dense
from degmm.inference.mixture import evaluate
from degmm.inference.solution import Result, Solution
from degmm.moments import Moments, moments_of, weight_unit
from degmm.precision import precision_of
from degmm.processes import check_alike, gathered, largest, total
from degmm.projections import encoded
from degmm.results import chunked_array, data_array
from degmm.scaling import DATA_UNITS, Scaling
from degmm.scatter import Form, form_for
from degmm.sharding import n_processes
from degmm.standard_units import standardised_moments

if TYPE_CHECKING:
    from degmm.estimators.streaming import StreamedData


class TrainingData(NamedTuple):
    """What a fit works on; nothing of it is kept on the estimator before the fit has ended."""

    X: Any
    """As passed"""
    members: Float[np.ndarray, "n M D"]
    """Their codes, with a projection"""
    n_features: int
    """Number of variables of X"""
    projection: Any
    moments: Moments
    """Of all ensembles"""
    weighted: Moments
    """Of those of positive weight, the only ones that enter the fit"""
    scaling: Scaling
    unit: float
    """Unit of the weights in ``moments``: a power of two that keeps them near 1"""
    family: Family

    @property
    def n_members(self) -> int:
        """Members of an ensemble, absent ones counted."""
        return self.members.shape[1]

    @property
    def mass(self) -> float:
        """Σ w M over all processes, in the unit of the weights."""
        weights, counts = self.moments.weights, self.moments.counts
        return float(total(np.asarray(weights, np.float64) @ np.asarray(counts, np.float64)))


class BaseMixture(Stored, ClusterMixin, DensityMixin, BaseEstimator):
    """A mixture of exchangeable Gaussian components, however it is fitted.

    Subclasses set ``_single_member`` and write ``fit``.
    """

    _single_member = False
    """Whether the model is of one member per ensemble (GMM, DGMM)"""
    _many_members_model = "EGMM"
    """The model to name to a user who passes more"""
    _densities_compare = True
    """Whether densities under two fits to the same data are of the same thing"""
    _floor_advice: str | None = None
    """What to do where a covariance sits at its floor, if not what helps most mixtures"""

    n_components: int
    covariance_type: str
    dtype: Any

    # Fitted state, in standard units; the public attributes are in the units of the data.
    _parameters: MixtureParameters
    _covariances: tuple[np.ndarray, np.ndarray]
    """W and B in the units of the data, as their structure holds them"""
    _scaling: Scaling
    _precision: Any
    _fitted_family: Family
    """Family of the fit; no centre is shared where all ensembles had one member"""
    _projection: Any = None
    """What maps each member to the code that the mixture is of, if anything"""
    feature_names_in_: np.ndarray
    climatology_: Climatology | None = None
    """The seasonal cycle that was taken off the data of the fit, if any"""
    _units: tuple[str, ...] = ()
    """Units of the variables in the fit, where they are known"""
    _recipe: ContextRecipe | None = None
    """How the context of the fit was made of coordinates, if it was"""

    def fit_predict(self, X: Any, y: Any = None, **fit_arguments: Any) -> Any:
        """Fit the model and return the cluster of each ensemble."""
        chunks = as_chunks(X)
        if isinstance(chunks, ChunkedEnsemble):
            labels = self.fit(X, y, **fit_arguments).labels_
            return chunked_array(chunks, labels.reshape(chunks.sizes), "cluster")
        data: Any = labelled(X)
        labels = self.fit(data, y, **fit_arguments).labels_
        return labels if data is X else data_array(data, labels, "cluster")

    def fit(self, X: Any, y: Any = None, *, sample_weight: Any = None) -> Self:
        """Fit the model."""
        raise TypeError(f"{type(self).__name__} has no way to fit")

    # --- what a fitted mixture says of ensembles ---------------------------------------------

    # ``context`` is for deep models that were fitted with one; the others take none.

    @of_ensembles("cluster")
    def predict(self, X: Any, *, context: Any = None) -> Int[np.ndarray, "n"]:
        """Return the most probable cluster of each ensemble."""
        return self.predict_proba(X, context=context).argmax(axis=1)

    @of_ensembles("responsibility", "component")
    def predict_proba(self, X: Any, *, context: Any = None) -> Float[np.ndarray, "n K"]:
        """Return the probability of each cluster for each ensemble, γ, shape (n, K)."""
        return self.posterior(X, context=context)

    @of_ensembles("responsibility", "component")
    def posterior(self, X: Any, *, context: Any = None) -> Float[np.ndarray, "n K"]:
        """Return the exact posterior of the clusters under the fitted parameters, shape (n, K)."""
        moments = self._moments(X)
        return self._evaluate(moments, self._log_prior(context, moments.n_samples))[1]

    @of_ensembles("log_density")
    def score_samples(self, X: Any, *, context: Any = None) -> Float[np.ndarray, "n"]:
        """Return the log density of each whole ensemble, log Σ_k π_k f_k(x_i), in nats, shape (n,)."""
        moments = self._moments(X)
        return self._evaluate(moments, self._log_prior(context, moments.n_samples))[0]

    @of_ensembles("score")
    def score(self, X: Any, y: Any = None, *, context: Any = None) -> float:
        """Return the mean of :meth:`score_samples`: nats per ensemble."""
        return float(self.score_samples(X, context=context).mean())

    @of_ensembles("bic")
    def bic(self, X: Any, *, sample_weight: Any = None, context: Any = None) -> float:
        """Return −2ℓ + p log n, Schwarz's criterion; ensembles, not members, are the n = Σ w units."""
        log_density, _, weights = self._weighted(X, sample_weight, context)
        return self._bic(log_density, weights)

    @of_ensembles("aic")
    def aic(self, X: Any, *, sample_weight: Any = None, context: Any = None) -> float:
        """Return −2ℓ + 2p, Akaike's criterion."""
        log_density, _, weights = self._weighted(X, sample_weight, context)
        return float(-2 * log_density @ weights + 2 * self.n_parameters_)

    @of_ensembles("icl")
    def icl(self, X: Any, *, sample_weight: Any = None, context: Any = None) -> float:
        """Return BIC + 2 × the entropy of the posterior (Biernacki, Celeux & Govaert 2000)."""
        log_density, posterior, weights = self._weighted(X, sample_weight, context)
        entropy = -(posterior * np.log(np.where(posterior > 0, posterior, 1))).sum(axis=1) @ weights
        return self._bic(log_density, weights) + 2 * float(entropy)

    def _bic(self, log_density: np.ndarray, weights: np.ndarray) -> float:
        return float(-2 * log_density @ weights + self.n_parameters_ * np.log(weights.sum()))

    def sample(
        self, n_samples: int = 1, *, n_members: int | None = None, random_state: Any = None
    ) -> tuple[Float[np.ndarray, "n M D"], Int[np.ndarray, "n"]]:
        """Draw ensembles from the fitted mixture.

        Parameters
        ----------
        n_samples : int
            Number of ensembles.
        n_members : int, optional
            Members of each; by default as many as X had in the fit, absent ones counted.
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
        drawn = self._fitted_family.draw(parameters, labels, n_members, rng)
        drawn = drawn * self._scaling.scale + self._scaling.centre
        if self._projection is not None:
            drawn = self._projection.decode(drawn.reshape(-1, drawn.shape[2]))
            drawn = drawn.reshape(n_samples, n_members, -1)
        return drawn.astype(self._precision), labels

    # Matrices when they are asked for: of diagonal ones nothing but the diagonals is kept.

    @property
    def within_covariances_(self) -> Float[np.ndarray, "K D D"]:
        """W_k, the covariances of the members of an ensemble."""
        return dense(self._covariances[0])

    @property
    def between_covariances_(self) -> Float[np.ndarray, "K D D"]:
        """B_k, the covariances of the ensembles' centres; 0 for independent members."""
        return dense(self._covariances[1])

    @property
    def covariances_(self) -> Float[np.ndarray, "K D D"]:
        """W_k + B_k, the covariances of single members."""
        return dense(self._covariances[0] + self._covariances[1])

    # --- for subclasses -----------------------------------------------------------------------

    def _training_data(
        self, X: Any, sample_weight: Any, learn: Callable[[np.ndarray, np.ndarray, Any], Any] | None = None
    ) -> TrainingData:
        """Check what ``fit`` is given and take its moments; ``learn`` gives a projection."""
        family = self._family()
        precision = check_dtype(self.dtype)
        X = labelled(X)
        members = self._checked(X)
        n = members.shape[0]
        weights = check_weights(sample_weight, n, X)
        used = weights > 0
        dtype = members.dtype if precision is None else precision
        members = self._agreed(members, dtype)
        n, n_used = total((n, int(used.sum())))
        if n_used < self.n_components:
            where = "X" if n_used == n else "sample_weight"
            few = f"{n_used} ensembles" + ("" if n_used == n else " of a weight above 0")
            raise ValueError(
                f"{where}: {few} (n_samples={n}) are too few for {self.n_components} components; "
                "lower n_components"
            )
        check_devices(n_used)
        unit = weight_unit(weights)
        n_features = members.shape[2]
        # a projection rounds the members to ``dtype`` itself, once it has centred them
        projection = None if learn is None else learn(members, weights / unit, dtype)
        members = members if projection is None else encoded(projection, members, dtype)
        common = family.covariance.common_scale
        M, D = members.shape[1:]
        check_capacity(members.shape[0], M, D, self.n_components, family.covariance, dtype)
        form = self._form(M, D, family)
        moments, scaling = standardised_moments(
            members, weights / unit, dtype, common_scale=common, form=form
        )
        weighted = moments if used.all() else moments.take(np.flatnonzero(used))
        counts = np.asarray(weighted.counts)
        family = self._family(counts if n_processes() == 1 else gathered(np.unique(counts), 0))
        return TrainingData(X, members, n_features, projection, moments, weighted, scaling, unit, family)

    def _form(self, n_members: int, n_features: int, family: Family) -> Form:
        """Return the form of the scatters that a fit reads."""
        return form_for(n_members, n_features, diagonal=family.covariance.diagonal)

    def _agreed(self, members: np.ndarray, dtype: Any) -> np.ndarray:
        """Return the members as several processes can fit them together, of the largest number M of all."""
        if n_processes() == 1:
            return members
        own = {"init_params", "random_state", "progress", "checkpoint"}
        settings = {k: repr(v) for k, v in self.get_params(deep=False).items() if k not in own}
        data = {"X.shape[-1]": members.shape[2], "dtype": np.dtype(dtype).name}
        check_alike({"estimator": type(self).__name__} | data | settings)
        missing = largest(members.shape[1]) - members.shape[1]
        return np.pad(members, [(0, 0), (0, missing), (0, 0)], constant_values=np.nan) if missing else members

    def _checked(self, X: Any, name: str = "X") -> np.ndarray:
        """Return the members behind X, having checked their number against the model."""
        members = as_members(X, name=name)
        M = members.shape[1]
        if self._single_member and M > 1:
            raise ValueError(
                f"{name}: {type(self).__name__} takes one member per ensemble and X has {M}; pass X[:, 0], "
                f"or use {self._many_members_model} for whole ensembles"
            )
        return members

    def _validated(self, X: Any) -> np.ndarray:
        """Return the members behind X, or their codes, having checked them against the fit."""
        check_is_fitted(self)
        if self.result_ is Result.NON_FINITE:
            raise ValueError(
                f"{type(self).__name__}: the fit broke down ({self.result_.value}), and tells nothing of X"
            )
        X = labelled(X)
        if hasattr(self, "feature_names_in_"):
            if isinstance(X, Ensemble):
                X = matched(X, list(self.feature_names_in_), self._units, self.climatology_)
            if hasattr(X, "columns"):
                validate_data(self, X, skip_check_array=True, reset=False)
        if self.climatology_ is not None and not isinstance(X, Ensemble):
            raise ValueError("X: the model is one of anomalies; pass an Ensemble or DataArray with dates")
        members = self._checked(X)
        D = members.shape[2]
        if self.n_features_in_ != D:
            raise ValueError(
                f"X has {D} features, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input"
            )
        if self._projection is None:
            tell_of_unlikely(X, self._units, members, self.means_)
            return members
        return encoded(self._projection, members, self._precision)

    def _moments(self, X: Any, weights: np.ndarray | None = None, *, passes: int | None = 1) -> Moments:
        """Return the moments of new ensembles, to be gone through so often; None for many times."""
        members = self._validated(X)
        weights = np.ones(members.shape[0]) if weights is None else weights
        diagonal = self._fitted_family.covariance.diagonal
        form = form_for(*members.shape[1:], diagonal=diagonal, passes=passes)
        return moments_of(members, weights, self._scaling, self._precision, form)

    def _context_of(self, X: Any, context: Any) -> Any:
        """Return the context that is meant for X."""
        return context

    def _log_prior(self, context: Any, n: int) -> Float[np.ndarray, "K n"] | None:
        """Return log π_k(u_i), or None where the prior is the same for all ensembles."""
        if context is not None:
            raise ValueError(f"context: this {type(self).__name__} was fitted without one; pass none")
        return None

    def _weighted(
        self, X: Any, sample_weight: Any, context: Any
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        X = labelled(X)
        moments = self._moments(X)
        weights = check_weights(sample_weight, moments.n_samples, X)
        log_density, posterior = self._evaluate(moments, self._log_prior(context, moments.n_samples))
        return log_density.astype(np.float64), posterior.astype(np.float64), weights

    def _evaluate(
        self, moments: Moments, log_prior: Float[np.ndarray, "K n"] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return log densities in the units of the data, and posteriors."""
        with precision_of(self._precision):
            log_density, responsibilities = evaluate(
                self._fitted_family, self._parameters, moments, log_prior
            )
        self._check_sound(np.isfinite(log_density))
        in_data_units = log_density - np.asarray(moments.counts) * self._scaling.log_jacobian
        return in_data_units.astype(self._precision), np.ascontiguousarray(responsibilities.T)

    def _check_sound(self, sound: Bool[np.ndarray, "n"]) -> None:
        """Refuse ensembles of which a sound fit says nothing that is finite."""
        if not sound.all() and self.result_ is not Result.NON_FINITE:
            raise ValueError(
                f"X: ensemble {int(np.argmin(sound))} lies too far from all clusters for the precision "
                f"{np.dtype(self._precision)}; check its values, or fit with dtype='float64'"
            )

    def _keep(self, solution: Solution, data: "TrainingData | StreamedData") -> None:
        """Keep a solution, and give its parameters in the units of the data."""
        self.n_features_in_, self.n_members_ = data.n_features, data.n_members
        self._projection = data.projection
        if hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        if hasattr(data.X, "columns"):  # a table: scikit-learn's own validation keeps its names
            validate_data(self, data.X, skip_check_array=True, reset=True)
        elif variable_names(data.X) is not None:
            self.feature_names_in_ = np.array(variable_names(data.X), dtype=object)
        labels = data.X if isinstance(data.X, Ensemble) else None
        self._units = () if labels is None else labels.units
        self.climatology_ = None if labels is None else labels.climatology
        self._precision = data.moments.dtype
        self._scaling, self._parameters = data.scaling, solution.parameters
        self._fitted_family = data.family
        self._publish()
        shift = data.mass * data.scaling.log_jacobian
        self.log_likelihood_ = (solution.log_likelihood - shift) * data.unit
        self.n_iter_ = solution.n_iter
        self.result_ = solution.result
        self.converged_ = solution.converged
        self.history_ = {"log_likelihood": (solution.history - shift) * data.unit}
        if solution.result.alarming:
            warnings.warn(alarm(self, solution.result, data), ConvergenceWarning, stacklevel=4)

    def _publish(self) -> None:
        weights, means, within, between = (
            part.astype(self._precision) for part in in_units(self._parameters, self._scaling, DATA_UNITS)
        )
        self.weights_, self.means_ = weights, means
        self._covariances = within, between
        self.n_parameters_ = self._fitted_family.n_parameters(*means.shape)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags
