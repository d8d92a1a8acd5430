"""One settings object for everything.

Every field is a keyword argument and an environment variable: `Settings(rate_limit={"login": {"paths": "/login"}})` is
`LAUNCHKIT_RATE_LIMIT__LOGIN__PATHS=/login`. Lists are written with commas. The object is frozen; whoever reads it may
keep what was read.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as SourceError

from launchkit.environment import PREFIX, EnvironmentSource, aliases_of, problem_of_source, problems_of
from launchkit.errors import Problem, SettingsError
from launchkit.fields import (
    Bytes,
    Days,
    HeaderName,
    HeaderNames,
    HeaderValue,
    Hosts,
    Keys,
    Limit,
    Networks,
    Origins,
    Path1,
    Paths,
    Patterns,
    QueueChoice,
    SchemeChoice,
    Seconds,
    Secret,
    Secrets,
    SomePaths,
    Strings,
    Success,
    Url,
    check_network,
    split,
)
from launchkit.pipeline.exchange import Exchange

AppT = TypeVar("AppT", bound=BaseModel)

PLATFORM_MARKS = ("DYNO", "RENDER", "FLY_APP_NAME", "RAILWAY_ENVIRONMENT", "K_SERVICE", "VERCEL", "AWS_EXECUTION_ENV")
"""Environment variables by which hosting platforms give themselves away."""


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


class CorsSettings(Section):
    """Which other sites' scripts may read responses (https://fetch.spec.whatwg.org/#http-cors-protocol)."""

    origins: Origins = ()
    """Origins like `https://app.example.com`, or `*` for all, which excludes `credentials`; none leaves CORS to the
    app."""
    credentials: bool = False
    """Whether such scripts may send cookies along."""
    methods: Strings = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
    """Methods that such scripts may use."""
    headers: HeaderNames = ("authorization", "content-type", "x-request-id")
    """Request headers that such scripts may set."""
    max_age: Annotated[int, Field(ge=0)] = 600
    """Seconds for which a browser may remember the answer to a preflight."""

    @model_validator(mode="after")
    def _no_credentials_for_everybody(self) -> Self:
        if self.credentials and "*" in self.origins:
            raise ValueError("origins * and credentials together let any site act as your users: name the origins")
        return self


class Protected(Section):
    """Who may see some paths; whoever does not meet every condition that is set gets a 401 or 403."""

    paths: SomePaths
    """Exact, with `{parameters}`, or `/below/*`. LaunchKit's own (health, `/metrics`, whoami) answer to `token`."""
    networks: Annotated[tuple[Annotated[str, AfterValidator(check_network)], ...], BeforeValidator(split)] = ()
    """Networks that the client's address has to be in."""
    token: Secret | None = None
    """What has to be sent as `Authorization: Bearer ...`, or as the password that a browser asks for."""
    allow: Callable[[Exchange], bool] | None = None
    """A function that says whether the request may pass. It is called on the event loop and must not block."""

    @model_validator(mode="after")
    def _some_condition(self) -> Self:
        if not self.networks and self.token is None and self.allow is None:
            raise ValueError("protects nothing: set networks, token or allow")
        return self


class EdgeSettings(Feature):
    """What stands between the app and the internet: hosts, HTTPS, headers, CORS, body size, closed paths."""

    url: Url | None = None
    """Where the site lives, like `https://example.com`. Requests for other hosts, and by HTTP where this is HTTPS, are
    sent there with 308; in production only."""
    hosts: Hosts = ()
    """Further hosts that are served as they are, like `api.example.com` or `*.example.com`. Without `url`, requests for
    any other host are refused with 400."""
    redirects: dict[Path1, str] = {}
    """Moved paths: old to new, a path or a URL; `/old/*` to `/new/*` keeps the rest. Answered with 308."""
    hsts_seconds: Annotated[int, Field(ge=0)] = 86_400
    """`max-age` of Strict-Transport-Security over HTTPS in production; 0 sends none (RFC 6797)."""
    headers: dict[HeaderName, HeaderValue] = {}
    """Further headers for every response that does not have them; a default is replaced by the same name."""
    cors: CorsSettings = CorsSettings()
    """Other sites' scripts."""
    max_body: Bytes | None = None
    """Bytes of a request body; a larger one is answered with 413. Webhooks have their own."""
    protected: dict[str, Protected] = {}
    """Paths that are not for everybody, by a name for each."""
    immutable: Paths = ()
    """Where static files live, like `/assets/*`: those with a hash in their names may be kept by browsers for a
    year."""


