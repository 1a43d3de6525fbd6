"""``jax.jit`` with the options that suit these kernels, and with programs that are kept between runs."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import update_wrapper
from typing import Any

import jax

from degmm.compilation import disk
from degmm.compilation.keys import Call, call_of, disk_key, is_transformed
from degmm.compilation.memory import PROGRAMS
from degmm.interrupts import check
from degmm.shortage import as_memory_error, shortage_told

KNOWN_UNTIL = (0, 11)
"""The options below are known to be there up to this version of jax; later ones use their defaults."""
OPTIONS: dict[str, Any] = {
    # XLA's newer generator of fused CPU loops takes twice as long to compile these kernels, and what
    # it makes of a pass of EM runs at about half the speed of the older one's (docs/benchmarks.md).
    "xla_cpu_use_fusion_emitters": False,
    # The kernels are small: cut into the usual 32 parts, they compile for a tenth longer.
    "xla_cpu_parallel_codegen_split_count": 2,
}


class Jitted:
    """A function compiled when first called with arguments of a kind; see :func:`jit`."""

    def __init__(self, function: Any, static: tuple[int, ...], donated: tuple[int, ...]) -> None:
        update_wrapper(self, function)
        self.__wrapped__ = function
        self._static, self._donated = static, donated
        self._options = OPTIONS if jax.__version_info__ < KNOWN_UNTIL else {}
        self.compiled = self._plain(function)
        """Of ``jax.jit`` itself, for other devices"""
        self._within = jax.jit(function, static_argnums=static, donate_argnums=donated)
        self.programs_made = 0
        """How often a program was compiled or loaded here"""

    def __call__(self, *values: Any) -> Any:
        """Return what the function returns."""
        check()
        with shortage_told():
            return self._called(values)

    def _called(self, values: tuple[Any, ...]) -> Any:
        call = call_of(values, self._static)
        if call is None:
            with _collection_paused():
                return (self._within if is_transformed(values) else self.compiled)(*values)
        program = PROGRAMS.find(self, call.key)
        if program is not None:
            return program(*call.dynamic)
        with _collection_paused():
            return self._first(call, values)

    def __reduce__(self) -> str:
        # Pickled by its name, as the function would be.
        return str(self.__wrapped__.__qualname__)

    def forget(self) -> None:
        """Drop this function's programs from memory."""
        self.compiled.clear_cache()
        PROGRAMS.drop(self)

    def _first(self, call: Call, values: tuple[Any, ...]) -> Any:
        """Return what the function returns, of a program that is not in memory yet."""
        self.programs_made += 1
        key = disk_key(self.__wrapped__, self._static, self._donated, self._options, call)
        program = disk.load(key, call)
        if program is not None:
            try:
                found = jax.block_until_ready(program(*call.dynamic))
            except jax.errors.JaxRuntimeError as error:
                if as_memory_error(error) is not error:  # no fault of the program's
                    raise
                disk.discard(key)  # of no use here, whatever it is: compiled anew, it shows what is wrong
            else:
                PROGRAMS.keep(self, call.key, program)
                return found
        # Of a copy of the function: what jax holds for it goes when the program does.
        lowered = self._plain(_copied(self.__wrapped__)).lower(*values)
        program = lowered.compile()
        disk.save(key, lowered, program)
        PROGRAMS.keep(self, call.key, program)
        return program(*call.dynamic)

    def _plain(self, function: Any) -> Any:
        return jax.jit(
            function,
            static_argnums=self._static,
            donate_argnums=self._donated,
            compiler_options=self._options,
        )


def jit(
    function: Any,
    *,
    static_argnums: int | tuple[int, ...] = (),
    donate_argnums: int | tuple[int, ...] = (),
) -> Jitted:
    """Return ``function`` compiled when first called, as by ``jax.jit``, for positional arguments.

    On one CPU, a program is looked for in memory, where the most recently used of the whole process
    are held, then in the store on disk (docs/cache.md), and is else compiled. On other devices, and
    where JAX transforms what calls the function, this is ``jax.jit``, with no options in the latter
    case: JAX allows them at the top alone.
    """
    return Jitted(function, _places(static_argnums), _places(donate_argnums))


def _places(numbers: int | tuple[int, ...]) -> tuple[int, ...]:
    return (numbers,) if isinstance(numbers, int) else tuple(numbers)


def _copied(function: Any) -> Any:
    def copy(*values: Any) -> Any:
        return function(*values)

    return update_wrapper(copy, function)


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
