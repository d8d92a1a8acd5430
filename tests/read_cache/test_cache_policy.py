from __future__ import annotations

import secrets
from email.utils import formatdate

import pytest
from cache_driver import HOST, plain_exchange
from hypothesis import given
from hypothesis import strategies as st

from launchkit.pipeline.exchange import Header
from launchkit.read_cache.policy import Bypass, Storage, request_bypass, sets_cookie, storage_of
from launchkit.settings import CacheRule

RULE = CacheRule(paths="/items/*")
NOW = 1_700_000_000.0


def bypass(*headers: Header, target: bytes = b"/items/1", method: str = "GET", public: bool = False) -> Bypass | None:
    return request_bypass(plain_exchange(target, (HOST, *headers), method), public=public)


def storage(*headers: Header, status: int = 200, rule: CacheRule = RULE) -> Storage | None:
    return storage_of(status, headers, rule, NOW)


def cache_control(value: bytes) -> Header:
    return (b"cache-control", value)


def http_date(seconds_from_now: float) -> bytes:
    return formatdate(NOW + seconds_from_now, usegmt=True).encode()


class TestRequest:
    def test_a_plain_get_may_use_the_cache(self) -> None:
        """RFC 9111 section 4: a stored response may answer a request for the same resource."""
        browser = [
            (b"accept", b"*/*"),
            (b"user-agent", b"browser"),
            (b"sec-fetch-user", b"?1"),
            (b"x-forwarded-for", b"203.0.113.9"),
            (b"x-unknown", b"1"),
        ]
        assert bypass(*browser) is None

    @pytest.mark.parametrize("method", ["HEAD", "POST", "OPTIONS"])
    def test_only_get_is_answered(self, method: str) -> None:
        """RFC 9111 section 4: the method must allow it; this cache understands GET."""
        assert bypass(method=method) is Bypass.METHOD

    @pytest.mark.parametrize("name", [b"range"])
    def test_a_part_is_not_answered(self, name: bytes) -> None:
        """RFC 9111 section 3.3: a cache need not answer Range from complete responses."""
        assert bypass((name, b"bytes=0-1")) is Bypass.RANGE

    @pytest.mark.parametrize("header", [(b"content-length", b"3"), (b"transfer-encoding", b"chunked")])
    def test_a_body_goes_to_the_app(self, header: Header) -> None:
        """RFC 9110 section 9.3.1: content in a GET has no meaning in general, so it can be no part of the key."""
        assert bypass(header) is Bypass.BODY

    def test_an_empty_body_is_none(self) -> None:
        """RFC 9110 section 8.6: Content-Length 0 announces nothing."""
        assert bypass((b"content-length", b"0")) is None

    @pytest.mark.parametrize("name", [b"authorization", b"proxy-authorization"])
    def test_authorization_goes_to_the_app(self, name: bytes) -> None:
        """RFC 9111 section 3.5: a shared cache must not store responses to requests with Authorization."""
        assert bypass((name, secrets.token_bytes(8))) is Bypass.AUTHORIZATION

    @pytest.mark.parametrize("cookies", [b"session=1", b"_ga=1; session=1", b"_gallery_session=1", b"broken"])
    def test_a_cookie_goes_to_the_app(self, cookies: bytes) -> None:
        """Our own rule, since RFC 9111 section 7.3 leaves cookies to the cache: who sends one is someone."""
        assert bypass((b"cookie", cookies)) is Bypass.COOKIE

    @pytest.mark.parametrize(
        "cookies", [b"", b" ; ", b"_ga=1", b"_ga_X=2; _fbp=3;__cf_bm=4", b"_gat_gtag=1; _gac_X=1; _gat=1"]
    )
    def test_cookies_of_analytics_do_not_count(self, cookies: bytes) -> None:
        """Cookies that no app decides by do not make a request personal."""
        assert bypass((b"cookie", cookies)) is None

    def test_one_personal_cookie_line_is_enough(self) -> None:
        """RFC 9113 section 8.2.3: cookies may come in several lines."""
        assert bypass((b"cookie", b"_ga=1"), (b"cookie", b"session=1")) is Bypass.COOKIE

    @pytest.mark.parametrize(
        "name",
        [
            b"x-api-key",
            b"api-key",
            b"apikey",
            b"x-auth-token",
            b"x-goog-api-key",
            b"x-access-token",
            b"x-amz-security-token",
            b"x-shop-token",
            b"x_api_key",
            b"x-session-id",
            b"x-csrf-token",
            b"x-forwarded-user",
            b"x-forwarded-email",
            b"x-auth-request-email",
            b"remote-user",
            b"cf-access-jwt-assertion",
            b"x-ms-client-principal",
            b"x-amzn-oidc-data",
            b"x-forwarded-client-cert",
            b"client-cert",
            b"x-consumer-username",
            b"x-tenant-id",
        ],
    )
    def test_a_header_that_names_an_identity_goes_to_the_app(self, name: bytes) -> None:
        """A header whose name says credential or identity makes a request personal."""
        reason = bypass((name, secrets.token_bytes(8)))
        assert reason is Bypass.CREDENTIAL
        assert reason.personal

    @pytest.mark.parametrize("name", [b"x-http-method-override", b"x-http-method", b"x-method-override"])
    def test_a_method_override_goes_to_the_app(self, name: bytes) -> None:
        """What the key does not cover must not shape what is stored."""
        assert bypass((name, b"DELETE")) is Bypass.METHOD_OVERRIDE

    @pytest.mark.parametrize(
        "header",
        [
            (b"x-forwarded-host", b"evil.example"),
            (b"x-forwarded-host", b"shop.example, evil.example"),
            (b"x-host", b"evil.example"),
            (b"x-original-host", b"evil.example"),
            (b"forwarded", b"for=192.0.2.1;Host = evil.example"),
        ],
    )
    def test_another_host_goes_to_the_app(self, header: Header) -> None:
        """What the key does not cover must not shape what is stored."""
        assert bypass(header) is Bypass.HOST_OVERRIDE

    @pytest.mark.parametrize(
        "header", [(b"x-forwarded-host", b"Shop.Example"), (b"forwarded", b"for=192.0.2.1;proto=https")]
    )
    def test_a_proxy_that_repeats_the_host_does_no_harm(self, header: Header) -> None:
        """An override that only says what Host says changes nothing; many proxies always send it."""
        assert bypass(header) is None

    @pytest.mark.parametrize("name", [b"x-original-url", b"x-rewrite-url", b"x-original-uri", b"x-forwarded-uri"])
    def test_another_target_goes_to_the_app(self, name: bytes) -> None:
        """What the key does not cover must not shape what is stored, unless it repeats what the key covers."""
        assert bypass((name, b"/admin")) is Bypass.TARGET_OVERRIDE
        assert bypass((name, b"/items/1?b=2"), target=b"/items/1?a=1") is Bypass.TARGET_OVERRIDE
        assert bypass((name, b"/items/1?a=1"), target=b"/items/1?a=1") is None
        assert bypass((name, b"/items/1"), target=b"/items/1?a=1") is None

    def test_a_public_rule_leaves_what_it_hides_out_of_account(self) -> None:
        """Cookie and Authorization are hidden from the app there; other credentials still count."""
        hidden = [(b"cookie", b"session=1"), (b"authorization", secrets.token_bytes(8))]
        assert bypass(*hidden, public=True) is None
        assert bypass(*hidden, (b"x-api-key", secrets.token_bytes(8)), public=True) is Bypass.CREDENTIAL

    def test_a_personal_reason_is_told_before_others(self) -> None:
        """Whether a response may be shared further out depends on it."""
        reason = bypass((b"range", b"bytes=0-"), (b"cookie", b"session=1"), method="HEAD")
        assert reason is Bypass.COOKIE
        assert not Bypass.RANGE.personal


