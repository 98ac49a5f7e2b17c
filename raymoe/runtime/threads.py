"""How many of torch's threads pay, on a machine that is not ours alone.

Threads of one operation wait for each other. On cores of one's own they are worth their number, nearly;
beside a process that takes a core, each operation waits for the thread that has none, and all threads
together are several times slower than a single one. So steps are timed, and early on, and where they have
become slow, it is tried what fewer threads would take, on work whose result is thrown away.

Another number of threads rounds differently. The usual one stays unless another is clearly better: on a
machine of one's own the same seed gives the same bits. So does a number that the user sets
(``OMP_NUM_THREADS``).
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median

SETTLED = 2.0  # seconds of steps before anything is tried: short work is over before it pays
SLOW = 1.5  # times the usual step
CLEAR = 1.1  # by so much other threads must be better than the usual ones
RECENT = 3  # steps whose median is compared
TRIALS = 2  # per number of threads
FIRST_WAIT, LONGEST_WAIT = 10.0, 160.0  # seconds until it is tried again whether more threads pay


class Threads:
    """Chooses the number of torch's threads, step by step.

    Args:
        told: what to do with a sentence about a change.
        clock: seconds.
        candidates: numbers of threads, the usual one first; by default torch's own, half of them, and one.
            Where the user has set their number, that alone.
    """

    def __init__(
        self,
        told: Callable[[str], None] = lambda sentence: None,
        *,
        clock: Callable[[], float] = time.perf_counter,
        candidates: list[int] | None = None,
    ) -> None:
        self._told, self._clock = told, clock
        self._candidates = _candidates() if candidates is None else candidates
        self.chosen = self._candidates[0]
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._usual: float | None = None  # seconds of a step since the last look
        self._seconds = 0.0  # of all steps
        self._looked: float | None = None  # when
        self._wait = FIRST_WAIT

    @contextmanager
    def step(self, trial: Callable[[], None]) -> Iterator[None]:
        """Around each step: looks first whether another number would pay, if there is reason to ask.

        Args:
            trial: does the same work and throws its result away; random states stay as they are.
        """
        if self._has_reason():
            self._look(trial)
        start = self._clock()
        yield
        took = self._clock() - start
        self._seconds += took
        self._recent.append(took)
        if len(self._recent) == RECENT:
            now = median(self._recent)
            self._usual = now if self._usual is None else min(self._usual, now)

    def _has_reason(self) -> bool:
        if len(self._candidates) < 2 or self._seconds < SETTLED:
            return False
        if self._looked is None:  # somebody may have been busy all the time
            return True
        since = self._clock() - self._looked
        fewer = self.chosen != self._candidates[0]  # whoever was busy may have gone
        slow = self._usual is not None and median(self._recent) > SLOW * self._usual
        return (fewer and since > self._wait) or (slow and since > min(self._wait, SETTLED))

    def _look(self, trial: Callable[[], None]) -> None:
        usual = self._candidates[0]
        took = {threads: self._seconds_with(threads, trial) for threads in self._candidates}
        best = min(took, key=lambda threads: took[threads])
        if took[usual] <= CLEAR * took[best]:
            best = usual
        if best != self.chosen:
            self._told(
                f"steps with {best} of {usual} threads from now on: {took[best]:.2g} s each, "
                f"{took[self.chosen]:.2g} s with {self.chosen}"
            )
        self._wait = FIRST_WAIT if best != self.chosen else min(2 * self._wait, LONGEST_WAIT)
        self.chosen = best
        self._set(best)
        self._usual, self._looked = None, self._clock()
        self._recent.clear()

    def _seconds_with(self, threads: int, trial: Callable[[], None]) -> float:
        self._set(threads)
        start = self._clock()
        for _ in range(TRIALS):
            trial()
        return (self._clock() - start) / TRIALS

    def close(self) -> None:
        """The usual number again."""
        self._set(self._candidates[0])

    @staticmethod
    def _set(threads: int) -> None:
        import torch

        torch.set_num_threads(threads)


def use_granted_cores() -> None:
    """No more of torch's threads than there are cores for this process: affinity and limits of its container.

    A number that the user has set stays.
    """
    import torch
    from joblib import cpu_count

    if not set_by_user():
        torch.set_num_threads(min(torch.get_num_threads(), cpu_count()))


def set_by_user() -> bool:
    """Whether the number of threads is the user's."""
    return bool(os.environ.get("OMP_NUM_THREADS") or os.environ.get("MKL_NUM_THREADS"))


def _candidates() -> list[int]:
    import torch

    usual = torch.get_num_threads()
    if set_by_user():
        return [usual]
    return sorted({usual, max(1, usual // 2), 1}, reverse=True)
