"""Tables of ensembles: wide and long, their types, dates and labels."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from degmm import Ensemble, read_ensemble
from degmm.ensembles.columns import as_short
from degmm.ensembles.times import find_times


def wide(**columns):
    return pd.DataFrame({"t2m_m01": [1.25, 2, 3], "t2m_m02": [2.0, 3, 4.5], **columns})


def long(**columns):
    rows = {
        "date": np.repeat(["2020-01-01", "2020-01-02"], 3),
        "member": [0, 1, 2] * 2,
        "t2m": np.arange(6) / 4,
    }
    return pd.DataFrame({**rows, **columns})


@pytest.mark.parametrize(
    "dates",
    [
        ["2020-02-29", "2020-03-01", "2020-03-02"],
        ["2020-02-29 00:00", "2020-03-01T00:00:00", "2020-03-02"],
        ["2020-02-29T00:00Z", "2020-03-01T01:00+01:00", "2020-03-02T00:00Z"],
        pd.date_range("2020-02-29", periods=3, tz="UTC"),
        pd.date_range("2020-02-29", periods=3).as_unit("s"),
        [20200229, 20200301, 20200302],
    ],
)
def test_dates_are_read_however_they_are_written(dates):
    found = Ensemble.from_dataframe(wide(date=dates))
    assert found.coords["date"].dtype == "datetime64[ns]"
    expected = np.arange("2020-02-29", "2020-03-03", dtype="M8[D]")
    np.testing.assert_array_equal(found.coords["date"], expected)


def test_an_index_of_dates_without_a_name_is_the_time():
    table = wide().set_index(pd.date_range("2020-02-29", periods=3))
    assert Ensemble.from_dataframe(table).coords["time"][0] == np.datetime64("2020-02-29")
    assert "time" not in Ensemble.from_dataframe(wide()).coords


def test_labels_keep_their_types():
    found = Ensemble.from_dataframe(
        wide(station=[10361, 10020, 3], site=["a", None, "c"], dry=[True, False, True])
    )
    assert found.coords["station"].tolist() == [10361, 10020, 3]
    assert found.coords["site"].tolist() == ["a", "", "c"]
    assert found.coords["dry"].dtype == bool
    coded = Ensemble.from_dataframe(wide(time=["early", "late", "late"], number=[7, 8, 9]))
    assert coded.coords["time"].tolist() == ["early", "late", "late"]
    assert coded.coords["number"].tolist() == [7, 8, 9]


@pytest.mark.parametrize("kind", ["float32", "float64", "Float32", "Float64"])
def test_a_table_in_memory_keeps_its_precision(kind):
    table = wide().astype(kind)
    table.loc[1, "t2m_m01"] = None
    found = Ensemble.from_dataframe(table)
    assert found.values.dtype == kind.lower()
    assert found.counts.tolist() == [2, 1, 2]


def test_text_of_few_digits_is_of_single_precision():
    assert Ensemble.from_dataframe(wide(), text=True).values.dtype == np.float32
    assert Ensemble.from_dataframe(wide(), text=False).values.dtype == np.float64
    assert Ensemble.from_dataframe(wide(t2m_m03=[np.pi] * 3), text=True).values.dtype == np.float64
    assert as_short(np.array([0.1, -12.3456, 101325, 0, np.nan, 1e-7]))
    assert not as_short(np.array([1.234567]))
    assert not as_short(np.array([1e-40]))


def test_members_that_a_variable_lacks_are_absent():
    found = Ensemble.from_dataframe(wide(t2m_m03=[1.0, 2, 4], rain_m02=[0.0, 0, 1], rain_m03=[1.0, 0, 1]))
    assert found.shape == (3, 3, 2)
    assert found.mask.tolist() == [[False, True, True]] * 3


@pytest.mark.parametrize(
    "name", ["t2m_m{}", "t2m_member_{}", "t2m.ens{}", "t2m_number{}", "m{:02d}", "member_{}"]
)
def test_names_of_member_columns(name):
    found = Ensemble.from_dataframe(pd.DataFrame({name.format(m): [m, m + 0.5] for m in (2, 1, 10)}))
    assert found.member_labels.tolist() == [1, 2, 10]
    assert found.variables == ("t2m" if "t2m" in name else "value",)
    assert found.values[0, :, 0].tolist() == [1, 2, 10]


def test_member_columns_by_name_may_hold_any_character():
    table = pd.DataFrame({"t[1]": [1.0, 2], "t[2]": [3.0, 4], "else": [5, 6]})
    found = Ensemble.from_dataframe(table, member_columns=["t[1]", "t[2]"])
    assert found.values[..., 0].tolist() == [[1, 3], [2, 4]]


def test_a_long_table_by_its_rows_in_any_order():
    one = Ensemble.from_dataframe(long(obs_t2m=np.repeat([7.0, 8.0], 3)))
    assert one.values[..., 0].tolist() == [[0, 0.25, 0.5], [0.75, 1, 1.25]]
    assert one.observations[:, 0].tolist() == [7, 8]
    mixed = Ensemble.from_dataframe(long(obs_t2m=np.repeat([7.0, 8.0], 3)).iloc[[4, 2, 0, 3, 5, 1]])
    assert mixed.coords["date"].tolist() == one.coords["date"][::-1].tolist()
    np.testing.assert_array_equal(mixed.values, one.values[::-1])
    np.testing.assert_array_equal(mixed.observations, one.observations[::-1])
    without = Ensemble.from_dataframe(long().drop(index=1))
    assert without.counts.tolist() == [2, 3]


def test_cases_of_a_long_table_by_all_their_labels():
    table = pd.concat([long(station=10361, lat=52.1), long(station=10020, lat=55.0)])
    found = Ensemble.from_dataframe(table)
    assert found.variables == ("t2m",)
    assert found.shape == (4, 3, 1)
    assert found.coords["lat"].tolist() == [52.1, 52.1, 55.0, 55.0]
    assert "cases by date, station, lat" in found.notes


def test_whole_numbers_are_variables_where_they_are_named():
    table = long(rain=[3, 4, 5, 6, 7, 8])
    with pytest.raises(ValueError, match="no two members are of the same case, by date, rain"):
        Ensemble.from_dataframe(table)
    found = Ensemble.from_dataframe(table, variables=["rain", "t2m"])
    assert found.variables == ("rain", "t2m")
    assert found.values[1, :, 0].tolist() == [6, 7, 8]


def test_member_labels_of_several_types():
    table = long(member=["a", 1, 2.0] * 2)
    assert Ensemble.from_dataframe(table).member_labels.tolist() == ["1", "2.0", "a"]


def test_a_column_of_several_candidates_is_named():
    table = long(ensemble=1)
    with pytest.raises(ValueError, match="'member' and 'ensemble'; say which by member_dim"):
        Ensemble.from_dataframe(table)
    assert Ensemble.from_dataframe(table, member_dim="member").shape == (2, 3, 1)


def test_columns_of_two_levels_are_an_error():
    table = pd.DataFrame(np.zeros((2, 2)), columns=pd.MultiIndex.from_product([["t2m"], [1, 2]]))
    with pytest.raises(ValueError, match="columns of several levels; join them"):
        Ensemble.from_dataframe(table)


def test_a_table_and_back():
    data = Ensemble.from_dataframe(
        wide(date=["2020-01-01", "2020-01-02", "2020-01-03"], obs_t2m=[1.0, 2, np.nan])
    )
    again = Ensemble.from_dataframe(data.to_dataframe())
    np.testing.assert_array_equal(again.values, data.values)
    np.testing.assert_array_equal(again.observations, data.observations)
    np.testing.assert_array_equal(again.coords["date"], data.coords["date"])
    assert again.variables == data.variables


@pytest.mark.parametrize("text", ["31.01.2020", "1/2/2020", "2020/01/31"])
def test_dates_that_could_be_read_in_two_ways_are_refused(text):
    table = pd.DataFrame({"day": [text, text], "t_m1": [1.0, 2.0], "t_m2": [1.0, 2.0]})
    with pytest.raises(
        ValueError, match=r"column 'day', row 0: .* could be read as several dates; write dates"
    ):
        Ensemble.from_dataframe(table)
    table["day"] = ["1.2.3.4", "route 66"]
    assert list(Ensemble.from_dataframe(table).coords) == ["day"]


# --- names, indexes and tables of others ---------------------------------------------------------


def test_blanks_about_names_and_cells_do_not_matter(tmp_path):
    rows = [
        "date , t2m_m01, t2m_m02 , obs_t2m, site",
        "2020-01-01 , 1.5, 2.5 , 2, Wien ",
        " 2020-01-02, 3.5, ,4 , Graz",
        "2020-01-03,3.5,4.1, ,Linz",
    ]
    (tmp_path / "a.csv").write_text("\n".join(rows) + "\n")
    data = read_ensemble(tmp_path / "a.csv", variables=["t2m"])
    assert data.variables == ("t2m",)
    assert data.coords["date"].dtype.kind == "M"
    assert data.coords["site"].tolist() == ["Wien", "Graz", "Linz"]
    np.testing.assert_array_equal(data.observations[:, 0], [2, 4, np.nan])
    assert data.counts.tolist() == [2, 1, 2]
    table = wide().rename(columns=" {} ".format)
    assert Ensemble.from_dataframe(table).variables == ("t2m",)
    (tmp_path / "b.csv").write_text("t_m01, t_m01\n1,2\n")
    with pytest.raises(ValueError, match="two columns named 't_m01'"):
        read_ensemble(tmp_path / "b.csv")


@pytest.mark.parametrize("index", [["Wien", "Graz", "Linz"], [10361, 10020, 3], [48.5, 47, 48]])
def test_an_index_without_a_name_is_kept(index):
    assert Ensemble.from_dataframe(wide().set_axis(index, axis=0)).coords["index"].tolist() == index


def test_indexes_without_a_name():
    levels = pd.MultiIndex.from_tuples([("A", 1), ("A", 2), ("B", 1)])
    found = Ensemble.from_dataframe(wide().set_axis(levels, axis=0)).coords
    assert {k: v.tolist() for k, v in found.items()} == {"level_0": ["A", "A", "B"], "level_1": [1, 2, 1]}
    half = levels.set_names(["site", None])
    assert list(Ensemble.from_dataframe(wide().set_axis(half, axis=0)).coords) == ["site", "level_1"]
    dates = pd.Index(["2020-01-01", "2020-01-02", "2020-01-03"])
    assert Ensemble.from_dataframe(wide().set_axis(dates, axis=0)).coords["time"].dtype.kind == "M"
    both = Ensemble.from_dataframe(wide(time=[1.5, 2, 3], index=[1, 2, 3]).set_axis(dates, axis=0))
    assert [*both.coords] == ["index_", "time", "index"]
    for plain in (pd.RangeIndex(5, 8), pd.Index([0, 1, 2])):
        assert not Ensemble.from_dataframe(wide().set_axis(plain, axis=0)).coords
    with pytest.raises(ValueError, match="an index and a column named 'site'; rename one"):
        Ensemble.from_dataframe(wide(site=[1, 2, 3]).set_index("site", drop=False))


def test_a_long_table_is_not_parted_by_the_numbers_of_its_rows():
    table = long()
    for index in ([7, 3, 5, 1, 0, 2], list("abcdef")):
        assert Ensemble.from_dataframe(table.set_axis(index, axis=0)).shape == (2, 3, 1)
    found = Ensemble.from_dataframe(table.set_axis(list("aaabbb"), axis=0))
    assert found.coords["index"].tolist() == ["a", "b"]


class Foreign:
    """A table of another library's, which pandas can be had from."""

    def __init__(self, table):
        self._table = table

    def to_pandas(self):
        return self._table


