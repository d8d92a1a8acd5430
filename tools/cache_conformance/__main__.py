"""`python -m tools.cache_conformance`: how LaunchKit's read cache does in the suite http-tests/cache-tests.

The suite tests caches between a client and an origin. Here the cache is LaunchKit around an ASGI app that is a reverse
proxy, served by uvicorn; the suite brings origin and client. By default LaunchKit has no rule for any path, so that
only explicit freshness is cached. It takes about a minute and needs Node 20; the suite is installed with npm the first
time. Exit status 0 says that the suite ran, not that every test passed.

The npm package (0.4.5) is an older state of the suite. Nine of its required tests, all about a malformed or repeated
`Age`, ask for the reverse of RFC 9111 section 5.1 and of the later state, and the four `stale-close-...` cannot be
passed behind a proxy that answers 502; `--suite` takes a later checkout.

    python -m tools.cache_conformance --settings '{"read_cache": {"enabled": true}}' --json result.json
    python -m tools.cache_conformance --id freshness-max-age      one test, with every message that was sent
    python -m tools.cache_conformance --bare                      the proxy alone: what passes without any cache
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from tools.cache_conformance import scores, suite
from tools.cache_conformance.front import FrontError, launched, serving
from tools.cache_conformance.proxy import ReverseProxy


def main() -> None:
    """Run the suite, or one of its tests, and print what came of it."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        _run(arguments)
    except (suite.SuiteError, FrontError) as error:
        sys.exit(f"cache_conformance: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.cache_conformance", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--suite", type=Path, metavar="DIR", help="a folder of http-tests/cache-tests")
    parser.add_argument("--settings", type=_settings, default={}, metavar="JSON", help="LaunchKit's settings")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the score of every test there")
    parser.add_argument("--id", metavar="TEST", help="run one test and print its messages")
    parser.add_argument("--bare", action="store_true", help="the proxy without LaunchKit")
    parser.add_argument(
        "--origin-error", choices=("502", "raise"), default="502", help="what the proxy does when the origin hangs up"
    )
    return parser.parse_args()


def _settings(text: str) -> dict[str, Any]:
    values = json.loads(text)
    if not isinstance(values, dict):
        raise argparse.ArgumentTypeError("not a JSON object")
    return values


def _run(arguments: argparse.Namespace) -> None:
    folder = suite.find(arguments.suite)
    with tempfile.TemporaryDirectory() as scratch, suite.origin(folder, Path(scratch)) as origin:
        app: Any = ReverseProxy("127.0.0.1", origin.port, raises=arguments.origin_error == "raise")
        if not arguments.bare:
            app = launched(app, arguments.settings, Path(scratch) / "launchkit")
        with serving(app) as base:
            if arguments.id:
                print(suite.show(folder, base, arguments.id), origin.log.read_text(), sep="\n")
                return
            results = suite.run(folder, base)
    _report(scores.judge(suite.catalogue(folder), results), arguments.json)


def _report(judged: list[scores.Score], file: Path | None) -> None:
    print("\n".join(scores.table(judged)))
    for kind in ("required", "optimal"):
        print(f"\n{kind.capitalize()} tests that did not pass", *scores.missed(judged, kind), sep="\n")
    if file is not None:
        file.write_text(json.dumps(scores.as_json(judged), indent=1) + "\n")


main()
