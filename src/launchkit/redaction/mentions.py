"""Secrets that stand beside the name of what they are, without a separator between the two.

`name: DB_PASSWORD` with `value:` in the next line, form fields, calls as `set_password('...')`, tables, and sentences.
In a sentence the value must not be a word.
"""

from __future__ import annotations

import re
from typing import Final

from launchkit.redaction.keys import Kind
from launchkit.redaction.names import Name
from launchkit.redaction.placeholders import is_ordinary
from launchkit.redaction.shapes import is_no_word
from launchkit.redaction.values import Spans, looks_random, secret_spans

_LONGEST_NAME: Final = 64
_BEFORE: Final = 400

_LINE_BREAK: Final = r"(?:\r?\n|(?:\\{1,2}r)?\\{1,2}n)"
_STRUCTURED: Final = re.compile(
    rf"""
    ["'\]\\]{{0,4}}[ ]?(?:->|→|=>)[ ]?["']?(?P<arrow>[^\s"']{{1,400}}+)
  | ["'\\]{{0,4}}[,;/]?\s{{0,20}}(?:[ ]?type=["']\w+["']\s?)?
    ["'\\]{{0,4}}(?:value|content|default|string)["'\\]{{0,4}}\s?[=:]\s?
    \\?(?:["'](?P<named_quoted>[^"'\\\n]{{1,400}}+)|(?P<named>[^\s"'\\,}}]{{1,400}}+))
  | ["'][ ]\{{\s{{1,20}}(?:(?:type|description|sensitive)\s{{1,10}}=[^\n]{{0,200}}\n\s{{0,20}}){{0,3}}
    default\s{{1,10}}=\s{{1,10}}"(?P<terraform>[^"\n]{{1,400}}+)
  | </key>\s{{0,20}}<string>(?P<plist>[^<]{{1,400}}+)
  | </t[dh]>\s{{0,20}}<td[^<>]{{0,40}}>(?:<pre>)?["']?(?P<cell>[^<>"']{{1,400}}+)
  | "(?:\s\w+="[^"<>]{{0,100}}"){{0,4}}\s?>(?P<entry>[^<>]{{1,400}}+)<
  | (?:\s[\w:]{{1,40}}="[^"<>]{{0,100}}"){{1,4}}\s?>(?P<tag>[^<>]{{1,400}}+)<
  | \\?"{_LINE_BREAK}{{2}}(?P<part>(?:(?!\\r|\\n)[^\r\n]){{1,400}}+)
  | \\?";s:\d{{1,4}}:\\?"(?P<serialized>[^"\\]{{1,400}}+)
  | "(?::(?:"[\w\\]{{1,60}}":)?(?:protected|private))?\]=>\s{{0,20}}string\(\d{{1,4}}\)\s"(?P<dumped>[^"]{{1,400}}+)
  | ["']?,[ ]?["'](?P<argument>[^"'\n]{{1,400}}+)["'][ ]?\)
  | :[ ]?[\w.<>\[\]]{{1,40}}[ ]=[ ]["'](?P<typed>[^"'\n]{{1,400}}+)["']
  | ["'],[ ]?["'](?P<called>[^"'\n]{{1,400}}+)["'],[^()\n]{{0,60}}\)
  | ["']?[ ](?:\|\||\?\?|or)[ ]["'](?P<fallback>[^"'\n]{{1,400}}+)["']
  | \(["'](?P<call>[^"'\n]{{1,400}}+)["']\)
  | ["'\]]{{1,3}},\s?["']msg["']:\s?"[^"\n]{{0,200}}",\s?"input":\s?"(?P<input>[^"\n]{{1,400}}+)
  | \n\s{{1,8}}[^\n]{{0,200}}?input_value=["'](?P<validated>[^"'\n]{{1,400}}+)
    """,
    re.VERBOSE,
)
_SENTENCE: Final = re.compile(
    r"""[\"']?[ \t]{1,4}(?:
      (?:for|of)[ ](?:user[ ])?[^\s:=]{1,64}
        (?:[ ]to[ ]["'](?P<reset>[^"'\n]{1,200}+)["']|:[ ](?P<told>[^\s"'`,;]{6,200}+))
    |
      (?:for(?:[ ][^\s:=]{1,64}){1,3}?[ ])?(?:is|(?:was[ ])?set[ ]to|was|changed[ ]to|reset[ ]to|of)[ ]?:?[ ]
        (?:\\?["'`](?P<stated>(?:[^\s"'`\\]++[ ]?){1,3}+)\\?["'`]|(?P<stated_bare>[^\s"'`,;]{5,200}+))
    | (?:was[ ])?(?:changed|rotated|updated)[ ]from[ ]["'](?P<old>[^"'\n]{1,200}+)["']
      (?:[ ]to[ ]["'](?P<new>[^"'\n]{1,200}+))?
    | (?:for|FOR)[ ]\S{1,64}[ ]=[ ]["'](?P<set>[^"'\n]{1,200}+)["']
    | (?:provided|received|supplied|given):[ ](?P<given>[^\s"'`,;]{8,200}+)
    | \\?["'`](?P<quoted>[^"'`\\\n]{4,200}+)\\?["'`]
    | (?:\|[ ])?(?P<said>[^\s"'`|<>;,()]{6,2000}+)(?=[\s.,;)|]|\Z)
    )""",
    re.VERBOSE,
)
_INTRODUCED: Final = re.compile(
    r"\b(?:with|using|and|new|old|temporary|initial|default|generated|user|role|alter|create)[ ][^\n]{0,60}\Z",
    re.IGNORECASE,
)
_VALUE_BEFORE: Final = re.compile(
    r"""(?:value|content)=["'](?P<value>[^"'<>]{1,300})["']\s{1,4}(?:\w{1,10}=["']\w{1,20}["']\s)?(?:name|id)=["']\Z"""
)
_ATTRIBUTES: Final = ('name="', "name='", 'id="', "id='")

