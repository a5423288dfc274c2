"""Start a report, ask how it stands."""

from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

import agentq
from agentq.exceptions import NotFound
from reports.models import Report
from reports.tasks import write_report


@csrf_exempt
@require_POST
def start(request: HttpRequest) -> JsonResponse:
    """Write the report and its workflow in one transaction: both are there, or neither."""
    with transaction.atomic():
        report = Report.objects.create(topic=request.POST["topic"])
        workflow = agentq.start(write_report(report), key=f"report-{report.pk}")
        report.workflow = workflow.id
        report.save()
    return JsonResponse({"report": report.pk, "workflow": workflow.id}, status=202)


@require_GET
def show(request: HttpRequest, report_id: int) -> JsonResponse:
    """Show the workflow's status, and the text once it is there."""
    report = get_object_or_404(Report, pk=report_id)
    try:
        status = agentq.workflow(str(report.workflow)).status
    except NotFound:  # it was pruned; the report stays
        status = None
    return JsonResponse({"status": status, "text": report.text})
