"""The names on the pages of docs/reference, one line each, for a reader without the built site."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from enum import Enum
from importlib import import_module
from types import ModuleType
from typing import Any

import click
from sphinx.pycode import ModuleAnalyzer

from tests.docs.snippets import ROOT

PAGES = sorted((ROOT / "docs" / "reference").glob("*.md"))
BEGIN = "<!-- names: written by scripts/reference-names from the code -->"
END = "<!-- end of the names -->"
_DIRECTIVE = re.compile(r"^\.\. (\w+):: (\S+)((?:\n   :.*)*)", re.MULTILINE)
_EXCLUDED = re.compile(r":exclude-members: (.*)")

Row = tuple[str, str]


def names(page: str) -> list[Row]:
    """Return the names that the directives of a page put onto the site, each with the first line about it."""
    rows: list[Row] = []
    for directive, target, options in _DIRECTIVE.findall(page):
        excluded = _EXCLUDED.search(options)
        without = {name.strip() for name in excluded[1].split(",")} if excluded else set()
        rows += {"automodule": _module, "autoclass": _class, "autofunction": _function, "click": _command}[
            directive
        ](target, without)
    return rows


def replaced(page: str) -> str:
    """Return the page with its names as the code has them."""
    table = "\n".join(["| name | |", "|---|---|", *(f"| `{name}` | {line} |" for name, line in names(page))])
    part = f"{BEGIN}\n\n{table}\n\n{END}"
    if BEGIN in page:
        before, _, rest = page.partition(BEGIN)
        return f"{before}{part}{rest.partition(END)[2]}"
    before, fence, rest = page.partition("```{eval-rst}")
    return f"{before}{part}\n\n{fence}{rest}"


def _module(name: str, without: set[str]) -> Iterator[Row]:
    module = import_module(name)
    notes = ModuleAnalyzer.for_module(name).find_attr_docs()
    given = getattr(module, "__all__", None) or _own(module, notes)
    for member in sorted(set(given) - without, key=lambda member: (member.lower(), member)):
        value = getattr(module, member)
        if ("", member) in notes:
            yield f"{name}.{member}", _first(" ".join(notes["", member]))
        elif callable(value) or inspect.ismodule(value):
            yield f"{name}.{member}", _first(inspect.getdoc(value)) + _values(value)


def _own(module: ModuleType, notes: dict[tuple[str, str], list[str]]) -> list[str]:
    defined = [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and "[" not in name and getattr(value, "__module__", "") == module.__name__
    ]
    return defined + [name for owner, name in notes if not owner and not name.startswith("_")]


def _class(target: str, without: set[str]) -> Iterator[Row]:
    module, _, name = target.rpartition(".")
    found: Any = getattr(import_module(module), name)
    yield target, _first(inspect.getdoc(found))
    notes = ModuleAnalyzer.for_module(module).find_attr_docs()
    for member, value in vars(found).items():
        if not member.startswith("_") and member not in without and inspect.getdoc(value) and callable(value):
            yield f"{name}.{member}", _first(inspect.getdoc(value))
    yield from ((member, _first(" ".join(note))) for (owner, member), note in notes.items() if owner == name)


def _function(target: str, without: set[str]) -> Iterator[Row]:
    module, _, name = target.rpartition(".")
    found = getattr(import_module(module), name)
    yield target, _first(inspect.getdoc(found))


def _command(target: str, without: set[str]) -> Iterator[Row]:
    module, _, name = target.partition(":")
    yield from _commands(name, getattr(import_module(module), name))


def _commands(path: str, command: click.Command) -> Iterator[Row]:
    yield path, _first(command.help)
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from _commands(f"{path} {name}", found)


def _values(value: Any) -> str:
    is_words = isinstance(value, type) and issubclass(value, Enum)
    return f" One of {', '.join(f'`{item.value}`' for item in value)}." if is_words else ""


def _first(text: str | None) -> str:
    line = (text or "").strip().partition("\n")[0]
    return re.sub(r":\w+:`", "`", line).replace("|", "\\|").replace("``", "`")


def main(*arguments: str) -> None:
    """Write the pages, or check them."""
    for path in PAGES:
        page = path.read_text(encoding="utf-8")
        wanted = replaced(page)
        if "--check" not in arguments:
            path.write_text(wanted, encoding="utf-8")
        elif page != wanted:
            sys.exit(f"{path.relative_to(ROOT)} is not what the code says; run scripts/reference-names")


if __name__ == "__main__":
    main(*sys.argv[1:])
