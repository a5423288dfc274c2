"""The things of other packages that agentq touches beside their public names, found in its source."""

from __future__ import annotations

import ast
import pydoc
from collections.abc import Iterable, Iterator
from functools import cached_property

from tests.setup.source import PACKAGE, ROOT

LIBRARIES = ("celery", "kombu", "billiard", "psycopg", "sqlalchemy")
INNER = (
    *("celery.app.amqp", "celery.app.trace", "celery.concurrency", "celery.utils.threads", "celery.worker"),
    *("kombu.asynchronous", "kombu.transport"),
    *("billiard.common", "billiard.einfo", "billiard.pool", "billiard.popen_fork", "billiard.process"),
    *("psycopg.waiting", "sqlalchemy.sql.visitors"),
)
"""Modules of which these libraries promise little."""
INNER_NAMES = {
    *("declared_entities", "transport_options", "send_task_message", "consume_from", "select_add"),
    *("push_request", "request_dict", "handlers", "f_locals"),
    *("positiontup", "do_execute", "do_executemany", "is_disconnect", "dbapi_connection"),
}
"""Attributes that are public by their names only."""
PUBLIC = {"_asdict", "_exit", "_make", "_mapping", "_replace"}
"""Documented names with an underscore."""
SETTINGS = {
    *("broker_url", "task_default_queue"),  # Celery's configuration
    *("chain", "callbacks"),  # a request's, which a task may change
    *("callback", "context_settings", "isolation_level"),  # click's, and the one of Python's SQLite
}
"""Attributes that are there to be set."""


def touches() -> dict[str, set[str]]:
    """Return what each file touches, by the file's path; a file that touches nothing is left out."""
    paths = sorted(PACKAGE.rglob("*.py"))
    nodes = {path: list(ast.walk(ast.parse(path.read_text()))) for path in paths}
    everything = [node for found in nodes.values() for node in found]
    own, fields = _own_names(everything), _fields(everything)
    files = {path.relative_to(ROOT).as_posix(): _File(found, own, fields) for path, found in nodes.items()}
    found = {path: set(file.touches()) for path, file in files.items()}
    return {path: names for path, names in found.items() if names}


def touches_of(source: str) -> set[str]:
    """Return what a file with this source would touch, if it were all of agentq."""
    nodes = list(ast.walk(ast.parse(source)))
    return set(_File(nodes, _own_names(nodes), _fields(nodes)).touches())


class _File:
    """One file, read with the names that agentq itself defines, and those of its fields among them."""

    def __init__(self, nodes: list[ast.AST], own: set[str], fields: set[str]) -> None:
        self._nodes = nodes
        self._own = own
        self._fields = fields

    def touches(self) -> Iterator[str]:
        yield from self._imports()
        yield from self._attributes()
        if any(map(self._is_of_a_library, self._foreign)):
            yield from self._patches()
            yield from self._overrides()

    def _imports(self) -> Iterator[str]:
        for dotted in self._foreign.values():
            if _is_inner(dotted) or any(_is_private(part) for part in dotted.split(".")):
                yield dotted

    def _attributes(self) -> Iterator[str]:
        """Private attributes: of an imported name, or of anything when agentq defines no such name."""
        for node in self._nodes:
            if isinstance(node, ast.Attribute) and _is_private(node.attr):
                if _root(node) in self._foreign or node.attr not in self._own:
                    yield f".{node.attr}"
            elif isinstance(node, ast.Attribute) and node.attr in INNER_NAMES:
                yield f".{node.attr}"

    def _patches(self) -> Iterator[str]:
        """Assignments to what is not agentq's own: attributes that are no fields of it, items of a library's."""
        for node in self._nodes:
            match node:
                case ast.Attribute(attr=name, ctx=ast.Store()) if self._is_patched(node):
                    yield f".{name} ="
                case ast.Subscript(value=value, ctx=ast.Store()) if self._is_of_a_library(_root(value)):
                    yield f"{ast.unparse(value)}[] ="
                case ast.Call(func=ast.Name(id="setattr"), args=[ast.Name() | ast.Attribute() as target, *_]):
                    yield f"setattr({ast.unparse(target)})"

    def _is_patched(self, node: ast.Attribute) -> bool:
        is_own = ast.unparse(node.value) in ("self", "cls", *self._made_here) or node.attr in self._fields
        return self._is_of_a_library(_root(node)) or not (is_own or node.attr in SETTINGS)

    def _is_of_a_library(self, name: str) -> bool:
        return self._foreign.get(name, "").partition(".")[0] in LIBRARIES

    def _overrides(self) -> Iterator[str]:
        """Private names of a base class that a class of agentq gives another meaning."""
        for name, bases in self._bases.items():
            for base in bases:  # a mixin gives another meaning to what its class's other bases have
                defined = {attr for part in (name, *bases) for attr in self._members.get(part, ())}
                yield from (f".{attr}" for attr in defined if hasattr(self._class(base), attr))

    def _class(self, base: str) -> object:
        """Return a base class that is a library's, or None."""
        first, *rest = base.split(".")
        dotted = self._foreign.get(first, "")
        return pydoc.locate(".".join((dotted, *rest))) if dotted.partition(".")[0] in LIBRARIES else None

    @cached_property
    def _foreign(self) -> dict[str, str]:
        """Imports from elsewhere: the local name, and the dotted one."""
        found = {}
        for node in self._nodes:
            match node:
                case ast.ImportFrom(module=str(module), names=names):
                    found |= {alias.asname or alias.name: f"{module}.{alias.name}" for alias in names}
                case ast.Import(names=names):
                    found |= {alias.asname or alias.name.partition(".")[0]: alias.name for alias in names}
        return {name: dotted for name, dotted in found.items() if dotted.partition(".")[0] != "agentq"}

    @cached_property
    def _made_here(self) -> set[str]:
        """The names that the file itself gives to what it makes when it is imported."""
        module = self._nodes[0]
        assert isinstance(module, ast.Module)
        targets = [target for node in module.body if isinstance(node, ast.Assign) for target in node.targets]
        return {target.id for target in targets if isinstance(target, ast.Name)}

    @cached_property
    def _bases(self) -> dict[str, list[str]]:
        classes = [node for node in self._nodes if isinstance(node, ast.ClassDef)]
        return {node.name: [ast.unparse(base) for base in node.bases] for node in classes}

    @cached_property
    def _members(self) -> dict[str, set[str]]:
        """The private names that each class of the file defines, or assigns to ``self``."""
        classes = [node for node in self._nodes if isinstance(node, ast.ClassDef)]
        return {node.name: {name for name in _own_names(ast.walk(node)) if _is_private(name)} for node in classes}


def _own_names(nodes: Iterable[ast.AST]) -> set[str]:
    """Return the names of the functions, methods and attributes that are defined in *nodes*."""
    found = set()
    for node in nodes:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.Name(id=name, ctx=ast.Store()):
                found.add(name)
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                found.add(name)
    return found


def _fields(nodes: Iterable[ast.AST]) -> set[str]:
    """Return the names of agentq's fields: those declared in a class, or assigned to ``self``."""
    found = set()
    for node in nodes:
        match node:
            case ast.AnnAssign(target=ast.Name(id=name)):
                found.add(name)
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                found.add(name)
    return found


def _root(node: ast.AST) -> str:
    """Return the name that a chain of attributes and items begins with, or an empty text."""
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in PUBLIC


def _is_inner(dotted: str) -> bool:
    return any(dotted == inner or dotted.startswith(f"{inner}.") for inner in INNER)
