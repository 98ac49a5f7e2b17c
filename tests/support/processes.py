"""Processes that a test may look at or kill: its own, never those of another run on the machine."""

import psutil


def ray_actors(class_name: str) -> list[psutil.Process]:
    """The actors of a class, or of Tune's trials (``ImplicitFunc``), below this process."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if f"ray::{class_name}" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:  # it ended just now
            continue
    return found
