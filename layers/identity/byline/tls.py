"""Which roots are trusted, and what that costs.

Loading a full CA bundle takes about 30 ms for each TLS context, of a cold start and of every new
connection of botocore's. AWS's own hosts have certificates of Amazon's roots
(https://www.amazontrust.com/repository/), so for them five roots do; the layer's build extracts
them from certifi. Where they do not suffice, the full bundle is tried before giving up.
"""

import os
import ssl
from functools import cache
from pathlib import Path

import certifi

AMAZON_ROOTS = Path(__file__).with_name("amazon_roots.pem")


def aws_bundle() -> str:
    """The CA file for AWS's hosts: the operator's `AWS_CA_BUNDLE`, Amazon's roots, or all."""
    if configured := os.environ.get("AWS_CA_BUNDLE"):
        return configured
    return str(AMAZON_ROOTS) if AMAZON_ROOTS.exists() else certifi.where()


@cache
def aws_context() -> ssl.SSLContext:
    """A client context for AWS's hosts."""
    return _context(aws_bundle())


@cache
def public_context() -> ssl.SSLContext:
    """A client context for everybody else: issuers, and AWS's hosts after a failure."""
    return _context(os.environ.get("SSL_CERT_FILE") or certifi.where())


def _context(bundle: str) -> ssl.SSLContext:
    # PROTOCOL_TLS_CLIENT checks the certificate and the host name.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cafile=bundle)
    return context
