"""Calibration by regime: an EMOS for each kind of ensemble, or of forecast error."""

from typing import Any, Self

import numpy as np
from jaxtyping import Float
from sklearn.utils.validation import check_is_fitted

from degmm.calibration.base import Calibration, CalibrationData
from degmm.calibration.chunked import of_chunks
from degmm.calibration.cluster_regimes import ClusterRegimes
from degmm.calibration.deep_regimes import DeepRegimes
from degmm.calibration.families import find_family
from degmm.calibration.forecast import Forecast
from degmm.calibration.gated_training import GatedSettings
from degmm.calibration.minimisation import Result
from degmm.calibration.predictors import Predictors
from degmm.calibration.regime_table import regime_table
from degmm.choices import find
from degmm.ensembles import labelled
from degmm.estimators.checks import check_integer, check_number, generator

GATES = ("mixture", "deep")
"""Who finds the regimes"""


class RegimeEMOS(Calibration):
    """Calibrated forecasts by regime: a mixture of one EMOS a regime, weighted by the case's regimes.

    The errors of ensembles depend on the regime (Jouan et al. 2023, doi:10.3934/dcdss.2022037). With
    the probabilities γ_k of the regimes of a case, its forecast is Σ_k γ_k F(location_k, scale_k).

    ``gate="mixture"``: regimes are the clusters of a mixture of the ensembles, which knows nothing of the
    observations; each has an EMOS of its own, fitted to all cases with the weights γ.

    ``gate="deep"``: regimes are kinds of forecast error. A network reads means, log spreads and context and
    gives γ; it is trained together with the experts, one a regime, on the CRPS of their mixture (for normals
    in closed form: Grimit et al. 2006, doi:10.1256/qj.05.235). The experts' location and log scale are
    linear in mean, log spread and context. Several networks are trained, and the forecast is the mixture of
    theirs; ``predict_proba`` and ``regimes_`` are of the best one. All variables of a case share its
    regimes. If there are several, each network leaves out blocks of neighbouring cases, a fifth at most,
    and one factor a variable widens or narrows all experts so that the central 90 % intervals hold 90 % of
    the observations of the cases left out: so cases should come in order of time. The defaults suit weather,
    where errors are broad beside what sets regimes apart; where they are not, more ``max_steps`` and less
    decay let more be learnt. A scale is kept between 4.5e-5 and 55 times the size of the residuals of a
    linear regression; a fit with a scale at such a limit says so: ``result_`` is ``AT_FLOOR``, with a
    warning.

    Parameters
    ----------
    n_components : int
        Number K of regimes; :func:`degmm.calibration.select_regimes` chooses it.
    gate : {"mixture", "deep"}
    mixture : EGMM or another mixture, optional
        With ``gate="mixture"``: a fitted one is taken as it is, with its clusters as regimes; of another
        the settings are taken; its ``random_state`` if it has one. By default an EGMM with shared centres.
    family : str
        Distribution of the experts, as for :class:`degmm.calibration.EMOS`.
    context_terms : bool
        Whether context counts. If not, one that comes with an ``Ensemble`` is left aside.
    shrinkage : float
        With ``gate="mixture"``: the EMOS of each cluster is fitted as if so many further cases, spread
        evenly over all, were its own, so that a small cluster has nearly the EMOS of all.
    n_networks, hidden, max_steps, batch_size, learning_rate : optional
        With ``gate="deep"``: number of networks, width of their one tanh layer, steps of Adam, cases in the
        batch of each, and the rate at the first one, from which it falls to 0 by a cosine.
    gate_decay, expert_decay : float
        With ``gate="deep"``: weight decay (Loshchilov & Hutter 2019) of the network and of what sets an
        expert apart from the others.
    random_state : int, Generator or None
        Seed of the mixture's or the networks' starts.

    Attributes
    ----------
    regimes_ : pandas.DataFrame
        What each regime is, a row each (for several variables, one each and variable), numbered
        from 1, in the order of the mixture's clusters or from the most frequent kind of error on: ``share``
        and number of ``cases``; ``season``, the fewest months in a row with two thirds of them, if there are
        dates; means over the cases, weighted by γ, of the ``ensemble_mean``, the
        ``ensemble_spread``, the ``bias`` (ensemble mean minus observation), the root-mean-square ``error``
        of the ensemble mean; ``correction``, what the expert adds to the ensemble mean; ``spread_ratio``,
        by how much its standard deviation is larger than the ensemble's (geometric mean); and
        ``typical`` ensembles, by date or number.
    mixture_ : mixture
        With ``gate="mixture"``: the fitted mixture.
    losses_ : ndarray, shape (n_networks, max_steps)
        With ``gate="deep"``: mean CRPS of each batch, in units of the residuals of a linear regression.
    crps_ : float
        Mean CRPS on the cases of the fit (over all variables).
    result_ : Result
        How the fit ended, an enum with a readable message.
    converged_ : bool
        Whether it ended as asked.

    Examples
    --------
    >>> model = RegimeEMOS(4, gate="deep", random_state=0).fit(train, context="season")   # doctest: +SKIP
    >>> model.regimes_                                                                    # doctest: +SKIP
    >>> forecast = model.predict(test)                                                    # doctest: +SKIP
    """

    _regimes: ClusterRegimes | DeepRegimes

    def __init__(
        self,
        n_components: int = 4,
        *,
        gate: str = "mixture",
        mixture: Any = None,
        family: str = "normal",
        context_terms: bool = True,
        shrinkage: float = 30.0,
        n_networks: int = 5,
        hidden: int = 32,
        max_steps: int = 700,
        batch_size: int = 256,
        learning_rate: float = 1e-2,
        gate_decay: float = 0.3,
        expert_decay: float = 0.3,
        random_state: Any = None,
    ):
        self.n_components = n_components
        self.gate = gate
        self.mixture = mixture
        self.family = family
        self.context_terms = context_terms
        self.shrinkage = shrinkage
        self.n_networks = n_networks
        self.hidden = hidden
        self.max_steps = max_steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.gate_decay = gate_decay
        self.expert_decay = expert_decay
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, context: Any = None, sample_weight: Any = None) -> Self:
        """Find the regimes and fit their experts.

        Parameters
        ----------
        X, y, context, sample_weight
            As for :meth:`degmm.calibration.EMOS.fit`. With ``gate="mixture"`` the context counts in each
            EMOS, and in the mixture if it is a DEGMM. Two neighbouring columns of the context that are sine
            and cosine of an angle, as of the season, come with those of twice the angle for
            ``gate="deep"``.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If an argument is wrong, there are no observations or fewer cases than regimes or than parameters
            of an expert, values are infinite, or a column of the context does not vary.
        """
        return self._fit(X, y, context, sample_weight, described=True)

    def fit_to_forecast(
        self, X: Any, y: Any = None, *, context: Any = None, sample_weight: Any = None
    ) -> Self:
        """Fit as :meth:`fit` does, but set neither ``crps_`` nor ``regimes_``."""
        return self._fit(X, y, context, sample_weight, described=False)

    @of_chunks
    def predict(self, X: Any, context: Any = None) -> Forecast:
        """Return the calibrated forecast.

        Parameters
        ----------
        X, context
            As for :meth:`degmm.calibration.EMOS.predict`.

        Returns
        -------
        Forecast
            A mixture for each case, with the components of all networks; of shape (n,), or (n, D) for
            several variables; with the labels of X if it is a DataArray.

        Raises
        ------
        ValueError
            If X has other variables or units than the fit had, or its context is missing or another.
        """
        check_is_fitted(self)
        data = labelled(X)
        context = self._checked_context(data, context)
        predictors = self._predictors(data, context)
        weights, parts = self._regimes.parts(self._family, data, predictors, context)
        return self._forecast(X, data, weights, parts)

    def predict_proba(self, X: Any, context: Any = None) -> Any:
        """Return the probabilities of the regimes of each case, shape (n, K); NaN without a member.

        A DataArray if X is one, whose regimes are numbered as in ``regimes_``.
        """
        from degmm.results import data_array

        check_is_fitted(self)
        data = labelled(X)
        context = self._checked_context(data, context)
        predictors = self._predictors(data, context)
        gamma = self._regimes.proba(data, predictors, context)
        gamma = np.where(np.isnan(predictors.mean).all(axis=1)[:, None], np.nan, gamma)
        if data is X:
            return gamma
        answer = data_array(data, gamma, "regime_probability", ("regime",))
        return answer.assign_coords({answer.dims[-1]: np.arange(gamma.shape[1]) + 1})

    # --- for the above --------------------------------------------------------------------------

    def _fit(self, X: Any, y: Any, context: Any, sample_weight: Any, described: bool) -> Self:
        find("gate", self.gate, dict.fromkeys(GATES))
        K = check_integer("n_components", self.n_components, 1)
        if self.gate == "deep" and self.mixture is not None:
            raise ValueError("mixture: has no effect with gate='deep'; leave it out")
        shrinkage = check_number("shrinkage", self.shrinkage, 0)
        settings = self._settings(K)
        rng = generator(self.random_state)
        family = find_family(self.family)
        data = self._prepared(X, y, context, sample_weight)
        used = int(data.weights.any(axis=1).sum())
        if used < K:
            raise ValueError(
                f"n_components: {K} regimes are too many for {used} cases with an observation; lower it"
            )
        for name in ("mixture_", "losses_", "regimes_", "crps_"):
            self.__dict__.pop(name, None)
        if self.gate == "deep":
            regimes, units, losses, result = DeepRegimes.fit(data, family, settings, rng)
            self._regimes, self.losses_ = regimes, losses
            data = data._replace(units=units)
        else:
            context = self._checked_context(data.X, context)
            self._regimes, result = ClusterRegimes.fit(data, family, K, self.mixture, context, shrinkage, rng)
            self.mixture_ = self._regimes.mixture
        self._keep(data)
        if described and result is not Result.NON_FINITE:
            self._describe(data, context)
        self._ended(result)
        return self

    def _settings(self, K: int) -> GatedSettings:
        return GatedSettings(
            K,
            check_integer("n_networks", self.n_networks, 1),
            check_integer("hidden", self.hidden, 1),
            check_integer("max_steps", self.max_steps, 1),
            check_integer("batch_size", self.batch_size, 1),
            check_number("learning_rate", self.learning_rate, 0, open_below=True),
            check_number("gate_decay", self.gate_decay, 0),
            check_number("expert_decay", self.expert_decay, 0),
        )

    def _describe(self, data: CalibrationData, context: Any) -> None:
        """Say how good the fit is and what the regimes are."""
        weights, parts = self._regimes.parts(self._family, data.X, data.predictors, context)
        shape = data.observed.shape if data.observed.shape[1] > 1 else (len(data.observed),)
        crps = self._forecast(data.X, data.X, weights, parts).crps(data.observed.reshape(shape))
        used = data.weights.reshape(shape) > 0
        self.crps_ = float(np.average(crps[used], weights=data.weights.reshape(shape)[used]))
        gamma, experts = self._experts(data, data.predictors, context)
        self.regimes_ = regime_table(data, gamma, experts)

    def _experts(
        self, data: CalibrationData, predictors: Predictors, context: Any
    ) -> tuple[Float[np.ndarray, "n K"], list[Forecast]]:
        """Return the regimes of cases and what each expert forecasts."""
        gamma = self._regimes.proba(data.X, predictors, context)
        _, parts = self._regimes.parts(self._family, data.X, predictors, context, only_best=True)
        experts = []
        for k in range(gamma.shape[1]):
            of_one = [part[..., k : k + 1] for part in parts]
            experts.append(self._forecast(data.X, data.X, np.ones_like(of_one[0]), of_one))
        return gamma, experts

    # --- for saved models -----------------------------------------------------------------------

    def _get_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return all that a fit set, as arrays and as facts that JSON can hold."""
        check_is_fitted(self)
        arrays, facts = self._recipe.state()
        of_regimes, more = self._regimes.state()
        arrays |= self._units_state() | of_regimes
        if hasattr(self, "losses_"):
            arrays["losses"] = self.losses_
        facts |= {"family": self._family.name, "result": self.result_.name, **more}
        if hasattr(self, "regimes_"):
            facts |= {"crps": self.crps_, "regimes": self.regimes_.reset_index().to_dict("list")}
        return {name: np.asarray(array) for name, array in arrays.items()}, facts

    def _set_state(self, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> None:
        """Set what :meth:`_get_state` gave.

        Raises
        ------
        ValueError
            If a size or a number is none that a fit gives; a name that is not there raises KeyError.
        """
        import pandas as pd

        find("gate", self.gate, dict.fromkeys(GATES))
        self._restore_units(arrays, facts)
        kind = DeepRegimes if self.gate == "deep" else ClusterRegimes
        self._regimes = kind.restored(arrays, facts, self._recipe, self.n_components)
        if isinstance(self._regimes, ClusterRegimes):
            self.mixture_ = self._regimes.mixture
        else:
            self.losses_ = arrays["losses"]
        levels = ["regime"] if self.n_features_in_ == 1 else ["regime", "variable"]
        self.regimes_ = pd.DataFrame(facts["regimes"]).set_index(levels)
        if len(self.regimes_) != self.n_components * self.n_features_in_:
            raise ValueError(f"{len(self.regimes_)} rows for {self.n_components} regimes")
        if not np.isfinite(facts["crps"]):
            raise ValueError("crps is not finite")
        self.crps_, self.result_ = float(facts["crps"]), Result[facts["result"]]
        self.converged_ = self.result_.succeeded
