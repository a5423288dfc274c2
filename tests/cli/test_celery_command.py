"""The same commands as ``celery -A proj agentq …``."""

from pathlib import Path

from tests.cli.conftest import CliLedger
from tests.cli.program import Loaded, Program


def test_it_uses_the_ledger_of_the_app_that_celery_was_given(cli_ledger: CliLedger) -> None:
    celery = Loaded(cli_ledger.program.folder, cli_ledger.program.env)
    printed = celery.text("-A", "tests.support.project", "agentq", "workflows", "list", program="celery")
    assert cli_ledger.succeeded.id in printed


def test_an_app_without_agentq_is_an_error(program: Program) -> None:
    Path(program.folder, "bare.py").write_text("from celery import Celery\napp = Celery('bare')\n")
    said = program.error("-A", "bare", "agentq", "workflows", "list", program="celery")
    assert "the Celery app 'bare' has no AgentQ; write AgentQ(app)" in said


def test_alone_it_takes_the_app_from_the_option_or_the_environment(
    cli_ledger: CliLedger, program: Program
) -> None:
    others = {name: value for name, value in cli_ledger.program.env.items() if name != "AGENTQ_LEDGER"}
    program.env = {**others, "APP_LEDGER": cli_ledger.program.env["AGENTQ_LEDGER"]}
    Path(program.folder, "proj.py").write_text(
        "import os\nfrom celery import Celery\nfrom agentq import AgentQ\n"
        "app = Celery('proj')\nAgentQ(app, ledger=os.environ['APP_LEDGER'])\n"
    )
    assert cli_ledger.succeeded.id in program.text("-A", "proj", "workflows", "list")
    program.env["CELERY_APP"] = "proj"
    assert cli_ledger.succeeded.id in program.text("workflows", "list")
