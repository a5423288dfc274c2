"""Meters of a limit beside its slots: starts and tokens in a time, cooldowns."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from agentq.ledger.db.types import UtcDateTime

revision = "0009"
down_revision = "0008"

_NUMBERS = sa.ARRAY(sa.Integer()).with_variant(sa.JSON(none_as_null=True), "sqlite")
_OPTIONAL = {"agentq_limits": ("declared",), "agentq_limit_changes": ("before", "after")}
_OF_JOBS = ("pays", "tokens", "is_outstanding")
_OF_LIMITS = (
    *("rate", "rate_per", "rate_burst", "override_rate", "override_rate_per", "rate_due"),
    *("tokens", "tokens_per", "tokens_burst", "override_tokens", "override_tokens_per", "tokens_due"),
    *("cooldown_until", "cooldown_reason", "strikes", "ramp", "carried", "outstanding", "outstanding_tokens"),
    *("paced_by", "paced_until"),
)
_COUNTED = ("rate_due", "tokens_due", "strikes", "carried", "outstanding", "outstanding_tokens")
_OF_CHANGES = ("rate_before", "rate_after", "tokens_before", "tokens_after")


def upgrade() -> None:
    op.add_column("agentq_jobs", sa.Column("pays", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("agentq_jobs", sa.Column("tokens", _NUMBERS, nullable=True))
    op.add_column(
        "agentq_jobs", sa.Column("is_outstanding", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
    _let_be_null(is_null=True)
    for name in _OF_LIMITS:
        op.add_column("agentq_limits", _column(name))
    for name in _OF_CHANGES:
        op.add_column("agentq_limit_changes", sa.Column(name, sa.String(64), nullable=True))
    op.add_column("agentq_limit_changes", sa.Column("cools_until", UtcDateTime(), nullable=True))


def downgrade() -> None:
    op.drop_column("agentq_limit_changes", "cools_until")
    for name in reversed(_OF_CHANGES):
        op.drop_column("agentq_limit_changes", name)
    for name in reversed(_OF_LIMITS):
        op.drop_column("agentq_limits", name)
    for table, columns in _OPTIONAL.items():
        for name in columns:
            op.execute(f'UPDATE {table} SET "{name}" = 1000000 WHERE "{name}" IS NULL')  # noqa: S608 - names of here
    _let_be_null(is_null=False)
    for name in reversed(_OF_JOBS):
        op.drop_column("agentq_jobs", name)


_KINDS: dict[str, Any] = {
    **dict.fromkeys(["cooldown_until", "paced_until"], UtcDateTime()),
    "cooldown_reason": sa.Text(),
    "strikes": sa.SmallInteger(),
    "outstanding_tokens": sa.BigInteger(),
    "paced_by": sa.Uuid(),
}


def _column(name: str) -> sa.Column[Any]:
    kind = _KINDS.get(name, sa.Float() if name.endswith(("_per", "_due")) else sa.Integer())
    if name in _COUNTED:
        return sa.Column(name, kind, server_default="0", nullable=False)
    return sa.Column(name, kind, nullable=True)


def _let_be_null(*, is_null: bool) -> None:
    for table, columns in _OPTIONAL.items():
        for name in columns:
            if op.get_context().dialect.name == "postgresql":
                op.alter_column(table, name, nullable=is_null)
            else:
                _change_text(table, name, is_null)


def _change_text(table: str, name: str, is_null: bool) -> None:
    # SQLite drops no constraint. So the text of the table is changed where it is kept, as it allows for this one
    # (https://sqlite.org/lang_altertable.html, section 7).
    column = op.get_context().dialect.identifier_preparer.quote(name)
    before, after = f"{column} INTEGER NOT NULL", f"{column} INTEGER"
    if not is_null:
        before, after = f"{after},", f"{before},"
    change = sa.text("UPDATE sqlite_master SET sql = replace(sql, :before, :after) WHERE name = :table")
    op.execute("PRAGMA writable_schema = ON")
    op.execute(change.bindparams(before=before, after=after, table=table))
    op.execute("PRAGMA writable_schema = RESET")
