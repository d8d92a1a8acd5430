"""Personal data is found in the shapes that log lines have, and nothing else is taken for it."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.growth import grows_linearly

from launchkit.redaction.found import marker
from launchkit.redaction.personal import FINDERS, addresses, cards, emails, ibans, phones


def hidden(name: str, text: str) -> str:
    for found in sorted(FINDERS[name](text), key=lambda found: -found.start):
        text = text[: found.start] + marker(found.rule) + text[found.end :]
    return text


def luhn(prefix: str, length: int) -> str:
    """Return a number with a good last digit."""
    body = prefix + "".join(random.choices("0123456789", k=length - len(prefix) - 1))
    doubled = [int(digit) * (2 - index % 2) for index, digit in enumerate(reversed(body))]
    total = sum(digit - 9 if digit > 9 else digit for digit in doubled)
    return body + str(-total % 10)


def account(country: str, rest: str) -> str:
    """Return an account number with good check digits."""
    digits = "".join(str(int(character, 36)) for character in rest + country + "00")
    return f"{country}{98 - int(digits) % 97:02d}{rest}"


def grouped(number: str, gap: str = " ") -> str:
    return gap.join(number[i : i + 4] for i in range(0, len(number), 4))


# --- e-mail addresses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mail to bob.smith+news@example.com. Then", "mail to [redacted:email]@example.com. Then"),
        ("<bob@mail.example.co.uk>", "<[redacted:email]@mail.example.co.uk>"),
        ("jürgen@bücher.de, 用户@例子.公司", "[redacted:email]@bücher.de, [redacted:email]@例子.公司"),
        ("x@xn--bcher-kva.xn--p1ai", "[redacted:email]@xn--bcher-kva.xn--p1ai"),
        ("somebody@163.com:pass", "[redacted:email]@163.com:pass"),
        ('by "john doe"@example.com', "by [redacted:email]@example.com"),
        ("to sean.o'brien@example.com", "to [redacted:email]@example.com"),
        ("?email=bob%40example.com&x=1", "?email=[redacted:email]%40example.com&x=1"),
        ("q=email%3Dbob%2Bnews%40example.com%22", "q=email%3D[redacted:email]%40example.com%22"),
        ("jos%C3%A9%40example.com", "[redacted:email]%40example.com"),
        (r'{"m": "hi\nbob@example.com"}', r'{"m": "hi\n[redacted:email]@example.com"}'),
        (r'"a\u003djos\u00e9@example.com"', r'"a\u003d[redacted:email]@example.com"'),
        (r"b'jos\xc3\xa9@example.com'", "b'[redacted:email]@example.com'"),
        ("smtp://bob%40example.com:x@mail.example.com", "smtp://[redacted:email]%40example.com:x@mail.example.com"),
        ("https://example.com?email=bob@example.org", "https://example.com?email=[redacted:email]@example.org"),
        ("exports/bob@example.com.csv", "exports/[redacted:email]@example.com.csv"),
        ("mailto:-bob@example.com", "mailto:-[redacted:email]@example.com"),
    ],
)
def test_the_local_part_of_an_email_address_is_found(text: str, expected: str) -> None:
    """The domain and everything around the address stay as they are, escapes included."""
    assert hidden("emails", text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "git@github.com:org/repo.git",
        "user@sha256:0f3c",
        "@types/node @app.route('/')",
        "package@1.2.3 lodash@4.17.21.tgz golang.org/x/net@v0.17.0 tool@1.0.0.dev",
        "https://app@localhost/ postgres://app@db.example.com/x https://app:pw@db.example.com/x",
        "https://example.com/@some.name",
        "getty@tty1.service postgresql@14-main.service user@1000.slice",
        "logo@2x.png chunk@abc.js",
        "celery@worker-1.eu-west-1.compute.internal ready, root@printer.local",
        "rsync deploy@web.example.com:/srv",
        "[redacted:email]@example.com [redacted:email:1a2b3c4d]@example.com",
        "a @ b.c, 3 @ 5.50, @@ -1,3 +1,3 @@",
    ],
)
def test_what_only_looks_like_an_email_address_stays(text: str) -> None:
    """Versions, units, users of URLs and hosts are nobody's address."""
    assert emails(text) == []


# --- cards -----------------------------------------------------------------------------------------------------------

NETWORKS = [("4", 13), ("4", 16), ("4", 19), ("51", 16), ("2221", 16), ("2720", 16), ("34", 15), ("37", 15)]
NETWORKS += [("300", 14), ("36", 14), ("6011", 16), ("65", 16), ("3528", 16), ("62", 16), ("2200", 16), ("6759", 16)]


@pytest.mark.parametrize(("prefix", "length"), NETWORKS)
def test_card_numbers_of_every_network_are_found(prefix: str, length: int) -> None:
    """A number of an issuer's range with a good checksum is a card, and with any other last digit is none."""
    number = luhn(prefix, length)
    assert hidden("cards", f"card={number},12/30") == "card=[redacted:card],12/30"
    for wrong in range(1, 10):
        assert cards(f"card={number[:-1]}{(int(number[-1]) + wrong) % 10}") == []


