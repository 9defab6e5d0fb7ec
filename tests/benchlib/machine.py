# SPDX-License-Identifier: Apache-2.0
"""What watching the machine costs, and whether its looks come in time while the machine is busy."""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
import unittest

from harness import O3
from timing import goal, memory_row

TICK_US, CORE_SHARE, RSS_MB, MET_SHARE = 50, 0.003, 20, 0.99     # goals
INTERVAL_NS = 100_000_000
QUIET_S, LOADED_S, LOOKS = 20, 60, 200


def cpu_ns(pid, name):
    """CPU time of a process's thread of that name."""
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text().strip() == name:
            if not (task / "schedstat").exists():
                raise unittest.SkipTest("this kernel has no schedstat, and ticks of 10 ms are too coarse")
            return int((task / "schedstat").read_text().split()[0])
    raise AssertionError(f"process {pid} has no thread {name}")


def process_ns(pid):
    return sum(int((task / "schedstat").read_text().split()[0]) for task in pathlib.Path(f"/proc/{pid}/task").iterdir())


def watch(box, count, interval_ms=100):
    """[t_ns] of each look, CPU time of the sampler and of the whole program in ns, both without the start."""
    command = [O3, "monitor", "--json", "--interval", f"{interval_ms}ms", "--host", "127.0.0.1:1"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=box.environment())
    try:
        for _ in range(5):
            child.stdout.readline()
        begin = cpu_ns(child.pid, "o3-sampler"), process_ns(child.pid)
        looks = [json.loads(child.stdout.readline())["t_ns"] for _ in range(count)]
        end = cpu_ns(child.pid, "o3-sampler"), process_ns(child.pid)
    finally:
        child.terminate()
        child.wait()
    return looks, end[0] - begin[0], end[1] - begin[1]


def look():
    """One look by itself, CPU and wall: the mean says what it costs, the least what it costs undisturbed."""
    made = subprocess.run([O3.parent / "bench-look", str(LOOKS), "100"], capture_output=True, text=True, check=True)
    cpu, wall, bare = zip(*(map(float, line.split()) for line in made.stdout.splitlines()))
    print(f"{'one look, 10 a second':44} {statistics.mean(cpu):8.1f} us of CPU (median {statistics.median(cpu):.1f}, least "
          f"{min(cpu):.1f}), {statistics.median(wall):.1f} us of wall time (median; 99 % {percentile(wall, 0.99):.0f})"
          + goal("one look", f"{TICK_US} us of CPU, median", statistics.median(cpu) <= TICK_US), flush=True)
    print(f"{'of it reading /proc/meminfo, in the kernel':44} {statistics.mean(bare):8.1f} us of CPU (median "
          f"{statistics.median(bare):.1f}, least {min(bare):.1f})", flush=True)


def burn():
    return subprocess.Popen([sys.executable, "-c", "while True: pass"])


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def cost(box):
    looks, sampler, whole = watch(box, 10 * QUIET_S)
    tick_us = sampler / len(looks) / 1e3
    _, often, _ = watch(box, 500, 10)
    wall_ns = looks[-1] - looks[0]
    print(f"{'a tick of the sampler: look, wait, hand out':44} {tick_us:8.1f} us of CPU, mean of {len(looks)}", flush=True)
    print(f"{'the same, every 10 ms':44} {often / 500 / 1e3:8.1f} us of CPU, with warmer caches", flush=True)
    print(f"{'the sampler at 10 Hz':44} {sampler / wall_ns:8.3%} of a core"
          + goal("the sampler", f"{CORE_SHARE:.1%}", sampler / wall_ns <= CORE_SHARE), flush=True)
    print(f"{'o3 monitor --json, printing included':44} {whole / wall_ns:8.3%} of a core", flush=True)


def deadlines(box):
    """A deadline is met when a look begins between it and the next one. The deadlines are a grid from the first look."""
    burners = [burn() for _ in os.sched_getaffinity(0)]
    try:
        time.sleep(1)
        looks, _, _ = watch(box, 10 * LOADED_S)
    finally:
        for child in burners:
            child.kill()
            child.wait()
    # The look that was least late is the nearest to the grid.
    origin = min(range(len(looks)), key=lambda i: looks[i] - i * INTERVAL_NS)
    grid = looks[origin] - origin * INTERVAL_NS
    late = [(t - grid) % INTERVAL_NS for t in looks]
    slots = {(t - grid) // INTERVAL_NS for t in looks}
    due = max(slots) - min(slots) + 1
    met = len(slots) / due
    print(f"{'deadlines met, all CPUs busy':44} {met:8.2%} of {due} in {LOADED_S} s; late by {statistics.median(late) / 1e6:.2f} ms "
          f"(median), {percentile(late, 0.99) / 1e6:.1f} ms (99 %), {max(late) / 1e6:.1f} ms (worst)"
          + goal("deadlines", f"{MET_SHARE:.0%}", met >= MET_SHARE), flush=True)


def monitor(box):
    """what watching costs, and its deadlines under full load"""
    look()
    cost(box)
    memory_row("o3 monitor", [O3, "monitor", "--json", "--duration", "2s", "--host", "127.0.0.1:1"], box.environment(),
               RSS_MB)
    deadlines(box)
