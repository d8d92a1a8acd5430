"""`launchkit webhooks send`: sign a sample as its sender would, and post it to the app that runs on this machine."""

from __future__ import annotations

import argparse
import http.client
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from launchkit.command.app import find_kit
from launchkit.command.failure import DONE, MISUSED, REFUSED, Failed
from launchkit.command.parsers import AddParser
from launchkit.command.text import aligned, plain, say
from launchkit.command.webhooks.inbox import add_app
from launchkit.command.webhooks.posting import Address, Answer, post
from launchkit.command.webhooks.samples import Sender, Signed, sender_of, sign
from launchkit.command.webhooks.showing import text_of
from launchkit.settings import Settings

_ADVICE: Final = {
    401: "The app does not know this signature: has it the secret that is in {secrets} here?",
    404: "The app has nothing at {path}: give {source} a secret in its settings, or a handler.",
    413: "The app takes no body of that size from {source}.",
    503: "The app cannot take it in now; what it answers says why.",
}


def add(add_parser: AddParser) -> None:
    """Add the subcommand."""
    parser = add_parser(
        "send",
        help="sign and post a sample to the app on this machine",
        description="Sign a sample as its sender would and post it to the running app. How, where and with which "
        "secret say the settings: those of --app, or those of the environment and of .env.",
        epilog="Exit status: 0 for a 2xx, with --bad-signature for a 401; 1 for any other answer, or none.",
    )
    parser.add_argument("source", metavar="SOURCE", help="the source's name, like stripe")
    parser.add_argument("event", metavar="EVENT", nargs="?", help="the kind of event, like invoice.paid")
    add_app(parser)
    parser.add_argument(
        "--to",
        type=_address,
        default="http://127.0.0.1:8000",
        metavar="URL",
        help="where the app is; by default %(default)s",
    )
    parser.add_argument("--body", metavar="FILE", help="post this file in place of a sample; - for standard input")
    parser.add_argument("--secret-from", metavar="VARIABLE", help="sign with the secret in this environment variable")
    parser.add_argument("--bad-signature", action="store_true", help="sign with a secret that nobody knows")
    parser.add_argument("--yes", action="store_true", help="send to another machine, too")
    parser.set_defaults(run=_run)


def _address(text: str) -> Address:
    try:
        return Address.parse(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} should be an address like http://127.0.0.1:8000") from None


def _run(options: argparse.Namespace) -> int:
    address: Address = options.to
    if not (address.is_loopback or options.yes):
        raise Failed(f"{address.text} is not this machine: --yes sends it all the same", MISUSED)
    settings = Settings() if options.app is None else find_kit(options.app).settings
    sender = sender_of(settings, options.source)
    secret = sender.unknown_secret() if options.bad_signature else sender.secret(_variable(options.secret_from))
    signed = sign(sender, secret, options.event, _body(options.body), url=_public_url(settings, sender, address))
    answer = _post(address, sender, signed)
    is_right = answer.status == 401 if options.bad_signature else 200 <= answer.status < 300
    say(_lines(address, sender, signed, answer))
    if not is_right and answer.status in _ADVICE:
        say([_ADVICE[answer.status].format(secrets=sender.variable, path=sender.path, source=sender.name)])
    return DONE if is_right else REFUSED


def _variable(name: str | None) -> str | None:
    if name is None:
        return None
    secret = os.environ.get(name)
    if not secret:
        raise Failed(f"there is no environment variable {name}, or nothing in it", MISUSED)
    return secret


def _body(file: str | None) -> bytes | None:
    if file is None:
        return None
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise Failed(f"{file} cannot be read: {error.strerror}", MISUSED) from error


def _public_url(settings: Settings, sender: Sender, address: Address) -> str:
    """Return what a sender that signs the address has been told."""
    return (settings.edge.url or "") + address.parts.path + sender.path


def _post(address: Address, sender: Sender, signed: Signed) -> Answer:
    try:
        return post(address, sender.path, signed.body, signed.headers)
    except (OSError, http.client.HTTPException) as error:
        why = plain(getattr(error, "strerror", None) or str(error) or type(error).__name__)
        raise Failed(
            f"no answer from {address.text} ({why}): is the app running there? --to says where", REFUSED
        ) from error


def _lines(address: Address, sender: Sender, signed: Signed, answer: Answer) -> Iterator[str]:
    yield from aligned(
        [
            ("sent", f"{sender.name}: {signed.seen_as}"),
            ("to", address.text + sender.path),
            ("answer", f"{answer.status} {plain(answer.reason)}, after {answer.seconds * 1000:.0f} ms"),
        ]
    )
    text = text_of(answer.body)
    if answer.body:
        yield f"{len(answer.body)} bytes that are no text" if text is None else text.rstrip("\n")
