#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""o3 hardware, its captures, and o3 monitor, against made machines, a scripted server and the real engine."""

import csv
import gzip
import io
import json
import os
import pathlib
import pty
import select
import shutil
import signal
import subprocess
import tarfile
import time
import unittest

from harness import (DONE, IMPOSSIBLE, INTERNAL, MODEL, NOT_FOUND, O3, USAGE, Case, Engine, free_port, get,
                     need_program)

MIB = 1 << 20


def write(root, path, text):
    file = root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def made_machine(root):
    """A hybrid Intel with two NUMA nodes and a server of another user, in a nested cgroup with a quota."""
    write(root, "/proc/cpuinfo", "".join(
        f"processor\t: {i}\nvendor_id\t: GenuineIntel\nmodel name\t: Made CPU\nflags\t\t: fpu avx avx2 f16c fma\n\n"
        for i in range(8)))
    write(root, "/sys/devices/system/cpu/online", "0-7\n")
    for i in range(8):
        write(root, f"/sys/devices/system/cpu/cpu{i}/topology/physical_package_id", "0\n")
        write(root, f"/sys/devices/system/cpu/cpu{i}/topology/thread_siblings_list",
              f"{i // 2 * 2}-{i // 2 * 2 + 1}\n" if i < 4 else f"{i}\n")
    write(root, "/sys/devices/cpu_core/cpus", "0-3\n")
    write(root, "/sys/devices/cpu_atom/cpus", "4-7\n")
    write(root, "/sys/devices/system/node/online", "0-1\n")
    for i in range(2):
        write(root, f"/sys/devices/system/node/node{i}/cpulist", f"{4 * i}-{4 * i + 3}\n")
        write(root, f"/sys/devices/system/node/node{i}/meminfo", f"Node {i} MemTotal: 8388608 kB\nNode {i} MemFree: 4096 kB\n")
    write(root, "/proc/meminfo", "MemTotal: 16777216 kB\nMemFree: 1 kB\nMemAvailable: 8388608 kB\nSwapTotal: 0 kB\n"
                                 "SwapFree: 0 kB\n")
    write(root, "/proc/sys/kernel/hostname", "bigbox\n")
    write(root, "/proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
    write(root, "/proc/self/cgroup", "0::/\n")
    # who listens on Ollama's port: process 42
    write(root, "/proc/net/tcp", "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
          "   0: 0100007F:2CAA 00000000:0000 0A 00000000:00000000 00:00000000 00000000   997        0 4711 1\n")
    (root / "proc/42/fd").mkdir(parents=True)
    (root / "proc/42/fd/3").symlink_to("socket:[4711]")
    write(root, "/proc/42/comm", "ollama\n")
    write(root, "/proc/42/cmdline", "/usr/bin/ollama\0serve\0")
    write(root, "/proc/42/status", "Name:\tollama\nPPid:\t1\nUid:\t997\t997\t997\t997\nCpus_allowed_list:\t0-7\n")
    write(root, "/proc/42/cgroup", "0::/system.slice/ollama.service\n")
    group = "/sys/fs/cgroup/system.slice/ollama.service"
    write(root, group + "/memory.max", f"{4096 * MIB}\n")
    write(root, group + "/memory.current", f"{300 * MIB}\n")
    write(root, group + "/memory.stat", f"anon {200 * MIB}\nfile 5\nkernel 0\nshmem 0\ninactive_anon {200 * MIB}\n"
                                        "active_anon 0\nunevictable 0\n")
    write(root, group + "/cpu.max", "350000 100000\n")
    write(root, "/sys/fs/cgroup/system.slice/memory.max", f"{6144 * MIB}\n")
    write(root, "/sys/fs/cgroup/system.slice/memory.stat", f"anon {250 * MIB}\nfile 5\nkernel 0\n")


class TestMadeMachine(Case):
    def setUp(self):
        super().setUp()
        self.root = self.box.path / "made"
        made_machine(self.root)

    def test_profile(self):
        profile = self.o3("hardware", "--json", "--root", self.root).get("profile")
        self.assertEqual(get(profile, "cpu.cores"), 6)
        self.assertEqual([(kind["name"], kind["list"], kind["cores"]) for kind in get(profile, "cpu.kinds")],
                         [("P", "0-3", 2), ("E", "4-7", 4)])
        self.assertEqual(get(profile, "cpu.usable"), 3.5)
        self.assertIn("quota 3.5 of /system.slice/ollama.service", get(profile, "cpu.usable_why"))
        self.assertEqual([node["cpus"] for node in profile["numa"]], ["0-3", "4-7"])
        self.assertEqual(get(profile, "process.pid"), 42)
        self.assertEqual((get(profile, "process.uid"), get(profile, "process.unit")), (997, "ollama.service"))
        self.assertFalse(get(profile, "process.env_known"))     # closed to us: unknown, and said
        self.assertIsNone(get(profile, "process.env"))
        self.assertTrue(any("environment of the engine (process 42" in note for note in profile["notes"]))
        self.assertEqual([(limit["whose"], limit["file"], limit["bytes"], limit["cpus"]) for limit in profile["limits"]],
                         [("server", "memory.max", 4096 * MIB, None), ("server", "memory.max", 6144 * MIB, None),
                          ("server", "cpu.max", None, 3.5)])
        pools = {pool["name"]: pool for pool in profile["pools"]}
        self.assertEqual(set(pools), {"ram", "cgroup:/system.slice/ollama.service", "cgroup:/system.slice"})
        self.assertEqual(pools["cgroup:/system.slice/ollama.service"]["used_bytes"], 200 * MIB)

    def test_table(self):
        run = self.o3("hardware", "--root", self.root)
        self.check_exit(run, DONE)
        for words in ("Made CPU", "P: 2 cores, CPUs 0-3", "node 1: 8.0 GiB", "pid 42", "uid 997 · ollama.service",
                      "its environment is unknown", "memory.max", "3.5 CPUs", "limit 85 %"):
            self.assertIn(words, run.out, run)
        self.assertLessEqual(max(map(len, run.out.splitlines())), 80, run)

    def test_what_cannot_be_read(self):
        """Whatever is missing is unknown and said: never 0, never a crash."""
        for path in ("proc/meminfo", "sys/devices/system/cpu/online", "proc/self/mountinfo", "proc/42/status",
                     "proc/42/cgroup", "proc/cpuinfo", "sys/devices/system/node/node1/meminfo"):
            (self.root / path).write_bytes(b"\0\xff\xfe garbage: -99999999999999999999 kB\n" * 50)
            run = self.o3("hardware", "--json", "--root", self.root)
            self.check_calm(run)
            self.check_exit(run, DONE)
            (self.root / path).unlink()
            run = self.o3("hardware", "--root", self.root)
            self.check_calm(run)
            self.check_exit(run, DONE)
            shutil.rmtree(self.root)
            made_machine(self.root)
        (self.root / "proc/meminfo").unlink()
        profile = self.o3("hardware", "--json", "--root", self.root).get("profile")
        self.assertIsNone(get(profile, "memory.ram_bytes"))
        self.assertIsNone(get(profile, "pools.0.total_bytes"))
        self.assertTrue(profile["notes"])

    def test_refused(self):
        self.check_sentence(self.o3("hardware", "--root", self.box.path / "nothing"), "nothing", wanted=NOT_FOUND)
        self.check_sentence(self.o3("hardware", "--root", self.root, "--measure"), "--measure", "--root", wanted=USAGE)
        empty = self.box.path / "empty"
        empty.mkdir()
        self.check_sentence(self.o3("hardware", "--root", empty), "nothing can be read", str(empty), wanted=INTERNAL)


class TestCapture(Case):
    def capture(self, *args, env=None):
        file = self.box.work / "c.tar.gz"
        run = self.o3("hardware", "capture", file, *args, env=env)
        self.check_exit(run, DONE)
        return file

    def test_there_and_back(self):
        file = self.capture()
        here = self.o3("hardware", "--json").get("profile")
        back = self.o3("hardware", "--json", "--root", file).get("profile")
        for part in ("cpu", "cgroups", "limits", "numa", "fingerprint", "kernel", "os", "gpus"):
            if part == "numa":      # what is free changes
                for node in here[part] + back[part]:
                    node.pop("free_bytes")
            if part in ("cgroups", "limits"):   # ids in their names are masked
                self.assertEqual(len(here[part]), len(back[part]))
                continue
            self.assertEqual(here[part], back[part], part)
        self.assertEqual([pool["total_bytes"] for pool in here["pools"]], [pool["total_bytes"] for pool in back["pools"]])
        self.assertNotEqual(here["hostname"], back["hostname"])
        self.assertFalse(list(pathlib.Path("/tmp").glob("o3-capture-*")))

    def test_nothing_personal(self):
        """With a server of our own, started with names and secrets around it."""
        host = pathlib.Path("/proc/sys/kernel/hostname").read_text().strip()
        file = self.capture(env={"USER": "wilhelmine", "OLLAMA_API_KEY": "topsecret1"})
        with tarfile.open(file) as tar:
            members = {member.name: tar.extractfile(member).read() for member in tar.getmembers()}
            self.assertTrue(all(member.isfile() and not member.name.startswith(("/", "..")) for member in tar.getmembers()))
        self.assertIn("o3-hardware.json", members)
        self.assertIn("proc/meminfo", members)
        for name in members:
            self.assertTrue(name.startswith(("proc/", "sys/")) or name in ("etc/os-release", "usr/lib/os-release", "o3-hardware.json"),
                            name)
            self.assertFalse(name.startswith(("proc/net/", "etc/passwd")), name)
        everything = b"\0".join(members.values())
        self.assertNotIn(b"topsecret1", everything)
        self.assertNotIn(b"wilhelmine", everything)
        self.assertEqual(members["proc/sys/kernel/hostname"].strip().strip(b"x0").strip(b"-."), b"")
        self.assertNotEqual(json.loads(members["o3-hardware.json"])["profile"]["hostname"], host)

    def test_overwrite(self):
        file = self.capture()
        before = file.stat().st_mtime_ns
        self.check_sentence(self.o3("hardware", "capture", file), str(file), "--force", wanted=USAGE)
        self.assertEqual(file.stat().st_mtime_ns, before)
        self.capture("--force")
        self.check_sentence(self.o3("hardware", "capture", self.box.path / "no" / "c"), "cannot be written", wanted=INTERNAL)
        made = self.o3("hardware", "capture", "--json").json
        self.assertEqual(made["file"], "o3-hardware.tar.gz")
        self.assertGreater(made["files"], 10)

    def test_broken(self):
        file = self.capture()
        whole = file.read_bytes()
        bad = self.box.work / "bad.tar.gz"
        for content in (b"", b"no archive", whole[:len(whole) // 2], whole[:-30], gzip.compress(b"x" * 3000)):
            bad.write_bytes(content)
            self.check_sentence(self.o3("hardware", "--root", bad), "bad.tar.gz", wanted=INTERNAL)
        for name, kind, link in (("../evil", tarfile.REGTYPE, ""), ("/evil", tarfile.REGTYPE, ""),
                                 ("proc/x", tarfile.SYMTYPE, "/etc/passwd"), ("proc/y", tarfile.LNKTYPE, "proc/meminfo")):
            with tarfile.open(bad, "w:gz") as tar:
                member = tarfile.TarInfo(name)
                member.type, member.linkname = kind, link
                tar.addfile(member, io.BytesIO())
            self.check_sentence(self.o3("hardware", "--root", bad), "no capture of o3", wanted=USAGE)
        self.assertFalse((self.box.path / "evil").exists() or pathlib.Path("/evil").exists())
        with tarfile.open(bad, "w:gz") as tar:      # a bomb: 100 MiB of zeros are 100 KiB
            member = tarfile.TarInfo("proc/zeros")
            member.size = 100 << 20
            tar.addfile(member, io.BytesIO(bytes(member.size)))
        run = self.o3("hardware", "--root", bad)
        self.check_sentence(run, "64 MiB", wanted=USAGE)
        self.assertLess(run.rss_kib, 60 << 10)
        self.assertFalse(list(pathlib.Path("/tmp").glob("o3-capture-*")))

    def test_another_profile_inside(self):
        """A document that is damaged, or of a later release, is left out and said; the files still tell."""
        file = self.capture()
        folder = self.box.path / "taken"
        with tarfile.open(file) as tar:
            tar.extractall(folder, filter="data") if hasattr(tarfile, "data_filter") else tar.extractall(folder)
        for text in ("{", "[]", '{"profile": {"cpu": {"colour": 1}}}', '{"profile": {"process": {"pid": "x"}}}'):
            (folder / "o3-hardware.json").write_text(text)
            run = self.o3("hardware", "--json", "--root", folder)
            self.check_exit(run, DONE)
            self.assertTrue(any("own profile is left out" in note for note in run.get("profile.notes")), run)


class TestMonitor(Case):
    def looks(self, run):
        self.check_exit(run, DONE)
        return [json.loads(line) for line in run.out.splitlines()]

    def test_json(self):
        looks = self.looks(self.o3("monitor", "--json", "--interval", "50ms", "--duration", "1s"))
        self.assertIn(len(looks), range(17, 23))
        self.assertEqual([look["tick"] for look in looks], list(range(len(looks))))
        times = [look["t_ns"] for look in looks]
        self.assertAlmostEqual((times[-1] - times[0]) / (len(times) - 1) / 1e6, 50, delta=3)
        total = int(pathlib.Path("/proc/meminfo").read_text().split()[1])
        for look in looks:
            self.assertEqual(look["pools"][0]["name"], "ram")
            self.assertEqual(look["pools"][0]["total_bytes"], total * 1024)
            self.assertTrue(0 < look["pools"][0]["used_bytes"] < total * 1024)
            self.assertEqual(look["runner"], {"pid": None, "rss_anon_bytes": None, "rss_file_bytes": None})
            self.assertEqual(look["models"], [])
            self.assertEqual(look["limits"][0]["limit_bytes"], int(total * 1024 * 0.85))
        self.assertTrue(any(isinstance(look["cpu"]["busy_frac"], float) for look in looks))

    def test_sees_load(self):
        """A process that burns one CPU is seen as at least that."""
        burner = subprocess.Popen(["python3", "-c", "while True: pass"])
        try:
            looks = self.looks(self.o3("monitor", "--json", "--duration", "2s"))
        finally:
            burner.kill()
            burner.wait()
        busy = [look["cpu"]["busy_frac"] for look in looks[5:]]
        self.assertGreater(sum(busy) / len(busy), 0.8 / os.cpu_count())

    def test_csv(self):
        run = self.o3("monitor", "--csv", "--interval", "100ms", "--duration", "500ms")
        self.check_exit(run, DONE)
        rows = list(csv.reader(io.StringIO(run.out)))
        self.assertEqual(rows[0][:3], ["t_ns", "tick", "ram used_bytes"])
        self.assertGreater(len(rows), 3)
        for row in rows[1:]:
            self.assertEqual(len(row), len(rows[0]))
            self.assertGreater(int(row[2]), 0)
            self.assertNotIn("nan", ",".join(row))

    def test_without_a_server(self):
        run = self.o3("monitor", "--interval", "100ms", "--duration", "300ms", "--host", f"127.0.0.1:{free_port()}")
        self.check_sentence(run, "no Ollama answers", wanted=DONE)
        self.assertRegex(run.out, r"ram .* \(\d+ %\), CPU ")

    def test_model(self):
        fake = self.fake()
        started = self.start("monitor", "--json", "--host", fake.url)
        time.sleep(0.5)
        self.check_exit(self.o3("predict", MODEL, "--host", fake.url), DONE)
        subprocess.run(["curl", "-s", "-d", json.dumps({"model": MODEL, "prompt": "x", "stream": False}),
                        fake.url + "/api/generate"], check=True, stdout=subprocess.DEVNULL)
        time.sleep(3)       # it asks every two seconds
        started.kill(signal.SIGINT)
        looks = self.looks(started.wait(10))
        self.assertEqual(looks[0]["models"], [])
        self.assertEqual([model["name"] for model in looks[-1]["models"]], [MODEL])

    def test_ctrl_c(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            started = self.start("monitor", "--interval", "10s")
            time.sleep(0.5)
            begin = time.monotonic()
            started.kill(number)
            run = started.wait(10)
            self.check_exit(run, DONE)
            self.assertLess(time.monotonic() - begin, 1)

    def test_reader_leaves(self):
        need_program("head", "sh")
        done = subprocess.run(["sh", "-c", f"{O3} monitor --json --interval 20ms | head -n 2; echo done"],
                              capture_output=True, text=True, timeout=20, env=self.box.environment())
        self.assertEqual(done.stdout.splitlines()[-1], "done")
        self.assertNotIn("cannot be written", done.stderr)

    def test_another_machine(self):
        self.check_sentence(self.o3("monitor", "--host", "192.0.2.7:11434"), "another machine", wanted=IMPOSSIBLE)

    def test_bad_calls(self):
        for args, words in ((["--interval", "5ms"], "--interval"), (["--interval", "11s"], "10000 ms"),
                            (["--interval", "soon"], "100ms"), (["--duration", "0"], "--duration"),
                            (["--json", "--csv"], "--csv")):
            self.check_sentence(self.o3("monitor", *args), words, wanted=USAGE)

    def test_terminal(self):
        """Drawn over itself, no line wider than the terminal, the last view left standing."""
        master, slave = pty.openpty()
        child = subprocess.Popen([O3, "monitor", "--duration", "1500ms"], stdin=slave, stdout=slave, stderr=subprocess.DEVNULL,
                                 env=self.box.environment({"TERM": "xterm"}), close_fds=True)
        os.close(slave)
        out = b""
        while child.poll() is None or select.select([master], [], [], 0.1)[0]:
            try:
                out += os.read(master, 65536) if select.select([master], [], [], 0.1)[0] else b""
            except OSError:
                break
        os.close(master)
        text = out.decode()
        self.assertEqual(child.wait(), 0)
        self.assertGreaterEqual(len(text.split("\x1b[J")), 5)      # redrawn
        last = text.split("\x1b[J")[-2]
        self.assertIn("ram", last)
        self.assertIn("┃", last)
        self.assertIn("unknown: no server answers", last)

    def test_memory(self):
        run = self.o3("monitor", "--json", "--duration", "1s")
        self.assertLess(run.rss_kib, 20_000_000 / 1024)


class TestRealMonitor(Case):
    def test_runner(self):
        """The real engine: who it is, and what its runner holds while a model is loaded."""
        engine = Engine("--release", "new")
        self.addCleanup(engine.down)
        profile = self.o3("hardware", "--json", "--host", engine.host).get("profile")
        self.assertEqual(get(profile, "process.pid"), engine.pid)
        self.assertEqual(get(profile, "process.uid"), os.stat(f"/proc/{engine.pid}").st_uid)
        started = self.start("monitor", "--json", "--host", engine.host)
        subprocess.run(["curl", "-s", "-d", json.dumps({"model": MODEL, "prompt": "x", "stream": False,
                                                        "options": {"num_predict": 5}}), f"{engine.host}/api/generate"],
                       check=True, stdout=subprocess.DEVNULL)
        time.sleep(3)
        started.kill(signal.SIGINT)
        run = started.wait(10)
        self.check_exit(run, DONE)
        last = json.loads(run.out.splitlines()[-1])
        self.assertEqual([model["name"] for model in last["models"]], [MODEL])
        self.assertGreater(last["runner"]["rss_anon_bytes"], 50 * MIB)
        self.assertGreater(last["runner"]["rss_file_bytes"], 10 * MIB)
        file = self.box.work / "engine.tar.gz"
        self.check_exit(self.o3("hardware", "capture", file, "--host", engine.host), DONE)
        back = self.o3("hardware", "--json", "--root", file)
        self.assertEqual(back.get("engine.version"), self.o3("hardware", "--json", "--host", engine.host).get("engine.version"))
        for part in ("pid", "uid", "unit", "env_known"):
            self.assertEqual(back.get(f"profile.process.{part}"), profile["process"][part], part)


if __name__ == "__main__":
    unittest.main()
