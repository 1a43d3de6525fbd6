"""DAGMM: the autoencoding Gaussian mixture of Zong et al. (2018), for anomaly detection."""

import dataclasses
import math
from typing import Any, Self

import numpy as np
from jaxtyping import Bool, Float, Int

from degmm.choices import find
from degmm.estimators.checks import (
    check_integer,
    check_min_weight,
    check_number,
    check_share,
    check_widths,
    generator,
)
from degmm.estimators.derived import Mixture
from degmm.estimators.labels import of_ensembles
from degmm.estimators.stored import projection_arrays
from degmm.inference.dagmm import RECORD
from degmm.inference.dagmm_fit import (
    DAGMMSettings,
    TrainedDAGMM,
    final_mixture,
    n_batches,
    train_networks,
)
from degmm.inference.mixture import divergence
from degmm.inference.search import EMSettings
from degmm.nets.dagmm import FEATURES, INITIALISERS, DAGMMSizes
from degmm.precision import precision_of
from degmm.processes import need_one_process, together
from degmm.projections.reconstruction import Reconstruction

DEFAULT_STEPS, DEFAULT_EPOCHS = 2000, 10
"""By default training takes at least so many steps and so many passes over the data"""
LATENT_SHARE = 8
"""By default a code has one number for so many variables"""
ROWS_AN_ENTRY = 5
"""By default a code is so short that the covariances' free entries have at least so many rows each"""
MOST_EPOCHS = 10**6
"""Their history, which is kept in memory, has room for no more"""


