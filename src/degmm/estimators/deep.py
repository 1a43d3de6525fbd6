"""Mixtures fitted by a network: DGMM on one member, DEGMM on whole ensembles."""

import dataclasses
import warnings
from typing import Any, Self

import numpy as np
from jaxtyping import Float
from sklearn.exceptions import ConvergenceWarning

from degmm import nets
from degmm.estimators.checks import check_integer, check_min_weight, check_number, generator
from degmm.estimators.derived import Mixture
from degmm.inference.deep import encoder_inputs, respond
from degmm.inference.deep_fit import DeepSettings, Snapshot, fit_deep
from degmm.inference.mixture import divergence
from degmm.inference.objectives import find_objective
from degmm.inference.search import SEARCH_ITERATIONS, EMSettings
from degmm.moments import Moments, Scaling, moments_of
from degmm.nets import find_encoder
from degmm.precision import precision_of

LARGE_KL = 0.1
"""KL(γ ‖ posterior), nats an ensemble, beyond which a user is warned."""


class DEGMM(Mixture):
    """Deep exchangeable Gaussian mixture of whole ensembles.

    A network reads an ensemble and gives its cluster probabilities γ, in place of EM's E-step; the
    M-step equations turn them into the mixture's parameters; the objective is the mixture's
    log-likelihood, or the evidence lower bound, and Adam maximises it over the network's weights.

    Parameters
    ----------
    n_components : int
        Number of clusters K.
    covariance_type : {"full", "diag", "spherical", "tied"}
        Structure of the covariances W_k.
    member_model : {"independent", "shared_centre"}
        How members depend on each other, given the cluster; see :class:`EGMM`.
    encoder : {"moments", "mlp"}
        What the network reads: the moments of the members (any number of them, in any order), or
        the members laid end to end as in the original (their number fixed, their order seen).
    hidden : tuple of int
        Widths of the hidden layers.
    objective : {"elbo", "likelihood"}
        ``"elbo"`` is largest where the parameters have maximum likelihood *and* γ is their exact
        posterior; ``"likelihood"``, the original's, leaves γ free.
    penalty : float
        λ of a penalty λ Σ_k tr W_k on the loss a member, in standard units; for ``"likelihood"`` only.
    max_epochs : int
        Number of passes over the data.
    learning_rate : float
        Adam's rate at the start; it falls to 0 along a cosine.
    warmup : float
        Share of the epochs in which the network first learns the best of ``n_init`` partitions.
    n_init : int
        Number of k-means++ partitions tried (each with a few EM steps) for that start.
    init_params : {"k-means++", "random"}
        How the partitions are seeded.
    polish : int
        Exact EM steps after training, which never lower the likelihood; 0 for none.
    reg_covar : float
        Smallest eigenvalue of a covariance, in units in which each variable has variance 1.
    min_weight : float, optional
        Smallest weight of a component; by default that of a tenth of one ensemble.
    snapshots : int
        At how many epochs, spread evenly on a log scale, to keep the parameters and labels in
        ``snapshots_``, for an animation.
    progress : bool
        Whether to show the progress of training.
    dtype : {float32, float64}, optional
        Precision; by default that of X.
    random_state : int, Generator or None
        Seed.

    Attributes
    ----------
    labels_ : ndarray of int, shape (n,)
        Cluster of each ensemble by the network. Clusters are numbered by descending weight.
    weights_, means_, within_covariances_, between_covariances_, covariances_ : ndarray
        Parameters, as in :class:`EGMM`.
    kl_ : float
        KL(γ ‖ exact posterior), nats an ensemble: how exact the network is.
    log_likelihood_ : float
        Total log-likelihood of the training ensembles, in nats.
    history_ : dict
        ``loss`` (a member), ``log_likelihood`` (total) and ``kl`` (an ensemble), by epoch.
    n_iter_, converged_ : int, bool
        Epochs, and whether all of them stayed finite.
    result_, n_parameters_ : Result, int
        As in :class:`EGMM`; ``n_parameters_`` counts the mixture's parameters, not the network's.

    Examples
    --------
    >>> from degmm import DEGMM, datasets
    >>> X, labels, truth = datasets.make_exchangeable_mixture(n=300, M=10, D=2, K=3, seed=1)
    >>> model = DEGMM(n_components=3, max_epochs=100, random_state=0).fit(X)
    >>> model.predict_proba(X[:, :5]).shape
    (300, 3)
    """

    _many_members_model = "DEGMM"

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: str = "full",
        member_model: str = "independent",
        encoder: str = "moments",
        hidden: tuple[int, ...] = (32,),
        objective: str = "elbo",
        penalty: float = 0.0,
        max_epochs: int = 1000,
        learning_rate: float = 1e-2,
        warmup: float = 0.1,
        n_init: int = 64,
        init_params: str = "k-means++",
        polish: int = 10,
        reg_covar: float = 1e-6,
        min_weight: float | None = None,
        snapshots: int = 0,
        progress: bool = False,
        dtype: Any = None,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.member_model = member_model
        self.encoder = encoder
        self.hidden = hidden
        self.objective = objective
        self.penalty = penalty
        self.max_epochs = max_epochs
        self.learning_rate = learning_rate
        self.warmup = warmup
        self.n_init = n_init
        self.init_params = init_params
        self.polish = polish
        self.reg_covar = reg_covar
        self.min_weight = min_weight
        self.snapshots = snapshots
        self.progress = progress
        self.dtype = dtype
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, sample_weight: Any = None) -> Self:
        """Train the network.

        Parameters
        ----------
        X : Ensemble, xarray.DataArray or array-like, shape (n, M, D)
            Ensembles; (n, D) is read as M = 1. NaN marks an absent member.
        y : None
            Ignored.
        sample_weight : array-like, shape (n,), optional
            Weights of the ensembles.

        Returns
        -------
        self
        """
        settings = self._settings()
        rng = generator(self.random_state)
        data = self._training_data(X, sample_weight)
        dtype = data.moments.mean.dtype
        reader = find_encoder(settings.encoder)
        read = self._members_read(data.members, data.scaling, dtype) if reader.needs_members else None
        fixed_members = None if read is None else read.shape[1]
        D = data.moments.n_features
        sizes = nets.EncoderSizes(D, self.n_components, fixed_members, tuple(self.hidden))
        used = data.moments.weights > 0
        inputs = encoder_inputs(data.weighted, None if read is None else read[used])
        with precision_of(dtype):
            fitted = fit_deep(data.family, data.weighted, inputs, sizes, settings, rng)
        self._network, self._sizes, self._order = fitted.network, sizes, fitted.order
        self._prior, self._encoder = fitted.prior, settings.encoder
        self._keep(fitted.solution, data)
        epochs = fitted.history
        members = np.asarray(data.moments.weights, np.float64) @ data.moments.counts
        offset = data.scaling.log_jacobian
        # Warm-up losses are cross-entropies, which know no units.
        objective_epochs = np.arange(len(epochs)) >= settings.warmup
        self.history_ = {
            "loss": epochs[:, 0] + np.where(objective_epochs, offset, 0),
            "log_likelihood": (epochs[:, 1] - offset) * members * data.unit,
            "kl": epochs[:, 2],
        }
        gamma = self._respond(data.moments, read)
        self.labels_ = gamma.argmax(axis=1)
        self.kl_ = divergence(gamma, self._evaluate(data.moments)[1], np.asarray(data.moments.weights))
        self.snapshots_ = [self._in_data_units(s) for s in fitted.snapshots]
        if self.kl_ > LARGE_KL:
            warnings.warn(
                f"{type(self).__name__}: the network's probabilities are {self.kl_:.2g} nats an ensemble "
                "from the exact posterior; use posterior(X), or train for longer (max_epochs)",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def predict_proba(self, X: Any) -> Float[np.ndarray, "n K"]:
        """Return the network's cluster probabilities γ for each ensemble, shape (n, K).

        One forward pass; :meth:`posterior` gives the exact ones of the fitted parameters.
        """
        members = self._validated(X)
        moments = moments_of(members, np.ones(members.shape[0]), self._scaling, self._precision)
        read = None
        if self._sizes.n_members is not None:
            if members.shape[1] != self._sizes.n_members:
                raise ValueError(
                    f"X: encoder={self._encoder!r} was trained on {self._sizes.n_members} members and X "
                    f"has {members.shape[1]}; use encoder='moments', which takes any number"
                )
            read = self._members_read(members, self._scaling, self._precision)
        return self._respond(moments, read)

    def _respond(self, moments: Moments, read: np.ndarray | None) -> np.ndarray:
        inputs = encoder_inputs(moments, read)
        with precision_of(self._precision):
            graph = nets.structure(self._encoder, self._sizes)
            gamma = respond(graph, self._network, np.log(self._prior), inputs)
        return np.asarray(gamma)[: moments.n_samples, self._order]

    def _members_read(self, members: np.ndarray, scaling: Scaling, dtype: Any) -> np.ndarray:
        """Return the members in standard units, for an encoder that reads them."""
        if np.isnan(members).any():
            raise ValueError(
                f"X: encoder={getattr(self, 'encoder', None)!r} needs every member and some are absent "
                "(NaN); use encoder='moments'"
            )
        return ((members - scaling.centre) / scaling.scale).astype(dtype)

    def _settings(self) -> DeepSettings:
        encoder = getattr(self, "encoder", "moments")
        find_encoder(encoder)
        if not isinstance(self.hidden, tuple | list) or not self.hidden:
            raise ValueError(f"hidden: expected a tuple of layer widths such as (32,), got {self.hidden!r}")
        for width in self.hidden:
            check_integer("hidden", width, 1)
        max_epochs = check_integer("max_epochs", self.max_epochs, 1)
        warmup = check_number("warmup", self.warmup, 0)
        if warmup > 1:
            raise ValueError(f"warmup: expected a share of the epochs between 0 and 1, got {warmup}")
        objective = find_objective(self.objective)
        penalty = check_number("penalty", self.penalty, 0)
        if penalty > 0 and not objective.through_m_step:
            raise ValueError(f"penalty: has no effect with objective={self.objective!r}; use 'likelihood'")
        start = EMSettings.checked(
            n_components=check_integer("n_components", self.n_components, 1),
            n_init=check_integer("n_init", self.n_init, 1),
            method=self.init_params,
            tol=0.0,
            max_iter=max(SEARCH_ITERATIONS, check_integer("polish", self.polish, 0)),
            reg_covar=check_number("reg_covar", self.reg_covar, 0, open_below=True),
            min_weight=check_min_weight(self.min_weight, self.n_components),
        )
        return DeepSettings(
            start=start,
            encoder=encoder,
            objective=objective,
            penalty=penalty,
            max_epochs=max_epochs,
            warmup=round(warmup * max_epochs),
            learning_rate=check_number("learning_rate", self.learning_rate, 0, open_below=True),
            polish=self.polish,
            snapshots=check_integer("snapshots", self.snapshots, 0),
            progress=bool(self.progress),
        )

    def _get_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        arrays, facts = super()._get_state()
        arrays |= nets.to_arrays(self._network, "network.")
        arrays |= {"prior": self._prior, "order": self._order}
        more = {"sizes": dataclasses.asdict(self._sizes), "kl": self.kl_, "encoder": self._encoder}
        return arrays, {**facts, **more}

    def _set_state(self, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> None:
        super()._set_state(arrays, facts)
        sizes = facts["sizes"]
        self._sizes = nets.EncoderSizes(**{**sizes, "hidden": tuple(sizes["hidden"])})
        self._encoder = facts["encoder"]
        shapes = nets.template(self._encoder, self._sizes)
        self._network = nets.from_arrays(shapes, arrays, "network.")
        self._prior, self._order, self.kl_ = arrays["prior"], arrays["order"], float(facts["kl"])
        self.snapshots_ = []

    def _in_data_units(self, snapshot: Snapshot) -> Snapshot:
        scale = self._scaling.scale
        return snapshot._replace(
            means=snapshot.means * scale + self._scaling.centre,
            covariances=snapshot.covariances * np.outer(scale, scale),
        )


class DGMM(DEGMM):
    """Deep Gaussian mixture of single members: the deep exchangeable mixture at M = 1.

    The parameters, attributes and methods are those of :class:`DEGMM`, without the choices that
    one member does not leave; X is (n, D) or (n, 1, D).
    """

    _single_member = True

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: str = "full",
        hidden: tuple[int, ...] = (32,),
        objective: str = "elbo",
        penalty: float = 0.0,
        max_epochs: int = 1000,
        learning_rate: float = 1e-2,
        warmup: float = 0.1,
        n_init: int = 64,
        init_params: str = "k-means++",
        polish: int = 10,
        reg_covar: float = 1e-6,
        min_weight: float | None = None,
        snapshots: int = 0,
        progress: bool = False,
        dtype: Any = None,
        random_state: Any = None,
    ) -> None:
        super().__init__(
            n_components,
            covariance_type=covariance_type,
            hidden=hidden,
            objective=objective,
            penalty=penalty,
            max_epochs=max_epochs,
            learning_rate=learning_rate,
            warmup=warmup,
            n_init=n_init,
            init_params=init_params,
            polish=polish,
            reg_covar=reg_covar,
            min_weight=min_weight,
            snapshots=snapshots,
            progress=progress,
            dtype=dtype,
            random_state=random_state,
        )
        del self.member_model, self.encoder  # one member leaves no choice of these