class RateLimitRule(Section):
    """Limits for some paths."""

    paths: SomePaths
    """Exact, with `{parameters}`, or `/below/*`. All paths of a rule share one count."""
    methods: Strings = ("POST",)
    """Methods that count; an empty list means every one but OPTIONS."""
    limit: Limit
    """How many in what time: `10/minute`, `30/10 minutes`, or several with a semicolon. Up to 64 in a window are
    counted exactly; more by a sliding counter that weighs the window before."""
    by: Keys = ("ip",)
    """Whom to count, each on its own: `ip`, `account` (from the body), `path`, `header:<name>`, or a function of the
    exchange that returns a text, or None not to count. `ip+account` counts each pair."""
    count: Literal["all", "failures"] = "all"
    """`failures` gives the count back when the response is a success."""
    success: Success = None
    """A function of the exchange that says whether a response is a success; by default 2xx with JSON or
    with nothing, or a redirect to another page, is."""
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
    failures_per_account: Limit = "5/15 minutes; 10/hour; 20/6 hours"
    """Failed tries at one account from all addresses; who goes on trying has to wait longer and longer."""
    success: Success = None
    """A function of the exchange that says whether somebody has logged in; by default 2xx with JSON or with
    nothing, or a redirect to another page, says so."""
    device_days: Annotated[int, Field(ge=0)] = 180
    """Days for which a device that has logged in is counted by itself, known by a signed cookie, so that nobody else's
    failures lock its user out; 0 sets no cookie."""


class SignupPreset(Preset):
    """For sign-up forms."""

    per_address: Limit = "30/10 minutes"
    """Tries of any outcome from one address."""


class PasswordResetPreset(Preset):
    """For forms that send reset mails."""

    per_address: Limit = "30/hour"
    """Tries of any outcome from one address."""
    per_account: Limit = "3/hour"
    """Tries for one account, whatever their outcome."""


class WebhookPreset(Preset):
    """For webhooks: those of `webhooks.sources`, and paths of the app's own."""

    failures_per_address: Limit = "60/minute"
    """Refused deliveries (bad signatures) from one address; accepted ones are never limited."""


class RateLimitSettings(Feature):
    """Limits by client address, account, or whatever else tells callers apart."""

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
    account_fields: Strings = (
        "email",
        "e_mail",
        "mail",
        "email_address",
        "username",
        "user_id",
        "phone",
        "identifier",
        "basic",
    )
    """Names under which a request body says which account it is about, in any spelling with or without `_`, `-` and
    capitals; of a name like `user[email]` the last word is enough. `basic` is the user of HTTP Basic. Name none under
    which everybody sends the same, as a button does, or Basic where it is the password of a whole site."""
    max_body: Bytes = 65_536
    """Bytes of a body that an account is looked for in; a larger one is answered with 413 on those routes."""
    store: Literal["auto", "memory", "machine"] = "auto"
    """Where counts, and what the cache has invalidated, are kept without `redis_url`: `memory` is each process for
    itself, `machine` tables in shared memory that all workers of this machine use; by default `machine` in production,
    else `memory`."""
    max_keys: Annotated[int, Field(ge=1000)] = 100_000
    """How many buckets are remembered at most."""


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
    tags: Strings = ()
    """Names by which its responses can be invalidated together, besides those in their `Cache-Tag` header."""
    public: bool = False
    """Hide Cookie and Authorization from the app on these paths, so that what is stored cannot be personal."""
    max_body: Bytes = 2_000_000
    """Bytes; a larger response passes through and is not stored."""


