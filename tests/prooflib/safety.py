# SPDX-License-Identifier: Apache-2.0
"""Safety, measured from outside: how fast a limit stops a fill, how true the peaks are, what watching costs. What O3 sends
is taken from the wire (a packet socket on lo, with the kernel's time stamps), not from what it says itself."""

import json
import math
import os
import pathlib
import re
import select
import signal
import socket
import statistics
import struct
import subprocess
import threading
import time
import unittest
import urllib.request

from harness import MODEL, O3, Engine, Sandbox, Started
from rates import cpu_ticks, prose, ticks

MIB = 1 << 20
LIMIT = 0.85                        # of a cgroup, where O3 stops
HOG_STEP, HOG_PAUSE_S = MIB, 0.004  # a process that takes 250 MB a second
T95 = {1: 12.71, 2: 4.303, 4: 2.776, 9: 2.262, 14: 2.145, 19: 2.093, 29: 2.045}  # by degrees of freedom
QUIET = 0.05                        # share of the CPUs that others may use during a sample; any with O3_PROOF_BUSY set


class Group:
    """A memory cgroup of either version."""

    def __init__(self, engine):
        self.path = pathlib.Path(engine.env["O3_ENGINE_CGROUP"])
        self.old = (self.path / "memory.limit_in_bytes").exists()

    def number(self, name):
        return int((self.path / name).read_text())

    def fields(self, name="memory.stat"):
        return {key: int(value) for key, value in re.findall(r"(?m)^(\w+) (\d+)$", (self.path / name).read_text())}

    def limit(self):
        return self.number("memory.limit_in_bytes" if self.old else "memory.max")

    def unreclaimable(self):
        """What O3 holds against the limit, by a reader of its own."""
        stat = self.fields()
        of = lambda name: stat.get(("total_" if self.old else "") + name, 0)
        lists = of("inactive_anon") + of("active_anon") + of("unevictable")
        if self.old:
            return max(of("rss") + of("shmem"), lists) + self.number("memory.kmem.usage_in_bytes")
        return max(of("anon") + of("shmem"), lists) + of("kernel") - of("slab_reclaimable")

    def kills(self):
        return self.fields("memory.oom_control" if self.old else "memory.events")["oom_kill"]


class Wire:
    """Every segment to and from a server's port on lo: (monotonic ns, from the client, client's port, flags, payload)."""

    def __init__(self, port):
        try:
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
            self.socket.bind(("lo", 0))
        except OSError as error:
            raise unittest.SkipTest(f"no packet socket: {error}") from None
        self.socket.setsockopt(socket.SOL_SOCKET, 35, 1)        # SO_TIMESTAMPNS
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * MIB)
        self.port, self.seen, self.ended = port, [], False
        self.shift_ns = time.monotonic_ns() - time.time_ns()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.ended:
            if not select.select([self.socket], [], [], 0.2)[0]:
                continue
            data, notes, _, address = self.socket.recvmsg(1 << 17, 128)
            if address[2] == socket.PACKET_OUTGOING or data[23] != socket.IPPROTO_TCP:
                continue
            tcp = data[14 + 4 * (data[14] & 15):]
            source, target = struct.unpack("!HH", tcp[:4])
            if self.port not in (source, target):
                continue
            seconds, part = struct.unpack("ll", notes[0][2][:16])
            self.seen.append((seconds * 10**9 + part + self.shift_ns, target == self.port,
                              source if target == self.port else target, tcp[13], bytes(tcp[4 * (tcp[12] >> 4):])))

    def running_prompt(self):
        """(t, port) of a long prompt that is being evaluated: sent, and nothing answered yet."""
        for t, ours, port, _, payload in reversed(list(self.seen)):
            if ours and b'"prompt"' in payload and len(payload) > 3000:
                answered = any(at > t and not theirs and other == port and body
                               for at, theirs, other, _, body in list(self.seen))
                return None if answered else (t, port)
        return None

    def first(self, from_ns, what):
        return next((t for t, ours, port, flags, payload in list(self.seen)
                     if ours and t >= from_ns and what(port, flags, payload)), math.nan)

    def close(self):
        self.ended = True
        self.thread.join()
        self.socket.close()


