"""DAGMM: the autoencoding Gaussian mixture of Zong et al. (2018), for anomaly detection."""

import dataclasses
import math
from typing import Any, Self

import numpy as np
from jaxtyping import Float, Int

from degmm.choices import find
from degmm.estimators.base import projection_arrays
from degmm.estimators.checks import (
    check_integer,
    check_min_weight,
    check_number,
    check_share,
    check_widths,
    generator,
)
from degmm.estimators.derived import Mixture
from degmm.inference.dagmm import RECORD
from degmm.inference.dagmm_fit import DAGMMSettings, final_mixture, n_batches, train_networks
from degmm.inference.mixture import divergence
from degmm.inference.search import EMSettings
from degmm.nets.dagmm import FEATURES, DAGMMSizes
from degmm.precision import precision_of
from degmm.projections.reconstruction import Reconstruction

DEFAULT_STEPS = 2000
"""By default training takes about so many steps"""
LATENT_SHARE = 8
"""By default a code has one number for so many variables"""


class DAGMM(Mixture):
    """Deep autoencoding Gaussian mixture of single members, an anomaly detector (Zong et al. 2018).

    A compression network makes a code of each row, and what it cannot reconstruct is added as features
    of the reconstruction error: z. An estimation network reads z and gives cluster probabilities, whose
    M-step gives a Gaussian mixture of z. All are trained together on

        mean ‖x − x'‖² + λ₁ mean E(z) + λ₂ Σ_k Σ_j 1/Σ_kjj,    E(z) = −log Σ_k π_k N(z; μ_k, Σ_k),

    with the mixture of each batch, and the final mixture is that of all training rows. A row of high
    energy E is an anomaly. The mixture, its densities and its criteria are those of z, not of x: they
    compare rows under one fit, not fits with each other.

    Parameters
    ----------
    n_components : int
        Number of clusters K.
    latent_dim : int, optional
        Numbers in a code; by default an eighth of the variables, at least 1.
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
        mean, so that rare ones do not outweigh all others (Gelman 2008). None: as they are.
    reconstruction : {"distance", "relative"}
        Features of the reconstruction: the distance ‖x − x'‖; or, as in the paper, ‖x − x'‖/‖x‖ and
        the cosine similarity of x and x'.
    noise : float
        Standard deviation of noise added to what the encoder reads in training, which keeps a large
        network from learning the training rows by heart (Vincent et al. 2008).
    energy_weight, penalty : float
        λ₁ and λ₂.
    max_epochs : int, optional
        Passes over the data; by default as many as make 2000 steps. 0 leaves the networks untrained, as
        a control.
    batch_size : int
        Largest number of rows in a batch; those of an epoch are of equal size.
    learning_rate : float
        Adam's rate at the start.
    decay : float
        The rate at the end, in units of that at the start; it falls along a cosine. 1 keeps it.
    polish : int
        Exact EM steps on z of all rows after training; 0, as in the paper, for none. They raise the
        likelihood, and mostly make the mixture a worse detector (docs/dagmm.md).
    contamination : float
        Share of the training rows that the threshold of :meth:`decision_function` calls anomalies.
    reg_covar : float
        Smallest eigenvalue of a covariance of z.
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
        ``loss``, ``reconstruction`` (mean ‖x − x'‖²) and ``energy``, means over the batches of an epoch.
    log_likelihood_, n_iter_, converged_, result_, n_parameters_
        As in :class:`GMM`, of z; ``n_iter_`` counts epochs.

    Examples
    --------
    >>> import numpy as np
    >>> from degmm import DAGMM
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 2)) @ rng.normal(size=(2, 10)) + 0.1 * rng.normal(size=(500, 10))
    >>> model = DAGMM(n_components=2, max_epochs=100, random_state=0).fit(X)
    >>> strange = rng.normal(size=(1, 10))
    >>> bool(model.energy(strange)[0] > model.energy(X).max())
    True
    """

    _single_member = True
    _many_members_model = "DEGMM(projection='autoencoder')"
    _densities_compare = False
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
        penalty: float = 0.005,
        max_epochs: int | None = None,
        batch_size: int = 1024,
        learning_rate: float = 1e-3,
        decay: float = 0.01,
        polish: int = 0,
        contamination: float = 0.1,
        reg_covar: float = 1e-6,
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
        self.min_weight = min_weight
        self.progress = progress
        self.dtype = dtype
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, sample_weight: Any = None) -> Self:
        """Train the networks and take the mixture of all rows.

        Parameters
        ----------
        X : Ensemble, xarray.DataArray or array-like, shape (n, D) or (n, 1, D)
            Rows, best without anomalies.
        y : None
            Ignored.
        sample_weight : array-like, shape (n,), optional
            Weights of the rows.

        Returns
        -------
        self
        """
        final, contamination = self._final_settings(), self._contamination()
        polish = check_integer("polish", self.polish, 0)
        rng = generator(self.random_state)
        histories: list[np.ndarray] = []

        def learn(members: np.ndarray, weights: np.ndarray) -> Reconstruction:
            rows, weights = members[weights > 0, 0], weights[weights > 0]
            settings = self._settings(len(rows))
            blank = Reconstruction.of(rows, weights, self.scaling, self._sizes(rows.shape[1]))
            trained = train_networks(
                blank.standard(rows), weights, blank.sizes, settings, int(rng.integers(2**31 - 1))
            )
            histories.append(trained.history)
            return blank.with_networks(trained.networks)

        data = self._training_data(X, sample_weight, learn)
        history = histories[0]
        gamma = data.projection.gamma(data.members[:, 0])
        used = np.asarray(data.moments.weights) > 0
        with precision_of(data.moments.mean.dtype):
            solution, order = final_mixture(data.family, gamma[used], data.weighted, final, polish, history)
        self._order = order
        self._keep(solution, data)
        self.history_ = {name: history[:, i] for i, name in enumerate(RECORD)}
        self.labels_ = gamma[:, order].argmax(axis=1)
        scores, posterior = self._evaluate(data.moments)
        weights = np.asarray(data.moments.weights, np.float64)
        self.kl_ = divergence(gamma[:, order], posterior, weights)
        self.offset_ = float(
            np.quantile(scores.astype(np.float64), contamination, weights=weights, method="inverted_cdf")
        )
        return self

    # --- anomalies, with scikit-learn's conventions ------------------------------------------

    def energy(self, X: Any) -> Float[np.ndarray, "n"]:
        """Return the energy E(z) = −log Σ_k π_k N(z; μ_k, Σ_k) of each row: high for anomalies."""
        return -self.score_samples(X)

    def decision_function(self, X: Any) -> Float[np.ndarray, "n"]:
        """Return :meth:`score_samples` less ``offset_``: below 0 for anomalies."""
        return self.score_samples(X) - np.asarray(self.offset_, self._precision)

    def predict_outlier(self, X: Any) -> Int[np.ndarray, "n"]:
        """Return −1 for anomalies and 1 for all other rows, as scikit-learn's outlier detectors."""
        return np.where(self.decision_function(X) < 0, -1, 1)

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
        return self._projection.decode(self.encode(X)).astype(self._precision)

    # --- checked arguments --------------------------------------------------------------------

    def _sizes(self, n_features: int) -> DAGMMSizes:
        latent_dim = self.latent_dim
        if latent_dim is None:
            latent_dim = max(n_features // LATENT_SHARE, 1)
        layers = self.encoder_layers
        if layers is None:
            layers = (math.ceil(4 * math.sqrt(n_features)), math.ceil(2 * math.sqrt(n_features)))
        find("reconstruction", self.reconstruction, FEATURES)
        return DAGMMSizes(
            n_features=n_features,
            n_components=check_integer("n_components", self.n_components, 1),
            latent_dim=check_integer("latent_dim", latent_dim, 1),
            encoder_layers=check_widths("encoder_layers", layers),
            estimation_layers=check_widths("estimation_layers", self.estimation_layers),
            dropout=check_share("dropout", self.dropout, below=1),
            reconstruction=self.reconstruction,
        )

    def _settings(self, n_rows: int) -> DAGMMSettings:
        batch_size = check_integer("batch_size", self.batch_size, 1)
        max_epochs = self.max_epochs
        if max_epochs is None:
            max_epochs = -(-DEFAULT_STEPS // n_batches(n_rows, batch_size))
        return DAGMMSettings(
            max_epochs=check_integer("max_epochs", max_epochs, 0),
            batch_size=batch_size,
            learning_rate=check_number("learning_rate", self.learning_rate, 0, open_below=True),
            decay=check_share("decay", self.decay),
            energy_weight=check_number("energy_weight", self.energy_weight, 0),
            penalty=check_number("penalty", self.penalty, 0),
            noise=check_number("noise", self.noise, 0),
            reg_covar=check_number("reg_covar", self.reg_covar, 0, open_below=True),
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
