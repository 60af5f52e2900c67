"""Which roots are trusted, and what that costs.

Loading a full CA bundle takes about 30 ms for each TLS context, of a cold start and of every new
connection of botocore's. AWS's own hosts have certificates of Amazon's roots
(https://www.amazontrust.com/repository/), so for them five roots do; the layer's build extracts
them from certifi. Where they do not suffice, the full bundle is tried before giving up.
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
    """The CA file for AWS's hosts: the operator's `AWS_CA_BUNDLE`, Amazon's roots, or all."""
    if configured := os.environ.get("AWS_CA_BUNDLE"):
        return configured
    return str(AMAZON_ROOTS) if AMAZON_ROOTS.exists() else certifi.where()


def contexts(host: str) -> Iterator[ssl.SSLContext]:
    """The client contexts to try for `host`, the next one only where a certificate is not trusted.

    An operator's own `AWS_CA_BUNDLE` is never widened.
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
