# SPDX-License-Identifier: Apache-2.0
"""Time and memory of short programs, always beside another one: taken in turns in one run, so that a busy moment of the
machine hits both, and only differences and ratios are claimed."""

import os
import pathlib
import statistics
import subprocess
import time

goals = []      # (what, kept) of every goal that was looked at, for the last line


def interleaved(commands, rounds, env=None, before=None):
    """Wall milliseconds of each command, one list a command, taken in turns. before(index) is not timed."""
    times = [[] for _ in commands]
    for _ in range(rounds):
        for index, command in enumerate(commands):
            if before:
                before(index)
            begin = time.perf_counter()
            subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                           env=env, check=True)
            times[index].append((time.perf_counter() - begin) * 1000)
    return times


def busy_share(seconds=2.0):
    """How much of the CPU others use."""
    def read():
        fields = [int(x) for x in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return sum(fields), fields[3] + fields[4]
    total, idle = read()
    time.sleep(seconds)
    total_after, idle_after = read()
    return 1 - (idle_after - idle) / max(1, total_after - total)


def row(what, beside, mine, theirs, more_ms=None, total_ms=None):
    """One line of the table. A goal is either so many milliseconds more than the other program, or in total."""
    a, b = statistics.median(mine), statistics.median(theirs)
    text = f"{what:44} {a:8.1f} ms   {beside:28} {b:8.1f} ms  {a / b:6.2f} x {a - b:+8.1f} ms"
    if more_ms is not None:
        text += goal(what, f"+ {more_ms} ms", a - b <= more_ms)
    if total_ms is not None:
        text += goal(what, f"{total_ms} ms", a <= total_ms)
    print(text, flush=True)


def goal(what, wanted, kept):
    goals.append((what, kept))
    return f"   goal {wanted}: {'kept' if kept else 'MISSED'}"


def peak_rss_mb(command, env, runs=5):
    """Largest VmHWM seen (MB). Read without a pause until the program ends: rusage would tell of our own memory, which
    the child has until it becomes the program."""
    peak_kib = 0
    for _ in range(runs):
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL, env=env)
        status = pathlib.Path(f"/proc/{child.pid}/status")
        while not os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            found = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
            peak_kib = max(peak_kib, int(found[0].split()[1]) if found else 0)
        if child.wait():
            raise subprocess.CalledProcessError(child.returncode, command)
    return peak_kib * 1024 / 1e6


def memory_row(what, command, env, limit_mb):
    peak = peak_rss_mb(command, env)
    print(f"{what:44} {peak:8.1f} MB   largest resident memory (VmHWM)"
          + goal(f"{what}, memory", f"{limit_mb} MB", 0 < peak <= limit_mb), flush=True)