def test_tables_of_other_libraries():
    pa = pytest.importorskip("pyarrow")
    expected = wide()
    for table in (Foreign(expected), pa.Table.from_pandas(expected), pa.RecordBatch.from_pandas(expected)):
        np.testing.assert_array_equal(
            Ensemble.from_dataframe(table).values, Ensemble.from_dataframe(expected).values
        )
    for bad, fix in (
        ({"t_m01": [1.0]}, r"got a builtins.dict; pandas.DataFrame\(…\) makes it one"),
        (np.zeros((2, 2)), "Ensemble.from_numpy"),
        (xr.Dataset(), "Ensemble.from_xarray"),
        (pd.Series([1.0]), "to_frame"),
        ([1.0], "convert it"),
    ):
        with pytest.raises(ValueError, match=f"table: expected a pandas DataFrame.*{fix}"):
            Ensemble.from_dataframe(bad)


def test_tables_of_polars():
    pl = pytest.importorskip("polars")
    table = {"t_m01": [1.0, None], "t_m02": [2.0, 3.0], "site": ["a", "b"]}
    found = Ensemble.from_dataframe(pl.DataFrame(table))
    np.testing.assert_array_equal(found.values[..., 0], [[1, 2], [np.nan, 3]])
    with pytest.raises(ValueError, match="collect"):
        Ensemble.from_dataframe(pl.LazyFrame(table))


