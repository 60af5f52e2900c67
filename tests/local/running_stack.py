"""The local stack in a process of its own, for the client's tests, which run on other Pythons.

Prints one line of JSON with its addresses when it is up, and stops when its input ends.
"""

import json
import sys

from local.stack import Stack


def main() -> None:
    """Run until standard input ends."""
    with Stack() as stack:
        addresses = {"url": stack.url, "issuer": stack.issuer, "aws": stack.aws.url}
        print(json.dumps(addresses), flush=True)  # noqa: T201 - the interface of this module
        sys.stdin.read()


if __name__ == "__main__":
    main()
