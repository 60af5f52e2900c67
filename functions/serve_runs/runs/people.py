"""The runs of a person, by whomever they were created.

They are the person's own runs, those of applications on its behalf, and the children of both that
inherited the person. Each principal takes two queries: of its own runs by creator, and of the
others by person.
"""

from collections.abc import Callable
from copy import replace

from byline.identity.caller import Caller, read_principal
from serve_runs.profiles.people import named_people
from serve_runs.profiles.store import Profiles
from serve_runs.runs.queries import Listed, RunQuery

CREATOR_COLUMNS = {"user": "creator_user_id", "application": "creator_service_account_id"}


def runs_of(
    person: str,
    listed: RunQuery,
    *,
    known_caller: Callable[[], Caller],
    profiles: Profiles,
    default_issuer: str,
) -> Listed:
    """The queries of `person`'s runs that `listed` selects.

    Raises `RequestFailed` (`invalid_parameter`).
    """
    people = named_people(
        person, known_caller=known_caller, profiles=profiles, default_issuer=default_issuer
    )
    queries = [
        each
        for principal in people.principals
        for each in (replace(listed, person=principal), *_own(principal, listed))
    ]
    return Listed(tuple(queries), people.are_more)


def _own(principal: str, listed: RunQuery) -> list[RunQuery]:
    """The query of the runs that a principal created for itself; none for a text that is none."""
    try:
        creator = read_principal(principal)
    except ValueError:
        return []
    column = CREATOR_COLUMNS[creator.kind]
    return [replace(listed, creator=creator.subject, creator_issuer=creator.issuer, own=column)]
