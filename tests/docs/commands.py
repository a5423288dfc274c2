"""What the commands of a console block are, and what is wrong with them."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator, Sequence

import click

from agentq.cli.main import agentq
from tests.docs.snippets import ROOT, Snippet

_COMMENT = re.compile(r"(^|\s+)#\s.*$")
_VARIABLE = re.compile(r"\w+=")
_EXTRAS = re.compile(r"celery-agentq\[([\w,-]+)\]")


def problems(snippet: Snippet, *, known_programs: bool) -> list[str]:
    """Return what is wrong; with *known_programs*, also each command that nothing here can check."""
    return [
        f"line {snippet.line}: {' '.join(words)}: {problem}"
        for words in commands(snippet.code)
        if (problem := _problem(words, known_programs))
    ]


def commands(code: str) -> Iterator[list[str]]:
    """Yield the words of each command, without comments, variables and what the shell does with it."""
    for line in re.sub(r"\\?\n\s+", " ", code).splitlines():
        words = shlex.split(_COMMENT.sub("", line).partition(" > ")[0].removesuffix("&"))
        while words and _VARIABLE.match(words[0]):
            words = words[1:]
        if words:
            yield words


def _problem(words: list[str], known_programs: bool) -> str:
    program = words[0]
    if program.startswith("scripts/"):
        return "" if (ROOT / program).is_file() else "there is no such script"
    if program == "pip":
        known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        asked = {extra for names in _EXTRAS.findall(" ".join(words)) for extra in names.split(",")}
        return "" if asked <= known.keys() else "there is no such extra"
    if "agentq" in words and program in ("agentq", "celery", "python", "flask"):
        return _problem_of_agentq(words[words.index("agentq") + 1 :])
    if known_programs and program != "celery":
        return "mark it: <!-- snippets: not run, REASON -->, or see tests/docs/snippets.py"
    return ""


def _problem_of_agentq(words: list[str]) -> str:
    for chosen in _alternatives([word.strip("[]") for word in words]):
        try:
            _parse(agentq, "agentq", chosen)
        except click.exceptions.Exit:
            continue
        except click.UsageError as error:
            if not any(word.isupper() and f"'{word}'" in error.message for word in chosen):  # a placeholder
                return f"{' '.join(chosen)}: {error.format_message()}"
    return ""


def _alternatives(words: Sequence[str]) -> Iterator[list[str]]:
    """Yield the command with each of the words in ``list|show`` once."""
    first = [word.split("|")[0] for word in words]
    yield first
    for place, word in enumerate(words):
        for other in word.split("|")[1:]:
            yield [*first[:place], other, *first[place + 1 :]]


def _parse(command: click.Command, name: str, words: list[str], parent: click.Context | None = None) -> None:
    context = command.make_context(name, list(words), parent=parent)
    rest = [*context._protected_args, *context.args]
    if isinstance(command, click.Group) and rest:
        found, inner, left = command.resolve_command(context, rest)
        assert inner is not None
        _parse(inner, found or "", left, context)
