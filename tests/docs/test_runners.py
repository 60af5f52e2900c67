"""docs/runners.md has what a user of a runner looks up, and its examples work."""

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
import yaml

from byline.refresh.hints import HINTS, hint_of
from byline.refresh.timing import slots_for
from refresh_tokens.client_secrets import MEMBERS_OF_METHOD, Members, read_client_secret
from refresh_tokens.errors import RefreshFailed
from serve_runs.runners.warnings import SEVERAL_SECRETS
from tests.docs.documents import ROOT, names, section, table
from tests.docs.facts import REFRESH_ERROR_CLASSES

RUNNERS = "docs/runners.md"
CLASSES = table(section(RUNNERS, "## Error classes"), "class")
SCHEMA = json.loads((ROOT / "docs/client-secret.schema.json").read_text())
VALIDATOR = jsonschema_rs.validator_for(SCHEMA)
EXAMPLES: dict[str, dict[str, Any]] = {
    issuer: json.loads(text)
    for issuer, text in re.findall(
        r"^([A-Z]\w+)[^\n]*\n(?:[^\n]+\n)*?```json\n(.*?)^```",
        section(RUNNERS, "## Issuers"),
        re.M | re.S,
    )
}
INVISIBLE = ("{value}\n", " {value}", "{value}\u200b", "\t{value}")
NO_ADDRESSES = (
    *(
        "{value}" + suffix
        for suffix in ("{{tenantid}}", "<tenant>", "#part", "?", "?p=x", "\u00e9")
    ),
    *("http://issuer.example.com", "issuer.example.com", "ftp://127.0.0.1/"),
    *INVISIBLE,
)


def is_accepted(document: dict[str, Any]) -> bool:
    """Whether RefreshTokensFunction accepts the document as a client's secret."""
    try:
        read_client_secret(json.dumps(document))
    except RefreshFailed:
        return False
    return True


def spoilt(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The document with one member less, more or wrong."""
    for member, value in document.items():
        yield {name: kept for name, kept in document.items() if name != member}
        yield {**document, member: 7}
        wrong = NO_ADDRESSES if member in {"issuer", "token_endpoint"} else INVISIBLE
        for form in () if member.endswith("_pem") else wrong:
            yield {**document, member: form.format(value=value)}
    yield from (
        {**document, member: "https://issuer.example.com/"}
        for member in Members.__struct_fields__
        if member not in document
    )
    for method in (*MEMBERS_OF_METHOD, "none"):
        yield {**document, "auth_method": method}
    yield {**document, "scope": "runs"}


def test_every_error_class_has_a_cause_and_the_hint_of_the_api() -> None:
    """A reader of a `last_error` finds its class, and the sentence that the API shows as a hint."""
    listed = {name: row for row in CLASSES for name in names(row["class"])}
    assert sum(len(names(row["class"])) for row in CLASSES) == len(listed)
    assert listed.keys() == HINTS.keys() == REFRESH_ERROR_CLASSES
    for name, row in listed.items():
        assert row["usual cause"]
        assert row["hint"] == hint_of(name)


@pytest.mark.parametrize("hint", sorted(set(HINTS.values())))
def test_hint_is_one_short_sentence(hint: str) -> None:
    """It fits into a table, a log line and a console."""
    assert hint.endswith(".")
    assert hint.count(". ") == 0
    assert len(hint.split()) <= 25


def test_class_of_another_version_has_a_hint() -> None:
    """A row may hold a class that this version does not write."""
    assert hint_of("class_of_tomorrow").endswith(".")


def test_every_member_of_a_client_secret_is_in_table_and_schema() -> None:
    """Both have exactly the members and methods that RefreshTokensFunction reads."""
    rows = table(section(RUNNERS, "## Client secrets"), "member")
    assert [names(row["member"])[0] for row in rows] == sorted(
        Members.__struct_fields__, key=[names(row["member"])[0] for row in rows].index
    )
    assert SCHEMA["properties"].keys() == set(Members.__struct_fields__)
    assert SCHEMA["properties"]["auth_method"]["enum"] == list(MEMBERS_OF_METHOD)


def test_examples_have_every_issuer_of_the_table_and_every_method() -> None:
    """A reader finds an example for the issuer, and one for each `auth_method`."""
    listed = [row["issuer"] for row in table(section(RUNNERS, "## Issuers"), "issuer")]
    assert [issuer.split()[0] for issuer in listed] == list(EXAMPLES)
    assert {example["auth_method"] for example in EXAMPLES.values()} == MEMBERS_OF_METHOD.keys()


@pytest.mark.parametrize("issuer", EXAMPLES)
def test_example_of_a_client_secret_is_accepted(issuer: str) -> None:
    """By the schema, and by RefreshTokensFunction."""
    VALIDATOR.validate(EXAMPLES[issuer])
    assert is_accepted(EXAMPLES[issuer])


@pytest.mark.parametrize("issuer", EXAMPLES)
def test_schema_refuses_what_the_refresher_refuses(issuer: str) -> None:
    """Whoever checks a client's secret by the schema finds the same mistakes."""
    documents = list(spoilt(EXAMPLES[issuer]))
    differing = [each for each in documents if VALIDATOR.is_valid(each) != is_accepted(each)]
    assert differing == []
    assert sum(map(is_accepted, documents)) < len(documents) / 4


def test_number_of_secrets_of_a_lifetime_is_the_one_of_the_code() -> None:
    """The table has the slots of each lifetime, and the first one from which there is one."""
    rows = table(section(RUNNERS, "### Lifetime and number of secrets"), "lifetime, seconds")
    for row in rows:
        lifetime = int(re.sub(r"\D", "", row["lifetime, seconds"]))
        assert int(row["secrets"]) == slots_for(lifetime)
    assert "and more" in rows[-1]["lifetime, seconds"]
    assert {slots_for(seconds) for seconds in range(lifetime, 90_000)} == {1}
    assert slots_for(lifetime - 1) == 2
    assert f"`{SEVERAL_SECRETS}`" in section(RUNNERS, "## Readers")


def test_manifests_for_external_secrets_ask_for_a_token_of_the_api() -> None:
    """The store's address is a route of the API, and each external secret reads a runner there."""
    [text] = re.findall(r"```yaml\n(.*?)```", section(RUNNERS, "### External Secrets"), re.S)
    store, *external = yaml.safe_load_all(text)
    webhook = store["spec"]["provider"]["webhook"]
    path = webhook["url"].removeprefix("https://byline.example.com")
    api = json.loads((ROOT / "docs/openapi.json").read_text())
    route = path.replace("research", "{project}").replace("{{ .remoteRef.key }}", "{runner}")
    answer = api["paths"][route]["get"]["responses"]["200"]
    assert webhook["result"]["jsonPath"] == "$.token"
    assert "token" in json.dumps(answer)
    [credential] = webhook["secrets"]
    assert webhook["headers"]["Authorization"] == f"Bearer {{{{ .{credential['name']}.token }}}}"
    assert credential["secretRef"]["name"] in {each["spec"]["target"]["name"] for each in external}
    for each in external:
        assert each["spec"]["secretStoreRef"]["name"] == store["metadata"]["name"]
        assert each["spec"]["refreshInterval"] == "1m"