@pytest.mark.parametrize("gap", [" ", "-", "+", "%20", "\u00a0"])
def test_card_numbers_are_found_as_cards_show_them(gap: str) -> None:
    """Groups of four, and those of American Express; the security code behind it is no part of it."""
    number, american = luhn("4", 16), luhn("37", 15)
    assert hidden("cards", f"<{grouped(number, gap)}>") == "<[redacted:card]>"
    assert hidden("cards", gap.join((american[:4], american[4:10], american[10:]))) == "[redacted:card]"
    code = (int(luhn(number + "12", 19)[-1]) + 1) % 10  # not by chance a good longer number
    assert hidden("cards", f"{grouped(number, gap)}{gap}12{code}") == f"[redacted:card]{gap}12{code}"
    assert hidden("cards", grouped(luhn("4", 19), gap)) == "[redacted:card]"


def test_card_numbers_are_found_behind_escapes() -> None:
    """Two hexadecimal digits of an escape are not the beginning of the number."""
    number = luhn("4", 16)
    assert hidden("cards", rf"card%3D{number} %20{number} \n{number}") == (
        r"card%3D[redacted:card] %20[redacted:card] \n[redacted:card]"
    )


def test_numbers_inside_other_things_are_no_cards() -> None:
    """Ids, decimals, longer runs and times are left alone, whatever their checksum is."""
    number = luhn("4", 16)
    for text in (
        f"id{number}",
        f"x-{number}",
        f"0.{number}",
        f"{number}.5",
        f"{number}-abc",
        f"{number}ab",
        f"1{number}",
    ):
        assert cards(text) == []
    assert cards("1700000000000 1700000000000000 1700000000000000000 20240101120000 9" + luhn("9", 16)) == []


# --- accounts --------------------------------------------------------------------------------------------------------

ACCOUNTS = [("DE", "370400440532013000"), ("GB", "WEST12345698765432"), ("NO", "86011117947")]
ACCOUNTS += [("FR", "20041010050500013M02606"), ("MT", "MALT011000012345MTLCAST001S"), ("BE", "539007547034")]


@pytest.mark.parametrize(("country", "rest"), ACCOUNTS)
def test_account_numbers_are_found(country: str, rest: str) -> None:
    """In one piece and in groups of four, but not with wrong check digits, or inside something."""
    number = account(country, rest)
    assert hidden("ibans", f"to {number}, {grouped(number)} PAID") == "to [redacted:iban], [redacted:iban] PAID"
    assert hidden("ibans", f"?iban%3D{grouped(number, '%20')}&") == "?iban%3D[redacted:iban]&"
    wrong = country + f"{(int(number[2:4]) + 1) % 97:02d}" + rest
    assert ibans(f"{wrong} X{number} {number}9 {number[:-1]}") == []


def test_other_countries_have_no_account_numbers() -> None:
    """Letters that are no country of the registry's begin no account."""
    assert ibans(account("XX", "370400440532013000")) == []


# --- phones ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("call +49 170 1234567 now", "call [redacted:phone] now"),
        ("+1 (415) 555-2671, +14155552671", "[redacted:phone], [redacted:phone]"),
        ("+44 (0)20 7946 0000", "[redacted:phone]"),
        ("to=%2B4915112345678&x=1", "to=[redacted:phone]&x=1"),
        ("phone=4155552671", "phone=[redacted:phone]"),
        ('{"phone_number": "0170/1234567"}', '{"phone_number": "[redacted:phone]"}'),
        (r'"{\"homePhone\": \"415 555 2671\"}"', r'"{\"homePhone\": \"[redacted:phone]\"}"'),
        ("phoneNumber='(415) 555-2671'", "phoneNumber='[redacted:phone]'"),
        ("X-Phone: 415.555.2671", "X-Phone: [redacted:phone]"),
        ("('phone', '4155552671')", "('phone', '[redacted:phone]')"),
        ("tel:5551234567 fax: 5551234567", "tel:[redacted:phone] fax: [redacted:phone]"),
        ("msisdn=491701234567 1.0.0", "msisdn=[redacted:phone] 1.0.0"),
        ("MOBILE_NO=4155552671 phone%3D4155552671", "MOBILE_NO=[redacted:phone] phone%3D[redacted:phone]"),
    ],
)
def test_phone_numbers_are_found(text: str, expected: str) -> None:
    """International ones anywhere, others under a key."""
    assert hidden("phones", text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "2024-05-12T10:11:12+0000 12:00:00+00:00 1+2345678901 1.0.0+20240101",
        "hotel=12345678 phone_id=12345678 mobile_version=12345678 telemetry: 12345678 HOTEL=12345678",
        "phone: 123e4567-e89b-12d3-a456-426614174000 phone=12345678-1234-1234-1234-123456789012",
        "phone=[redacted:phone] [redacted:phone:12345678] phone=[redacted:phone:12345678]",
        "@@ -1,7 +1,9 @@ +12 phone=2024 phone=None",
        "order 4155552671 shipped",
    ],
)
def test_other_numbers_are_no_phone_numbers(text: str) -> None:
    """Times, versions, ids and sums stay, and so does a marker with a fingerprint that is all digits."""
    assert phones(text) == []


