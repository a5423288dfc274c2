"""docker-compose.yml: it fits the specification, reaches no further than this machine, and starts in order."""

from __future__ import annotations

import json
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from tests.setup.source import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name for name, service in SERVICES.items() if "build" in service}


def test_the_compose_file_fits_the_specification() -> None:
    schema = json.loads(Path(__file__).with_name("compose.schema.json").read_text())
    faults = [f"{error.json_path}: {error.message}" for error in Draft7Validator(schema).iter_errors(COMPOSE)]
    assert not faults


def test_every_published_port_is_bound_to_loopback() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert [port for port in ports if not re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)] == []


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - OURS))
def test_an_image_of_others_is_pinned_to_a_major_version(name: str) -> None:
    assert re.fullmatch(r"[a-z/]+:\d+(\.\d+)*(-[a-z]+)?", SERVICES[name]["image"])


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - OURS))
def test_a_service_of_others_says_when_it_is_ready(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_services_condition_exists_and_has_a_health_check(name: str) -> None:
    for needed, wait in SERVICES[name].get("depends_on", {}).items():
        is_server = "healthcheck" in SERVICES[needed]
        assert wait["condition"] == ("service_healthy" if is_server else "service_completed_successfully")


def test_the_worker_waits_for_the_schema_and_the_broker() -> None:
    assert SERVICES["worker"]["depends_on"].keys() == {"migrate", "redis"}
    assert SERVICES["migrate"]["command"] == ["agentq", "db", "upgrade"]
    assert SERVICES["migrate"]["depends_on"].keys() == {"postgres"}


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_named_volumes_are_declared_and_files_exist(name: str) -> None:
    for volume in SERVICES[name].get("volumes", []):
        assert volume.partition(":")[0] in COMPOSE["volumes"]


@pytest.mark.parametrize("name", sorted(OURS))
def test_the_dockerfile_exists_and_copies_what_exists(name: str) -> None:
    build = SERVICES[name]["build"]
    lines = (ROOT / build["context"] / build["dockerfile"]).read_text().splitlines()
    copied = [source for line in lines if line.startswith("COPY ") for source in line.split()[1:-1]]
    assert copied
    assert [source for source in copied if not (ROOT / source).exists()] == []


@pytest.mark.parametrize("name", sorted(OURS - {"migrate"}))
def test_the_app_that_runs_by_default_has_agentq(name: str) -> None:
    default = re.search(r"\$\{AGENTQ_APP:-([\w.]+)\}", " ".join(SERVICES[name]["command"]))
    assert default
    assert import_module(default[1]).app.agentq


def test_both_sides_agree_on_the_ledger() -> None:
    postgres = SERVICES["postgres"]["environment"]
    url = SERVICES["worker"]["environment"]["AGENTQ_LEDGER"]
    user, password = postgres["POSTGRES_USER"], postgres["POSTGRES_PASSWORD"]
    assert url == f"postgresql://{user}:{password}@postgres/{user}"
