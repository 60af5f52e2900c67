"""Measures verifying a load balancer's token, in an interpreter that has the built layer.

Reads the public key and a batch of tokens for each round as JSON from standard input. Writes the
CPU time of one verification for each kind and round, in microseconds.

`fresh`: the caller of an event with a new token, with its key cached. `seen`: the same with a token
that was verified before. Each event has the token's header only. `raw`: the signature alone,
verified by `cryptography`.
"""

import json
import sys
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from byline.fetch import Answer
from byline.identity.identity import OIDC_DATA, Identity
from byline.identity.settings import IdentitySettings


def main() -> None:
    """Measure, and print the results as JSON."""
    given = json.load(sys.stdin)
    pem = given["public_key"].encode()

    def publish(url: str, *, headers: Mapping[str, str] | None = None) -> Answer:
        return Answer(200, pem)

    settings = IdentitySettings.from_environment(given["settings"])
    identity = Identity(settings, fetch=publish)
    arn = f"{settings.browser_target_group}/6d0ecf831eec9f09"
    context = {"elb": {"targetGroupArn": arn}}
    key = load_pem_public_key(pem)
    assert isinstance(key, EllipticCurvePublicKey)
    algorithm = ECDSA(SHA256())
    rounds: dict[str, list[float]] = {"raw": [], "fresh": [], "seen": []}
    for batch in given["batches"]:
        signatures = [_der_and_signed(token) for token in batch]
        events = [
            {"requestContext": context, "multiValueHeaders": {OIDC_DATA: [token]}}
            for token in batch
        ]
        rounds["raw"].append(
            _microseconds(lambda pair: key.verify(pair[0], pair[1], algorithm), signatures)
        )
        rounds["fresh"].append(_microseconds(identity.identify, events))
        rounds["seen"].append(_microseconds(identity.identify, events * 10))
    print(json.dumps(rounds))


def _microseconds(work: Callable[[Any], object], subjects: list[Any]) -> float:
    before = time.process_time_ns()
    for subject in subjects:
        work(subject)
    return (time.process_time_ns() - before) / len(subjects) / 1e3


def _der_and_signed(token: str) -> tuple[bytes, bytes]:
    signed, _, segment = token.rpartition(".")
    signature = urlsafe_b64decode(segment)
    der = encode_dss_signature(int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))
    return der, signed.encode()


if __name__ == "__main__":
    main()
