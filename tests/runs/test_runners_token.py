"""A runner reads its own token, and no caller learns anything about another runner's token."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec
import pytest

from byline.identity.caller import Caller, Principal, principal_of
from byline.refresh.runner_rows import RunnerRow
from byline.refresh.work_units import token_secret_name, version_token
from serve_runs.access.control import Access, RoleAssignment
from serve_runs.runners.tokens import own_principal
from stand_ins.faults import LoseAnswer
from stand_ins.refusal import ACCESS_DENIED, INTERNAL_ERROR, RATE_EXCEEDED, Refusal
from tests.identity import alb_tokens
from tests.runs.identity_server import NO_CREDENTIAL, Credential, Web
from tests.runs.runners_api import RunnersApi
from tests.runs.runs_api import Answer


def is_own(row: RunnerRow, caller: Caller | None) -> bool:
    """Whether the policies let a caller without any role fetch the runner's token."""
    holder = RoleAssignment(principal_of(caller), frozenset())
    context = {"source": "none" if caller is None else caller.source, "verified": True}
    access = Access(row.project, (holder,), None, context)
    runner = access.resource("Runner", row.runner, own=own_principal(row))
    return access.may("read_runner_token", runner)


@pytest.fixture
def ready(runners: RunnersApi, nightly: Credential) -> RunnersApi:
    """A runner `nightly` of the subject `gpu` that has its token."""
    assert runners.put(nightly, subject="gpu").status == 201
    runners.refresh()
    runners.world.aws.calls.clear()
    return runners


def as_seen(answer: Answer) -> tuple[int, dict[str, str], dict[str, Any]]:
    """An answer as its client can tell it from another: all but the request's own id."""
    return answer.status, answer.headers, {**answer.json, "instance": "-"}


def test_runner_gets_its_token(ready: RunnersApi, gpu: Credential) -> None:
    """The newest one that was committed, with its times, kept by no cache on the way."""
    answer = ready.token(gpu)
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    row, token = ready.registered_row(), answer.json
    assert token["token"] == ready.world.token(row)["token"]
    assert token["token_type"] == "Bearer"
    times = [
        datetime.fromisoformat(token[name]).timestamp() for name in ("issued_at", "expires_at")
    ]
    assert times == [row.issued_at, row.expires_at]
    assert ready.calls() == ["BatchGetItem", "GetItem", "GetSecretValue", "PutItem"]


def test_fetching_is_logged_without_the_token(
    ready: RunnersApi, gpu: Credential, said: Callable[[], list[str]]
) -> None:
    """Who fetched which runner's; the text is searched for in all that was logged."""
    token = ready.token(gpu).json["token"]
    [line] = [line for line in said() if '"token fetched"' in line]
    assert '"actor":"gpu"' in line
    assert token not in "".join(said())


def test_token_follows_the_slots(ready: RunnersApi, gpu: Credential) -> None:
    """Each refresh is answered from the slot that it was written to."""
    seen = [ready.token(gpu).json["token"]]
    for _ in range(2):
        row = ready.registered_row()
        ready.store(replace(row, due_at=int(time.time())))
        ready.refresh()
        assert ready.registered_row().slot != row.slot
        seen.append(ready.token(gpu).json["token"])
    assert len(set(seen)) == 3


def test_version_that_was_not_committed_is_not_told(ready: RunnersApi, gpu: Credential) -> None:
    """What a stale worker put over it stands in the secret as current, and does not count."""
    row = ready.registered_row()
    assert row.slot is not None
    name = token_secret_name(row.project, row.runner, row.slot)
    before = ready.token(gpu).json
    ready.world.aws.observer("secretsmanager").put_secret_value(
        SecretId=name,
        ClientRequestToken=version_token(name, row.generation + 1),
        SecretString='{"token":"a-stale-worker-s","token_type":"Bearer",'
        '"issued_at":"2026-01-01T00:00:00Z","expires_at":"2036-01-01T00:00:00Z"}',
    )
    assert ready.token(gpu).json == before