class DAGMM(Mixture):
    """Deep autoencoding Gaussian mixture of single members, an anomaly detector (Zong et al. 2018).

    A compression network makes a code of each row, and what it cannot reconstruct is added as features
    of the reconstruction error: z. An estimation network reads z and gives cluster probabilities, whose
    M-step gives a Gaussian mixture of z. All are trained together on

        mean ‖x − x'‖² + λ₁ mean E(z) + λ₂ Σ_k Σ_j 1/Σ_kjj,    E(z) = −log Σ_k π_k N(z; μ_k, Σ_k),

    with the mixture of each batch, and the final mixture is that of all training rows. A row of high
    energy E is an anomaly. The mixture, its densities and its criteria are those of z, not of x: they
    compare rows under one fit, not fits with each other.

    **Anomalies are what** :meth:`predict_outlier` **(−1 and 1) and** :meth:`decision_function` **(below 0)
    say**; :meth:`predict` and :meth:`fit_predict` give clusters. Training rows should hold few anomalies or
    none.

    Parameters
    ----------
    n_components : int
        Number of clusters K.
    latent_dim : int, optional
        Numbers in a code, L; by default an eighth of the variables, at least 1, and fewer where rows are
        few: the free entries of the K covariances, K(L + 1)(L + 2)/2 with one feature of the
        reconstruction, are at most a fifth of the rows in number.
    encoder_layers : tuple of int, optional
        Widths of the hidden layers from a row to its code, which the decoder mirrors; by default 4√D
        and 2√D. ``()`` makes the autoencoder linear.
    estimation_layers : tuple of int
        Widths of the hidden layers of the estimation network.
    dropout : float
        Share of the estimation network's hidden units that a training step leaves out.
    scaling : {"mixed", "standard"}, or None
        Units of the rows before the networks. ``"standard"``: each variable has mean 0 and variance 1.
        ``"mixed"``: likewise, but variables of two values only, such as dummies, are ±1 about their
        mean, so that rare ones do not outweigh all others (Gelman 2008). Both give a variable that is
        constant in training a unit of a thousandth of its value (of 1, if that is 0), so that a row in
        which it departs is an anomaly. None: as they are.
    reconstruction : {"distance", "relative"}
        Features of the reconstruction, in the units of ``scaling``: the distance ‖x − x'‖/√D; or, as in
        the paper, ‖x − x'‖/‖x‖ and the cosine similarity of x and x'.
    noise : float
        Standard deviation of noise added to what the encoder reads in training, which keeps a large
        network from learning the training rows by heart (Vincent et al. 2008).
    energy_weight, penalty : float
        λ₁ and λ₂.
    max_epochs : int, optional
        Passes over the data; by default as many as make 2000 steps, and at least 10; at most a
        million. 0 leaves the networks untrained, as a control.
    batch_size : int
        Largest number of rows in a batch; those of an epoch are of equal size, to within one row.
    learning_rate : float
        Adam's rate at the start.
    decay : float
        The rate at the end, in units of that at the start; it falls along a cosine. 1 keeps it.
    polish : int
        Exact EM steps on z of all rows after training; 0, as in the paper, for none. They raise the
        likelihood, and mostly make the mixture a worse detector (docs/dagmm.md).
    contamination : float
        Share of the training rows that the threshold of :meth:`decision_function` calls anomalies: by
        default a tenth of them, whether or not there are any.
    reg_covar : float
        Smallest eigenvalue of a covariance: in training, of z as the networks give it; in the mixture
        of all rows, of z in units in which each of its numbers has variance 1.
    ridge : float
        Added to the diagonals of the covariances of z, as the networks give it, in training and in the
        mixture of all rows: it keeps the energy from making z degenerate in long trainings. The paper
        names none.
    initialiser : {"lecun", "glorot"}
        How the networks' weights start.
    min_weight : float, optional
        Smallest weight of a component; by default that of a tenth of one row.
    progress : bool
        Whether to show the progress of training.
    dtype : {float32, float64}, optional
        Precision; by default that of X.
    random_state : int, Generator or None
        Seed.

    Attributes
    ----------
    labels_ : ndarray of int, shape (n,)
        Cluster of each row. Clusters are numbered by descending weight.
    weights_, means_, covariances_ : ndarray, shapes (K,), (K, L), (K, L, L)
        The mixture of z.
    offset_ : float
        Threshold: rows whose :meth:`score_samples` is lower are anomalies.
    kl_ : float
        KL(estimation network's probabilities ‖ exact posterior), nats a row.
    history_ : dict
        ``loss``, ``reconstruction`` (mean ‖x − x'‖²) and ``energy``, means over the rows of an epoch.
    log_likelihood_, n_iter_, converged_, result_, n_parameters_
        As in :class:`GMM`, of z; ``n_iter_`` counts epochs.

    Examples
    --------
    >>> import numpy as np
    >>> from degmm import DAGMM
    >>> rng = np.random.default_rng(1)
    >>> X = np.tanh(rng.normal(size=(1000, 2)) @ rng.normal(size=(2, 8)))
    >>> X += 0.05 * rng.normal(size=(1000, 8))
    >>> model = DAGMM(2, latent_dim=2, max_epochs=200, contamination=0.01, random_state=0).fit(X)
    >>> model.predict_outlier(rng.uniform(-1, 1, size=(4, 8)))
    array([-1, -1, -1,  1])
    """

    _single_member = True
    _many_members_model = "X.reshape(len(X), -1) if each is one row, or DEGMM(projection='autoencoder')"
    _densities_compare = False
    _floor_advice = "unless rows repeat each other, lower latent_dim or n_components"
    covariance_type = "full"

    def __init__(
        self,
        n_components: int = 4,
        *,
        latent_dim: int | None = None,
        encoder_layers: tuple[int, ...] | None = None,
        estimation_layers: tuple[int, ...] = (10,),
        dropout: float = 0.5,
        scaling: str | None = "mixed",
        reconstruction: str = "distance",
        noise: float = 0.2,
        energy_weight: float = 0.1,
        penalty: float = 0.002,
        max_epochs: int | None = None,
        batch_size: int = 512,
        learning_rate: float = 1e-3,
        decay: float = 0.01,
        polish: int = 0,
        contamination: float = 0.1,
        reg_covar: float = 1e-6,
        ridge: float = 0.0,
        initialiser: str = "lecun",
        min_weight: float | None = None,
        progress: bool = False,
        dtype: Any = None,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.latent_dim = latent_dim
        self.encoder_layers = encoder_layers
        self.estimation_layers = estimation_layers
        self.dropout = dropout
        self.scaling = scaling
        self.reconstruction = reconstruction
        self.noise = noise
        self.energy_weight = energy_weight
        self.penalty = penalty
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.decay = decay
        self.polish = polish
        self.contamination = contamination
        self.reg_covar = reg_covar
        self.ridge = ridge
        self.initialiser = initialiser
        self.min_weight = min_weight
        self.progress = progress
        self.dtype = dtype
        self.random_state = random_state

    @together
    def fit(self, X: Any, y: Any = None, *, sample_weight: Any = None) -> Self:
        """Train the networks and take the mixture of all rows.

        Parameters
        ----------
        X : Ensemble, xarray.DataArray or array-like, shape (n, D) or (n, 1, D)
            Rows, with few anomalies or none: those that it holds are learned as normal.
        y : None
            Ignored.
        sample_weight : array-like, shape (n,), optional
            Weights of the rows.

        Returns
        -------
        self

        Warns
        -----
        ConvergenceWarning
            If steps were left out because they were not finite, the networks have learned nothing, or a
            component is degenerate.
        """
        need_one_process("DAGMM", "fit it in one process, outside degmm.devices")
        final, contamination = self._final_settings(), self._contamination()
        polish = check_integer("polish", self.polish, 0)
        ridge = check_number("ridge", self.ridge, 0)
        if polish and ridge:
            raise ValueError("ridge: exact EM steps know none; set polish=0 or ridge=0")
        rng = generator(self.random_state)
        trainings: list[TrainedDAGMM] = []

        def learn(members: np.ndarray, weights: np.ndarray, dtype: Any) -> Reconstruction:
            used = _present(weights, dtype)
            rows, weights = members[used, 0], weights[used]
            settings = self._settings(len(rows))
            blank = Reconstruction.of(rows, weights, self.scaling, self._sizes(*rows.shape), dtype)
            seed = int(rng.integers(2**31 - 1))
            trainings.append(train_networks(blank.standard(rows), weights, blank.sizes, settings, seed))
            return blank.with_networks(trainings[0].networks)

        data = self._training_data(X, sample_weight, learn)
        (trained,) = trainings
        gamma = data.projection.gamma(data.members[:, 0])
        dtype = data.moments.mean.dtype
        used = np.flatnonzero(_present(np.asarray(data.moments.weights), dtype))
        with precision_of(dtype):
            in_units = (ridge / data.scaling.scale**2).astype(dtype)
            solution, order = final_mixture(
                data.family, gamma[used], data.moments.take(used), final, polish, trained, in_units
            )
        self._order = order
        self._keep(solution, data)
        self.history_ = {name: trained.history[:, i] for i, name in enumerate(RECORD)}
        self.labels_ = gamma[:, order].argmax(axis=1)
        scores, posterior = self._evaluate(data.moments)
        weights = np.asarray(data.moments.weights, np.float64)
        self.kl_ = divergence(gamma[:, order], posterior, weights)
        self.offset_ = _quantile(scores.astype(np.float64), weights, contamination)
        return self

    # --- clusters and densities, of which the docstrings differ --------------------------------

    def fit_predict(self, X: Any, y: Any = None, **fit_arguments: Any) -> Int[np.ndarray, "n"]:
        """Fit the model and return the *cluster* of each row, not −1 and 1: see :meth:`predict_outlier`."""
        return super().fit_predict(X, y, **fit_arguments)

    def predict(self, X: Any, *, context: Any = None) -> Int[np.ndarray, "n"]:
        """Return the *cluster* of each row, not −1 and 1: see :meth:`predict_outlier`."""
        return super().predict(X, context=context)

    def score_samples(self, X: Any, *, context: Any = None) -> Float[np.ndarray, "n"]:
        """Return the log density of z of each row, −:meth:`energy`, in nats: low for anomalies."""
        return super().score_samples(X, context=context)

    def score(self, X: Any, y: Any = None, *, context: Any = None) -> float:
        """Return the mean of :meth:`score_samples`, which is no score to choose a model by.

        Each fit has a z of its own, so that a higher value says nothing. With a grid search, pass a
        ``scoring`` that knows anomalies, such as the AUC of ``-decision_function(X)``.
        """
        return super().score(X, y, context=context)

    def sample(
        self, n_samples: int = 1, *, n_members: int | None = None, random_state: Any = None
    ) -> tuple[Float[np.ndarray, "n M D"], Int[np.ndarray, "n"]]:
        """Draw codes from the mixture, and return the rows that they stand for, (n, 1, D), and clusters.

        The rows are reconstructions: they lie on the decoder's surface, and lack what it leaves out.
        """
        return super().sample(n_samples, n_members=n_members, random_state=random_state)

    # --- anomalies, with scikit-learn's conventions ------------------------------------------

    @of_ensembles("energy")
    def energy(self, X: Any) -> Float[np.ndarray, "n"]:
        """Return the energy E(z) = −log Σ_k π_k N(z; μ_k, Σ_k) of each row: high for anomalies."""
        return -self.score_samples(X)

    @of_ensembles("decision")
    def decision_function(self, X: Any) -> Float[np.ndarray, "n"]:
        """Return :meth:`score_samples` less ``offset_``: below 0 for anomalies."""
        return self.score_samples(X) - np.asarray(self.offset_, self._precision)

    @of_ensembles("outlier")
    def predict_outlier(self, X: Any) -> Int[np.ndarray, "n"]:
        """Return −1 for anomalies and 1 for all other rows, as ``predict`` of scikit-learn's detectors."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    @of_ensembles("responsibility", "component")
    def predict_proba(self, X: Any, *, context: Any = None) -> Float[np.ndarray, "n K"]:
        """Return the estimation network's cluster probabilities; :meth:`posterior` gives the exact ones."""
        z = self.encode(X)
        self._log_prior(context, len(z))
        return self._projection.gamma(z)[:, self._order]

    def encode(self, X: Any) -> Float[np.ndarray, "n L"]:
        """Return z: the code of each row, and the features of its reconstruction."""
        return self._validated(X)[:, 0]

    def reconstruct(self, X: Any) -> Float[np.ndarray, "n D"]:
        """Return what the code of each row stands for, in the units of X."""
        z = self.encode(X)  # first, since it sees that there is a fit
        return self._projection.decode(z).astype(self._precision)

    # --- checked arguments --------------------------------------------------------------------

    def _checked(self, X: Any, name: str = "X") -> np.ndarray:
        if isinstance(X, np.ndarray) and X.ndim == 1:
            raise ValueError(
                "X: expected rows, shape (n, D), got 1 dimension. Reshape your data: a single row is "
                "X[None], a single variable X[:, None]"
            )
        return super()._checked(X, name)

    def _sizes(self, n_rows: int, n_features: int) -> DAGMMSizes:
        n_components = check_integer("n_components", self.n_components, 1)
        _, n_beside = find("reconstruction", self.reconstruction, FEATURES)
        find("initialiser", self.initialiser, INITIALISERS)
        latent_dim = self.latent_dim
        if latent_dim is None:
            # z of L numbers has covariances of L(L + 1)/2 entries each
            entries = n_rows / ROWS_AN_ENTRY / n_components
            most = int((math.sqrt(8 * entries + 1) - 1) / 2) - n_beside
            latent_dim = max(min(n_features // LATENT_SHARE, most), 1)
        layers = self.encoder_layers
        if layers is None:
            layers = (math.ceil(4 * math.sqrt(n_features)), math.ceil(2 * math.sqrt(n_features)))
        return DAGMMSizes(
            n_features=n_features,
            n_components=n_components,
            latent_dim=check_integer("latent_dim", latent_dim, 1),
            encoder_layers=check_widths("encoder_layers", layers),
            estimation_layers=check_widths("estimation_layers", self.estimation_layers),
            dropout=check_share("dropout", self.dropout, below=1),
            reconstruction=self.reconstruction,
            initialiser=self.initialiser,
        )

    def _settings(self, n_rows: int) -> DAGMMSettings:
        batch_size = check_integer("batch_size", self.batch_size, 1)
        max_epochs = self.max_epochs
        if max_epochs is None:
            max_epochs = max(-(-DEFAULT_STEPS // n_batches(n_rows, batch_size)), DEFAULT_EPOCHS)
        max_epochs = check_integer("max_epochs", max_epochs, 0)
        if max_epochs > MOST_EPOCHS:
            raise ValueError(f"max_epochs: expected an integer of at most {MOST_EPOCHS}, got {max_epochs}")
        return DAGMMSettings(
            max_epochs=max_epochs,
            batch_size=batch_size,
            learning_rate=check_number("learning_rate", self.learning_rate, 0, open_below=True),
            decay=check_share("decay", self.decay),
            energy_weight=check_number("energy_weight", self.energy_weight, 0),
            penalty=check_number("penalty", self.penalty, 0),
            noise=check_number("noise", self.noise, 0),
            reg_covar=check_number("reg_covar", self.reg_covar, 0, open_below=True),
            ridge=check_number("ridge", self.ridge, 0),
            progress=bool(self.progress),
        )

    def _final_settings(self) -> EMSettings:
        return EMSettings.checked(
            n_components=check_integer("n_components", self.n_components, 1),
            n_init=1,
            method="k-means++",
            tol=1e-5,
            max_iter=max(check_integer("polish", self.polish, 0), 1),
            reg_covar=check_number("reg_covar", self.reg_covar, 0, open_below=True),
            min_weight=check_min_weight(self.min_weight, self.n_components),
        )

    def _contamination(self) -> float:
        share = check_number("contamination", self.contamination, 0, open_below=True)
        if share > 0.5:
            raise ValueError(f"contamination: expected a share above 0 and of at most 0.5, got {share:g}")
        return share

    # --- files ----------------------------------------------------------------------------------

    def _get_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        arrays, facts = super()._get_state()
        arrays["order"] = self._order
        facts["networks"] = dataclasses.asdict(self._projection.sizes)
        return arrays, facts | {"kl": self.kl_, "offset": self.offset_}

    def _set_state(self, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> None:
        super()._set_state(arrays, facts)
        self._projection = Reconstruction.restored(projection_arrays(arrays), facts["networks"])
        sizes = self._projection.sizes
        found = (sizes.n_features, sizes.n_components, sizes.n_latent)
        if found != (self.n_features_in_, *self.means_.shape):
            raise ValueError(f"the networks are of other sizes than the mixture: {found}")
        self._order, self.kl_, self.offset_ = arrays["order"], float(facts["kl"]), float(facts["offset"])


def _present(weights: Float[np.ndarray, "n"], dtype: Any) -> Bool[np.ndarray, "n"]:
    """Return which rows have a weight that the precision tells from 0."""
    return weights.astype(dtype) >= np.finfo(dtype).tiny


def _quantile(values: Float[np.ndarray, "n"], weights: Float[np.ndarray, "n"], share: float) -> float:
    """Return the quantile of weighted values: NumPy's, by interpolation, where the weights are equal."""
    order = np.argsort(values)
    order = order[weights[order] > 0]
    middle = np.cumsum(weights[order]) - weights[order] / 2
    place = middle[0] + share * (middle[-1] - middle[0])
    return float(np.interp(place, middle, values[order]))
