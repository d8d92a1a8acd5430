"""One settings object for everything.

Every field is a keyword argument and an environment variable: `Settings(rate_limit={"login": {"paths": "/login"}})` is
`LAUNCHKIT_RATE_LIMIT__LOGIN__PATHS=/login`. Lists are written with commas. The object is frozen; whoever reads it may
keep what was read.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import limits
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as SourceError

from launchkit.environment import PREFIX, EnvironmentSource, aliases_of, problem_of_source, problems_of
from launchkit.errors import Problem, SettingsError
from launchkit.pipeline.paths import PathPattern

AppT = TypeVar("AppT", bound=BaseModel)

PLATFORM_MARKS = ("DYNO", "RENDER", "FLY_APP_NAME", "RAILWAY_ENVIRONMENT", "K_SERVICE", "VERCEL", "AWS_EXECUTION_ENV")
"""Environment variables by which hosting platforms give themselves away."""


def _split(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except ValueError:
            raise ValueError("starts like a JSON list but is none; commas do as well: a, b") from None
    return [item for part in value.split(",") if (item := part.strip())]


def _check_path(text: str) -> str:
    PathPattern(text)
    return text


def _check_limit(text: str) -> str:
    try:
        items = limits.parse_many(text)
    except ValueError:
        raise ValueError("should be a limit like 10/minute, 30/10 minutes or 5/minute; 100/hour") from None
    if any(item.amount < 1 for item in items):
        raise ValueError("should let at least one request pass")
    return text


def _check_network(text: str) -> str:
    if text in ("private", "unix"):
        return text
    if text == "*":
        raise ValueError("trusting every address lets anyone choose theirs: name the proxy's networks")
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError("should be a network like 10.0.0.0/8, or the word private or unix") from None
    return text


def _check_pattern(text: str) -> str:
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError):
        raise ValueError("should be a regular expression") from None
    return text


def _check_header_name(text: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", text) is None:
        raise ValueError("should be a header name (RFC 9110 section 5.1)")
    return text.lower()


def _check_header_value(text: str) -> str:
    if re.fullmatch(r"[\x20-\x7e]*", text) is None:
        raise ValueError("should be visible ASCII on one line (RFC 9110 section 5.5)")
    return text


Strings = Annotated[tuple[str, ...], BeforeValidator(_split)]
Paths = Annotated[tuple[Annotated[str, AfterValidator(_check_path)], ...], BeforeValidator(_split)]
SomePaths = Annotated[Paths, Field(min_length=1)]
Networks = Annotated[tuple[Annotated[str, AfterValidator(_check_network)], ...], BeforeValidator(_split)]
Patterns = Annotated[tuple[Annotated[str, AfterValidator(_check_pattern)], ...], BeforeValidator(_split)]
HeaderName = Annotated[str, AfterValidator(_check_header_name)]
HeaderNames = Annotated[tuple[HeaderName, ...], BeforeValidator(_split)]
HeaderValue = Annotated[str, AfterValidator(_check_header_value)]
Secret = Annotated[SecretStr, Field(min_length=1)]
Secrets = Annotated[tuple[Secret, ...], BeforeValidator(_split)]
Limit = Annotated[str, AfterValidator(_check_limit)]
Path1 = Annotated[str, AfterValidator(_check_path)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Bytes = Annotated[int, Field(gt=0)]


class Section(BaseModel):
    """One feature's settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)


class Feature(Section):
    """One feature's settings, with its switch."""

    enabled: bool = True
    """Whether the feature is on."""


class Routes(Section):
    """The paths that matter, named once; limits and the cache read them."""

    login: Paths = ()
    """Where passwords are tried."""
    signup: Paths = ()
    """Where accounts are made."""
    password_reset: Paths = ()
    """Where reset mails are asked for."""
    checkout: Paths = ()
    """Where money changes hands; never cached."""
    billing: Paths = ()
    """Invoices and subscriptions; never cached."""
    account: Paths = ()
    """A signed-in user's own pages; never cached."""


class EdgeSettings(Feature):
    """What every response carries."""

    hsts_seconds: Annotated[int, Field(ge=0)] = 86_400
    """`max-age` of Strict-Transport-Security over HTTPS in production; 0 sends none (RFC 6797)."""
    headers: dict[HeaderName, HeaderValue] = {}
    """Further headers for every response that does not have them; a default is replaced by the same name."""


class RateLimitRule(Section):
    """One limit for some paths, counted by client address."""

    paths: SomePaths
    """Exact, with `{parameters}`, or `/below/*`. All paths of a rule share one count."""
    methods: Strings = ("POST",)
    """Methods that count; an empty list means every one but OPTIONS."""
    limit: Limit
    """How many in what time: `10/minute`, `30/10 minutes`, or several with a semicolon."""
    count: Literal["all", "failures"] = "all"
    """`failures` gives the count back when the response is a success: JSON with 2xx, or a redirect elsewhere."""
    mode: Literal["enforce", "observe"] = "enforce"
    """`observe` logs what would have been refused and refuses nothing."""
    on_outage: Literal["local", "open", "closed"] = "local"
    """When the store is down: count in this process, let everything pass, or answer 503."""


