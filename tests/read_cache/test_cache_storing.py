from __future__ import annotations

from dataclasses import replace
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchkit.pipeline.exchange import Header
from launchkit.read_cache.storing import Storage, Terms, Unstorable, storage_of, tags_of

NOW = 1_700_000_000.0
DAY = 86_400
RULE = Terms(
    ttl=30,
    stale_while_revalidate=60,
    stale_if_error=90,
    vary=(),
    tags=(),
    heuristics=False,
    targets=(b"launchkit-cache-control", b"cdn-cache-control"),
)
EXPLICIT = replace(RULE, ttl=None, stale_while_revalidate=0, stale_if_error=0)
GUESSING = replace(EXPLICIT, heuristics=True)


def decided(*headers: Header, status: int = 200, terms: Terms = RULE, personal: bool = False) -> Storage | Unstorable:
    return storage_of(status, headers, terms, NOW, personal=personal)


def stored(*headers: Header, status: int = 200, terms: Terms = RULE, personal: bool = False) -> Storage:
    storage = decided(*headers, status=status, terms=terms, personal=personal)
    assert isinstance(storage, Storage), storage
    return storage


def says(value: bytes) -> Header:
    return (b"Cache-Control", value)


def http_date(seconds_from_now: float) -> bytes:
    return formatdate(NOW + seconds_from_now, usegmt=True).encode()


class TestWhetherAtAll:
    @pytest.mark.parametrize("status", [200, 203, 301, 308, 404, 410])
    def test_lasting_answers_may_be_stored(self, status: int) -> None:
        """RFC 9110 section 15.1: statuses that are cacheable, of which this cache takes the lasting ones."""
        expected = Storage(age=0, fresh=30, stale=60, error=90, vary=(), is_public=False, tags=())
        assert decided(status=status) == expected

    @pytest.mark.parametrize("status", [100, 103, 201, 204, 206, 302, 304, 307, 400, 401, 403, 405, 414, 500, 503, 599])
    def test_other_answers_are_not_stored(self, status: int) -> None:
        """RFC 9111 section 3: the status must be final and understood; errors and partial content never are here."""
        assert decided(says(b"public, max-age=60"), status=status) is Unstorable.STATUS

    def test_a_response_that_sets_a_cookie_is_not_stored(self) -> None:
        """RFC 9111 section 7.3 leaves it to the cache: never, even when public."""
        assert decided((b"Set-Cookie", b"a=1"), says(b"public, max-age=60")) is Unstorable.SET_COOKIE

    def test_a_part_is_not_stored(self) -> None:
        """RFC 9111 section 3.3: parts are not combined here."""
        assert decided((b"content-range", b"bytes 0-1/2")) is Unstorable.PARTIAL

    @pytest.mark.parametrize(
        "kind",
        [
            b"text/event-stream",
            b" Text/Event-Stream; charset=utf-8",
            b"multipart/x-mixed-replace; boundary=x",
            b"application/grpc+proto",
        ],
    )
    def test_a_stream_is_not_stored(self, kind: bytes) -> None:
        """RFC 9111 section 3.3: only what has an end is ever complete."""
        assert decided((b"content-type", kind), says(b"max-age=60")) is Unstorable.STREAM

    @pytest.mark.parametrize(
        ("directive", "reason"),
        [
            (b"no-store", Unstorable.NO_STORE),
            (b"No-STORE", Unstorable.NO_STORE),
            (b"private", Unstorable.PRIVATE),
            (b'private="x"', Unstorable.PRIVATE),
            (b"no-cache", Unstorable.NO_CACHE),
            (b'no-cache="x"', Unstorable.NO_CACHE),
        ],
    )
    def test_what_the_app_keeps_to_itself_is_not_stored(self, directive: bytes, reason: Unstorable) -> None:
        """RFC 9111 sections 5.2.2.4, 5.2.2.5 and 5.2.2.7, whatever else is said."""
        assert decided(says(b"public, max-age=60"), says(directive), (b"expires", http_date(60))) is reason

    def test_a_status_that_must_be_understood_is(self) -> None:
        """RFC 9111 section 5.2.2.3: no-store stands for those who do not understand the status."""
        assert stored(says(b"max-age=60, no-store, must-understand")).fresh == 60
        assert decided(says(b"max-age=60, must-understand, private, no-store")) is Unstorable.PRIVATE
        assert decided(says(b"max-age=60, no-store, must-understand"), status=599) is Unstorable.STATUS

    @pytest.mark.parametrize("value", [b"*", b"*, *", b", *", b"*, origin", b"origin, *"])
    def test_vary_by_everything_is_not_stored(self, value: bytes) -> None:
        """RFC 9111 section 4.1: a stored response with Vary * never matches."""
        assert decided((b"vary", value)) is Unstorable.VARY
        assert decided((b"vary", b""), (b"vary", value)) is Unstorable.VARY

    def test_pragma_means_nothing(self) -> None:
        """RFC 9111 section 5.4: it is not defined for responses."""
        assert stored((b"pragma", b"no-cache"), says(b"max-age=60")).fresh == 60

    @pytest.mark.parametrize("value", [b"max-age=60", b"max-age=60, must-revalidate"])
    def test_an_answer_to_a_known_caller_is_not_stored(self, value: bytes) -> None:
        """RFC 9111 section 3.5, without must-revalidate: it is sent with pages that are personal."""
        assert decided(says(value), personal=True) is Unstorable.PERSONAL
        assert decided(personal=True) is Unstorable.PERSONAL

    @pytest.mark.parametrize("value", [b"public, max-age=60", b"s-maxage=60", b"public"])
    def test_unless_it_says_that_it_is_for_everyone(self, value: bytes) -> None:
        """RFC 9111 section 3.5: public and s-maxage allow it, and such a response is given to known callers too."""
        assert stored(says(value), personal=True).is_public
        assert stored(says(value)).is_public

    def test_a_reason_is_a_token(self) -> None:
        """RFC 9211 section 2.8: the detail of Cache-Status is a Token or a String."""
        assert all(reason.replace("-", "").isalpha() for reason in Unstorable)


