"""A malformed path, query, body or header gets an answer with a reason, never a 500, and no
write."""

import base64
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_runs.web.requests import MAX_BODY_BYTES
from tests.identity import alb_tokens
from tests.runs.identity_server import NO_CREDENTIAL, Credential, Web
from tests.runs.runs_api import Answer, RunsApi, request
from tests.runs.table_server import DynamoDb

RUNS = "/v1/projects/apollo/runs"
RUN_ID = "01JD9XK3T5ZQ8W7V6R5N4M3K2J"
JSON = (("content-type", "application/json"),)
PARAMETER = re.compile(r"<(\w+)>")
PATH_VALUES = {"run_id": RUN_ID, "service_account": f"{'a' * 32}"}


def assert_refused(answer: Answer, dynamodb: DynamoDb, *expected: Any) -> None:
    """Fail unless the answer has the expected status and reason, and DynamoDB was not called."""
    assert (answer.status, answer.reason) == expected, answer.body
    assert dynamodb.calls == []


class TestBody:
    """The body of a create."""

    @pytest.mark.parametrize(
        "body",
        [
            "{",
            '{"name":"a"}x',
            '{"name":"a"',
            "name=a",
            "\ufeff{}",
            "null",
            "[]",
            '"text"',
            "1",
            "NaN",
            '{"name":NaN}',
            '{"name":1}',
            '{"name":true}',
            '{"name":["a"]}',
            '{"name":{}}',
            '{"name":1e999}',
            '{"name":' + "9" * 50_000 + "}",
            '{"name":""}',
            '{"name":"' + "a" * 201 + '"}',
            '{"name":"a\\u0000b"}',
            '{"name":"a\\nb"}',
            '{"name":"a\\n"}',
            '{"name":"\\ud800"}',
            '{"\\ud800":"a"}',
            '{"name":"\ud800"}',
            '{"name":"\x7f"}',
            '{"agent":"\\u001b[31m"}',
            '{"runner":"GPU"}',
            '{"runner":"-gpu"}',
            '{"runner":"gpu\\n"}',
            '{"runner":"' + "a" * 64 + '"}',
            '{"runner":"../gpu"}',
            '{"parent_run":"x"}',
            '{"parent_run":"' + RUN_ID.lower() + '"}',
            '{"parent_run":"8' + RUN_ID[1:] + '"}',
            '{"labels":null}',
            '{"labels":[]}',
            '{"labels":{"a":1}}',
            '{"labels":{"a":null}}',
            '{"labels":{"a":{"b":"c"}}}',
            '{"labels":{"":"a"}}',
            '{"labels":{"a b":"c"}}',
            '{"labels":{"a\\n":"c"}}',
            '{"labels":{"a":"\\u0000"}}',
            '{"labels":{"a":"' + "b" * 257 + '"}}',
            '{"labels":{"' + "a" * 64 + '":"b"}}',
            '{"unknown":1}',
            '{"' + "u" * 60_000 + '":1}',
            '{"__proto__":{}}',
            "[" * 60_000,
            '{"labels":' * 6_000,
            '{"labels":{"a":' + "[" * 60_000,
            '{"unknown":' + "[" * 30_000 + "]" * 30_000 + "}",
        ],
        ids=lambda body: ascii(body[:30]),
    )
    def test_invalid_body_is_refused(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb, body: str
    ) -> None:
        """A body of wrong shape, type, length, depth or character is answered 400."""
        answer = api.call("POST", RUNS, by=ada, body=body, headers=JSON)
        assert_refused(answer, dynamodb, 400, "invalid_body")
        assert len(answer.json["detail"]) <= 200

    @pytest.mark.parametrize(
        "body",
        [
            '{"name":"a","name":"b"}',
            '{"name":"a","name":"a"}',
            '{"name":"a","n\\u0061me":"b"}',
            '{"labels":{"team":"a","team":"b"}}',
        ],
    )
    def test_body_with_a_member_twice_is_refused(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb, body: str
    ) -> None:
        """Which of the two counts would depend on the reader, so neither does."""
        answer = api.call("POST", RUNS, by=ada, body=body, headers=JSON)
        assert_refused(answer, dynamodb, 400, "invalid_body")
        assert answer.json["detail"] == "An object of the body has two members of one name."

    def test_body_of_a_route_that_takes_none_is_refused(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb
    ) -> None:
        """A change would ignore its members, so it is not made; an empty object has none."""
        routes = [each for each in api.function.routes.load_all() if not each.takes_body]
        changes = [each for each in routes if each.method != "GET"]
        assert {each.name for each in changes} >= {"cancel_run", "delete_runner", "revoke_role"}
        for route in changes:
            path = PARAMETER.sub(lambda name: PATH_VALUES.get(name[1], "a"), route.path)
            for body in ('{"dry_run":true}', "[]", "x"):
                answer = api.call(route.method, path, by=ada, body=body, headers=JSON)
                assert_refused(answer, dynamodb, 400, "invalid_body")
            answer = api.call(route.method, path, by=ada, body="{}")
            assert_refused(answer, dynamodb, 415, "unsupported_media_type")
            answer = api.call(route.method, path, by=ada, body="{}", headers=JSON)
            assert answer.status < 400 or answer.reason != "invalid_body"
            dynamodb.calls.clear()

    @pytest.mark.parametrize("labels", [32, 33])
    def test_labels_at_and_over_their_limit(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb, labels: int
    ) -> None:
        """A run has at most 32 labels, and 33 are refused."""
        document = {"labels": {f"l{number}": "v" * 256 for number in range(labels)}}
        answer = api.call("POST", RUNS, by=ada, document=document)
        if labels == 32:
            assert answer.status == 201
        else:
            assert_refused(answer, dynamodb, 400, "invalid_body")

    @pytest.mark.parametrize("over", [0, 1])
    @pytest.mark.parametrize("encoded", [False, True])
    def test_body_at_and_over_its_limit(
        self,
        api: RunsApi,
        ada: Credential,
        dynamodb: DynamoDb,
        over: int,
        encoded: bool,  # noqa: FBT001
    ) -> None:
        """A body of 64 KiB is accepted and one byte more is refused, as text and as base64."""
        body = '{"name":"a"}' + " " * (MAX_BODY_BYTES - 12 + over)
        event = request("POST", RUNS, by=ada, headers=JSON, body=body)
        if encoded:
            event |= {"body": base64.b64encode(body.encode()).decode(), "isBase64Encoded": True}
        answer = api.send(event)
        if over:
            assert_refused(answer, dynamodb, 413, "body_too_large")
        else:
            assert answer.status == 201

    def test_body_of_a_megabyte_is_refused(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb
    ) -> None:
        """The largest body that a load balancer passes on is answered 413."""
        answer = api.call("POST", RUNS, by=ada, headers=JSON, body="[" * 1_000_000)
        assert_refused(answer, dynamodb, 413, "body_too_large")

    @pytest.mark.parametrize(
        "text", ["e30", "e30==", "====", "e3 0=", "ä", "\ud800", "{}", "e30=\n"]
    )
    def test_invalid_base64_is_refused(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb, text: str
    ) -> None:
        """A body that its encoding does not fit is answered 400."""
        event = request("POST", RUNS, by=ada, headers=JSON, body=text)
        assert_refused(api.send(event | {"isBase64Encoded": True}), dynamodb, 400, "invalid_body")

    @pytest.mark.parametrize(
        "data",
        [b"\xff\xfe{\x00}\x00", b'{"name":"\xe9"}', b'{"\xff":1}', b'{"name":"\xed\xa0\x80"}'],
    )
    def test_body_that_is_not_utf_8_is_refused(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb, data: bytes
    ) -> None:
        """UTF-16, Latin-1 and encoded surrogates are answered 400."""
        event = request("POST", RUNS, by=ada, headers=JSON)
        event |= {"body": base64.b64encode(data).decode(), "isBase64Encoded": True}
        assert_refused(api.send(event), dynamodb, 400, "invalid_body")

    def test_base64_of_a_valid_body_is_accepted(self, api: RunsApi, ada: Credential) -> None:
        """A body that the load balancer encodes as base64 is decoded."""
        body = base64.b64encode('{"name":"☃"}'.encode()).decode()
        event = request("POST", RUNS, by=ada, headers=JSON, body=body) | {"isBase64Encoded": True}
        assert api.send(event).json["name"] == "☃"

    @pytest.mark.parametrize(
        "content_type",
        ["", "application/json5", "application/jsonp", "json", "a/b, application/json"],
    )
    def test_body_of_another_media_type_is_refused(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb, content_type: str
    ) -> None:
        """A media type that is not JSON is answered 415."""
        headers = [("content-type", content_type)] if content_type else []
        answer = api.call("POST", RUNS, by=ada, headers=headers, body="{}")
        assert_refused(answer, dynamodb, 415, "unsupported_media_type")

    @pytest.mark.parametrize(
        "content_type", ["Application/JSON", "application/json ; charset=utf-8"]
    )
    def test_media_type_in_other_spellings_is_accepted(
        self, api: RunsApi, ada: Credential, content_type: str
    ) -> None:
        """RFC 9110, 8.3.1: a media type has no case, and may have parameters."""
        headers = [("content-type", content_type)]
        assert api.call("POST", RUNS, by=ada, headers=headers, body="{}").status == 201

    @pytest.mark.parametrize("body", [None, ""])
    def test_missing_body_creates_a_run(
        self, api: RunsApi, ada: Credential, body: str | None
    ) -> None:
        """Every member is optional, and so is the body."""
        event = request("POST", RUNS, by=ada) | {"body": body}
        assert api.send(event).status == 201


