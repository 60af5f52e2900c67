"""What a batch of messages asks for: which units, and up to which deadlines."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from byline.refresh.messages import MessageNotUnderstood, read_message
from byline.refresh.work_units import Unit


@dataclass(frozen=True, slots=True)
class Wanted:
    """Of one unit: the runners with a deadline `up_to` this one, which were `due_by` this time.

    All of them where that is None. `message_ids` are those that said so.
    """

    up_to: int | None
    due_by: int | None
    message_ids: tuple[str, ...]

    def joined(self, other: "Wanted") -> "Wanted":
        """What both want, in one turn: two of them would hold the same lease."""
        return Wanted(
            _later(self.up_to, other.up_to),
            _later(self.due_by, other.due_by),
            self.message_ids + other.message_ids,
        )


def read_batch(
    records: Iterable[dict[str, Any]], *, not_understood: Callable[[str], None]
) -> dict[Unit, Wanted]:
    """The units that the records of an event name, in their order.

    What is no message of ours is passed over and its id told to `not_understood`: it is of no use
    to anybody, so it is not to be delivered again.
    """
    batch: dict[Unit, Wanted] = {}
    for record in records:
        message_id = record["messageId"]
        try:
            message = read_message(record["body"])
        except MessageNotUnderstood:
            not_understood(message_id)
            continue
        wanted, known = (
            Wanted(message.deadline, message.due_by, (message_id,)),
            batch.get(message.unit),
        )
        batch[message.unit] = known.joined(wanted) if known else wanted
    return batch


def _later(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else max(one, other)
