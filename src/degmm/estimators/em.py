"""Mixtures fitted by Expectation-Maximisation: GMM on one member, EGMM on whole ensembles."""

from typing import Any, Self

import numpy as np

from degmm.estimators.base import BaseMixture
from degmm.estimators.checks import check_integer, check_number, generator
from degmm.families.base import MixtureParameters
from degmm.inference.search import EMSettings, best_run, search_em
from degmm.inference.solution import Solution, reorder
from degmm.inference.starts import parameters_from_responsibilities
from degmm.moments import Moments, Scaling
from degmm.precision import precision_of


class EGMM(BaseMixture):
    """Exchangeable Gaussian mixture of whole ensembles, fitted by EM on their moments.

    Given its cluster k, an ensemble's members are independent draws from N(μ_k, W_k)
    (Jouan, Cuzol, Monbet & Monnier 2023). The members are read once; an iteration costs the same
    whatever their number.

    Parameters
    ----------
    n_components : int
        Number of clusters K.
    covariance_type : {"full", "diag", "spherical", "tied"}
        Structure of the covariances W_k.
    member_model : {"independent"}
        How members depend on each other, given the cluster.
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
    dtype : {float32, float64}, optional
        Precision; by default that of X.
    random_state : int, Generator or None
        Seed of the starts.

    Attributes
    ----------
    labels_ : ndarray of int, shape (n,)
        Cluster of each ensemble. Clusters are numbered by descending weight.
    weights_, means_ : ndarray, shapes (K,), (K, D)
        π_k and μ_k.
    within_covariances_, between_covariances_, covariances_ : ndarray, shape (K, D, D)
        W_k, B_k (0 for independent members) and their sum.
    log_likelihood_ : float
        Total log-likelihood of the training ensembles, in nats.
    n_iter_, converged_, result_ : int, bool, Result
        How the fit went; ``result_.value`` is a message.
    history_ : dict
        ``log_likelihood`` before the first M-step and after each.
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
        self.dtype = dtype
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, sample_weight: Any = None) -> Self:
        """Fit the mixture.

        Parameters
        ----------
        X : Ensemble, xarray.DataArray or array-like, shape (n, M, D)
            Ensembles; (n, D) is read as M = 1. NaN marks an absent member.
        y : None
            Ignored.
        sample_weight : array-like, shape (n,), optional
            Weights of the ensembles: weight 2 counts an ensemble twice.

        Returns
        -------
        self
        """
        family = self._family()
        settings = self._settings()
        rng = generator(self.random_state)
        members = self._validated(X, reset=True)
        moments, scaling = self._standardised(members, sample_weight)
        with precision_of(members.dtype):
            start = self._given_start(moments, scaling, settings)
            if start is None:
                solution = search_em(family, moments, settings, rng)
            else:
                solution = best_run(family, start, moments, settings)
        self._keep(_by_weight(solution), moments, scaling)
        self.labels_ = self._evaluate(moments)[1].argmax(axis=1)
        return self

    def _settings(self) -> EMSettings:
        method = self.init_params if isinstance(self.init_params, str) else "k-means++"
        return EMSettings.checked(
            n_components=check_integer("n_components", self.n_components, 1),
            n_init=check_integer("n_init", self.n_init, 1),
            method=method,
            tol=check_number("tol", self.tol, 0),
            max_iter=check_integer("max_iter", self.max_iter, 1),
            reg_covar=check_number("reg_covar", self.reg_covar, 0, open_below=True),
        )

    def _given_start(
        self, moments: Moments, scaling: Scaling, settings: EMSettings
    ) -> MixtureParameters | None:
        """Return the start that the user gave, with a first axis of length 1, if one was given."""
        given = self.init_params
        if isinstance(given, str):
            return None
        dtype = moments.mean.dtype
        K, D = self.n_components, moments.n_features
        if isinstance(given, BaseMixture):
            if not hasattr(given, "_parameters"):
                raise ValueError("init_params: the model given as a start is not fitted")
            if given.means_.shape != (K, D):
                raise ValueError(
                    f"init_params: the model given as a start has means of shape {given.means_.shape}, "
                    f"expected {(K, D)}"
                )
            return _in_units(given, scaling, dtype)
        responsibilities = np.asarray(given, dtype=dtype)
        if responsibilities.shape != (moments.n_samples, K):
            raise ValueError(
                f"init_params: responsibilities of shape {responsibilities.shape}, "
                f"expected {(moments.n_samples, K)}"
            )
        bad = ~(np.isfinite(responsibilities) & (responsibilities >= 0)).all(axis=1)
        bad |= ~(responsibilities.sum(axis=1) > 0)
        if bad.any():
            raise ValueError(
                f"init_params: responsibilities of ensemble {int(np.argmax(bad))} are not all at "
                "least 0 with a positive sum"
            )
        responsibilities = responsibilities / responsibilities.sum(axis=1, keepdims=True)
        limits = settings.limits(moments)
        return parameters_from_responsibilities(self._family(), responsibilities.T, moments, limits)


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
            dtype=dtype,
            random_state=random_state,
        )
        del self.member_model  # one member has no model of its dependence


def _by_weight(solution: Solution) -> Solution:
    order = np.argsort(-np.asarray(solution.parameters.weights), kind="stable")
    return solution._replace(parameters=reorder(solution.parameters, order))


def _in_units(model: BaseMixture, scaling: Scaling, dtype: Any) -> MixtureParameters:
    """Return a fitted model's parameters in other standard units, with a first axis of length 1."""
    old, parameters = model._scaling, model._parameters
    ratio = old.scale / scaling.scale
    squares = np.outer(ratio, ratio)
    means = np.asarray(parameters.means, np.float64) * ratio + (old.centre - scaling.centre) / scaling.scale
    parts = (parameters.weights, means, parameters.within * squares, parameters.between * squares)
    return MixtureParameters(*(np.asarray(part, dtype)[None] for part in parts))
