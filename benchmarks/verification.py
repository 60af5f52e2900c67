"""Measures verifying a load balancer's token, in an interpreter that has the built layer.

Reads the public key and a batch of tokens for each round as JSON from standard input. Writes the
CPU time of one verification for each kind and round, in microseconds.

`fresh`: a new token, with its key cached. `seen`: a token that was verified before. `raw`: the
signature alone, verified by `cryptography`.
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
from byline.identity.load_balancer_keys import LoadBalancerKeys
from byline.identity.load_balancer_token import LoadBalancerTokens
from byline.identity.settings import IdentitySettings
from byline.identity.unverified import UnverifiedToken


def main() -> None:
    """Measure, and print the results as JSON."""
    given = json.load(sys.stdin)
    pem = given["public_key"].encode()

    def publish(url: str, *, headers: Mapping[str, str] | None = None) -> Answer:
        return Answer(200, pem)

    keys = LoadBalancerKeys(fetch=publish, now=time.time)
    settings = IdentitySettings.from_environment(given["settings"])
    tokens = LoadBalancerTokens(settings, keys=keys, now=time.time)
    key = load_pem_public_key(pem)
    assert isinstance(key, EllipticCurvePublicKey)
    algorithm = ECDSA(SHA256())
    rounds: dict[str, list[float]] = {"raw": [], "fresh": [], "seen": []}
    for batch in given["batches"]:
        signatures = [_der_and_signed(token) for token in batch]
        unverified = [UnverifiedToken(token) for token in batch]
        rounds["raw"].append(
            _microseconds(lambda pair: key.verify(pair[0], pair[1], algorithm), signatures)
        )
        rounds["fresh"].append(_microseconds(tokens.verify, unverified))
        rounds["seen"].append(_microseconds(tokens.verify, unverified * 10))
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
