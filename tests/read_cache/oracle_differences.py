"""In what the read cache differs from hishel's, and why: each difference is a rule of its own, to be met exactly.

The rules:

- A difference speaks of the one request and the one stored answer in question, not of the whole sequence.
- Where LaunchKit asks the origin, and hishel gives a stored answer, what stands against that answer is named: a rule
  for safety, a mistake of hishel's, or something that a cache need not do.
- Where LaunchKit gives a stored answer and hishel does not, being lax must be right: hishel, had it been given that
  very answer and a plain request, would store it and give it too (`is_good`), and no unsafe request has succeeded in
  between.
- Each difference has a sequence of its own, whose last step shows it.

Sections are those of RFC 9111 where no other RFC is named.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from hishel import Entry, Headers, Request, Response
from hishel._core._spec import get_freshness_lifetime, vary_headers_match
from tests.read_cache.oracle import (
    SAFE,
    URL,
    Answer,
    Reply,
    Round,
    Step,
    http_date,
    request_of,
    would_give,
    would_store,
)

COMPARED = ("cache-control", "content-type", "etag", "expires", "last-modified", "vary", "x-confirmed")
"""Fields that the origin sends and both caches keep."""
KEPT_SECONDS = 600
"""For which LaunchKit keeps what is stale and can be validated."""
FAILING_SECONDS = 5
"""For which it does not ask again an origin that failed, where a stale answer covers for it."""
STORABLE_STATUSES = {200, 203, 301, 308, 404, 410}


def directives(headers: Mapping[str, str]) -> dict[str, str]:
    """Read a Cache-Control field that is well formed and has no commas in quotes."""
    parts = [part.strip().partition("=") for part in headers.get("cache-control", "").split(",")]
    return {name: value for name, _, value in parts}


def is_personal(headers: Mapping[str, str]) -> bool:
    return "authorization" in headers or "cookie" in headers


def lifetime(headers: Mapping[str, str]) -> float:
    """Return how long an answer is fresh (RFC 9111 section 4.2.1), as hishel reckons."""
    return get_freshness_lifetime(Response(200, Headers(headers)), is_cache_shared=True) or 0


def is_explicit(headers: Mapping[str, str]) -> bool:
    return "expires" in headers or not directives(headers).keys().isdisjoint(("max-age", "s-maxage"))


def is_forbidden(headers: Mapping[str, str]) -> bool:
    """Tell whether LaunchKit takes an answer as one that may not be stored, or not be given unless validated."""
    said = directives(headers).keys()
    return not said.isdisjoint(("private", "no-cache")) or ("no-store" in said and "must-understand" not in said)


@dataclass(frozen=True)
class Case:
    """The last of some rounds."""

    rounds: Sequence[Round]

    @property
    def step(self) -> Step:
        return self.rounds[-1].step

    @property
    def asks(self) -> dict[str, str]:
        """The request's header fields."""
        return dict(self.step.headers)

    @property
    def is_conditional(self) -> bool:
        return "if-none-match" in self.asks or "if-modified-since" in self.asks

    @property
    def ours(self) -> Reply:
        return self.rounds[-1].ours

    @property
    def theirs(self) -> Reply:
        return self.rounds[-1].theirs

    @property
    def differs_in(self) -> str | None:
        """The first thing in which the caches differ."""
        ours, theirs = self.ours, self.theirs
        if (ours.outcome, ours.made) != (theirs.outcome, theirs.made):
            return "source"
        if not ours.is_from_store:
            return None  # what the origin says
        if (ours.status, ours.body) != (theirs.status, theirs.body):
            return "status"
        if any(ours.headers.get(name) != theirs.headers.get(name) for name in COMPARED):
            return "fields"
        if ours.outcome == "stored" and ours.headers["age"] != theirs.headers["age"]:
            return "age"
        return None

    def held(self, reply: Reply) -> Entry | None:
        """Return the entry that hishel has of a reply's answer, as it was before this step."""
        made = str(reply.made)
        return next((one for one in self.rounds[-1].held if one.response.headers.get("x-made") == made), None)

    @property
    def theirs_held(self) -> Entry:
        entry = self.held(self.theirs)
        assert entry is not None
        return entry

    # --- RFC 9111 section 4.2.3 --------------------------------------------------------------------------------------

    def age(self, basis: int) -> float:
        """Return how old the answer or 304 of a step is by now."""
        return self.age_on_arrival(basis) + self.rounds[-1].now - self.rounds[basis].now

    def age_on_arrival(self, basis: int) -> int:
        said = self.rounds[basis].step.answer
        return max(0, -(said.date or 0), said.age or 0)