class TestPath:
    """Names and ids in the path."""

    @pytest.mark.parametrize("project", ["a", "a" * 63, "a-b", "0", "0-9"])
    def test_valid_project_name_is_accepted(
        self, api: RunsApi, ada: Credential, project: str
    ) -> None:
        """A DNS label of up to 63 characters is a project name."""
        assert api.call("POST", f"/v1/projects/{project}/runs", by=ada).status == 201

    @pytest.mark.parametrize(
        "project",
        [
            "a" * 64,
            "A",
            "-a",
            "a-",
            "a_b",
            "a.b",
            "..",
            ".",
            "%2e%2e",
            "%61",
            "a%00",
            "a%0a",
            "a b",
            "a;b",
            "a'b",
            "*",
            "$where",
            "ä",
            "ａ",
            "١",
            "a\n",
            "a" * 8_000,
        ],
    )
    def test_invalid_project_name_is_refused(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb, project: str
    ) -> None:
        """A name that is no DNS label is refused on every route with a project."""
        for method, rest in (
            ("POST", ""),
            ("GET", ""),
            ("GET", f"/{RUN_ID}"),
            ("DELETE", f"/{RUN_ID}"),
        ):
            answer = api.call(method, f"/v1/projects/{project}/runs{rest}", by=ada)
            assert answer.status in (400, 404)
            assert answer.reason in ("invalid_name", "not_found")
        assert dynamodb.calls == []

    @pytest.mark.parametrize(
        "path",
        [
            "",
            "/",
            "//",
            "/v1",
            "/v1/",
            "/v1/whoami/",
            "/V1/whoami",
            "/v1//whoami",
            "/v1/./whoami",
            "/v1/x/../whoami",
            "/v1/%77hoami",
            "/v1/whoami%0a",
            "/v1/whoami\n",
            "/healthz\n",
            f"{RUNS}\n",
            f"{RUNS}/{RUN_ID}\n",
            "/v1/whoami\x00",
            "/v1/whoami\ud800",
            "/v1/projects//runs",
            "/v1/projects/apollo/runs/",
            f"{RUNS}/{RUN_ID}/",
            f"{RUNS}/{RUN_ID}/start/now",
            "/" + "a/" * 4_000,
            "/.well-known/x",
            "/swagger",
        ],
    )
    def test_unknown_path_is_not_found(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb, path: str
    ) -> None:
        """A path without a route is answered 404."""
        for method in ("GET", "POST", "DELETE"):
            assert_refused(api.call(method, path, by=ada), dynamodb, 404, "not_found")

    @pytest.mark.parametrize(
        ("path", "allowed"),
        [
            ("/healthz", "GET, HEAD"),
            ("/v1/whoami", "GET, HEAD"),
            ("/v1/runs", "GET, HEAD"),
            ("/v1/projects", "GET, HEAD, POST"),
            ("/v1/projects/apollo", "DELETE, GET, HEAD"),
            (RUNS, "GET, HEAD, POST"),
            (f"{RUNS}/{RUN_ID}", "DELETE, GET, HEAD"),
            (f"{RUNS}/{RUN_ID}/start", "POST"),
        ],
    )
    @pytest.mark.parametrize(
        "method",
        ["PUT", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW", "G ET", "GET\n", ""],
    )
    def test_unknown_method_of_a_path_is_405(
        self,
        api: RunsApi,
        ada: Credential,
        dynamodb: DynamoDb,
        path: str,
        allowed: str,
        method: str,
    ) -> None:
        """A method without a route is answered 405 with `Allow`."""
        answer = api.call(method, path, by=ada)
        assert_refused(answer, dynamodb, 405, "method_not_allowed")
        assert answer.headers["allow"] == allowed


class TestQuery:
    """The parameters of a list."""

    @pytest.mark.parametrize(
        "query",
        [
            [("limit", value)]
            for value in ("0", "101", "-1", "", "x", "1.0", "1e1", " 1", "+1", "01", "٣", "9" * 400)
        ]
        + [
            [("limit", "null")],
            [("status", "null")],
            [("status", "PENDING")],
            [("status", "")],
            [("status", "pending,running")],
            [("created_by", "")],
            [("created_by", "a" * 316)],
            [("created_by", "a\x00")],
            [("created_by", "a\n")],
            [("cursor", "")],
            [("unknown", "1")],
            [("Limit", "1")],
            [("limit[]", "1")],
            [("", "1")],
            [("u" * 5_000, "1")],
            [("limit", "1"), ("limit", "1")],
            [("status", "pending"), ("status", "running")],
            [("created_by", "ada"), ("created_by", "grace")],
        ],
        ids=lambda query: ascii(query)[:40],
    )
    def test_invalid_parameter_is_refused(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb, query: list[tuple[str, str]]
    ) -> None:
        """A wrong value, a repeated name and an unknown name are answered 400."""
        assert_refused(
            api.call("GET", RUNS, by=ada, query=query), dynamodb, 400, "invalid_parameter"
        )

    @pytest.mark.parametrize(
        "parameters",
        [
            {"limit": ["1", "2"]},
            {"limit": []},
            {"limit": ["1"], "%6cimit": ["1"]},
            {"status": ["%ff"]},
            {"created_by": ["%ed%a0%80"]},
            {"created_by": ["\ud800"]},
            {"\ud800": ["1"]},
            {"%ff": ["1"]},
            {"created_by": ["%00"]},
        ],
        ids=ascii,
    )
    def test_invalid_raw_parameter_is_refused(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb, parameters: dict[str, list[str]]
    ) -> None:
        """A parameter that is not UTF-8, or is repeated once decoded, is answered 400."""
        event = request("GET", RUNS, by=ada) | {"multiValueQueryStringParameters": parameters}
        assert_refused(api.send(event), dynamodb, 400, "invalid_parameter")

    @pytest.mark.parametrize("parameters", [None, {}])
    def test_missing_parameters_use_the_defaults(
        self, api: RunsApi, ada: Credential, parameters: Any
    ) -> None:
        """An event without parameters, in each form, is answered with the defaults."""
        event = request("GET", RUNS, by=ada) | {"multiValueQueryStringParameters": parameters}
        assert api.send(event).status == 200
        single = request("GET", RUNS, by=ada, multi_value=False)
        assert api.send(single | {"queryStringParameters": parameters}).status == 200


any_text = st.one_of(
    st.text(max_size=40), st.text(st.characters(categories=["Cs", "Cc"]), max_size=5)
)
known_segments = st.sampled_from(
    [
        "apollo",
        "runs",
        "v1",
        "projects",
        "whoami",
        "healthz",
        RUN_ID,
        "start",
        "..",
        "%2e",
        "",
        "\n",
    ]
)
bodies = st.one_of(
    st.none(),
    any_text,
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["name", "agent", "runner", "parent_run", "labels", "x"]), inner
            )
        ),
        max_leaves=12,
    ).map(json.dumps),
)
names = st.sampled_from(
    [
        "content-type",
        "idempotency-key",
        "origin",
        "sec-fetch-site",
        "host",
        "authorization",
        "x-amzn-oidc-data",
        "x-amzn-oidc-identity",
        "accept-encoding",
        "cookie",
    ]
)


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    """Events from plausible to absurd, as far as a load balancer passes them on."""
    segments = draw(st.lists(known_segments | any_text, max_size=7))
    path = draw(st.sampled_from([RUNS, f"{RUNS}/{RUN_ID}", "/v1/runs", "/" + "/".join(segments)]))
    methods = st.sampled_from(["GET", "HEAD", "POST", "DELETE", "PUT", "OPTIONS", "X"])
    event: dict[str, Any] = {
        "requestContext": {"elb": {"targetGroupArn": draw(st.sampled_from(GROUPS))}},
        "httpMethod": draw(methods),
        "path": path,
        "body": draw(bodies),
        "isBase64Encoded": draw(st.booleans()),
    }
    headers = draw(st.dictionaries(names | any_text, any_text, max_size=4))
    parameters = draw(
        st.dictionaries(
            st.sampled_from(["limit", "status", "created_by", "cursor"]) | any_text,
            st.sampled_from(["1", "me", "pending", "%ff"]) | any_text,
            max_size=3,
        )
    )
    if draw(st.booleans()):
        return event | {"headers": headers, "queryStringParameters": parameters}
    return event | {
        "multiValueHeaders": {
            name: [value] * draw(st.integers(1, 2)) for name, value in headers.items()
        },
        "multiValueQueryStringParameters": {name: [value] for name, value in parameters.items()},
    }


