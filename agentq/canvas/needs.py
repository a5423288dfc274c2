"""The members that a fan-in needs: as people write it, and as the ledger stores it."""

from __future__ import annotations

import math
from typing import Any

from agentq.exceptions import CanvasError
from agentq.redaction import show

ALL, ANY = "all", "any"


def parse(needs: Any, where: str) -> str | None:
    """Return what ``needs=`` says as the ledger keeps it; raises CanvasError for what cannot be meant.

    "all" and "any" (at least one) are words, a whole number is a number of members, a fraction a share of them.
    """
    if needs is None or needs in (ALL, ANY):
        return None if needs is None else str(needs)
    is_number = isinstance(needs, int) and not isinstance(needs, bool) and 0 <= needs < 10**9
    is_share = isinstance(needs, float) and 0 < needs < 1
    if not is_number and not is_share:
        raise CanvasError(
            f"{where}: needs is {show(needs)}, must be 'all', 'any', a number of members such as 3, or a share of "
            "them between 0 and 1, such as 0.8"
        )
    return f"{needs:.6f}" if is_share else str(needs)


def accepts_missing(needs: str | None) -> bool:
    """Say whether the fan-in's own options let it go on without a member."""
    return needs not in (None, ALL)


def are_enough(needs: str | None, members: int, missing: int) -> bool:
    """Return whether a fan-in of this number of *members* can go on; by default one must be there, if any.

    What only a newer release can read is not met.
    """
    there = members - missing
    match needs:
        case _ if missing == 0:
            return True
        case None | "any":
            return there > 0
        case "all":
            return False
        case share if _is_share(share):
            return there >= math.ceil(round(float(share) * members, 6))
    return needs.isdecimal() and there >= int(needs)


def worded(needs: str | None) -> str:
    """Return what is needed, for people."""
    match needs:
        case None | "any":
            return "at least one"
        case "all":
            return "all"
        case share if _is_share(share):
            return f"{float(share):.0%}"
    return f"{needs}"


def _is_share(needs: str) -> bool:
    whole, point, part = needs.partition(".")
    return bool(point) and (whole + part).isdecimal()
