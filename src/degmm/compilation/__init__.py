"""How functions are compiled, and how what is compiled is kept: in memory, and between processes."""

from degmm.compilation.programs import jit

__all__ = ["jit"]
