"""The filters of a listing of runs beside its key: columns, a label, who started it, and times.

A run's id sorts by its time, so times are conditions on the key and cost nothing. All other filters
are applied to the rows that were read, so a filtered listing reads a bounded number of pages and
goes on by its cursor.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec
from ulid import ULID

from byline.identity.caller import Caller, Principal, read_principal
from byline.tables.rows import Item
from serve_runs.errors import RequestFailed
from serve_runs.profiles.people import named_people
from serve_runs.profiles.store import Profiles
from serve_runs.runs.requests import ListRuns

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LEAST_RANDOM, _GREATEST_RANDOM = b"\0" * 10, b"\xff" * 10


class RunFilters(msgspec.Struct, frozen=True, repr_omit_defaults=True):
    """The filters. A run passes all of them; `starters`: any of these principals started it.

    `columns`: names and values. `label`: its name and value. `least`, `greatest`: run ids.
    """

    columns: tuple[tuple[str, str], ...] = ()
    label: tuple[str, str] | None = None
    starters: tuple[str, ...] = ()
    least: str | None = None
    greatest: str | None = None

    @property
    def passes_all(self) -> bool:
        """Whether all rows between `least` and `greatest` pass."""
        return not (self.columns or self.label or self.starters)

    def conditions(self) -> tuple[list[str], dict[str, str], Item]:
        """The conditions of a filter expression, and the names and values in them."""
        found: list[str] = []
        names: dict[str, str] = {}
        values: Item = {}
        for column, value in self.columns:
            found.append(f"#{column} = :{column}")
            names[f"#{column}"] = column
            values[f":{column}"] = {"S": value}
        if self.label is not None:
            found.append("#labels.#label = :label")
            names |= {"#labels": "labels", "#label": self.label[0]}
            values[":label"] = {"S": self.label[1]}
        if self.starters:
            any_of = []
            for number, text in enumerate(self.starters):
                starter = read_principal(text)
                any_of.append(
                    f"(begins_with(started_by, :starter{number}) AND "
                    f"started_by_issuer = :starter{number}_issuer)"
                )
                values[f":starter{number}"] = {"S": _stored_prefix(starter)}
                values[f":starter{number}_issuer"] = {"S": starter.issuer}
            # DynamoDB refuses parentheses that are redundant.
            found.append(any_of[0] if len(any_of) == 1 else f"({' OR '.join(any_of)})")
        return found, names, values

    def bounds(self, after: str | None) -> tuple[str, Item]:
        """The key condition of a page after the run with this id, and the values in it.

        With `least`, the page has the run `after` again, because DynamoDB has no `BETWEEN` without
        its bounds, and takes one condition on a sort key.
        """
        ends = [end for end in (after, self.greatest) if end is not None]
        if not ends:
            return ("", {}) if self.least is None else ("id >= :least", _texts(least=self.least))
        end = min(ends)
        if self.least is not None:
            # A forged cursor may be out of the bounds. DynamoDB refuses bounds in the wrong order.
            between = _texts(least=self.least, end=max(end, self.least))
            return "id BETWEEN :least AND :end", between
        return f"id {'<' if end == after else '<='} :end", _texts(end=end)


def filters_of(
    query: ListRuns,
    *,
    known_caller: Callable[[], Caller],
    profiles: Profiles,
    default_issuer: str,
) -> tuple[RunFilters, bool]:
    """The filters in a query, and whether more people have the e-mail address in `started_by`.

    Raises `RequestFailed` (`invalid_parameter`).
    """
    columns = {"agent": query.agent, "runner": query.runner, "parent_run": query.parent_run}
    least, greatest = _ids_between(query.since, query.until)
    starters: tuple[str, ...] = ()
    are_more = False
    if query.started_by is not None:
        people = named_people(
            query.started_by,
            known_caller=known_caller,
            profiles=profiles,
            default_issuer=default_issuer,
            parameter="started_by",
        )
        starters, are_more = tuple(map(_principal, people.principals)), people.are_more
    label = None
    if query.label is not None:
        name, _, value = query.label.partition("=")
        label = (name, value)
    filters = RunFilters(
        tuple((name, value) for name, value in columns.items() if value is not None),
        label,
        starters,
        least,
        greatest,
    )
    return filters, are_more


def _texts(**texts: str) -> Item:
    return {f":{name}": {"S": text} for name, text in texts.items()}


def _principal(text: str) -> str:
    try:
        read_principal(text)
    except ValueError:
        raise RequestFailed("invalid_parameter", "`started_by` is not a principal.") from None
    return text


def _stored_prefix(principal: Principal) -> str:
    """What the stored identity of a principal begins with, whatever its names are.

    The quotes of a text in JSON are escaped, so no name or subject looks like another one.
    """
    subject = msgspec.json.encode(principal.subject).decode()
    return f'{{"{principal.kind}":{{"id":{{"subject":{subject}}}'


def _ids_between(since: datetime | None, until: datetime | None) -> tuple[str | None, str | None]:
    """The least id of a run created at or after `since`, and the greatest before `until`."""
    if since is not None and until is not None and since >= until:
        raise RequestFailed("invalid_parameter", "`since` must be before `until`.")
    if until is not None and until <= _EPOCH:
        raise RequestFailed("invalid_parameter", "`until` must be after 1970-01-01T00:00:00Z.")
    least = greatest = None
    if since is not None and since > _EPOCH:
        least = _id(_microseconds(since) // 1000, _LEAST_RANDOM)
    if until is not None:
        # The last millisecond that begins before `until`.
        greatest = _id((_microseconds(until) - 1) // 1000, _GREATEST_RANDOM)
    return least, greatest


def _microseconds(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)


def _id(milliseconds: int, random: bytes) -> str:
    return str(ULID(milliseconds.to_bytes(6) + random))
