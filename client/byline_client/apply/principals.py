"""The kinds of documents about principals: role bindings, and service accounts of who applies."""

from collections.abc import Iterable
from typing import Any

from byline_client.apply.documents import Wanted
from byline_client.apply.kinds import Entry, body_of, given, path_of, time_of
from byline_client.apply.models import BindingDocument, PrincipalMember, ServiceAccountDocument
from byline_client.conversation import ServiceCall
from byline_client.secret_text import SecretText
from byline_client.tokens import unverified_claims


class RoleBindings:
    """Role bindings. An entry is one role of one principal. They have no names at the service.

    For an e-mail address, or a person without issuer, only the service knows the principal.
    """

    segment, member = "role-bindings", "role_bindings"

    def entries(self, listed: Iterable[Entry]) -> list[Entry]:
        """An entry for each role of a principal."""
        return [
            {**each, "role": role} for each in listed for role in sorted(each.get("roles") or [])
        ]

    def find(self, wanted: Wanted, entries: Iterable[Entry]) -> Entry | None:
        """The same role of a principal that may be the document's."""
        binding = _binding(wanted)
        return next(
            (each for each in entries if each["role"] == binding.role and _may_be(binding, each)),
            None,
        )

    def is_certain(self, wanted: Wanted) -> bool:
        """Whether the document names the principal with its issuer."""
        return _named(_binding(wanted)) is not None

    def fields(self, wanted: Wanted) -> dict[str, Any]:
        """The role, and the principal as the document names it, which no list shows."""
        members = body_of(wanted)
        return {"role": members.pop("role"), **members}

    def shown(self, entry: Entry) -> dict[str, Any]:
        """The same of an entry."""
        return {"role": entry["role"]}

    def write(self, wanted: Wanted) -> ServiceCall:
        """The grant."""
        return ServiceCall("PUT", path_of(self.segment, wanted.project), body=body_of(wanted))

    def deletion(self, project: str, entry: Entry) -> ServiceCall:
        """The revocation."""
        query = {"role": entry["role"], "principal": principal_text(entry)}
        return ServiceCall("DELETE", path_of(self.segment, project), query=query)

    def key(self, entry: Entry) -> str:
        """The role and the principal, as audit records have them."""
        return f"{entry['role']} {principal_text(entry)}"

    def key_of(self, wanted: Wanted) -> str | None:
        """The same of a document; None where only the service knows the principal."""
        principal = _named(_binding(wanted))
        return None if principal is None else f"{_binding(wanted).role} {principal}"

    def document(self, entry: Entry) -> dict[str, Any]:
        """The binding as a document with a name of its own."""
        who = entry.get("subject") or entry.get("kind")
        principal = principal_text(entry)
        return {"name": f"{entry['role']} {who}", "role": entry["role"], "principal": principal}


class ServiceAccounts:
    """The service accounts that act for the person `caller`, by issuer and subject."""

    segment, member = "service-accounts", "service_accounts"

    def __init__(self, caller: tuple[str, str]) -> None:
        self._caller = caller

    def entries(self, listed: Iterable[Entry]) -> list[Entry]:
        """All, also those of other people, which an admin can delete."""
        return list(listed)

    def is_own(self, entry: Entry) -> bool:
        """Whether the account acts for the person. Nobody can register one for somebody else."""
        person = (entry.get("who") or {}).get("acts_for") or {}
        return (person.get("issuer"), person.get("subject")) == self._caller

    def find(self, wanted: Wanted, entries: Iterable[Entry]) -> Entry | None:
        """The person's account of the token; without readable claims, that of the name."""
        identity, name = _identity(wanted.secret), wanted.document.name
        return next(
            (
                each
                for each in filter(self.is_own, entries)
                if (each.get("issuer"), each.get("subject")) == identity
                or (identity is None and each.get("name") == name)
            ),
            None,
        )

    def is_certain(self, wanted: Wanted) -> bool:
        """Whether the token names the account."""
        return _identity(wanted.secret) is not None

    def fields(self, wanted: Wanted) -> dict[str, Any]:
        """Name, role and end."""
        account = wanted.document
        assert isinstance(account, ServiceAccountDocument)  # noqa: S101 - by `kind`
        return {
            "name": account.name,
            "role": account.role,
            "expires_at": time_of(account.expires_at),
        }

    def shown(self, entry: Entry) -> dict[str, Any]:
        """The same of an entry."""
        end = time_of(entry.get("expires_at"))
        return {"name": entry.get("name"), "role": entry.get("role"), "expires_at": end}

    def write(self, wanted: Wanted) -> ServiceCall:
        """The registration, which changes nothing when it is repeated."""
        body = {**body_of(wanted), "name": wanted.document.name}
        return ServiceCall("POST", path_of(self.segment, wanted.project), body=body, repeat=True)

    def deletion(self, project: str, entry: Entry) -> ServiceCall:
        """The end of the registration."""
        return ServiceCall("DELETE", path_of(self.segment, project, self.key(entry)))

    def key(self, entry: Entry) -> str:
        """The id."""
        return str(entry.get("id"))

    def key_of(self, wanted: Wanted) -> str | None:
        """None: the service makes the id."""
        return None

    def document(self, entry: Entry) -> dict[str, Any]:
        """The account as a document."""
        return given(self.shown(entry), {"role": "project:editor"})


def principal_text(entry: Entry) -> str:
    """A listed principal as the API takes it: `kind:issuer#subject`, or `anonymous`."""
    kind = str(entry.get("kind"))
    return kind if kind == "anonymous" else f"{kind}:{entry.get('issuer')}#{entry.get('subject')}"


def _binding(wanted: Wanted) -> BindingDocument:
    assert isinstance(wanted.document, BindingDocument)  # noqa: S101 - by `kind`
    return wanted.document


def _named(binding: BindingDocument) -> str | None:
    """The text of the principal; None where only the service knows its issuer."""
    named = binding.principal
    if isinstance(named, PrincipalMember):
        return f"{named.kind}:{named.issuer}#{named.subject}"
    if named is None and binding.subject is not None and binding.issuer is not None:
        return f"user:{binding.issuer}#{binding.subject}"
    return named


def _may_be(binding: BindingDocument, entry: Entry) -> bool:
    """Whether a listed principal is the binding's, as far as the list says."""
    principal = _named(binding)
    if principal is not None:
        return principal_text(entry) == principal
    if entry.get("kind") != "user":
        return False
    if binding.email is not None:
        return str(entry.get("email") or "").lower() == binding.email.lower()
    return bool(entry.get("subject") == binding.subject)


def _identity(token: SecretText | None) -> tuple[str, str] | None:
    """Issuer and subject that a token claims; None for a token that does not say them."""
    claims = {} if token is None else unverified_claims(token)
    issuer, subject = claims.get("iss"), claims.get("sub")
    return (issuer, subject) if isinstance(issuer, str) and isinstance(subject, str) else None
