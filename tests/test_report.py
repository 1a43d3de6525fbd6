import base64
import html
import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image

from degmm.plotting import save_figure
from degmm.plotting.style import new_figure
from degmm.report import render, write_report

FLAG = "try --member-model shared-centre"
EVIL = "<script>alert('x')</script>"
GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium or Chrome is installed")


def item(section, kind, **keys):
    return {"section": section, "kind": kind, **keys}


def record():
    """Return what a fit leaves, with everything that is hard to lay out."""
    wide = [f"score {i} [degC]" for i in range(16)]
    names = ["EMOS", "EGMM, clusters of ensembles with a shared centre", "y" * 90]
    return {
        "format": 1,
        "command": "fit",
        "title": "EGMM, K = 2, of innsbruck_gefs.nc",
        "finished": "2026-11-24T06:30:00+00:00",
        "seconds": 3.21,
        "command_line": f"degmm fit innsbruck_gefs.nc --K 2 -o {'deep/' * 30}out --variable '{EVIL}'",
        "configuration": {
            "K": 2,
            "seed": 7,
            "polish": True,
            "hidden": [64, 32],
            "variable": None,
            "rate": 0.01,
        },
        "versions": {"degmm": "0.1.0", "python": "3.11.7"},
        "input": {"file": "innsbruck_gefs.nc", "bytes": 240337, "sha256": "8f4c" * 16},
        "items": [
            item("Data", "note", text=f"{EVIL} & members along 'member', see https://example.org"),
            item("Clusters", "note", text="log-likelihood per member: -4.9092 nats"),
            item(
                "Clusters",
                "table",
                title="clusters: mean ± spread",
                columns=["cluster", "t2m [degC]"],
                rows=[["0", "2.81 ± 4.16"], [EVIL, "-5.91 ± 4.68"]],
            ),
            item("Clusters", "picture", file="clusters.png", caption="Ensembles by cluster."),
            item("Data", "warning", text="dropped: 12 of 2749 ensembles"),
            item("Fit", "warning", text=FLAG),
            item(
                "Scores",
                "table",
                title="",
                columns=["method", *wide],
                rows=[[n, *(f"{i}.5" for i in range(16))] for n in names],
            ),
            item("Scores", "picture", file="selection.svg", caption=""),
            item("Scores", "picture", file="epochs.GIF", caption=EVIL),
            item("Scores", "picture", file="gone.png", caption="One that is gone."),
            item("Scores", "picture", file="paper.pdf", caption="One for a paper."),
            item("Files", "file", file="clusters.nc", text="cluster of each case"),
            item("Files", "file", file=f"{EVIL}.nc", text="x" * 200),
            item("Data", "note", text="a later note on the data"),
        ],
    }


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    figure, axes = new_figure(1, 1, size=(6.0, 4.0))
    axes[0].plot([1, 3, 2])
    save_figure(figure, folder / "clusters.png")
    save_figure(figure, folder / "selection.svg")
    (folder / "epochs.GIF").write_bytes(GIF)
    (folder / "paper.pdf").write_bytes(b"%PDF-1.4")
    return folder


@pytest.fixture
def run(pictures, tmp_path):
    """Return a function that writes a folder of results, after a change of its record, if any."""

    def write(**changed):
        folder = tmp_path / "out"
        if not folder.exists():
            shutil.copytree(pictures, folder)
        (folder / "run.json").write_text(json.dumps(record() | changed))
        return folder

    return write


