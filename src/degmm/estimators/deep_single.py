"""The deep mixture of single members, DGMM."""

from typing import Any

from degmm.estimators.deep import DEGMM


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
        projection: str | None = None,
        latent_dim: int | None = None,
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
        super().__init__(
            n_components,
            covariance_type=covariance_type,
            projection=projection,
            latent_dim=latent_dim,
            hidden=hidden,
            objective=objective,
            penalty=penalty,
            max_epochs=max_epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            clip_norm=clip_norm,
            warmup=warmup,
            n_init=n_init,
            init_params=init_params,
            n_networks=n_networks,
            validation_fraction=validation_fraction,
            patience=patience,
            polish=polish,
            reg_covar=reg_covar,
            min_weight=min_weight,
            snapshots=snapshots,
            checkpoint=checkpoint,
            checkpoint_every=checkpoint_every,
            progress=progress,
            dtype=dtype,
            random_state=random_state,
        )
        del self.member_model, self.encoder, self.member_subsets  # one member leaves no choice of these