@pytest.mark.parametrize(
    "cells",
    [
        ["2020022906", "2020030106", "2020030206"],
        ["202002290600", "202003010600", "202003020600"],
        ["20200229060000", "20200301060000", "20200302060000"],
        ["2020022906.0", "2020030106.0", "2020030206.0"],
        ["20200229T06", "20200301T06", "20200302T06Z"],
    ],
)
@pytest.mark.parametrize("name", ["time", "date", "valid_time", "initDate"])
def test_compact_dates_with_the_hour(cells, name, tmp_path):
    (tmp_path / "a.csv").write_text(f"{name},t_m01,t_m02\n" + "".join(f"{c},1.5,2.5\n" for c in cells))
    data = read_ensemble(tmp_path / "a.csv")
    expected = np.arange("2020-02-29", "2020-03-03", dtype="M8[D]") + np.timedelta64(6, "h")
    np.testing.assert_array_equal(data.coords[name], expected)
    assert not any("no dates" in note for note in data.notes)


def test_compact_dates_with_a_gap_and_numbers_that_are_none(tmp_path):
    table = wide(date=[20200229.0, np.nan, 20200302])
    assert np.isnat(Ensemble.from_dataframe(table).coords["date"]).tolist() == [False, True, False]
    table = wide(date=pd.array([20200229, None, 20200302], "Int64"))
    assert Ensemble.from_dataframe(table).coords["date"][2] == np.datetime64("2020-03-02")
    rows = long().assign(date=np.repeat([20200101.0, 20200102.0], 3))
    assert Ensemble.from_dataframe(rows).shape == (2, 3, 1)
    for odd in ([20200230, 20200301, 20200302], [1.5, 2.5, 3.5], [0, 6, 12]):
        found = Ensemble.from_dataframe(wide(time=odd))
        assert found.coords["time"].tolist() == odd
        assert any("'time' holds numbers that are no dates" in note for note in found.notes)
    np.savez(tmp_path / "a.npz", X=np.zeros((2, 3, 1)), time=[0, 6])
    assert any("no dates" in note for note in read_ensemble(tmp_path / "a.npz").notes)


