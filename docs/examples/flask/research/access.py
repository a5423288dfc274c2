"""Who asks: a bearer token, which a real application would look up."""

from flask import Request, abort, current_app

from agentq.operations.schemas import WorkflowSummary


def tenant_of(request: Request) -> str:
    """Return the tenant whose token the request has; answers 401 for any other."""
    token = request.authorization.token if request.authorization else None
    if token not in current_app.config["TOKENS"]:
        abort(401)
    return current_app.config["TOKENS"][token]


def is_of_its_tenant(request: Request, workflow: WorkflowSummary) -> bool:
    """Say whether the request is of the workflow's tenant."""
    return workflow.tenant == tenant_of(request)
