"""Start a report, read it."""

from flask import Blueprint, jsonify, request, url_for
from flask.typing import ResponseReturnValue

import agentq
from research.access import tenant_of
from research.models import Report, db
from research.steps import write_report

reports = Blueprint("reports", __name__)


@reports.post("/")
def start() -> ResponseReturnValue:
    """Write the report and its workflow in one transaction: both are there, or neither."""
    report = Report(topic=request.form["topic"])
    db.session.add(report)
    db.session.flush()  # it has its id now
    workflow = agentq.start(
        write_report(report), tenant=tenant_of(request), key=f"report-{report.id}", session=db.session
    )
    db.session.commit()
    return jsonify(report=report.id, status=url_for("workflows.status", workflow_id=workflow.id)), 202


@reports.get("/<int:report_id>")
def show(report_id: int) -> ResponseReturnValue:
    """Show the text, once it is there."""
    return jsonify(text=db.get_or_404(Report, report_id).text)
