"""Fits on several devices: a mesh for a block of code, and functions that run on the parts of their data.

Ensembles are shared out over the devices, parameters are on each: every device passes over its own
ensembles, the sums over ensembles are added up over the devices, and each takes the M-step.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache, partial
from typing import Any

import jax
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec

from degmm.compilation import jit

AXIS = "ensembles"
"""Name of the one axis of every mesh here"""
STATIC = "static"
"""In place of a ``Spec``: an argument that is compiled in"""
WHOLE = Spec()
"""Of what every device has whole"""

_mesh: ContextVar[Mesh | None] = ContextVar("mesh", default=None)


@contextmanager
def devices(over: Mesh | Sequence[Any] | int | None = None) -> Iterator[Mesh]:
    """Fit on several devices, and in several processes, within a ``with`` block.

    EM and the training of deep models are shared out over the ensembles; the search for a start on
    at most 8192 of them, and what is asked of a fitted model, stay on one device. Without this, a
    fit uses one device whatever there is. The setting belongs to where a fit runs and not to the
    model: it is no argument of an estimator, and is neither cloned nor saved with one.

    Where the devices are those of several processes (``jax.distributed.initialize``), every
    process makes the same calls, each with its own part of the ensembles; the fit is that of all
    of them, and the same in each.

    Parameters
    ----------
    over : jax.sharding.Mesh, sequence of devices, or int, optional
        A mesh of one axis of any name; or devices; or how many of them; by default all that JAX has.

    Yields
    ------
    Mesh
        The devices, along one axis.

    Raises
    ------
    ValueError
        If the mesh has several axes, there are fewer devices, or they are those of some of
        several processes, or of more devices in one process than in another.

    Examples
    --------
    >>> import degmm
    >>> X, labels, truth = degmm.datasets.make_exchangeable_mixture(n=300, M=10, D=2, K=3, seed=1)
    >>> with degmm.devices():
    ...     model = degmm.EGMM(n_components=3, random_state=0).fit(X)
    """
    mesh = _mesh_over(over)
    token = _mesh.set(mesh)
    try:
        with jax.default_device(mesh.local_devices[0]):
            yield mesh
    finally:
        _mesh.reset(token)


@contextmanager
def alone() -> Iterator[None]:
    """Compute on one device, and in this process alone, what all processes compute alike."""
    token = _mesh.set(None)
    try:
        yield
    finally:
        _mesh.reset(token)


def current_mesh() -> Mesh | None:
    """Return the mesh of the block that this runs in, if any."""
    return _mesh.get()


def n_local() -> int:
    """Return the number of parts that this process's ensembles are shared out in."""
    mesh = _mesh.get()
    return 1 if mesh is None else len(mesh.local_devices)


def n_processes() -> int:
    """Return the number of processes that fit together."""
    mesh = _mesh.get()
    return 1 if mesh is None else len({device.process_index for device in mesh.devices.flat})


def over_devices(axis: str | None, tree: Any) -> Any:
    """Return sums over the devices of a mesh, within :func:`on_devices`; the same where there is no axis."""
    if axis is None:
        return tree
    flat, restored = ravel_pytree(tree)  # one vector, hence one exchange between the devices
    return restored(jax.lax.psum(flat, axis))


def gradients_summed(axis: str | None, tree: Any) -> Any:
    """Return a tree whose gradients are sums over the devices, of which each has a part of the objective."""
    if axis is None:
        return tree
    flat, restored = ravel_pytree(tree)
    return restored(jax.lax.pcast(flat, axis, to="varying"))


