"""The picture of a choice of the number of clusters."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from degmm.plotting.style import colour_of, new_figure

if TYPE_CHECKING:
    import pandas as pd

CURVES = {"bic": ("BIC", "o", "-"), "aic": ("AIC", "^", "--"), "icl": ("ICL", "D", "-.")}
"""Label, marker and line of each criterion"""
DODGE = 0.035
"""Curves are drawn beside each other by this part of the axis."""
HELD_OUT = 5
"""Colour number of the held-out density"""
LINEAR = 10.0
"""Differences from the best that are drawn to scale; beyond, the axis is logarithmic."""


def selection(
    table: "pd.DataFrame",
    best: Mapping[str, int],
    *,
    axes: Sequence[Axes] | None = None,
) -> Sequence[Axes]:
    """Draw the criteria and the held-out log density against the number of components.

    The left panel shows how far BIC, AIC and ICL are above their least value, to scale up to 10 and
    on a logarithmic axis beyond: K = 1 may be thousands away and the runner-up few. The right panel
    shows the mean held-out log density ± its standard error over the folds. A star marks the best K
    of each.

    Parameters
    ----------
    table : pandas.DataFrame
        As :class:`degmm.selection.Selection` has it.
    best : mapping of str to int
        The best K of each criterion, likewise.
    axes : sequence of matplotlib Axes, optional
        One for the criteria and, where ``table`` has a held-out density, one for it; by default axes
        of a new figure.

    Returns
    -------
    sequence of matplotlib Axes
        Their ``figure`` can be saved with :func:`degmm.plotting.save_figure`.

    Raises
    ------
    ValueError
        If the number of axes is wrong.
    """
    panels = 2 if "held_out" in best else 1
    if axes is None:
        axes = new_figure(1, panels, size=(1.0 + 3.3 * panels, 3.3))[1]
    if len(axes) != panels:
        raise ValueError(f"axes: expected {panels} for this table, got {len(axes)}")
    _criteria(axes[0], table, best)
    if panels == 2:
        _held_out(axes[1], table, best["held_out"])
    for each in axes:
        each.set_xlabel("number of clusters K")
        each.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        each.set_xlim(table.index.min() - 0.5, table.index.max() + 0.5)
    return axes


def _criteria(axes: Axes, table: "pd.DataFrame", best: Mapping[str, int]) -> None:
    for i, (name, (label, marker, line)) in enumerate(CURVES.items()):
        if name not in best:
            continue
        # Curves that fall together are drawn side by side.
        beside = DODGE * (i - 1) * max(float(np.ptp(table.index.to_numpy())), 1.0)
        K = table.index.to_numpy() + beside
        values = table[name].to_numpy(float)
        above = values - values[table.index == best[name]]
        axes.plot(K, above, marker=marker, ls=line, ms=4, lw=1.3, color=colour_of(i), label=label)
        _star(axes, best[name] + beside, 0.0, i)
    axes.plot([], [], marker="*", ms=9, ls="none", color="#555555", label="best K")
    axes.set_yscale("symlog", linthresh=LINEAR, linscale=1.0)
    axes.set_ylim(bottom=-0.08 * LINEAR)
    axes.axhspan(*axes.get_ylim()[:1], LINEAR, color="#F2F2F2", lw=0, zorder=0)
    axes.yaxis.set_major_locator(FixedLocator([0, 5, *10.0 ** np.arange(1, 10)]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_ylabel(f"difference from the least\n(shaded: to scale; beyond {LINEAR:g}: logarithmic)")
    axes.set_title("criteria of the fit (less is better)", fontsize=10)
    axes.grid(axis="y", lw=0.4, color="#DDDDDD")
    axes.set_axisbelow(True)
    axes.legend(fontsize=8, frameon=False)


def _held_out(axes: Axes, table: "pd.DataFrame", best: int) -> None:
    values = table["held_out"].to_numpy(float)
    errors = np.nan_to_num(table["held_out_se"].to_numpy(float))
    axes.errorbar(
        table.index,
        values,
        errors,
        color=colour_of(HELD_OUT),
        marker="s",
        ms=4,
        lw=1.3,
        capsize=2.5,
        elinewidth=0.9,
    )
    _star(axes, best, float(values[table.index == best][0]), HELD_OUT, hollow=True)
    axes.set_ylabel("log density of an ensemble [nats]")
    axes.set_title("held out, ± standard error (more is better)", fontsize=10)
    axes.grid(axis="y", lw=0.4, color="#DDDDDD")
    axes.set_axisbelow(True)


def _star(axes: Axes, K: float, height: float, colour: int, *, hollow: bool = False) -> None:
    # Hollow and behind, where an error bar stands at the same place.
    axes.plot(
        [K],
        [height],
        marker="*",
        ms=13,
        ls="none",
        color="white" if hollow else colour_of(colour),
        mec=colour_of(colour) if hollow else "white",
        mew=0.8,
        zorder=1.5 if hollow else 4,
        clip_on=False,
    )
