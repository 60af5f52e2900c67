"""The holdings of a person or an application, as the API shows them."""

from collections.abc import Sequence
from typing import Any

import msgspec

from byline.identity.caller import (
    Application,
    ApplicationSpec,
    ExecutedBy,
    Principal,
    Subject,
    User,
    who,
)
from byline.tables.rows import Item
from serve_runs.agents.views import agent_json
from serve_runs.people.places import KINDS, Holding, Place
from serve_runs.profiles.store import Profiles
from serve_runs.runs.views import run_json
from serve_runs.service_accounts.views import service_account_json


def person_json(principal: Principal, *, profiles: Profiles, is_admin: bool) -> dict[str, Any]:
    """The principal, with the names of its profile. `is_admin`: whether `ProjectAdmins` names it.

    At most one call.
    """
    known = profiles.display_names([principal]).get(principal) or _nameless(principal)
    return {
        "principal": principal.text,
        "who": who(msgspec.json.encode(known), issuer=principal.issuer),
        "project_admin": is_admin,
    }


def holdings_json(found: Sequence[Holding]) -> dict[str, list[dict[str, Any]]]:
    """The holdings of a page, by kind."""
    shown: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    for place, row in found:
        shown[place.kind].append(_shown(place, row))
    return shown


def _shown(place: Place, row: Item) -> dict[str, Any]:
    match place.kind:
        case "roles":
            return {"project": place.project, "roles": sorted(row["roles"]["SS"])}
        case "service_accounts" | "registrations":
            return service_account_json(row)
        case "agent_permissions":
            return agent_json(row)
        case "credential_readers":
            return {"project": place.project, "credential": place.id}
        case "runs":
            return run_json(row)


def _nameless(principal: Principal) -> ExecutedBy:
    subject = Subject(principal.subject)
    if principal.kind == "application":
        return ExecutedBy(application=Application(subject, ApplicationSpec()))
    return ExecutedBy(user=User(subject))
