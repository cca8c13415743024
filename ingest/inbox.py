"""Where messages wait between the network thread and the heart: bounded in number and bytes, first in, first out.

Promise: what `put` refused was not taken, is counted, and must not be acknowledged by its source.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from citypulse.model import RawMessage

MESSAGES_MAX = 100_000  # five seconds at 20,000 messages/s: longer than any commit should take
BYTES_MAX = 64 << 20
OVERHEAD_BYTES = 256  # a RawMessage, its token and its place in the queue, besides the payload (measured: 240)


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxStats:
    """What waits and what has passed since the start; `refused` counts attempts, a message may be among them twice."""

    depth: int
    bytes: int
    taken: int
    refused_by_count: int
    refused_by_bytes: int
    depth_max: int


class Inbox:
    """A bounded queue with many putters and one drainer. `ready` is set while anything waits."""

    def __init__(self, messages_max: int = MESSAGES_MAX, bytes_max: int = BYTES_MAX) -> None:
        """Hold at most `messages_max` messages and about `bytes_max` bytes of them."""
        self._messages_max = messages_max
        self._bytes_max = bytes_max
        self._queue: deque[RawMessage] = deque()
        self._lock = threading.Lock()
        self._bytes = 0
        self._taken = 0
        self._refused_by_count = 0
        self._refused_by_bytes = 0
        self._depth_max = 0
        self.ready = threading.Event()

    def put(self, message: RawMessage) -> bool:
        """Queue one message; False means full: nothing was taken and the source must not acknowledge it."""
        return self.put_many((message,)) == 1

    def put_many(self, messages: Sequence[RawMessage]) -> int:
        """Queue messages in order until one does not fit; return how many were taken."""
        queue = self._queue
        with self._lock:
            room = self._messages_max - len(queue)
            size = self._bytes
            taken = 0
            for message in messages:
                cost = len(message.payload) + OVERHEAD_BYTES
                if taken == room:
                    self._refused_by_count += 1
                    break
                # A message larger than the whole bound still passes alone, or it would block its source for ever.
                if size + cost > self._bytes_max and (queue or taken):
                    self._refused_by_bytes += 1
                    break
                size += cost
                taken += 1
            queue.extend(messages if taken == len(messages) else messages[:taken])
            self._bytes = size
            self._taken += taken
            self._depth_max = max(self._depth_max, len(queue))
            if taken and not self.ready.is_set():
                self.ready.set()
        return taken

    def drain(self, limit: int) -> list[RawMessage]:
        """Remove and return up to `limit` messages, oldest first."""
        queue = self._queue
        with self._lock:
            if len(queue) <= limit:
                messages = list(queue)
                queue.clear()
                self._bytes = 0
                self.ready.clear()
                return messages
            messages = [queue.popleft() for _ in range(limit)]
            self._bytes -= sum(len(m.payload) for m in messages) + OVERHEAD_BYTES * limit
        return messages

    @property
    def depth(self) -> int:
        """How many messages wait."""
        return len(self._queue)

    @property
    def is_roomy(self) -> bool:
        """Whether at least half of both bounds is free: the point where a paused source reads on."""
        return 2 * len(self._queue) <= self._messages_max and 2 * self._bytes <= self._bytes_max

    def oldest_ms(self) -> int | None:
        """Return when the oldest waiting message was received (epoch ms), None when nothing waits."""
        with self._lock:
            return self._queue[0].received_ms if self._queue else None

    def stats(self) -> InboxStats:
        """Return the counters as of now."""
        with self._lock:
            return InboxStats(
                depth=len(self._queue),
                bytes=self._bytes,
                taken=self._taken,
                refused_by_count=self._refused_by_count,
                refused_by_bytes=self._refused_by_bytes,
                depth_max=self._depth_max,
            )
