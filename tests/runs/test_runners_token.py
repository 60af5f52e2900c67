"""A runner reads its own token, and no caller learns anything about another runner's token."""

import time
from collections.abc import Callable
from copy import replace
from datetime import datetime
from typing import Any

import msgspec
import pytest

from byline.identity.caller import Caller, Principal, principal_of
from byline.refresh.runner_rows import RunnerRow
from byline.refresh.token_rows import TokenRow
from byline.refresh.work_units import version_token
from serve_runs.access.control import Access, RoleAssignment
from serve_runs.runners.tokens import own_principal
from stand_ins.faults import LoseAnswer
from stand_ins.refusal import ACCESS_DENIED, INTERNAL_ERROR, RATE_EXCEEDED, Refusal
from tests.identity import alb_tokens
from tests.refresh.world import SECRETS
from tests.runs.credentials_api import CredentialsApi
from tests.runs.identity_server import NO_CREDENTIAL, Credential, Web
from tests.runs.runners_api import RunnersApi
from tests.runs.runs_api import Answer


def is_own(row: RunnerRow, caller: Caller | None) -> bool:
    """Whether the policies allow a caller without a role to read the runner's token."""
    assignment = RoleAssignment(principal_of(caller), frozenset())
    context = {"source": "none" if caller is None else caller.source, "verified": True}
    access = Access(row.project, (assignment,), None, context)
    runner = access.resource("Runner", row.runner, own=own_principal(row))
    return access.may("read_runner_token", runner)


@pytest.fixture
def ready(runners: RunnersApi, nightly: Credential) -> RunnersApi:
    """A runner `nightly` of the subject `gpu` that has its token."""
    assert runners.put(nightly, subject="gpu").status == 201
    runners.refresh()
    runners.world.aws.calls.clear()
    return runners


def newest_secret(row: TokenRow) -> str:
    """The name of the secret of the token's newest generation."""
    assert row.slot is not None
    return SECRETS.token(row.project, row.client, row.id, row.slot)


def comparable(answer: Answer) -> tuple[int, dict[str, str], dict[str, Any]]:
    """An answer without its `instance`, which differs between any two requests."""
    return answer.status, answer.headers, {**answer.json, "instance": "-"}


def test_runner_reads_its_token(ready: RunnersApi, gpu: Credential) -> None:
    """The answer is the last committed token with its times, and must not be cached."""
    answer = ready.token(gpu)
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    row, token = ready.token_row(), answer.json
    assert token["token"] == ready.world.token(row)["token"]
    assert token["token_type"] == "Bearer"
    times = [
        datetime.fromisoformat(token[name]).timestamp() for name in ("issued_at", "expires_at")
    ]
    assert times == [row.issued_at, row.expires_at]
    assert ready.calls() == [
        "BatchGetItem",
        *["GetItem"] * 2,
        "GetSecretValue",
        "PutItem",
    ]


def test_token_read_is_logged_without_the_token(
    ready: RunnersApi, gpu: Credential, log_lines: Callable[[], list[str]]
) -> None:
    """The log names the reader and the runner, and no line contains the token."""
    token = ready.token(gpu).json["token"]
    [line] = [line for line in log_lines() if '"token fetched"' in line]
    assert '"actor":"gpu"' in line
    assert token not in "".join(log_lines())


def test_token_is_read_from_the_slot_of_the_last_refresh(
    ready: RunnersApi, gpu: Credential
) -> None:
    """Each refresh writes another slot, and the token of that slot is answered."""
    tokens = [ready.token(gpu).json["token"]]
    for _ in range(2):
        row = ready.token_row()
        ready.store(replace(row, due_at=int(time.time())))
        ready.refresh()
        assert ready.token_row().slot != row.slot
        tokens.append(ready.token(gpu).json["token"])
    assert len(set(tokens)) == 3


def test_uncommitted_version_is_not_answered(ready: RunnersApi, gpu: Credential) -> None:
    """A version that a stale worker has written over the committed one does not count."""
    row = ready.token_row()
    name = newest_secret(row)
    before = ready.token(gpu).json
    ready.world.aws.observer("secretsmanager").put_secret_value(
        SecretId=name,
        ClientRequestToken=version_token(name, row.generation + 1),
        SecretString='{"token":"a-stale-worker-s","token_type":"Bearer",'
        '"issued_at":"2026-01-01T00:00:00Z","expires_at":"2036-01-01T00:00:00Z"}',
    )
    assert ready.token(gpu).json == before


