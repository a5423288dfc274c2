"""The package's source as the tests of its shape read it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "agentq"


@cache
def modules() -> dict[str, Path]:
    """Return the package's modules by dotted name."""
    return {_dotted(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def part_of(module: str) -> str:
    """Return the part of agentq that a module is in; empty for the package itself."""
    return module.split(".")[1] if "." in module else ""


@cache
def tree_of(module: str) -> ast.Module:
    """Return the syntax of *module*, read when a test first asks: many processes only collect the tests."""
    return ast.parse(modules()[module].read_text())


@cache
def imports(module: str, *, late: bool = True) -> set[str]:
    """Return the dotted names that *module* imports, for its annotations too, and inside functions if *late*.

    Of agentq's own, the module is named, not what is taken from it.
    """
    return {_nearest(name) for name in _imported(tree_of(module), late)} - {module}


def _imported(node: ast.AST, late: bool) -> Iterator[str]:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() if not late:
            return
        case ast.Import(names=names):
            yield from (alias.name for alias in names)
            return
        case ast.ImportFrom(module=str(source), names=names, level=0):
            yield from (f"{source}.{alias.name}" for alias in names)
            return
        case ast.ImportFrom():
            raise AssertionError(f"line {node.lineno}: a relative import; agentq writes absolute ones")
        case _:
            for child in ast.iter_child_nodes(node):
                yield from _imported(child, late)


def _nearest(name: str) -> str:
    if not name.startswith("agentq"):
        return name
    while name not in modules():
        name = name.rpartition(".")[0]
    return name


def _dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
