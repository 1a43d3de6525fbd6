"""Moments that are kept while blocks are read: in memory, and beyond a limit in a temporary file."""

import errno
import tempfile
import threading
import weakref
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from degmm.merging import BlockMoments, Summary, in_standard_units, merged, scaling_of
from degmm.moments import Moments, aligned, joined
from degmm.scaling import Scaling
from degmm.scatter import Form

KEPT_BYTES = 2**28
"""Moments of a stream that take more are kept in a file; a fit in memory needs a few times as much."""
PAGE_BYTES = 2**23
"""A page of such a file, what is read at a time, takes about this much …"""
SMALLEST_PAGE = 1024
"""… and holds this many ensembles at least."""

NO_BLOCKS = "X: no blocks of ensembles; pass at least one (an iterator gives its blocks only once)"


def bytes_of(moments: Moments) -> int:
    """Return how much memory moments take."""
    return sum(part.nbytes for part in jax.tree.leaves(moments))


def _as_rows(moments: Moments) -> np.ndarray:
    return np.concatenate([np.atleast_2d(part) for part in jax.tree.leaves(moments)])


class SpilledMoments:
    """Moments of many ensembles in a temporary file without a name, page by page.

    The file goes when this object does, or with the process, however that ends.

    Parameters
    ----------
    like : Moments
        Of the same variables, precision and form of scatter.
    """

    def __init__(self, like: Moments) -> None:
        self.n_features, self.dtype = like.n_features, np.dtype(like.dtype)
        self.form: Form = type(like.scatter)
        self.scatter_size = like.scatter.values.shape[0]
        self._rows = 2 + self.n_features + self.scatter_size
        fitting = PAGE_BYTES // (self._rows * self.dtype.itemsize)
        self.page_size = max(SMALLEST_PAGE, 2 ** int(np.log2(max(fitting, 1))))
        self.n_stored, self.n_pages = 0, 0
        self._file: Any = tempfile.TemporaryFile(prefix="degmm-moments-")  # noqa: SIM115
        weakref.finalize(self, self._file.close)
        self._lock = threading.Lock()
        self._open = self._empty_page()
        self._filled = 0

    def append(self, moments: Moments) -> None:
        """Store the moments of further ensembles."""
        whole = _as_rows(moments).astype(self.dtype, copy=False)
        start, n = 0, whole.shape[1]
        while start < n:
            part = whole[:, start : start + self.page_size - self._filled]
            self._open[:, self._filled : self._filled + part.shape[1]] = part
            self._filled += part.shape[1]
            start += part.shape[1]
            if self._filled == self.page_size:
                self._flush()
        self.n_stored += n

    def close(self) -> None:
        """Write the last page, filled up with ensembles of weight 0."""
        if self._filled:
            self._flush()

    def page(self, k: int) -> Moments:
        """Return the moments of one page, read anew; several threads may read at once."""
        page = aligned((self._rows, self.page_size), self.dtype)
        with self._lock:
            self._file.seek(k * page.nbytes)
            if self._file.readinto(page.data.cast("B")) < page.nbytes:
                raise OSError(errno.EIO, "the temporary file of moments is cut off; fit again")
        scatter = self.form(page[1 + self.n_features : -1])
        return Moments(page[0], page[1 : 1 + self.n_features], scatter, page[-1])

    def replace(self, k: int, moments: Moments) -> None:
        """Write other moments in the place of a page."""
        self._write(k, _as_rows(moments))

    def _empty_page(self) -> np.ndarray:
        page = np.zeros((self._rows, self.page_size), self.dtype)
        page[0] = 1  # members
        return page

    def _flush(self) -> None:
        self._write(self.n_pages, self._open)
        self.n_pages += 1
        self._open, self._filled = self._empty_page(), 0

    def _write(self, k: int, page: np.ndarray) -> None:
        try:
            with self._lock:
                self._file.seek(k * page.nbytes)
                self._file.write(np.ascontiguousarray(page).data.cast("B"))
                self._file.flush()
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise OSError(
                error.errno,
                f"no space left in {tempfile.gettempdir()} for the moments of the fit, "
                f"{(k + 1) * page.nbytes / 1e9:.2g} GB so far; set TMPDIR to a folder with more",
            ) from error

    def used(self, k: int) -> Int[np.ndarray, "used"]:
        """Return the places in a page of the ensembles of a weight above 0."""
        return np.flatnonzero(self.page(k).weights > 0)


class Gathered:
    """Moments of blocks as they come, which then are those of all ensembles in standard units.

    Parameters
    ----------
    kept_bytes : int, optional
        Moments that take more are kept in a file.
    """

    def __init__(self, kept_bytes: int | None = None) -> None:
        self._most = KEPT_BYTES if kept_bytes is None else kept_bytes
        self._parts: list[Moments] = []
        self._units: list[tuple[int, Scaling, float]] = []
        self._bytes = 0
        self._spilled: SpilledMoments | None = None
        self.summary: Summary | None = None

    def add(self, block: BlockMoments) -> None:
        """Take the moments of a block."""
        moments = block.moments
        self.summary = block.summary if self.summary is None else merged(self.summary, block.summary)
        self._units.append((moments.n_samples, block.units, block.weight_unit))
        self._bytes += bytes_of(moments)
        if self._spilled is None and self._bytes > self._most:
            self._spilled = SpilledMoments(moments)
            for part in self._parts:
                self._spilled.append(part)
            self._parts = []
        if self._spilled is None:
            self._parts.append(moments)
        else:
            self._spilled.append(moments)

    def in_standard_units(self, *, common_scale: bool) -> tuple[Moments | SpilledMoments, Scaling]:
        """Return the moments of all ensembles in standard units, and these; to be called once.

        Raises
        ------
        ValueError
            If the precision cannot hold the square of a variable's spread.
        """
        if self.summary is None:
            raise ValueError(NO_BLOCKS)
        spilled, unit = self._spilled, self.summary.weight_unit
        dtype = self._parts[0].dtype if spilled is None else spilled.dtype
        scaling = scaling_of(self.summary, dtype, common_scale=common_scale)
        if spilled is None:
            parts = [
                in_standard_units(part, units, weight_unit, scaling, unit, b)
                for b, (part, (_, units, weight_unit)) in enumerate(
                    zip(self._parts, self._units, strict=True)
                )
            ]
            self._parts = []
            return joined(parts), scaling
        spilled.close()
        ends = np.cumsum([n for n, _, _ in self._units])
        for k in range(spilled.n_pages):
            page, start = spilled.page(k), k * spilled.page_size
            stop = min(start + spilled.page_size, spilled.n_stored)
            at = start
            while at < stop:  # a page may hold several blocks, and a block several pages
                b = int(np.searchsorted(ends, at, side="right"))
                to = min(stop, int(ends[b]))
                size, units, weight_unit = self._units[b]
                inside = slice(at - start, to - start)
                part = page.take(inside)
                first = at - (int(ends[b]) - size)
                moved = in_standard_units(part, units, weight_unit, scaling, unit, b, first)
                for rows, new in zip(jax.tree.leaves(page), jax.tree.leaves(moved), strict=True):
                    rows[..., inside] = new
                at = to
            spilled.replace(k, page)
        return spilled, scaling
