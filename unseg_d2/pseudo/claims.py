"""Who makes which shard: any number of commands, on any machines that see the folder, claim one after the other.

A claim is the lock of a shard (:mod:`unseg_d2.locks`), held while it is made, so the shard of a command that was killed
is free at once, and a machine that is quicker than others takes what they have not begun.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType

from unseg_d2.jobs.jobs import Jobs
from unseg_d2.jobs.visible import wait_until_visible
from unseg_d2.locks import Claim, claimed
from unseg_d2.pseudo.make_shard import ShardJob
from unseg_d2.pseudo.shards import ShardFolder

logger = logging.getLogger(__name__)


def in_order(num_shards: int, index: int, number: int) -> list[int]:
    """Return all shards as one of several commands goes through them: its own share first, in order.

    Then it helps the others, from the next one on, beginning with what each would come to last.

    Args:
        num_shards: of the label set.
        index: of the command, in [0, number).
        number: of commands.

    >>> in_order(8, 1, 3)
    [1, 4, 7, 5, 2, 6, 3, 0]
    """
    shares = [range((index + other) % number, num_shards, number) for other in range(number)]
    return [*shares[0], *(shard for share in shares[1:] for shard in reversed(share))]


class ClaimedShards(Jobs):
    """The shards that are not made, each claimed when it is handed out; as a context manager it releases them.

    Args:
        shards: folder of the label set.
        index: of this command, in [0, number).
        number: of commands.
        outdated: positions of images that have changed, in finished shards of its share that are made again.
        make: returns the job of a shard.
        elsewhere: whether shards are made on other machines.
    """

    def __init__(
        self,
        shards: ShardFolder,
        index: int,
        number: int,
        outdated: Mapping[int, tuple[int, ...]],
        make: Callable[[int], ShardJob],
        *,
        elsewhere: bool = False,
    ) -> None:
        super().__init__([])
        self.shards, self.outdated, self.make, self.elsewhere = shards, outdated, make, elsewhere
        self.own = range(index, shards.num_shards, number)
        order = in_order(shards.num_shards, index, number)
        self.left = {shard: None for shard in order if not self._is_done(shard)}
        self.num_images = sum(self._count(shard) for shard in self.left if shard in self.own)
        """Images that this command will make or has made: of its share, without what others took, and of others."""
        self._claims: dict[int, Claim] = {}
        self._waits = False

    def __len__(self) -> int:
        """Return how many there may still be: those that nobody has finished, and those that are tried again."""
        return len(self._jobs) + len(self.left)

    def take(self) -> ShardJob | None:
        """Claim the next shard and return its job; ``None`` where other commands hold all that are left."""
        if self._jobs:
            again: ShardJob = self._jobs.pop()
            return again
        for shard in tuple(self.left):
            if not self._is_done(shard):
                claim = claimed(self.shards.lock(shard))
                if claim is None:
                    continue
                self._claims[shard] = claim
            del self.left[shard]
            if not self._is_done(shard):  # by the one who held it
                self.num_images += 0 if shard in self.own else self._count(shard)
                return self.make(shard)
            self.num_images -= self._count(shard) if shard in self.own else 0
            if shard in self._claims:
                self._release(shard)
        if self.left and not self._claims and not self._waits:
            self._waits = True
            count = len(self.left)
            logger.info("Waiting for %s that other commands make.", "one shard" if count == 1 else f"{count} shards")
        return None

    def finish(self, job: ShardJob) -> None:
        """Release a shard that is made; that of another machine, once it can be seen.

        Raises:
            UnsegError: it cannot.
        """
        if self.elsewhere:
            wait_until_visible(self.shards.path(job.shard))
        self._release(job.shard)

    def __enter__(self) -> ClaimedShards:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for shard in list(self._claims):
            self._release(shard)

    def _is_done(self, shard: int) -> bool:
        return shard not in self.outdated and self.shards.is_finished(shard)

    def _count(self, shard: int) -> int:
        """Return the number of images of a shard that are to be made."""
        return len(self.outdated.get(shard) or self.shards.positions(shard))

    def _release(self, shard: int) -> None:
        self._claims.pop(shard).release()
        if self.shards.is_finished(shard):
            with suppress(OSError):  # Windows, where somebody else is about to look at it
                self.shards.lock(shard).unlink()
