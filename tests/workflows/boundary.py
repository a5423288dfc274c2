"""The boundary between Python and the ledger, as one value passes it."""

from __future__ import annotations

import json
from typing import Any

from agentq.steps.parameters import Parameters
from agentq.steps.values.encoding import plain


def taking(annotation: Any) -> Parameters:
    """Return the parameters of a step that takes and returns one value."""

    def function(argument: Any) -> Any: ...

    function.__annotations__ = {"argument": annotation, "return": annotation}
    return Parameters("unit", function)


def arrived(annotation: Any, value: Any) -> Any:
    """Return an argument as the step gets it, through the text that the ledger keeps."""
    parameters = taking(annotation)
    stored = json.dumps(plain(list(parameters.dump((value,), {}, given=False)), 1_000_000))
    args, kwargs = json.loads(stored)
    return parameters.load(args, kwargs, None)[0][0]
