from __future__ import annotations

from dataclasses import replace
from email.utils import formatdate

import pytest

from launchkit.pipeline.effects import StoredResponse
from launchkit.pipeline.exchange import Header
from launchkit.read_cache.storing import Terms
from launchkit.read_cache.validation import updated, validators_of

UNIX_NOW, NOW = 1_700_000_000.0, 5_000.0
TERMS = Terms(
    ttl=None,
    stale_while_revalidate=0,
    stale_if_error=0,
    vary=(),
    tags=(),
    heuristics=False,
    targets=(b"cdn-cache-control",),
)
MAX_AGE = (b"cache-control", b"max-age=2")


def http_date(seconds_from_now: float) -> bytes:
    return formatdate(UNIX_NOW + seconds_from_now, usegmt=True).encode()


def stored(*headers: Header, status: int = 200, vary: tuple[bytes, ...] = ()) -> StoredResponse:
    return StoredResponse(status, headers, b"hello", 4_000, 4_002, 4_002, 4_002, vary, (None,) * len(vary), route="/a")


def confirmed(
    response: StoredResponse, *headers: Header, terms: Terms = TERMS, personal: bool = False
) -> StoredResponse | None:
    return updated(response, headers, terms, UNIX_NOW, NOW, personal=personal)


class TestValidators:
    @pytest.mark.parametrize("tag", [b'"abc"', b'W/"abc"'])
    def test_a_tag_is_asked_for_as_it_is(self, tag: bytes) -> None:
        """RFC 9111 section 4.3.1: If-None-Match with the stored entity tag, weak or strong."""
        assert validators_of(stored((b"etag", tag))) == ((b"if-none-match", tag),)

    def test_a_date_is_asked_for_as_it_is(self) -> None:
        """RFC 9111 section 4.3.1: If-Modified-Since with the stored Last-Modified, beside the tag."""
        modified = (b"last-modified", http_date(-9))
        assert validators_of(stored(modified)) == ((b"if-modified-since", http_date(-9)),)
        assert validators_of(stored(modified, (b"etag", b'"a"'))) == (
            (b"if-none-match", b'"a"'),
            (b"if-modified-since", http_date(-9)),
        )

    def test_what_is_no_validator_is_not_sent(self) -> None:
        """RFC 9110 sections 8.8.2 and 8.8.3: an unquoted tag and an invalid date are none; Date is none here."""
        assert validators_of(stored((b"etag", b"abc"), (b"last-modified", b"0"), (b"date", http_date(0)))) == ()
        assert validators_of(stored((b"etag", b'"a"'), (b"etag", b'"b"'))) == ()

    @pytest.mark.parametrize("status", [203, 301, 404])
    def test_only_a_200_is_validated(self, status: int) -> None:
        """RFC 9110 section 13.2.1: a 304 to it would say something of another answer."""
        assert validators_of(stored((b"etag", b'"a"'), status=status)) == ()