_OPENED: Final = re.compile(r"\((?: ?|(?<=\w\()[\w.]{1,30}, ?)[\"'][\w.:-]*\Z")
_CALLED: Final = re.compile(r"\w\([\"'][\w.:-]*\Z")
_ANYWHERE: Final = re.compile("")
_DOUBTFUL: Final = {"argument": _OPENED, "called": _CALLED, "fallback": _ANYWHERE, "typed": _ANYWHERE}
"""What has to stand before the name, for places in which names stand as well."""
_READING: Final = ("get", "fetch", "load", "read", "find", "lookup", "resolve")
_SPOKEN_OF: Final = ("token", "jwt")
_OTHER_WORD: Final = re.compile(
    r"[^\d]*|[\d.,:-]*|[^\d/]*/[\d.]+.*|https?:.*|/.*|[^\W\d]+=.*|\d{4}-\d\d.*|\$\{.*|.*[=:(]", re.DOTALL
)


def mentioned(text: str, name: Name) -> Spans:
    """Return where the secrets stand that are beside a name, none if there is none."""
    return [*_after(text, name), *_before(text, name)]


def _after(text: str, name: Name) -> Spans:
    match = _STRUCTURED.match(text, name.end)
    if match is not None and match.lastgroup is not None:
        value = match[match.lastgroup]
        if _is_beside(text, name, match.lastgroup, value):
            return _spans(name.kind, value, match.start(match.lastgroup))
    elif name.start == 0 or text[name.start - 1] in " \t\n'\"`([":
        return _said(text, name)
    return []


def _is_beside(text: str, name: Name, group: str, value: str) -> bool:
    """Tell whether what has the form of something beside a name is not beside it by chance."""
    if group == "call":
        return not name.text.startswith(_READING)
    if group in _DOUBTFUL and not is_no_word(value):
        return False
    opening = _DOUBTFUL.get(group)
    return opening is None or opening.search(text, max(0, name.start - _LONGEST_NAME), name.start) is not None


def _said(text: str, name: Name) -> Spans:
    said = _SENTENCE.match(text, name.end)
    if said is None:
        return []
    return [
        span
        for group, value in said.groupdict().items()
        if value and _is_said(name, group, value, text)
        for span in _spans(name.kind, value, said.start(group))
    ]


def _before(text: str, name: Name) -> Spans:
    if not text.endswith(_ATTRIBUTES, 0, name.start):
        return []
    offset = max(0, name.start - _BEFORE)
    before = _VALUE_BEFORE.search(text[offset : name.start])
    return _spans(name.kind, before["value"], offset + before.start("value")) if before else []


def _spans(kind: Kind, value: str, offset: int) -> Spans:
    return [(offset + start, offset + end) for start, end in secret_spans(kind, value)]


def _is_said(name: Name, group: str, value: str, text: str) -> bool:
    """Tell whether what a sentence says after a secret's name is it: it has letters and digits, and is no name."""
    if group in ("old", "new", "set", "reset"):
        return True
    if not name.kind.certain or name.kind.rule == "private-key" or (group == "said" and name.kind.rule == "token"):
        return name.kind.rule in _SPOKEN_OF and looks_random(value)
    if group == "quoted":
        before = text[max(0, name.start - _LONGEST_NAME) : name.start]
        return _INTRODUCED.search(before) is not None or _is_no_name(value)
    if group not in ("said", "given", "told"):
        return (
            is_no_word(value)
            and text[name.start - 1 : name.start] != "."
            and (not value.isdecimal() or name.kind.rule == "otp")
        )
    return _is_no_name(value)


def _is_no_name(value: str) -> bool:
    return _OTHER_WORD.fullmatch(value.rstrip("=")) is None and not is_ordinary(value)
