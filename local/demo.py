"""`make demo`: shows what Byline does on this machine, over real HTTP, in under a minute.

A person signs in with a browser and in a terminal, a service account calls with a Bearer token,
forgeries fail, a runner's token is replaced before it expires, and a table shows who ran what. The
exit status is 0 only if every answer was as expected.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from local.demo_agents import DelegationScene, JobScene
from local.demo_lines import Lines, name_of
from local.demo_runners import RunnersScene
from local.demo_terminal import TerminalScene
from local.forgeries import AttackersRule, strangers_token
from local.listening import DEFAULT_PORT, listen
from local.openid_directory import Person
from local.openid_provider import ADA, GRACE, MARGARET
from local.stack import Stack

PROJECT = "/v1/projects/research"
RUNS = f"{PROJECT}/runs"


class Demo:
    """The scenes of the demo, on a running stack."""

    def __init__(self, stack: Stack, lines: Lines) -> None:
        self._stack = stack
        self._lines = lines
        self._tokens: list[str] = []

    def run(self) -> None:
        """Play all scenes in order."""
        self._lines.title("People sign in with a browser, and in a terminal")
        with self._signed_in(ADA) as ada, self._signed_in(GRACE) as grace:
            self._tokens += TerminalScene(self._stack, self._lines, person=ADA).play()

            self._lines.title("A service account calls with a Bearer token")
            with self._bearer(self._token("nightly-train")) as machine:
                self._lines.show("GET /v1/whoami", machine.get("/v1/whoami"), 200, "nightly-train")
                self._change(machine, self._create(machine, "nightly"), "start", "running")
                forgotten = self._create(machine, "backfill")
                self._bind("PUT", ada, GRACE, status=201)
                self._change(grace, forgotten, "cancel", "cancelled")

            self._lines.title("Another one acts for a person: with her rights, and no longer")
            self._act_for_grace(ada, grace)

            self._lines.title("An agent acts with a token that names Grace: both need the right")
            self._tokens += DelegationScene(self._stack, self._lines, admin=ada).play()

            self._lines.title("A CI job calls with the token of its workflow")
            self._tokens += JobScene(self._stack, self._lines, admin=ada).play()

            self._lines.title("Forgeries")
            self._forge()

            self._lines.title(
                "Runners find a live token in Secrets Manager; here each lives 30 seconds"
            )
            self._run_runners(ada, grace)

            self._lines.title("Who ran what")
            self._table(ada.get(RUNS).json()["runs"])
            self._look_for_tokens()

    @contextmanager
    def _signed_in(self, person: Person) -> Iterator[httpx.Client]:
        with httpx.Client(base_url=self._stack.url, follow_redirects=True) as browser:
            page = browser.get("/v1/whoami", headers={"accept": "text/html"})
            answer = browser.post(page.url, data={"person": person.subject})
            self._lines.show("sign in, GET /v1/whoami", answer, 200, person.name)
            yield browser

    def _bearer(self, token: str, **headers: str) -> httpx.Client:
        self._tokens.append(token)
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.Client(
            base_url=self._stack.url, headers={"authorization": f"Bearer {token}", **headers}
        )

    def _token(self, client: str) -> str:
        answer = httpx.post(
            f"{self._stack.issuer}/token",
            data={"grant_type": "client_credentials"},
            auth=(client, f"{client}-secret"),
        )
        return str(answer.json()["access_token"])

    def _create(self, caller: httpx.Client, name: str) -> str:
        answer = caller.post(RUNS, json={"name": name})
        self._lines.show(f"POST {RUNS}", answer, 201, name)
        return str(answer.json().get("id"))

    def _change(self, caller: httpx.Client, run: str, change: str, status: str) -> None:
        answer = caller.post(f"{RUNS}/{run}/{change}")
        self._lines.show(f"POST {RUNS}/…/{change}", answer, 200, status)

    def _act_for_grace(self, ada: httpx.Client, grace: httpx.Client) -> None:
        token = self._token("assistant")
        body = {"token": token, "name": "assistant"}
        answer = grace.post(f"{PROJECT}/service-accounts", json=body)
        self._lines.show("Grace: POST …/service-accounts", answer, 201, "assistant")
        with self._bearer(token) as assistant:
            answer = assistant.get("/v1/whoami")
            person = name_of(answer.json().get("on_behalf_of"))
            outcome = f"{answer.status_code} on behalf of {person}"
            self._lines.verdict("GET /v1/whoami", outcome, is_as_promised=person == "Grace Hopper")
            self._create(assistant, "summarize")
            self._bind("PUT", grace, MARGARET, status=403)
            self._bind("PUT", assistant, MARGARET, status=403)
            self._bind("DELETE", ada, GRACE, status=204)
            answer = assistant.post(RUNS, json={"name": "too-late"})
            self._lines.show(f"assistant: POST {RUNS}", answer, 404, "not_found")

    def _bind(self, method: str, caller: httpx.Client, person: Person, *, status: int) -> None:
        """Bind a person to the role `project:editor` (PUT), or remove the binding (DELETE)."""
        path = f"{PROJECT}/role-bindings"
        binding = {"role": "project:editor", "subject": person.subject}
        place = "json" if method == "PUT" else "params"
        answer = caller.request(method, path, **{place: binding})  # type: ignore[arg-type]
        outcome = f"{answer.status_code} project:editor for {person.name}"
        is_as_promised = answer.status_code == status
        self._lines.verdict(f"{method} {path}", outcome, is_as_promised=is_as_promised)

    def _forge(self) -> None:
        issuer = self._stack.issuer
        attacker = AttackersRule(ADA, issuer=issuer)
        self._stack.published_keys[attacker.signer.kid] = attacker.signer.public_key
        with self._stack.load_balancer(listen(0), attacker) as foreign:
            answer = httpx.get(f"{foreign.url}/v1/whoami")
        self._lines.show("another load balancer's word for Ada", answer, 401, "untrusted_signer")

        with self._bearer(strangers_token(ADA, issuer=issuer)) as stranger:
            answer = stranger.get("/v1/whoami")
        self._lines.show("a stranger's key under Ada's token", answer, 401, "bad_signature")

        with self._bearer(self._token("warehouse")) as elsewhere:
            answer = elsewhere.get("/v1/whoami")
        self._lines.show("a genuine token for another service", answer, 401, "untrusted_audience")

        forged = attacker.token()
        self._tokens.append(forged)
        with self._bearer(self._token("nightly-train"), x_amzn_oidc_data=forged) as machine:
            answer = machine.get("/v1/whoami")
        self._lines.show("Ada's name beside a genuine token", answer, 200, "nightly-train")

    def _run_runners(self, ada: httpx.Client, grace: httpx.Client) -> None:
        with (
            self._bearer(self._token("nightly-train")) as runner,
            self._bearer(self._token("short-lived")) as machine,
        ):
            others = {"a person": grace, "another machine": machine}
            scene = RunnersScene(
                self._stack, self._lines, operator=ada, runner=runner, others=others
            )
            self._tokens += scene.play()

    def _table(self, runs: list[dict[str, Any]]) -> None:
        rows = [("RUN", "NAME", "STATUS", "CREATED BY", "STARTED BY", "ENDED BY", "FOR")]
        for run in runs:
            ended = run["finished_by"] or run["cancelled_by"]
            people = (run["executed_by"], run["started_by"], ended, run["on_behalf_of"])
            rows.append((run["id"], run["name"], run["status"], *map(name_of, people)))
        for row in rows:
            cells = (f"{_cut(cell, to=to):<{to}}" for cell, to in zip(row, WIDTHS, strict=True))
            print(f"  {''.join(cells)}".rstrip())
        actors = [row[3:] for row in rows[1:]]
        self._lines.verdict(
            "names as they were", f"{len(actors)} runs", is_as_promised=actors == ACTORS
        )

    def _look_for_tokens(self) -> None:
        log = self._stack.log_text()
        leaked = sum(token in log for token in self._tokens)
        outcome = f"{leaked} of {len(self._tokens)}"
        self._lines.verdict("tokens in the functions' logs", outcome, is_as_promised=leaked == 0)


def _cut(cell: str, *, to: int) -> str:
    """The cell of a column that is `to` characters wide, a blank included."""
    return cell if len(cell) < to else f"{cell[: to - 2]}…"


ACTORS = [
    ("acme/train @ main, workflow nightly", "-", "-", "-"),
    ("planner", "-", "-", "Grace Hopper"),
    ("assistant", "-", "-", "Grace Hopper"),
    ("nightly-train", "-", "Grace Hopper", "-"),
    ("nightly-train", "nightly-train", "-", "-"),
    ("Ada Lovelace", "Ada Lovelace", "Ada Lovelace", "-"),
]
"""The expected names of each run: created, started and ended by, on behalf of. Newest first."""

WIDTHS = (28, 16, 11, 15, 15, 15, 14)


def main() -> int:
    """Run the demo. Returns the exit status."""
    started = time.perf_counter()
    lines = Lines()
    with Stack(progress=lambda step: print(f"… {step}", flush=True)) as stack:
        print(f"Byline at {stack.url}, signing in at {stack.issuer}")
        Demo(stack, lines).run()
    seconds = time.perf_counter() - started
    outcome = f"{lines.broken} promises broken (!)" if lines.broken else "All as promised"
    print(
        f"\n{outcome}, in {seconds:.1f} s. Nothing is left running. In a browser:"
        f" LOCAL_STORY=on make up, then http://127.0.0.1:{DEFAULT_PORT}/"
    )
    return 1 if lines.broken else 0


if __name__ == "__main__":
    sys.exit(main())