class Preset(Section):
    """A whole policy for one kind of route."""

    paths: Paths = ()
    """Where it applies; by default what `routes` names."""
    mode: Literal["enforce", "observe"] = "enforce"
    """`observe` logs what would have been refused and refuses nothing."""
    on_outage: Literal["local", "open", "closed"] = "local"
    """When the store is down: count in this process, let everything pass, or answer 503."""


class LoginPreset(Preset):
    """For login forms."""

    per_address: Limit = "60/minute"
    """Tries of any outcome from one address."""
    failures_per_address: Limit = "20/5 minutes"
    """Failed tries from one address; an office shares one."""


class SignupPreset(Preset):
    """For sign-up forms."""

    per_address: Limit = "30/10 minutes"
    """Tries of any outcome from one address."""


class PasswordResetPreset(Preset):
    """For forms that send reset mails."""

    per_address: Limit = "30/10 minutes"
    """Tries of any outcome from one address."""


class WebhookPreset(Preset):
    """For webhooks: those of `webhooks.sources`, and paths of the app's own."""

    failures_per_address: Limit = "60/minute"
    """Refused deliveries (bad signatures) from one address; accepted ones are never limited."""


class RateLimitSettings(Feature):
    """Limits by client address."""

    login: LoginPreset = LoginPreset()
    """Login forms."""
    signup: SignupPreset = SignupPreset()
    """Sign-up forms."""
    password_reset: PasswordResetPreset = PasswordResetPreset()
    """Reset mails."""
    webhook: WebhookPreset = WebhookPreset()
    """Webhooks."""
    rules: dict[str, RateLimitRule] = {}
    """Own rules, by name."""
    max_keys: Annotated[int, Field(ge=1000)] = 100_000
    """How many buckets this process remembers at most."""


class CacheRule(Section):
    """One rule for paths whose GET responses everybody may share."""

    paths: SomePaths
    """Exact, with `{parameters}`, or `/below/*`."""
    ttl: Seconds = 30
    """Seconds for which a stored response is fresh, unless the response says otherwise."""
    stale_while_revalidate: Annotated[float, Field(ge=0)] = 60
    """Seconds after that in which one request fetches anew while others still get the stored one (RFC 5861)."""
    vary: HeaderNames = ()
    """Request headers that select between variants, besides those in the response's Vary."""
    public: bool = False
    """Hide Cookie and Authorization from the app on these paths, so that what is stored cannot be personal."""
    max_body: Bytes = 2_000_000
    """Bytes; a larger response passes through and is not stored."""


class ReadCacheSettings(Feature):
    """Shared cache of GET responses, for the paths of its rules only."""

    rules: dict[str, CacheRule] = {}
    """Rules, by name."""
    never: Paths = ()
    """Paths that no rule may cover, besides those that `routes` names as personal."""
    size: Bytes = 64_000_000
    """Bytes of stored responses that this process keeps at most."""


class TimingSettings(Feature):
    """Latency per method and route template, and `/metrics`."""

    target: Seconds = 0.5
    """The p95 to stay under, in seconds."""
    window: Annotated[int, Field(ge=1, le=60)] = 5
    """Minutes over which p95 is taken."""
    metrics_path: Path1 = "/metrics"
    """Where the figures are served as Prometheus text; needs `token` outside development."""
    max_series: Annotated[int, Field(ge=8)] = 256
    """Distinct method and route pairs that are kept apart; further ones share one."""


class RedactionSettings(Feature):
    """Secrets in log records."""

    keys: Strings = ()
    """Further key names whose values are secret."""
    patterns: Patterns = ()
    """Further regular expressions whose matches are secret; commas belong into a JSON list."""
    allow: Patterns = ()
    """Regular expressions for values that are never secret."""
    emails: bool | None = None
    """Mask e-mail addresses, keeping the domain; by default in production only."""


class HealthSettings(Feature):
    """Liveness, readiness and the app's own checks."""

    path: Path1 = "/health"
    """Everything at once."""
    live_path: Path1 = "/health/live"
    """Is the process answering? For load balancers and hosts."""
    ready_path: Path1 = "/health/ready"
    """Do the app's checks pass?"""
    timeout: Seconds = 2
    """Seconds that a check may take."""
    interval: Seconds = 10
    """Seconds for which a check's outcome is used again."""
    failures: Annotated[int, Field(ge=1)] = 3
    """Failures in a row, each an interval apart, before readiness fails; one success heals it."""
    grace: Annotated[float, Field(ge=0)] = 60
    """Seconds after start in which failing checks do not fail readiness."""


