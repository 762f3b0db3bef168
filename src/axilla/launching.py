"""One command in several processes that train together: started, heard and ended as one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from typing import IO, TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

LAUNCHED = "TORCHELASTIC_RUN_ID"
"""Variable by which a process knows that `torchrun` or we started it together with others."""
_OURS = "axilla"
"""Its value where it was us."""
POLL_S = 0.1
GRACE_S = 5.0
"""Seconds that the first process has to say what went wrong once another one has failed."""
LEAVE_S = 10.0
"""Seconds that a process has to end once it is told to."""


def started_by_us() -> bool:
    """Whether `run_together` started this process, and speaks for it when Ctrl-C ends both."""
    return os.environ.get(LAUNCHED) == _OURS


def run_together(command: Sequence[str], *, count: int, told: Collection[int]) -> int:
    """Run a command `count` times over, as `torchrun` does, and return its exit code.

    The first process is the one that is heard. What the others say on standard error comes after,
    and only where the first ended with none of the codes in `told`: those of a mistake that it
    has put into a sentence, of which theirs is an echo. However this ends, all of them end.

    Parameters
    ----------
    command
        Arguments of the Python interpreter.
    count
        Processes.
    told
        Exit codes with which the command has said everything itself; 0 is one of them.
    """
    with ExitStack() as stack:
        stack.enter_context(_ending_by_signal())
        # The others write to a file: a pipe that nobody reads would fill and hold them up.
        errors = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(count - 1)]
        started: list[subprocess.Popen[bytes]] = []
        stack.callback(_end, started)
        for rank, environment in enumerate(_environments(count)):
            started.append(_start(command, environment, errors[rank - 1] if rank else None))
        _wait(started)
        first, *others = [process.poll() for process in started]
        if first is not None and first in told:
            return first
        for code, error in zip(others, errors, strict=True):
            if code:
                sys.stderr.write(_read(error))
        failed = next((code for code in others if code), 1)
        return _exit_code(failed if first is None else first)


def _start(
    command: Sequence[str], environment: dict[str, str], error: IO[bytes] | None
) -> subprocess.Popen[bytes]:
    stdin = None if error is None else subprocess.DEVNULL
    return subprocess.Popen(  # noqa: S603 - ourselves
        [sys.executable, *command], env=environment, stdin=stdin, stderr=error
    )


def _environments(count: int) -> Iterator[dict[str, str]]:
    """The variables of each process, those that `torchrun` sets on one machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    threads = os.environ.get("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    for rank in range(count):
        own = {
            "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count,
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, LAUNCHED: _OURS,
            "OMP_NUM_THREADS": threads,
        }  # fmt: skip
        yield os.environ | {name: str(value) for name, value in own.items()}


def _wait(started: Sequence[subprocess.Popen[bytes]]) -> None:
    """Until the first has ended, or another has failed and the first has had its time."""
    first, *others = started
    while first.poll() is None and not any(process.poll() for process in others):
        time.sleep(POLL_S)
    end = time.monotonic() + GRACE_S
    while first.poll() is None and time.monotonic() < end:
        time.sleep(POLL_S)


def _end(started: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in started:
        process.terminate()  # nothing, of one that has ended
    for process in started:
        try:
            process.wait(LEAVE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def _ending_by_signal() -> Iterator[None]:
    """Within the block a signal that ends us ends the processes first."""

    def leave(number: int, _: object) -> NoReturn:
        sys.exit(_exit_code(-number))

    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]  # Windows has one
    numbers = [getattr(signal, name) for name in names]
    # What is ignored stays ignored: `nohup` is there for that.
    heard = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, leave) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _exit_code(code: int) -> int:
    """As a shell tells it: 128 and the number of the signal that ended a process."""
    return 128 - code if code < 0 else code


def _read(error: IO[bytes]) -> str:
    error.seek(0)
    return error.read().decode("utf-8", errors="replace")