class ReadCacheSettings(Feature):
    """Shared cache of GET responses: for the paths of its rules, and for responses that say how long they are fresh."""

    rules: dict[str, CacheRule] = {}
    """Rules, by name."""
    never: Paths = ()
    """Paths that are never cached, besides those that `routes` names as personal and those of webhooks."""
    stale_if_error: Annotated[float, Field(ge=0)] = 0
    """Seconds after its freshness for which a stored response is given when the app fails to make a new one (5xx),
    unless the response says otherwise (RFC 5861)."""
    heuristics: bool = False
    """Whether a response that only says when it was last modified is fresh for a tenth of its age, a day at most
    (RFC 9111 section 4.2.2)."""
    targets: HeaderNames = ("launchkit-cache-control", "cdn-cache-control")
    """Response headers that are obeyed in place of Cache-Control, the best first (RFC 9213)."""
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
    """Distinct combinations of method, route and use of the read cache that are kept apart; further ones share one."""


class RedactionSettings(Feature):
    """Secrets and personal data in log records, error reports and telemetry."""

    keys: Strings = ()
    """Further key names whose values are secret; `ssn` covers `user_ssn`, too."""
    patterns: Patterns = ()
    """Further regular expressions whose matches are secret; commas belong into a JSON list."""
    allow: Patterns = ()
    """Regular expressions for values that are never secret; each has to match the whole value."""
    environment: bool = False
    """Mask the values of environment variables with secret-looking names, and the passwords of URLs there."""
    prints: bool = False
    """Redact what is printed to standard output and standard error, too."""
    fingerprints: bool = False
    """Add eight characters to each marker that are the same for the same secret, so that log lines can be matched."""
    emails: bool | None = None
    """Mask e-mail addresses, keeping the domain; by default in production only."""
    cards: bool = False
    """Mask numbers of payment cards whose check digit is right."""
    ibans: bool = False
    """Mask international bank account numbers (IBAN) whose check digits are right."""
    phones: bool = False
    """Mask phone numbers that begin with + or stand under a key that says so."""
    addresses: bool = False
    """Mask the last part of public IP addresses, as clients have."""


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


class HmacSettings(Section):
    """How a sender signs that LaunchKit does not know by name: an HMAC of the body, or of more than that (RFC 2104)."""

    header: HeaderName
    """The request header with the signature."""
    algorithm: Literal["sha256", "sha384", "sha512", "sha1"] = "sha256"
    """The hash."""
    encoding: Literal["hex", "base64"] = "hex"
    """How the signature is written."""
    prefix: str = ""
    """What stands before it, like `sha256=`."""
    template: str = "{body}"
    """What is signed, put together from `{body}`, `{timestamp}`, `{id}` and `{url}`, like `{timestamp}.{body}`."""
    timestamp_header: HeaderName | None = None
    """The request header with the time, in seconds since 1970."""
    id_header: HeaderName | None = None
    """The request header with the delivery's id; without it and `id_field`, the body tells repeats."""
    id_field: str | None = None
    """Where the JSON body has the delivery's id: a dotted path like `data.id`."""
    event_header: HeaderName | None = None
    """The request header that names the kind of event."""
    event_field: str | None = None
    """Where the JSON body names the kind of event: a dotted path like `type`."""


class WebhookSource(Section):
    """One sender of webhooks."""

    path: Path1 | None = None
    """Where it posts; `/webhooks/<name>` by default."""
    scheme: SchemeChoice | None = None
    """How it signs: the name of a sender, `standard` for Standard Webhooks, `hmac` for what `hmac` describes, or an
    object of the app's own with a method `verify`; by default read off the source's name."""
    hmac: HmacSettings | None = None
    """What a sender signs that has no scheme of its own here."""
    secrets: Secrets = ()
    """Signing secrets; several while one is being replaced."""
    verify_token: Secret | None = None
    """What Meta was told to send when it makes sure of the address."""
    tolerance: Seconds = 300
    """Seconds by which the signed time may differ from ours, either way, at receipt."""
    max_body: Bytes = 1_000_000
    """Bytes; larger deliveries are answered with 413."""
    redelivers: bool | None = None
    """Whether the sender sends again what is answered with 503; for those that do not, room is kept. By default what is
    known of the sender."""


