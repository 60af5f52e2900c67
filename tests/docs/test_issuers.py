"""`docs/issuers.md`: what it says of each issuer's tokens is what the function makes of them."""

import json
import re
from dataclasses import dataclass
from typing import Any, get_args

import pytest

from byline.errors import Rejected
from byline.identity.claim_conditions import fault_of_conditions
from byline.identity.settings import IdentitySettings
from byline.identity.trusted_issuers import IssuerProfile
from tests.docs.documents import ROOT, names, section
from tests.identity.alb_tokens import ENVIRONMENT
from tests.identity.bearer_issuer import ISSUER, KEYS_URL, NOW, BearerIssuer

DOCUMENT = "docs/issuers.md"
WORKLOADS = ("github", "gitlab", "aws", "spiffe", "workload")


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table of issuers. `caller`: kind, subject and name, or a reason alone."""

    issuer: str
    profile: IssuerProfile
    members: dict[str, Any]
    claims: dict[str, Any]
    caller: tuple[str, ...]
    source: str


def rows() -> list[Row]:
    """The rows of the table of issuers. A `|` in a cell is written with a backslash."""
    found = []
    for line in section(DOCUMENT, "## Profiles").splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)][1:-1]
        if len(cells) != 6 or cells[0] in ("issuer", "---"):
            continue
        issuer, profile, members, claims, caller, source = (
            cell.replace("\\|", "|") for cell in cells
        )
        found.append(
            Row(
                issuer,
                names(profile)[0],  # type: ignore[arg-type] # the settings check it
                json.loads(members.strip("`") or "{}"),
                json.loads(claims.strip("`")),
                tuple(name.replace("\\\\", "\\") for name in names(caller)),
                source,
            )
        )
    return found


def settings_of(row: Row) -> IdentitySettings:
    """The settings of an operator who writes the row's members into `TrustedIssuers`."""
    entry = {"issuer": ISSUER, "audiences": ["byline"], "profile": row.profile, **row.members}
    return IdentitySettings.from_environment(
        {**ENVIRONMENT, "TRUSTED_ISSUERS": json.dumps([entry])}
    )


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.issuer)
def test_token_of_a_row_is_its_caller(row: Row) -> None:
    """The caller of a token with these claims has the kind, subject and name of the row."""
    issuer = BearerIssuer(profile=row.profile)
    [trusted] = settings_of(row).trusted_issuers
    issuer.web.answers[trusted.jwks_uri or KEYS_URL] = issuer.web.answers[KEYS_URL]
    claims = {"iss": ISSUER, "exp": NOW + 300, "iat": NOW - 10, **row.claims}
    if row.profile != "cognito":
        claims["aud"] = "byline"
    token = issuer.token(claims, header={"typ": "JWT"})
    if len(row.caller) == 1 and row.caller != ("unknown_caller_kind",):
        with pytest.raises(Rejected, match=row.caller[0]):
            issuer.verifier_of(trusted).verify_bearer(token)
        assert not issuer.web.requests
        return
    caller = issuer.verifier_of(trusted).verify_bearer(token)
    found = (caller.kind, caller.subject, caller.name)
    # A caller of unknown kind is refused with this reason.
    assert row.caller == (("unknown_caller_kind",) if caller.kind == "unknown" else found)


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.issuer)
def test_id_token_of_a_row_is_refused_where_the_profile_can_tell(row: Row) -> None:
    """With the claims that bind an ID token to a sign-in, no access token's row passes."""
    identity_tokens = ("google", "dex", "iap", "kubernetes", *WORKLOADS)
    typed_otherwise = ("keycloak", "cognito", "authentik")
    if row.profile in (*identity_tokens, *typed_otherwise):
        return
    issuer = BearerIssuer(profile=row.profile)
    claims = {"iss": ISSUER, "aud": "byline", "exp": NOW + 300, **row.claims, "nonce": "n"}
    with pytest.raises(Rejected, match="wrong_token_type"):
        issuer.verifier_of(*settings_of(row).trusted_issuers).verify_bearer(
            issuer.token(claims, header={"typ": "JWT"})
        )


def test_table_has_every_profile_with_a_source() -> None:
    """An operator finds each profile, and where the shape of its tokens is documented."""
    assert {row.profile for row in rows()} == set(get_args(IssuerProfile))
    for row in rows():
        assert row.source == "the same" or "](https://" in row.source


def test_example_of_an_entry_is_accepted() -> None:
    """As it is printed."""
    examples = re.findall(r"```json\n(.*?)```", (ROOT / DOCUMENT).read_text(), re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        settings = IdentitySettings.from_environment({**ENVIRONMENT, "TRUSTED_ISSUERS": example})
        assert settings.trusted_issuers


def test_examples_of_rules_are_legal() -> None:
    """Every test of the table of tests, and every example of a member, passes the check."""
    text = section(DOCUMENT, "## Rules of your own")
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0].startswith(('`"', "`[", "`{", "`true", "`null")):
            for test in names(cells[0]):
                assert not fault_of_conditions([{"claim": json.loads(test)}])
        if cells[0] in ("`application_when`", "`person_when`"):
            example = json.loads(names(cells[2])[0])
            assert not fault_of_conditions(example if isinstance(example, list) else [example])