def test_durations_are_no_members():
    spans = wide().assign(t2m_m03=pd.to_timedelta([1, 2, 3], unit="h"))
    with pytest.raises(ValueError, match=r"column 't2m_m03', row 0: .* is no number"):
        Ensemble.from_dataframe(spans)


# --- columns that only look like members ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["area_m2", "volume_m3", "gauge_number_2", "soil.m1"])
def test_a_variable_of_one_member_beside_others_is_a_label(name):
    found = Ensemble.from_dataframe(wide(**{name: 125000.5}))
    assert (found.variables, found.counts.tolist()) == (("t2m",), [2, 2, 2])
    assert (found.coords[name] == 125000.5).all()
    assert f"no members but labels of cases: {name}" in found.notes
    bare = wide(**{name: 125000.5}).rename(columns={"t2m_m01": "m01", "t2m_m02": "m02"})
    assert Ensemble.from_dataframe(bare).shape == (3, 2, 1)
    assert name in Ensemble.from_dataframe(long(**{name: "x"})).coords


def test_a_variable_of_one_member_may_be_meant():
    table = wide(wind_m01=[1.0, 2, 3])
    assert Ensemble.from_dataframe(table, variables=["wind"]).shape == (3, 1, 1)
    assert Ensemble.from_dataframe(table[["t2m_m01", "wind_m01"]]).variables == ("t2m", "wind")


