"""Processes made by fork: what JAX needs to compute is not copied with them."""

import os

_state = {"used": False, "lost": False}


def _in_child() -> None:
    _state["lost"] = _state["lost"] or _state["used"]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


def begin_computing() -> None:
    """Note that this process computes with JAX.

    Raises
    ------
    RuntimeError
        If it was made by fork from one that did: the threads of JAX are not copied, and its first
        computation would wait for them for ever.
    """
    if _state["lost"]:
        raise RuntimeError(
            "this process was made by fork after its parent had computed with degmm, and a fork copies none "
            "of JAX's threads: start processes with multiprocessing.get_context('spawn'), or with joblib's "
            "default backend 'loky', or fork before the first fit or prediction"
        )
    _state["used"] = True