def hog(group, over, report):
    """Takes memory in `group` until it has crossed the limit by `over`, tells when it crossed, and waits."""
    (group.path / "cgroup.procs").write_text("0")
    held, limit, crossed = [], LIMIT * group.limit(), 0
    while group.unreclaimable() < limit + over:
        held.append(bytearray(b"\1") * HOG_STEP)
        if not crossed and group.unreclaimable() >= limit:
            crossed = time.monotonic_ns()
        time.sleep(0 if crossed else HOG_PAUSE_S)
        if crossed and time.monotonic_ns() - crossed > 30_000_000:     # it fell already
            break
    os.write(report, struct.pack("q", crossed))
    signal.pause()


class Hog:
    def __init__(self, group, over=4 * MIB):
        read, write = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            try:
                hog(group, over, write)
            finally:
                os._exit(1)
        os.close(write)
        self.pipe = read

    def crossed_ns(self, timeout=20):
        ready = select.select([self.pipe], [], [], timeout)[0]
        data = os.read(self.pipe, 8) if ready else b""
        return struct.unpack("q", data)[0] if len(data) == 8 else 0

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.pipe)


def wait_for(condition, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.01)
    return None


def react_once(engine, group, box):
    """ms from the crossing to the cancel, the unload and falling memory; None if the request was over by then."""
    wire = Wire(int(engine.host.rsplit(":", 1)[1]))
    job = Started(box, ["optimize", MODEL, "--host", engine.host, "--json", "--keep-knobs", "--force"])
    pig = None
    try:
        running = wait_for(wire.running_prompt, 60)
        if not running:
            raise AssertionError(f"no fill began\n{job.err()}")
        time.sleep(0.4)
        if wire.running_prompt() != running:
            return None
        pig = Hog(group)
        used, crossed = [], 0
        end = time.monotonic() + 25
        while time.monotonic() < end and not (crossed and time.monotonic_ns() - crossed > 2e9):
            used.append((time.monotonic_ns(), group.unreclaimable()))
            crossed = crossed or pig.crossed_ns(0.005)
        if not crossed:
            raise AssertionError(f"the hog did not reach the limit; it is at {used[-1][1] / MIB:.0f} MiB\n{job.err()}")
        # Its own reading takes a moment: O3 may have seen the crossing just before.
        begin = crossed - 20_000_000
        answered = any(t < crossed and t > running[0] and not ours and port == running[1] and payload
                       for t, ours, port, _, payload in wire.seen)
        cancel = wire.first(begin, lambda port, flags, _: port == running[1] and flags & 5)      # FIN, RST
        unload = wire.first(begin, lambda port, _, payload: re.search(rb'"keep_alive":\s*"?0', payload))
        top = max(bytes for t, bytes in used)
        falling = next((t for t, bytes in used if t > crossed and bytes < top - 8 * MIB), math.nan)
        return None if answered else [(t - crossed) / 1e6 for t in (cancel, unload, falling)]
    finally:
        if pig:
            pig.close()
        if job.process.poll() is None:      # it may have ended: with the hog there nothing fits
            job.kill(signal.SIGINT)
        job.process.wait(60)
        wire.close()


