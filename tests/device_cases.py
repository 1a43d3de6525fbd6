"""Fits for tests/test_devices.py, which runs this file as a script where JAX sees several devices.

    python device_cases.py OUT [--process I --port P]

fits every case over all devices and writes what each fit found to the file OUT.
"""

import argparse
import json
import re
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from sklearn.exceptions import ConvergenceWarning

import degmm
from degmm import DEGMM, DGMM, EGMM, GMM
from degmm.sharding import current_mesh

K = 3


def data(n, M=6, D=2, *, ragged=False, dtype=np.float64):
    """Ensembles about K centres; ``ragged`` ones lack members and have unequal weights."""
    rng = np.random.default_rng(5)
    labels = rng.integers(K, size=n)
    centres = rng.normal(scale=3, size=(K, D))
    X = centres[labels][:, None] + rng.normal(size=(n, 1, D)) + rng.normal(size=(n, M, D))
    weights = np.ones(n)
    if ragged:
        X[:, 1:][rng.random((n, M - 1)) < 0.3] = np.nan
        weights = rng.choice([0.0, 0.5, 1.0, 3.0], size=n)
    return X.astype(dtype), weights, rng.normal(size=(n, 2))


def starts(n):
    return np.random.default_rng(6).dirichlet(np.ones(K), size=n)


# name: estimator, its arguments, what the data are like. All EM fits start from given responsibilities but
# "search", which finds its own start on a sample of the ensembles.
EM = {
    "independent": (EGMM, {}, {"n": 500}),
    "independent, ragged": (EGMM, {"covariance_type": "tied"}, {"n": 501, "ragged": True}),
    "five variables": (EGMM, {}, {"n": 400, "D": 5, "ragged": True}),
    "shared centre": (EGMM, {"member_model": "shared_centre"}, {"n": 500}),
    "shared centre, ragged": (EGMM, {"member_model": "shared_centre"}, {"n": 501, "ragged": True}),
    "single members": (GMM, {}, {"n": 500, "M": 1}),
    "many blocks": (EGMM, {"tol": 0, "max_iter": 20}, {"n": 40_000, "M": 3, "ragged": True}),
    "in blocks": (EGMM, {}, {"n": 501, "ragged": True}),
    "search": (EGMM, {"n_init": 4, "init_params": "k-means++"}, {"n": 15_000, "ragged": True}),
}
DEEP = {
    "full batch": (DEGMM, {}, {"n": 500, "ragged": True}),
    "through the M-step": (
        DEGMM,
        {"objective": "likelihood", "member_model": "shared_centre"},
        {"n": 300, "ragged": True},
    ),
    "batches": (
        DEGMM,
        {"batch_size": 70, "validation_fraction": 0.2, "encoder": "deep_sets"},
        {"n": 500, "ragged": True},
    ),
    "context": (DGMM, {"n_networks": 2, "polish": 2}, {"n": 500, "M": 1}),
}
IN_TWO = ["shared centre, ragged", "search", "full batch", "batches", "context"]
"""Those that two processes fit, too"""
FITTED = (
    "weights_",
    "means_",
    "within_covariances_",
    "between_covariances_",
    "log_likelihood_",
    "n_iter_",
    "labels_",
)


def fit(name, part=slice(None)):
    """Return the fitted model of a case, of the ensembles in ``part``."""
    kind, arguments, of = (EM | DEEP)[name]
    X, weights, context = data(**of)
    fitted = {"sample_weight": weights[part]}
    if name in EM:
        arguments = {"init_params": starts(len(X))[part], "max_iter": 100} | arguments
    else:
        arguments = {"max_epochs": 30, "n_init": 2, "polish": 0} | arguments
        if name == "context":
            fitted["context"] = context[part]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # few epochs are enough to compare
        X = iter([X[:200], X[200:]]) if name == "in blocks" and current_mesh() else X[part]
        return kind(K, random_state=0, **arguments).fit(X, **fitted)


def facts(model):
    found = {name: np.asarray(getattr(model, name)) for name in FITTED}
    return found | {"history": np.asarray(model.history_["log_likelihood"])}


def counted_exchanges(n):
    """Return how often devices exchange what in a compiled EM fit, in all and in its loop."""
    from degmm import sharding

    texts = []
    compiled_of = sharding._compiled

    def seen(*arguments):
        function = compiled_of(*arguments)

        def call(*values):
            texts.append(function.compiled.lower(*values).compile().as_text())
            return function(*values)

        return call

    sharding._compiled = seen
    X, weights, _ = data(n)
    with degmm.devices():
        model = EGMM(K, n_init=2, max_iter=3, tol=0, random_state=0).fit(X[:100])
        EGMM(K, init_params=model, max_iter=3, tol=0).fit(X, sample_weight=weights)
    kinds = "all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter"
    found = re.findall(rf"= [^=]*? ({kinds})(?:-start)?\((.*)", texts[-1])
    return {
        "all": Counter(kind for kind, _ in found),
        "loop": Counter(kind for kind, rest in found if "while/body" in rest),
    }


def message_of(X, n_components=K):
    try:
        EGMM(n_components, n_init=2, random_state=0).fit(X)
    except ValueError as error:
        return str(error)
    return "no error"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--process", type=int)
    parser.add_argument("--port", type=int)
    given = parser.parse_args()
    found = {}
    if given.process is None:
        with degmm.devices() as mesh:
            found = {name: facts(fit(name)) for name in EM | DEEP}
            report = {"devices": mesh.size, "few": message_of(data(5)[0], 2)}
        report["exchanges"] = counted_exchanges(40_000)
    else:
        import jax

        jax.distributed.initialize(f"localhost:{given.port}", 2, given.process)
        with degmm.devices() as mesh:
            for name in IN_TWO:
                n = (EM | DEEP)[name][2]["n"]
                cut = n // 3  # unequal parts
                part = slice(None, cut) if given.process == 0 else slice(cut, None)
                found[name] = facts(fit(name, part))
            X = data(60)[0]
            bad = X.copy()
            bad[4, 2] = np.inf
            first = given.process == 0
            report = {
                "devices": mesh.size,
                "bad": message_of(X if first else bad),
                "unlike": message_of(X, K if first else K + 1),
                "narrow": message_of(X[..., :1] if first else X),
                "few": message_of(X[:1], K),
                "blocks": message_of([X, X], K),
            }
    with given.out.open("wb") as file:
        np.savez(
            file,
            report=json.dumps(report),
            **{f"{name}/{key}": value for name, facts_ in found.items() for key, value in facts_.items()},
        )


if __name__ == "__main__":
    main()