def test_runners_that_share_a_token_read_it_each_by_its_own_name(
    ready: RunnersApi, nightly: Credential, gpu: Credential, web: Web
) -> None:
    """Each subject gets the token by the name of its own runner, and by no other name."""
    ready.put(nightly, "weekly", subject="tpu")
    tpu = web.bearer("tpu", client="tpu")
    assert ready.token(tpu, "weekly").json == ready.token(gpu).json
    assert ready.token(tpu).reason == ready.token(gpu, "weekly").reason == "not_found"
    assert ready.token(web.bearer("cpu", client="cpu"), "weekly").reason == "not_found"


def test_isolated_runners_read_different_tokens(
    runners: RunnersApi, nightly: Credential, gpu: Credential
) -> None:
    """With equal requests and subjects too."""
    for name in ("nightly", "weekly"):
        runners.put(nightly, name, subject="gpu", isolated=True)
    runners.refresh(*{token.work_unit for token in runners.live()})
    tokens = {runners.token(gpu, name).json["token"] for name in ("nightly", "weekly")}
    assert len(tokens) == 2


class TestOtherCallers:
    """A caller gets the same answer for another runner's token as for a missing runner."""

    @pytest.fixture
    def missing(self, ready: RunnersApi, gpu: Credential) -> Answer:
        """The answer for a missing runner."""
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
            ("gpu", {"client": "web"}),  # a person with the same subject
        ],
    )
    def test_another_caller_cannot_tell_denied_from_missing(
        self, ready: RunnersApi, web: Web, missing: Answer, subject: str, claims: dict[str, str]
    ) -> None:
        """Status, headers, body and AWS calls are the same."""
        answer = ready.token(web.bearer(subject, **claims))
        assert comparable(answer) == comparable(missing)
        assert ready.calls() == ["BatchGetItem", "GetItem"]

    def test_person_with_the_runners_subject_is_another_caller(
        self, ready: RunnersApi, web: Web, missing: Answer
    ) -> None:
        """The load balancer's token names a person, and a runner is an application."""
        assert comparable(ready.token(web.browser("gpu"))) == comparable(missing)

    def test_same_subject_of_another_issuer_is_another_caller(
        self, ready: RunnersApi, gpu: Credential, missing: Answer
    ) -> None:
        """Issuers may use the same subjects, so a runner is issuer and subject."""
        ready.store(replace(ready.row(), subject_issuer="https://other.example"))
        assert comparable(ready.token(gpu)) == comparable(missing)

    @pytest.mark.parametrize("subject", [None, ""])
    @pytest.mark.parametrize("issuer", ["its own", None])
    def test_runner_without_a_subject_has_no_reader(
        self,
        ready: RunnersApi,
        gpu: Credential,
        missing: Answer,
        subject: str | None,
        issuer: str | None,
    ) -> None:
        """A runner with an empty subject matches no caller."""
        row = ready.row()
        issuer = row.subject_issuer if issuer else None
        ready.store(replace(row, subject=subject, subject_issuer=issuer))
        assert comparable(ready.token(gpu)) == comparable(missing)

    def test_runner_without_an_issuer_has_no_reader(
        self, ready: RunnersApi, gpu: Credential, missing: Answer
    ) -> None:
        """A runner that an anonymous caller registered matches no caller."""
        ready.store(replace(ready.row(), subject_issuer=None))
        assert comparable(ready.token(gpu)) == comparable(missing)

    def test_admin_that_registered_the_runner_is_forbidden(
        self, ready: RunnersApi, nightly: Credential
    ) -> None:
        """An admin who may see the runner gets 403 for its token, and no secret is read."""
        answer = ready.token(nightly)
        assert (answer.status, answer.reason) == (403, "forbidden")
        assert "GetSecretValue" not in ready.calls()

    @pytest.mark.parametrize(
        ("role", "status"),
        [("credential:token-reader", 404), ("project:editor", 403), ("runner:token-reader", 200)],
    )
    def test_role_for_credentials_reads_no_token_of_a_runner(
        self, credentials: CredentialsApi, web: Web, role: str, status: int
    ) -> None:
        """Only `runner:token-reader` lets a service account read the token of another runner."""
        ready = credentials.runners
        assert ready.put(web.bearer("nightly", client="nightly"), subject="gpu").status == 201
        ready.refresh()
        credentials.grant("tpu", role, kind="application")
        ready.world.aws.calls.clear()
        assert ready.token(web.bearer("tpu", client="tpu")).status == status
        assert ("GetSecretValue" in ready.calls()) == (status == 200)

    @pytest.mark.parametrize("state", ["waiting", "expired", "deleted"])
    def test_another_caller_cannot_tell_the_state_of_the_runner(
        self,
        ready: RunnersApi,
        nightly: Credential,
        web: Web,
        missing: Answer,
        state: str,
    ) -> None:
        """The answer is the same before the first token, after its expiry and after a deletion."""
        row = ready.token_row()
        if state == "waiting":
            ready.store(replace(row, slot=None, expires_at=None))
        elif state == "expired":
            ready.store(replace(row, expires_at=1))
        else:
            ready.delete(nightly)
            ready.world.aws.calls.clear()
        other = web.bearer("tpu", client="tpu")
        assert comparable(ready.token(other)) == comparable(missing)
        assert ready.calls() == ["BatchGetItem", "GetItem"]

    def test_anonymous_caller_is_refused(self, ready: RunnersApi) -> None:
        """An anonymous caller is answered 401 before anything is read."""
        answer = ready.token(NO_CREDENTIAL)
        assert (answer.status, answer.reason) == (401, "no_credentials")
        assert ready.calls() == []

    def test_forged_token_is_refused(self, ready: RunnersApi, gpu: Credential) -> None:
        """A changed character of the signature is answered 401, not 404."""
        [(name, value)] = gpu.headers
        changed = "A" if value[-20] != "A" else "B"
        forged = Credential(((name, f"{value[:-20]}{changed}{value[-19:]}"),), gpu.group)
        assert ready.token(forged).reason == "bad_signature"

    def test_bearer_token_on_the_browser_group_is_ignored(
        self, ready: RunnersApi, gpu: Credential
    ) -> None:
        """The target group determines which credential counts."""
        moved = Credential(gpu.headers, alb_tokens.BROWSER_GROUP)
        assert ready.token(moved).reason == "no_credentials"


