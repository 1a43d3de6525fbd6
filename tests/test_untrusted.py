"""JSON, TOML and archives of others: what no file of this package holds is refused in a sentence, and soon."""

import gzip
import hashlib
import io
import json
import lzma
import time
import zipfile

import numpy as np
import pytest
import xarray as xr
from safetensors.numpy import load as from_bytes
from safetensors.numpy import save as to_bytes
from test_cli import degmm

from degmm import EGMM, load, read_ensemble, save
from degmm.calibration import EMOS
from degmm.ensembles import tablefiles
from degmm.memory import check_amount
from degmm.report import render
from degmm.untrusted import read_json, read_toml

RECORD = {
    "format": 1, "command": "fit", "title": "a title", "finished": "2026-01-01T00:00:00+00:00", "seconds": 1.0,
    "command_line": "degmm fit", "configuration": {}, "versions": {}, "input": None, "items": [], "files": [],
}  # fmt: skip
DEEP = "[" * 100_000 + "]" * 100_000
NUMBERS = {
    "1e400": "too large for a float",
    "9" * 400: "an integer of 400 digits",
    "9" * 5000: "of 5000 digits",
}


@pytest.fixture(autouse=True)
def _soon():
    started = time.perf_counter()
    yield
    assert time.perf_counter() - started < 20


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (DEEP, "nested"),
        ('{"a":' * 50_000 + "1" + "}" * 50_000, "nested"),
        ("[" * 30 + "]" * 30, "nested more than 20 levels"),
        ("[" * 100_000, "nested|no JSON"),
        ("NaN", "not finite"),
        ('{"a": [-Infinity]}', "not finite"),
        ("{", "it is no JSON: "),
        ("1" * 81, "81 digits"),
        *NUMBERS.items(),
        *((f"-{text}", message) for text, message in NUMBERS.items() if len(text) < 1000),
    ],
)
def test_json(text, message):
    with pytest.raises(ValueError, match=message):
        read_json(text.encode())
    if "finite" in message:
        read_json(text.encode(), finite=False)


def test_json_that_is_sound():
    value = {"a": [1, -2.5, 1e308, 5e-324, 2**128 - 1, -(2**128)], "b": {"c": None, "d": [True]}}
    assert read_json(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a." * 20_000 + "a = 1", "a key of more than 10 parts"),
        ("[" + "a." * 20_000 + "a]", "a key of more than 10 parts"),
        ('"a".' * 10_000 + "a = 1", "a key of more than 10 parts"),
        ("a = {" + "b . " * 10_000 + "c = 1}", "a key of more than 10 parts"),
        ("a = " + DEEP, "nested more than 20 levels"),
        ("a = " + "{a=" * 50_000 + "1" + "}" * 50_000, "nested more than 20 levels"),
        ("a = '" + "x" * 2_000_000 + "'", "at most"),
        ("a = 1e400", "not finite"),
        ("a = [inf]", "not finite"),
        ("a = nan", "not finite"),
        ("a = " + "9" * 400, "of more than 80 digits"),
        ("a = " + "9" * 5000, "of more than 80 digits"),
        ('a = "' + '"""' * 30_000, "Expected|Unterminated|Illegal|Invalid"),
        ('a = """' + '\\"""' * 30_000, "Unterminated|Expected|Illegal"),
    ],
)
def test_toml(text, message):
    with pytest.raises(ValueError, match=message):
        read_toml(text.encode())


def test_toml_that_is_sound():
    text = """
    # a.b.c.d.e.f.g.h.i.j.k.l.m [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[
    file = "a.b.c.d.e.f.g.h.i.j.k.l.m.nc" # [[[[[[[[[[[[[[[[[[[[[[[[
    other = 'a.b.c.d.e.f.g.h.i.j.k.l.m\\'
    long = \"\"\"[[[[[[[[[[[[[[[[[[[[[[[[[ " \\" a.b.c.d.e.f.g.h.i.j.k.l.m\"\"\"
    rates = [0.5, 1.5, 2.5, 0.5, 1.5, 2.5, 0.5, 1.5, 2.5, 0.5, 1.5, 2.5]
    day = 2020-01-01
    """
    found = read_toml(text.encode())
    assert found["file"].startswith("a.b.c")
    assert len(found["rates"]) == 12


# --- records, configurations, models -------------------------------------------------------------------------


