"""The trusted root certificates of TLS connections.

Loading a full CA bundle takes about 30 ms for each TLS context: for a cold start, and for each new
connection of botocore. AWS's own hosts have certificates of Amazon's roots
(https://www.amazontrust.com/repository/), so five roots suffice for them. The layer's build
extracts these from certifi. Where a certificate has another root, the full bundle is tried.
"""

import os
import ssl
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import certifi

AMAZON_ROOTS = Path(__file__).with_name("amazon_roots.pem")

_AWS_DOMAINS = (".amazonaws.com", ".amazonaws.com.cn")


def aws_bundle() -> str:
    """The path of the CA file for AWS's hosts.

    The first that exists of: the operator's `AWS_CA_BUNDLE`, Amazon's roots, certifi's bundle.
    """
    if configured := os.environ.get("AWS_CA_BUNDLE"):
        return configured
    return str(AMAZON_ROOTS) if AMAZON_ROOTS.exists() else certifi.where()


def contexts(host: str) -> Iterator[ssl.SSLContext]:
    """The TLS contexts for `host`, each to try where the one before did not trust the certificate.

    An operator's own `AWS_CA_BUNDLE` is never extended.
    """
    if host.endswith(_AWS_DOMAINS):
        yield _context(aws_bundle())
        if aws_bundle() != str(AMAZON_ROOTS):
            return
    yield _context(os.environ.get("SSL_CERT_FILE") or certifi.where())


@cache
def _context(bundle: str) -> ssl.SSLContext:
    # PROTOCOL_TLS_CLIENT checks the certificate and the host name.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cafile=bundle)
    return context
