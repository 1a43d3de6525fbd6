"""Mixtures fitted by Expectation-Maximisation: GMM on one member, EGMM on whole ensembles."""

from typing import Any, Self

import numpy as np
from sklearn.base import clone

from degmm.ensembles import labelled
from degmm.ensembles.blocks import as_blocks
from degmm.estimators.base import BaseMixture, TrainingData
from degmm.estimators.bootstrap import PARAMETERS, Bootstrap
from degmm.estimators.checks import (
    check_integer,
    check_min_weight,
    check_number,
    check_responsibilities,
    check_weights,
    generator,
)
from degmm.estimators.derived import Mixture
from degmm.estimators.streaming import StreamedData, streamed_data
from degmm.families.base import Family, MixtureParameters, in_units
from degmm.families.covariance import dense
from degmm.inference.bootstrap import bootstrap_parameters
from degmm.inference.large import some_of
from degmm.inference.mixture import evaluate
from degmm.inference.search import EMSettings, best_run, search_em
from degmm.inference.solution import Solution, reorder
from degmm.inference.starts import admitted, parameters_from_responsibilities
from degmm.moments import Moments, moments_of, weight_unit
from degmm.precision import precision_of
from degmm.processes import from_first, need_one_process, together
from degmm.scaling import DATA_UNITS
from degmm.scatter import Variances
from degmm.wording import counted