GROUPS = [
    alb_tokens.target_group_arn(alb_tokens.BROWSER_GROUP),
    alb_tokens.target_group_arn(alb_tokens.BEARER_GROUP),
    alb_tokens.target_group_arn("another"),
    "",
]


class TestAnything:
    """Generated requests."""

    def test_request_without_a_credential_gets_an_answer(
        self, api: RunsApi, dynamodb: DynamoDb
    ) -> None:
        """A request without a credential never fails and causes no AWS call."""

        @settings(max_examples=400)
        @given(events())
        def answers(event: dict[str, Any]) -> None:
            answer = api.send(event)
            assert answer.status in (200, 401, 404, 405)
            assert answer.status != 200 or event["path"].rstrip() == "/healthz"
            if answer.status != 200 and event["httpMethod"] != "HEAD":
                assert answer.reason

        answers()
        assert dynamodb.calls == []

    def test_request_of_a_caller_gets_an_answer(
        self, api: RunsApi, web: Web, dynamodb: DynamoDb
    ) -> None:
        """A request with a valid credential succeeds, or is answered with a reason."""

        @settings(max_examples=400)
        @given(events(), st.sampled_from([web.browser("ada"), web.bearer("ada")]))
        def answers(event: dict[str, Any], by: Credential) -> None:
            event = event | {"requestContext": request("GET", "/", by=by)["requestContext"]}
            [(name, token)] = by.headers
            if "headers" in event:
                event["headers"] |= {name: token}
            else:
                event["multiValueHeaders"] |= {name: [token]}
            before = len(dynamodb.writes())
            answer = api.send(event)
            assert answer.status < 500
            if answer.status >= 400:
                assert event["httpMethod"] == "HEAD" or answer.reason
                assert len(dynamodb.writes()) == before or answer.status == 404
            else:
                assert answer.status in (200, 201)

        answers()


def test_event_without_a_target_group_has_no_caller(api: RunsApi, ada: Credential) -> None:
    """A credential counts only with the target group, which only a load balancer writes."""
    contexts: list[Any] = [{}, {"elb": {}}, {"elb": {"targetGroupArn": None}}, {"elb": None}]
    for context in contexts:
        event = request("GET", "/v1/whoami", by=ada) | {"requestContext": context}
        assert api.send(event).reason == "no_credentials"
    assert api.call("GET", "/v1/whoami", by=NO_CREDENTIAL).reason == "no_credentials"