class TestFreshness:
    @pytest.mark.parametrize(
        ("value", "fresh"),
        [
            (b"max-age=90", 90),
            (b'max-age="90"', 90),
            (b"max-age=5", 5),
            (b"max-age=0, s-maxage=70", 70),
            (b"max-age=90, s-maxage=7", 7),
            (b"s-maxage=7, max-age=90", 7),
            (b"max-age=99999999999", 2**31),
            (b"public", 30),
        ],
    )
    def test_what_the_response_says_wins_over_the_rule(self, value: bytes, fresh: int) -> None:
        """RFC 9111 section 4.2.1: s-maxage, then max-age; the rule's ttl only without either."""
        assert stored(says(value)).fresh == fresh

    @pytest.mark.parametrize("value", [b"max-age=0", b"max-age=60, s-maxage=0", b"max-age=soon", b"max-age=-1"])
    def test_neither_rule_nor_guess_makes_fresh_what_says_it_is_not(self, value: bytes) -> None:
        """RFC 9111 section 4.2: what is stale on arrival would never be used, and section 4.2.2 forbids the guess."""
        old = (b"last-modified", http_date(-DAY))
        assert decided(says(value), old, (b"expires", http_date(60))) is Unstorable.STALE
        assert decided(says(value), old, terms=GUESSING) is Unstorable.STALE

    def test_without_a_rule_only_what_says_so_is_fresh(self) -> None:
        """RFC 9111 section 4.2.2: a heuristic may be used, and by default none is."""
        assert decided((b"last-modified", http_date(-DAY)), terms=EXPLICIT) is Unstorable.NO_FRESHNESS
        assert decided(says(b"public"), terms=EXPLICIT) is Unstorable.NO_FRESHNESS
        assert stored(says(b"max-age=9"), terms=EXPLICIT).fresh == 9

    def test_expires_counts_from_date(self) -> None:
        """RFC 9111 section 4.2.1: Expires minus Date, where no max-age is given; without Date, from now."""
        expires = (b"expires", http_date(100))
        assert stored(expires, (b"date", http_date(20))).fresh == 80
        assert stored(expires, (b"date", http_date(-10))) == replace(stored(expires), age=10, fresh=110)
        assert stored(expires).fresh == 100
        assert stored(expires, (b"date", b"today")).fresh == 100
        assert stored(expires, (b"date", http_date(20)), (b"date", http_date(40))).fresh == 100
        assert stored(expires, says(b"max-age=5")).fresh == 5

    def test_a_date_at_the_beginning_of_time_is_a_date(self) -> None:
        """RFC 9111 section 4.2.3: an app that sends a fixed Date sends old responses."""
        assert decided((b"date", formatdate(0, usegmt=True).encode()), says(b"max-age=60")) is Unstorable.STALE

    @pytest.mark.parametrize(
        "value",
        [b"0", b"-1", b"", b"never", http_date(0), http_date(-5), http_date(60).replace(b"GMT", b"UTC")],
    )
    def test_expired_or_invalid_expires_is_stale(self, value: bytes) -> None:
        """RFC 9111 section 5.3: an invalid date, the value 0 above all, lies in the past."""
        assert decided((b"expires", value)) is Unstorable.STALE

    def test_expires_that_contradict_each_other_are_invalid(self) -> None:
        """RFC 9111 section 4.2.1: in doubt stale; the same line twice is no contradiction."""
        assert decided((b"expires", http_date(60)), (b"expires", http_date(61))) is Unstorable.STALE
        assert stored((b"expires", http_date(60)), (b"expires", http_date(60))).fresh == 60

    @pytest.mark.parametrize(("days", "fresh"), [(0.5, 0.05 * DAY), (1, 0.1 * DAY), (10, DAY), (400, DAY)])
    def test_a_guess_is_a_tenth_of_the_time_unchanged(self, days: float, fresh: float) -> None:
        """RFC 9111 section 4.2.2: a typical fraction is 10 %; a day at most."""
        modified = (b"last-modified", http_date(-days * DAY))
        assert stored(modified, terms=GUESSING).fresh == pytest.approx(fresh)
        assert stored(modified, (b"date", http_date(0)), terms=GUESSING).fresh == pytest.approx(fresh)

    def test_a_guess_needs_something_to_go_by(self) -> None:
        """RFC 9111 section 4.2.2: nothing explicit, and a valid Last-Modified in the past."""
        assert decided(terms=GUESSING) is Unstorable.NO_FRESHNESS
        assert decided((b"last-modified", b"0"), terms=GUESSING) is Unstorable.NO_FRESHNESS
        assert decided((b"last-modified", http_date(9)), terms=GUESSING) is Unstorable.STALE
        assert decided((b"last-modified", http_date(-DAY)), (b"expires", b"0"), terms=GUESSING) is Unstorable.STALE
        assert stored((b"last-modified", http_date(-DAY)), terms=replace(RULE, heuristics=True)).fresh == 30

    @given(
        st.sampled_from([b"expires", b"date", b"age", b"vary", b"cache-tag", b"last-modified"]), st.binary(max_size=60)
    )
    def test_no_header_breaks_the_policy(self, name: bytes, value: bytes) -> None:
        """RFC 9111 section 3: whatever an app sends, the answer is a decision."""
        kept = decided((name, value), terms=replace(RULE, heuristics=True))
        assert isinstance(kept, Unstorable) or kept.fresh > kept.age


