"""What ``degmm calibrate`` says: scores, regimes, and what to make of them."""

from typing import TYPE_CHECKING, Any

import numpy as np

from degmm.calibration import RegimeEMOS, RegimeSelection
from degmm.cli.session import Session
from degmm.ensembles import Ensemble
from degmm.evaluation import GLOBAL, JOINT, LEVEL, Evaluation, Joint
from degmm.past import places_of
from degmm.wording import counted, percent

if TYPE_CHECKING:
    import pandas as pd

SIGNIFICANT = 0.05
"""p-value below which a difference counts as more than noise"""


def tell_numbers(session: Session, selection: RegimeSelection) -> None:
    """Say how good each number of regimes is."""
    table = selection.table
    rows = [
        (str(K), f"{row['crps']:.4f} ± {row['crps_se']:.4f}" + ("*" if selection.best == K else " "))
        for K, row in table.iterrows()
    ]
    session.table(
        "numbers of regimes, by the CRPS of held-out cases of the training; * is the best",
        ("K", "CRPS "),
        rows,
        table.rename_axis("K").reset_index().to_dict("records"),
    )
    if selection.best == max(table.index) and len(table) > 1:
        session.note("the largest K tried is the best: try larger ones")


def tell_scores(session: Session, found: Evaluation, d: int, table: "pd.DataFrame") -> None:
    """Say how good the forecasts of a variable are, and whether the regimes help."""
    held_out, inside = "held_out_crps" in table, f"in {percent(LEVEL)}"
    columns = ["forecast", "CRPS", f"skill against {GLOBAL}", "p", inside, "width"]
    columns += ["held-out CRPS", f"{inside} "] if held_out else []
    rows = []
    for label, row in table.iterrows():
        cells = [str(label), _number(row["mean"]), _skill(row), p_text(row["p_value"])]
        cells += [percent(row["coverage"]), _number(row["width"])]
        if held_out:
            cells += [_number(row["held_out_crps"]), _share(row["held_out_coverage"])]
        rows.append(cells)
    records = [{"forecast": label} | row for label, row in table.to_dict("index").items()]
    times, n = int(table["cases"].iloc[0]), int((~np.isnan(found.crps(GLOBAL, d))).sum())
    cases = f"{counted(n, 'case')} of the test" + (f", at {counted(times, 'time')}" if times < n else "")
    session.table(f"{found.test.titles[d]}: forecasts of {cases}", columns, rows, records)
    session.note(_verdict(found, d))
    if d < found.test.n_features - 1:
        return
    when = "at this time of the year, ± 15 days, " if found.seasonal else ""
    names = places_of(found.train, found.test).names
    where = f"for the same {' and '.join(names)} " if names else ""
    session.note(
        f"climatology: what was observed {where}{when}in the training; CRPS: the lower, the better; "
        f"skill: by how much it is below that of {GLOBAL}, the regression without regimes or context, with a "
        "95 % interval of a block bootstrap; p: probability of such a difference if both were equally good "
        f"(Diebold–Mariano, allowing for the dependence of neighbouring {'times' if times < n else 'cases'})"
    )
    nominal = table["nominal"].iloc[1]
    more = "; held-out: cases of the training, forecast by fits to its other blocks" if held_out else ""
    session.note(
        f"{inside}: share of the observations in the {percent(LEVEL)} intervals, whose mean width is beside "
        f"it; of the raw ensemble, in those of its members that should hold {percent(nominal)}{more}"
    )


def _verdict(found: Evaluation, d: int) -> str:
    name, (best, test) = found.test.variables[d], found.against_best(d)
    mean = float(np.nanmean(found.crps(best, d)))
    share = abs(test.difference) / mean if mean > 0 else float("nan")
    what = f"{100 * share:.1f} % {'below' if test.difference < 0 else 'above'} that of {best}"
    if best != GLOBAL:
        what += f", the better {GLOBAL}"
    p = p_text(test.p_value)
    if test.p_value >= SIGNIFICANT:
        return f"{name}: the regimes do not help beyond noise: their CRPS is {what} (p = {p})"
    if test.difference > 0:
        return f"{name}: the regimes do harm: their CRPS is {what} (p {_equals(p)})"
    return f"{name}: the regimes help: their CRPS is {what} (p {_equals(p)})"


