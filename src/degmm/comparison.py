"""The main job: the models of the project side by side on generated ensembles."""

from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from degmm.choices import find
from degmm.clustering import Clustering, clustering_of, oracle
from degmm.datasets import MixtureTruth, make_exchangeable_mixture
from degmm.folders import output_folder
from degmm.metrics import accuracy, adjusted_rand_index
from degmm.timing import Stopwatch

if TYPE_CHECKING:
    import pandas as pd

SNAPSHOTS = 40
"""Frames of the animation."""
FORMATS = ("png", "pdf", "svg")
"""Of the pictures that do not move."""


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare` returns."""

    table: "pd.DataFrame"
    """One row a model: members, accuracy, ari, log_likelihood (nats per member),
    kl (of a network's γ from the exact posterior, nats per ensemble), seconds"""
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
    format: Literal["png", "pdf", "svg"] = "png",
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
    format : {"png", "pdf", "svg"}
        Of the example and the results; the animation is a GIF.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        For a size that is no integer of at least 1, fewer ensembles than clusters, another precision
        than those, or a folder that cannot be written.
    """
    watch = Stopwatch()
    _check({"n": n, "M": M, "D": D, "K": K, "num_epochs": num_epochs}, seed, dtype)
    find("format", format, {name: name for name in FORMATS})
    pictures = picture_names(format)
    with watch.compilation():
        with watch.phase("data"):
            X, labels, truth = make_exchangeable_mixture(n, M, D, K, seed=seed, covariance=covariance)
            X = X.astype(X.dtype if dtype is None else dtype, copy=False)
        # Opened after the data, whose mistakes need no folder.
        holds = nullcontext() if output is None else output_folder(Path(output), *pictures)
        with holds as folder:
            clusterings, snapshots = _clusterings(X, truth, watch, K, num_epochs, seed, folder, progress)
            figures: tuple[Path, ...] = ()
            if folder is not None:
                from degmm.plotting.comparison import draw_comparison

                with watch.phase("pictures"):
                    paths = [folder / name for name in pictures]
                    draw_comparison(paths, X, labels, truth, clusterings, snapshots)
                    figures = tuple(Path(output or "") / name for name in pictures)
    return Comparison(_table(labels, clusterings), figures, {**watch.phases, "compile": watch.compile})


def picture_names(format: str) -> tuple[str, str, str]:
    """Return the names of the files that :func:`compare` writes."""
    return f"example.{format}", f"results.{format}", "inference_degmm.gif"


def _clusterings(
    X: np.ndarray,
    truth: MixtureTruth,
    watch: Stopwatch,
    K: int,
    num_epochs: int,
    seed: int,
    folder: Path | None,
    progress: bool,
) -> tuple[list[Clustering], list[Any]]:
    """Return the answers of the oracles and the models, and the epochs of the last for its animation."""
    clusterings = [
        oracle(X, truth, "Bayes, all members"),
        oracle(X[:, :1], truth, "Bayes, one member"),
    ]
    models = _models(K, num_epochs, seed, folder is not None, progress)
    for name, model in models.items():
        members = X[:, :1] if name in ("GMM", "DGMM") else X
        with watch.phase(name):
            model.fit(members)
        clusterings.append(clustering_of(name, members, model, watch.phases[name]))
    return clusterings, models["DEGMM"].snapshots_


def _table(labels: np.ndarray, clusterings: list[Clustering]) -> "pd.DataFrame":
    import pandas as pd

    rows = {
        c.name: {
            "members": c.members,
            "accuracy": accuracy(labels, c.labels),
            "ari": adjusted_rand_index(labels, c.labels),
            "log_likelihood": c.log_likelihood,
            "kl": c.kl,
            "seconds": np.nan if c.seconds is None else c.seconds,
        }
        for c in clusterings
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def _models(K: int, num_epochs: int, seed: int, animated: bool, progress: bool) -> dict[str, Any]:
    from degmm.estimators.deep import DEGMM
    from degmm.estimators.deep_single import DGMM
    from degmm.estimators.em import EGMM, GMM

    deep: dict[str, Any] = {"max_epochs": num_epochs, "random_state": seed, "progress": progress}
    return {
        "GMM": GMM(K, random_state=seed),
        "DGMM": DGMM(K, **deep),
        "EGMM": EGMM(K, random_state=seed),
        "DEGMM": DEGMM(K, snapshots=SNAPSHOTS if animated else 0, **deep),
    }


def _check(sizes: dict[str, Any], seed: Any, dtype: Any) -> None:
    """Check the sizes, all at least 1, and the rest before anything is drawn."""
    from degmm.estimators.checks import check_dtype, check_integer

    for name, size in sizes.items():
        check_integer(name, size, 1)
    check_integer("seed", seed, 0)
    check_dtype(dtype)
    if sizes["n"] < sizes["K"]:
        raise ValueError(f"n: {sizes['n']} ensembles are too few for K = {sizes['K']} clusters")