class TestAge:
    @pytest.mark.parametrize("age", [b"60", b"61", b"2147483648", b"9" * 40, b"7200, 0"])
    def test_age_on_arrival_counts(self, age: bytes) -> None:
        """RFC 9111 section 4.2.3: the Age header is part of the age."""
        assert decided(says(b"max-age=60"), (b"age", age)) is Unstorable.STALE

    @pytest.mark.parametrize(
        ("values", "age"),
        [
            ([b"20"], 20),
            ([b" 020 "], 20),
            ([b"0, 7200"], 0),
            ([b"20, 20"], 20),
            ([b"0", b"7200"], 0),
            ([b"20", b"0"], 20),
        ],
    )
    def test_of_several_ages_the_first_counts(self, values: list[bytes], age: int) -> None:
        """RFC 9111 section 5.1: the first member of a list is used."""
        assert stored(says(b"max-age=60"), *((b"Age", value) for value in values)).age == age

    @pytest.mark.parametrize("value", [b"abc", b"-7200", b"7200.0", b"7200;foo=bar", b"", b'"7200"'])
    def test_an_invalid_age_is_ignored(self, value: bytes) -> None:
        """RFC 9111 section 5.1: what is no non-negative integer is ignored."""
        assert stored(says(b"max-age=60"), (b"age", value)).age == 0

    def test_the_greater_of_age_and_apparent_age_counts(self) -> None:
        """RFC 9111 section 4.2.3: a clock that is ahead makes nothing younger."""
        control, old = says(b"max-age=60"), (b"date", http_date(-25))
        assert stored(control, old).age == 25
        assert stored(control, old, (b"age", b"20")).age == 25
        assert stored(control, old, (b"age", b"40")).age == 40
        assert stored(control, (b"date", http_date(25))).age == 0
        assert decided(control, (b"date", http_date(-60))) is Unstorable.STALE