class WebhookSettings(Feature):
    """Verified, de-duplicated, stored, answered, then handled until it succeeds."""

    sources: dict[str, WebhookSource] = {}
    """Senders, by name."""
    in_app: bool = True
    """Whether the app's own processes handle deliveries; false leaves them to `launchkit worker`."""
    queue: QueueChoice | None = None
    """The queue that handles deliveries in place of LaunchKit's workers: one from `launchkit.queues`."""
    retry_delays: Annotated[tuple[Seconds, ...], BeforeValidator(split)] = (5, 30, 120, 600, 3600, 10800, 28800, 86400)
    """Seconds before each further attempt (with jitter); after the last one the delivery is a dead letter."""
    handler_timeout: Seconds = 900
    """Seconds after which a handler's attempt counts as failed."""
    lease: Seconds = 30
    """Seconds without a sign of life after which another worker takes a delivery up."""
    concurrency: Annotated[int, Field(ge=1, le=100)] = 4
    """Deliveries that one process handles at a time."""
    max_pending: Annotated[int, Field(ge=10)] = 100_000
    """Deliveries that may wait; further ones are answered with 503. The last tenth is kept for senders that never send
    again."""
    min_free: Annotated[int, Field(ge=0)] = 50_000_000
    """Bytes that the disk of `data_dir` has to have left; below that, deliveries are answered with 503."""
    alert_age: Seconds = 300
    """Seconds that a delivery may be overdue before health warns."""
    keep_bodies: Days = 7
    """Days for which bodies and headers are kept after receipt, once their deliveries are done."""
    keep_dead: Days = 30
    """Days for which those of dead letters are kept."""
    keep_keys: Days = 90
    """Days for which repeats are known; at least as long as anything is kept of the delivery."""

    @model_validator(mode="after")
    def _keys_outlive_the_rest(self) -> Self:
        if self.keep_keys < max(self.keep_bodies, self.keep_dead):
            raise ValueError("keep_keys should be no less than keep_bodies and keep_dead")
        return self


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
    secret_key: Secret | None = None
    """What accounts are hashed and cookies signed with; by default made once and kept in `data_dir`. Several machines
    need the same."""
    database_url: Secret | None = None
    """PostgreSQL for webhooks that several machines take in and handle, as `postgresql://...`; by default they are kept
    in a file in `data_dir`."""
    redis_url: Secret | None = None
    """Redis or Valkey for limits and cached responses that several machines share."""
    trusted_proxies: Networks = ()
    """The proxies in front, whose word about the client is believed: networks, `private` for every private network,
    `unix` for a Unix socket, or a vendor like `cloudflare`; by default read off the hosting platform."""
    token: Secret | None = None
    """Opens `/metrics` and health details, as `Authorization: Bearer ...`."""
    check: Literal["enforce", "warn"] = "enforce"
    """What the check at start does with mistakes that must not go live: stop the start in production, or only warn."""
    routes: Routes = Routes()
    """The paths that matter."""
    edge: EdgeSettings = EdgeSettings()
    """Hosts, HTTPS, headers."""
    rate_limit: RateLimitSettings = RateLimitSettings()
    """Limits."""
    read_cache: ReadCacheSettings = ReadCacheSettings()
    """Cached reads."""
    timing: TimingSettings = TimingSettings()
    """Latency figures."""
    redaction: RedactionSettings = RedactionSettings()
    """Secrets and personal data in logs, error reports and telemetry."""
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
    def shares_machine(self) -> bool:
        """Whether limits and invalidations are to be kept in tables that all workers of this machine use."""
        store = self.rate_limit.store
        return self.redis_url is None and (store == "machine" or (store == "auto" and self.environment == "production"))

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