def on_devices(
    function: Any, arguments: tuple[Any, ...], specs: tuple[Any, ...], donated: tuple[int, ...] = ()
) -> Any:
    """Call a compiled function on every device, on the device's part of the data; plainly, if on one.

    Parameters
    ----------
    function : callable, from ``degmm.compilation.jit``
        On several devices it gets ``AXIS`` after the arguments, over which it sums what depends on
        the data (:func:`over_devices`).
    arguments : tuple
        Arrays are this process's parts of what is shared out, or whole.
    specs : tuple
        For each argument ``STATIC``, or a ``Spec`` or a tree of them.
    donated : tuple of int
        Positions of arguments whose memory may be used again.

    Returns
    -------
    What the function does, the same on every device.
    """
    mesh = current_mesh()
    if mesh is None:
        return function(*arguments)
    static = tuple((i, arguments[i]) for i, spec in enumerate(specs) if spec is STATIC)
    free = [i for i, spec in enumerate(specs) if spec is not STATIC]
    compiled = _compiled(
        function, mesh, static, tuple((i, specs[i]) for i in free), tuple(free.index(i) for i in donated)
    )
    return compiled(*(_placed(mesh, arguments[i], specs[i]) for i in free))


@lru_cache(maxsize=64)
def _compiled(
    function: Any,
    mesh: Mesh,
    static: tuple[tuple[int, Any], ...],
    specs: tuple[tuple[int, Any], ...],
    donated: tuple[int, ...],
) -> Any:
    def on_each(*values: Any) -> Any:
        arguments = dict(static) | {i: value for (i, _), value in zip(specs, values, strict=True)}
        return function.__wrapped__(*(arguments[i] for i in sorted(arguments)), AXIS)

    parts = tuple(spec for _, spec in specs)
    return jit(jax.shard_map(on_each, mesh=mesh, in_specs=parts, out_specs=WHOLE), donate_argnums=donated)


def _placed(mesh: Mesh, tree: Any, specs: Any) -> Any:
    """Return arrays on the devices of a mesh."""

    def place(spec: Spec, part: Any) -> Any:
        wanted = NamedSharding(mesh, spec)

        def one(leaf: Any) -> Any:
            if isinstance(leaf, jax.Array) and leaf.sharding == wanted:
                return leaf
            return jax.make_array_from_process_local_data(wanted, np.asarray(leaf))

        return jax.tree.map(one, part)

    return jax.tree.map(place, specs, tree, is_leaf=partial(_is, Spec))


def _is(kind: type, value: Any) -> bool:
    return isinstance(value, kind)


def _mesh_over(over: Any) -> Mesh:
    if isinstance(over, Mesh):
        if over.devices.ndim != 1:
            axes = ", ".join(f"{name}: {size}" for name, size in over.shape.items())
            raise ValueError(
                f"devices: expected a mesh of one axis, over which ensembles are shared out; got one of "
                f"{over.devices.ndim} axes ({axes}); pass jax.make_mesh(({over.devices.size},), "
                f"({AXIS!r},))"
            )
        found = list(over.devices.flat)
    else:
        found = _devices(over)
    here = [device.process_index for device in found]
    processes = sorted(set(here))
    if processes != [jax.process_index()] and processes != list(range(jax.process_count())):
        raise ValueError(
            f"devices: the mesh has devices of processes {processes}; give it those of all "
            f"{jax.process_count()} processes, or of this one alone (jax.local_devices())"
        )
    counts = {here.count(process) for process in processes}
    if len(counts) > 1:
        raise ValueError("devices: every process must have the same number of devices in the mesh")
    found.sort(key=lambda device: (device.process_index, device.id))
    return Mesh(np.array(found), (AXIS,))


def _devices(over: Any) -> list[Any]:
    known = jax.devices()
    if over is None:
        return known
    if isinstance(over, int) and not isinstance(over, bool):
        if not 1 <= over <= len(known):
            raise ValueError(
                f"devices: expected at least 1; got {over}"
                if over < 1
                else f"devices: asked for {over}, and JAX has {len(known)} here; on a CPU, "
                f"XLA_FLAGS=--xla_force_host_platform_device_count={over} simulates more"
            )
        return known[:over]
    if isinstance(over, list | tuple | np.ndarray):
        found = list(np.asarray(over, dtype=object).flat)
        if found and all(isinstance(device, jax.Device) for device in found):
            if len(set(found)) < len(found):
                raise ValueError("devices: a device is named twice")
            return found
    raise ValueError(
        "devices: expected a jax.sharding.Mesh, devices of JAX such as jax.devices(), or how many of them; "
        f"got {over!r}"
    )
