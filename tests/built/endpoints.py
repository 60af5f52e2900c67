"""Prints where the botocore of a folder sends a call of each service, in each region of AWS.

The folder of packages is the argument. No call leaves the process.
"""

import json
import sys
from typing import Any

sys.path.insert(0, sys.argv[1])

from botocore.session import Session

CALLS = {
    "dynamodb": "list_tables",
    "secretsmanager": "list_secrets",
    "sqs": "list_queues",
    "sts": "get_caller_identity",
}


class _Sent(Exception):
    """Ends a call where it would leave the process. Its arguments are the URL and the region."""


def _end_call(request: Any, **_: Any) -> None:
    scope = request.headers["Authorization"].decode().partition("Credential=")[2]
    raise _Sent(request.url, scope.split("/")[2])


def _destination(session: Session, service: str, region: str) -> tuple[str, str]:
    client = session.create_client(service, region_name=region)
    client.meta.events.register("before-send", _end_call)
    try:
        getattr(client, CALLS[service])()
    except _Sent as sent:
        return sent.args
    raise AssertionError(f"no call of {service} in {region}")


def main() -> None:
    """Print the destinations by service and region."""
    session = Session()
    session.set_credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    partitions = session.get_data("endpoints")["partitions"]
    # The last ones do not exist: AWS may open regions before botocore is updated.
    regions = [region for each in partitions for region in each["regions"]]
    regions += ["eu-central-9", "cn-west-9", "us-gov-central-9"]
    destinations = {
        f"{service} {region}": _destination(session, service, region)
        for service in CALLS
        for region in regions
    }
    json.dump(destinations, sys.stdout)


if __name__ == "__main__":
    main()
