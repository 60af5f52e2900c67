"""Baseline: one raw ES256 verification with a key held ready, one bare `put_item`, nothing else."""

import json
import os
from base64 import urlsafe_b64decode
from typing import Any

import boto3
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

ITEM = json.loads(os.environ["ITEM"])
key = load_pem_public_key(os.environ["PUBLIC_KEY"].encode())
client = boto3.client("dynamodb")


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Verify the signature of the event's token, and put one item of the size of a run."""
    assert isinstance(key, EllipticCurvePublicKey)
    signed, _, segment = event["multiValueHeaders"]["x-amzn-oidc-data"][0].rpartition(".")
    signature = urlsafe_b64decode(segment)
    der = encode_dss_signature(int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))
    key.verify(der, signed.encode(), ECDSA(SHA256()))
    client.put_item(TableName=os.environ["RUNS_TABLE"], Item=ITEM)
    return {"statusCode": 201, "body": ""}
