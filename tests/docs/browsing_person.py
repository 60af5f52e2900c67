"""A browser in which Ada signs in: opens the page of the argument, and follows it to its end."""

import sys

import httpx

from local.openid_provider import ADA


def main() -> None:
    """Sign in at the page."""
    answer = httpx.post(sys.argv[1], data={"person": ADA.subject})
    httpx.get(answer.headers["location"])


if __name__ == "__main__":
    main()