def basis_of(headers: Mapping[str, str]) -> int:
    """Return the step of the answer, or of the 304, that the freshness of what is stored comes from."""
    return int(headers.get("x-confirmed", headers["x-made"]))


def is_overtaken(case: Case) -> bool:
    """Tell whether something was changed since LaunchKit's answer was made (section 4.4)."""
    since = case.rounds[case.ours.made or 0 : -1]
    return any(one.step.method not in SAFE and one.step.answer.status < 400 for one in since)


def is_good(case: Case) -> bool:
    """Tell whether hishel would give what LaunchKit gives, if it had just that and were asked for it plainly."""
    reply = case.ours
    if reply.made is None or not reply.is_from_store or is_overtaken(case):
        return False
    made = case.rounds[reply.made].step
    basis = basis_of(reply.headers)
    headers = {name: reply.headers[name] for name in (*COMPARED, "date") if name in reply.headers}
    headers.setdefault("date", http_date(case.rounds[basis].now))
    if (
        reply.outcome == "confirmed"
    ):  # then it must suit the request as it was stored, and need be neither fresh nor kept
        headers = made.answer.fields(case.rounds[reply.made].now)
    if "must-understand" in directives(headers):  # section 5.2.2.3: then no-store does not count
        headers["cache-control"] = headers["cache-control"].replace("no-store", "")
    request, response = request_of(made), Response(made.answer.status, Headers(headers))
    plain = Request("GET", URL, Headers({name: case.asks[name] for name in ("accept-language",) if name in case.asks}))
    entry = Entry(uuid.uuid4(), request, response)
    if made.method != "GET" or not would_store(request, response) or not vary_headers_match(plain, entry):
        return False
    return reply.outcome == "confirmed" or (case.age(basis) < lifetime(headers) and would_give(entry, plain))


def is_kept(case: Case) -> bool:
    """Tell whether what a 304 of this step says is kept by LaunchKit: it may be stored, selected as before."""
    if case.ours.outcome != "confirmed" or case.ours.made is None:
        return False
    number = len(case.rounds) - 1
    headers = {"date": http_date(case.rounds[-1].now), **case.ours.headers}
    return not (
        case.step.answer.cookie
        or is_forbidden(headers)
        or not is_explicit(headers)
        or case.age_on_arrival(number) >= lifetime(headers)
        or headers.get("vary") != case.rounds[case.ours.made].step.answer.vary
    )


# --- what LaunchKit does not give, and hishel does --------------------------------------------------------------------


def ours_asks(case: Case) -> bool:
    return case.differs_in == "source" and case.theirs.is_from_store


def on_stored(says: Callable[[Case, Entry], bool]) -> Callable[[Case], bool]:
    """Return a difference that lies in what hishel gives from its store."""
    return lambda case: ours_asks(case) and says(case, case.theirs_held)


def on_confirmed(says: Callable[[Case, Entry], bool]) -> Callable[[Case], bool]:
    """Return a difference that lies in what hishel gives after a 304."""
    return on_stored(lambda case, entry: case.theirs.outcome == "confirmed" and says(case, entry))


def ours_has_not(case: Case, entry: Entry) -> bool:
    """Tell whether LaunchKit did not get the answer, or the 304, that hishel's entry comes from."""
    headers = entry.response.headers
    made, basis = int(headers["x-made"]), basis_of(headers)
    ours = case.rounds[made].ours
    if ours.outcome != "origin" or ours.made != made:
        return True
    then = Case(case.rounds[: basis + 1])
    return basis != made and not (is_kept(then) and then.ours.made == made)


# --- what LaunchKit gives, and hishel does not ------------------------------------------------------------------------


def ours_gives(case: Case) -> bool:
    return case.differs_in == "source" and case.ours.is_from_store and is_good(case)


def theirs_has_not(case: Case) -> bool:
    entry = case.held(case.ours)
    return entry is None or entry.response.headers.get("x-confirmed") != case.ours.headers.get("x-confirmed")


def has_newer(case: Case, entry: Entry) -> bool:
    """Tell whether LaunchKit has stored a later answer than hishel gives, for requests like this one too."""
    made = int(entry.response.headers["x-made"])
    for one in case.rounds[made + 1 : -1]:
        stored = Entry(uuid.uuid4(), request_of(one.step), Response(200, Headers(one.ours.headers)))
        is_stored = one.ours.headers.get("cache-status", "").endswith("; stored")
        if is_stored and vary_headers_match(request_of(case.step), stored):
            return True
    return False