class WebhookSource(Section):
    """One sender of webhooks."""

    path: Path1 | None = None
    """Where it posts; `/webhooks/<name>` by default."""
    scheme: Literal["stripe", "standard"] | None = None
    """How it signs: `stripe`, or `standard` for Standard Webhooks; by default read off the source's name."""
    secrets: Secrets = ()
    """Signing secrets; several while one is being replaced."""
    tolerance: Seconds = 300
    """Seconds by which the signed time may differ from ours, either way, at receipt."""
    max_body: Bytes = 1_000_000
    """Bytes; larger deliveries are answered with 413."""


class WebhookSettings(Feature):
    """Verified, de-duplicated, stored, answered, then handled until it succeeds."""

    sources: dict[str, WebhookSource] = {}
    """Senders, by name."""
    retry_delays: Annotated[tuple[Seconds, ...], BeforeValidator(_split)] = (5, 30, 120, 600, 3600, 10800, 28800, 86400)
    """Seconds before each further attempt (with jitter); after the last one the delivery is a dead letter."""
    handler_timeout: Seconds = 900
    """Seconds after which a handler's attempt counts as failed."""
    lease: Seconds = 30
    """Seconds without a sign of life after which another worker takes a delivery up."""
    concurrency: Annotated[int, Field(ge=1, le=100)] = 4
    """Deliveries that one process handles at a time."""


Environment = Literal["development", "test", "production"]


def _default_environment() -> Environment:
    return "production" if any(mark in os.environ for mark in PLATFORM_MARKS) else "development"


class Settings(BaseSettings):
    """Everything LaunchKit can be told.

    Keyword arguments win over `LAUNCHKIT_...` environment variables, those over a `.env` file in the working directory.

    Raises:
        SettingsError: with every mistake at once, by variable name and without values.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=PREFIX,
        env_file=".env",
        env_nested_delimiter="__",
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        validate_default=True,
    )

    environment: Environment = Field(default_factory=_default_environment)
    """Where this runs; by default `production` on a known hosting platform, else `development`."""
    release: str | None = None
    """What is deployed, such as a commit; shown in health details."""
    data_dir: Path = Path(".launchkit")
    """Folder for what must survive a restart."""
    redis_url: Secret | None = None
    """Redis or Valkey for limits that several processes or machines share."""
    trusted_proxies: Networks = ()
    """Networks of the proxies in front, whose X-Forwarded-For is believed; `private` means every private network,
    `unix` a proxy behind a Unix socket."""
    token: Secret | None = None
    """Opens `/metrics` and health details, as `Authorization: Bearer ...`."""
    routes: Routes = Routes()
    """The paths that matter."""
    edge: EdgeSettings = EdgeSettings()
    """Security headers."""
    rate_limit: RateLimitSettings = RateLimitSettings()
    """Limits by client address."""
    read_cache: ReadCacheSettings = ReadCacheSettings()
    """Cached reads."""
    timing: TimingSettings = TimingSettings()
    """Latency figures."""
    redaction: RedactionSettings = RedactionSettings()
    """Secrets in logs."""
    health: HealthSettings = HealthSettings()
    """Health endpoints."""
    webhooks: WebhookSettings = WebhookSettings()
    """Webhook intake."""

    def __init__(self, **values: object) -> None:
        try:
            super().__init__(**values)  # type: ignore[arg-type]  # checked by validation
        except ValidationError as error:
            problems = problems_of(type(self), error)
        else:
            return
        raise SettingsError(problems)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Replace the library's environment sources with one that refuses unknown names."""
        return init_settings, EnvironmentSource(settings_cls)

    @property
    def in_development(self) -> bool:
        """Whether conveniences that a public server must not have are on."""
        return self.environment == "development"


def load_settings(app_settings: type[AppT], **values: object) -> tuple[Settings, AppT]:
    """Read LaunchKit's settings and the app's own, and report the mistakes of both together.

    Args:
        app_settings: the app's model: a pydantic-settings `BaseSettings`, or a plain `BaseModel` whose fields are then
            read from environment variables of the same name.
        values: keyword arguments for `Settings`.

    Raises:
        SettingsError: with every missing or malformed variable of both, by its real name and without its value.
    """
    problems: list[Problem] = []
    kit = app = None
    try:
        kit = Settings(**values)
    except SettingsError as error:
        problems.extend(error.problems)
    try:
        app = app_settings(**_plain_values(app_settings))
    except ValidationError as error:
        problems.extend(problems_of(app_settings, error))
    except SourceError as error:
        problems.append(problem_of_source(app_settings, error))
    if kit is None or app is None:
        raise SettingsError(problems)
    return kit, app


def _plain_values(model: type[BaseModel]) -> dict[str, Any]:
    if issubclass(model, BaseSettings):
        return {}
    upper = {name.upper(): text for name, text in os.environ.items()}
    names = [word for name, field in model.model_fields.items() for word in aliases_of(field) or (name,)]
    return {name: upper[name.upper()] for name in names if name.upper() in upper}
