"""The deep mixture of whole ensembles, DEGMM: a network in place of the E-step."""

import dataclasses
import hashlib
import os
import warnings
from numbers import Integral
from pathlib import Path
from typing import Any, Self

import numpy as np
from jaxtyping import Float
from sklearn.exceptions import ConvergenceWarning

from degmm import nets
from degmm.ensembles import ContextRecipe, labelled
from degmm.ensembles.context import named_context
from degmm.estimators.base import TrainingData
from degmm.estimators.checks import (
    check_context,
    check_integer,
    check_min_weight,
    check_number,
    check_share,
    check_widths,
    generator,
)
from degmm.estimators.context_units import context_scaling, scaled_context
from degmm.estimators.deep_data import members_seen, split_off
from degmm.estimators.derived import Mixture
from degmm.estimators.labels import context_given, of_ensembles, recipe_facts, restored_recipe, with_labels
from degmm.estimators.projected import Projected
from degmm.families import Family
from degmm.inference.batches import Ensembles
from degmm.inference.checkpoints import Checkpoints
from degmm.inference.deep_fit import DeepFit, DeepSettings, Snapshot, fit_deep
from degmm.inference.finish import responsibilities
from degmm.inference.mixture import divergence
from degmm.inference.objectives import find_objective
from degmm.inference.responses import prior_of
from degmm.inference.search import SEARCH_ITERATIONS, EMSettings
from degmm.inference.solution import Result
from degmm.moments import moments_of
from degmm.nets import find_encoder
from degmm.precision import precision_of
from degmm.processes import check_alike, from_first, need_one_process, together, total
from degmm.scaling import Scaling
from degmm.scatter import Form, form_for

CONTEXT_ARRAYS = ("context.centre", "context.scale")
LARGE_KL = 0.1
"""KL(γ ‖ posterior), nats per ensemble, beyond which a user is warned."""


