"""configs/: every example can be read, and every setting in it exists."""

from __future__ import annotations

import re
import runpy
import tomllib
from itertools import chain
from typing import Any

import pytest
from celery import Celery
from celery.app.defaults import NAMESPACES, flatten
from dotenv import dotenv_values
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from agentq import AgentQ
from agentq.settings import Settings
from tests.setup.source import ROOT

CONFIGS = ROOT / "configs"
CELERY_SETTINGS = {name for name, _ in flatten(NAMESPACES)}
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = sorted(path.name for path in CONFIGS.glob("*.lock"))
CELERY_VARIABLES = {"CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"}


def assigned(name: str) -> dict[str, Any]:
    """Run a Python file of the folder; return what it sets."""
    found = runpy.run_path(str(CONFIGS / name))
    return {key: value for key, value in found.items() if key.isidentifier() and not key.startswith("_")}


def test_no_file_goes_unchecked() -> None:
    checked = {"Dockerfile", "agentq.env", "celeryconfig.py", "flowerconfig.py", *LOCKS}
    assert {path.name for path in CONFIGS.iterdir() if path.is_file()} == checked


def test_every_setting_of_celeryconfig_exists() -> None:
    ours = {f"agentq_{name}" for name in Settings.model_fields}
    assert assigned("celeryconfig.py").keys() <= CELERY_SETTINGS | ours


def test_celeryconfig_sets_up_an_app() -> None:
    app = Celery("example", set_as_current=False)
    app.config_from_object(type("celeryconfig", (), assigned("celeryconfig.py")))
    assert AgentQ(app).settings.ledger == assigned("celeryconfig.py")["agentq_ledger"]


def test_the_environment_file_has_every_setting_at_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in dotenv_values(CONFIGS / "agentq.env").items():
        monkeypatch.setenv(name, value or "")
    assert Settings().model_dump() == {name: field.default for name, field in Settings.model_fields.items()}


def test_the_environment_file_names_every_setting_once() -> None:
    lines = (CONFIGS / "agentq.env").read_text().splitlines()
    named = [line.lstrip("# ").partition("=")[0] for line in lines if "=" in line and " " not in line.lstrip("# ")]
    expected = {f"AGENTQ_{name.upper()}" for name in Settings.model_fields}
    assert sorted(name for name in named if name not in CELERY_VARIABLES) == sorted(expected)


def test_every_option_of_flowerconfig_exists() -> None:
    options = pytest.importorskip("flower.options").default_options
    known = {name.replace("-", "_") for name in options.as_dict()}
    assert assigned("flowerconfig.py").keys() <= known


def test_flower_reads_only_and_stays_on_loopback() -> None:
    flower = assigned("flowerconfig.py")
    assert flower["read_only"] is True
    assert flower["address"] == "127.0.0.1"


def test_the_lock_pins_every_dependency() -> None:
    extras, groups = PROJECT["project"]["optional-dependencies"], PROJECT["dependency-groups"]
    wanted = chain(PROJECT["project"]["dependencies"], *extras.values(), *groups.values())
    names = {canonicalize_name(Requirement(text).name) for text in wanted} - {"celery-agentq"}
    assert names <= hashes("requirements.lock").keys()


def test_there_is_a_lock_for_each_version_of_django() -> None:
    name = re.compile(r"Framework :: Django :: (.+)")
    versions = [found[1] for text in PROJECT["project"]["classifiers"] if (found := name.fullmatch(text))]
    assert [*(f"django-{version}.lock" for version in versions), "requirements.lock"] == LOCKS
    for version in versions:
        (pin,) = pins(f"django-{version}.lock", "django")
        assert f"{pin.specifier}".startswith(f"=={version}.")


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_hashes_of_everything(lock: str) -> None:
    assert [name for name, number in hashes(lock).items() if not number] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_versions_that_the_project_accepts(lock: str) -> None:
    for wanted in map(Requirement, PROJECT["project"]["dependencies"]):
        found = pins(lock, wanted.name)
        assert found
        assert all(wanted.specifier.contains(str(pin.specifier).removeprefix("==")) for pin in found)


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_download_address(lock: str) -> None:
    assert "://" not in (CONFIGS / lock).read_text()


def pins(lock: str, name: str) -> list[Requirement]:
    """Return the versions of a package in a lock; there may be one for each range of Pythons."""
    lines = (CONFIGS / lock).read_text().splitlines()
    return [Requirement(line.rstrip("\\ ")) for line in lines if line.startswith(f"{name}==")]


def hashes(lock: str) -> dict[str, int]:
    """Return how many hashes each package in a lock has."""
    found: dict[str, int] = {}
    name = ""
    for line in (CONFIGS / lock).read_text().splitlines():
        if "==" in line:
            name = canonicalize_name(line.partition("==")[0])
            found.setdefault(name, 0)
        elif "--hash=" in line:
            found[name] += 1
    return found