class Page(HTMLParser):
    """Tags with their attributes, and texts, of a page; tags must match."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.texts, self.open = [], [], []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        self.texts.append(" " if tag == "dt" else "")

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.texts.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def test_the_page_holds_everything_in_order(run):
    page = render(run())
    text = re.sub(r"\s+", " ", "".join(Page(page).texts))
    wanted = (
        *("EGMM, K = 2, of innsbruck_gefs.nc", "degmm fit", "finished 2026-11-24 06:30 UTC", "took 3.2 s"),
        *("Warnings", "Data: dropped: 12 of 2749 ensembles", f"Fit: {FLAG}"),
        *("How to repeat it Data", "see https://example.org", "a later note on the data"),
        *("Clusters", "-4.9092", "clusters: mean ± spread", "t2m [degC]", "2.81 ± 4.16", "by cluster."),
        *("Scores", "score 15 [degC]", "gone.png is missing from the folder", "One that is gone."),
        *("in the file paper.pdf, which a page cannot show", "Files", "clusters.nc", "cluster of each case"),
        *("How to repeat it degmm fit innsbruck_gefs.nc --K 2", "240,337 bytes", "8f4c8f4c", "Seed 7"),
        *("Configuration", "polish yes", "hidden 64, 32", "variable not given", "rate 0.01"),
        *("Versions", "python 3.11.7"),
    )
    place = 0
    for words in wanted:
        assert words in text[place:], words
        place = text.index(words, place)


def test_names_and_notes_are_escaped(run):
    page = render(run(title=EVIL, command=EVIL, finished="2026-11-24", versions={EVIL: EVIL}))
    assert "<script" not in page
    assert page.count(html.escape(EVIL).replace("&#x27;", "&#39;")) >= 8
    tags = Page(page)
    assert any(EVIL in attributes["alt"] for attributes in tags.all("img"))
    assert {name for name, _ in tags.tags}.isdisjoint({"script", "iframe", "object", "form", "base"})


def test_pictures_are_embedded_byte_for_byte_and_described(run):
    folder = run()
    images = Page(render(folder)).all("img")
    assert [i["alt"] for i in images] == ["Ensembles by cluster.", "selection.svg", EVIL]
    kinds = [("clusters.png", "image/png"), ("selection.svg", "image/svg+xml"), ("epochs.GIF", "image/gif")]
    for (name, kind), shown in zip(kinds, images, strict=True):
        head, content = shown["src"].split(",")
        assert head == f"data:{kind};base64"
        assert base64.b64decode(content, validate=True) == (folder / name).read_bytes()


def test_nothing_outside_is_referred_to(run):
    page = render(run())
    tags = Page(page)
    for name, attributes in tags.tags:
        for key in ("src", "href", "srcset", "action", "data", "poster"):
            assert attributes.get(key, "#").startswith(("#", "data:")), (name, attributes)
        assert not any(key.startswith("on") for key in attributes)
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert re.findall(r"https?://[\w.]*", page) == ["https://example.org"]  # the note's, which is no link
    assert any("default-src 'none'" in meta.get("content", "") for meta in tags.all("meta"))
    ids = [attributes["id"] for _, attributes in tags.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    assert {a["href"][1:] for a in tags.all("a")} <= set(ids)
    labels = [a["aria-labelledby"] for _, a in tags.tags if "aria-labelledby" in a]
    assert set(labels) <= set(ids)
    assert tags.all("html") == [{"lang": "en"}]


def test_a_run_without_items_or_input_has_its_page(run):
    page = render(run(items=[], input=None, configuration={}, versions={}, seconds=3725))
    text = re.sub(r"\s+", " ", "".join(Page(page).texts))
    assert "Input file none" in text
    assert "took 1 h 2 min" in text
    for absent in ("Warning", "Configuration", "Versions", "Seed"):
        assert absent not in text
    assert "took 1 min 0 s" in render(run(seconds=59.99 + 0.01))
    only = render(run(items=[item("Fit", "warning", text="one")]))
    assert ">Warning<" in only
    folder = {"file": "cases.zarr", "bytes": None, "sha256": None}
    assert "SHA-256" not in render(run(input=folder))


def test_a_name_of_bytes_that_are_no_text_has_its_page(run):
    folder = run(command_line="degmm fit caf\udce9.nc")
    assert "degmm fit caf?.nc" in render(folder)


def test_the_page_is_written_to_the_folder_or_elsewhere(run, tmp_path):
    folder = run()
    written = write_report(str(folder))
    assert written == folder / "report.html"
    assert written.read_text(encoding="utf-8") == render(folder)
    elsewhere = write_report(folder, tmp_path / "page.html")
    assert elsewhere.read_bytes() == written.read_bytes()
    for target in (tmp_path / "absent" / "page.html", folder):
        with pytest.raises(ValueError, match=r"cannot be written \(.*\); choose another file"):
            write_report(folder, target)
    assert not list(folder.glob(".*"))


def test_no_folder_or_record_is_said(tmp_path):
    with pytest.raises(
        ValueError, match="absent: no such folder; expected the output folder of degmm describe"
    ):
        render(tmp_path / "absent")
    with pytest.raises(ValueError, match=r"no run.json; expected the output folder of degmm describe, "):
        write_report(tmp_path)
    assert not list(tmp_path.iterdir())
    (tmp_path / "run.json").mkdir()
    with pytest.raises(ValueError, match=r"run.json: cannot be read \(Is a directory\)"):
        render(tmp_path)


@pytest.mark.parametrize("content", [b"", b'{"format": 1', b"\xff\xfe", b"[" * 100_000])
def test_a_cut_or_foreign_record_is_said(tmp_path, content):
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"run.json: damaged \(it is no JSON: .*\); run the command again"):
        render(tmp_path)


@pytest.mark.parametrize("content", [[], 3, None, {}, {"format": "1"}, {"format": True}, {"format": 0}])
def test_a_record_without_format_is_said(tmp_path, content):
    (tmp_path / "run.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"run.json: damaged .it has no valid 'format'"):
        render(tmp_path)


def table(**changed):
    return [item("S", "table", **({"title": "", "columns": ["a", "b"], "rows": [["1", "2"]]} | changed))]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"title": 3}, "'title' of the record is of a wrong type, int"),
        ({"items": {}}, "'items' of the record is of a wrong type, dict"),
        ({"seconds": float("nan")}, "'seconds' is no duration"),
        ({"seconds": -1}, "'seconds' is no duration"),
        ({"finished": "yesterday"}, "Invalid isoformat string: 'yesterday'"),
        ({"input": {"file": "a.nc"}}, "'input' has no 'bytes'"),
        ({"items": ["text"]}, "item 0 has no 'section'"),
        ({"items": [{"section": "S"}]}, "item 0 has no 'kind'"),
        ({"items": [item("S", "film", file="a.mp4")]}, "item 0 is of an unknown kind 'film'"),
        ({"items": [item("S", "note")]}, "item 0 has no 'text'"),
        (
            {"items": [item("S", "picture", file="a\0.png", caption="")]},
            "item 0, a picture, has no name of a file",
        ),
        ({"items": table(rows=[["1"]])}, "item 0, a table, has rows that do not fit its columns"),
        ({"items": table(rows=["12"])}, "item 0, a table, has rows that do not fit its columns"),
        ({"items": table(rows=[["1", 2]])}, "item 0, a table, has cells that are no text"),
    ],
)
def test_a_record_of_wrong_structure_is_said(run, changed, words):
    folder = run(**changed)
    with pytest.raises(ValueError, match=re.escape(f"{folder / 'run.json'}: damaged ({words}); run the")):
        render(folder)


def test_a_record_without_a_key_is_said(run):
    folder = run()
    for key in set(record()) - {"format"}:
        (folder / "run.json").write_text(json.dumps({k: v for k, v in record().items() if k != key}))
        with pytest.raises(ValueError, match=f"damaged .the record has no '{key}'"):
            render(folder)


def test_a_newer_record_is_said(run):
    with pytest.raises(ValueError, match=r"newer format \(2, this version reads up to 1\); upgrade degmm"):
        render(run(format=2, items="of another kind"))


@pytest.mark.parametrize("name", ["../secret.png", "/etc/hostname", "a/../../secret.png", "link.png"])
def test_a_picture_outside_the_folder_is_refused(run, tmp_path, name):
    (tmp_path / "secret.png").write_bytes(b"secret")
    folder = run(items=[item("S", "picture", file=name, caption="")])
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(ValueError, match=rf"run.json: the picture '{name}' lies outside the folder"):
        render(folder)


def test_a_folder_that_is_a_link_or_has_folders_is_no_matter(run, tmp_path):
    folder = run(items=[item("S", "picture", file="inner/a.gif", caption="")])
    (folder / "inner").mkdir()
    (folder / "inner" / "a.gif").write_bytes(GIF)
    (tmp_path / "link").symlink_to(folder)
    assert base64.b64encode(GIF).decode() in render(tmp_path / "link")


def test_a_picture_that_cannot_be_read_is_said(run):
    folder = run(items=[item("S", "picture", file="a" * 300 + ".png", caption="")])
    with pytest.raises(ValueError, match=r"a.png: cannot be read \(File name too long\); check its"):
        render(folder)
    folder = run(items=[item("S", "picture", file="loop.png", caption="")])
    (folder / "loop.png").symlink_to(folder / "loop.png")
    assert "is missing from the folder" in render(folder)


@pytest.fixture
def browser(tmp_path):
    """Return a function that runs Chromium on a page and returns its output and what its console said."""

    def browse(page, *flags):
        quiet = ["--disable-quic", "--no-first-run", "--disable-background-networking"]
        quiet += ["--disable-component-update", "--disable-sync", "--hide-scrollbars"]
        command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", *quiet]
        command += [f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", "--v=0"]
        done = subprocess.run(
            [*command, *flags, Path(page).as_uri()], capture_output=True, timeout=120, check=True
        )
        lines = done.stderr.decode(errors="replace").splitlines()
        return done.stdout.decode(), [line for line in lines if "CONSOLE" in line]

    return browse


MEASURE = """<body style="margin:0"><iframe style="border:0;width:WIDTHpx;height:900px" srcdoc="PAGE"></iframe><script>
onload = () => {
  const inner = document.querySelector("iframe").contentDocument, root = inner.documentElement
  const within = [...inner.querySelectorAll("body *")].filter((e) => !e.parentElement.closest(".scroll"))
  const result = {
    page: [root.clientWidth, root.scrollWidth],
    furthest: Math.max(...within.map((e) => e.getBoundingClientRect().right)),
    tables: [...inner.querySelectorAll(".scroll")].map((e) => [e.clientWidth, e.scrollWidth]),
    images: [...inner.images].map((i) => i.complete && i.naturalWidth > 0),
  }
  console.log("measured")
  document.body.textContent = "RESULT" + JSON.stringify(result) + "END"
}
</script>"""


@needs_chromium
@pytest.mark.parametrize("width", [320, 360, 1280])
def test_in_a_browser_only_wide_tables_scroll(run, browser, tmp_path, width):
    frame = tmp_path / "frame.html"
    frame.write_text(
        "<!DOCTYPE html><meta charset=utf-8>"
        + MEASURE.replace("WIDTH", str(width)).replace("PAGE", html.escape(render(run())))
    )
    # Its window is wider than a phone's; the frame is as wide as one.
    dom, console = browser(frame, "--window-size=1400,1000", "--dump-dom")
    found = json.loads(html.unescape(re.search("RESULT(.*)END</body>", dom)[1]))
    # The frame's own line shows that the console is heard; nothing else spoke, such as the page's policy.
    assert len(console) == 1, console
    assert "measured" in console[0]
    assert found["page"] == [width, width]
    assert found["furthest"] <= width
    assert found["images"] == [True, True, True]
    narrow, wide = found["tables"]
    assert narrow[0] == narrow[1]
    assert wide[0] < wide[1]


@needs_chromium
@pytest.mark.parametrize("width", [360, 1280])
def test_in_a_browser_the_page_is_light_or_dark_as_asked(run, browser, tmp_path, width):
    page, corners = write_report(run()), []
    for i, scheme in enumerate((1, 0)):  # Chromium's numbers of light and dark
        shot = tmp_path / f"{i}.png"
        flags = (f"--window-size={width},1600", f"--blink-settings=preferredColorScheme={scheme}")
        _, console = browser(page, *flags, f"--screenshot={shot}")
        assert console == []
        pixels = image.imread(shot)
        assert pixels.shape[:2] == (1600, width)
        # Text, warnings and pictures: far from one colour.
        assert len(np.unique(pixels[::3, ::3].reshape(-1, pixels.shape[-1]), axis=0)) > 50
        assert os.path.getsize(shot) > 20_000
        corners.append(pixels[2, 2, :3].mean())
    assert corners[0] > 0.95
    assert corners[1] < 0.15


@needs_chromium
def test_in_a_browser_the_page_prints(run, browser, tmp_path):
    _, console = browser(write_report(run()), f"--print-to-pdf={tmp_path / 'page.pdf'}")
    assert console == []
    content = (tmp_path / "page.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", content)) <= 8
