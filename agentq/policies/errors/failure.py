"""A failed attempt as storable facts: cleaned message, trimmed traceback, what the provider said."""

from __future__ import annotations

import linecache
import os
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

from agentq.exceptions import InvalidArguments, InvalidResult
from agentq.outcomes import Failure
from agentq.policies.errors.classify import ErrorFacts, describe
from agentq.policies.errors.untrusted import attribute, causes_of, class_name, message_of, safely
from agentq.redaction import clean

_LONGEST_TRACEBACK = 16_000
_LONGEST_LINE = 300
_MOST_CAUSES = 4
_MOST_FRAMES = 30
_MOST_WALKED = 2_000
_LAST_OF_LIBRARY = 3
_LAST_OF_ALL = 6

_OWN: Final = tuple(
    str(Path(__file__).parents[2] / part) + os.sep for part in ("runtime", "steps", "canvas", "ledger", "policies")
)
_ENGINES: Final = frozenset({"celery", "billiard", "kombu"})
_INSTALLED: Final = frozenset({"site-packages", "dist-packages"})
_LIBRARIES: Final = tuple(
    {os.path.join(path, "") for name, path in sysconfig.get_paths().items() if "lib" in name or "stdlib" in name}
)


def failure_of(error: BaseException, facts: ErrorFacts | None = None) -> Failure:
    """Turn an exception into data, where it was raised: providers' own do not survive pickling.

    Args:
        error: the exception, with its traceback.
        facts: what :func:`describe` said, where it was asked already.
    """
    known = describe(error) if facts is None else facts
    return Failure(
        category=known.category.value,
        error_class=known.error_class,
        message=known.message,
        traceback=trimmed_traceback(error),
        provider=known.provider,
        status=known.status,
        code=known.code,
        request_id=known.request_id,
    )


def trimmed_traceback(error: BaseException) -> str:
    """Return where an exception came from, and what it was raised from: no local variables, no engine frames.

    The frames of the user's code stay, and the last ones of a library that raised.
    """
    return safely("", _trimmed, error)


def _trimmed(error: BaseException) -> str:
    parts = []
    for cause in causes_of(error, _MOST_CAUSES):
        title = "" if cause is error else f"from {class_name(type(cause))}: {message_of(cause, 200)}\n"
        walked = list(_walk(attribute(cause, "__traceback__")))
        # What agentq itself says of a value is whole without the way through agentq.
        found = _kept([frame for frame in walked if not frame.is_engine])
        frames = found if found or isinstance(cause, (InvalidArguments, InvalidResult)) else walked[-_LAST_OF_ALL:]
        parts.append(title + "".join(_lines(frames)))
    text = "".join(clean(part, _LONGEST_TRACEBACK) for part in parts if part)
    return clean(text, _LONGEST_TRACEBACK)


@dataclass(frozen=True, slots=True)
class _Frame:
    path: str
    line: int
    function: str

    @property
    def parts(self) -> list[str]:
        return self.path.split(os.sep)

    @property
    def is_engine(self) -> bool:
        return self.path.startswith(_OWN) or (self.is_library and not _ENGINES.isdisjoint(self.parts))

    @property
    def is_library(self) -> bool:
        return self.path.startswith((*_LIBRARIES, "<frozen")) or not _INSTALLED.isdisjoint(self.parts)

    def __str__(self) -> str:
        source = safely("", linecache.getline, self.path, self.line).strip()
        place = f'  File "{self.path}", line {self.line}, in {self.function}\n'
        return place + (f"    {source[:_LONGEST_LINE]}\n" if source else "")


def _lines(frames: list[_Frame]) -> Iterator[str]:
    dropped = max(0, len(frames) - _MOST_FRAMES)
    for index, frame in enumerate(frames):
        if index < _MOST_FRAMES // 3 or index >= _MOST_FRAMES // 3 + dropped:
            yield str(frame)
        elif index == _MOST_FRAMES // 3:
            yield f"  … {dropped} more …\n"


def _walk(traceback: object) -> Iterator[_Frame]:
    """The frames from the outermost in; of a very deep recursion the first and the last half."""
    links: list[TracebackType] = []
    while isinstance(traceback, TracebackType):
        links.append(traceback)
        if len(links) > 2 * _MOST_WALKED:
            del links[_MOST_WALKED // 2 : -_MOST_WALKED // 2]
        traceback = traceback.tb_next
    for link in links:
        code = link.tb_frame.f_code
        yield _Frame(code.co_filename, link.tb_lineno or 0, code.co_qualname)


def _kept(frames: list[_Frame]) -> list[_Frame]:
    """Return the user's frames, and of a library that raised the last few."""
    tail = next((n for n, frame in enumerate(reversed(frames)) if not frame.is_library), len(frames))
    inner = frames[len(frames) - tail :]
    return [frame for frame in frames if not frame.is_library] + inner[-_LAST_OF_LIBRARY:]
