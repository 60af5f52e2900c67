"""What an account has, by the APIs of its services."""

from local.account import Account


def inventory(account: Account) -> set[str]:
    """The names of all resources of the kinds that the template has, with their kind."""
    client = account.aws.client
    functions = client("lambda")
    balancing = client("elbv2")
    rules = balancing.describe_rules(ListenerArn=account.listener_arn)["Rules"]
    found = {
        "table": client("dynamodb").list_tables()["TableNames"],
        "function": [each["FunctionArn"] for each in functions.list_functions()["Functions"]],
        "layer": [each["LayerArn"] for each in functions.list_layers()["Layers"]],
        "event source": [
            each["UUID"] for each in functions.list_event_source_mappings()["EventSourceMappings"]
        ],
        "role": [each["Arn"] for each in client("iam").list_roles()["Roles"]],
        "queue": client("sqs").list_queues().get("QueueUrls", []),
        "schedule": [each["Name"] for each in client("scheduler").list_schedules()["Schedules"]],
        "log group": [
            each["logGroupName"] for each in client("logs").describe_log_groups()["logGroups"]
        ],
        "target group": [
            each["TargetGroupArn"] for each in balancing.describe_target_groups()["TargetGroups"]
        ],
        "rule": [each["RuleArn"] for each in rules],
        "alarm": [
            each["AlarmName"] for each in client("cloudwatch").describe_alarms()["MetricAlarms"]
        ],
    }
    return {f"{kind} {name}" for kind, names in found.items() for name in names}


def kinds(names: set[str]) -> list[str]:
    """The kinds of the resources, sorted."""
    return sorted(name.rpartition(" ")[0] for name in names)
