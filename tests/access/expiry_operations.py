"""Operations that let the end of a registration or of an agent's permission pass.

They write an end that has passed into the stored rows, in place of waiting for it.
"""

from collections.abc import Iterable

from byline.aws import dynamodb
from byline.identity.caller import Principal
from byline.tables.rows import EXPIRES_AT, Item
from serve_runs.access.control import acts_for_key, agent_key
from serve_runs.agents.views import listed_key as agent_listed_key
from serve_runs.service_accounts.views import listed_key as account_listed_key
from tests.access.access_operations import account_id, application_of
from tests.access.comparison import APPLICATIONS, Comparison, Step
from tests.access.model import Caller
from tests.runs.table_server import ACCESS_TABLE

PASSED = "1000000000"


def end_registration(comparison: Comparison, step: Step) -> None:
    """The account acts for nobody from then on, and is in no list."""
    application = application_of(step.number)
    account = account_id(comparison.api, application, step.project)
    known = comparison.resource(step, "service_account", account)
    if known is None or not known["ends"]:
        return
    principal = _principal(comparison, application)
    keys = acts_for_key(principal, step.project), account_listed_key(step.project, account)
    _let_pass(keys)
    del comparison.model.resources[step.project, "service_account", account]
    del comparison.model.acts_for[application, step.project]


def end_agent(comparison: Comparison, step: Step) -> None:
    """The agent may do nothing with a person's token from then on, and is in no list."""
    agent = APPLICATIONS[step.number % len(APPLICATIONS)]
    known = comparison.resource(step, "agent", agent[1])
    if known is None or not known["ends"]:
        return
    principal = _principal(comparison, agent)
    _let_pass((agent_key(principal, step.project), agent_listed_key(step.project, agent[1])))
    del comparison.model.resources[step.project, "agent", agent[1]]
    del comparison.model.agents[step.project, agent]


def _principal(comparison: Comparison, application: Caller) -> Principal:
    return Principal("application", comparison.api.issuer(application), application[1])


def _let_pass(keys: Iterable[Item]) -> None:
    """Let the end of both rows pass. They are still there, as until DynamoDB deletes them."""
    for key in keys:
        dynamodb().update_item(
            TableName=ACCESS_TABLE,
            Key=key,
            UpdateExpression="SET expires_at = :passed",
            ConditionExpression=f"attribute_exists({EXPIRES_AT})",
            ExpressionAttributeValues={":passed": {"N": PASSED}},
        )
