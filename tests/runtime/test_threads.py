"""Threads follow the machine: simulated steps, a clock that only they move."""

import os
import subprocess
import sys

import pytest
import torch

from raymoe.runtime import threads as threads_module
from raymoe.runtime.threads import Threads, use_granted_cores


class Machine:
    """Steps on it take as long as they did on two cores: alone, and beside a busy process."""

    def __init__(self, monkeypatch):
        self.seconds = {False: {2: 0.12, 1: 0.2}, True: {2: 0.5, 1: 0.21}}
        self.now, self.busy, self.threads, self.trials, self.told = 0.0, False, 2, 0, []
        monkeypatch.setattr(Threads, "_set", staticmethod(self.set))
        self.chooser = Threads(self.told.append, clock=lambda: self.now, candidates=[2, 1])

    def set(self, threads):
        self.threads = threads

    def work(self):
        self.now += self.seconds[self.busy][self.threads]

    def trial(self):
        self.trials += 1
        self.work()

    def run(self, seconds):
        """Steps for so long; how many there were."""
        end, done = self.now + seconds, 0
        while self.now < end:
            with self.chooser.step(self.trial):
                self.work()
            done += 1
        return done


@pytest.fixture
def machine(monkeypatch):
    return Machine(monkeypatch)


def test_alone_all_threads_stay_and_next_to_nothing_is_tried(machine):
    done = machine.run(300)
    assert machine.threads == 2
    assert machine.told == []
    assert machine.trials == 4
    assert done >= 0.99 * 300 / 0.12


def test_short_work_is_never_tried(machine):
    machine.run(1.9)
    assert machine.trials == 0


@pytest.mark.parametrize("at", [0, 60])
def test_beside_a_busy_process_there_is_one_thread(machine, at):
    machine.run(at)
    machine.busy = True
    machine.run(10)
    assert machine.threads == 1
    assert machine.chooser.chosen == 1
    (sentence,) = machine.told
    assert sentence == "steps with 1 of 2 threads from now on: 0.21 s each, 0.5 s with 2"
    done = machine.run(300)
    assert done >= 0.95 * 300 / 0.21
    machine.busy = False
    machine.run(330)  # looked at again ever more rarely
    assert machine.threads == 2
    assert machine.run(100) >= 0.98 * 100 / 0.12
    machine.threads = 1
    machine.chooser.close()
    assert machine.threads == 2


def test_steps_that_are_slow_with_any_number_change_nothing(machine):
    machine.run(20)
    machine.seconds = {False: {2: 1.2, 1: 2.0}}
    machine.run(600)
    assert machine.threads == 2
    assert machine.told == []
    assert machine.trials <= 12


def test_what_the_user_sets_stays(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert threads_module._candidates() == [torch.get_num_threads()]
    before = torch.get_num_threads()
    monkeypatch.setattr("joblib.cpu_count", lambda: 1)
    use_granted_cores()
    assert torch.get_num_threads() == before


def test_no_more_threads_than_the_machine_grants():
    """In a process of its own: the number is the process's."""
    code = (
        "import torch, joblib, os; from raymoe.runtime.threads import use_granted_cores; "
        "torch.set_num_threads(4); joblib.cpu_count = lambda: 3; use_granted_cores(); "
        "print(torch.get_num_threads())"
    )
    own = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    ended = subprocess.run([sys.executable, "-c", code], env=own, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "3"
