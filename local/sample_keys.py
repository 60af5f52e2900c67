"""The fixed public keys of the sample events, so that their tokens verify on a running stack."""

import json
from typing import Any

from local.aws import ROOT

KEYS = ROOT / "events" / "keys"


def sample_load_balancer_keys() -> dict[str, bytes]:
    """The public keys of load balancers: PEM by key id."""
    return {path.stem: path.read_bytes() for path in KEYS.glob("*.pem")}


def sample_issuer_keys() -> list[dict[str, Any]]:
    """The public keys of the issuer, as JSON Web Keys."""
    return list(json.loads((KEYS / "issuer.jwks.json").read_text())["keys"])