class DEGMM(Projected, Mixture):
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
    projection : {"linear", "autoencoder"}, optional
        Learned map of each member to a code of ``latent_dim`` numbers, for members of many variables,
        such as fields on a grid: principal components, or an autoencoder that starts from them. The
        mixture is then one of codes: so are ``means_`` and the covariances, densities and criteria
        (those of two models compare only if they share the projection), and :meth:`decode` gives the
        members that codes stand for.
    latent_dim : int, optional
        Numbers in a code; with a projection only.
    encoder : {"moments", "deep_sets", "set_transformer", "mlp"}, or a flax module's class
        What the network reads: the moments of the members; beside them features of each member,
        averaged over them; or what the members find in each other by attention. These take any
        number of members in any order. ``"mlp"`` reads the members laid end to end, as the original
        did: their order is seen, and there may be no more of them than in the fit. A class of your
        own is made as ``encoder(sizes, rngs=rngs)``; see :class:`degmm.nets.Encoder`.
    hidden : tuple of int
        Widths of the hidden layers, those of an autoencoder too.
    objective : {"elbo", "likelihood"}
        ``"elbo"`` is largest where the parameters have maximum likelihood *and* γ is their exact
        posterior; ``"likelihood"``, the original's, leaves γ free.
    penalty : float
        λ of a penalty λ Σ_k tr W_k on the loss per member, in standard units; for ``"likelihood"`` only.
    max_epochs : int
        Number of passes over the data.
    batch_size : int, optional
        Ensembles in a batch. By default a step sees all of them; with batches the statistics of the
        M-step are averaged over the steps, and those of all ensembles settle the parameters at the end.
    learning_rate : float
        Adam's rate at the start; it falls to 0 along a cosine.
    clip_norm : float
        Largest norm of a gradient; longer ones are shortened to it.
    warmup : float
        Share of the epochs in which the network first learns the clusters that training starts from.
    n_init : int
        Number of starts of the search for those clusters, which is that of :class:`EGMM` on at most
        8192 ensembles.
    init_params : {"k-means++", "random"}
        How the starts are seeded.
    n_networks : int
        Networks that are trained side by side, from different initial weights; the best is kept.
    member_subsets : int
        In how many random subsets of its members the network also sees each ensemble, so that it
        learns to assign ensembles of fewer; 0 for none.
    validation_fraction : float
        Share of the ensembles, drawn at random, that are kept out of the training; the network that
        is best on them is kept. 0 for none.
    patience : int
        Epochs without a better objective on those ensembles after which training stops.
    polish : int
        Exact EM steps after training, which never lower the likelihood; 0 for none.
    reg_covar : float
        Smallest eigenvalue of a covariance, in units in which each variable has variance 1.
    min_weight : float, optional
        Smallest weight of a component; by default that of a tenth of one ensemble.
    snapshots : int
        At how many epochs, spread evenly on a log scale, to keep the parameters and labels in
        ``snapshots_``, for an animation.
    checkpoint : str or Path, optional
        Folder for the states of the training. Where it holds some, of the same training on the same
        data, the fit goes on from the last, and ends as if it had never been stopped.
    checkpoint_every : int
        Epochs between two states.
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
        KL(γ ‖ exact posterior), nats per ensemble: how exact the network is.
    log_likelihood_ : float
        Total log-likelihood of the training ensembles, in nats.
    history_ : dict
        ``loss`` (per member), ``log_likelihood`` (total) and ``kl`` (per ensemble), by epoch of the
        training, before the polish (with batches, means over the steps of an epoch, each under the
        parameters of its step); with a validation set also its ``validation`` objective (per member).
    n_iter_, converged_ : int, bool
        Epochs, and whether all of them stayed finite.
    result_, n_parameters_ : Result, int
        As in :class:`EGMM`; ``n_parameters_`` counts the mixture's parameters, not the encoder's. With
        context those of the prior's network are part of the mixture, and are counted.

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
        projection: str | None = None,
        latent_dim: int | None = None,
        encoder: Any = "moments",
        hidden: tuple[int, ...] = (32,),
        objective: str = "elbo",
        penalty: float = 0.0,
        max_epochs: int = 1000,
        batch_size: int | None = None,
        learning_rate: float = 2e-2,
        clip_norm: float = 10.0,
        warmup: float = 0.1,
        n_init: int = 64,
        init_params: str = "k-means++",
        n_networks: int = 1,
        member_subsets: int = 0,
        validation_fraction: float = 0.0,
        patience: int = 100,
        polish: int = 10,
        reg_covar: float = 1e-6,
        min_weight: float | None = None,
        snapshots: int = 0,
        checkpoint: Any = None,
        checkpoint_every: int = 50,
        progress: bool = False,
        dtype: Any = None,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.member_model = member_model
        self.projection = projection
        self.latent_dim = latent_dim
        self.encoder = encoder
        self.hidden = hidden
        self.objective = objective
        self.penalty = penalty
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.clip_norm = clip_norm
        self.warmup = warmup
        self.n_init = n_init
        self.init_params = init_params
        self.n_networks = n_networks
        self.member_subsets = member_subsets
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.polish = polish
        self.reg_covar = reg_covar
        self.min_weight = min_weight
        self.snapshots = snapshots
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.progress = progress
        self.dtype = dtype
        self.random_state = random_state

    _context_scaling: Scaling | None = None

    @together
    def fit(self, X: Any, y: Any = None, *, sample_weight: Any = None, context: Any = None) -> Self:
        """Train the network.

        Parameters
        ----------
        X : Ensemble, xarray.DataArray or array-like, shape (n, M, D)
            Ensembles; (n, D) is read as M = 1. NaN marks an absent member.
        y : None
            Ignored.
        sample_weight : array-like, shape (n,), optional
            Weights of the ensembles.
        context : array-like, shape (n, C), or names, optional
            What is known of each ensemble beside its members. Of an Ensemble or DataArray it can be
            made of coordinates: ``"season"`` (sine and cosine of the day of the year), names of
            coordinates, or a list of these; new ensembles then get theirs likewise. The prior of the
            clusters then depends on it, π_k(u), and the network reads it; it must be given to all
            that is asked of ensembles. On few ensembles it can learn what is chance: compare held-out
            scores, or use ``validation_fraction``. What is asked of no ensemble (``sample``,
            ``marginal``, ``conditional``) takes the average prior, ``weights_``.

        Returns
        -------
        self
        """
        settings = self._settings()
        rng = from_first(generator(self.random_state))
        held_out = check_share("validation_fraction", self.validation_fraction, below=1)
        X = labelled(X)
        names = named_context(context)
        recipe = None if names is None else ContextRecipe.fit(with_labels(X), names)
        context = context_given(X, context, recipe)
        if self.projection is not None:
            need_one_process(f"projection={self.projection!r}", "fit codes that all processes have in common")
        if self.checkpoint is not None:
            need_one_process("checkpoint", "use checkpoint=None")
        data = self._training_data(X, sample_weight, self._learn_projection(rng))
        n, M, D = data.members.shape
        given = None if context is None else check_context(context, n)
        columns = None if given is None else given.shape[1]
        check_alike({"context": columns if recipe is None else (columns, recipe_facts(recipe))})
        units = None if given is None else context_scaling(given, data.moments.weights)
        sizes = nets.EncoderSizes(D, self.n_components, M, tuple(self.hidden), columns or 0)
        precision = data.moments.mean.dtype
        scaled = None if units is None else scaled_context(given, units, precision)
        seen = members_seen(data.members, settings.encoder, sizes)
        whole = Ensembles(data.moments, data.scaling, seen, None, scaled)
        used = np.flatnonzero(data.moments.weights > 0)
        training, validation = split_off(used, held_out, self.n_components, rng)
        with precision_of(precision):
            fitted = fit_deep(
                data.family,
                whole.take(training) if training.size < n else whole,
                data.members[training] if training.size < n else data.members,
                None if validation is None else whole.take(validation),
                whole,
                sizes,
                settings,
                rng,
                self._checkpoints(data, given),
            )
        self._make, self._sizes, self._context_scaling = settings.encoder, sizes, units
        self._recipe = recipe
        self._network, self._order = fitted.network, fitted.order
        self._reference, self._prior = fitted.reference, fitted.prior
        self._keep(fitted.solution, data)
        self._keep_history(fitted, data)
        gamma = self._respond(whole)
        self.labels_ = gamma.argmax(axis=1)
        log_density, posterior = self._evaluate(data.moments, self._log_prior(context, n))
        weights = np.asarray(data.moments.weights, np.float64)
        kl = divergence(gamma, posterior, weights) if np.isfinite(gamma).all() else float("nan")
        self.log_likelihood_ = total(float(weights @ log_density.astype(np.float64))) * data.unit
        self.kl_ = float(total(kl * (weights.sum() / total(weights.sum()))))
        self.snapshots_ = [self._in_data_units(s) for s in fitted.snapshots]
        if self.kl_ > LARGE_KL:
            warnings.warn(
                f"{type(self).__name__}: the network's probabilities are {self.kl_:.2g} nats per ensemble "
                "from the exact posterior; use posterior(X), or train for longer (max_epochs)",
                ConvergenceWarning,
                stacklevel=3,
            )
        return self

    def _publish(self) -> None:
        super()._publish()
        self.n_parameters_ += nets.gate_size(self._make, self._sizes)

    def _checkpoints(self, data: TrainingData, context: np.ndarray | None) -> Checkpoints:
        every = check_integer("checkpoint_every", self.checkpoint_every, 1)
        if self.checkpoint is None:
            return Checkpoints(None, every, "")
        if not isinstance(self.checkpoint, str | os.PathLike) or not str(self.checkpoint):
            raise ValueError(f"checkpoint: expected the path of a folder, got {self.checkpoint!r}")
        if not isinstance(self.random_state, Integral):
            raise ValueError(
                f"random_state: expected an integer with checkpoint={str(self.checkpoint)!r}, so that the "
                f"training can be repeated; got {self.random_state!r}"
            )
        digest = hashlib.sha256()
        for part in (*data.moments, *data.scaling, context):
            digest.update(b"" if part is None else np.ascontiguousarray(part).tobytes())
        # A list of what changes nothing; whatever else is added to the arguments counts.
        free = {"checkpoint", "checkpoint_every", "progress", "snapshots", "polish"}
        settings = {
            name: getattr(value, "__qualname__", repr(value))
            for name, value in sorted(self.get_params(deep=False).items())
            if name not in free
        }
        digest.update(repr((settings, type(self).__name__)).encode())
        return Checkpoints(Path(self.checkpoint), every, digest.hexdigest())

    def _keep_history(self, fitted: DeepFit, data: TrainingData) -> None:
        epochs = fitted.history
        members = total(np.asarray(data.moments.weights, np.float64) @ data.moments.counts)
        offset = data.scaling.log_jacobian
        # Warm-up losses are cross-entropies, which know no units.
        objective_epochs = np.arange(len(epochs)) >= fitted.warmup
        self.history_ = {
            "loss": epochs[:, 0] + np.where(objective_epochs, offset, 0),
            "log_likelihood": (epochs[:, 1] - offset) * members * data.unit,
            "kl": epochs[:, 2],
        }
        if not np.isnan(epochs[:, 3]).all():
            self.history_["validation"] = epochs[:, 3] - offset

    @of_ensembles("responsibility", "component")
    def predict_proba(self, X: Any, *, context: Any = None) -> Float[np.ndarray, "n K"]:
        """Return the network's cluster probabilities γ for each ensemble, shape (n, K).

        One forward pass; :meth:`posterior` gives the exact ones of the fitted parameters.
        """
        members = self._validated(X)
        n, M, _ = members.shape
        if self._sizes.n_members < M and nets.fixes_members(self._make, self._sizes):
            raise ValueError(
                f"X: encoder={self.encoder!r} was trained on {self._sizes.n_members} members and X "
                f"has {M}; use encoder='moments', which takes any number"
            )
        given = self._checked_context(context, n)
        moments = moments_of(members, np.ones(n), self._scaling, self._precision)
        seen = members_seen(members, self._make, self._sizes)
        gamma = self._respond(Ensembles(moments, self._scaling, seen, None, given))
        sound = np.isfinite(gamma).all(axis=1)
        if not sound.all() and self.result_ is not Result.NON_FINITE:
            raise ValueError(
                f"X: the network's probabilities of ensemble {int(np.argmin(sound))} are not finite; check "
                "its values, or the model"
            )
        return gamma

    def _form(self, n_members: int, n_features: int, family: Family) -> Form:
        """Return the form with all covariances: encoders read them, whatever those of the clusters are."""
        return form_for(n_members, n_features, diagonal=False)

    def _respond(self, ensembles: Ensembles) -> Float[np.ndarray, "n K"]:
        with precision_of(self._precision):
            graph = nets.structure(self._make, self._sizes)
            gamma = responsibilities(graph, self._network, self._reference, ensembles)
        gamma = np.ascontiguousarray(gamma[self._order].T)
        self._check_sound(np.isfinite(gamma).all(axis=1))
        return gamma

    def _log_prior(self, context: Any, n: int) -> Float[np.ndarray, "K n"] | None:
        given = self._checked_context(context, n)
        if given is None:
            return None
        with precision_of(self._precision):
            graph = nets.structure(self._make, self._sizes)
            return np.asarray(prior_of(graph, self._network, self._prior, given))[self._order]

    def _context_of(self, X: Any, context: Any) -> Any:
        if self._context_scaling is None:  # of no use to this fit; named or given, it is an error
            return context
        return context_given(X, context, self._recipe)

    def _checked_context(self, context: Any, n: int) -> Float[np.ndarray, "n C"] | None:
        """Return the context in the units of the fit, if there was one in the fit."""
        if self._context_scaling is None:
            super()._log_prior(context, n)  # raises if one is given
            return None
        if context is None:
            raise ValueError(
                f"context: this {type(self).__name__} was fitted with a context of {self._sizes.n_context} "
                "columns; pass that of these ensembles, context=…"
            )
        checked = check_context(context, n, self._sizes.n_context)
        return scaled_context(checked, self._context_scaling, self._precision)

    def _settings(self) -> DeepSettings:
        encoder = find_encoder(getattr(self, "encoder", "moments"))
        check_widths("hidden", self.hidden, least=1)
        max_epochs = check_integer("max_epochs", self.max_epochs, 1)
        objective = find_objective(self.objective)
        penalty = check_number("penalty", self.penalty, 0)
        if penalty > 0 and not objective.through_m_step:
            raise ValueError(f"penalty: has no effect with objective={self.objective!r}; use 'likelihood'")
        start = EMSettings.checked(
            n_components=check_integer("n_components", self.n_components, 1),
            n_init=check_integer("n_init", self.n_init, 1),
            method=self.init_params,
            tol=1e-5,
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
            batch_size=None if self.batch_size is None else check_integer("batch_size", self.batch_size, 1),
            warmup=check_share("warmup", self.warmup),
            learning_rate=check_number("learning_rate", self.learning_rate, 0, open_below=True),
            clip_norm=check_number("clip_norm", self.clip_norm, 0, open_below=True),
            member_subsets=check_integer("member_subsets", getattr(self, "member_subsets", 0), 0),
            patience=check_integer("patience", self.patience, 1),
            n_networks=check_integer("n_networks", self.n_networks, 1),
            polish=self.polish,
            snapshots=check_integer("snapshots", self.snapshots, 0),
            progress=bool(self.progress),
        )

    def _get_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        arrays, facts = super()._get_state()
        arrays |= nets.to_arrays(self._network, "network.")
        arrays |= {"prior": self._prior, "reference": self._reference, "order": self._order}
        if self._context_scaling is not None:
            arrays |= dict(zip(CONTEXT_ARRAYS, self._context_scaling, strict=True))
        if self._recipe is not None:
            facts["context"] = recipe_facts(self._recipe)
        encoder = getattr(self, "encoder", "moments")
        own = None if isinstance(encoder, str) else getattr(encoder, "__qualname__", repr(encoder))
        facts |= {"sizes": dataclasses.asdict(self._sizes), "kl": self.kl_, "own_encoder": own}
        return arrays, facts

    def _set_state(self, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> None:
        sizes, encoder = facts["sizes"], getattr(self, "encoder", "moments")
        network = {name: part for name, part in arrays.items() if name.startswith("network.")}
        # What the widths mean to an encoder of a user's own is not known.
        hidden = nets.stored_widths(sizes["hidden"], network) if isinstance(encoder, str) else sizes["hidden"]
        self._sizes = nets.EncoderSizes(**{**sizes, "hidden": tuple(hidden)})
        self._make = find_encoder(encoder)
        super()._set_state(arrays, facts)
        self._restore_projection(arrays)
        shapes = nets.template(self._make, self._sizes)
        self._network = nets.from_arrays(shapes, arrays, "network.")
        self._prior, self._reference, self._order = (arrays[k] for k in ("prior", "reference", "order"))
        self.kl_ = float(facts["kl"])
        context = [arrays[name] for name in CONTEXT_ARRAYS if name in arrays]
        if any(part.shape != (self._sizes.n_context,) for part in context):
            raise ValueError(f"the context's units are not those of {self._sizes.n_context} columns")
        self._context_scaling = Scaling(*context) if context else None
        self._recipe = restored_recipe(facts["context"]) if "context" in facts else None
        self.snapshots_ = []

    def _in_data_units(self, snapshot: Snapshot) -> Snapshot:
        scale = self._scaling.scale
        return snapshot._replace(
            means=snapshot.means * scale + self._scaling.centre,
            covariances=snapshot.covariances * np.outer(scale, scale),
        )
