"""Which paths are webhooks, and which intake answers each.

The sources of the settings are checked when the kit is made, so that a bad secret stops the start. Sources also come
into being by a handler for a sender that is known by name, and handlers are registered after that: hence `compile`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from launchkit.errors import Problem, SettingsError
from launchkit.pipeline.clock import Clock
from launchkit.pipeline.effects import Steps
from launchkit.pipeline.exchange import EarlyResponse, Exchange
from launchkit.pipeline.interceptor import Interceptor
from launchkit.pipeline.paths import PathPattern
from launchkit.settings import WebhookSettings, WebhookSource
from launchkit.webhooks.delivery import SUBMITTED
from launchkit.webhooks.figures import Counts
from launchkit.webhooks.handlers import Handlers
from launchkit.webhooks.intake import Intake
from launchkit.webhooks.sources import compile_source, same_path


class Intakes(Interceptor):
    """Takes deliveries in on the paths of all sources. `compile` must be called before its first plan is made.

    Args:
        settings: the sources.
        clock: the time that signatures are held against.
        handlers: read by `compile`.
        charge_refused: charges whoever sent a bad signature and returns the answer if that was one too many.
        on_accepted: called after a new delivery was stored; must return at once.
        public_url: where the site lives, without a path, if anybody has said.

    Raises:
        SettingsError: for sources whose scheme is unknown, or whose secrets or paths cannot be right.
    """

    name = "webhooks"

    def __init__(
        self,
        settings: WebhookSettings,
        clock: Clock,
        handlers: Handlers,
        charge_refused: Callable[[Exchange], Steps[EarlyResponse | None]],
        on_accepted: Callable[[], None],
        public_url: str | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._handlers = handlers
        self._charge_refused = charge_refused
        self._on_accepted = on_accepted
        self._public_url = public_url
        self._intakes: dict[PathPattern, Intake] = {}
        self.counts: Final = Counts()
        self._build(settings.sources)

    def compile(self) -> None:
        """Add the sources that only handlers name.

        Raises:
            SettingsError: for a handler whose source is neither in the settings nor known by name.
        """
        named = sorted(self._handlers.sources - {SUBMITTED})
        self._build({name: WebhookSource() for name in named} | self._settings.sources)

    @property
    def sources(self) -> dict[str, str]:
        """The names of all sources, each with its path."""
        return {intake.source.name: pattern.text for pattern, intake in self._intakes.items()}

    @property
    def closed(self) -> dict[str, str]:
        """The sources that take nothing in, each with the reason in a sentence."""
        sources = (intake.source for intake in self._intakes.values())
        return {source.name: source.closed for source in sources if source.closed is not None}

    def select(self, method: str, matched: frozenset[PathPattern]) -> Interceptor | None:
        """Return the intake of the source whose path it is, for any method."""
        chosen = [pattern for pattern in self._intakes if pattern in matched]
        chosen.sort(key=lambda pattern: (pattern.exact is None, -len(pattern.text)))  # the narrowest first
        return self._intakes[chosen[0]] if chosen else None

    def _build(self, sources: dict[str, WebhookSource]) -> None:
        problems: list[Problem] = []
        intakes: dict[PathPattern, Intake] = {}
        for name, settings in sources.items():
            try:
                source = compile_source(name, settings, enabled=self._settings.enabled, public_url=self._public_url)
                if source.pattern in intakes:
                    raise same_path(name, intakes[source.pattern].source.name)
            except SettingsError as error:
                problems.extend(error.problems)
            else:
                intakes[source.pattern] = Intake(
                    source,
                    self._clock,
                    self.counts,
                    self._handlers,
                    self._public_url or "",
                    self._charge_refused,
                    self._on_accepted,
                )
        if problems:
            raise SettingsError(problems)
        self._intakes = intakes
        self.patterns = tuple(intakes)