class EGMM(Mixture):
    """Exchangeable Gaussian mixture of whole ensembles, fitted by EM on their moments.

    Given its cluster k, an ensemble's members are independent draws from N(μ_k, W_k)
    (Jouan, Cuzol, Monbet & Monnier 2023), or from N(c_i, W_k) with a centre c_i ~ N(μ_k, B_k) that
    they share (``member_model="shared_centre"``), which is what forecasts look like. The members are
    read once; an iteration costs the same whatever their number.

    Parameters
    ----------
    n_components : int
        Number of clusters K.
    covariance_type : {"full", "diag", "spherical", "tied"}
        Structure of the covariances W_k.
    member_model : {"independent", "shared_centre"}
        How members depend on each other, given the cluster: not at all, or by a centre that they
        share, drawn from N(μ_k, B_k), about which they scatter with covariance W_k.
    n_init : int
        Number of starts. Each is run for a few iterations, the best few to convergence, and the
        best of these is kept, so that many starts are cheap.
    init_params : {"k-means++", "random"}, array of shape (n, K), or a fitted model
        Where to start: seeds by k-means++ on the standardised moments or at random; or given
        responsibilities, or the parameters of a fitted model, which are then the only start.
    tol : float
        EM stops when the mean log-likelihood of an ensemble rises by less; 0 runs all iterations.
    max_iter : int
        Largest number of M-steps.
    reg_covar : float
        Smallest eigenvalue of a covariance, in units in which each variable has variance 1.
    min_weight : float, optional
        Smallest weight of a component; by default that of a tenth of one ensemble. A component that
        loses all its ensembles stays at it, with its last mean and covariance, and ``result_`` says so.
    dtype : {float32, float64}, optional
        Precision; by default that of X.
    random_state : int, Generator or None
        Seed of the starts.

    Attributes
    ----------
    labels_ : ndarray of int, shape (n,)
        Cluster of each ensemble, in small integers after a fit to blocks whose moments were not in
        memory, and not there after a fit of more than 2²⁸ ensembles on a cluster, where ``predict``
        gives them. Clusters are numbered by descending weight.
    weights_, means_ : ndarray, shapes (K,), (K, D)
        π_k and μ_k.
    within_covariances_, between_covariances_, covariances_ : ndarray, shape (K, D, D)
        W_k, B_k (0 for independent members) and their sum, the covariance of a single member.
    log_likelihood_ : float
        Total log-likelihood of the training ensembles, in nats.
    n_iter_, converged_, result_ : int, bool, Result
        How the last run of EM went, the one that was kept; ``result_.value`` is a message.
    history_ : dict
        ``log_likelihood`` of that run, before its first M-step and after each.
    n_parameters_ : int
        Number of free parameters.

    Examples
    --------
    >>> from degmm import EGMM, datasets
    >>> X, labels, truth = datasets.make_exchangeable_mixture(n=300, M=10, D=2, K=3, seed=1)
    >>> model = EGMM(n_components=3, random_state=0).fit(X)
    >>> model.predict(X[:5]).shape, model.score_samples(X[:5]).shape
    ((5,), (5,))
    """

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: str = "full",
        member_model: str = "independent",
        n_init: int = 64,
        init_params: Any = "k-means++",
        tol: float = 1e-5,
        max_iter: int = 1000,
        reg_covar: float = 1e-6,
        min_weight: float | None = None,
        dtype: Any = None,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.member_model = member_model
        self.n_init = n_init
        self.init_params = init_params
        self.tol = tol
        self.max_iter = max_iter
        self.reg_covar = reg_covar
        self.min_weight = min_weight
        self.dtype = dtype
        self.random_state = random_state

    @together
    def fit(self, X: Any, y: Any = None, *, sample_weight: Any = None) -> Self:
        """Fit the mixture.

        Parameters
        ----------
        X : Ensemble, xarray.DataArray or array-like, shape (n, M, D)
            Ensembles; (n, D) is read as M = 1. NaN marks an absent member.

            Or blocks of them, of which one is in memory at a time (docs/scaling.md): an iterable of
            arrays (n_b, M_b, D) or ``Ensemble``s, which is gone through once; a Dask array, a DataArray
            on one, or what ``read_ensemble`` returns with ``chunks``. Where a ``distributed.Client`` is
            at work, Dask's chunks are read by its workers, who keep the moments. The precision is that
            of the first block.
        y : None
            Ignored.
        sample_weight : array-like, shape (n,), optional
            Weights of the ensembles: weight 2 counts an ensemble twice.

        Returns
        -------
        self
        """
        settings = self._settings()
        rng = from_first(generator(self.random_state))
        blocks = as_blocks(X)
        data: TrainingData | StreamedData
        if blocks is None:
            data = self._training_data(X, sample_weight)
        else:
            data = streamed_data(self, blocks, sample_weight)
        with precision_of(data.moments.dtype):
            start = self._given_start(data, settings)
            if start is None:
                solution = search_em(data.family, data.weighted, settings, rng)
            else:
                solution = best_run(data.family, from_first(start), data.weighted, settings)
        self._keep(_by_weight(solution), data)
        self._label(data)
        return self

    def _label(self, data: TrainingData | StreamedData) -> None:
        """Keep the clusters of the ensembles of the fit, in their order."""
        if isinstance(data.moments, Moments):
            self.labels_ = self._evaluate(data.moments)[1].argmax(axis=1)
            return
        labels = data.moments.labels(self._fitted_family, self._parameters)
        if labels is None:  # too many
            self.__dict__.pop("labels_", None)
            return
        if isinstance(data, StreamedData) and data.order is not None:
            labels = labels[np.argsort(data.order)]
        self.labels_ = labels

    def _settings(self) -> EMSettings:
        method = self.init_params if isinstance(self.init_params, str) else "k-means++"
        return EMSettings.checked(
            n_components=check_integer("n_components", self.n_components, 1),
            n_init=check_integer("n_init", self.n_init, 1),
            method=method,
            tol=check_number("tol", self.tol, 0),
            max_iter=check_integer("max_iter", self.max_iter, 1),
            reg_covar=check_number("reg_covar", self.reg_covar, 0, open_below=True),
            min_weight=check_min_weight(self.min_weight, self.n_components),
        )

    def _given_start(
        self, data: TrainingData | StreamedData, settings: EMSettings
    ) -> MixtureParameters | None:
        """Return the start that the user gave, with a first axis of length 1, if one was given."""
        given = self.init_params
        if isinstance(given, str):
            return None
        K, D = self.n_components, data.moments.n_features
        limits = settings.limits(data.weighted)
        if isinstance(given, BaseMixture):
            if not hasattr(given, "_parameters"):
                raise ValueError("init_params: the model given as a start is not fitted")
            if given.means_.shape != (K, D):
                raise ValueError(
                    f"init_params: the model given as a start has means of shape {given.means_.shape}, "
                    f"expected {(K, D)}"
                )
            parameters = in_units(given._parameters, given._scaling, data.scaling)
            parameters = MixtureParameters(*(p.astype(data.moments.dtype) for p in parameters))
            fitted, wanted = given._fitted_family, data.family
            if (fitted.shares_centre, fitted.covariance) == (wanted.shares_centre, wanted.covariance):
                return admitted(parameters, limits)
            # Another family's parameters are no start of this one; the clusters that they find are.
            weighted = some_of(data.weighted)
            whole = self._for_covariances(fitted, data, weighted)
            responsibilities = evaluate(fitted, parameters, whole)[1]
        elif not (isinstance(data.moments, Moments) and isinstance(data.weighted, Moments)):
            raise ValueError(
                "init_params: responsibilities are no start where the moments are not in memory; pass a "
                "model fitted to some of the ensembles"
            )
        else:
            weighted = data.weighted
            responsibilities = check_responsibilities(given, data.moments.n_samples, K)
            responsibilities = responsibilities[data.moments.weights > 0].T
        responsibilities = responsibilities.astype(data.moments.dtype)
        return parameters_from_responsibilities(data.family, responsibilities, weighted, limits)

    @staticmethod
    def _for_covariances(fitted: Family, data: TrainingData | StreamedData, weighted: Moments) -> Moments:
        """Return the moments with scatters that a given model's covariances need, in the fit's units.

        Where the fit itself needs no more than variances, they are made of the members anew.
        """
        if fitted.covariance.diagonal or not isinstance(weighted.scatter, Variances):
            return weighted
        if not isinstance(data, TrainingData):
            raise ValueError(
                f"init_params: of blocks, a {data.family.covariance.name} model reads variances alone, and "
                f"the given one has {fitted.covariance.name} covariances; give one with "
                f"covariance_type={data.family.covariance.name!r}"
            )
        weights = np.asarray(data.moments.weights, np.float64)
        moments = moments_of(data.members, weights, data.scaling, data.moments.dtype)
        return moments.take(np.flatnonzero(weights > 0))

    def bootstrap(
        self,
        X: Any,
        n: int = 200,
        *,
        block_length: int = 1,
        sample_weight: Any = None,
        random_state: Any = None,
    ) -> Bootstrap:
        """Return how the parameters vary over fits to resampled ensembles.

        Ensembles are drawn with replacement, and EM runs on them from this fit. Components of the
        replicates are matched to those of the fit.

        Parameters
        ----------
        X : Ensemble, xarray.DataArray or array-like, shape (n, M, D)
            The ensembles that the model was fitted to.
        n : int
            Number of replicates.
        block_length : int
            Number of consecutive cases that are drawn together, for cases that follow each other
            in time and are not independent (the circular block bootstrap).
        sample_weight : array-like, shape (n,), optional
            Weights of the ensembles.
        random_state : int, Generator or None
            Seed.

        Returns
        -------
        Bootstrap
            With ``replicates``, ``standard_errors`` and ``interval(level)``.
        """
        need_one_process("bootstrap", "call it in one process, outside degmm.devices")
        n = check_integer("n", n, 2)
        X = labelled(X)
        moments = self._moments(X, passes=None)
        block_length = check_integer("block_length", block_length, 1)
        weights = check_weights(sample_weight, moments.n_samples, X)
        used = np.flatnonzero(weights > 0)
        weights = weights / weight_unit(weights)
        moments = moments._replace(weights=weights.astype(self._precision)).take(used)
        if used.size < self.n_components:
            raise ValueError(
                f"X: {counted(used.size, 'ensemble')} of positive weight are too few for "
                f"{self.n_components} components; pass the ensembles of the fit"
            )
        if 2 * block_length > used.size:
            raise ValueError(
                f"block_length: {block_length} is more than half of the {used.size} ensembles; "
                "several blocks must fit, or the replicates are all alike"
            )
        family = self._family(np.asarray(moments.counts))
        with precision_of(self._precision):
            found = bootstrap_parameters(
                family,
                self._parameters,
                moments,
                self._settings(),
                n,
                block_length,
                generator(random_state),
            )
        parts = in_units(found, self._scaling, DATA_UNITS)
        matrices = [dense(part, family.covariance) for part in parts[2:]]
        parts = MixtureParameters(*parts[:2], *matrices)
        return Bootstrap(dict(zip(PARAMETERS, parts, strict=True)))

    def __sklearn_clone__(self) -> Self:
        # scikit-learn would clone a fitted model given as a start, and so take its fit away.
        parameters = {name: clone(value, safe=False) for name, value in self.get_params(deep=False).items()}
        return type(self)(**{**parameters, "init_params": self.init_params})


