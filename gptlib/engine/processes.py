"""Several processes that train one model: who is who, what they agree on, and who is missing.

Given, not built. `torchrun` starts them and tells each by its environment which one it is: its
rank, of world_size in all, and its local_rank among those of its machine. Each has the whole model,
or with sharding a part of it, and works on its own rows of every batch.
"""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from gptlib.given.checks.recipe import pick_device

TIMEOUT = 600.0  # seconds that the others wait for one, a save of the first one included
START = 300.0  # seconds in which all must have started
ROLL_CALL = 5.0  # seconds in which those that are left say so
BROKEN = ("gloo", "nccl", "connection", "timed out", "store")  # in what torch says of a lost one

Result = TypeVar("Result")


class Lost(ConnectionError):
    """Another process has ended, or hangs; `told` where another one says so too."""

    status, told = 1, False


class Elsewhere(ValueError):
    """An error of rank 0, which reports it; here so that all end alike."""

    told = True


@dataclass(frozen=True)
class Processes:
    """The processes of one run, and which of them this is.

    store: where they leave each other notes that outlive them; None in a group of the caller's.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    timeout: float = TIMEOUT
    store: Any = None

    @property
    def first(self) -> bool:
        """Whether this one reports and saves."""
        return self.rank == 0

    def share(self, rows: int) -> slice:
        """Which of a batch's rows are this one's. rows: a multiple of world_size.

        Processes(rank=1, world_size=4).share(12).start -> 3
        """
        own = rows // self.world_size
        return slice(self.rank * own, (self.rank + 1) * own)

    def largest(self, number: int) -> int:
        """The largest of the numbers that the processes give, for all of them.

        Processes().largest(15) -> 15
        """
        if self.world_size == 1:
            return number
        numbers = torch.tensor(number)
        dist.all_reduce(numbers, dist.ReduceOp.MAX)
        return int(numbers)

    def first_does(self, act: Callable[[], Result]) -> Result:
        """What act() gives on rank 0, for all; the others do not call it, and wait.

        Errors: those of act on rank 0, and Elsewhere on the others.

        Processes().first_does(lambda: 7) -> 7
        """
        if self.world_size == 1:
            return act()
        done: list[Any] = [None, None]
        failed: Exception | None = None
        if self.first:
            try:
                done[0] = act()
            except Exception as error:
                failed, done[1] = error, str(error) or type(error).__name__
        dist.broadcast_object_list(done, src=0)
        if failed is not None:
            raise failed
        if done[1] is not None:
            raise Elsewhere(done[1])
        return done[0]

    def check(self, settings: dict[str, Any]) -> None:
        """A run's settings can be shared out. Errors: ValueError says which cannot."""
        n, rows = self.world_size, settings["batch_size"]
        if n == 1:
            return
        if rows % n:
            fits = [size for size in (rows - rows % n, rows - rows % n + n) if size]
            raise ValueError(
                f"batch_size must be a multiple of the number of processes, {n}, so that each has "
                f"as many rows; got {rows}. Take {' or '.join(map(str, fits))}, or a number of "
                f"processes that divides it."
            )
        device = pick_device(settings["device"])
        if device.type not in ("cpu", "cuda") or device.index not in (None, 0):
            raise ValueError(f"device must be cpu or cuda for several processes; got {device}.")

    def check_card(self, device: torch.device) -> None:
        """There is a card for this process. Errors: ValueError if there is none."""
        if device.type == "cuda" and self.local_rank >= torch.cuda.device_count():
            raise ValueError(
                f"rank {self.rank} has no card: its machine has {torch.cuda.device_count()}. Start "
                f"as many processes a machine as it has cards."
            )

    @contextmanager
    def watched(self) -> Iterator[None]:
        """An error inside is left as a note; that another process is gone becomes Lost."""
        try:
            yield
        except Elsewhere:
            raise
        except Exception as error:
            if self.world_size == 1:
                raise
            if isinstance(error, RuntimeError) and _is_broken(error):
                raise self._lost() from error
            reason = str(error)
            error.told = self._leave(reason) != self.rank  # type: ignore[attr-defined]
            raise

    def _leave(self, reason: str) -> int:
        """Say why this one ends; the rank of the first that has ended for the same reason."""
        if self.store is None:
            return self.rank
        mine = f"{self.rank} {reason}"
        rank, _, said = self.store.compare_set("left", "", mine).decode().partition(" ")
        return int(rank) if said == reason else self.rank

    def _lost(self) -> Lost:
        """Who is missing, found by a roll call of rank 0: each that notices signs.

        The others then leave at once. Who waits for them, and not for the lost one, notices so.
        """
        n, kept = self.world_size, "The run is kept up to its newest checkpoint: start it again."
        if self.store is None:
            return Lost(f"rank {self.rank} has lost another one of {n} processes. {kept}")
        with suppress(ValueError):  # outside the main thread; torchrun ends the others meanwhile
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.store.set(f"here {self.rank}", "")
        if not self.first:
            lost = Lost(f"another one of {n} processes no longer answers. {kept}")
            lost.told = int(self.store.compare_set("said", "", str(self.rank))) != self.rank
            return lost
        here, end = {0}, time.monotonic() + min(ROLL_CALL, self.timeout)
        while time.monotonic() < end and len(here) < n - 1:
            here |= {rank for rank in range(n) if self.store.check([f"here {rank}"])}
            time.sleep(0.05)
        missing = ", ".join(str(rank) for rank in range(n) if rank not in here) or "unknown"
        said = f"rank {missing} of {n} no longer answers: it has ended, or hangs"
        if self.store.check(["left"]):
            rank, _, reason = self.store.get("left").decode().partition(" ")
            said = f"rank {rank} of {n} has ended: {reason.rstrip('.')}"
        return Lost(f"{said}. {kept}")