class TestResponse:
    @pytest.mark.parametrize("status", [200, 203, 301, 308, 404, 410])
    def test_lasting_answers_may_be_stored(self, status: int) -> None:
        """RFC 9110 section 15.1: statuses that are cacheable, of which this cache takes the lasting ones."""
        assert storage(status=status) == Storage(age=0, fresh=30, stale=60, vary=())

    @pytest.mark.parametrize("status", [100, 103, 201, 202, 204, 206, 302, 304, 307, 400, 401, 403, 405, 414, 500, 503])
    def test_other_answers_are_not_stored(self, status: int) -> None:
        """RFC 9111 section 3: the status must be final and understood; errors and partial content never are here."""
        assert storage(cache_control(b"max-age=60"), status=status) is None

    @pytest.mark.parametrize("directive", [b"no-store", b"private", b"no-cache", b'private="x"', b"NO-STORE"])
    def test_what_the_app_keeps_to_itself_is_not_stored(self, directive: bytes) -> None:
        """RFC 9111 sections 5.2.2.4, 5.2.2.5 and 5.2.2.7."""
        assert storage(cache_control(b"max-age=60, " + directive)) is None

    def test_a_response_that_sets_a_cookie_is_not_stored(self) -> None:
        """Stricter than RFC 9111 section 7.3: never, even when public."""
        header = (b"Set-Cookie", b"a=1")
        assert storage(header, cache_control(b"public, max-age=60")) is None
        assert sets_cookie([header])
        assert not sets_cookie([(b"cookie", b"a=1")])

    def test_a_part_is_not_stored(self) -> None:
        """RFC 9111 section 3.3: parts are not combined here."""
        assert storage((b"content-range", b"bytes 0-1/2")) is None

    @pytest.mark.parametrize(
        "kind", [b"text/event-stream", b"Text/Event-Stream; charset=utf-8", b"multipart/x-mixed-replace"]
    )
    def test_a_stream_of_events_is_not_stored(self, kind: bytes) -> None:
        """It has no end that could be stored."""
        assert storage((b"content-type", kind)) is None

    @pytest.mark.parametrize(
        ("value", "fresh"),
        [
            (b"max-age=90", 90),
            (b"max-age=5", 5),
            (b"max-age=0, s-maxage=70", 70),
            (b"max-age=90, s-maxage=7", 7),
            (b"public", 30),
        ],
    )
    def test_what_the_response_says_wins_over_the_rule(self, value: bytes, fresh: int) -> None:
        """RFC 9111 section 4.2.1: s-maxage, then max-age; the rule's ttl only without either."""
        kept = storage(cache_control(value))
        assert kept is not None
        assert kept.fresh == fresh

    @pytest.mark.parametrize("value", [b"max-age=0", b"max-age=60, s-maxage=0", b"max-age=soon"])
    def test_without_time_nothing_is_stored(self, value: bytes) -> None:
        """RFC 9111 section 4.2: what is stale on arrival would never be used."""
        assert storage(cache_control(value)) is None

    @pytest.mark.parametrize("age", [b"60", b"61", b"9" * 40])
    def test_age_on_arrival_counts(self, age: bytes) -> None:
        """RFC 9111 section 4.2.3: the Age header is part of the age."""
        assert storage(cache_control(b"max-age=60"), (b"age", age)) is None

    def test_age_on_arrival_is_kept(self) -> None:
        """RFC 9111 section 4.2.3; an Age that is none is ignored (section 5.1)."""
        assert storage(cache_control(b"max-age=60"), (b"age", b"20")).age == 20
        assert storage(cache_control(b"max-age=60"), (b"age", b"old")).age == 0

    def test_expires_counts_from_date(self) -> None:
        """RFC 9111 section 4.2.1: Expires minus Date, where no max-age is given."""
        expires = (b"expires", http_date(100))
        assert storage(expires, (b"date", http_date(20))).fresh == 80
        assert storage(expires).fresh == 100
        assert storage(expires, (b"date", b"today")).fresh == 100
        assert storage(expires, cache_control(b"max-age=5")).fresh == 5

    @pytest.mark.parametrize("value", [b"0", b"-1", b"", b"never", http_date(0), http_date(-5)])
    def test_expired_or_invalid_expires_is_stale(self, value: bytes) -> None:
        """RFC 9111 section 5.3: an invalid date, the value 0 above all, lies in the past."""
        assert storage((b"expires", value)) is None

    @given(st.binary(max_size=60))
    def test_no_expires_breaks_the_policy(self, value: bytes) -> None:
        """Whatever an app sends, the answer is a decision."""
        kept = storage((b"expires", value))
        assert kept is None or kept.fresh > 0

    @pytest.mark.parametrize(
        "value",
        [
            b"max-age=9, must-revalidate",
            b"max-age=9, proxy-revalidate",
            b"s-maxage=9",
            b"s-maxage=9, stale-while-revalidate=9",
        ],
    )
    def test_stale_is_forbidden_by_the_response(self, value: bytes) -> None:
        """RFC 9111 section 4.2.4: must-revalidate, proxy-revalidate and s-maxage forbid it, whatever the rule."""
        assert storage(cache_control(value)).stale == 0

    def test_the_response_sets_its_own_stale_window(self) -> None:
        """RFC 5861 section 3."""
        assert storage(cache_control(b"max-age=9, stale-while-revalidate=7")).stale == 7
        assert storage(cache_control(b"max-age=9, stale-while-revalidate=0")).stale == 0

    def test_vary_names_what_selects(self) -> None:
        """RFC 9111 section 4.1, together with what the rule names."""
        rule = CacheRule(paths="/items/*", vary=("Accept-Language",))
        kept = storage((b"Vary", b"Origin, accept-LANGUAGE,"), (b"vary", b"x-a"), rule=rule)
        assert kept.vary == (b"accept-language", b"origin", b"x-a")

    @pytest.mark.parametrize("value", [b"*", b"origin, *"])
    def test_vary_by_everything_is_not_stored(self, value: bytes) -> None:
        """RFC 9111 section 4.1: a stored response with Vary * never matches."""
        assert storage((b"vary", value)) is None

    def test_a_compressed_response_varies_by_accept_encoding(self) -> None:
        """RFC 9110 section 12.5.3: who did not ask for a coding must not get it, whether the app says so or not."""
        assert storage((b"content-encoding", b"gzip")).vary == (b"accept-encoding",)
