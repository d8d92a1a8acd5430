"""`launchkit webhooks`: look into the inbox, have deliveries handled again or no more, and send samples."""

from __future__ import annotations

from launchkit.command.parsers import AddParser
from launchkit.command.webhooks import changing, listing, sending, showing, stats


def add(add_parser: AddParser) -> None:
    """Add the subcommand, with its own subcommands."""
    parser = add_parser(
        "webhooks",
        help="look into the inbox of webhooks, replay, discard, send samples",
        description="Operate the inbox of webhooks. Without --app, which imports an app, the settings are those of the "
        "environment and of .env in the working directory: run it where the app runs.",
        epilog="Exit status: 0 for done; 1 if nothing was found or the app has refused; 2 for a wrong call or settings "
        "that cannot be used; 3 if the inbox cannot be used.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in (listing, showing, changing, stats, sending):
        module.add(commands.add_parser)
