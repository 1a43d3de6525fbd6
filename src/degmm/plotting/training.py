"""The picture of a training."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from degmm.plotting.style import colour_of, entitle, new_figure

LEAST_KL = 1e-8
"""Divergences below are rounding, or those of clusters that are still equal, and are not drawn."""
KEPT = 0.05
"""Share of the lowest log-likelihoods that the axis leaves out, since the first epochs are far below."""


def training(
    history: Mapping[str, np.ndarray],
    n_members: float,
    *,
    warmup: int = 0,
    kl: float | None = None,
    title: str = "",
    axes: Sequence[Axes] | None = None,
) -> Sequence[Axes]:
    """Draw the log-likelihood per member and the KL divergence of a deep fit against its epochs.

    A dotted line marks the epoch whose network was kept, where there was a validation set.

    Parameters
    ----------
    history : mapping of str to ndarray
        ``history_`` of a deep model.
    n_members : int
        Members in all ensembles of the fit, Σ w_i M_i with weights.
    warmup : int
        Epochs in which the network learnt the starting clusters; they are shaded.
    kl : float, optional
        KL at the end, after the polish (``kl_``); drawn as a point.
    title : str
    axes : sequence of two matplotlib Axes, optional
        For the log-likelihood, and for KL; by default axes of a new figure.

    Returns
    -------
    sequence of matplotlib Axes
        Their ``figure`` can be saved with :func:`degmm.plotting.save_figure`.

    Raises
    ------
    ValueError
        If the number of axes is wrong.
    """
    if axes is None:
        axes = new_figure(2, 1, size=(6.0, 4.4), sharex=True)[1]
    if len(axes) != 2:
        raise ValueError(f"axes: expected 2, for the log-likelihood and for KL, got {len(axes)}")
    upper, lower = axes
    curves = [("log-likelihood per member", np.asarray(history["log_likelihood"]) / n_members, "-")]
    if "validation" in history:
        curves.append(("objective per member, validation set", np.asarray(history["validation"]), "--"))
    epochs = np.arange(1, len(curves[0][1]) + 1)
    for i, (name, curve, line) in enumerate(curves):
        upper.plot(epochs, curve, color=colour_of(i), lw=1.4, ls=line, label=name)
    finite = [curve[np.isfinite(curve)] for _, curve, _ in curves]
    finite = [curve for curve in finite if curve.size]
    if finite:
        low = min(np.quantile(curve, KEPT) for curve in finite)
        high = max(curve.max() for curve in finite)
        margin = max(0.1 * (high - low), 1e-6)
        upper.set_ylim(low - margin, high + margin)
    if len(curves) > 1:
        upper.legend(fontsize=8, frameon=False)
    upper.set_ylabel("nats per member")
    entitle(upper, title)
    divergence = np.asarray(history["kl"])
    shown = np.where(np.isfinite(divergence) & (divergence > LEAST_KL), divergence, np.nan)
    lower.plot(epochs, shown, color=colour_of(2), lw=1.4)
    if kl is not None and kl > LEAST_KL:
        lower.plot(epochs[-1], kl, "o", color=colour_of(2), ms=4.5, clip_on=False, label="after polishing")
        lower.legend(fontsize=8, frameon=False)
    if "validation" in history and epochs.size > warmup:
        kept = warmup + 1 + int(np.nan_to_num(curves[1][1][warmup:], nan=-np.inf).argmax())
        for panel in axes:
            panel.axvline(kept, color="0.4", lw=0.8, ls=":")
        upper.annotate(
            "kept", (kept, 0.03), xycoords=upper.get_xaxis_transform(), ha="right", fontsize=8, color="0.4"
        )
    lower.set_yscale("log")
    lower.set_ylabel("KL(γ ‖ posterior),\nnats per ensemble")
    lower.set_xlabel("epoch")
    lower.xaxis.set_major_locator(MaxNLocator(integer=True))
    for panel in axes:
        panel.axvspan(0.5, 0.5 + min(warmup, epochs.size), color="0.92", lw=0, zorder=0)
    if warmup:
        lower.annotate(
            "warm-up",
            (1, 0.05),
            xycoords=lower.get_xaxis_transform(),
            fontsize=8,
            color="0.4",
            path_effects=[withStroke(linewidth=2, foreground="0.92")],  # the curve starts there
        )
    return axes
