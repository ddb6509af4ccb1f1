"""One error type for each exit code of the command line.

Knows nothing about what went wrong: the message, one line that names the value and the mend, is the
caller's to write.
"""


class VizdiffError(Exception):
    """Base of every error that is shown to a user as one line, without a traceback."""

    exit_code = 1


class VizdiffUsageError(VizdiffError):
    """The command line or an argument is wrong (exit code 2)."""

    exit_code = 2


class VizdiffInputError(VizdiffError):
    """A file, a run or a recording cannot be used as it is (exit code 3)."""

    exit_code = 3


class VizdiffIOError(VizdiffError):
    """Reading, writing or downloading failed (exit code 4)."""

    exit_code = 4


class VizdiffLockedError(VizdiffError):
    """Another process is writing to the same place (exit code 5)."""

    exit_code = 5


class VizdiffNonFiniteError(VizdiffError):
    """A NaN or an infinity appeared where only finite numbers make sense (exit code 6)."""

    exit_code = 6
