"""The page on cost says what its command computes."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from byline.metrics import METRICS
from simulation.rival_rules import RULES
from tests.template.stack import resources
from tools.cost import usage
from tools.cost.page import PAGE, idle_dollars, with_computed
from tools.cost.usage import Assumptions

ROOT = Path(__file__).parents[2]


def test_page_holds_what_the_command_computes() -> None:
    """docs/cost.md is what `make cost` writes today."""
    assert PAGE.read_text() == with_computed(PAGE.read_text()), "Run `make cost`."


def test_readme_states_the_computed_idle_cost() -> None:
    """README's sentence on the cost of an idle stack follows from the page."""
    text = " ".join((ROOT / "README.md").read_text().split())
    stated = re.search(r"costs about (\d+) dollars a month.* Of these, (\d+) are for alarms", text)
    assert stated is not None
    alarms = usage.dollars(usage.alarms())
    assert [int(each) for each in stated.groups()] == [
        round(idle_dollars(Assumptions())),
        round(alarms),
    ]


@pytest.mark.parametrize("registration", [False, True])
def test_every_metric_of_an_alarm_is_counted(*, registration: bool) -> None:
    """Each metric that CloudWatch reads for an alarm of the transformed template is charged."""
    counted = 0
    for alarm in resources("AWS::CloudWatch::Alarm").values():
        # A nested resource's condition follows that of its application.
        if str(alarm.get("Condition")).endswith("Registration") and not registration:
            continue
        counted += len(re.findall(r"'MetricName'", str(alarm["Properties"])))
    assert usage.alarm_metrics(registration=registration) == counted


def test_idle_stack_is_charged_for_every_metric_that_a_tick_writes() -> None:
    """Each metric of PlanRefreshFunction is a custom metric of an idle stack."""
    [metrics] = [
        item for item in usage.idle(Assumptions(), memory_mb=512) if item.name == "metrics"
    ]
    assert metrics.quantity == len(METRICS["PlanRefreshFunction"])


def test_isolated_runner_is_charged_for_each_secret_that_its_lifetime_demands() -> None:
    """A runner with a token of its own of 900 seconds has two secrets, at 0.40 dollars each."""
    [secrets] = [
        item
        for item in usage.isolated(10, Assumptions(token_lifetime=900), memory_mb=512)
        if item.name == "secrets"
    ]
    assert secrets.dollars == pytest.approx(10 * 2 * 0.40)


def test_runners_that_share_are_charged_for_one_token() -> None:
    """Fifty runners that share pay for two secrets together, and each for its own row."""
    has = Assumptions(token_lifetime=900, runners_per_token=50)
    one, shared = (usage.sharing(count, has, memory_mb=512) for count in (1, 50))
    secrets = [item.dollars for items in (one, shared) for item in items if item.name == "secrets"]
    assert secrets == [pytest.approx(2 * 0.40)] * 2
    rows, one_row = (sum(i.dollars for i in items if i.name == "rows") for items in (shared, one))
    assert rows == pytest.approx(50 * one_row)


def test_longer_lifetime_costs_less() -> None:
    """Tokens of half an hour need one secret and half the writes."""
    short, long = (
        usage.dollars(usage.tokens(100, Assumptions(token_lifetime=seconds), memory_mb=512))
        for seconds in (900, 1800)
    )
    assert long < 0.6 * short


@pytest.mark.parametrize(
    ("name", "seconds", "secrets"),
    [("4-minute loop", 240, 4), ("kubelet, 80 %", 715, 2), ("cert-manager, 2/3", 600, 2)],
)
def test_other_rule_is_charged_for_the_secrets_that_its_writes_demand(
    name: str, seconds: int, secrets: int
) -> None:
    """A rule writes so many secrets in turn that none gets more than 100 versions in a day."""
    [rule] = [rule for rule in RULES if rule.name == name]
    has = Assumptions(token_lifetime=900)
    assert usage.interval(rule, has) == pytest.approx(seconds, abs=2)
    assert usage.secrets_of(rule, has) == secrets


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("token_lifetime=1800", "1,800"),
        ("colour=blue", "colour is no assumption"),
        ("token_lifetime=long", "not a number"),
    ],
)
def test_other_assumptions_are_printed_and_not_written(change: str, says: str) -> None:
    """`make cost` with other assumptions prints its tables, and names a wrong one."""
    before = PAGE.read_text()
    done = subprocess.run(
        [sys.executable, "-m", "tools.cost", change],
        cwd=ROOT,
        env={"PYTHONPATH": "layers/identity:functions:."},
        capture_output=True,
        text=True,
        check=False,
    )
    assert says in done.stdout + done.stderr
    assert (done.returncode == 0) == (change == "token_lifetime=1800")
    assert PAGE.read_text() == before
