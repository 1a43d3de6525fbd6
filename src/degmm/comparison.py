"""The main job: the models of the project side by side on generated ensembles."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from degmm.datasets import MixtureTruth, make_exchangeable_mixture
from degmm.metrics import accuracy, adjusted_rand_index
from degmm.timing import Stopwatch

if TYPE_CHECKING:
    import pandas as pd

SNAPSHOTS = 40
"""Frames of the animation."""


class Clustering(NamedTuple):
    """One model's answer, in the units of the data."""

    name: str
    members: int
    """Members of an ensemble that the model sees"""
    labels: np.ndarray
    log_likelihood: float
    """A member, in nats"""
    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    seconds: float | None
    """None for the oracle, which is not fitted"""


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare` returns."""

    table: "pd.DataFrame"
    """One row a model: members, accuracy, ari, log_likelihood (a member, nats), seconds"""
    figures: tuple[Path, ...]
    """The pictures written"""
    seconds: dict[str, float] = field(default_factory=dict)
    """Where the time went; ``compile`` is part of the models' times"""


def compare(
    n: int = 1000,
    M: int = 10,
    D: int = 2,
    K: int = 3,
    num_epochs: int = 1000,
    seed: int = 0,
    output: str | Path | None = "figures",
    *,
    covariance: Literal["diagonal", "full"] = "diagonal",
    dtype: Any = None,
    progress: bool = False,
) -> Comparison:
    """Draw ensembles from an exchangeable mixture and cluster them with every model.

    GMM and DGMM see the first member of each ensemble, as in the original program; EGMM and DEGMM
    see all members. The Bayes oracle knows the true parameters: no method does better on average.

    Parameters
    ----------
    n, M, D, K : int
        Numbers of ensembles, members, variables and clusters.
    num_epochs : int
        Epochs of the deep models.
    seed : int
        Seed of the data and of the models.
    output : str, Path or None
        Folder for ``example.png``, ``results.png`` and ``inference_degmm.gif``; None draws nothing.
    covariance : {"diagonal", "full"}
        How the true covariances are drawn.
    dtype : {float32, float64}, optional
        Precision of the data and the models.
    progress : bool
        Whether to show the progress of training.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        For a size below 1, fewer ensembles than clusters, or a folder that cannot be written.
    """
    import pandas as pd

    watch = Stopwatch()
    folder = None if output is None else _writable(Path(output))
    with watch.compilation():
        with watch.phase("data"):
            X, labels, truth = make_exchangeable_mixture(n, M, D, K, seed=seed, covariance=covariance)
            X = X.astype(dtype or X.dtype, copy=False)
        clusterings = [
            oracle(X, truth, "Bayes, all members"),
            oracle(X[:, :1], truth, "Bayes, one member"),
        ]
        models = _models(K, num_epochs, seed, folder is not None, progress)
        for name, model in models.items():
            members = X[:, :1] if name in ("GMM", "DGMM") else X
            with watch.phase(name):
                model.fit(members)
            clusterings.append(_clustering(name, members, model, watch.phases[name]))
    rows = {
        c.name: {
            "members": c.members,
            "accuracy": accuracy(labels, c.labels),
            "ari": adjusted_rand_index(labels, c.labels),
            "log_likelihood": c.log_likelihood,
            "seconds": np.nan if c.seconds is None else c.seconds,
        }
        for c in clusterings
    }
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")
    figures: tuple[Path, ...] = ()
    if folder is not None:
        from degmm.plotting.comparison import draw_comparison

        with watch.phase("pictures"):
            figures = draw_comparison(folder, X, labels, truth, clusterings, models["DEGMM"].snapshots_)
    return Comparison(table, figures, {**watch.phases, "compile": watch.compile})


def oracle(X: np.ndarray, truth: MixtureTruth, name: str) -> Clustering:
    """Cluster ensembles of independent members with the parameters they were drawn with."""
    from degmm.families import MixtureParameters, make_family
    from degmm.inference.mixture import evaluate
    from degmm.moments import Scaling, moments_of
    from degmm.precision import precision_of

    n, M, D = X.shape
    moments = moments_of(X, np.ones(n), Scaling(np.zeros(D), np.ones(D)))
    with precision_of(X.dtype):
        parameters = MixtureParameters(*(np.asarray(part, X.dtype) for part in truth))
        log_density, responsibilities = evaluate(make_family("independent", "full"), parameters, moments)
    return Clustering(
        name,
        M,
        np.asarray(responsibilities).argmax(axis=0),
        float(np.asarray(log_density, np.float64).sum() / (n * M)),
        truth.weights,
        truth.means,
        truth.within + truth.between,
        None,
    )


def _models(K: int, num_epochs: int, seed: int, animated: bool, progress: bool) -> dict[str, Any]:
    from degmm.estimators import EGMM, GMM
    from degmm.estimators.deep import DEGMM, DGMM

    deep: dict[str, Any] = {"max_epochs": num_epochs, "random_state": seed, "progress": progress}
    return {
        "GMM": GMM(K, random_state=seed),
        "DGMM": DGMM(K, **deep),
        "EGMM": EGMM(K, random_state=seed),
        "DEGMM": DEGMM(K, snapshots=SNAPSHOTS if animated else 0, **deep),
    }


def _clustering(name: str, members: np.ndarray, model: Any, seconds: float) -> Clustering:
    n, M, _ = members.shape
    return Clustering(
        name,
        M,
        model.labels_,
        model.log_likelihood_ / (n * M),
        model.weights_,
        model.means_,
        model.covariances_,
        seconds,
    )


def _writable(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".degmm-writes"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(
            f"output: the folder {folder} cannot be written ({error.strerror or error})"
        ) from error
    return folder


def matched_colours(labels: np.ndarray, clustering: Clustering) -> Sequence[int]:
    """Return the colour number of each cluster: that of the true label it is matched to."""
    from degmm.metrics import matching

    K = len(clustering.means)
    return [int(label) for label in matching(labels, clustering.labels, K)[:K]]