def test_members_that_a_variable_lacks_are_told_of():
    table = wide(**{f"wind_m{m:02d}": [1.0, 2, 3] for m in (1, 2, 3)})
    assert "absent, since t2m lacks them: 1 member (3)" in Ensemble.from_dataframe(table).notes


def test_numbers_that_never_differ_within_a_case_are_labels():
    rows = {"date": np.repeat(["2020-01-01", "2020-01-02"], 7), "member": [*range(7)] * 2}
    table = pd.DataFrame(
        {**rows, "t2m": np.arange(14) / 4, "rain": 0.0, "elevation": np.repeat([3.5, 7.5], 7)}
    )
    found = Ensemble.from_dataframe(table)
    assert found.variables == ("t2m", "rain")  # it may be dry
    assert found.coords["elevation"].tolist() == [3.5, 7.5]
    assert "labels of cases, since they never differ within one: elevation" in found.notes
    assert Ensemble.from_dataframe(table, variables=["elevation"]).variables == ("elevation",)
    few = table[table["member"] < 2]
    assert Ensemble.from_dataframe(few).variables == ("t2m", "rain", "elevation")  # it may be by chance


@pytest.mark.parametrize("name", ["member_id", "Member", "realisation"])
def test_columns_of_members_of_other_archives(name):
    found = Ensemble.from_dataframe(long().rename(columns={"member": name}))
    assert found.shape == (2, 3, 1)


# --- what programs make of tables ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "index", [None, ["Wien", "Graz", "Linz"], ["2020-01-01", "2020-01-02", "2020-01-03"]]
)
def test_an_index_that_was_written_without_a_name(index, tmp_path):
    table = wide() if index is None else wide().set_axis(index, axis=0)
    table.to_csv(tmp_path / "a.csv")
    table.set_axis(table.index.astype(str) if index else table.index, axis=0).to_parquet(
        tmp_path / "a.parquet"
    )
    for name in ("a.csv", "a.parquet"):
        found = read_ensemble(tmp_path / name)
        assert found.shape == Ensemble.from_dataframe(wide()).shape
        names = [] if index is None else ["time" if index[0][0] == "2" else "index"]
        assert [c for c in found.coords if c in ("index", "time") or "named" in c] == names
    long().to_csv(tmp_path / "b.csv")
    assert read_ensemble(tmp_path / "b.csv").shape == (2, 3, 1)


def test_numbers_of_stations_keep_their_zeros(tmp_path):
    rows = "station,lead,t_m01,t_m02\n06610,006,1.5,2.5\n10361,012,0.5,007\n"
    (tmp_path / "a.csv").write_text(rows)
    found = read_ensemble(tmp_path / "a.csv")
    assert found.coords["station"].tolist() == ["06610", "10361"]
    assert found.coords["lead"].tolist() == [6, 12]
    np.testing.assert_array_equal(found.values[..., 0], [[1.5, 2.5], [0.5, 7]])


@pytest.mark.parametrize("kind", ["category", "string", "object"])
def test_stations_of_any_type_in_a_long_table(kind):
    table = long().assign(station=np.repeat(["a", "b"], 3))
    expected = Ensemble.from_dataframe(table)
    if kind == "category":
        column = pd.Categorical(table["station"], categories=["z", "b", "a", "c"])
        table = table.assign(station=column, member=pd.Categorical(table["member"]))
    else:
        table = table.astype({"station": kind})
    found = Ensemble.from_dataframe(table)
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found.values, expected.values)
    assert found.coords["station"].tolist() == ["a", "b"]


def test_tables_of_arrow_types():
    pa = pytest.importorskip("pyarrow")
    days = pd.date_range("2020-01-01", periods=3, tz="UTC")
    table = wide(day=days, note=["a", None, "b"], lead=pd.to_timedelta([6, 12, 18], unit="h"))
    arrow = table.convert_dtypes(dtype_backend="pyarrow").astype(
        {"day": pd.ArrowDtype(pa.timestamp("ns", "UTC"))}
    )
    found, expected = Ensemble.from_dataframe(arrow), Ensemble.from_dataframe(table)
    np.testing.assert_array_equal(found.values, expected.values)
    np.testing.assert_array_equal(found.coords["day"], days.tz_localize(None))
    assert found.coords["note"].tolist() == ["a", "", "b"]