def confirmed_alike(case: Case) -> bool:
    """Tell whether both caches have brought the answer that they give up to date by the same 304s before this step."""
    before = [Case(case.rounds[: number + 1]) for number in range(len(case.rounds) - 1)]
    ours = {str(len(one.rounds) - 1) for one in before if is_kept(one) and one.ours.made == case.ours.made}
    held = [one.held(case.theirs) for one in (*before, case)]
    return ours == {
        one.response.headers["x-confirmed"] for one in held if one and "x-confirmed" in one.response.headers
    }


def validates_another(case: Case) -> bool:
    """Tell whether hishel asked with the validators of another answer than the one that is given."""
    if case.differs_in != "source" or len(case.rounds[-1].held) < 2 or not case.theirs.asked:
        return False
    if case.theirs.outcome == "confirmed":
        return case.theirs.asked[0].get("if-none-match") != case.theirs_held.response.headers.get("etag")
    return ours_gives(case) and case.ours.outcome == "confirmed" and case.theirs.asked[0] != case.ours.asked[0]


VALIDATORS = {"if-none-match": "etag", "if-modified-since": "last-modified"}


def mixes_conditions(case: Case) -> bool:
    """Tell whether hishel validated with conditions of the client's."""
    if not case.is_conditional or case.differs_in != "source" or not case.theirs.asked:
        return False
    if case.theirs.outcome == "confirmed":
        known = case.theirs_held.response.headers
        return any(VALIDATORS[name] not in known for name in VALIDATORS if name in case.asks)
    return ours_gives(case) and case.ours.outcome == "confirmed" and case.theirs.asked[0] != case.ours.asked[0]


def covers_failure(case: Case) -> bool:
    reply = case.ours
    if reply.made is None or reply.outcome not in ("stored", "covered") or is_overtaken(case):
        return False
    window = directives(reply.headers).get("stale-if-error")
    if window is None or case.age(basis_of(reply.headers)) >= lifetime(reply.headers) + int(window):
        return False
    now = case.rounds[-1].now
    failed = [one for one in case.rounds if one.ours.outcome == "covered" and now < one.now + FAILING_SECONDS]
    return bool(failed) and all(one.step.answer.status == 500 for one in failed)


def client_holds(case: Case) -> bool:
    """Tell whether the request's conditions name the answer that LaunchKit gives, by the validators that it has now."""
    headers = case.ours.headers
    given = Answer(etag=headers.get("etag"), modified="last-modified" in headers)
    return case.rounds[case.ours.made or 0].step.answer.status == 200 and given.is_known_by(case.asks)


def differing_fields(case: Case) -> set[str]:
    if case.differs_in != "fields":
        return set()
    return {name for name in COMPARED if case.ours.headers.get(name) != case.theirs.headers.get(name)}


def keeps_tag(case: Case) -> bool:
    """Tell whether the caches differ in nothing but the ETag, which with LaunchKit is as it was made."""
    if differing_fields(case) != {"etag"} or case.ours.made is None or case.ours.confirmed is None:
        return False
    return case.ours.headers.get("etag") == case.rounds[case.ours.made].step.answer.etag


def has_odd_age(answer: Answer) -> bool:
    return bool(answer.age) or (answer.date or 0) > 0


@dataclass(frozen=True)
class Difference:
    """Why the caches may differ, and a sequence whose last step shows it."""

    why: str
    holds: Callable[[Case], bool]
    shown_by: tuple[Step, ...]


FRESH = Answer("max-age=60")
TAGGED = Answer("max-age=60", etag='"a"')


def get(answer: Answer, wait: int = 0, **headers: str) -> Step:
    return Step(answer, headers=tuple((name.replace("_", "-"), value) for name, value in headers.items()), wait=wait)


