"""What stands where a secret could stand, and is none: placeholders, words about one, source code, ordinary names."""

from __future__ import annotations

import re
from typing import Final

from launchkit.redaction.found import MARKER

NO_SECRETS: Final = frozenset(
    word
    for line in (
        "await none null nil undefined true false yes no ok on off n/a default unknown optional any anonymous disabled",
        "enabled required requires missing invalid incorrect wrong expired must should is was has not empty set unset",
        "changed updated failed failure error rejected accepted ignored revoked rotated reset confirmed verified sent",
        "created deleted found provided given supplied requested valid matches mismatch success successful succeeded",
        "unauthorized forbidden denied redacted filtered hidden masked omitted include omit same-origin rbac basic",
        "bearer digest cannot can't for from and with in to of or if at a an the this that it your my are been be",
        "will too least please try check see use using header field str bytes int bool string secretstr object text",
        "varchar char char(60) number array boolean type password passwd secret token key pass file env environ",
        "environment input prompt via",
    )
    for word in line.split()
)
"""Words in prose and in code; compared in lower case."""

PLACEHOLDER: Final = re.compile(
    r"\*++\w{0,4}|\.{3}|\w{0,4}\.\.\.|[xX]{3,}+|[-_.?•#…]++|<[^<>]*+>"
    r"|\[[A-Za-z]++(?:[ ][A-Za-z]++)*+\]|\([a-z]++(?:[ ][a-z]++)*+\)"
    # variables of shells, templates, formats, configuration languages, statements
    r"|\$(?:[A-Z][A-Z0-9_]*+|[a-z_]++|\d+)|\$\{[^{}]*+\}|\$\([^()]*+\)|\$?\{\{[^{}]*+\}\}|\{++(?:[a-z_]++|[A-Z_]++)?(?:[.!:]\w++)*+\}++"
    r"|\{[A-Za-z_]\w*+(?:\.\w++|\[[^\[\]{}]*+\]|\([^(){}]*+\))++(?:![rsa])?(?::[^{}]*+)?\}"
    r"|%(?:\(\w*\))?[-0-9.]*[sdrif]|%[A-Z_]++%|:[a-z_]++"
    r"|!(?:Ref|Sub|GetAtt|ImportValue|vault|secret|env|ENV)(?:[ ]\w++)?"
    # references to where the secret is kept
    r"|(?:env|file|vault|ssm|op|secret|secretref|arn|kms|doppler|keychain):[\w/.#:@-]*+|@Microsoft\.KeyVault\([^)\n]{0,512}+\)?|ENC\[[^\]\n]{0,4096}+\]?"
    # types, schemas, durations and sizes, and what examples say
    r"|SecretStr\((?:'\**+'\))?|(?=[\w.\[\],() ]*+\|[ ])[\w.\[\],() |]++"
    r"|(?:Optional|Union|List|Dict|Type)\[[^=\n]{0,200}+"
    r"|\"(?:type|title|description|anyOf|scopes|tokenUrl|format|default|minLength|maxLength|\$ref)\":.*"
    r"|\d{1,5}+(?:\.\d++)?(?:[nuµm]?s|min|[mhd]|[kKMG]?B|%)"
    r"|(?:your|my|the|insert|enter|replace|change|example|sample|dummy)(?:[-_ ][a-z]+){0,4}"
    r"[-_ ](?:password|passwd|secret|token|key|here|me|this|value|credentials?)"
)
"""What stands for a secret and is none: `***`, `<token>`, `${TOKEN}`, `{token}`, `%s`, `[FILTERED]`."""

_CODE: Final = re.compile(
    r"(?:self|cls|os|settings|config|request|form|data|args|kwargs|params|payload|body|env|environ|process|secrets|user|item"
    r"|obj|options|credentials|app|kit|req|res|this|ctx|context|values|result|response|session|headers|cookies)[.\[(].*"
    r"|[A-Za-z_][\w.]*+[(\[].*|[A-Za-z_][\w.]*+\)[.,)\]].*|[A-Z]++(?:_[A-Z]++)++",
    re.DOTALL,
)
"""An expression in a line of source, as tracebacks show it: `os.environ[`, `get_token(`."""

_WORD: Final = r"(?:(?:[a-z]+|[A-Z]+|[A-Z][a-z]+)\d{0,3}|\d{1,20})"
_ORDINARY: Final = re.compile(
    rf"_{{0,2}}{_WORD}(?:[-_.:/,|]{_WORD})+[.:,;]*"
    r"|[a-z]+(?:-[a-z0-9]{1,10})*-[a-z0-9]{4,10}|[a-z]+(?:-[a-z]+)*/[a-z0-9.-]+"
    r"|0x[0-9A-Fa-f]+|[\w.$]+@[0-9a-f]{4,8}|\d{4}-?\d\d-?\d\d[T ].*|sha(?:1|256|512)[-:].*"
    r"|(?:/|\./|\.\./|~/|\w{2,10}://).*|(?:[\w.@=-]+/)+[\w.-]+\.[a-z]\w{1,4}",
    re.DOTALL,
)
"""Long values with digits that are not random: dashed words, objects and addresses in memory, times, digests, paths."""

_NAME: Final = re.compile(r"[A-Za-z_]+(?:[._][A-Za-z_]+)+")
_SOMETHING: Final = re.compile(r"\w")
_LONGEST_EXPRESSION: Final = 200
_LONG_NAME: Final = 20


def is_placeholder(value: str) -> bool:
    """Tell whether the value of a key is empty, a word like `None` or `required`, or only stands for a secret."""
    return (
        _SOMETHING.search(value) is None or value.lower().strip(".,;:!?()[]") in NO_SECRETS or stands_for_secret(value)
    )


def stands_for_secret(text: str) -> bool:
    """Tell whether a text only stands for a secret: `***`, `%s`, `${TOKEN}`, or a marker of ours."""
    return PLACEHOLDER.fullmatch(text) is not None or MARKER.fullmatch(text) is not None


def is_ordinary(value: str) -> bool:
    """Tell whether a value with digits is made of words and numbers: dashed words, a path, a time."""
    return _ORDINARY.fullmatch(value) is not None


def is_code(key: str, value: str) -> bool:
    """Tell whether an unquoted value is an expression in a line of source: `self._token = token`, `pwd=form.pwd`."""
    if len(value) > _LONGEST_EXPRESSION:
        return False
    if value.lstrip("_") == key.rpartition(".")[2].lstrip("_") or _CODE.fullmatch(value) is not None:
        return True
    last_word = re.split("[._-]", key)[-1].lower()
    return value.lower().endswith(last_word) and (
        _NAME.fullmatch(value) is not None
        or (value.isalpha() and value[0].isupper() and not value.isupper() and len(value) > _LONG_NAME)
    )
