"""Baseline: imports boto3, makes a client, puts one item, and nothing else."""

import json
import os
from typing import Any

import boto3

ITEM = json.loads(os.environ["ITEM"])
client = boto3.client("dynamodb")


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Put one item of the size of a run."""
    client.put_item(TableName=os.environ["RUNS_TABLE"], Item=ITEM)
    return {"statusCode": 201, "body": ""}
