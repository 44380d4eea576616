"""What /proc says of a process and its descendants: CPU time, resident memory, who listens on a port."""

from __future__ import annotations

import os
from pathlib import Path

PROC = Path("/proc")
NANOSECONDS = 1e9
LISTENING = "0A"  # TCP_LISTEN in /proc/net/tcp
IDLE_COLUMN, IO_WAIT_COLUMN, GUEST_COLUMN = 3, 4, 8  # of a CPU's line in /proc/stat
STATE_COLUMN, LOCAL_ADDRESS_COLUMN, INODE_COLUMN = 3, 1, 9
PARENT_FIELD, USER_TICKS_FIELD, SYSTEM_TICKS_FIELD = 1, 11, 12  # of /proc/PID/stat, counted after the name


def tree(pid: int) -> tuple[int, ...]:
    """`pid` and all its descendants, as far as they still run."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[PARENT_FIELD]), []).append(int(entry.name))
    found = [pid]
    for known in found:
        found += children.get(known, [])
    return tuple(process for process in found if (PROC / str(process)).exists())


def cpu_seconds(pids: tuple[int, ...]) -> float:
    """The CPU time that the processes have used since they started."""
    return sum(_cpu_seconds(pid) for pid in pids)


def cpu_busy_seconds(cpu: int) -> float:
    """For how long a CPU has not been idle, whoever used it, since the machine started. In ticks of 10 ms."""
    for line in (PROC / "stat").read_text().splitlines():
        name, *ticks = line.split()
        if name == f"cpu{cpu}":
            idle = int(ticks[IDLE_COLUMN]) + int(ticks[IO_WAIT_COLUMN])
            busy = sum(map(int, ticks[:GUEST_COLUMN])) - idle  # guest time is in user time already
            return busy / os.sysconf("SC_CLK_TCK")
    return 0.0


def _cpu_seconds(pid: int) -> float:
    """To the nanosecond where the kernel keeps scheduler statistics, else in ticks of 10 ms."""
    try:
        threads = [int((task / "schedstat").read_text().split()[0]) for task in _tasks(pid)]
    except OSError:
        fields = _stat(pid)
        ticks = int(fields[USER_TICKS_FIELD]) + int(fields[SYSTEM_TICKS_FIELD]) if fields else 0
        return ticks / os.sysconf("SC_CLK_TCK")
    return sum(threads) / NANOSECONDS


def resident_bytes(pids: tuple[int, ...]) -> int:
    """The resident memory of the processes. Pages that they share count once for each."""
    return sum(_resident_bytes(pid) for pid in pids)


def _resident_bytes(pid: int) -> int:
    try:
        pages = int((PROC / str(pid) / "statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def command_line(pid: int) -> str:
    try:
        return (PROC / str(pid) / "cmdline").read_text().replace("\0", " ").strip()
    except OSError:
        return ""


def pin(pid: int, cpu: int) -> None:
    """Keep every thread of a process on one CPU; threads that it starts later inherit that."""
    for task in _tasks(pid):
        os.sched_setaffinity(int(task.name), {cpu})


def listener(port: int) -> int | None:
    """The process that listens on a TCP port of this machine, if it is one that we may look into.

    Of several (nginx: master and workers) it is the one that was started first.
    """
    inodes = {inode for name in ("tcp", "tcp6") for inode in _listening_inodes(PROC / "net" / name, port)}
    sockets = {f"socket:[{inode}]" for inode in inodes}
    found = [int(e.name) for e in PROC.iterdir() if e.name.isdigit() and _open_files(e) & sockets]
    return min(found, default=None)


def _listening_inodes(table: Path, port: int) -> list[str]:
    try:
        rows = [line.split() for line in table.read_text().splitlines()[1:]]
    except OSError:
        return []
    return [
        row[INODE_COLUMN]
        for row in rows
        if row[STATE_COLUMN] == LISTENING and int(row[LOCAL_ADDRESS_COLUMN].rpartition(":")[2], 16) == port
    ]


def _open_files(process: Path) -> set[str]:
    try:
        return {str(entry.readlink()) for entry in (process / "fd").iterdir()}
    except OSError:
        return set()


def _tasks(pid: int) -> list[Path]:
    try:
        return list((PROC / str(pid) / "task").iterdir())
    except OSError:
        return []


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name, which may hold anything. Empty for no process."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
