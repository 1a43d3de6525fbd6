"""What a model has that learns a projection of the members before its mixture."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.utils.validation import check_is_fitted

from degmm.choices import find
from degmm.ensembles.arrays import doubles_of
from degmm.estimators.base import BaseMixture
from degmm.estimators.checks import check_integer
from degmm.estimators.stored import projection_arrays
from degmm.projections.registry import PROJECTIONS, learned, restored
from degmm.wording import counted


class Projected(BaseMixture):
    """A mixture of codes, where the arguments ``projection`` and ``latent_dim`` ask for one."""

    projection: str | None
    latent_dim: int | None
    hidden: tuple[int, ...]

    def encode(self, X: Any) -> Float[np.ndarray, "n M L"]:
        """Return the code of each member, NaN where it is absent; for a model with a projection."""
        check_is_fitted(self)
        self._need_projection()
        return self._validated(X)

    def decode(self, codes: Any) -> Float[np.ndarray, "... D"]:
        """Return the members that codes stand for, such as ``decode(model.means_)``, shape (…, D).

        Parameters
        ----------
        codes : array-like, shape (…, L)
        """
        check_is_fitted(self)
        projection = self._need_projection()
        given = doubles_of(codes, "codes")
        L = self.means_.shape[1]
        if given.ndim == 0 or given.shape[-1] != L:
            raise ValueError(f"codes: expected {L} numbers along the last axis, got shape {given.shape}")
        if not np.isfinite(given).all():
            raise ValueError("codes: every number must be finite; leave absent members out")
        decoded = projection.decode(given.reshape(-1, L))
        return decoded.reshape(*given.shape[:-1], self.n_features_in_).astype(self._precision)

    def _need_projection(self) -> Any:
        if self._projection is None:
            raise ValueError(
                f"projection: this {type(self).__name__} was fitted without one, so there are no codes"
            )
        return self._projection

    def _learn_projection(self, rng: np.random.Generator) -> Callable[..., Any] | None:
        """Return what learns the projection from members, weights and a precision; None if there is none."""
        name, latent_dim = self.projection, self.latent_dim
        if name is None:
            if latent_dim is not None:
                raise ValueError("latent_dim: has no effect without a projection, linear or autoencoder")
            return None
        find("projection", name, PROJECTIONS)
        if latent_dim is None:
            raise ValueError(
                f"latent_dim: say how many numbers a code of projection={name!r} has, such as latent_dim=2"
            )
        L = check_integer("latent_dim", latent_dim, 1)

        def learn(members: np.ndarray, weights: np.ndarray, dtype: Any) -> Any:
            if members.shape[2] < L:
                many = counted(members.shape[2], "variable")
                raise ValueError(f"latent_dim: {L} are more than the {many} of a member; lower it")
            return learned(name, members, weights, L, tuple(self.hidden), rng, dtype)

        return learn

    def _restore_projection(self, arrays: dict[str, np.ndarray]) -> None:
        parts = projection_arrays(arrays)
        if self.projection is None and not parts:
            return
        if parts["centre"].shape != (self.n_features_in_,):
            raise ValueError(f"the projection is not one of {self.n_features_in_} variables")
        projection = restored(str(self.projection), parts)
        sizes = projection.encode(np.zeros((1, self.n_features_in_), self._precision)).shape[1]
        if not sizes == self.latent_dim == self._parameters.means.shape[1]:
            raise ValueError(
                f"the projection has codes of {sizes} numbers, latent_dim is {self.latent_dim!r}"
            )
        self._projection = projection
