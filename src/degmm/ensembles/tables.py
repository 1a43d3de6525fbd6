"""Tables of ensembles, wide (a column a member) or long (a row a member)."""

import fnmatch
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from degmm.ensembles.columns import (
    as_short,
    as_table,
    check_no_stray_text,
    is_single,
    labels_in,
    numbers_in,
    observed,
    row_numbers,
    with_labels,
)
from degmm.ensembles.ensemble import Ensemble
from degmm.ensembles.names import NAMELESS, named_members
from degmm.ensembles.summary import some
from degmm.ensembles.times import undated
from degmm.wording import counted

if TYPE_CHECKING:
    import pandas as pd

MEMBER_COLUMN = re.compile(r"(?:(?P<variable>.+?)[_.])?(?:m|mem|member|ens|number)_?(?P<member>\d+)")
PLACES = ("lat", "latitude", "lon", "longitude", "lead", "lead_time", "step", "height", "level", "station")
"""Columns of numbers that say where a case is, in a long table"""
LEAST_COMPARED = 10
"""Members beyond the first of their case, of which all must have a number that is one of the case"""


def from_dataframe(
    table: "pd.DataFrame",
    *,
    variables: Sequence[str] | None = None,
    member_dim: str | None = None,
    member_columns: str | Sequence[str] | None = None,
    control: Any = None,
    observation: str | None = None,
    text: bool = False,
) -> Ensemble:
    """Turn a table into an :class:`Ensemble`.

    *Wide*: a row a case, and columns ``t2m_m01``, ``t2m_m02``, … for the members of the variable ``t2m``, or
    ``member_columns``. *Long*: a row a member, with a column of members (``member_dim``, or named member,
    number, realization, …); columns of real numbers that differ among the members of a case are variables
    (or those named by ``variables``), and all others, such as dates and stations, say which case a row
    belongs to. In both, ``obs_t2m`` or ``t2m_obs`` holds observations, and columns that are neither label the
    cases.

    Parameters
    ----------
    table : pandas.DataFrame, or a table of polars or pyarrow
    variables : sequence of str, optional
        Which to keep.
    member_dim : str, optional
        Column of members in a long table.
    member_columns : str or sequence of str, optional
        Columns of a wide table that are the members of one variable, or a pattern for their names.
    control : optional
        Label of the member that is left out as the control.
    observation : str, optional
        Column of the observations, where there is one variable.
    text : bool
        Whether the table was read from text, which knows no types: numbers of six digits at most are then
        of single precision, as those of a file of forecasts are. Else the types of the columns say it.

    Raises
    ------
    ValueError
        If there are no members, or cells of members hold no numbers; the column and row are named.
    """
    table = as_table(table)
    if not len(table):
        raise ValueError("the table has no rows; it needs one per case, or one per member")
    wanted = [variables] if isinstance(variables, str) else variables
    table, nameless = with_labels(table)
    names = [str(c) for c in table.columns]
    if member_columns is None:
        member = _member_column(names, member_dim)
    elif member_dim is not None:
        raise ValueError("member_dim: member_columns says which are the members; leave one of them out")
    else:
        member = None
    if member is not None:
        table = table.drop(columns=row_numbers(table, nameless))
        data = _long(table, member, wanted, observation, text)
    else:
        data = _wide(table, _columns(names, member_columns, wanted), wanted, observation, text)
    return data if control is None else data.drop_control(control)


def _member_column(names: Sequence[str], wanted: str | None) -> str | None:
    """Return the column of the members of a long table; None for a wide one."""
    if wanted is not None:
        if wanted not in names:
            raise ValueError(f"member_dim: no column {wanted!r}; there are {', '.join(names[:12])}")
        return wanted
    found = named_members(names)
    if found and any(name != NAMELESS and len(columns) > 1 for name, columns in _grouped(names).items()):
        return None  # a wide table, in which they label the cases
    if len(found) > 1:
        raise ValueError(
            f"{len(found)} columns may be that of the members, {' and '.join(map(repr, found))}; say which "
            "by member_dim"
        )
    return found[0] if found else None


def _grouped(names: Sequence[str], wanted: Sequence[str] = ()) -> dict[str, dict[Any, str]]:
    """Return the columns of each variable, by the number of the member.

    A variable that would have one member where others have several, or less than half as many as others, is
    none unless it is wanted, such as area_m2, an area in square metres.
    """
    columns: dict[str, dict[Any, str]] = {}
    for name in names:
        match = MEMBER_COLUMN.fullmatch(name)
        if match is None:
            continue
        members, number = columns.setdefault(match["variable"] or NAMELESS, {}), int(match["member"])
        if number in members:
            raise ValueError(f"columns {members[number]!r} and {name!r} are the same member; rename one")
        members[number] = name
    most = max(map(len, columns.values()), default=0)
    least = 1 if most == 1 else max(2, most / 2)
    columns = {v: m for v, m in columns.items() if len(m) >= least or v in wanted}
    if len(columns) > 1:  # bare m01, m02 are columns beside them
        columns.pop(NAMELESS, None)
    return columns