@pytest.mark.parametrize("number", [*NUMBERS, "NaN", "Infinity", "-1", DEEP, "true"])
def test_records(number, tmp_path, capsys):
    text = json.dumps(RECORD | {"seconds": 17})
    (tmp_path / "run.json").write_text(text.replace("17", number))
    if number == "true":
        render(tmp_path)
        return
    with pytest.raises(ValueError, match=r"run.json: damaged"):
        render(tmp_path)
    assert degmm("report", tmp_path) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert len(error) < 500
    # a command that writes there takes it for no record of its own, and goes on
    assert degmm("predict", tmp_path, "none.nc") == 2
    assert "no saved model" in capsys.readouterr().err


def test_nested_configurations_of_a_record(tmp_path):
    configuration = json.loads("[" * 15 + "]" * 15)
    (tmp_path / "run.json").write_text(json.dumps(RECORD | {"configuration": {"a": configuration}}))
    assert "none" in render(tmp_path)


@pytest.mark.parametrize("files", [5, None, {"a": 1}, [["a"]], ["a\0b", "..", "x/y", 3, "\ud800"]])
def test_files_of_a_record(files, tmp_path):
    from degmm.folders import output_folder

    (tmp_path / "run.json").write_text(json.dumps(RECORD | {"files": files}))
    with output_folder(tmp_path) as staged:
        (staged / "run.json").write_text(json.dumps(RECORD))
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.parametrize("said", ["a." * 20_000 + "a = 1", "K = 1e400", "K = " + "9" * 400, "K = " + DEEP])
def test_configurations(said, tmp_path, capsys):
    (tmp_path / "run.toml").write_text(said)
    assert degmm("fit", "none.nc", "--config", tmp_path / "run.toml") == 2
    error = capsys.readouterr().err
    assert "--config: " in error
    assert len(error.splitlines()) == 1


def test_the_folder_s_name_adds_no_line_to_a_configuration(tmp_path, monkeypatch):
    from degmm.cli.config import config_text

    (tmp_path / "x\noutput = 'mine'").mkdir()
    monkeypatch.chdir(tmp_path / "x\noutput = 'mine'")
    assert read_toml(config_text("fit", {"K": 2}, {"degmm": "1"}).encode()) == {"command": "fit", "K": 2}


@pytest.fixture(scope="module")
def fitted(mixture):
    return EGMM(2, n_init=1, random_state=0).fit(mixture[0])


def altered(folder, change):
    head = json.loads((folder / "model.json").read_text())
    arrays = from_bytes((folder / head["arrays"]).read_bytes())
    change(arrays, head)
    content = to_bytes({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    (folder / head["arrays"]).write_bytes(content)
    (folder / "model.json").write_text(json.dumps(head | {"sha256": hashlib.sha256(content).hexdigest()}))


def set_to(name, value):
    def change(arrays, head):
        arrays[name] = arrays[name].copy()
        arrays[name][...] = value

    return change


def swapped(arrays, head):
    arrays["parameters.within"] = arrays["parameters.within"] * np.array([[1, 5], [-5, 1]])


@pytest.mark.parametrize(
    "change",
    [
        set_to("parameters.within", [[1.0, 2.0], [2.0, 1.0]]),
        set_to("parameters.within", [[-1.0, 0.0], [0.0, 1.0]]),
        set_to("parameters.within", 0),
        set_to("parameters.between", [[-1.0, 0.0], [0.0, -1.0]]),
        set_to("scaling.scale", 1e300),
        swapped,
        lambda arrays, head: head["facts"].update(result="NON_FINITE"),
        lambda arrays, head: head["facts"].update(n_members=2**53),
        lambda arrays, head: head["facts"].update(feature_names={"a": 1, "b": 2}),
        lambda arrays, head: head["facts"].update(feature_names=["a", "b"], units=["K"]),
        lambda arrays, head: head["facts"].update(log_likelihood=float("nan")),
    ],
)
def test_models_that_no_fit_gives(change, fitted, tmp_path):
    folder = save(fitted, tmp_path / "model")
    altered(folder, lambda arrays, head: None)
    load(folder)
    altered(folder, change)
    with pytest.raises(ValueError, match="damaged"):
        load(folder)


def test_forecasts_whose_squares_are_infinite(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 5))
    folder = save(EMOS().fit(X, X.mean(axis=1) + rng.normal(size=60)), tmp_path)
    altered(folder, set_to("parameters", 1e300))
    with pytest.raises(ValueError, match="X: the forecast of case 0 is no finite number"):
        load(folder).predict(X)


@pytest.mark.parametrize("number", [*NUMBERS, DEEP])
def test_heads_of_models(number, fitted, tmp_path):
    folder = save(fitted, tmp_path / "model")
    head = json.loads((folder / "model.json").read_text())
    head["facts"]["n_iter"] = 77177
    (folder / "model.json").write_text(json.dumps(head).replace("77177", number))
    with pytest.raises(ValueError, match="damaged"):
        load(folder)
    save(fitted, folder)  # what was there is no reason not to
    load(folder)


def test_a_sparse_file_is_not_read(fitted, tmp_path):
    folder = save(fitted, tmp_path / "model")
    arrays = next(folder.glob("*.safetensors"))
    with arrays.open("r+b") as file:
        file.truncate(2**42)
    with pytest.raises(ValueError, match="is too large"):
        load(folder)
    (folder / "model.json").write_text(" ")
    with (folder / "model.json").open("r+b") as file:
        file.truncate(2**32)
    with pytest.raises(ValueError, match="is too large"):
        load(folder)


def test_a_picture_whose_name_no_file_has(tmp_path):
    item = {"section": "a", "kind": "picture", "file": "\ud800.png", "caption": "a"}
    (tmp_path / "run.json").write_text(json.dumps(RECORD | {"items": [item]}))
    with pytest.raises(ValueError, match=r"run.json: a picture has no name of a file; remove it"):
        render(tmp_path)


def test_parquet_of_text_that_is_none(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    text = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(np.array([0, 1, 2], "<i4")), pa.py_buffer(b"\xffa")]
    )
    pq.write_table(
        pa.table({"t2m_m01": [1.0, 2.0], "t2m_m02": [2.0, 3.0], "site": text}), tmp_path / "a.parquet"
    )
    with pytest.raises(ValueError, match="not a readable Parquet file"):
        read_ensemble(tmp_path / "a.parquet")


