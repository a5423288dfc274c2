"""``python -m agentq.demo`` is ``agentq demo``."""

from __future__ import annotations

from agentq.cli.demo import demo

demo(prog_name="python -m agentq.demo")
