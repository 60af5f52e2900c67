"""The demo's scenes about an agent with a delegated token, and about a CI job."""

from collections.abc import Mapping

import httpx

from local.demo_lines import Lines, name_of
from local.openid_directory import EXCHANGE, Person
from local.openid_provider import AUDIENCE, BROWSER_CLIENT, GRACE
from local.stack import Stack
from local.token_exchange import ACCESS_TOKEN

PROJECT = "/v1/projects/research"
RUNS = f"{PROJECT}/runs"
CALLBACK = "http://127.0.0.1/oauth2/idpresponse"
AGENT = "planner"
EDITOR = "project:editor"

type Binding = Mapping[str, str]


class DelegationScene:
    """An agent acts for Grace with a token that names both. `admin` grants and revokes roles."""

    def __init__(self, stack: Stack, lines: Lines, *, admin: httpx.Client) -> None:
        self._stack = stack
        self._lines = lines
        self._admin = admin

    def play(self) -> set[str]:
        """Play the scene. Returns the tokens that it saw, to be searched for in the logs."""
        hers = self._token_of(GRACE)
        token = self._exchange(hers)
        grace: Binding = {"role": EDITOR, "subject": GRACE.subject}
        headers = {"authorization": f"Bearer {token}"}
        with httpx.Client(base_url=self._stack.url, headers=headers) as agent:
            self._bind("PUT", GRACE.name, grace, status=201)
            self._create(agent, "too-early", 404, "not_found")
            self._allow("PUT", status=201)
            self._lines.show("GET /v1/whoami", agent.get("/v1/whoami"), 200, AGENT)
            run = self._create(agent, "plan-week", 201, "plan-week")
            self._show_people(agent.get(f"{RUNS}/{run}"))
            self._allow("DELETE", status=204)
            self._create(agent, "without-its-own-right", 404, "not_found")
            self._allow("PUT", status=201)
            self._bind("DELETE", GRACE.name, grace, status=204)
            self._create(agent, "without-her-right", 404, "not_found")
        return {hers, token}

    def _create(self, agent: httpx.Client, name: str, status: int, word: str) -> str:
        answer = agent.post(RUNS, json={"name": name})
        self._lines.show(f"{AGENT}: POST {RUNS}", answer, status, word)
        return str(answer.json().get("id"))

    def _show_people(self, answer: httpx.Response) -> None:
        run = answer.json()
        people = [name_of(run.get(member)) for member in ("executed_by", "on_behalf_of")]
        self._lines.verdict(
            f"GET {RUNS}/…",
            f"{answer.status_code} by {' on behalf of '.join(people)}",
            is_as_promised=people == [AGENT, GRACE.name],
        )

    def _allow(self, method: str, *, status: int) -> None:
        """Let the agent act for whoever's token it carries, or no more."""
        path = f"{PROJECT}/agents/{AGENT}"
        body = {"issuer": self._stack.issuer, "roles": [EDITOR]} if method == "PUT" else None
        answer = self._admin.request(method, path, json=body)
        self._lines.verdict(
            f"{method} {path}",
            f"{answer.status_code} {EDITOR} for {AGENT}",
            is_as_promised=answer.status_code == status,
        )

    def _bind(self, method: str, name: str, binding: Binding, *, status: int) -> None:
        place = "json" if method == "PUT" else "params"
        path = f"{PROJECT}/role-bindings"
        answer = self._admin.request(method, path, **{place: binding})  # type: ignore[arg-type]
        self._lines.verdict(
            f"{method} {path}",
            f"{answer.status_code} {EDITOR} for {name}",
            is_as_promised=answer.status_code == status,
        )

    def _token_of(self, person: Person) -> str:
        """A person's access token, by the code grant of the browser client."""
        assert self._stack.provider is not None  # noqa: S101 - the demo has no outside provider
        query = {
            "response_type": "code",
            "client_id": BROWSER_CLIENT,
            "redirect_uri": CALLBACK,
            "scope": "openid profile email",
        }
        form = {"person": person.subject}
        page = httpx.post(f"{self._stack.issuer}/authorize", params=query, data=form)
        code = httpx.URL(page.headers["location"]).params["code"]
        answer = httpx.post(
            f"{self._stack.issuer}/token",
            data={"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK},
            auth=(BROWSER_CLIENT, self._stack.provider.browser_secret),
        )
        return str(answer.json()["access_token"])

    def _exchange(self, token: str) -> str:
        answer = httpx.post(
            f"{self._stack.issuer}/token",
            data={
                "grant_type": EXCHANGE,
                "subject_token": token,
                "subject_token_type": ACCESS_TOKEN,
            },
            auth=(AGENT, f"{AGENT}-secret"),
        )
        return str(answer.json()["access_token"])


class JobScene:
    """A CI job calls with its workflow's own token. `admin` grants its role."""

    def __init__(self, stack: Stack, lines: Lines, *, admin: httpx.Client) -> None:
        self._stack = stack
        self._lines = lines
        self._admin = admin

    def play(self) -> set[str]:
        """Play the scene. Returns the tokens that it saw, to be searched for in the logs."""
        token, strange = self._token("acme/train"), self._token("mallory/train")
        self._grant("repo:acme/train:ref:refs/heads/main")
        with self._caller(token) as job, self._caller(strange) as stranger:
            self._lines.show(
                "GET /v1/whoami", job.get("/v1/whoami"), 200, "acme/train @ main, workflow nightly"
            )
            answer = job.post(RUNS, json={"name": "train-model"})
            self._lines.show(f"POST {RUNS}", answer, 201, "train-model")
            answer = stranger.post(RUNS, json={"name": "mine-coins"})
            self._lines.show("a job of mallory/train", answer, 401, "claims_not_allowed")
        return {token, strange}

    def _caller(self, token: str) -> httpx.Client:
        headers = {"authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self._stack.url, headers=headers)

    def _grant(self, subject: str) -> None:
        assert self._stack.provider is not None  # noqa: S101 - the demo has no outside provider
        binding = {"role": EDITOR, "kind": "application", "subject": subject}
        issuer = {"issuer": self._stack.provider.ci.issuer}
        answer = self._admin.put(f"{PROJECT}/role-bindings", json={**binding, **issuer})
        self._lines.verdict(
            f"PUT {PROJECT}/role-bindings",
            f"{answer.status_code} {EDITOR} for {subject}",
            is_as_promised=answer.status_code == 201,
        )

    def _token(self, repository: str) -> str:
        """The token that a job asks for, as a step of GitHub Actions does."""
        assert self._stack.provider is not None  # noqa: S101 - the demo has no outside provider
        job = self._stack.provider.ci.start_job(repository, workflow="nightly", actor="ada-l")
        answer = httpx.get(
            job.request_url,
            params={"audience": AUDIENCE},
            headers={"authorization": f"Bearer {job.request_token}"},
        )
        return str(answer.json()["value"])
