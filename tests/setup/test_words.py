"""Messages, help, docstrings and pages have no word that was dropped, and a class name is given once."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator

import click
import pytest

from agentq import exceptions
from agentq.cli.main import agentq as group
from tests.setup.source import PACKAGE, ROOT

DROPPED = re.compile(
    r"\b(bells?|doorbells?|rung|ringing|told|tells?|in hand|strangers?|deeds?|judg(e[sd]?|ing|ement)|bury|"
    r"buri(es|ed|al)|mend(s|ed|ing)?|moments?|whoever|nobody|somebody|so many|stands? so|"
    r"growth|planting|planted|patience|meanwhile|keeping|in_hand|unrung|(a|next|last|one|two|another) looks?|"
    r"(give|gives|gave|given) (it )?up|"
    r"virtual|(missing|lacks?|lacked|too few) parts?)\b",
    re.IGNORECASE,
)
"""Words that had a private meaning, or are no subject of an English sentence."""
QUESTIONS = re.compile(
    r"(What|Who|Whose|Whoever|Whether|How|When|Where|Which|Why|Whatever|Wherever|Nobody|Somebody)\b"
)
"""First words of a docstring that does not say what its object is."""
OF_FRAMEWORKS = {"Meta", "Migration"}
"""Class names that a framework demands in many files."""
ROWS_OF_DJANGO = "agentq/contrib/django/models.py"
"""Its models are the nouns of the admin and of its permissions."""
FILES = sorted(path for path in PACKAGE.rglob("*.py") if "migrations" not in path.parts)
PAGES = [
    page for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))] if page.name != "contributing.md"
]
"""All but the page that has the rule itself, with examples."""
ERRORS = {name for name, one in vars(exceptions).items() if isinstance(one, type) and issubclass(one, Exception)}


def _texts(node: ast.AST) -> str:
    return "".join(
        one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)
    )


def _messages() -> Iterator[tuple[str, str]]:
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) in ERRORS:
                yield f"{path.relative_to(ROOT)}:{node.lineno}", _texts(node)


def _help(command: click.Command, context: click.Context, name: str) -> Iterator[tuple[str, str]]:
    lines = [
        command.help or "",
        command.short_help or "",
        *(getattr(one, "help", None) or "" for one in command.params),
    ]
    yield name, "\n".join(lines)
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            assert found is not None
            yield from _help(found, click.Context(found, parent=context), f"{name} {inner}")


def _docstrings() -> Iterator[tuple[str, str]]:
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                for one in node.body:
                    if (
                        isinstance(one, ast.Expr)
                        and isinstance(one.value, ast.Constant)
                        and isinstance(one.value.value, str)
                    ):
                        yield f"{path.relative_to(ROOT)}:{one.lineno}", one.value.value


def test_messages_of_errors_have_no_dropped_word() -> None:
    assert [(place, text) for place, text in _messages() if DROPPED.search(text)] == []


def test_help_of_commands_has_no_dropped_word() -> None:
    helps = dict(_help(group, click.Context(group), "agentq"))
    assert [(name, text) for name, text in helps.items() if DROPPED.search(text)] == []


def test_docstrings_have_no_dropped_word_and_begin_with_a_noun_or_a_verb() -> None:
    bad = [(place, text) for place, text in _docstrings() if QUESTIONS.match(text) or DROPPED.search(text)]
    assert bad == []


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_a_page_has_no_dropped_word(page: object) -> None:
    lines = page.read_text().splitlines()  # type: ignore[attr-defined]
    assert [line for line in lines if DROPPED.search(line)] == []


def test_no_two_classes_have_one_name() -> None:
    homes: dict[str, list[str]] = defaultdict(list)
    for path in FILES:
        place = str(path.relative_to(ROOT))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and node.name not in OF_FRAMEWORKS and place != ROWS_OF_DJANGO:
                homes[node.name].append(place)
    assert {name: places for name, places in homes.items() if len(places) > 1} == {}