def reaction(case):
    """A hog crosses 85 % of the server's cgroup while a fill runs: cancel, unload, falling memory."""
    if os.geteuid():
        raise unittest.SkipTest("needs root for a memory cgroup and a packet socket")
    engine = Engine("--release", "new", "--memory", "420M", "--env", "LLAMA_ARG_CACHE_RAM=0")
    wanted, seen = case.times(20), []
    try:
        group = Group(engine)
        before, idle = group.kills(), group.unreclaimable()
        for _ in range(2 * wanted):
            if not wait_for(lambda: group.unreclaimable() < idle + 24 * MIB, 60):   # a load that was broken off ends late
                raise AssertionError(f"{(group.unreclaimable() - idle) / MIB:.0f} MiB were left behind by the last run")
            one = react_once(engine, group, Sandbox())
            print(f"    {'answered before the crossing' if one is None else ' '.join(f'{ms:.0f}' for ms in one)}", flush=True)
            seen += [one] if one else []
            if len(seen) == wanted:
                break
        for i, (what, most) in enumerate((("cancel sent", 150), ("unload sent", 150), ("memory falling", 500))):
            ms = [one[i] for one in seen]
            good = sum(t <= most for t in ms)
            case.check(f"{what} after the crossing", f"<= {most} ms, {wanted} of {wanted}",
                       f"{good} of {len(ms)}; median {statistics.median(ms):.0f} ms, worst {max(ms):.0f} ms" if ms else "none",
                       good == wanted)
        case.check("kills by the kernel", "0", group.kills() - before, group.kills() == before)
    finally:
        engine.down()


def ask(engine, prompt, predict, seed=1, num_ctx=4096, timeout=900):
    body = {"model": MODEL, "prompt": prompt, "raw": True, "stream": False, "keep_alive": "30m", "options": {
        "num_ctx": num_ctx, "num_batch": 512, "num_predict": predict, "temperature": 0.8, "seed": seed}}
    request = urllib.request.Request(engine.host + "/api/generate", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return json.load(answer)


def runner_of(engine):
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rsplit(")", 1)[1].split()[1]) == engine.pid:
                return int(stat.parent.name)
        except OSError:
            continue
    raise AssertionError("the server has no runner")


class Monitor:
    """o3 monitor beside what is measured; its looks."""

    def __init__(self, engine):
        self.box = Sandbox()
        self.file = open(self.box.work / "looks", "w+")
        self.process = subprocess.Popen([O3, "monitor", "--json", "--interval", "100ms", "--host", engine.host],
                                        stdout=self.file, stderr=subprocess.DEVNULL, env=self.box.environment())

    def looks(self):
        self.file.flush()
        text = pathlib.Path(self.file.name).read_text()
        return [json.loads(line) for line in text.splitlines() if line.endswith("}")]

    def close(self):
        self.process.terminate()
        self.process.wait()
        looks = self.looks()
        self.file.close()
        self.box.close()
        return looks


def sees(pid):
    return lambda monitor: any(look["runner"]["pid"] == pid for look in monitor.looks()[-3:])


def peaks(case):
    """Peaks of 10 looks a second against the kernel's own: the runner's VmHWM and the cgroup's, over one fill."""
    if os.geteuid():
        raise unittest.SkipTest("needs root for a memory cgroup")
    engine = Engine("--release", "new", "--memory", "700M", "--env", "LLAMA_ARG_CACHE_RAM=0")
    monitor = None
    try:
        group = Group(engine)
        if not group.old:
            raise unittest.SkipTest("memory.peak cannot be set back here: the load would be part of it")
        ask(engine, "Once upon a time", 1)
        runner = runner_of(engine)
        monitor = Monitor(engine)
        if not wait_for(lambda: sees(runner)(monitor), 10):
            raise AssertionError("o3 monitor does not see the runner")
        (group.path / "memory.force_empty").write_text("0")     # files that were only read once
        pathlib.Path(f"/proc/{runner}/clear_refs").write_text("5")     # VmHWM counts from here
        (group.path / "memory.max_usage_in_bytes").write_text("0")
        cache = group.fields()["total_cache"]
        began = time.monotonic_ns()
        reply = ask(engine, " ".join(prose("peaks", 2400)), 32)
        time.sleep(0.3)
        highest = int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{runner}/status").read_text())[1]) * 1024
        usage, later = group.number("memory.max_usage_in_bytes"), group.fields()["total_cache"]
        looks = [look for look in monitor.looks() if look["t_ns"] >= began]
        case.check("the fill", ">= 3000 tokens", reply["prompt_eval_count"], reply["prompt_eval_count"] >= 3000)
        rss = max(look["runner"]["rss_anon_bytes"] + look["runner"]["rss_file_bytes"] for look in looks)
        case.check("runner's RSS, sampled peak / VmHWM", "within 2 %", f"{rss / highest - 1:+.2%} of {highest / MIB:.1f} MiB",
                   abs(rss / highest - 1) <= 0.02)
        # O3 counts what cannot be reclaimed: the kernel's peak is taken less its files.
        used = max(pool["used_bytes"] for look in looks for pool in look["pools"] if pool["name"].startswith("cgroup"))
        like = usage - max(cache, later)
        case.check("cgroup, sampled peak / max_usage_in_bytes less files", "within 2 %",
                   f"{used / like - 1:+.2%} of {like / MIB:.1f} MiB ({cache / MIB:.1f} MiB of files before, {later / MIB:.1f} after)",
                   abs(used / like - 1) <= 0.02)
    finally:
        if monitor:
            monitor.close()
        engine.down()