class TestOthers:
    """Everybody else: the answer to what is not theirs is the answer to what is not there."""

    @pytest.fixture
    def missing(self, ready: RunnersApi, gpu: Credential) -> Answer:
        answer = ready.token(gpu, "missing")
        assert (answer.status, answer.reason) == (404, "not_found")
        assert ready.calls() == ["BatchGetItem", "GetItem"]
        ready.world.aws.calls.clear()
        return answer

    @pytest.mark.parametrize(
        ("subject", "claims"),
        [
            ("tpu", {"client": "tpu"}),
            ("GPU", {"client": "GPU"}),
            ("gpu ", {"client": "gpu "}),
            ("gpu", {"client": "web"}),  # a person of the same name
        ],
    )
    def test_another_caller_cannot_tell_denied_from_missing(
        self, ready: RunnersApi, web: Web, missing: Answer, subject: str, claims: dict[str, str]
    ) -> None:
        """The same status, headers and body, and as many calls of AWS."""
        answer = ready.token(web.bearer(subject, **claims))
        assert as_seen(answer) == as_seen(missing)
        assert ready.calls() == ["BatchGetItem", "GetItem"]

    def test_browser_of_the_same_subject_is_another_caller(
        self, ready: RunnersApi, web: Web, missing: Answer
    ) -> None:
        """A runner has no browser: the load balancer's token says that it is a person."""
        assert as_seen(ready.token(web.browser("gpu"))) == as_seen(missing)

    def test_same_subject_of_another_issuer_is_another_caller(
        self, ready: RunnersApi, gpu: Credential, missing: Answer
    ) -> None:
        """Issuers may give the same names: (issuer, subject) is who somebody is."""
        ready.store(replace(ready.registered_row(), subject_issuer="https://other.example"))
        assert as_seen(ready.token(gpu)) == as_seen(missing)

    @pytest.mark.parametrize("subject", [None, ""])
    @pytest.mark.parametrize("issuer", ["its own", None])
    def test_runner_without_a_subject_is_nobody_s(
        self,
        ready: RunnersApi,
        gpu: Credential,
        missing: Answer,
        subject: str | None,
        issuer: str | None,
    ) -> None:
        """A runner with an empty subject matches no caller."""
        row = ready.registered_row()
        issuer = row.subject_issuer if issuer else None
        ready.store(replace(row, subject=subject, subject_issuer=issuer))
        assert as_seen(ready.token(gpu)) == as_seen(missing)

    def test_runner_without_an_issuer_is_nobody_s(
        self, ready: RunnersApi, gpu: Credential, missing: Answer
    ) -> None:
        """Of a registration that nobody signed."""
        ready.store(replace(ready.registered_row(), subject_issuer=None))
        assert as_seen(ready.token(gpu)) == as_seen(missing)

    def test_admin_who_registered_it_is_told_that_it_may_not(
        self, ready: RunnersApi, nightly: Credential
    ) -> None:
        """An admin who may see the runner gets 403 for its token, and no secret is read."""
        answer = ready.token(nightly)
        assert (answer.status, answer.reason) == (403, "forbidden")
        assert "GetSecretValue" not in ready.calls()

    @pytest.mark.parametrize("state", ["waiting", "expired", "deleted"])
    def test_another_caller_cannot_tell_the_runner_s_state(
        self,
        ready: RunnersApi,
        nightly: Credential,
        web: Web,
        missing: Answer,
        state: str,
    ) -> None:
        """Nor whether there is a token, nor whether there was one."""
        row = ready.registered_row()
        if state == "waiting":
            ready.store(replace(row, slot=None, expires_at=None))
        elif state == "expired":
            ready.store(replace(row, expires_at=1))
        else:
            ready.delete(nightly)
            ready.world.aws.calls.clear()
        other = web.bearer("tpu", client="tpu")
        assert as_seen(ready.token(other)) == as_seen(missing)
        assert ready.calls() == ["BatchGetItem", "GetItem"]

    def test_nobody_is_refused(self, ready: RunnersApi) -> None:
        """401 before anything is read."""
        answer = ready.token(NO_CREDENTIAL)
        assert (answer.status, answer.reason) == (401, "no_credentials")
        assert ready.calls() == []

    def test_forged_token_is_refused(self, ready: RunnersApi, gpu: Credential) -> None:
        """One changed character of the signature: 401, not 404."""
        [(name, value)] = gpu.headers
        changed = "A" if value[-20] != "A" else "B"
        forged = Credential(((name, f"{value[:-20]}{changed}{value[-19:]}"),), gpu.group)
        assert ready.token(forged).reason == "bad_signature"

    def test_own_token_by_the_browsers_way_is_nobody_s(
        self, ready: RunnersApi, gpu: Credential
    ) -> None:
        """The target group says which credential counts."""
        moved = Credential(gpu.headers, alb_tokens.BROWSER_GROUP)
        assert ready.token(moved).reason == "no_credentials"


