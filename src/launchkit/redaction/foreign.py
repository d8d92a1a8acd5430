"""Passwords beside the word for one in languages whose words have other letters than ASCII's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from launchkit.redaction.found import Found
from launchkit.redaction.shapes import is_value

_WORDS: Final = (
    "contraseña", "lösenord", "hasło", "şifre", "parolă", "jelszó", "mật khẩu", "lykilorð", "slaptažodis", "κωδικός",
    "пароль", "пароля", "密码", "密碼", "口令", "パスワード", "비밀번호", "암호", "รหัสผ่าน", "पासवर्ड",
    "كلمة المرور", "كلمة السر", "סיסמה", "סיסמא",
)  # fmt: skip
_ASSIGNED: Final = re.compile(
    rf"""(?:{"|".join(_WORDS).replace(" ", "[ ]")})["'\\]{{0,4}}[ ]?[=:\uff1a]{{1,2}}[ ]?
    (?:\\?["'“](?P<quoted>[^"'”\\\n]{{3,200}}+)|(?P<bare>[^\s"',;“”}}]{{3,200}}+))""",
    re.IGNORECASE | re.VERBOSE,
)


def find_foreign(text: str) -> Iterator[Found]:
    """Find what is assigned to such a word, and is no word itself."""
    lowered = text.lower()
    if not any(word in lowered for word in _WORDS):
        return
    for match in _ASSIGNED.finditer(text):
        group = match.lastgroup or "bare"
        if is_value(match[group]) and not match[group].isalpha():
            yield Found(*match.span(group), "password", "beside the word for a password")
