"""``TransactionTestCase`` empties the tables of managed models after each test; the ledger's go with them."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.test.utils import _TestState

from agentq.contrib.django import options
from agentq.contrib.django.connection import django_connection
from agentq.ledger import retention


def empty_with_the_rest(using: str, **sent: Any) -> None:
    """Delete all rows of the ledger when a test's database was flushed; *sent* is the rest of ``post_migrate``.

    A migration comes with its plan. Outside of tests nothing is deleted: projects send the signal themselves.
    """
    if "plan" in sent or not hasattr(_TestState, "saved_data") or using != options.load().database:
        return
    with transaction.atomic(using=using), django_connection(using) as connection:
        retention.empty(connection)