def _columns(
    names: Sequence[str], member_columns: str | Sequence[str] | None, wanted: Sequence[str] | None
) -> dict[str, dict[Any, str]]:
    """Return the columns of each variable, by the label of the member."""
    if member_columns is not None:
        patterns = [member_columns] if isinstance(member_columns, str) else list(member_columns)
        found = [n for n in names if any(n == p or fnmatch.fnmatchcase(n, p) for p in patterns)]
        if not found:
            raise ValueError(
                f"member_columns: no column is named {', '.join(patterns)}; there are {', '.join(names[:12])}"
            )
        common = re.sub(r"[\W_]+$|^[\W_]+", "", patterns[0].replace("*", "")) if len(patterns) == 1 else ""
        return {common or NAMELESS: {n: n for n in found}}
    columns = _grouped(names, wanted or ())
    if not columns:
        raise ValueError(
            f"no member columns such as t2m_m01, and no column of members; name the columns of a wide table "
            f"by member_columns, or the column of members of a long one by member_dim "
            f"(columns: {', '.join(names[:12])}{', …' if len(names) > 12 else ''})"
        )
    return columns


def _wide(
    table: "pd.DataFrame",
    columns: dict[str, dict[Any, str]],
    wanted: Sequence[str] | None,
    observation: str | None,
    text: bool,
) -> Ensemble:
    chosen = _chosen(wanted, list(columns))
    members = sorted({m for name in chosen for m in columns[name]}, key=lambda m: (isinstance(m, str), m))
    if isinstance(members[0], str):
        members = list(columns[chosen[0]])  # as the columns stand
    values = np.full((len(table), len(members), len(chosen)), np.nan)
    for d, name in enumerate(chosen):
        for m, label in enumerate(members):
            if label in columns[name]:
                values[:, m, d] = numbers_in(table, columns[name][label])
    used = {c for members_of in columns.values() for c in members_of.values()}
    others = [c for c in table.columns if c not in used]
    coords, observations, notes = _beside(table, others, chosen, observation)
    form = f"wide table: {len(members)} columns per variable"
    notes = [f"{form} are its members", "a row is a case", *_guesses(others, columns, chosen), *notes]
    single = is_single(table, [c for name in chosen for c in columns[name].values()])
    return _ensemble(values, chosen, coords, np.array(members), observations, notes, text, single)


def _guesses(others: Sequence[str], columns: dict[str, dict[Any, str]], chosen: Sequence[str]) -> list[str]:
    """Return what is to be said of columns that look like members, and of members that variables lack."""
    labels = [c for c in others if (match := MEMBER_COLUMN.fullmatch(c)) and match["variable"]]
    notes = [f"no members but labels of cases: {', '.join(labels)}"] if labels else []
    members = {label for name in chosen for label in columns[name]}
    for name in chosen:
        lacking = sorted(map(str, members - {*columns[name]}))
        if lacking:
            notes.append(
                f"absent, since {name} lacks them: {counted(len(lacking), 'member')} ({some(lacking)})"
            )
    return notes


def _long(
    table: "pd.DataFrame", member: str, wanted: Sequence[str] | None, observation: str | None, text: bool
) -> Ensemble:
    import pandas as pd

    def is_observation(name: str) -> bool:
        return name == observation or (
            observation is None
            and (observed(name) is not None or name in ("obs", "observation", "observations"))
        )

    others = [str(c) for c in table.columns if c != member]
    real = [c for c in others if table[c].dtype.kind == "f" and c.lower() not in PLACES]
    known = [c for c in real if not is_observation(c)] if wanted is None else others
    of_cases = _labels_among(table, known, [c for c in others if c not in real]) if wanted is None else []
    chosen = _chosen(wanted, [c for c in known if c not in of_cases])
    seen = [c for c in others if is_observation(c) and c not in chosen]
    keys = [c for c in others if c not in chosen and c not in seen and (wanted is None or c not in real)]
    told = [f"labels of cases, since they never differ within one: {', '.join(of_cases)}"] if of_cases else []
    check_no_stray_text(table, keys)
    if not chosen:
        raise ValueError(f"no column of real numbers beside {member!r}; name the variables")
    if not keys:
        raise ValueError(
            f"no column says which case a row of member {member!r} belongs to; add one, as of dates"
        )
    if table[member].isna().any():
        row = int(np.argmax(table[member].isna()))
        raise ValueError(f"column {member!r}: no member in row {row}; name it")
    code = table.groupby(keys, sort=False, dropna=False, observed=True).ngroup().to_numpy()
    names = labels_in(table, member)
    labels, place = np.unique(names if names.dtype != object else names.astype(np.str_), return_inverse=True)
    twice = pd.Series(code * len(labels) + place).duplicated().to_numpy()
    if twice.any():
        row = int(np.argmax(twice))
        raise ValueError(
            f"row {row}: member {labels[place[row]]} of its case is there twice (cases by "
            f"{', '.join(keys)}); drop a row, or add a column that tells the cases apart"
        )
    n = int(code.max()) + 1
    if len(labels) > 1 and n == len(table) > 1:
        raise ValueError(
            f"no two members are of the same case, by {', '.join(keys)}; name the variables, so that the "
            "other columns say which case a row belongs to"
        )
    values = np.full((n, len(labels), len(chosen)), np.nan)
    for d, name in enumerate(chosen):
        values[code, place, d] = numbers_in(table, name)
    first = _firsts(table, code, [*keys, *seen], seen)
    coords, observations, notes = _beside(first, [*keys, *seen], chosen, observation)
    notes = [f"long table: members in column {member!r}", f"cases by {', '.join(keys)}", *told, *notes]
    return _ensemble(values, chosen, coords, labels, observations, notes, text, is_single(table, chosen))


