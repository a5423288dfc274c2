"""Two functions of one module and name: the same one loaded again, or twins that must not replace each other."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import CodeType, FunctionType, MethodType
from typing import Any

_PROMPTS = frozenset({"<stdin>", "<string>", "<console>"})
"""Names of text that is run line by line, each time from line 1."""
_PLAIN = (str, bytes, int, float, tuple, list, dict, type(None))
"""Globals that distinguish two executions of one text; other objects are made anew by each."""
_APPLICATIONS = frozenset({"Celery", "Flask", "Quart", "FastAPI", "Starlette"})


def module_run(function: Callable[..., Any]) -> object:
    """Return what stands for the present execution of a function's module: another one after a reload."""
    return getattr(sys.modules.get(function.__module__), "__spec__", None)


def is_twin(known: Any, new: Any, same_run: bool, seen: frozenset[int] = frozenset()) -> bool:
    """Say whether *new* is another function than *known*, which has the same module and name.

    *same_run* says that both are of one execution of their module, so that neither is the other one reloaded.
    """
    if isinstance(known, MethodType) and isinstance(new, MethodType):
        return not _is_equal(known.__self__, new.__self__) or is_twin(known.__func__, new.__func__, same_run, seen)
    if (
        known is new
        or id(known) in seen
        or not (isinstance(known, FunctionType) and isinstance(new, FunctionType))
    ):
        return False
    if _is_executed_beside(known, new):
        both = _globals_of_both(known, new)
        if any(_differ_plainly(one, other, same_run, seen | {id(known)}) for one, other in both):
            return True
    if known.__code__ is not new.__code__:
        return _are_of_one_run(known, new, same_run)
    pairs = zip(_held(known), _held(new), strict=False)
    return any(_differ(one, other, same_run, seen | {id(known)}) for one, other in pairs)


def _are_of_one_run(known: FunctionType, new: FunctionType, same_run: bool) -> bool:
    """Say whether both functions are there at once, in two places of one text that was run once."""
    file = new.__code__.co_filename
    if known.__globals__ is not new.__globals__ or known.__code__.co_filename != file or file in _PROMPTS:
        return False
    if module_run(new) is not None:
        return same_run and not file.startswith("<")
    script: str | None = getattr(sys.modules.get(new.__module__), "__file__", None)
    if script is not None and not hasattr(sys, "ps1"):  # there is no user to run it again
        return os.path.abspath(script) == os.path.abspath(file)
    # A cell of a notebook has a name of its own, which no file has, and is run again with the same lines.
    return not os.path.exists(file) and known.__code__.co_firstlineno != new.__code__.co_firstlineno


def _is_executed_beside(known: FunctionType, new: FunctionType) -> bool:
    """Say whether both are of one text that ``exec`` ran with other globals, and the new one of no module's."""
    module = sys.modules.get(new.__module__)
    is_of_module = new.__globals__.get("__spec__") is not None or new.__globals__ is getattr(
        module, "__dict__", None
    )
    return known.__globals__ is not new.__globals__ and known.__code__ == new.__code__ and not is_of_module


def _globals_of_both(known: FunctionType, new: FunctionType) -> list[tuple[Any, Any]]:
    """Return both values of the globals that the functions name; some of the new ones may not be there yet."""
    names = known.__globals__.keys() & new.__globals__.keys() & _names(new.__code__)
    return [(known.__globals__[name], new.__globals__[name]) for name in names]


def _names(code: CodeType) -> set[str]:
    inner = [part for part in code.co_consts if isinstance(part, CodeType)]
    return {*code.co_names}.union(*map(_names, inner))


def _differ_plainly(one: Any, other: Any, same_run: bool, seen: frozenset[int]) -> bool:
    if isinstance(one, FunctionType):
        return is_twin(one, other, same_run, seen)
    return isinstance(one, _PLAIN) and not _is_equal(one, other)


def _held(function: FunctionType) -> list[Any]:
    """Return what makes functions of one code differ: what they close over, and their defaults."""
    cells = [_content(cell) for cell in function.__closure__ or ()]
    return [*cells, *(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _differ(one: Any, other: Any, same_run: bool, seen: frozenset[int]) -> bool:
    if hasattr(one, "__qualname__") and hasattr(other, "__qualname__"):
        named = (one.__module__, one.__qualname__) != (other.__module__, other.__qualname__)
        return named or is_twin(one, other, same_run, seen)
    if _is_application(one) and type(one) is type(other):
        return False  # a factory of applications may be called again, as tests do
    return not _is_equal(one, other)


def _is_application(value: Any) -> bool:
    return any(kind.__name__ in _APPLICATIONS for kind in type(value).__mro__)


def _is_equal(one: Any, other: Any) -> bool:
    try:
        return one is other or bool(one == other)
    except Exception:  # an == of the user's may do anything, or give no answer
        return False
