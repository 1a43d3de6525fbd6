"""How functions are compiled: ``jax.jit`` with the options that suit these kernels."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import jax

KNOWN_UNTIL = (0, 11)
"""The options below are known to be there up to this version of jax; later ones use their defaults."""
OPTIONS: dict[str, Any] = {
    # XLA's newer generator of fused CPU loops takes twice as long to compile these kernels, and what
    # it makes of a pass of EM runs at about half the speed of the older one's (docs/benchmarks.md).
    "xla_cpu_use_fusion_emitters": False,
    # The kernels are small: cut into the usual 32 parts, they compile for a tenth longer.
    "xla_cpu_parallel_codegen_split_count": 2,
}


def jit(function: Any, **arguments: Any) -> Any:
    """Return ``function`` compiled when first called, as by ``jax.jit``, for positional arguments.

    JAX allows options of compilation at the top alone: what other compiled functions call is left to
    ``jax.jit``.
    """
    options = OPTIONS if jax.__version_info__ < KNOWN_UNTIL else {}
    compiled = jax.jit(function, compiler_options=options, **arguments)

    @wraps(function)
    def call(*values: Any) -> Any:
        with _collection_paused():
            return compiled(*values)

    call.compiled = compiled  # type: ignore[attr-defined]
    return call


@contextmanager
def _collection_paused() -> Iterator[None]:
    """Let no garbage collection run meanwhile.

    Tracing makes many small objects, which sets off collections of the whole heap, and in a process
    that has imported jax and scikit-learn each takes a tenth of a second and finds nothing.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