@pytest.mark.parametrize(
    "dialect",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace(",", ";"),
        lambda text: text.replace(",", "\t"),
        lambda text: text.replace(",", ", "),
        lambda text: text.replace(",", " , "),
        lambda text: (
            "\n".join(",".join(f'"{cell}"' for cell in row.split(",")) for row in text.split("\n")[:-1])
            + "\n"
        ),
        lambda text: text + "\n\n",
    ],
)
def test_dialects_of_csv(dialect, tmp_path):
    rows = "date,t_m01,t_m02,obs_t\n2020-01-01,1.5,2.5,2\n2020-01-02,3.5,NA,4\n2020-01-03,3.5,4.1,\n"
    (tmp_path / "a.csv").write_bytes(dialect(rows).encode())
    found = read_ensemble(tmp_path / "a.csv")
    np.testing.assert_allclose(found.values[..., 0], [[1.5, 2.5], [3.5, np.nan], [3.5, 4.1]])
    np.testing.assert_array_equal(found.observations[:, 0], [2, 4, np.nan])
    assert found.coords["date"].dtype.kind == "M"


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("1,5", "'1,5' is no number; write decimals with a point"),
        ("1.013,2", "is no number"),
        ("M", "'M' is no number; correct it, or leave the cell empty if it is missing"),
        ("T", "'T' is no number"),
        ("-", "'-' is no number"),
        ("inf", "an infinite value"),
        ("Infinity", "an infinite value"),
        ("//", "'//' is no number"),
    ],
)
@pytest.mark.parametrize("form", ["wide", "long"])
def test_cells_that_are_no_numbers_are_named(cell, message, form, tmp_path):
    if form == "wide":
        rows = ["date;t_m01;t_m02", "2020-01-01;1.5;2.5", f"2020-01-02;0.5;{cell}"]
        name, row = "t_m02", 1
    else:
        rows = [
            "date;member;t",
            "2020-01-01;1;1.5",
            "2020-01-01;2;2.5",
            "2020-01-02;1;0.5",
            f"2020-01-02;2;{cell}",
        ]
        name, row = "t", 3
    (tmp_path / "a.csv").write_text("\n".join(rows) + "\n")
    with pytest.raises(ValueError, match=f"column '{name}', row {row}: .*{message}"):
        read_ensemble(tmp_path / "a.csv")


def test_a_long_table_of_decimal_commas(tmp_path):
    rows = [
        "date;member;height;t",
        *(f"2020-01-0{d};{m};{400 + d}.5;{d + m},25" for d in (1, 2) for m in (1, 2)),
    ]
    (tmp_path / "a.csv").write_text("\n".join(rows) + "\n")
    with pytest.raises(
        ValueError, match="column 't', row 0: '2,25' is no number; write decimals with a point"
    ):
        read_ensemble(tmp_path / "a.csv")


@pytest.mark.parametrize("name", ["MESS_DATUM", "YYYYMMDDHH", "init", "valid", "run", "Date", "cycle"])
def test_names_of_compact_dates(name):
    found = Ensemble.from_dataframe(wide(**{name: [2020013100, 2020013112, 2020020100]}))
    assert found.coords[name].dtype.kind == "M"
    assert (
        Ensemble.from_dataframe(wide(station=[20200131, 20200132, 20200133])).coords["station"].dtype.kind
        == "i"
    )


def test_the_time_of_cases_with_several_dates():
    for names, told in {
        ("init", "valid"): "valid",
        ("Init_Time", "TIME"): "TIME",
        ("run", "validity"): "validity",
        ("DATE", "issue"): "DATE",
    }.items():
        dates = dict.fromkeys(names, pd.to_datetime(["2020-01-01", "2020-01-02", "2020-01-03"]))
        assert find_times(Ensemble.from_dataframe(wide(**dates)))[0] == told
