"""Filters as the ledger takes them; a value that no row can have is refused."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from agentq.operations.checks import bounded, storable
from agentq.operations.identity import parse_id


def checked(wanted: Any) -> dict[str, Any]:
    """Return the values of a filter by name, without those that may be any.

    Raises InvalidArguments, and NotFound for a workflow that is no id.
    """
    values = {field.name: getattr(wanted, field.name) for field in fields(wanted)}
    return {name: _checked(name, value) for name, value in values.items() if value is not None}


def _checked(name: str, value: Any) -> Any:
    match name:
        case "older_than":
            return bounded(value)
        case "workflow":
            return parse_id(value, "workflow")
    return storable(value)
