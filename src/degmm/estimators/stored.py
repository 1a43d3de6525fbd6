"""The fitted state of a mixture as arrays and facts, which are saved and restored."""

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from degmm.ensembles import Climatology
from degmm.families import Family, MixtureParameters, make_family
from degmm.families.covariance import held
from degmm.inference.solution import Result
from degmm.saved_state import check_state
from degmm.scaling import Scaling

PROJECTION = "projection."
"""Prefix of the names of a projection's arrays in a saved model"""


def projection_arrays(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return those of a saved model's arrays that are its projection's, by the projection's names."""
    return {name.removeprefix(PROJECTION): a for name, a in arrays.items() if name.startswith(PROJECTION)}


class Stored:
    """What of a mixture is saved, and how it is restored from that."""

    n_components: int
    covariance_type: str
    means_: np.ndarray
    labels_: np.ndarray
    history_: dict[str, np.ndarray]
    feature_names_in_: np.ndarray
    climatology_: Climatology | None
    _parameters: MixtureParameters
    _scaling: Scaling
    _precision: Any
    _fitted_family: Family
    _projection: Any
    _units: tuple[str, ...]

    def _family(self, counts: np.ndarray | None = None) -> Family:
        return make_family(getattr(self, "member_model", "independent"), self.covariance_type, counts)

    def _publish(self) -> None:
        """Give the parameters in the units of the data."""

    def _get_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return all that a fit set, as arrays and as facts that JSON can hold."""
        check_is_fitted(self)
        arrays = {f"parameters.{k}": v for k, v in self._parameters._asdict().items()}
        arrays |= {f"scaling.{k}": v for k, v in self._scaling._asdict().items()}
        arrays |= {f"history.{k}": v for k, v in self.history_.items()}
        arrays["labels"] = getattr(self, "labels_", np.zeros(0, np.int8))
        if self._projection is not None:
            arrays |= {PROJECTION + name: part for name, part in self._projection.arrays().items()}
        facts = {
            "precision": np.dtype(self._precision).name,
            "n_features": self.n_features_in_,
            "n_members": self.n_members_,
            "shares_centre": self._fitted_family.shares_centre,
            "log_likelihood": self.log_likelihood_,
            "n_iter": self.n_iter_,
            "result": self.result_.name,
            "converged": self.converged_,
        }
        if self._projection is not None:
            facts["latent_dim"] = self.means_.shape[1]
        if hasattr(self, "feature_names_in_"):
            facts["feature_names"] = [str(name) for name in self.feature_names_in_]
            facts["units"] = list(self._units)
        if self.climatology_ is not None:
            facts["climatology"] = self.climatology_.facts()
            arrays["climatology"] = self.climatology_.coefficients
        return {name: np.asarray(array) for name, array in arrays.items()}, facts

    def _check_state(self, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> None:
        """See that what :meth:`_get_state` gave is whole; a ValueError or KeyError says what is not."""
        diagonal = self._family().covariance.diagonal
        check_state(arrays, facts, self.n_components, diagonal=diagonal)
        if getattr(self, "_single_member", False) and facts["n_members"] != 1:
            raise ValueError(f"n_members is {facts['n_members']!r} of a model of single members")

    def _set_state(self, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> None:
        """Set what :meth:`_get_state` gave."""
        self._precision = np.dtype(facts["precision"])
        self._parameters = MixtureParameters(*(arrays[f"parameters.{k}"] for k in MixtureParameters._fields))
        self._scaling = Scaling(*(arrays[f"scaling.{k}"] for k in Scaling._fields))
        structure = self._family().covariance  # raises where the arguments name no family
        if self._parameters.within.ndim == 3:  # as files had them at first
            within, between = (held(part, structure) for part in self._parameters[2:])
            self._parameters = self._parameters._replace(within=within, between=between)
        member_model = "shared_centre" if facts["shares_centre"] else "independent"
        self._fitted_family = make_family(member_model, self.covariance_type)
        self.n_features_in_, self.n_members_ = int(facts["n_features"]), int(facts["n_members"])
        if "feature_names" in facts:
            self.feature_names_in_ = np.array(facts["feature_names"], dtype=object)
            self._units = tuple(map(str, facts.get("units", ())))
        if "climatology" in facts:
            self.climatology_ = Climatology.restored(
                facts["climatology"], arrays["climatology"], facts["feature_names"]
            )
        self._publish()
        self.log_likelihood_, self.n_iter_ = float(facts["log_likelihood"]), int(facts["n_iter"])
        self.result_, self.converged_ = Result[facts["result"]], bool(facts["converged"])
        prefix = "history."
        self.history_ = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
        if arrays["labels"].size:
            self.labels_ = arrays["labels"]