def _labels_among(table: "pd.DataFrame", names: Sequence[str], keys: Sequence[str]) -> list[str]:
    """Return the columns of numbers that never differ within a case, such as the height of a station.

    Rain may be 0 in all members of all cases; and of few members any number may be the same by chance.
    """
    if not keys or len(names) < 2:
        return []
    groups = table.groupby(list(keys), sort=False, dropna=False, observed=True)
    if len(table) - groups.ngroups < LEAST_COMPARED:
        return []
    same = [n for n in names if (groups[n].nunique(dropna=False) == 1).all() and table[n].any()]
    return same if len(same) < len(names) else []


def _firsts(
    table: "pd.DataFrame", code: np.ndarray, names: Sequence[str], seen: Sequence[str]
) -> "pd.DataFrame":
    """Return what a case has in some columns, a row a case; its observations, ``seen``, must be the same."""
    first = table[list(names)].iloc[np.unique(code, return_index=True)[1]].reset_index(drop=True)
    for name in seen:
        groups = table[name].groupby(code, sort=True)
        several = (groups.nunique() > 1).to_numpy()
        if several.any():
            row = int(np.argmax(code == np.argmax(several)))
            raise ValueError(
                f"column {name!r}: the case of row {row} has several observations; give each of its "
                "members the same"
            )
        first[name] = groups.first().to_numpy()
    return first


def _ensemble(
    values: np.ndarray,
    chosen: Sequence[str],
    coords: dict[str, np.ndarray],
    members: np.ndarray,
    observations: np.ndarray | None,
    notes: Sequence[str],
    text: bool,
    single: bool,
) -> Ensemble:
    short = as_short(values) if text else single
    if short and text and observations is not None and as_short(observations):
        observations = observations.astype(np.float32).astype(np.float64)
    return Ensemble(
        values.astype(np.float32) if short else values,
        tuple(chosen),
        coords=coords,
        members=members,
        observations=observations,
        notes=tuple(notes),
    )


def _chosen(wanted: Sequence[str] | None, known: Sequence[str]) -> list[str]:
    if wanted is None:
        return list(known)
    for name in wanted:
        if name not in known:
            raise ValueError(f"variables: no variable {name!r} of members; there are {', '.join(known)}")
    return list(dict.fromkeys(wanted))


def _beside(
    table: "pd.DataFrame", others: Sequence[str], chosen: Sequence[str], observation: str | None
) -> tuple[dict[str, np.ndarray], np.ndarray | None, list[str]]:
    """Return the coordinates and the observations in the columns beside the members."""
    found: dict[str, str] = {}
    if observation is not None:
        if observation not in table.columns:
            raise ValueError(
                f"observation: no column {observation!r}; there are {', '.join(table.columns[:12])}"
            )
        if len(chosen) > 1:
            raise ValueError(
                f"observation: there are {len(chosen)} variables; name their observations obs_{chosen[0]}, …"
            )
        found[chosen[0]] = observation
    else:
        short = {"obs", "observation", "observations"} if len(chosen) == 1 else set()
        for column in others:
            of = observed(column)
            if of is not None and of in chosen:
                found[of] = column
            elif column in short:
                found[chosen[0]] = column
    used = {*found.values()}
    coords = {
        c: labels_in(table, c)
        for c in others
        if c not in used and not (observed(c) and table[c].dtype.kind == "f")
    }
    if not found:
        return coords, None, undated(coords)
    observations = np.full((len(table), len(chosen)), np.nan)
    for d, name in enumerate(chosen):
        if name in found:
            observations[:, d] = numbers_in(table, found[name])
    where = ", ".join(map(repr, found.values()))
    return coords, observations, [f"observations in {where}", *undated(coords)]