def place() -> tuple[int, int]:
    """Rank and world size, by the environment: (0, 1) for who was not started by torchrun."""
    if not {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= os.environ.keys():
        return 0, 1
    return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])


@contextmanager
def joined(timeout: float = TIMEOUT) -> Iterator[Processes]:
    """Meet the other processes, where torchrun has started several; part from them at the end.

    A group that the caller has made already is taken, and stays. timeout: seconds after which one
    that does not answer is taken for lost.
    """
    rank, world_size = place()
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    if dist.is_available() and dist.is_initialized():
        yield Processes(dist.get_rank(), dist.get_world_size(), local_rank, timeout)
        return
    if world_size == 1:
        yield Processes()
        return
    cards = torch.cuda.is_available()
    if cards:
        torch.cuda.set_device(local_rank % torch.cuda.device_count())
    store, rank, world_size = next(rendezvous("env://", timeout=timedelta(seconds=START)))
    store = PrefixStore(_meeting(store, rank, world_size), store)
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if cards else "cpu:gloo",
        store=PrefixStore("group", store), rank=rank, world_size=world_size,
        timeout=timedelta(seconds=timeout),
    )  # fmt: skip
    group = Processes(rank, world_size, local_rank, timeout, PrefixStore("notes", store))
    with group.watched():
        yield group
    dist.destroy_process_group()


def _meeting(store: Any, rank: int, world_size: int) -> str:
    """A name for this start that no earlier one had, the same for all.

    torchrun's store outlives a restart, and with it the addresses of those that were killed. So
    the first one answers whoever stands in it, the dead too, until all the living have replied.
    """
    mine = secrets.token_hex(8)
    store.set(f"hello {rank}", mine)
    if rank:
        name = store.get(f"welcome {mine}").decode()  # waits
        store.set(f"{name} {rank}", "")
        return name
    waiting, end = set(range(1, world_size)), time.monotonic() + START
    while waiting and time.monotonic() < end:
        for other in (r for r in waiting if store.check([f"hello {r}"])):
            store.set(f"welcome {store.get(f'hello {other}').decode()}", mine)
        time.sleep(0.02)
        waiting = {other for other in waiting if not store.check([f"{mine} {other}"])}
    if waiting:
        raise Lost(f"rank {', '.join(map(str, sorted(waiting)))} of {world_size} did not start.")
    return mine


def _is_broken(error: RuntimeError) -> bool:
    """Whether torch says that it cannot reach another process."""
    said = str(error).lower()
    return isinstance(error, dist.DistError) or any(word in said for word in BROKEN)
