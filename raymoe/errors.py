"""The one exception that users are meant to see: what is wrong, where, and what to do about it."""


class RaymoeError(Exception):
    """Something the user can mend.

    Args:
        message: what is wrong, naming the file, row or option.
        remedy: what to do about it, as a sentence or a command.
    """

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __reduce__(self):  # so that it survives the way back from a Ray actor
        return type(self), (self.message, self.remedy)

    def __str__(self) -> str:
        return f"{self.message}\n  {self.remedy}" if self.remedy else self.message


class InputError(RaymoeError):
    """Raw data, an option or a configuration that can't be used."""


class NoisyGameWarning(UserWarning):
    """A game changes its answer from call to call."""


class ParentError(RaymoeError):
    """A stage's input is missing, damaged, or was made from something else."""


class WorkspaceError(RaymoeError):
    """The workspace can't be read or written."""


class Interrupted(KeyboardInterrupt):
    """A graceful stop after Ctrl-C or SIGTERM; not an error.

    Args:
        signum: the signal.
        message: what is done and kept, for the last line.
    """

    def __init__(self, signum: int, message: str) -> None:
        super().__init__(message)
        self.signum, self.message = signum, message

    @property
    def exit_code(self) -> int:
        """The shells' convention: 130 after Ctrl-C, 143 after SIGTERM."""
        return 128 + self.signum
