"""How each library fits: what it imports, and what a user of it would write.

Each function imports its library, which is timed, and returns the fit, which is timed apart. A fit takes
members (n, M, D) and what ``Series`` says, and returns its iterations and the mean log-likelihood of a
member: under the flattened model for the peers, so that at M > 1 it is not comparable with ours.
"""

import warnings
from collections.abc import Callable
from typing import Any

from benchmarks.side_by_side.cases import EMPTY

Told = dict[str, Any]
Found = tuple[int, float]
Fit = Callable[[Any, Told], Found]


def degmm() -> Fit:
    """Fit EGMM, or GMM where M = 1. The tolerance is per ensemble there, hence M times that per member."""
    from degmm import EGMM, GMM

    def fit(X: Any, told: Told) -> Found:
        M = X.shape[1]
        rules = {"n_init": told["starts"], "tol": told["tol"] * M, "max_iter": told["max_iter"]}
        settings: dict[str, Any] = {} if told["defaults"] else rules
        model = (EGMM if M > 1 else GMM)(told["K"], random_state=0, **settings).fit(X)
        return model.n_iter_, model.log_likelihood_ / (X.shape[0] * M)

    return fit


def deep(epochs: int | None = None) -> Callable[[], Fit]:
    """Fit DEGMM, for the epochs told or a number of its own."""

    def load() -> Fit:
        from degmm import DEGMM

        def fit(X: Any, told: Told) -> Found:
            batches = {"batch_size": 4096} if X.shape[0] > 4096 else {}
            model = DEGMM(
                told["K"], max_epochs=told["epochs"] if epochs is None else epochs, random_state=0, **batches
            ).fit(X)
            return model.n_iter_, model.log_likelihood_ / (X.shape[0] * X.shape[1])

        return fit

    return load


def scikit_learn() -> Fit:
    """Fit scikit-learn's mixture; its tolerance is per member."""
    from sklearn.mixture import GaussianMixture

    def fit(X: Any, told: Told) -> Found:
        rules = {"n_init": told["starts"], "tol": told["tol"], "max_iter": told["max_iter"]}
        settings: dict[str, Any] = {} if told["defaults"] else rules
        model = GaussianMixture(told["K"], random_state=0, **settings).fit(X.reshape(-1, X.shape[2]))
        return model.n_iter_, float(model.lower_bound_)

    return fit


def gmmx() -> Fit:
    """Fit gmmx's mixture from k-means, its own way to start; its tolerance is per member."""
    from gmmx import EMFitter, GaussianMixtureModelJax

    def fit(X: Any, told: Told) -> Found:
        flat = X.reshape(-1, X.shape[2])
        fitter = EMFitter(tol=told["tol"], max_iter=told["max_iter"])
        best = (0, -float("inf"))
        for seed in range(told["starts"]):
            start = GaussianMixtureModelJax.from_k_means(flat, told["K"], n_init=1, random_state=seed)
            result = fitter.fit(x=flat, gmm=start)
            best = max(best, (int(result.n_iter), float(result.log_likelihood)), key=lambda found: found[1])
        return best

    return fit


def pomegranate() -> Fit:
    """Fit pomegranate's mixture; its tolerance is of the sum over members."""
    import torch
    from pomegranate.distributions import Normal
    from pomegranate.gmm import GeneralMixtureModel

    def fit(X: Any, told: Told) -> Found:
        flat = torch.from_numpy(X.reshape(-1, X.shape[2]))
        best = -float("inf")
        for seed in range(told["starts"]):
            model = GeneralMixtureModel(
                [Normal() for _ in range(told["K"])],
                tol=told["tol"] * len(flat),
                max_iter=told["max_iter"],
                random_state=seed,
            ).fit(flat)
            if told["starts"] == 1:
                return 0, float("nan")  # it tells neither its iterations nor, without a pass, its likelihood
            best = max(best, float(model.log_probability(flat).mean()))
        return 0, best

    return fit


LIBRARIES: dict[str, Callable[[], Fit]] = {
    "degmm": degmm,
    "degmm, deep": deep(),
    "degmm, 3 epochs": deep(3),
    "scikit-learn": scikit_learn,
    "gmmx": gmmx,
    "pomegranate": pomegranate,
}
MODULES = {"scikit-learn": "sklearn", "gmmx": "gmmx", "pomegranate": "pomegranate"}
"""What is imported from each peer, to see whether it is installed"""


def loaded(name: str) -> Fit:
    """Import a library and return its fit. Warnings that EM has not converged are no news here."""
    fit = LIBRARIES[name.removesuffix(EMPTY)]()
    warnings.simplefilter("ignore")
    return fit