ROW = RunnerRow(
    project="payments",
    runner="nightly",
    client="scheduler",
    revision="-",
    generation=1,
    deadline=1,
    created_at="-",
    updated_at="-",
    subject="gpu",
    subject_issuer="https://issuer.example",
)
GPU = Caller(
    kind="application",
    source="bearer",
    issuer="https://issuer.example",
    subject="gpu",
    token_subject="gpu",
    name="gpu",
)


@pytest.mark.parametrize(
    ("row", "caller", "own"),
    [
        ({}, {}, True),
        ({}, {"kind": "user"}, False),
        ({}, {"kind": "unknown"}, False),
        ({}, {"source": "alb"}, False),
        ({}, {"subject": "tpu"}, False),
        ({}, {"issuer": "https://other.example"}, False),
        ({"subject": "", "subject_issuer": ""}, {"subject": "", "issuer": ""}, False),
        ({"subject": ""}, {"subject": ""}, False),
        ({"subject_issuer": ""}, {"issuer": ""}, False),
        # The service account that a token's own subject names, but which it is not.
        ({}, {"subject": "tpu", "token_subject": "gpu"}, False),
    ],
)
def test_own_is_a_service_account_of_that_subject_and_issuer(
    row: dict[str, Any], caller: dict[str, Any], *, own: bool
) -> None:
    """All of it, each time; two empty names are not the same one."""
    changed = msgspec.structs.replace(GPU, **caller)
    assert is_own(replace(ROW, **row), changed) is own
    assert not is_own(replace(ROW, **row), None)


@pytest.mark.parametrize(
    "trust", [{"IDENTITY_TRUST": "forwarded"}, {"IDENTITY_TRUST": "ignore"}], ids=str
)
def test_unverified_callers_get_no_token(
    ready: RunnersApi,
    start_runners: Callable[..., RunnersApi],
    gpu: Credential,
    trust: dict[str, str],
) -> None:
    """Where anybody can say to be anybody, a runner's token is nobody's."""
    lenient = start_runners(ANONYMOUS_CALLERS="allow", PROJECT_ADMINS="ada", **trust)
    answer = lenient.api.call("GET", ready.path(of="/token"), by=gpu)
    assert (answer.status, answer.reason) == (404, "not_found")
    assert "GetSecretValue" not in ready.calls()