class TestStaleWindows:
    @pytest.mark.parametrize(
        "value", [b"max-age=9, must-revalidate", b"max-age=9, proxy-revalidate", b"s-maxage=9", b"public, s-maxage=9"]
    )
    @pytest.mark.parametrize("asked", [b"", b", stale-while-revalidate=9, stale-if-error=9"])
    def test_stale_is_forbidden_by_the_response(self, value: bytes, asked: bytes) -> None:
        """RFC 9111 sections 4.2.4 and 5.2.2.10: must-revalidate, proxy-revalidate and s-maxage, whatever the rule."""
        storage = stored(says(value + asked))
        assert (storage.stale, storage.error) == (0, 0)

    def test_the_response_sets_its_own_windows(self) -> None:
        """RFC 5861 sections 3 and 4: what it says wins over the rule, zero too."""
        longer = stored(says(b"max-age=9, stale-while-revalidate=700, stale-if-error=800"))
        none = stored(says(b"max-age=9, stale-while-revalidate=0, stale-if-error=0"))
        assert (longer.stale, longer.error) == (700, 800)
        assert (none.stale, none.error) == (0, 0)

    def test_what_is_stale_on_arrival_is_stored_for_its_own_window_only(self) -> None:
        """RFC 5861 section 3: the response may ask to be given stale, a rule may not for what was never fresh."""
        storage = stored(says(b"max-age=0, stale-while-revalidate=20"))
        assert (storage.fresh, storage.stale) == (0, 20)
        assert stored(says(b"max-age=9, stale-while-revalidate=20"), (b"age", b"28")).age == 28
        assert decided(says(b"max-age=9, stale-while-revalidate=20"), (b"age", b"29")) is Unstorable.STALE
        assert decided(says(b"max-age=9"), (b"age", b"9")) is Unstorable.STALE
        assert decided(says(b"max-age=0, stale-while-revalidate=20, must-revalidate")) is Unstorable.STALE


class TestTargets:
    def test_a_targeted_field_replaces_cache_control_and_expires(self) -> None:
        """RFC 9213 section 2.2: they are ignored, what they forbid and allow alike."""
        field = (b"CDN-Cache-Control", b"max-age=70")
        assert stored(field, says(b"no-store")).fresh == 70
        assert stored(field, says(b"max-age=1"), (b"expires", b"0")).fresh == 70
        assert not stored(field, says(b"public, s-maxage=1")).is_public
        assert stored((b"cdn-cache-control", b"none"), (b"expires", http_date(9))).fresh == 30
        assert decided((b"cdn-cache-control", b"none"), says(b"max-age=9"), terms=EXPLICIT) is Unstorable.NO_FRESHNESS

    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            (b"private", Unstorable.PRIVATE),
            (b"no-store", Unstorable.NO_STORE),
            (b"no-cache", Unstorable.NO_CACHE),
            (b"max-age=0", Unstorable.STALE),
            (b'max-age="10000"', Unstorable.STALE),
        ],
    )
    def test_a_targeted_field_forbids_alone(self, value: bytes, reason: Unstorable) -> None:
        """RFC 9213 section 2.2: also where Cache-Control would allow."""
        assert decided((b"cdn-cache-control", value), says(b"max-age=60"), (b"expires", http_date(60))) is reason

    @pytest.mark.parametrize("value", [b"max-age=100, &&&&&", b"max-age =100", b"MaX-aGe=100", b""])
    def test_an_invalid_targeted_field_is_ignored(self, value: bytes) -> None:
        """RFC 9213 section 2.1: Cache-Control counts again."""
        assert decided((b"cdn-cache-control", value), says(b"no-store")) is Unstorable.NO_STORE
        assert stored((b"cdn-cache-control", value), (b"expires", http_date(60))).fresh == 60

    def test_only_fields_on_the_list_are_obeyed(self) -> None:
        """RFC 9213 section 2.2: the list is the cache's, best first."""
        both = ((b"cdn-cache-control", b"max-age=5"), (b"launchkit-cache-control", b"max-age=7"))
        assert stored(*both).fresh == 7
        assert stored(*both, terms=replace(RULE, targets=())).fresh == 30


class TestNames:
    def test_vary_names_what_selects(self) -> None:
        """RFC 9111 section 4.1, together with what the rule names."""
        terms = replace(RULE, vary=(b"accept-language",))
        headers = ((b"Vary", b"Origin, accept-LANGUAGE,"), (b"vary", b"x-a"))
        assert stored(*headers, terms=terms).vary == (b"accept-language", b"origin", b"x-a")
        assert stored(terms=terms).vary == (b"accept-language",)

    def test_a_compressed_response_varies_by_accept_encoding(self) -> None:
        """RFC 9110 section 12.5.3: who did not ask for a coding must not get it, whether the app says so or not."""
        assert stored((b"content-encoding", b"gzip")).vary == (b"accept-encoding",)

    def test_tags_are_the_rules_and_the_responses(self) -> None:
        """RFC 9111 section 4.4 leaves further invalidation to the cache: tags are read from `Cache-Tag`."""
        terms = replace(RULE, tags=("products",))
        headers = ((b"Cache-Tag", b"item-1, products,,"), (b"cache-tag", b" caf\xe9"))
        assert stored(*headers, terms=terms).tags == ("products", "item-1", "caf\xe9")
        assert tags_of(headers, terms) == stored(*headers, terms=terms).tags
        assert stored(terms=terms).tags == ("products",)