# --- addresses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("203.0.113.123:443", "203.0.113.[redacted:address]:443"),
        ('"8.8.8.8" http://9.9.9.9/', '"8.8.8.[redacted:address]" http://9.9.9.[redacted:address]/'),
        ("203.0.113.5-203.0.113.9.", "203.0.113.[redacted:address]-203.0.113.[redacted:address]."),
        ("ip%3D203.0.113.5 %20203.0.113.5", "ip%3D203.0.113.[redacted:address] %20203.0.113.[redacted:address]"),
        ("::ffff:203.0.113.5", "::ffff:203.0.113.[redacted:address]"),
        ("2001:db8::1", "2001:db8::[redacted:address]"),
        ("[2001:db8:1:2:3:4:5:6]:443", "[2001:db8:1:[redacted:address]]:443"),
        ("2a02::5:6:7:8:9 2A02:1::5", "2a02::[redacted:address] 2A02:1::[redacted:address]"),
    ],
)
def test_the_last_part_of_a_clients_address_is_found(text: str, expected: str) -> None:
    """Eight bits of IPv4, and all but 48 at most of IPv6: the network stays."""
    assert hidden("addresses", text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1 0.0.0.0 10.1.2.3 192.168.1.1 172.16.0.1 169.254.1.1 224.0.0.1 255.255.255.0 100.64.0.1",
        "::1 :: fe80::1 fd00::1 ff02::1",
        "v1.2.3.4 1.2.3.4-beta lib-1.2.3.4 lib==1.2.3.4 version 1.2.3.4 version=1.2.3.4 Version: 1.2.3.4",
        "Mozilla/5.0 Chrome/120.0.0.0 Safari/537.36",
        "1.3.6.1.4.1.311 999.1.1.1 01.02.03.04",
        "12:34:56 2024:01:01 00:1a:2b:3c:4d:5e abc::def std::vector 2001:db8::",
        "2001:1:2:3:4:5:6:7:8 2001::1::2",
        "203.0.113.[redacted:address] 2001:db8::[redacted:address] 2001:db8:1:[redacted:address:1a2b3c4d]",
    ],
)
def test_addresses_of_nobody_on_the_internet_stay(text: str) -> None:
    """This host, private networks, groups, versions, times and hardware are no clients."""
    assert addresses(text) == []


# --- all -------------------------------------------------------------------------------------------------------------

PIECES = [
    "bob",
    "@",
    "%40",
    "example.com",
    ".",
    ":",
    "203.0.113.9",
    "2001:db8::7",
    "phone",
    "=",
    "+49 170 1234567",
    " ",
]
PIECES += ["[redacted:phone:12345678]", "\\n", "%3D", '"', "'", "\\u00e9", luhn("4", 16), account("BE", "539007547034")]
TEXTS = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=4)), max_size=12).map("".join)


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.sampled_from(sorted(FINDERS)))
def test_found_spans_are_in_order_inside_the_text_and_not_empty(text: str, name: str) -> None:
    """What a finder reports can be replaced, whatever the text is."""
    for found in FINDERS[name](text):
        assert 0 <= found.start < found.end <= len(text)
        assert "[redacted" not in text[found.start : found.end]


@pytest.mark.parametrize("name", sorted(FINDERS))
def test_a_reason_tells_nothing_of_the_text(name: str) -> None:
    """The reason is made of words of our own."""
    text = f"bob@example.com {luhn('4', 16)} {account('BE', '539007547034')} +49 170 1234567 203.0.113.9"
    (found,) = FINDERS[name](text)
    assert not any(piece in found.reason for piece in text.split())
    assert found.rule == {"addresses": "address"}.get(name, name.removesuffix("s"))


HOSTILE = [
    "@",
    "a@b.",
    "@a" + ".a" * 20,
    "a@b.co ",
    '"a"@b.co"',
    "://a@b.co",
    "\\u00e9",
    "%40%41",
    "4",
    "4111 ",
    "DE89 ",
]
HOSTILE += [
    "+1 2",
    "+1-2-(0)",
    "phone=",
    'phone"',
    "1.2.3.",
    "203.0.113.5 ",
    "2001:",
    "2001:db8::1 ",
    "a/",
    "\\",
    "x@y-",
]


@pytest.mark.parametrize("name", sorted(FINDERS))
def test_time_is_linear_in_the_length(name: str) -> None:
    """Repeating a piece four times as often takes about four times as long, not sixteen times."""
    for piece in HOSTILE:
        assert grows_linearly(FINDERS[name], piece, 24_000), piece
