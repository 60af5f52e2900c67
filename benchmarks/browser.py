"""The event of a browser's create, as the load balancer forwards it, and the row of the run."""

import json
import time
from copy import deepcopy
from itertools import count
from typing import Any

from local.load_balancer_signing import Signer

TARGET_GROUP = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/byline-browser"
ISSUER = "https://login.example.com/realms/people"
CLIENT_ID = "byline-browser"

SUBJECT = "7c0a5d1e-4f3b-4c55-9a35-2f0f6d3b8e11"
_CLAIMS = {
    "sub": SUBJECT,
    "email_verified": True,
    "name": "Ada Lovelace",
    "preferred_username": "ada",
    "given_name": "Ada",
    "family_name": "Lovelace",
    "email": "ada@example.com",
}
_HEADERS = {
    "accept": "application/json",
    "accept-encoding": "gzip, deflate, br, zstd",
    "accept-language": "en-GB,en;q=0.9,de;q=0.8",
    "content-type": "application/json",
    "cookie": "AWSELBAuthSessionCookie-0=" + "nq0/4Wc+" * 240,
    "host": "byline.example.com",
    "origin": "https://byline.example.com",
    "referer": "https://byline.example.com/projects/research",
    "sec-fetch-dest": "empty",
    "sec-fetch-mode": "cors",
    "sec-fetch-site": "same-origin",
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
    "x-amzn-oidc-accesstoken": "x" * 1_024,
    "x-amzn-oidc-identity": SUBJECT,
    "x-amzn-trace-id": "Root=1-6920a5c1-3f2b6c0d7a8e9f0011223344",
    "x-forwarded-for": "203.0.113.7",
    "x-forwarded-port": "443",
    "x-forwarded-proto": "https",
}
_BODY = {
    "name": "weekly summary of the support queue",
    "agent": "summariser",
    "runner": "batch-eu-1",
    "labels": {"team": "support", "cost-centre": "4711"},
}
_EVENT: dict[str, Any] = {
    "requestContext": {"elb": {"targetGroupArn": f"{TARGET_GROUP}/1234567890abcdef"}},
    "httpMethod": "POST",
    "path": "/v1/projects/research/runs",
    "multiValueQueryStringParameters": {},
    "multiValueHeaders": {name: [value] for name, value in _HEADERS.items()},
    "body": json.dumps(_BODY),
    "isBase64Encoded": False,
}

ITEM = {
    "project": {"S": "research"},
    "id": {"S": "01KAPZ6Q3M4T9V2C8XG5N7R1WD"},
    "status": {"S": "pending"},
    "created_at": {"S": "2026-11-22T16:20:11.123Z"},
    "updated_at": {"S": "2026-11-22T16:20:11.123Z"},
    "last_request": {"S": "2f1c7f3e-5d51-4a3f-8f0e-0b7a2d9c4e66"},
    "name": {"S": _BODY["name"]},
    "agent": {"S": _BODY["agent"]},
    "runner": {"S": _BODY["runner"]},
    "labels": {"M": {"team": {"S": "support"}, "cost-centre": {"S": "4711"}}},
    "creator": {"S": SUBJECT},
    "creator_issuer": {"S": ISSUER},
    "creator_user_id": {"S": SUBJECT},
    "executed_by": {
        "S": f'{{"user":{{"id":{{"subject":"{SUBJECT}"}},"spec":{{"firstName":"Ada",'
        '"lastName":"Lovelace","email":"ada@example.com"}}}'
    },
}
"""The row of such a run. The baselines put this item."""

SHARED_TOKEN = {
    "client": {"S": "scheduler"},
    "id": {"S": "01kaz9q7w5v4t3s2r1q0p9n8m7"},
    "created_at": {"S": "2026-11-22T16:20:11.123Z"},
    "audience": {"S": "https://api.example.com"},
    "shard": {"S": "07"},
    **{
        name: {"N": str(number)}
        for name, number in {
            "runners": 41,
            "generation": 812,
            "attempts": 0,
            "slots": 2,
            "slot": 0,
            "lifetime": 900,
            "issued_at": 4_102_444_800,
            "refreshed_at": 4_102_444_800,
            "due_at": 4_102_445_340,
            "expires_at": 4_102_445_700,
            "deadline": 4_102_445_700,
            "window_started_at": 4_102_444_800,
            "window_writes": 12,
        }.items()
    },
}
"""The attributes of a token that other runners point to, without its key."""

CONSOLE_PAGE: dict[str, Any] = {
    **_EVENT,
    "httpMethod": "GET",
    "path": "/console/runs",
    "multiValueHeaders": {"accept": ["text/html"], "accept-encoding": ["gzip, deflate, br"]},
    "body": "",
}

HEALTH_CHECK: dict[str, Any] = {
    **_EVENT,
    "httpMethod": "GET",
    "path": "/healthz",
    "multiValueHeaders": {"host": ["10.0.1.7"], "user-agent": ["ELB-HealthChecker/2.0"]},
    "body": "",
}


class Browser:
    """A signed-in browser, and its load balancer with a key of its own."""

    def __init__(self) -> None:
        self._signer = Signer()
        self._tokens = count()

    @property
    def signer(self) -> str:
        """The load balancer's ARN."""
        return self._signer.arn

    @property
    def public_key(self) -> bytes:
        """The load balancer's public key in PEM."""
        return self._signer.public_key

    def token(self) -> str:
        """A new token, valid for two minutes."""
        claims = {**_CLAIMS, "session": f"{next(self._tokens):08}"}
        return self._signer.sign(claims, issuer=ISSUER, client=CLIENT_ID, now=time.time())

    def whoami(self) -> dict[str, Any]:
        """The event of `GET /v1/whoami`."""
        return {**self.create(), "httpMethod": "GET", "path": "/v1/whoami", "body": ""}

    def register(self) -> dict[str, Any]:
        """The event of a runner's registration that shares `SHARED_TOKEN`, with a new token."""
        return {
            **self.create(),
            "httpMethod": "PUT",
            "path": f"/v1/projects/research/runners/runner-{next(self._tokens)}",
            "body": json.dumps({"client": "scheduler", "audience": "https://api.example.com"}),
        }

    def create(self) -> dict[str, Any]:
        """The event of a create, with a new token."""
        event: dict[str, Any] = deepcopy(_EVENT)
        event["multiValueHeaders"]["x-amzn-oidc-data"] = [self.token()]
        return event