def decode(case, engine, prompt, seed):
    """One rate, while nobody else used the CPUs; None otherwise."""
    own, before = ticks(engine.pid), cpu_ticks()
    reply = ask(engine, prompt, 96, seed)
    after, own = cpu_ticks(), ticks(engine.pid) - own
    foreign = (after[1] - before[1] - own) / max(1, after[0] - before[0])
    quiet = foreign <= QUIET or os.environ.get("O3_PROOF_BUSY")
    return (reply["eval_count"] - 1) / reply["eval_duration"] * 1e9 if quiet and reply.get("eval_count", 0) >= 32 else None


def block(case, engine, prompt, on):
    """Median of five quiet rates, with o3 monitor running beside or without."""
    monitor, rates, end = Monitor(engine) if on else None, [], time.monotonic() + 120
    try:
        time.sleep(1)
        for seed in range(1, 30):
            if time.monotonic() > end and not os.environ.get("O3_PROOF_BUSY"):
                break
            rate = decode(case, engine, prompt, seed)
            rates += [rate] if rate else []
            if len(rates) == 5:
                return statistics.median(rates)
            if not rate:
                time.sleep(1)
    finally:
        if monitor:
            monitor.close()
    raise unittest.SkipTest("something else uses the CPUs all the time; this needs a quiet machine")


def monitor_cost(case):
    """Decode with o3 monitor at 10 Hz beside it and without, in turns: the interval of the ratio holds 1."""
    engine = Engine("--release", "new")
    pairs = case.times(10)
    try:
        prompt = " ".join(prose("cost", 200))
        ask(engine, prompt, 32)
        ratios = []
        for i in range(pairs):
            rates = {on: block(case, engine, prompt, on) for on in ((True, False) if i % 2 else (False, True))}
            ratios.append(math.log(rates[True] / rates[False]))
            print(f"    {rates[True]:.1f} with, {rates[False]:.1f} without", flush=True)
        mean = statistics.mean(ratios)
        half = T95[max(df for df in T95 if df < len(ratios))] * statistics.stdev(ratios) / math.sqrt(len(ratios))
        low, middle, high = (math.exp(x) for x in (mean - half, mean, mean + half))
        case.check("decode with the monitor / without", "the 95 % interval holds 1",
                   f"{middle:.4f} ({low:.4f}..{high:.4f}), {len(ratios)} pairs", low <= 1 <= high)
        case.check("what could hide in it", "<= 2 %", f"{1 - low:.2%}", 1 - low <= 0.02)
    finally:
        engine.down()


CASES = {"reaction": reaction, "peaks": peaks, "monitor-cost": monitor_cost}
