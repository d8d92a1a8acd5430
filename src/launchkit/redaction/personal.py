r"""Personal data in text: e-mail addresses, card numbers, bank accounts, phone numbers, the addresses of clients.

The rules:

- What can be checked is checked: the digits of cards (Luhn, ISO/IEC 7812) and accounts (ISO 13616), the issuer of a
  card, the country of an account, the range of an address.
- What stays readable is what a reader of logs needs: the domain of an e-mail address, the network of a client.
- An escape before the first character (`%3D`, `\n`) belongs to what is before it, and stays whole.
- Longer runs hold nothing: no card is looked for inside an id, no address inside a version.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from launchkit.redaction.found import Found

# --- e-mail addresses ------------------------------------------------------------------------------------------------

_LONGEST_LOCAL_PART: Final = 256
"""Characters that 64 octets (RFC 5321 section 4.5.3.1.1) take up, escaped; what is before them is not looked at."""

_NO_PEOPLE: Final = frozenset({"git", "hg", "svn"})
"""Users of hosts of source code, as in `git@github.com:team/app.git`."""

_FILES_AND_UNITS: Final = (
    "service|socket|target|timer|mount|automount|swap|path|slice|scope|device|"  # of systemd: getty@tty1.service
    "png|jpe?g|gif|webp|avif|svg|ico|css|js|mjs|cjs|ts|json|map|html?|ya?ml|toml|lock|txt|log|xml|csv|t?gz|tar|whl|jar"
)
_HOSTS: Final = "internal|local|lan|localdomain"
"""Ends of names that no mail comes from, as in `celery@worker-1.internal`."""

_AT: Final = re.compile(
    rf"""(?:@|%40)
        (?! v?\d+\.\d+ | [\w-]++\.(?:{_FILES_AND_UNITS})(?![\w.-]))       # package@1.2.3, logo@2x.png
        (?= (?:[^\W_][\w-]*+\.(?=[^\W\d_]))++ (?!(?:{_HOSTS})(?![\w-]))
            (?:xn--[a-z0-9-]{{2,59}}+|[^\W\d_]{{2,24}}+) (?![\w-]|:~?/) )  # scp: deploy@host.example:/srv
    """,
    re.VERBOSE,
)
_LOCAL_PART_BACKWARDS: Final = re.compile(
    r"""  "[^"\\\n]{1,64}+"                                                # quoted (RFC 5321 section 4.1.2)
      | (?: [0-9A-Fa-f][89A-Fa-f](?:%|x\\) | [BbDdEe]2% | [Ff]5%          # %C3 and \xc3 of UTF-8, %2B
          | (?![0-9A-Fa-f][0-7]00u\\)[0-9A-Fa-f]{4}u\\                    # \u00e9, but not \u003d
          | (?! [0-9A-Fa-f]{2}(?:%|x\\) | [0-9A-Fa-f]{4}u\\ | [bfnrtv]\\ ) [\w.+-]
          | '(?=[OoDd](?!\w))                                             # o'brien
        )*+
    """,
    re.VERBOSE,
)
_USER_OF_URL: Final = re.compile(r"://[^\s/?#@\"']*+\Z")


def emails(text: str) -> list[Found]:
    """Find the local parts of e-mail addresses (RFC 5321, RFC 6531), also where @ is written `%40`."""
    if "@" not in text and "%40" not in text:
        return []
    return [
        Found(start, at.start(), "email", "local part of an e-mail address")
        for at in _AT.finditer(text)
        if (start := _start_of_local_part(text, at)) < at.start()
    ]


def _start_of_local_part(text: str, at: re.Match[str]) -> int:
    """Return where the local part before `at` begins; where `at` stands if there is none."""
    end = at.start()
    before = text[max(0, end - _LONGEST_LOCAL_PART) : end]
    run = _LOCAL_PART_BACKWARDS.match(before[::-1])
    local = before[len(before) - (run.end() if run else 0) :].lstrip(".+-")
    is_user = at[0] == "@" and _USER_OF_URL.search(before) is not None
    return end if is_user or local in _NO_PEOPLE else end - len(local)


# --- cards and accounts ----------------------------------------------------------------------------------------------


def _first(character: str, not_after: str) -> str:
    r"""Return a pattern for a first character that is not in the middle of something: in Python's `re`, classes that
    come first are found fastest, so what is before them is looked at afterwards. `%3D` and `\n` may be before any.
    """
    return rf"{character}(?:(?<![{not_after}]{character})|(?<=%[0-9A-Fa-f]{{2}}{character})|(?<=\\[nrt]{character}))"


_GAP: Final = r"(?:[ +\-\u00a0]|%20)"
"""What stands between groups of digits: one space as it is and in URLs, or a dash."""

_CARD: Final = re.compile(
    _first(r"[2-6]", r"\w.+%-")
    + rf"""
        (?: \d{{12,18}}+
          | \d{{3}}(?P<gap>{_GAP})\d{{4}}(?P=gap)\d{{4}}(?P=gap)\d{{4}}(?P<tail>(?P=gap)\d{{3}}(?!\d))?
          | \d{{3}}(?P<wide>{_GAP})\d{{6}}(?P=wide)\d{{4,5}}+
        ) (?!\w|[.-]\w)
    """,
    re.VERBOSE,
)
_ISSUED: Final = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})"  # Visa
    r"|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|3(?:0[0-5]|[689]\d)\d{11}"  # Diners Club
    r"|6(?:011|4[4-9]\d|5\d\d)\d{12}"  # Discover
    r"|35(?:2[89]|[3-8]\d)\d{12}"  # JCB
    r"|62\d{14,17}"  # UnionPay
    r"|220[0-4]\d{12}"  # Mir
    r"|(?:50[123]\d|5893|6304|6759|676[1-3])\d{9,15}"  # Maestro
)
"""Numbers of the ranges and lengths that networks issue (https://en.wikipedia.org/wiki/Payment_card_number)."""

_NO_DIGIT: Final = re.compile(r"%20|\D")
_DOUBLED: Final = str.maketrans("0123456789", "0246813579")


def cards(text: str) -> list[Found]:
    """Find the numbers of payment cards: 13 to 19 digits, in one piece or as cards show them."""
    return [
        Found(card.start(), end, "card", "digits of a payment card, with a good checksum")
        for card in _CARD.finditer(text)
        if (end := _end_of_card(card)) is not None
    ]


def _end_of_card(card: re.Match[str]) -> int | None:
    """Return where the number ends: three more digits are part of it, or stand on the back of the card."""
    number = _NO_DIGIT.sub("", card[0])
    if _is_card(number):
        return card.end()
    return card.start("tail") if card["tail"] and _is_card(number[:-3]) else None


def _is_card(number: str) -> bool:
    """Tell whether a network issues such numbers, and the last digit fits the others (ISO/IEC 7812-1 annex B)."""
    checked = number[-1::-2] + number[-2::-2].translate(_DOUBLED)
    return _ISSUED.fullmatch(number) is not None and sum(map(int, checked)) % 10 == 0


_LENGTHS: Final = {
    country: int(length)
    for country, length in re.findall(
        r"([A-Z]{2})(\d\d)",
        "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 "
        "EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 "
        "IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 "
        "NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 "
        "SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30",
    )
}
"""Characters of an account number by country: ISO 13616, from the registry that SWIFT keeps."""

_ACCOUNT_START: Final = re.compile(_first("[A-Z]", r"\w%") + rf"[A-Z]\d\d(?={_GAP}?[A-Z0-9]{{4}})")
_REST: Final = {
    length: re.compile(
        rf"(?:{_GAP}?[A-Z0-9]{{4}}){{{(length - 4) // 4}}}"
        + (rf"{_GAP}?[A-Z0-9]{{{length % 4}}}" if length % 4 else "")
        + r"(?!\w)"
    )
    for length in set(_LENGTHS.values())
}
_NO_ACCOUNT_CHARACTER: Final = re.compile(r"%20|[^A-Z0-9]")


def ibans(text: str) -> list[Found]:
    """Find international bank account numbers (ISO 13616), in one piece or in groups of four."""
    return list(_ibans(text))


def _ibans(text: str) -> Iterator[Found]:
    for start in _ACCOUNT_START.finditer(text):
        length = _LENGTHS.get(start[0][:2])
        rest = _REST[length].match(text, start.end()) if length else None
        if rest is not None and _is_account(_NO_ACCOUNT_CHARACTER.sub("", start[0] + rest[0])):
            yield Found(start.start(), rest.end(), "iban", "bank account number, with a good checksum")


def _is_account(number: str) -> bool:
    """Tell whether an account number leaves 1 when divided by 97 (ISO/IEC 7064 MOD 97-10): A counts as 10."""
    return int("".join(str(int(character, 36)) for character in number[4:] + number[:4])) % 97 == 1


# --- phone numbers ---------------------------------------------------------------------------------------------------

_PHONE_KEYS: Final = "phone", "mobile", "msisdn", "tel", "fax"
_NEXT_DIGIT: Final = r"(?:(?:(?:[ ().\-/]{1,2}|%20)(?=\d\d)|[ ]?\(0\)[ ]?)?\d)"
"""A digit, after what may stand between groups of them; one by itself is no group."""

_INTERNATIONAL: Final = re.compile(
    r"(?:(?<![\w+/.%\]])|(?<=%[013-9A-Fa-f][0-9A-Fa-f])|(?<=%2[0-9AC-Fa-f])|(?<=\\[nrt]))"
    rf"(?:\+|%2[Bb])[1-9]{_NEXT_DIGIT}{{7,14}}(?!\d)"
)
"""E.164: eight to fifteen digits after +."""

_UNDER_KEY: Final = re.compile(
    rf"""(?<!\[redacted:)
        (?: [Pp]hone | PHONE | [Mm]sisdn | MSISDN | Mobile | Tel | Fax | (?<![A-Za-z])(?:mobile|tel|fax)
          | (?<![A-Z])(?:MOBILE|TEL|FAX) )
        (?: ephone | EPHONE )? (?: [ _-]?(?:[Nn]umber|NUMBER|[Nn]um|NUM|[Nn]o|NO|[Nn]r|NR) )? \d?
        (?: ["'\\]{{0,4}} [ ]{{0,2}} (?:[=:]>? | %3[DdAa]) | ["'], ) [ ]{{0,4}} [bu]? ["'\\\[]{{0,4}}
        (?P<number> (?:\+|%2[Bb])? \(? \d {_NEXT_DIGIT}{{5,14}} )
        (?![\w:]|[.-]\w)
    """,
    re.VERBOSE,
)


def phones(text: str) -> list[Found]:
    """Find phone numbers: international ones (E.164), and any under a key that says phone, mobile, tel or fax."""
    found: list[Found] = []
    if "+" in text or "%2" in text:
        reason = "international phone number"
        found += [Found(*number.span(), "phone", reason) for number in _INTERNATIONAL.finditer(text)]
    lowered = text.lower()
    if any(key in lowered for key in _PHONE_KEYS):
        reason = "number under a key that says phone"
        found += [Found(*number.span("number"), "phone", reason) for number in _UNDER_KEY.finditer(text)]
    return found


# --- addresses of clients --------------------------------------------------------------------------------------------

_IPV4: Final = re.compile(
    _first(r"\d", r"\w.%") + r"(?<![A-Za-z]-\d)\d{0,2}+\.(?:\d{1,3}+\.){2}(?P<host>\d{1,3}+)(?!\w|\.\d|-[A-Za-z])"
)
_IPV6: Final = re.compile(
    _first("[23]", r"\w:.%") + r"[0-9A-Fa-f]{3}(?::[0-9A-Fa-f]{0,4}){2,7}+(?!\w|:|\.\d|\[redacted:)"
)
"""Global unicast addresses, 2000::/3 (RFC 4291 section 2.4), so that neither times nor `add::bed` are any."""

_NETWORK: Final = re.compile(r"(?:[^:]*+:){1,2}?:|(?:[^:]*+:){3}")
"""The first 48 bits of an IPv6 address, or what is before `::` if that is less."""

_VERSION_BEFORE: Final = re.compile(
    r"""(?: (?:^|[\s"'(\[,])[A-Za-z][\w.+-]*+/ | [=<>~!]= | [Vv]ers(?:ion)?["']?[ :=]{1,3}+["']? )\Z""", re.VERBOSE
)
"""What stands before a version that looks like an address: `Chrome/120.0.0.0`, `package==1.2.3.4`."""

_LONGEST_PRODUCT: Final = 32
_DOCUMENTATION: Final = tuple(map(ipaddress.IPv4Network, ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")))
"""RFC 5737: examples of clients."""


def addresses(text: str) -> list[Found]:
    """Find what tells one client from its neighbours: the last 8 bits of an IPv4 address, the last 80 of an IPv6 one.

    Addresses that no client on the internet has stay: those of this host, of private networks, of groups.
    """
    found: list[Found] = []
    if text.count(".") > 2:
        reason = "last part of an IPv4 address"
        matches = (match for match in _IPV4.finditer(text) if _is_client(text, match))
        found += [Found(*match.span("host"), "address", reason) for match in matches]
    if text.count(":") > 1:
        found += _hosts_of_ipv6(text)
    return found


def _is_client(text: str, match: re.Match[str]) -> bool:
    try:
        address = ipaddress.IPv4Address(match[0])
    except ValueError:  # an octet above 255, or with a leading zero
        return False
    if not (address.is_global or any(address in network for network in _DOCUMENTATION)) or address.is_multicast:
        return False
    return _VERSION_BEFORE.search(text[max(0, match.start() - _LONGEST_PRODUCT) : match.start()]) is None


def _hosts_of_ipv6(text: str) -> Iterator[Found]:
    for match in _IPV6.finditer(text):
        network = _NETWORK.match(match[0])
        if network is not None and network.end() < len(match[0]) and _is_ipv6(match[0]):
            yield Found(match.start() + network.end(), match.end(), "address", "last part of an IPv6 address")


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


FINDERS: Final[Mapping[str, Callable[[str], list[Found]]]] = {
    "emails": emails,
    "cards": cards,
    "ibans": ibans,
    "phones": phones,
    "addresses": addresses,
}
"""The finders by the name of the setting that turns each on."""
