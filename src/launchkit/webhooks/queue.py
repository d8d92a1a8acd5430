"""What a queue that the app already has is asked to do: carry a delivery to where it is handled.

The inbox remains the truth. What is sent may be lost or doubled on its way: it is sent again when nothing was heard,
and whoever handles it asks the inbox first, which lets nobody handle it twice at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from launchkit.webhooks.delivery import Delivery


@runtime_checkable
class Queue(Protocol):
    """Carries deliveries to the app's own workers."""

    @property
    def runs_tickets(self) -> bool:
        """Whether the other side hands the ticket to `run`; otherwise it says itself that the delivery is complete."""
        ...

    def send(self, delivery: Delivery, ticket: str) -> object:
        """Put a delivery on the queue; raise if that was not possible. May block, is called in a thread.

        Args:
            delivery: what is to be handled.
            ticket: what the other side hands to `run`: it stands for this attempt, in a few printable characters.
        """
        ...

    def bind(self, run: Callable[[str], None]) -> None:
        """Be told, before anything is sent, what the other side is to call with a ticket.

        `run` handles the delivery with its handler and records the outcome; it blocks, and never raises for what the
        handler does. A ticket that is not valid any more is passed over.
        """
        ...

    def warnings(self) -> Sequence[str]:
        """Return what its user should know about how it is kept, in sentences. May block; never raises."""
        ...