class TestWithoutToken:
    """The runner itself, while there is none to give: 503, try again."""

    def test_runner_whose_first_token_is_not_there_yet_waits(
        self, runners: RunnersApi, nightly: Credential, gpu: Credential
    ) -> None:
        """And the next time it is there."""
        runners.put(nightly, subject="gpu")
        answer = runners.token(gpu)
        assert (answer.status, answer.reason) == (503, "token_unavailable")
        assert answer.headers["retry-after"] == "2"
        runners.refresh()
        assert runners.token(gpu).status == 200

    @pytest.mark.parametrize(("life", "status"), [(5, 200), (0, 503), (-1, 503)])
    def test_token_whose_time_is_over_is_not_told(
        self, ready: RunnersApi, gpu: Credential, life: int, status: int
    ) -> None:
        """A dead token only brings 401s elsewhere."""
        ready.store(replace(ready.registered_row(), expires_at=int(time.time()) + life))
        assert ready.token(gpu).status == status

    def test_changed_registration_hands_out_no_token_of_the_old_one(
        self, ready: RunnersApi, nightly: Credential, web: Web
    ) -> None:
        """A new subject must not get what the old one's rights were."""
        ready.put(nightly, subject="tpu", scope="less")
        answer = ready.token(web.bearer("tpu", client="tpu"))
        assert (answer.status, answer.reason) == (503, "token_unavailable")

    @pytest.mark.parametrize(
        "refusal",
        [Refusal("ResourceNotFoundException"), Refusal("InvalidRequestException")],
        ids=lambda refusal: refusal.code,
    )
    def test_version_that_cannot_be_seen_yet_is_waited_for(
        self, ready: RunnersApi, gpu: Credential, refusal: Refusal
    ) -> None:
        """Reads of Secrets Manager may be behind its writes."""
        ready.world.aws.faults.follow("GetSecretValue", refusal)
        assert ready.token(gpu).reason == "token_unavailable"
        assert ready.token(gpu).status == 200

    @pytest.mark.parametrize("text", ["", "{", '"text"', "{}", '{"token":1}', "\x00"])
    def test_secret_that_somebody_spoiled_is_not_told(
        self, ready: RunnersApi, gpu: Credential, text: str
    ) -> None:
        """503, and none of it in any log: the text could be half a token."""
        row = ready.registered_row()
        row = replace(row, generation=row.generation + 7)
        ready.store(row)
        assert row.slot is not None
        name = token_secret_name(row.project, row.runner, row.slot)
        value = {"SecretString": text} if text else {"SecretBinary": b"spoiled-token"}
        ready.world.aws.observer("secretsmanager").put_secret_value(
            SecretId=name, ClientRequestToken=version_token(name, row.generation), **value
        )
        assert ready.token(gpu).reason == "token_unavailable"

    @pytest.mark.parametrize("refusal", [RATE_EXCEEDED, INTERNAL_ERROR])
    def test_secrets_manager_that_is_down_is_our_trouble(
        self, ready: RunnersApi, gpu: Credential, refusal: Refusal
    ) -> None:
        """503 after botocore's tries, and counted."""
        ready.world.aws.faults.follow("GetSecretValue", afterwards=refusal)
        assert ready.token(gpu).reason == "store_unavailable"

    def test_secret_that_we_may_not_read_is_our_fault(
        self, ready: RunnersApi, gpu: Credential
    ) -> None:
        """500: no retry mends a policy."""
        ready.world.aws.faults.follow("GetSecretValue", afterwards=ACCESS_DENIED)
        assert ready.token(gpu).status == 500

    @pytest.mark.parametrize("operation", ["GetItem", "GetSecretValue"])
    def test_read_whose_answer_was_lost_is_read_again(
        self, ready: RunnersApi, gpu: Credential, operation: str
    ) -> None:
        """200 all the same."""
        ready.world.aws.faults.follow(operation, LoseAnswer())
        assert ready.token(gpu).status == 200


def test_runner_that_acts_for_somebody_reads_its_own_token_without_their_rights() -> None:
    """It is the runner whoever it acts for; of another runner's token it has their rights, none."""
    person = RoleAssignment(Principal("user", "https://issuer.example", "ada"), frozenset())
    runner = RoleAssignment(principal_of(GPU), frozenset({"credential:token-reader"}))
    context = {"source": "bearer", "verified": True}
    access = Access("payments", (runner, person), None, context)
    own, other = (
        access.resource("Runner", "nightly", own=principal)
        for principal in (runner.principal, Principal("application", "https://issuer.example", "x"))
    )
    assert access.may("read_runner_token", own)
    assert not access.may("read_runner_token", other)
