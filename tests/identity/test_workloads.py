"""Workloads: CI jobs and machines with an identity token of their platform and no OAuth client."""

from collections.abc import Mapping
from copy import replace
from typing import Any

import pytest

from byline.errors import Rejected
from byline.identity.caller import Caller, who
from byline.identity.claims import MAX_SUBJECT_BYTES
from tests.identity.bearer_issuer import ISSUER, NOW, BearerIssuer, without
from tests.identity.test_settings import assert_misconfigured, read, trusted

JOB: Mapping[str, Any] = {
    "iss": ISSUER,
    "aud": "byline",
    "exp": NOW + 300,
    "sub": "repo:acme/train:ref:refs/heads/main",
    "repository": "acme/train",
    "ref": "refs/heads/main",
    "workflow": "nightly",
    "actor": "ada",
    "run_id": "74",
}
ALLOW: Any = {"repository": "acme/*", "ref": ["refs/heads/main", "refs/tags/*"]}


def verified(claims: Mapping[str, Any] = JOB, *, allow: Any = ALLOW, **members: Any) -> Caller:
    issuer = BearerIssuer(profile="github")
    verifier = issuer.verifier(allow=allow, **members)
    return verifier.verify_bearer(issuer.token(claims, header={"typ": "JWT"}))


def test_job_is_an_application_with_a_readable_name_and_a_link() -> None:
    """Whoever reads a run sees which job created it, and opens the job's page."""
    job = verified()
    assert (job.kind, job.subject) == ("application", JOB["sub"])
    assert job.executed_by == {
        "application": {
            "id": {"subject": JOB["sub"]},
            "spec": {"name": "acme/train @ main, workflow nightly"},
        }
    }
    shown = who(job.stored, issuer=job.issuer)
    assert shown is not None
    assert shown["link"] == "https://github.com/acme/train/actions/runs/74"


def test_person_who_set_the_job_off_is_a_claim_alone() -> None:
    """`actor` is shown, and the job represents nobody."""
    job = verified()
    assert (job.started_for, job.represents, job.through) == ("ada", None, "")


def test_job_without_its_claims_has_the_subject_as_its_name_and_no_link() -> None:
    """A name or link is never made of half of its claims."""
    job = verified(without(JOB, "workflow", "run_id"))
    assert (job.name, job.link) == ("acme/train", "")
    assert verified({**JOB, "repository": ""}, allow={"ref": "*"}).name == JOB["sub"]


@pytest.mark.parametrize("run_id", ['7"onclick="', "7 8", "7\n8", "7<b>", "7" * 600])
def test_link_that_is_no_plain_address_is_left_out(run_id: str) -> None:
    """A claim cannot break out of the address that a page makes a link of."""
    assert verified({**JOB, "run_id": run_id}).link == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"repository": "mallory/train"},
        {"repository": "acme-mallory/train"},
        {"repository": "ACME/train"},
        {"repository": ["acme/train"], "ref": "refs/heads/dev"},
        {"repository": None},
        {"ref": "refs/heads/main-2"},
        {"ref": "refs/pull/7/merge"},
    ],
)
def test_job_that_no_condition_admits_is_refused_without_a_fetch(changes: dict[str, Any]) -> None:
    """A stranger's job has a genuine token of the same issuer, for our audience."""
    issuer = BearerIssuer(profile="github")
    verifier = issuer.verifier(allow=ALLOW)
    with pytest.raises(Rejected) as refused:
        verifier.verify_bearer(issuer.token({**JOB, **changes}, header={"typ": "JWT"}))
    assert refused.value.reason == "claims_not_allowed"
    assert not issuer.web.requests


def test_one_of_several_conditions_is_enough() -> None:
    """Another team's repository comes with another branch."""
    others = {"repository": "acme-labs/eval", "ref": "refs/heads/dev"}
    assert verified({**JOB, **others}, allow=[ALLOW, others]).kind == "application"


