"""Baseline: the same puts by Byline's own client of Secrets Manager, in eight threads."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

from byline.aws import secrets_manager

THREADS = ThreadPoolExecutor(8)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Put `value` into each of the secrets `names`."""

    def put(name: str) -> None:
        secrets_manager().put_secret_value(
            SecretId=name, ClientRequestToken=str(uuid4()), SecretString=event["value"]
        )

    for _ in THREADS.map(put, event["names"]):
        pass
    return {"puts": len(event["names"])}
