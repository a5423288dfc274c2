"""Two functions of one module and name: the same one loaded again, or twins that must not replace each other."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any


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
    if known.__code__ is not new.__code__:
        # A cell of a notebook and a line of a prompt are no module's, and may be run again.
        is_of_file = not new.__code__.co_filename.startswith("<") and known.__globals__ is new.__globals__
        return same_run and is_of_file and known.__code__.co_filename == new.__code__.co_filename and _has_run(new)
    pairs = zip(_held(known), _held(new), strict=False)
    return any(_differ(one, other, same_run, seen | {id(known)}) for one, other in pairs)


def _has_run(function: FunctionType) -> bool:
    return module_run(function) is not None


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
    return not _is_equal(one, other)


def _is_equal(one: Any, other: Any) -> bool:
    try:
        return one is other or bool(one == other)
    except Exception:  # an == of the user's may do anything, or give no answer
        return False
