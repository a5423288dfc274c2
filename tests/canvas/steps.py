"""The functions of the cases as steps, and the app whose worker runs them."""

from types import SimpleNamespace

from agentq import step

from .functions import FUNCTIONS

STEPS = SimpleNamespace(
    **{function.__name__: step(name=f"parity.{function.__name__}", retries=0)(function) for function in FUNCTIONS}
)