class GMM(EGMM):
    """Gaussian mixture of single members, fitted by EM: the exchangeable mixture at M = 1.

    The parameters, attributes and methods are those of :class:`EGMM`; X is (n, D) or (n, 1, D).

    Examples
    --------
    >>> from degmm import GMM, datasets
    >>> X, labels, truth = datasets.make_exchangeable_mixture(n=300, M=10, D=2, K=3, seed=1)
    >>> GMM(n_components=3, random_state=0).fit(X[:, 0]).means_.shape
    (3, 2)
    """

    _single_member = True

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: str = "full",
        n_init: int = 64,
        init_params: Any = "k-means++",
        tol: float = 1e-5,
        max_iter: int = 1000,
        reg_covar: float = 1e-6,
        min_weight: float | None = None,
        dtype: Any = None,
        random_state: Any = None,
    ) -> None:
        super().__init__(
            n_components,
            covariance_type=covariance_type,
            n_init=n_init,
            init_params=init_params,
            tol=tol,
            max_iter=max_iter,
            reg_covar=reg_covar,
            min_weight=min_weight,
            dtype=dtype,
            random_state=random_state,
        )
        del self.member_model  # one member has no model of its dependence


def _by_weight(solution: Solution) -> Solution:
    order = np.argsort(-np.asarray(solution.parameters.weights), kind="stable")
    return solution._replace(parameters=reorder(solution.parameters, order))
