"""Path patterns, and the table that looks many of them up at once."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchkit.pipeline.paths import PathPattern, PathTable, normalise

SEGMENTS = st.sampled_from(["a", "b", "api", "{id}", "v{n}.json", "a.b", "x+y", "é", "(", "$", "{a}-{b}", ""])
patterns = st.builds(
    lambda parts, end: "/" + "/".join(parts) + end, st.lists(SEGMENTS, max_size=4), st.sampled_from(["", "", "/", "/*"])
)
paths = st.lists(
    st.sampled_from(
        ["a", "b", "api", "42", "v1.json", "v.json", "a.b", "axb", "x+y", "xxy", "é", "(", "$", "1-2", "", "\n"]
    )
    | st.text(max_size=3),
    max_size=5,
).map(lambda parts: "/" + "/".join(parts))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", "/"),
        ("", "/"),
        ("//", "/"),
        ("/login", "/login"),
        ("/login/", "/login"),
        ("/login\n", "/login"),
        ("//login//x///", "/login/x"),
        ("login", "login"),
    ],
)
def test_spellings_of_one_path_are_folded(path: str, expected: str) -> None:
    """Repeated slashes count once, and a trailing one does not count."""
    assert normalise(path) == expected


@given(paths)
def test_folding_twice_changes_nothing(path: str) -> None:
    """A folded path is its own folded form."""
    assert normalise(normalise(path)) == normalise(path)


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("/login", "/login", True),
        ("/login", "/login/", True),
        ("/login", "//login", True),
        ("/login/", "/login", True),
        ("/login", "/Login", False),
        ("/login", "/login/x", False),
        ("/", "/", True),
        ("/", "/x", False),
        ("/users/{id}", "/users/42", True),
        ("/users/{id}", "/users/", False),
        ("/users/{id}", "/users/4/2", False),
        ("/users/{id}/edit", "/users/42/edit/", True),
        ("/files/{name}.json", "/files/a.json", True),
        ("/files/{name}.json", "/files/ajson", False),
        ("/api/*", "/api", True),
        ("/api/*", "/api/", True),
        ("/api/*", "/api/v1/x", True),
        ("/api/*", "/apiary", False),
        ("/api/*", "/api/line\nbreak", True),
        ("/{tenant}/api/*", "/acme/api/x", True),
        ("/{tenant}/api/*", "/api/x", False),
        ("/*", "/", True),
        ("/*", "/anything/at/all", True),
        ("//*", "/anything", True),
        ("/a.b", "/axb", False),
    ],
)
def test_a_pattern_means_these_paths(pattern: str, path: str, expected: bool) -> None:
    """`{name}` is one segment, a final `/*` is everything below and the path itself, anything else is literal."""
    assert PathPattern(pattern).matches(normalise(path)) is expected
    assert (PathPattern(pattern) in PathTable([PathPattern(pattern)]).match(path)) is expected


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("login", "starts with a slash"),
        ("", "starts with a slash"),
        ("https://shop.example/login", "starts with a slash"),
        ("/login?next=1", "no query or fragment"),
        ("/login#top", "no query or fragment"),
        ("/a/{id", "written {name}"),
        ("/a/id}", "written {name}"),
        ("/a/{}", "written {name}"),
        ("/a/{b/c}", "written {name}"),
        ("/a/{b:path}", "written {name}"),
        ("/a/<b>", "written {name}"),
        ("/a*", "only at the end, after a slash"),
        ("/*/a", "only at the end, after a slash"),
        ("/a/*/*", "only at the end, after a slash"),
        ("/a/{id}*", "only at the end, after a slash"),
    ],
)
def test_what_is_no_pattern_is_refused_with_the_remedy(text: str, remedy: str) -> None:
    """Nothing that looks like a pattern of another kind is taken for literal text."""
    with pytest.raises(ValueError, match=remedy):
        PathPattern(text)


@given(st.text(st.sampled_from("/{}*?#a.") | st.characters(), max_size=12))
def test_any_text_is_a_pattern_or_refused(text: str) -> None:
    """Nothing else than ValueError comes out, and what is accepted can be matched."""
    try:
        pattern = PathPattern(text)
    except ValueError:
        return
    assert pattern.matches(normalise(text)) or "{" in text or "*" in text


@given(patterns)
def test_equal_text_gives_equal_patterns(text: str) -> None:
    """Patterns are compared by what was written."""
    one, same = PathPattern(text), PathPattern(text)
    assert one == same
    assert hash(one) == hash(same)
    assert repr(one) == f"PathPattern({text!r})"
    assert one != PathPattern("/other" + text)
    assert one != text


def naive(pattern: str, path: str) -> bool:
    """Compare segment by segment."""
    wanted = [part for part in pattern.removesuffix("*").rstrip("/\n").split("/") if part]
    given = [part for part in path.rstrip("/\n").split("/") if part]
    if pattern.endswith("/*"):
        given = given[: len(wanted)]
    return len(wanted) == len(given) and all(map(naive_segment, wanted, given))


def naive_segment(wanted: str, given: str) -> bool:
    parts = [".+" if part.startswith("{") else re.escape(part) for part in re.split(r"(\{\w+\})", wanted)]
    return re.fullmatch("".join(parts), given, re.DOTALL) is not None


@given(st.lists(patterns, max_size=8), paths)
def test_the_table_finds_what_each_pattern_finds_by_itself(texts: list[str], path: str) -> None:
    """One look-up gives the same as asking every pattern, and as comparing segment by segment."""
    every = [PathPattern(text) for text in texts]
    expected = {pattern for pattern in every if naive(pattern.text, path)}
    assert PathTable(every).match(path) == expected
    assert {pattern for pattern in every if pattern.matches(normalise(path))} == expected


def test_an_empty_table_matches_nothing() -> None:
    """An app without rules has no patterns."""
    assert PathTable([]).match("/anything") == frozenset()
