"""Arguments or a result that a person gives for a dead job, checked as the step's own would be."""

from __future__ import annotations

import json
from typing import Any

from agentq.exceptions import ConfigurationError, InvalidArguments, InvalidResult, InvalidValue, ValueTooLarge
from agentq.ledger.db.types import AnyRow
from agentq.redaction import masked
from agentq.states import JobKind
from agentq.steps import registry
from agentq.steps.parameters import Parameters
from agentq.steps.values.encoding import encode

UNCHANGED = "Nothing was changed."


def edited_arguments(
    job: AnyRow, args: list[Any] | None, kwargs: dict[str, Any] | None, max_value_bytes: int
) -> str:
    """Return a job's arguments with *args* or *kwargs* replaced, as JSON text; None keeps what is there.

    A masked secret that stands where the secret stood keeps it.

    Raises InvalidArguments, ValueTooLarge, or ConfigurationError where this process does not know the step.
    """
    old_args, old_kwargs = json.loads(job.arguments)
    new_args = old_args if args is None else _unmasked(args, old_args, masked(old_args))
    new_kwargs = old_kwargs if kwargs is None else _unmasked(kwargs, old_kwargs, masked(old_kwargs))
    whose = f"the arguments of step {job.step!r}"
    try:
        # Kept as they were given, which is how the next attempt reads them.
        text = encode([new_args, new_kwargs], max_value_bytes)
        if job.kind == JobKind.STEP:
            takes_input = job.after_id is not None and not job.immutable
            parameters_of(job.step).check(new_args, new_kwargs, given=takes_input)
    except InvalidArguments as error:
        raise InvalidArguments(f"{error}. {UNCHANGED}") from None
    except ValueTooLarge as error:
        raise ValueTooLarge(f"{whose}: {error}. {UNCHANGED}") from None
    except InvalidValue as error:
        raise InvalidArguments(f"{whose}: {error}. {UNCHANGED}") from None
    return text


def checked_result(job: AnyRow, result: Any, max_value_bytes: int, *, unchecked: bool = False) -> str:
    """Return a result as JSON text, as it would be kept had the step returned it.

    Raises InvalidResult, ValueTooLarge, or ConfigurationError where this process does not know the step.
    """
    whose = f"the result of step {job.step!r}"
    try:
        if job.kind == JobKind.STEP and not unchecked:
            hint = "; or --unchecked, where no code has this step any more"
            parameters = parameters_of(job.step, hint)
            encode(result, max_value_bytes)
            result = parameters.dump_result(parameters.load_result(result))
        return encode(result, max_value_bytes)
    except InvalidResult as error:
        raise InvalidResult(f"{error}. {UNCHANGED}") from None
    except ValueTooLarge as error:
        raise ValueTooLarge(f"{whose}: {error}. {UNCHANGED}") from None
    except InvalidValue as error:
        raise InvalidResult(f"{whose}: {error}. {UNCHANGED}") from None


def parameters_of(step: str, hint: str = "") -> Parameters:
    """Return what a step's annotations promise; raises ConfigurationError where this process does not know it."""
    found = registry.find(step)
    if found is None:
        raise ConfigurationError(
            f"step {step!r} is not known here, so what is given for it cannot be checked; name the app that "
            f"defines it with -A MODULE{hint}. {UNCHANGED}"
        )
    return found.parameters


def _unmasked(new: Any, old: Any, shown: Any) -> Any:
    """Put secrets back where an edit left them as they were shown."""
    if isinstance(new, str) and new == shown:
        return old
    if isinstance(new, dict) and isinstance(shown, dict):
        return {
            name: _unmasked(item, old[name], shown[name]) if name in shown else item for name, item in new.items()
        }
    if isinstance(new, list) and isinstance(shown, list):
        kept = [_unmasked(*items) for items in zip(new, old, shown, strict=False)]
        return kept + new[len(kept) :]
    return new
