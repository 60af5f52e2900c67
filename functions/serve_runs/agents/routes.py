"""The routes of agents: which of them may act in a project for whoever's token they carry.

caller → policy → one transaction of both rows and the record.
"""

from dataclasses import dataclass

from aws_lambda_powertools.event_handler import Response

from byline.caching import Clock
from byline.tables.rows import Item
from serve_runs.access.admins import DefaultIssuers
from serve_runs.access.decisions import Resource
from serve_runs.access.entries import end_of, expiring
from serve_runs.agents.requests import AllowAgent
from serve_runs.agents.store import ATTEMPTS, AgentStore
from serve_runs.agents.views import AgentPermission, agent_json, agent_resource
from serve_runs.audit.rights import agent_rights, given_rights
from serve_runs.audit.trail import AuditTrail
from serve_runs.calls import Call, json_answer, no_content
from serve_runs.errors import contended, not_found
from serve_runs.web.paging import PageQuery, decode_cursor, encode_cursor
from serve_runs.web.routing import Route

AGENTS = "/v1/projects/<project>/agents"
AGENT = f"{AGENTS}/<agent>"


@dataclass(frozen=True, slots=True)
class AgentRoutes:
    """The routes. `issuers`: those of subjects given without one."""

    store: AgentStore
    audit: AuditTrail
    issuers: DefaultIssuers
    now: Clock

    def routes(self) -> tuple[Route, ...]:
        """The routes, with their paths."""
        return (
            Route("PUT", AGENT, self.allow_agent, takes_body=True),
            Route("GET", AGENTS, self.list_agents),
            Route("GET", AGENT, self.show_agent),
            Route("DELETE", AGENT, self.delete_agent),
        )

    def allow_agent(self, call: Call, agent: str) -> Response[str]:
        """Let an agent act for whoever's token it carries: 201, or 200 where it may already.

        It may do what both its roles here and the person's roles allow at the time of each request.
        """
        call.access.require("allow_agent", _resource(call, agent))
        body = call.body(AllowAgent) if call.event.get("body") else AllowAgent()
        wanted = AgentPermission(
            project=call.project,
            name=agent,
            agent=body.principal(agent, self.issuers),
            roles=frozenset(body.roles),
            end=end_of(body.expires_at, now=self.now()),
            request_id=call.action.request_id,
        )
        rights = given_rights(wanted.agent, wanted.roles, row=expiring(wanted.end))
        resource = agent_resource(call.project, agent)
        record = self.audit.record(call.action, "allow_agent", resource, details=rights)
        row, outcome = self.store.allow(wanted, record=record)
        call.log(f"agent {outcome}", agent=wanted.agent.text)
        if outcome == "created":
            location = f"/v1/projects/{call.project}/agents/{agent}"
            return json_answer(201, agent_json(row), location=location)
        return json_answer(200, agent_json(row))

    def list_agents(self, call: Call) -> Response[str]:
        """The agents that a project allows, by name."""
        call.access.require("read_agent")
        query = call.query(PageQuery)
        binding = f"agents of {call.project}"
        after = decode_cursor(query.cursor, query=binding)
        rows, last = self.store.list_of(call.project, limit=query.limit, after=after)
        next_cursor = encode_cursor(last, query=binding)
        found = [agent_json(row) for row in rows]
        return json_answer(200, {"agents": found, "next_cursor": next_cursor})

    def show_agent(self, call: Call, agent: str) -> Response[str]:
        """One agent that a project allows."""
        call.access.require("read_agent")
        return json_answer(200, agent_json(self._find(call, agent)))

    def delete_agent(self, call: Call, agent: str) -> Response[str]:
        """Allow an agent no more: 204, or 404 where it is not allowed."""
        call.access.require(
            "delete_agent", _resource(call, agent), find=lambda: self._find(call, agent)
        )
        for _ in range(ATTEMPTS):
            row = self._find(call, agent)
            resource, rights = agent_resource(call.project, agent), agent_rights(row)
            record = self.audit.record(call.action, "delete_agent", resource, details=rights)
            if self.store.delete(row, record=record):
                call.log("agent deleted", agent=row["principal"]["S"])
                return no_content()
        raise contended("agent")

    def _find(self, call: Call, agent: str) -> Item:
        row = self.store.find(call.project, agent)
        if row is None:
            raise not_found()
        return row


def _resource(call: Call, agent: str) -> Resource:
    return call.access.resource("Agent", agent)
