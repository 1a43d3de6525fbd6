"""``--config run.toml``: everything that a flag can say, in a file."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from degmm.untrusted import MOST_BYTES_OF_TOML, read_toml
from degmm.wording import visible

CONFIG = "run.toml"
"""Name of the file that every output folder holds"""
COMMAND = "command"
"""Key of the command that a file is for"""
OF_THE_CALL = ("config", "quiet", "verbose", "as_json", "progress", "help")
"""Parameters that say how a command speaks, not what it does"""


def flag_of(parameter: Any) -> str:
    """Return the long flag of a command's parameter, such as ``--member-dim``, or an argument's name."""
    if parameter.param_type_name == "argument":
        return str(parameter.name)
    return next((opt for opt in parameter.opts if opt.startswith("--")), parameter.opts[0])


def key_of(parameter: Any) -> str:
    """Return the key of a parameter in a file: its flag without dashes."""
    return flag_of(parameter).lstrip("-")


def use_config(context: Any, path: Path | None) -> Path | None:
    """Take what is in the file as the defaults of a command."""
    if path is not None:
        values = read_config(path, context.command)
        context.default_map = {**(context.default_map or {}), **values}
    return path


def read_config(path: Path, command: Any) -> dict[str, Any]:
    """Return the values in a file by the names of the command's parameters.

    Raises
    ------
    ValueError
        If it cannot be read, is for another command, or has a key that is none of the command's.
    """
    try:
        with path.open("rb") as file:
            settings = read_toml(file.read(MOST_BYTES_OF_TOML + 1))
    except OSError as error:
        raise ValueError(f"--config: {path}: {error.strerror or error}") from error
    except ValueError as error:  # of TOML, and of bytes that are no text
        raise ValueError(f"--config: {path}: not a readable TOML file ({_first_line(error)})") from error
    of = settings.pop(COMMAND, command.name)
    if of != command.name:
        raise ValueError(f"--config: {path}: is of degmm {of}, not of degmm {command.name}")
    known = {_plain(key): p for p in command.params for key in _keys(p)}
    values: dict[str, Any] = {}
    for key, value in settings.items():
        parameter = known.get(_plain(key))
        if parameter is None or parameter.name in ("config", "help"):
            others = [key_of(p) for p in command.params if p.name not in ("config", "help")]
            near = difflib.get_close_matches(key, others, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"--config: {path}: degmm {command.name} has no option {key!r}{hint}")
        if isinstance(value, dict):
            raise ValueError(f"--config: {path}: {key!r} is a table; expected a value, as in {key} = …")
        if isinstance(value, list) and not parameter.multiple:
            raise ValueError(f"--config: {path}: {key!r} takes a single value, got a list")
        if isinstance(value, bool) != _is_switch(parameter):
            raise ValueError(f"--config: {path}: {key!r} {SWITCH if _is_switch(parameter) else NO_SWITCH}")
        if parameter.name in values:
            raise ValueError(f"--config: {path}: {key!r} is there in two spellings")
        if not _is_switch(parameter):
            parts = value if isinstance(value, list) else [value]
            if any(isinstance(part, list | dict | bool) for part in parts):
                raise ValueError(f"--config: {path}: {key!r} takes texts or numbers, got a list of others")
            # As they would be typed: of other types a parser may think otherwise.
            value = [*map(str, parts)] if isinstance(value, list) else str(value)
        if _plain(key) in {_plain(opt.lstrip("-")) for opt in parameter.secondary_opts}:  # no-progress
            value = not value
        values[parameter.name] = [value] if parameter.multiple and not isinstance(value, list) else value
    return values


def config_text(command: str, configuration: Mapping[str, Any], versions: Mapping[str, str]) -> str:
    """Return the file that repeats a run: ``degmm COMMAND --config run.toml``."""
    import tomli_w

    made = ", ".join(f"{name} {version}" for name, version in versions.items())
    values = {COMMAND: command} | {k: v for k, v in configuration.items() if v is not None}
    where = visible(str(Path.cwd()))  # a comment ends where a line does
    head = f"# repeat it by: degmm {command} --config {CONFIG} (this file), in {where}\n# made by {made}\n"
    return head + tomli_w.dumps(values)


SWITCH, NO_SWITCH = "is a switch: expected true or false", "is no switch: expected a value"


def _is_switch(parameter: Any) -> bool:
    return bool(getattr(parameter, "is_flag", False))


def _keys(parameter: Any) -> list[str]:
    if parameter.param_type_name == "argument":
        return [parameter.name]
    return [opt.lstrip("-") for opt in (*parameter.opts, *parameter.secondary_opts) if opt.startswith("--")]


def _plain(key: str) -> str:
    return key.replace("-", "_")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]
