"""What a batch of messages asks for, where several are about one unit."""

import json

import pytest

from byline.refresh.work_units import Selection, WorkUnit, message_body, read_batch, read_message
from tests.refresh.deployment import sqs_record

UNIT = WorkUnit(shard="07", project="payments")


def batch_of(*bodies: str) -> dict[WorkUnit, Selection]:
    """The batch, and nothing in it that is not understood."""
    missed: list[str] = []
    batch = read_batch([sqs_record(body) for body in bodies], unreadable=missed.append)
    assert missed == []
    return batch


@pytest.mark.parametrize(
    ("deadline", "due_by"), [(None, None), (1_800_000_300, None), (1_800_000_300, 1_800_000_000)]
)
def test_message_says_who_is_meant(deadline: int | None, due_by: int | None) -> None:
    """As it was sent; what it does not say is not in it."""
    body = message_body(UNIT, deadline=deadline, due_by=due_by)
    message = read_message(body)
    assert (message.work_unit, message.deadline, message.due_by) == (UNIT, deadline, due_by)
    assert None not in json.loads(body).values()
    (wanted,) = batch_of(body).values()
    assert (wanted.up_to, wanted.due_by) == (deadline, due_by)


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ((None, None), (300, 100), (None, None)),
        ((300, 100), (200, 160), (300, 160)),
        ((300, None), (400, 160), (400, None)),
        ((None, 100), (400, 160), (None, 160)),
    ],
)
def test_unit_of_two_messages_has_one_turn_for_whom_either_means(
    one: tuple[int | None, int | None],
    other: tuple[int | None, int | None],
    both: tuple[int | None, int | None],
) -> None:
    """Whatever their order; a turn may be for more than each, and never for less."""
    for first, second in ((one, other), (other, one)):
        (wanted,) = batch_of(
            message_body(UNIT, deadline=first[0], due_by=first[1]),
            message_body(UNIT, deadline=second[0], due_by=second[1]),
        ).values()
        assert (wanted.up_to, wanted.due_by) == both
        assert len(wanted.message_ids) == 2
