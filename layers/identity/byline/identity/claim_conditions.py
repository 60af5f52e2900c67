"""Conditions on the claims of a token, and texts made of them, written as data.

A condition is an object of claim → test, and holds where every test holds. A test is one of:

- a text: the claim equals it. `*` stands for any text, `*` alone for any value that is not empty.
  `{other}` stands for the text of another claim. `(?i)` before it ignores case, `!` negates it;
- a list of texts: the claim equals one of them, and none of those with `!`;
- `true` or `false`: the claim is exactly that. `null`: the claim is absent;
- an object: a condition on the members of the claim, which is an object too.

` > ` leads to a member: `kubernetes.io > namespace`. A list as claim passes where one element does.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from byline.identity.claims import required_text
from byline.identity.typed_text import fault_of_typed

type ClaimSet = Mapping[str, Any]
"""The claims of a token, of any type that an issuer wrote, before or after verification."""

type Condition = Mapping[str, Any]
type Conditions = Sequence[Condition]
"""Alternatives: one that holds is enough. Without any, nothing holds."""

STEP = " > "
_PLACEHOLDER = re.compile(r"\{(short )?([^{}]+)\}")
_REF_KINDS = ("refs/heads/", "refs/tags/", "refs/")
_ABSENT: Any = object()


class _Pattern(msgspec.Struct, frozen=True):
    """A text of a test.

    `is_any`: it is `*` alone. `literal`: the whole text, where it has no `*`, no claim and no sign.
    `parts`: its texts and the claims between them, None for each `*`.
    """

    is_negated: bool
    ignores_case: bool
    is_any: bool
    literal: str
    parts: tuple[str | None, ...]


def hold(conditions: Conditions, claims: ClaimSet) -> bool:
    """Whether one of the `conditions` holds for the claims."""
    return any(_holds(condition, claims, claims) for condition in conditions)


def claim_at(claims: ClaimSet, path: str) -> Any:
    """The claim at `path`; None where it is absent."""
    value = _value(claims, path)
    return None if value is _ABSENT else value


def text_at(claims: ClaimSet, path: str) -> str:
    """The claim at `path`; empty where it is absent or not text."""
    value = claim_at(claims, path)
    return value if isinstance(value, str) else ""


def subject_at(paths: Sequence[str], claims: ClaimSet) -> str:
    """The subject: the first claim of `paths` that is present.

    Raises `Rejected` (`missing_claim`, `malformed_claim`) where it is not a legal subject.
    """
    path = next((path for path in paths if claim_at(claims, path) not in (None, "")), paths[0])
    return required_text({path: claim_at(claims, path)}, path)


def filled(template: str, claims: ClaimSet) -> str:
    """`template` with each `{claim}` replaced by its text; empty where one is not a text.

    `{short claim}` leaves out what a Git reference begins with: `main` for `refs/heads/main`.
    """
    found = []
    for _, path in _PLACEHOLDER.findall(template):
        value = text_at(claims, path)
        if not value:
            return ""
        found.append(value)
    values = iter(found)
    return _PLACEHOLDER.sub(lambda match: _short(next(values), is_short=bool(match[1])), template)


def fault_of_conditions(conditions: Iterable[Any]) -> str:
    """What is wrong with alternatives from a configuration; empty for nothing."""
    for condition in conditions:
        if not isinstance(condition, dict):
            return "must be an object of claim and test, or a list of such objects"
        if not condition:
            return 'has an empty object, which every token passes. Write {"iss": "*"} for that'
        for claim, test in condition.items():
            if fault := fault_of_path(claim) or _fault_of_test(test):
                return f"at `{claim}` {fault}"
    return ""


def fault_of_path(path: str) -> str:
    """What is wrong with the path of a claim; empty for nothing."""
    return "" if all(name.strip() for name in path.split(STEP)) else "must name a claim"


def fault_of_template(template: str) -> str:
    """What is wrong with a text with placeholders; empty for nothing."""
    rest = _PLACEHOLDER.sub("", template)
    return "has a `{` or `}` that belongs to no `{claim}`" if "{" in rest or "}" in rest else ""


def _fault_of_test(test: Any) -> str:
    match test:
        case str():
            # An invisible character would make `!name` admit the very name.
            return (
                fault_of_template(test)
                or ("" if test.lstrip("!") else "must not be empty")
                or fault_of_typed(test)
            )
        case bool() | None:
            return ""
        case list() if test and all(isinstance(each, str) for each in test):
            return next(filter(None, map(_fault_of_test, test)), "")
        case dict():
            return fault_of_conditions([test])
        case _:
            return "needs a text, a list of texts, true, false, null or an object"


def _holds(condition: Condition, claims: ClaimSet, root: ClaimSet) -> bool:
    return all(_passes(_value(claims, path), test, root) for path, test in condition.items())


def _passes(value: Any, test: Any, root: ClaimSet) -> bool:
    if type(test) is str:
        pattern = _pattern(test)
        return _matches(value, pattern, root) != pattern.is_negated
    if test is None:
        return value is _ABSENT
    if isinstance(test, bool):
        return value is test
    if isinstance(test, Mapping):
        return isinstance(value, Mapping) and _holds(test, value, root)
    patterns = [_pattern(text) for text in test]
    wanted = [pattern for pattern in patterns if not pattern.is_negated]
    return (not wanted or any(_matches(value, pattern, root) for pattern in wanted)) and not any(
        _matches(value, pattern, root) for pattern in patterns if pattern.is_negated
    )


def _matches(value: Any, pattern: _Pattern, root: ClaimSet) -> bool:
    if type(value) is str:
        if pattern.literal or pattern.is_any:
            return bool(value) and (pattern.is_any or value == pattern.literal)
        return bool(value) and _fits(value, pattern, root)
    if pattern.is_any:
        return value is not _ABSENT and value not in (None, [], {})
    if isinstance(value, list):
        return any(_matches(each, pattern, root) for each in value if not isinstance(each, list))
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return is_number and _fits(str(value), pattern, root)


def _texts(pattern: _Pattern, root: ClaimSet) -> list[str] | None:
    """The literal texts between the `*` of a pattern; None where a claim that it names is none.

    The text of a claim is literal, even if it contains `*`.
    """
    texts = [""]
    for part in pattern.parts:
        if part is None:
            texts.append("")
        elif not part.startswith("{"):
            texts[-1] += part
        else:
            value = text_at(root, part[1:-1])
            if not value:
                return None
            texts[-1] += value
    return texts


def _fits(value: str, pattern: _Pattern, root: ClaimSet) -> bool:
    """Whether `value` consists of the pattern's texts in their order, with any text between."""
    texts = _texts(pattern, root)
    if texts is None:
        return False
    if pattern.ignores_case:
        value, texts = value.casefold(), [text.casefold() for text in texts]
    if len(texts) == 1:
        return value == texts[0]
    first, *middle, last = texts
    if len(value) < len(first) + len(last):
        return False
    place, end = len(first), len(value) - len(last)
    is_framed = value.startswith(first) and value.endswith(last)
    for text in middle:
        place = value.find(text, place, end)
        if place < 0:
            return False
        place += len(text)
    return is_framed


@lru_cache(1_024)
def _pattern(text: str) -> _Pattern:
    is_negated = text.startswith("!")
    rest = text.removeprefix("!")
    ignores_case = rest.startswith("(?i)")
    parts = re.split(r"(\*|\{[^{}]+\})", rest.removeprefix("(?i)"))
    return _Pattern(
        is_negated,
        ignores_case,
        is_any=rest == "*",
        literal="" if ignores_case or len(parts) > 1 else rest,
        parts=tuple(None if part == "*" else part for part in parts),
    )


def _value(claims: ClaimSet, path: str) -> Any:
    value: Any = claims.get(path, _ABSENT)
    if value is not _ABSENT or STEP not in path:
        return value
    value = claims
    for name in path.split(STEP):
        if not isinstance(value, Mapping) or name not in value:
            return _ABSENT
        value = value[name]
    return value


def _short(text: str, *, is_short: bool) -> str:
    if is_short:
        for kind in _REF_KINDS:
            if text.startswith(kind):
                return text.removeprefix(kind)
    return text
