"""A library is imported where it belongs, and nowhere else."""

from __future__ import annotations

import pytest

from tests.setup.source import imports, modules

LIBRARIES = {
    "celery": ("steps", "canvas", "runtime", "contrib", "cli", "demo", "testing", ""),
    "kombu": ("runtime", "contrib", "cli", "demo", "testing"),
    "sqlalchemy": ("ledger", "operations", "runtime", "contrib", "cli", "testing", "exceptions", "embedded", ""),
    "alembic": ("ledger",),
    "flower": ("contrib",),
    "django": ("contrib",),
    "flask": ("contrib",),
    "starlette": ("contrib",),
    "greenlet": ("runtime",),
    "click": ("cli", "demo"),
    "rich": ("demo",),
}
"""The packages that may import a library; the empty name is the package itself."""

MODULES = modules()
IMPORTS = {module: imports(module, MODULES) for module in MODULES}


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_is_used_only_where_it_belongs(library: str) -> None:
    users = {module for module, names in IMPORTS.items() if any(n.partition(".")[0] == library for n in names)}
    assert not {module for module in users if _part_of(module) not in LIBRARIES[library]}


def _part_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""
