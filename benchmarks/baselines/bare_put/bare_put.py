"""Baseline: imports boto3, makes a client, puts secret values one after the other, nothing else."""

from typing import Any
from uuid import uuid4

import boto3

client = boto3.client("secretsmanager")


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Put `value` into each of the secrets `names`."""
    for name in event["names"]:
        client.put_secret_value(
            SecretId=name, ClientRequestToken=str(uuid4()), SecretString=event["value"]
        )
    return {"puts": len(event["names"])}
