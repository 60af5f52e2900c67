"""Sends a command of the AWS CLI, as a document shows it, by botocore to `AWS_ENDPOINT_URL`.

The CLI's names of commands and options are those of the API in lower case, with hyphens.
"""

import json
import sys
from collections.abc import Sequence
from itertools import batched

from botocore import xform_name
from botocore.session import get_session


def send(words: Sequence[str]) -> None:
    """Make the call of `words`, the command without `aws`, and print its answer."""
    service, command, *options = words
    client = get_session().create_client(service)
    model = client.meta.service_model
    [operation] = [name for name in model.operation_names if xform_name(name, "-") == command]
    shape = model.operation_model(operation).input_shape
    assert shape is not None
    members = {f"--{xform_name(name, '-')}": name for name in shape.members}
    parameters = {members[option]: value for option, value in batched(options, 2, strict=True)}
    answer = getattr(client, xform_name(operation))(**parameters)
    sys.stdout.write(json.dumps(answer, default=str))


if __name__ == "__main__":
    send(sys.argv[1:])
