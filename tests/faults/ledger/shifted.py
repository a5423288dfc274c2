"""Moves this process's wall clock by AGENTQ_TEST_CLOCK seconds; to be imported before anything else."""

from __future__ import annotations

import datetime
import os
import time
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[3]
_VARIABLE = "AGENTQ_TEST_CLOCK"


def environment(folder: Path, seconds: float) -> dict[str, str]:
    """Return what makes a Python process run with its clock so many seconds ahead; uses a file in *folder*."""
    (folder / "sitecustomize.py").write_text(f"import {__name__}\n")
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(_ROOT)]), _VARIABLE: str(seconds)}


def _shift(seconds: float) -> None:
    real, real_time, real_time_ns = datetime.datetime, time.time, time.time_ns
    by = datetime.timedelta(seconds=seconds)

    class LikeReal(type):
        def __instancecheck__(cls, instance: Any) -> bool:
            return isinstance(instance, real)

        def __subclasscheck__(cls, other: type) -> bool:
            return issubclass(other, real)

    class Shifted(datetime.datetime, metaclass=LikeReal):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return real.now(tz) + by

        @classmethod
        def utcnow(cls) -> Any:
            return real.utcnow() + by

        @classmethod
        def today(cls) -> Any:
            return real.today() + by

    time.time = lambda: real_time() + seconds
    time.time_ns = lambda: real_time_ns() + int(seconds * 1e9)
    datetime.datetime = Shifted  # type: ignore[misc]


if _VARIABLE in os.environ:
    _shift(float(os.environ[_VARIABLE]))