DIFFERENCES: dict[str, Difference] = {
    # --- LaunchKit asks: rules of its own, for safety
    "personal request": Difference(
        "without a rule, whoever says who is asking gets what the app says to them",
        lambda case: ours_asks(case) and is_personal(case.asks),
        (get(FRESH), get(FRESH, cookie="session=1")),
    ),
    "answer to a personal request": Difference(
        "it is stored only under a rule; RFC 9111 section 3.5 says so of Authorization alone",
        on_stored(lambda case, entry: is_personal(entry.request.headers)),
        (get(FRESH, cookie="session=1"), get(FRESH)),
    ),
    "status": Difference(
        "what is not the same for everyone is not stored, though section 3 allows any status with explicit freshness",
        on_stored(lambda case, entry: entry.response.status_code not in STORABLE_STATUSES),
        (get(replace(FRESH, status=500)), get(FRESH)),
    ),
    "Set-Cookie": Difference(
        "never stored; section 7.3 leaves it to the cache",
        on_stored(lambda case, entry: "set-cookie" in entry.response.headers),
        (get(replace(FRESH, cookie=True)), get(FRESH)),
    ),
    "no heuristics": Difference(
        "what does not say how long it is fresh is not stored, and hence not validated; section 4.2.2 is optional",
        on_stored(lambda case, entry: not is_explicit(entry.response.headers)),
        (get(Answer(modified=True)), get(FRESH)),
    ),
    "forbidden": Difference(
        "no-cache is not stored to be validated, with field names it counts as without, as private does (sections "
        "5.2.2.4, 5.2.2.7); nor is what a 304 forbids to store, which hishel goes on giving",
        on_stored(lambda case, entry: is_forbidden(entry.response.headers)),
        (get(Answer('no-cache="x-user", max-age=60')), get(FRESH)),
    ),
    "answer to HEAD": Difference(
        "it is not stored, having no body; hishel keeps it for further HEADs",
        on_stored(lambda case, entry: entry.request.method == "HEAD"),
        (Step(FRESH, "HEAD"), Step(FRESH, "HEAD")),
    ),
    # --- LaunchKit asks: hishel is wrong
    "age": Difference(
        "Age and a Date in the future count (section 4.2.3); hishel knows only the time since Date",
        on_stored(
            lambda case, entry: (
                case.age(basis_of(entry.response.headers)) >= lifetime(entry.response.headers)
                and case.theirs.outcome == "stored"
            )
        ),
        (get(replace(FRESH, age=50)), get(FRESH, wait=10)),
    ),
    "validated other than 200": Difference(
        "conditions do not apply to it, so a 304 says nothing of it (RFC 9110 section 13.2.1)",
        on_confirmed(lambda case, entry: entry.response.status_code != 200),
        (get(replace(TAGGED, status=404)), get(TAGGED, wait=60)),
    ),
    # --- LaunchKit asks: it need not store or validate everything
    "stale on arrival": Difference(
        "it is not stored to be validated",
        on_confirmed(
            lambda case, entry: (
                case.age_on_arrival(basis_of(entry.response.headers)) >= lifetime(entry.response.headers)
            )
        ),
        (get(replace(TAGGED, control="max-age=0")), get(TAGGED)),
    ),
    "another variant's validators": Difference(
        "a request that no variant answers is not made conditional, though section 4.1 allows it",
        on_confirmed(lambda case, entry: not vary_headers_match(request_of(case.step), entry)),
        (get(replace(TAGGED, vary="accept-language")), get(TAGGED, accept_language="de")),
    ),
    "stale for long": Difference(
        "what can only be validated is given up after some minutes",
        on_confirmed(
            lambda case, entry: (
                case.age(basis_of(entry.response.headers)) >= lifetime(entry.response.headers) + KEPT_SECONDS
            )
        ),
        (get(TAGGED), get(TAGGED, wait=660)),
    ),
    "not got": Difference(
        "where hishel asked, LaunchKit gave what it had, or the other way about: they know different answers",
        on_stored(ours_has_not),
        (get(TAGGED), get(TAGGED, cache_control="no-cache", wait=59), get(FRESH, wait=1)),
    ),
    "newer answer": Difference(
        "of the answers to one kind of request the latest is kept; hishel keeps all, and confirms all of the same tag",
        on_stored(has_newer),
        (get(TAGGED), get(TAGGED, wait=60, range="bytes=0-2"), get(TAGGED, wait=60)),
    ),
    # --- LaunchKit gives
    "HEAD": Difference(
        "a stored GET answers it (section 4); hishel looks for the same method",
        lambda case: ours_gives(case) and case.step.method == "HEAD",
        (get(FRESH), Step(FRESH, "HEAD")),
    ),
    "Range": Difference(
        "a stored whole answers it (RFC 9110 section 14.2); hishel asks",
        lambda case: ours_gives(case) and "range" in case.asks,
        (get(FRESH), get(FRESH, range="bytes=0-2")),
    ),
    "request directives": Difference(
        "they are advice (section 5.2.1), which an origin's own cache does not take",
        lambda case: ours_gives(case) and "cache-control" in case.asks,
        (get(FRESH), get(FRESH, cache_control="no-cache")),
    ),
    "not held": Difference(
        "hishel has it no more, or not as it was confirmed, or was given something else when it asked",
        lambda case: ours_gives(case) and theirs_has_not(case),
        (get(replace(FRESH, age=50)), get(FRESH, wait=10), get(FRESH, wait=50)),
    ),
    "304 not identified": Difference(
        "a 304 to the validators of one stored answer confirms that one; hishel asks again if it has a new ETag, which "
        "section 4.3.4 asks for, or a weak one",
        lambda case: ours_gives(case) and case.ours.outcome == "confirmed" and len(case.theirs.asked) == 2,
        (get(replace(FRESH, modified=True)), get(replace(TAGGED, modified=True), wait=60)),
    ),
    "other validators": Difference(
        "what is validated is what suits the request; hishel takes the latest by Date of all that it may not give",
        validates_another,
        (
            get(replace(TAGGED, control="no-cache", date=5)),
            get(replace(FRESH, etag='"b"')),
            get(replace(FRESH, etag='"b"'), wait=60),
        ),
    ),
    "must-understand": Difference(
        "it lifts no-store (section 5.2.2.3), which hishel does not know",
        lambda case: ours_gives(case) and "must-understand" in directives(case.ours.headers),
        (get(Answer("no-store, must-understand, max-age=60")), get(FRESH)),
    ),
    "stale-if-error": Difference(
        "a stale answer covers for an origin that fails, and for some seconds after (RFC 5861 section 4)",
        lambda case: case.differs_in == "source" and covers_failure(case),
        (get(Answer("max-age=10, stale-if-error=60")), get(Answer(status=500), wait=10)),
    ),
    # --- the client's conditions
    "mixed conditions": Difference(
        "a stored answer is validated by its own validators alone; hishel leaves the client's in where it has none "
        "of a kind, and takes a 304 to them for one to its own",
        mixes_conditions,
        (get(replace(FRESH, modified=True)), get(FRESH, wait=60, if_none_match="*")),
    ),
    "conditions": Difference(
        "a stored answer's validators take the place of the client's conditions, or leave none, so that the answer is "
        "whole; the caches had different answers stored",
        lambda case: (
            case.differs_in == "source"
            and case.ours.outcome == case.theirs.outcome == "origin"
            and case.is_conditional
            and case.ours.asked != case.theirs.asked
        ),
        (get(TAGGED), get(replace(TAGGED, etag='"b"'), wait=660, if_none_match='"b"')),
    ),
    # --- both give the same answer
    "304": Difference(
        "who holds the stored answer is told so (section 4.3.2); hishel sends it again",
        lambda case: case.differs_in == "status" and case.ours.status == 304 and client_holds(case),
        (get(TAGGED), get(TAGGED, if_none_match='"a"')),
    ),
    "entity tag": Difference(
        "the stored one stays, because it names the stored bytes; hishel takes over that of the 304",
        keeps_tag,
        (
            get(replace(TAGGED, modified=True)),
            get(replace(TAGGED, modified=True, etag='W/"a"'), wait=60),
        ),
    ),
    "Set-Cookie in a 304": Difference(
        "the client gets it, and caches further out are told to keep away, where the app says nothing",
        lambda case: (
            differing_fields(case) == {"cache-control"}
            and case.step.answer.cookie
            and case.ours.headers["cache-control"] == "private, no-store"
            and case.theirs.headers.get("cache-control") is None
        ),
        (get(Answer(expires=60, etag='"a"')), get(Answer(etag='"a"', cookie=True), wait=60)),
    ),
    "other 304s": Difference(
        "only one of the caches asked at the time, or kept what the 304 said: LaunchKit does only if it may be stored",
        lambda case: case.differs_in in ("fields", "age") and not confirmed_alike(case),
        (get(TAGGED), get(TAGGED, cache_control="no-cache", wait=1), get(TAGGED, wait=1)),
    ),
    "Age": Difference(
        "Age and a Date in the future count (section 4.2.3); hishel knows only the time since Date",
        lambda case: case.differs_in == "age" and has_odd_age(case.rounds[basis_of(case.ours.headers)].step.answer),
        (get(replace(FRESH, age=30)), get(FRESH)),
    ),
}


def explain(case: Case) -> list[str]:
    """Return the names of the differences that say why the caches differ at a step."""
    return [name for name, difference in DIFFERENCES.items() if difference.holds(case)]
