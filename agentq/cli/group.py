"""A group of commands on one noun, which lists where nothing else is said: ``jobs`` is ``jobs list``."""

from __future__ import annotations

import click


class ListingGroup(click.Group):
    """A group with a command ``list``, whose options it takes too."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        is_bare = not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names)
        is_completion = ctx.resilient_parsing
        return super().parse_args(ctx, ["list", *args] if is_bare and not is_completion else args)
