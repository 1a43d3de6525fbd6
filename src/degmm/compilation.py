"""How functions are compiled: ``jax.jit`` with the options that suit these kernels."""

from typing import Any

import jax

# XLA's newer generator of fused CPU loops takes twice as long to compile these kernels, and what it
# makes of a pass of EM runs at about half the speed of the older one's (docs/benchmarks.md). The
# option is known to be there up to this version of jax; later ones use their own default.
OLDER_EMITTERS_UNTIL = (0, 11)
OPTIONS = {"xla_cpu_use_fusion_emitters": False} if jax.__version_info__ < OLDER_EMITTERS_UNTIL else {}


def jit(function: Any, **arguments: Any) -> Any:
    """Return ``function`` compiled when first called, as by ``jax.jit``."""
    return jax.jit(function, compiler_options=OPTIONS, **arguments)
