"""What a command says: printed as it goes, and recorded for its report and for scripts."""

import json
import math
import os
import shlex
import sys
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from degmm.cli.config import CONFIG, OF_THE_CALL, config_text, flag_of, key_of
from degmm.cli.flags import translated
from degmm.cli.groups import meant
from degmm.cli.options import SessionOptions
from degmm.cli.tables import print_table
from degmm.cli.versions import input_facts, versions
from degmm.files import keep_input, write_bytes
from degmm.folders import PAGE, RECORD, command_of, output_folder
from degmm.interrupts import check


class Session:
    """One run of a command.

    While its context is open, mistakes and warnings are told in the words of the command line.
    """

    def __init__(
        self, command: str, context: Any, options: SessionOptions, called: Mapping[str, str] = {}
    ) -> None:
        """Begin; ``called`` are flags of arguments that bear another name in Python."""
        self.command, self._options = command, options
        self._started, self._arguments = time.perf_counter(), context.find_root().obj
        self._parameters = {p.name: p for p in context.command.params}
        self._values = {name: meant(value) for name, value in context.params.items()}
        self.flags: dict[str, str] = {n: flag_of(p) for n, p in self._parameters.items()} | dict(called)
        sources = {name: _source(context, name) for name in self._parameters}
        self.configured = {name for name, source in sources.items() if source == "DEFAULT_MAP"}
        # A configuration names all that was used: what is as by default is not asked for.
        asked = {n for n in self.configured if self._values[n] != self._parameters[n].default}
        self.given = asked | {name for name, source in sources.items() if source == "COMMANDLINE"}
        self.section = "Data"
        self._items: list[dict[str, Any]] = []
        self._tables: list[dict[str, Any]] = []
        self._written: list[str] = []
        self._title = command

    # --- saying -----------------------------------------------------------------------------------

    def note(self, text: str) -> None:
        """Say a sentence."""
        self.say(text)
        self._items.append({"section": self.section, "kind": "note", "text": text})

    def warning(self, text: str) -> None:
        """Say, also to those who asked for quiet, what may be wrong."""
        text = translated(text, self.flags)
        sys.stderr.write(f"degmm: warning: {text}\n")
        self._items.append({"section": self.section, "kind": "warning", "text": text})

    def table(
        self,
        title: str,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        records: Sequence[Mapping[Any, Any]],
    ) -> None:
        """Show a table: its cells as text, and as records of numbers for scripts."""
        check()
        if self.speaks:
            self._print(lambda: print_table(title, columns, rows))
        item = {"title": title, "columns": list(columns), "rows": [list(row) for row in rows]}
        self._items.append({"section": self.section, "kind": "table", **item})
        self._tables.append(
            {"section": self.section, "title": title, "rows": [_plain(dict(record)) for record in records]}
        )

    @contextmanager
    def picture(self, file: str, caption: str) -> Iterator[None]:
        """Record a picture in the output folder; one that cannot be drawn is a warning, no end of the run.

        Draw it within the context.
        """
        check()
        try:
            yield
        except Exception as error:  # whatever it is, the results are worth more
            why = " ".join(str(error).split()) or type(error).__name__
            self.warning(f"the picture {file} could not be drawn ({why}); all other results are there")
            return
        self._items.append({"section": self.section, "kind": "picture", "file": file, "caption": caption})

    def file(self, file: str, text: str) -> None:
        """Record another file in the output folder."""
        self._items.append({"section": "Files", "kind": "file", "file": file, "text": text})

    def say(self, text: str) -> None:
        """Print what is of the moment only, such as what comes next."""
        check()
        if self.speaks:
            self._print(lambda: print(text, flush=True))

    def detail(self, text: str) -> None:
        """Print what only ``--verbose`` asks for."""
        if self._options.verbose:
            self.say(text)

    def wrote(self, path: Path) -> None:
        """Say which file was written."""
        self._written.append(str(path))
        self.say(f"wrote {path}")

    @contextmanager
    def results(self, output: Path, *names: str, input: Path | None = None) -> Iterator[Path]:
        """Yield a folder for files that will be those of ``output``, all or none, and say so.

        Raises
        ------
        ValueError
            If they would replace the file that is read, or the results of another command.
        """
        from degmm.ensembles.reader import is_store

        if input is not None and (input.is_file() or is_store(input)):
            keep_input(input, *(output / name for name in (*names, RECORD, CONFIG)))
        of = command_of(output)
        if of not in (None, self.command):
            raise ValueError(
                f"output: {output} holds the results of degmm {of}; choose another folder for those of "
                f"degmm {self.command}"
            )
        with output_folder(output, *names) as folder:
            yield folder
            written = sorted(path.name for path in folder.iterdir())
        self._written += [str(output / name) for name in written]
        told = [name for name in written if not name.endswith(".safetensors")]  # model.json names them
        self.say(f"wrote to {output}: {', '.join(told)}")

    def _print(self, said: Callable[[], None]) -> None:
        try:
            said()
        except BrokenPipeError:  # nobody listens any more, as after | head; the work goes on
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115

    @property
    def speaks(self) -> bool:
        """Whether anything is printed beside warnings, errors and JSON."""
        return not (self._options.quiet or self._options.as_json)

    # --- what was done --------------------------------------------------------------------------

    def configuration(self, unused: Collection[str] = ()) -> dict[str, Any]:
        """Return the resolved options by their keys in a file; ``unused`` are parameters left out."""
        left_out = {*OF_THE_CALL, *unused}
        return {
            key_of(self._parameters[name]): _plain(value)
            for name, value in self._values.items()
            if name in self._parameters and name not in left_out
        }

    @property
    def command_line(self) -> str:
        """The command as it was typed."""
        # The name of a file may hold bytes that are no text.
        return shlex.join(self._arguments).encode("utf-8", "replace").decode()

    def record(
        self,
        folder: Path,
        title: str,
        *,
        input: Path | None = None,
        unused: Collection[str] = (),
        page: bool = False,
    ) -> None:
        """Write ``run.json`` and ``run.toml``: what was said, and how to repeat it.

        Parameters
        ----------
        folder : Path
            Where all other files of the run are.
        title : str
        input : Path, optional
            The file that was read.
        unused : collection of str
            Parameters of no meaning to this run.
        page : bool
            Whether to write the page of the record, too.
        """
        configuration, made_with = self.configuration(unused), versions()
        own = {RECORD, CONFIG, PAGE} if page else {RECORD, CONFIG}
        run = {
            "format": 1,
            "command": self.command,
            "title": title,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - self._started, 3),
            "command_line": self.command_line,
            "configuration": configuration,
            "versions": made_with,
            "input": None if input is None else input_facts(input),
            "items": self._items,
            "files": sorted({path.name for path in folder.iterdir()} | own),
        }
        self._title = title
        # The name of a file may hold bytes that are no text.
        text = config_text(self.command, configuration, made_with).encode("utf-8", "replace")
        write_bytes(folder / CONFIG, text)
        write_bytes(folder / RECORD, json.dumps(run, indent=1, allow_nan=False).encode())
        if page:
            from degmm.report import render

            write_bytes(folder / PAGE, render(folder).encode())

    # --- the context --------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        from sklearn.exceptions import ConvergenceWarning

        def tell(message: Warning | str, *_: Any, **__: Any) -> None:
            self.warning(str(message))

        self._catching = warnings.catch_warnings()
        self._catching.__enter__()
        warnings.simplefilter("always", ConvergenceWarning)
        warnings.showwarning = tell  # restored by catch_warnings
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._catching.__exit__(kind, error, trace)
        if isinstance(error, ValueError | MemoryError):
            told = ValueError if isinstance(error, ValueError) else MemoryError
            raise told(translated(str(error), self.flags)) from error
        if error is None:
            if self._options.verbose:
                self.say(f"seconds: {time.perf_counter() - self._started:.1f}")
                self.say(", ".join(f"{name} {version}" for name, version in versions().items()))
            if self._options.as_json:
                document = json.dumps(self._document(), allow_nan=False)
                self._print(lambda: print(document, flush=True))

    def _document(self) -> dict[str, Any]:
        said = {"note": [], "warning": []}  # type: dict[str, list[str]]
        for item in self._items:
            if item["kind"] in said:
                said[item["kind"]].append(item["text"])
        return {
            "command": self.command,
            "title": self._title,
            "notes": said["note"],
            "warnings": said["warning"],
            "tables": self._tables,
            "files": self._written,
        }


def _source(context: Any, name: str) -> str:
    source = context.get_parameter_source(name)
    return "" if source is None else str(source.name)


def _plain(value: Any) -> Any:
    """Return a value as JSON and TOML hold it; what is no finite number is None."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if hasattr(value, "item") and not isinstance(value, str):  # a number of NumPy's
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str):
        return str(value)  # a choice is a text of its own kind
    return value if value is None or isinstance(value, bool | int | float) else str(value)