ROW = RunnerRow(
    project="payments",
    runner="nightly",
    client="scheduler",
    token="-",
    revision="-",
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
        # A caller whose token has the runner's subject, but which is another service account.
        ({}, {"subject": "tpu", "token_subject": "gpu"}, False),
    ],
)
def test_runner_is_the_service_account_of_its_subject_and_issuer(
    row: dict[str, Any], caller: dict[str, Any], *, own: bool
) -> None:
    """All facts must be equal, and two empty values are not equal."""
    changed = msgspec.structs.replace(GPU, **caller)
    assert is_own(replace(ROW, **row), changed) is own
    assert not is_own(replace(ROW, **row), None)


@pytest.mark.parametrize(
    "trust", [{"IDENTITY_TRUST": "forwarded"}, {"IDENTITY_TRUST": "ignore"}], ids=str
)
def test_unverified_caller_reads_no_token(
    ready: RunnersApi,
    start_runners: Callable[..., RunnersApi],
    gpu: Credential,
    trust: dict[str, str],
) -> None:
    """Where callers are not verified, no caller reads a runner's token."""
    unverified = start_runners(ANONYMOUS_CALLERS="allow", PROJECT_ADMINS="ada", **trust)
    answer = unverified.api.call("GET", ready.path(of="/token"), by=gpu)
    assert (answer.status, answer.reason) == (404, "not_found")
    assert "GetSecretValue" not in ready.calls()


