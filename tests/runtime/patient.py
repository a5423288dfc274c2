"""Lets no message be dispatched again for a commit that took long, in a worker with ``-I tests.runtime.patient``.

Where messages are counted, a machine that is slow for a while must not send one more.
"""

from __future__ import annotations

from typing import Any

import agentq.runtime.dispatch.early as early_module

early: Any = early_module
early._SURELY_TRIED = 60.0
