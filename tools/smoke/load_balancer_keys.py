"""RunsFunction can fetch the public keys of load balancers.

An event that names the right load balancer and an unknown key makes it ask for that key: 401
`unknown_key` means that the region answered, 503 `keys_unavailable` that nothing did.
"""

import json
import time

from local.load_balancer_events import Request, to_event
from local.load_balancer_signing import Signer
from tools.smoke.surroundings import Surroundings
from tools.smoke.verdicts import Cleanup, Failed, NotChecked


def check(surroundings: Surroundings, _: Cleanup) -> str:
    """Invoke the alias for each trusted load balancer with a key id that nobody has published."""
    stack = surroundings.stack
    issuer = stack.required("OidcIssuer")
    if (trust := stack.parameters["IdentityTrust"]) != "verify":
        raise NotChecked(f"IdentityTrust={trust} fetches no keys")
    arns = stack.live["Environment"]["Variables"]["LOAD_BALANCER_ARNS"].split(",")
    for arn in map(str.strip, arns):
        token = Signer(arn).sign(
            {"sub": "smoke"},
            issuer=issuer,
            client=stack.parameters["OidcClientId"],
            now=time.time(),
        )
        headers = (("x-amzn-oidc-data", token), ("x-amzn-oidc-identity", "smoke"))
        request = Request("GET", "/v1/whoami", "", headers, b"")
        # RunsFunction reads the name of the target group, not the id that follows.
        group = f"{stack.outputs['BrowserTargetGroup'].rpartition('/')[0]}/0000000000000000"
        event = to_event(request, group, shape="multi-value")
        answer = stack.client("lambda").invoke(
            FunctionName=stack.outputs["RunsFunctionAlias"], Payload=json.dumps(event)
        )
        document = json.load(answer["Payload"])
        if "FunctionError" in answer:
            raise Failed("401 unknown_key", f"the function failed: {document.get('errorType')}")
        status, reason = document["statusCode"], json.loads(document["body"]).get("reason", "")
        if (status, reason) != (401, "unknown_key"):
            raise Failed(f"401 unknown_key for {arn}", f"{status} {reason}".strip())
    return f"asked for {len(arns)} load balancer{'s' if len(arns) > 1 else ''}"