def tell_joint(session: Session, joint: Joint) -> "pd.DataFrame":
    """Say how good the forecasts of all variables together are; return the scores, by kind and forecast."""
    import pandas as pd

    tables = {kind: joint.table(kind) for kind in JOINT}
    names = list(tables["energy score"].index)
    columns = ["forecast", *(text for kind in JOINT for text in (kind, "skill", "p"))]
    rows = [
        [
            name,
            *(
                cell
                for table in tables.values()
                for cell in (
                    f"{table.loc[name, 'mean']:.4f}",
                    _skill(table.loc[name], interval=False),
                    p_text(table.loc[name, "p_value"]),
                )
            ),
        ]
        for name in names
    ]
    whole = pd.concat(tables, names=["score"])
    records = whole.reset_index().to_dict("records")
    session.table("all variables together, each in units of its standard deviation", columns, rows, records)
    session.note(
        "reordered: members of the calibrated ensemble put in the order of the raw ones, variable by "
        "variable, so that they keep the raw ensemble's dependence (ensemble copula coupling); copula of "
        "errors: in that of the errors of past forecasts; unordered: at random"
    )
    for kind in JOINT:
        for name, gain in joint.gains(kind).items():
            if gain.p_value >= SIGNIFICANT:
                what = "makes no difference beyond noise"
            else:
                what = "helps" if gain.difference < 0 else "does harm here"
            order = name.removeprefix("regimes, ")
            session.note(f"{kind}, {order}: the order {what} (p {_equals(p_text(gain.p_value))})")
    return whole


def tell_regimes(session: Session, model: RegimeEMOS, data: Ensemble) -> None:
    """Say what the regimes are."""
    regimes = model.regimes_
    several = data.n_features > 1
    units = dict(zip(data.variables, data.units or ("",) * data.n_features, strict=True))
    columns = ["regime", *(["variable"] if several else []), *REGIME_COLUMNS.values()]
    rows = []
    for index, row in regimes.iterrows():
        labels: Any = index if several else (index,)
        cells = [str(label) for label in labels]
        for column in REGIME_COLUMNS:
            value = row[column]
            cells.append(
                percent(value) if column == "share" else value if isinstance(value, str) else _number(value)
            )
        rows.append(cells)
    records = regimes.reset_index().to_dict("records")
    session.table("regimes of the training", columns, rows, records)
    session.note(
        "season: the fewest months in a row with two thirds of a regime's cases; mean, spread: of its "
        "ensembles; bias: ensemble mean minus observation; error: its root mean square; correction: what the "
        "regime's expert adds to the ensemble mean; spread ×: by how much it widens the ensemble"
    )
    typical = regimes["typical"].groupby(level=0).first()
    shown = "; ".join(f"{text} ({k})" for k, text in typical.items() if text)
    session.note(f"typical cases of the training, and in brackets their regime: {shown}")
    if len(regimes.index) == data.n_features:
        return
    for name in data.variables:
        of_one = regimes.xs(name, level="variable") if several else regimes
        unit = f" {units[name]}" if units[name] else ""
        k, wide = int(of_one["bias"].abs().argmax()), int(of_one["spread_ratio"].argmax())
        bias, correction = (float(of_one[column].iloc[k]) for column in ("bias", "correction"))
        session.note(
            f"{name}: the ensemble mean is furthest off in regime {k + 1}, by {bias:+.2g}{unit}, and its "
            f"expert adds {correction:+.2g}{unit}; ensembles are widened most in regime {wide + 1}, by a "
            f"factor of {float(of_one['spread_ratio'].iloc[wide]):.2g}"
        )


REGIME_COLUMNS = {
    "share": "share",
    "season": "season",
    "ensemble_mean": "mean",
    "ensemble_spread": "spread",
    "bias": "bias",
    "error": "error",
    "correction": "correction",
    "spread_ratio": "spread ×",
}


def _skill(row: Any, interval: bool = True) -> str:
    if np.isnan(row["skill"]):
        return "–"
    if np.isnan(row["skill_low"]):  # the reference
        return "0"
    skill, low, high = (f"{100 * row[name]:.1f}" for name in ("skill", "skill_low", "skill_high"))
    return f"{skill} % ({low} to {high})" if interval else f"{skill} %"


def p_text(p: float) -> str:
    """Return a p-value as text."""
    if np.isnan(p):
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.2g}" if p < 0.1 else f"{p:.2f}"


def _equals(p: str) -> str:
    return p if p.startswith("<") else f"= {p}"


def _share(value: float) -> str:
    return "–" if np.isnan(value) else percent(value)


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.3f}"
