"""A message that no worker can take, as its dead letter shows it: bounded, and without secrets."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from agentq.ledger.refused_messages import Refusal, RefusedMessage
from agentq.redaction import MASK, clean, is_secret_name, masked

NO_TASK = "(none)"
_MOST_BYTES = 4_096
"""Size of a snapshot."""
_MOST_READ = 65_536
"""Size of a body that is parsed, to mask by name what is secret there."""
_ASSIGNED = re.compile(
    r"""(?<![\w-])(?P<name>[\w-]++)(?P<sign>["']?\s{0,3}[=:]\s{0,3})"""
    r"""(?:"(?:\\.|[^"\\])*(?:"|\Z)|'(?:\\.|[^'\\])*(?:'|\Z)|[^\s,;&)}\]]+)"""
)
_FIX = {
    Refusal.UNDECODABLE: "find what sends it, and let it send JSON, by Celery's app.send_task or a step's delay()",
    Refusal.UNKNOWN_TASK: "import its module where this worker starts, or stop what sends it",
    Refusal.REFUSED: "find what sends it: is it for another ledger, or for a job that is gone?",
}


@dataclass(frozen=True, slots=True)
class RawMessage:
    """A message as it came, of which nothing can be relied on."""

    task: Any
    queue: Any
    content_type: Any
    headers: Any
    body: Any

    @classmethod
    def of(cls, message: Any, task: Any = None) -> RawMessage:
        """Return what a message of kombu's holds; *task* is its name where the headers do not have it."""
        headers = message.headers if isinstance(message.headers, dict) else {}
        delivery = message.delivery_info if isinstance(message.delivery_info, dict) else {}
        name = headers.get("task") if task is None else task
        return cls(name, delivery.get("routing_key"), message.content_type, headers, message.body)

    def refused(self, refusal: Refusal, error: BaseException | str, tenant: str) -> RefusedMessage:
        """Return what the ledger keeps of it, but for the snapshot; *error* is what it met, or what is wrong."""
        kind = type(error) if isinstance(error, BaseException) else None
        why = clean(f"{kind.__name__}: {error}" if kind else str(error), 1_000)
        return RefusedMessage(
            refusal=refusal,
            task=_word(self.task) or NO_TASK,
            queue=_word(self.queue),
            content_type=_word(self.content_type),
            tenant=tenant,
            error_class=f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.") if kind else "Refused",
            error_message=f"{_without_assigned(why).rstrip('.?')}; {_FIX[refusal]}",
        )

    def snapshot(self) -> str:
        """Return what can be read of it as JSON text of at most 4 KB; secrets are masked."""
        facts = {name: _word(self.headers.get(name)) for name in ("id", "origin")}
        facts |= {"task": _word(self.task), "queue": _word(self.queue), "content_type": _word(self.content_type)}
        size = len(self.body) if isinstance(self.body, (str, bytes)) else None
        body = self._readable()
        texts = (
            json.dumps({**facts, "size": size, "body": clean(body, most)}, ensure_ascii=False)
            for most in (2_000, 500, 100)
        )
        return next(text for text in texts if len(text.encode()) <= _MOST_BYTES)

    def _readable(self) -> str:
        kind = _word(self.content_type)
        if kind and "json" not in kind and not kind.startswith("text/"):
            return f"(not shown: {kind})"  # secrets cannot be recognised in a text that only a serializer can read
        raw = self.body if isinstance(self.body, (str, bytes)) else str(self.body)
        head = raw[:_MOST_READ]
        text = head.decode("utf-8", "replace") if isinstance(head, bytes) else head
        try:
            return json.dumps(_without_payload(masked(json.loads(text))), ensure_ascii=False)
        except (ValueError, RecursionError):  # broken, or cut
            return _without_assigned(text)


def _without_payload(value: Any) -> Any:
    """Hide the body of an envelope: it is encoded, so nothing in it was masked."""
    if isinstance(value, dict) and isinstance(value.get("body"), str):
        return {**value, "body": f"({len(value['body'])} characters)"}
    return value


def _without_assigned(text: str) -> str:
    """Mask what is assigned to a secret-looking name, in a text that may be cut or broken."""

    def mask(found: re.Match[str]) -> str:
        return f"{found['name']}{found['sign']}{MASK}" if is_secret_name(found["name"]) else found[0]

    return _ASSIGNED.sub(mask, text)


def _word(value: Any) -> str:
    """Return a sender's text as a name, printable and short; empty for nothing."""
    text = "" if value is None else clean(str(value), 128)
    return "".join(character if character.isprintable() else "\ufffd" for character in text)
