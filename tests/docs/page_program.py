"""A program that runs the Python of one page, in order, on a ledger in memory."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

from celery import Celery

from agentq import AgentQ
from agentq.testing.inline import Inline
from tests.docs.snippets import read


def main(path: str) -> None:
    """Run the page's snippets in one namespace, which has ``app`` and ``inline`` to begin with."""
    app = Celery("page")
    AgentQ(app)
    with Inline(app) as inline:
        module = ModuleType("page")
        vars(module).update(app=app, inline=inline)
        for snippet in read(Path(path)).snippets:
            if not snippet.is_program:
                continue
            module.__name__ = f"page_{snippet.line}"  # so that two snippets can have steps of one name
            sys.modules[module.__name__] = module
            for code in (snippet.given, snippet.code):
                exec(compile("\n" * snippet.line + code, path, "exec"), vars(module))


if __name__ == "__main__":
    main(sys.argv[1])
