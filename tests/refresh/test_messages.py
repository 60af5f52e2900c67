"""The messages of a batch: which tokens they mean, and several messages for one work unit."""

import json

import pytest

from byline.refresh.work_units import (
    Selection,
    UnreadableMessage,
    UnreadableSecret,
    WorkUnit,
    message_body,
    read_batch,
    read_message,
    read_token_secret,
)
from tests.refresh.deployment import sqs_record

UNIT = WorkUnit(shard="07", project="payments")


def batch_of(*bodies: str) -> dict[WorkUnit, Selection]:
    """The batch of these bodies, which are all readable."""
    missed: list[str] = []
    batch = read_batch([sqs_record(body) for body in bodies], unreadable=missed.append)
    assert missed == []
    return batch


@pytest.mark.parametrize(
    ("deadline", "due_by"), [(None, None), (1_800_000_300, None), (1_800_000_300, 1_800_000_000)]
)
def test_message_is_read_as_it_was_sent(deadline: int | None, due_by: int | None) -> None:
    """Members without a value are left out."""
    body = message_body(UNIT, deadline=deadline, due_by=due_by)
    message = read_message(body)
    assert (message.work_unit, message.deadline, message.due_by) == (UNIT, deadline, due_by)
    assert None not in json.loads(body).values()
    (wanted,) = batch_of(body).values()
    assert (wanted.up_to, wanted.due_by) == (deadline, due_by)


def test_message_of_a_later_format_is_not_guessed_at() -> None:
    """A message of another format, as a later version may send before a rollback, is unreadable."""
    body = json.dumps({**json.loads(message_body(UNIT)), "format": 2})
    with pytest.raises(UnreadableMessage):
        read_message(body)


@pytest.mark.parametrize("levels", [10_000, 100_000])
def test_deeply_nested_message_stops_no_other_of_its_batch(levels: int) -> None:
    """Only the message that cannot be read is reported, and the other work units are refreshed."""
    deep = f'{{"shard":"07","project":"p","more":{"[" * levels}{"]" * levels}}}'
    records = [sqs_record(message_body(UNIT)), sqs_record(deep)]
    missed: list[str] = []
    assert list(read_batch(records, unreadable=missed.append)) == [UNIT]
    assert missed == [records[1]["messageId"]]


@pytest.mark.parametrize("levels", [10_000, 100_000])
def test_deeply_nested_secret_is_unreadable(levels: int) -> None:
    """A secret that was changed by hand counts as one of another form."""
    with pytest.raises(UnreadableSecret):
        read_token_secret(f'{{"more":{"[" * levels}{"]" * levels}}}')


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ((None, None), (300, 100), (None, None)),
        ((300, 100), (200, 160), (300, 160)),
        ((300, None), (400, 160), (400, None)),
        ((None, 100), (400, 160), (None, 160)),
    ],
)
def test_two_messages_for_a_work_unit_are_joined(
    one: tuple[int | None, int | None],
    other: tuple[int | None, int | None],
    both: tuple[int | None, int | None],
) -> None:
    """The selection includes all tokens of either message, in any order."""
    for first, second in ((one, other), (other, one)):
        (wanted,) = batch_of(
            message_body(UNIT, deadline=first[0], due_by=first[1]),
            message_body(UNIT, deadline=second[0], due_by=second[1]),
        ).values()
        assert (wanted.up_to, wanted.due_by) == both
        assert len(wanted.message_ids) == 2
