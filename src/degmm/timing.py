"""Where the time of a job goes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

_COMPILE_EVENTS = (
    "/jax/core/compile/jaxpr_trace_duration",
    "/jax/core/compile/jaxpr_to_mlir_module_duration",
    "/jax/core/compile/backend_compile_duration",
)


class Stopwatch:
    """Adds up the seconds of named phases, and apart from them the seconds that JAX compiles."""

    def __init__(self) -> None:
        self.phases: dict[str, float] = {}
        self.compile = 0.0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a phase."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.phases[name] = self.phases.get(name, 0.0) + time.perf_counter() - start

    @contextmanager
    def compilation(self) -> Iterator[None]:
        """Count the seconds that JAX compiles while the context is open."""
        from jax import monitoring

        def listen(event: str, duration_secs: float, **_: str | int) -> None:
            if event in _COMPILE_EVENTS:
                self.compile += duration_secs

        monitoring.register_event_duration_secs_listener(listen)
        try:
            yield
        finally:
            monitoring.unregister_event_duration_listener(listen)