class TestWithoutToken:
    """A runner is answered 503 while it has no valid token."""

    def test_runner_before_its_first_token_is_503(
        self, runners: RunnersApi, nightly: Credential, gpu: Credential
    ) -> None:
        """The answer has `Retry-After`, and the token is answered after its refresh."""
        runners.put(nightly, subject="gpu")
        answer = runners.token(gpu)
        assert (answer.status, answer.reason) == (503, "token_unavailable")
        assert answer.headers["retry-after"] == "2"
        runners.refresh()
        assert runners.token(gpu).status == 200

    @pytest.mark.parametrize(("lifetime", "status"), [(5, 200), (0, 503), (-1, 503)])
    def test_expired_token_is_not_answered(
        self, ready: RunnersApi, gpu: Credential, lifetime: int, status: int
    ) -> None:
        """A token is answered until its expiry, and 503 from then on."""
        ready.store(replace(ready.token_row(), expires_at=int(time.time()) + lifetime))
        assert ready.token(gpu).status == status

    def test_changed_registration_answers_no_old_token(
        self, ready: RunnersApi, nightly: Credential, web: Web
    ) -> None:
        """A new subject does not get the token with the old permissions."""
        ready.put(nightly, subject="tpu", scope="less")
        answer = ready.token(web.bearer("tpu", client="tpu"))
        assert (answer.status, answer.reason) == (503, "token_unavailable")

    @pytest.mark.parametrize(
        "refusal",
        [Refusal("ResourceNotFoundException"), Refusal("InvalidRequestException")],
        ids=lambda refusal: refusal.code,
    )
    def test_version_that_is_not_readable_yet_is_503(
        self, ready: RunnersApi, gpu: Credential, refusal: Refusal
    ) -> None:
        """Reads of Secrets Manager may lag behind writes, and a retry succeeds."""
        ready.world.aws.faults.follow("GetSecretValue", refusal)
        assert ready.token(gpu).reason == "token_unavailable"
        assert ready.token(gpu).status == 200

    @pytest.mark.parametrize("text", ["", "{", '"text"', "{}", '{"token":1}', "\x00"])
    def test_unreadable_secret_is_not_answered(
        self, ready: RunnersApi, gpu: Credential, text: str
    ) -> None:
        """The answer is 503, and no part of the text is logged, because it may be part of a
        token."""
        row = ready.token_row()
        row = replace(row, generation=row.generation + 7)
        ready.store(row)
        name = newest_secret(row)
        value = {"SecretString": text} if text else {"SecretBinary": b"spoiled-token"}
        ready.world.aws.observer("secretsmanager").put_secret_value(
            SecretId=name, ClientRequestToken=version_token(name, row.generation), **value
        )
        assert ready.token(gpu).reason == "token_unavailable"

    @pytest.mark.parametrize("refusal", [RATE_EXCEEDED, INTERNAL_ERROR])
    def test_failing_secrets_manager_is_503(
        self, ready: RunnersApi, gpu: Credential, refusal: Refusal
    ) -> None:
        """The answer is 503 after botocore's retries."""
        ready.world.aws.faults.follow("GetSecretValue", afterwards=refusal)
        assert ready.token(gpu).reason == "store_unavailable"

    def test_denied_secret_is_500(self, ready: RunnersApi, gpu: Credential) -> None:
        """The answer is 500, because a retry does not repair a policy."""
        ready.world.aws.faults.follow("GetSecretValue", afterwards=ACCESS_DENIED)
        assert ready.token(gpu).status == 500

    @pytest.mark.parametrize("operation", ["GetItem", "GetSecretValue"])
    def test_read_with_a_lost_answer_is_repeated(
        self, ready: RunnersApi, gpu: Credential, operation: str
    ) -> None:
        """The repeated read succeeds."""
        ready.world.aws.faults.follow(operation, LoseAnswer())
        assert ready.token(gpu).status == 200


def test_runner_that_acts_for_a_person_reads_only_its_own_token() -> None:
    """Its own token needs no role of the person, and another runner's token does."""
    person = RoleAssignment(Principal("user", "https://issuer.example", "ada"), frozenset())
    runner = RoleAssignment(principal_of(GPU), frozenset({"runner:token-reader"}))
    context = {"source": "bearer", "verified": True}
    access = Access("payments", (runner, person), None, context)
    own, other = (
        access.resource("Runner", "nightly", own=principal)
        for principal in (runner.principal, Principal("application", "https://issuer.example", "x"))
    )
    assert access.may("read_runner_token", own)
    assert not access.may("read_runner_token", other)