def test_job_for_another_audience_is_refused() -> None:
    """Every service that a job talks to gets a token. Only ours names our audience."""
    with pytest.raises(Rejected, match="untrusted_audience"):
        verified({**JOB, "aud": "https://github.com/acme"})


def test_condition_admits_no_token_with_another_signature() -> None:
    """`allow` is one more check, and replaces none."""
    issuer = BearerIssuer(profile="github")
    token = issuer.token(JOB, header={"typ": "JWT"})
    forged = replace(token, text=token.text[:-8] + "AAAAAAAA")
    with pytest.raises(Rejected, match="bad_signature"):
        issuer.verifier(allow=ALLOW).verify_bearer(forged)


@pytest.mark.parametrize(
    ("profile", "allow", "fault"),
    [
        ("github", None, "needs `allow`"),
        ("github", [], "needs `allow`"),
        ("gitlab", None, "needs `allow`"),
        ("workload", None, "needs `allow`"),
        ("github", {}, "has `allow`, which has an empty object"),
        ("github", {"ref": "refs/heads/main"}, "has `allow` without an owner"),
        ("github", {"repository": "*"}, "has `allow` without an owner"),
        ("github", {"repository": "acme*"}, "has `allow` without an owner"),
        ("github", {"repository": "*/train"}, "has `allow` without an owner"),
        ("github", {"repository": "!mallory/train"}, "has `allow` without an owner"),
        ("github", {"repository": "{repository}"}, "has `allow` without an owner"),
        ("github", {"repository": ["acme/*", "*"]}, "has `allow` without an owner"),
        ("github", {"repository": None}, "has `allow` without an owner"),
        ("github", {"sub": "repo:*"}, "has `allow` without an owner"),
        ("github", [{"repository": "acme/*"}, {"actor": "ada"}], "has `allow` without an owner"),
        ("gitlab", {"project_path": "acme*"}, "has `allow` without an owner"),
    ],
)
def test_configuration_that_would_admit_strangers_fails_the_start(
    profile: str, allow: Any, fault: str
) -> None:
    """An operator cannot admit everybody's jobs by accident."""
    setting = trusted(profile=profile, allow=allow)
    detail = assert_misconfigured("TRUSTED_ISSUERS", TRUSTED_ISSUERS=setting)
    assert fault in detail


@pytest.mark.parametrize(
    ("profile", "allow"),
    [
        ("github", {"repository": "acme/*"}),
        ("github", {"repository": ["acme/train", "!acme/test"]}),
        ("github", {"repository_owner": "acme"}),
        ("github", {"sub": "repo:acme/*"}),
        ("gitlab", {"project_path": "acme/*"}),
        ("gitlab", {"namespace_path": "acme", "ref_protected": "true"}),
        ("workload", {"organization_slug": "acme"}),
        ("aws", None),
        ("spiffe", None),
        ("kubernetes", {"kubernetes.io": {"namespace": "train"}}),
        ("generic", {"groups": "byline"}),
    ],
)
def test_configuration_with_an_owner_is_accepted(profile: str, allow: Any) -> None:
    """The issuers of one organisation need no condition, and every profile may have some."""
    [issuer] = read(TRUSTED_ISSUERS=trusted(profile=profile, allow=allow)).trusted_issuers
    assert issuer.profile == profile


def test_subject_of_the_longest_length_is_accepted_in_tokens_and_configuration() -> None:
    """Subjects of workloads are longer than those of people, and their length is limited alike."""
    longest = "s" * MAX_SUBJECT_BYTES
    assert verified({**JOB, "sub": longest}).subject == longest
    with pytest.raises(Rejected, match="malformed_claim"):
        verified({**JOB, "sub": longest + "s"})
    accounts = {longest: "nightly"}
    assert read(TRUSTED_ISSUERS=trusted(service_accounts=accounts)).trusted_issuers
    too_long = trusted(service_accounts={longest + "s": "nightly"})
    assert_misconfigured("TRUSTED_ISSUERS", TRUSTED_ISSUERS=too_long)
