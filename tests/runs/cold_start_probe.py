"""A process of its own: a cold start of RunsFunction, some requests, and the modules loaded.

Reads events from standard input as a JSON list. Prints a JSON object as its last line.
"""

import json
import logging
import os
import random
import sys
from types import SimpleNamespace
from typing import Any

# What Lambda's runtime does with the function's ApplicationLogLevel, before it loads the handler.
logging.basicConfig(stream=sys.stdout, level=os.environ.get("AWS_LAMBDA_LOG_LEVEL", "WARNING"))

from serve_runs import handler as serve_runs  # noqa: E402


def main() -> None:
    """Answer the events; a restore from the snapshot comes first where SnapStart hooks exist."""
    report: dict[str, Any] = {"at_start": sorted(sys.modules), "answers": [], "loaded": []}
    random.seed(1)
    if (snapshots := sys.modules.get("snapshot_restore_py")) is not None:
        for function, arguments, options in snapshots.get_after_restore():
            function(*arguments, **options)
    report["random"] = random.random()  # noqa: S311 - shows whether it was seeded again
    for number, event in enumerate(json.load(sys.stdin)):
        context: Any = SimpleNamespace(
            aws_request_id=f"request-{number}",
            function_name="RunsFunction",
            memory_limit_in_mb=512,
            invoked_function_arn="arn:aws:lambda:us-east-1:123456789012:function:RunsFunction",
        )
        before = set(sys.modules)
        report["answers"].append(serve_runs.handler(event, context)["statusCode"])
        report["loaded"].append(sorted(set(sys.modules) - before))
    sys.stdout.write(json.dumps(report) + "\n")


main()