class TestUpdate:
    @pytest.mark.parametrize(
        "name",
        [
            b"test-header",
            b"x-test-header",
            b"content-foo",
            b"x-content-foo",
            b"content-location",
            b"content-security-policy",
            b"content-type",
            b"x-frame-options",
            b"last-modified",
        ],
    )
    def test_a_header_of_the_304_replaces_the_stored_ones(self, name: bytes) -> None:
        """RFC 9111 section 3.2: field values that are already present are replaced, all lines of them."""
        response = confirmed(stored(MAX_AGE, (name, b"old"), (name, b"older")), (name.title(), b"new"))
        assert response is not None
        assert response.headers == (MAX_AGE, (name, b"new"))

    @pytest.mark.parametrize(
        "name", [b"content-encoding", b"content-length", b"content-md5", b"content-digest", b"etag", b"content-range"]
    )
    def test_what_the_body_depends_on_is_kept(self, name: bytes) -> None:
        """RFC 9111 section 3.2: fields that the stored response depends upon, and Content-Length."""
        response = confirmed(stored(MAX_AGE), (name, b'"new"'))
        assert response is not None
        assert response.headers == (MAX_AGE,)

    def test_the_stored_tag_stays(self) -> None:
        """RFC 9111 section 3.2: the tag names the stored bytes."""
        response = confirmed(stored(MAX_AGE, (b"etag", b'"old"')), (b"etag", b'"new"'))
        assert response is not None
        assert response.headers == (MAX_AGE, (b"etag", b'"old"'))

    def test_a_header_that_the_304_omits_is_kept(self) -> None:
        """RFC 9111 section 4.3.4: the stored response is updated, not replaced."""
        response = confirmed(stored(MAX_AGE, (b"test-header", b"a")), (b"last-modified", http_date(-9)))
        assert response is not None
        assert (b"test-header", b"a") in response.headers

    def test_what_belongs_to_one_answer_is_not_taken(self) -> None:
        """RFC 9111 section 3.1: connection fields and those they list, and ids of the request."""
        of_one_answer = ((b"connection", b"x-hop"), (b"X-Hop", b"1"), (b"keep-alive", b"1"), (b"x-request-id", b"1"))
        response = confirmed(stored(MAX_AGE), *of_one_answer)
        assert response is not None
        assert response.headers == (MAX_AGE,)

    def test_it_is_fresh_anew(self) -> None:
        """RFC 9111 section 4.3.4: from the headers as they are now, with everything else as it was."""
        before = stored(MAX_AGE, vary=(b"origin",))
        before.headers += ((b"vary", b"Origin"),)
        control = (b"cache-control", b"public, max-age=60, stale-while-revalidate=5, stale-if-error=7")
        assert confirmed(before, control, (b"age", b"10")) == replace(
            before,
            headers=((b"vary", b"Origin"), control),
            stored=NOW - 10,
            fresh_until=NOW + 50,
            stale_until=NOW + 55,
            error_until=NOW + 57,
            is_public=True,
        )
        assert before.fresh_until == 4_002

    def test_the_old_date_goes(self) -> None:
        """RFC 9111 section 4.2: age counts from the last successful validation; a 304 without Date was made now."""
        before = stored(MAX_AGE, (b"date", http_date(-1_000)))
        without, with_one = confirmed(before), confirmed(before, (b"date", http_date(-1)))
        assert without is not None
        assert (without.headers, without.stored) == ((MAX_AGE,), NOW)
        assert with_one is not None
        assert (with_one.headers, with_one.stored) == ((MAX_AGE, (b"date", http_date(-1))), NOW - 1)

    @pytest.mark.parametrize(
        "header",
        [
            (b"Set-Cookie", b"a=1"),
            (b"cache-control", b"private, max-age=60"),
            (b"cache-control", b"max-age=0"),
            (b"cdn-cache-control", b"no-store"),
            (b"vary", b"*"),
            (b"Age", b"2"),
        ],
    )
    def test_what_may_not_be_stored_any_more_is_not(self, header: Header) -> None:
        """RFC 9111 section 3: the rules for storing hold for the updated response too."""
        assert confirmed(stored(MAX_AGE)) is not None
        assert confirmed(stored(MAX_AGE), header) is None

    def test_a_response_that_came_to_vary_otherwise_is_not_stored(self) -> None:
        """RFC 9111 section 4.1: what it was selected by is not known for other header fields."""
        assert confirmed(stored(MAX_AGE), (b"vary", b"origin")) is None
        assert confirmed(stored(MAX_AGE, (b"vary", b"origin"), vary=(b"origin",)), (b"vary", b"Origin")) is not None

    def test_an_answer_to_a_known_caller_needs_to_be_public(self) -> None:
        """RFC 9111 section 3.5."""
        assert confirmed(stored(MAX_AGE), personal=True) is None
        assert confirmed(stored(MAX_AGE), (b"cache-control", b"public, max-age=9"), personal=True) is not None