# --- archives ------------------------------------------------------------------------------------------------


def npy(shape, dtype="<f8", content=b"\0" * 64):
    head = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + content


def archive(path, compression=zipfile.ZIP_DEFLATED, **parts):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in parts.items():
            file.writestr(f"{name}.npy", content)
    return path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy("(1000000000000, 5, 2)"), "not a readable npz file"),
        (npy("(-1, 5, 2)"), "is of no plain type"),
        (npy("(2, 2)", [("a", "<f8")]), "is of no plain type"),
        (npy("(9, 5, 2)"), "not a readable npz file"),
        (npy("(" + "-" * 3000 + "1,)"), "is of no plain type"),
        (npy("(" + "1, " * 3000 + "x)"), "is of no plain type"),
        (npy("(2, 2)", "|O"), "holds Python objects"),
        (b"no array at all", "is no array"),
    ],
)
def test_heads_of_arrays(content, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read_ensemble(archive(tmp_path / "a.npz", X=content))


def test_text_that_is_none(tmp_path):
    buffer = io.BytesIO()
    names = np.array(["a", "b"], ">U3")
    bad = np.frombuffer(b"\xff\xff\xff\x7f" * 2, "<U1")
    np.savez(buffer, X=np.random.default_rng(0).normal(size=(2, 3, 2)), variables=names, site=bad)
    (tmp_path / "a.npz").write_bytes(buffer.getvalue())
    data = read_ensemble(tmp_path / "a.npz")
    assert data.variables == ("a", "b")
    assert "left out: site" in data.notes


def test_members_that_are_no_arrays_are_left_out(tmp_path):
    buffer = io.BytesIO()
    np.save(buffer, np.random.default_rng(0).normal(size=(5, 3, 1)))
    path = archive(tmp_path / "a.npz", X=buffer.getvalue(), **{"../../x": b"text"})
    assert "left out: ../../x" in read_ensemble(path).notes
    assert not (tmp_path.parent.parent / "x.npy").exists()


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damaged_archives(compression, tmp_path):
    path = archive(tmp_path / "a.npz", compression, X=npy("(9, 5, 2)", content=bytes(range(256)) * 3))
    content = bytearray(path.read_bytes())
    content[50:70] = b"\xff" * 20
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"not a readable npz file|damaged npz or zip"):
        read_ensemble(path)


def test_an_encrypted_archive(tmp_path):
    path = archive(tmp_path / "a.npz", X=npy("(2, 2, 2)"))
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a readable npz file"):
        read_ensemble(path)


