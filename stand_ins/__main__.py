"""Serves the stand-in for AWS in its own process, so that a benchmark measures only its caller.

    python -m stand_ins [--latency SECONDS] [--unlimited]

Prints its address and serves until its standard input is closed.
"""

import argparse
import sys

from stand_ins.aws_server import serve_aws
from stand_ins.rates import SECRETS_MANAGER, UNLIMITED
from stand_ins.secret_store import Behaviour

parser = argparse.ArgumentParser(prog="python -m stand_ins")
parser.add_argument("--latency", type=float, default=0, help="seconds a Secrets Manager call takes")
parser.add_argument("--unlimited", action="store_true", help="no request quotas")
options = parser.parse_args()
quotas = UNLIMITED if options.unlimited else SECRETS_MANAGER
with serve_aws(behaviour=Behaviour(latency=options.latency, quotas=quotas)) as aws:
    sys.stdout.write(f"{aws.url}\n")
    sys.stdout.flush()
    sys.stdin.read()
