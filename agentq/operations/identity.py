"""Ids as people type them: whole, or so much of one that only one begins so; a workflow's key, a worker's name."""

from __future__ import annotations

import re
import uuid
from functools import partial

from agentq.exceptions import NotFound
from agentq.ledger.db.session import Ledger
from agentq.ledger.queries import ids
from agentq.operations.checks import storable

_KEY = "key:"
_SHORTEST = 4
_MOST_NAMED = 5
"""Candidates that are named where several fit."""


def parse_id(text: str, noun: str) -> uuid.UUID:
    """Return the id that *text* is; raises NotFound where it is none."""
    try:
        return uuid.UUID(str(text))
    except ValueError:
        raise _no_id(text, noun) from None


def find_id(ledger: Ledger, text: str, noun: str) -> str:
    """Return the id that a person means.

    Args:
        ledger: where.
        text: an id; the first 4 characters or more of one; of a workflow also ``key:`` and its key, of a worker
            also its name, ``w1@host``, which means the last one that had it.
        noun: workflow, job, dead-letter (by its own id or its job's) or worker.

    Raises NotFound where nothing fits, or several do: the message names them.
    """
    if noun == "workflow" and text.startswith(_KEY):
        key = storable(text.removeprefix(_KEY))
        rows = ledger.read(partial(ids.with_key, key=key, limit=_MOST_NAMED + 1))
        return _only(
            [str(row.id) for row in rows], [f"{row.id} of tenant {row.tenant!r}" for row in rows], text, noun
        )
    if noun == "worker" and "@" in text:
        newest = ledger.read(partial(ids.newest_worker, hostname=storable(text)))
        named = [] if newest is None else [str(newest)]
        return _only(named, named, text, noun)
    digits = text.replace("-", "").lower()
    if len(digits) == 32 or re.fullmatch(rf"[0-9a-f]{{{_SHORTEST},31}}", digits) is None:
        if len(digits) < _SHORTEST and re.fullmatch(r"[0-9a-f]+", digits):
            raise NotFound(f"{text!r} is too short; give {_SHORTEST} characters of the id or more")
        return str(parse_id(text, noun))
    first, last = uuid.UUID(digits.ljust(32, "0")), uuid.UUID(digits.ljust(32, "f"))
    between = partial(ids.between, noun=noun, first=first, last=last, limit=_MOST_NAMED + 1)
    found = [str(id_) for id_ in ledger.read(between)]
    return _only(found, found, text, noun)


def _no_id(text: str, noun: str) -> NotFound:
    by_key = f", or name one by its key: {_KEY}KEY" if noun == "workflow" else ""
    return NotFound(f"{text!r} is no {noun} id; list them with: agentq {noun}s list{by_key}")


def _only(found: list[str], names: list[str], text: str, noun: str) -> str:
    if not found:
        raise NotFound(f"no {noun} fits {text!r}; list them with: agentq {noun}s list")
    if len(found) > 1:
        more = ", …" if len(names) > _MOST_NAMED else ""
        raise NotFound(
            f"{text!r} fits more than one {noun}: {', '.join(names[:_MOST_NAMED])}{more}; give more of the id"
        )
    return found[0]