def test_archives_that_would_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("degmm.memory.LEAST", 10_000)
    monkeypatch.setattr("degmm.memory.MOST_TIMES", 50)
    zeros = npy("(1000, 100)", content=bytes(800_000))
    with pytest.raises(ValueError, match=r"a.npz: its arrays would take 0.0008 GB .* made to do harm"):
        read_ensemble(archive(tmp_path / "a.npz", X=zeros))
    table = b"t2m_m01,t2m_m02\n" + b"0,0\n" * 100_000
    for name, pack in (("a.csv.gz", gzip.compress), ("a.csv.xz", lzma.compress)):
        (tmp_path / name).write_bytes(pack(table))
        with pytest.raises(ValueError, match=r"the table would take .*; unpack it"):
            read_ensemble(tmp_path / name)
    (tmp_path / "a.csv").write_bytes(table)  # unpacked, it is what it is
    assert len(read_ensemble(tmp_path / "a.csv")) == 100_000


@pytest.mark.parametrize("cell", ["9" * 400, "-" + "9" * 400, "1e400"])
def test_cells_that_no_float_holds(cell, tmp_path):
    for content in (
        f"t2m_m01,t2m_m02\n1,{cell}\n2,3\n",
        f"date,member,t2m\n2020-01-01,0,1.5\n2020-01-01,1,{cell}\n",
    ):
        (tmp_path / "a.csv").write_text(content)
        with pytest.raises(ValueError, match="an infinite value"):
            read_ensemble(tmp_path / "a.csv")
    with pytest.raises(ValueError, match="X: "):
        EGMM(1).fit([[[10**400], [1]], [[2], [3]]])
    with pytest.raises(ValueError, match="missing: expected numbers"):
        read_ensemble(tmp_path / "a.csv", missing=10**400)


def test_a_line_that_never_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(tablefiles, "LONGEST_LINE", 10_000)
    for content in (b"t2m_m01,t2m_m02\n" + b"1," * 10_000, b"1," * 10_000):
        (tmp_path / "a.csv.gz").write_bytes(gzip.compress(content))
        with pytest.raises(ValueError, match="a line of more than 10,000 letters"):
            read_ensemble(tmp_path / "a.csv.gz")


@pytest.mark.parametrize("size", [10**9, 10**15])
@pytest.mark.parametrize("dims", [("member",), ("time", "member")])
def test_netcdf_of_values_that_nobody_wrote(size, dims, tmp_path):
    import h5py

    data = xr.Dataset({"t2m": (("time", "member"), np.ones((3, 4)))}, coords={"time": np.arange(3)})
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with h5py.File(tmp_path / "a.nc", "a") as file:
        scale = file.create_dataset("x", (size,), "f8", chunks=(1000,))
        scale.make_scale("x")
        if len(dims) == 2:
            vast = file.create_dataset("vast", (3, 4, size), "f4", chunks=(1, 1, 1000))
            for axis, name in enumerate(("time", "member", "x")):
                vast.dims[axis].attach_scale(file[name])
    with pytest.raises(ValueError, match=r"'x' would take .* of memory"):
        read_ensemble(tmp_path / "a.nc")


def test_netcdf_that_is_vast(tmp_path, monkeypatch):
    data = xr.Dataset({"t2m": (("time", "member"), np.zeros((3000, 100)))})
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf", encoding={"t2m": {"zlib": True, "complevel": 9}})
    assert len(read_ensemble(tmp_path / "a.nc")) == 3000
    monkeypatch.setattr("degmm.memory.LEAST", 10_000)
    monkeypatch.setattr("degmm.memory.MOST_TIMES", 50)
    with pytest.raises(ValueError, match=r"the values of 't2m' would take .* to do harm has; take fewer"):
        read_ensemble(tmp_path / "a.nc")


def test_amounts(monkeypatch):
    check_amount("it", 10**8, 1, "take less")
    monkeypatch.setattr("degmm.memory.memory_of_machine", lambda: 10**9)
    with pytest.raises(
        ValueError, match="it would take 2 GB of memory, and this machine has 1 GB; take less"
    ):
        check_amount("it", 2 * 10**9, None, "take less")
    monkeypatch.setattr("degmm.memory.memory_of_machine", lambda: None)  # where it cannot be told
    check_amount("it", 10**15, None, "take less")


# --- the environment -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["maybe", "offf", "/tmp/x", "2"])
def test_a_switch_that_is_neither_on_nor_off(value, monkeypatch, capsys):
    monkeypatch.setenv("DEGMM_CACHE", value)
    assert degmm("cache") == 2
    assert (
        f"DEGMM_CACHE: expected on or off (or 1, true, yes, 0, false, no); got '{value}'"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("value", ["", "on", "1", " True ", "yes"])
def test_a_switch_that_is_on(value, monkeypatch):
    from degmm.store import find_place

    monkeypatch.setenv("DEGMM_CACHE", value)
    assert not find_place().off
