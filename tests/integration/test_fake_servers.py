# SPDX-License-Identifier: Apache-2.0
"""--own-server: private servers that are started, compared in turns, and ended, whatever happens to them. The stand-in
plays the binary as well."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import unittest

from harness import (DONE, FAKE, IMPOSSIBLE, INTERNAL, INTERRUPTED, NOT_FOUND, QUICK, UNAVAILABLE, USAGE, Case, Fake, Record)

LEAN = ("--keep-knobs", "--preset", "fast_response", "--samples", "3", "--no-proof", "--budget", "4m")
SMALL = {"models": [{"trained": 2048}], "default_ctx": 2048}
SLOW = "OLLAMA_FLASH_ATTENTION=0"


class UserFake(Fake):
    """The user's server, whose environment the private ones take over."""

    def spawn(self, port, stderr):
        store = self.folder / "models"
        store.mkdir(exist_ok=True)
        env = {**os.environ, "FAKE_OLLAMA": str(self.folder), "OLLAMA_MODELS": str(store), "HOME": str(self.folder)}
        self.process = subprocess.Popen(
            [sys.executable, "-B", str(FAKE), "--script", str(self.folder / "script.json"), "--record",
             str(self.record_path), "--port", str(port)], stdout=subprocess.PIPE, text=True, stderr=stderr, env=env)

    def private(self, **script):
        base = json.loads((self.folder / "script.json").read_text())
        (self.folder / "private.json").write_text(json.dumps({**base, **script}))

    def starts(self):
        """(settings, record) of each private server, in the order of their starts."""
        return [(path.stem.split("-", 2)[2], Record(path)) for path in sorted(self.folder.glob("private-*.jsonl"))]


class TestServers(Case):
    def serve(self, private=None, **script):
        server = UserFake(self.box, {**QUICK, "runner_process": True, **SMALL, **script})
        self.addCleanup(server.kill)
        server.private(**(private or {}))
        return server

    def servers(self, server, *args, path=str(FAKE.parent), **keywords):
        env = {"PATH": f"{path}:{os.environ['PATH']}", "TMPDIR": str(self.box.work)}
        return self.optimize(server, *LEAN, "--own-server", *args, env=env, **keywords)

    def row(self, run, name):
        return next(row for row in run.get("servers") if row["name"] == name)

    def check_gone(self, server):
        """No private server is left, nor a folder of one."""
        needle = str(server.folder / "private-").encode()
        for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            try:
                self.assertNotIn(needle, path.read_bytes(), f"{path} is still there")
            except OSError:
                continue
        self.assertEqual(list(self.box.work.glob("o3-private-*")), [])

    def test_rows_in_turns_then_known(self):
        server = self.serve({"when": {SLOW: {"decode_scale": 0.5}}})
        run = self.servers(server)
        self.check_exit(run, DONE)
        self.check_gone(server)
        rows = run.get("servers")
        self.assertEqual(rows[0]["name"], "as-is")
        self.assertEqual(rows[0]["window_tokens"], 2048)
        self.assertTrue(run.get("servers_complete"))
        for name, reason in (("kv-q8_0", "trained"), ("fit-512", "no GPU"), ("flash-on", "already")):
            self.assertIn(reason, self.row(run, name)["note"])
            self.assertFalse(self.row(run, name)["measured"])
        slow, same = self.row(run, "flash-off"), self.row(run, "cache-off")
        self.assertEqual((slow["turns"], same["turns"], slow["note"], same["note"]), (4, 4, None, None), run)
        self.assertIn("off", slow["in_force"])
        self.assertAlmostEqual(slow["decode_ratio"]["mid"], 0.5, delta=0.05)
        self.assertLess(slow["decode_ratio"]["high"], 0.7)
        self.assertLess(same["decode_ratio"]["low"], 1.03)
        self.assertGreater(same["decode_ratio"]["high"], 0.97)
        self.assertIn("2 slots", self.row(run, "slots-2")["in_force"])
        # there and back: each turn is the last one backwards
        order = [name for name, record in server.starts() if record.of("generate")]
        self.assertEqual(order, [name for k, name in enumerate(order) if k == 0 or name != order[k - 1]])
        tried = [name for k, name in enumerate(order) if name not in order[:k]]
        self.assertEqual(order[:2 * len(tried) - 1], tried + tried[-2::-1])
        # every trial is in the store, under the name of its row
        purposes = {row["purpose"] for row in self.trials()}
        self.assertTrue({"own-as-is-proof-1", "own-flash-off-turn-1", "own-flash-off-turn-4"} <= purposes, purposes)
        starts = len(server.starts())
        again = self.servers(server)
        self.check_exit(again, DONE)
        self.assertLess(again.wall_s, 1)
        self.assertEqual(len(server.starts()), starts)
        self.assertEqual(again.get("servers"), run.get("servers"))

    def test_added_to_a_known_run(self):
        server = self.serve()
        first = self.optimize(server, *LEAN)
        self.check_exit(first, DONE)
        self.assertEqual(first.get("servers"), [])
        asked = len(server.record.of("generate"))
        run = self.servers(server)
        self.check_exit(run, DONE)
        self.assertEqual(len(server.record.of("generate")), asked, "what is known is not measured again")
        self.assertEqual(run.get("presets"), first.get("presets"))
        self.assertEqual(self.row(run, "flash-off")["turns"], 4, run)
        shown = self.o3("optimize", "smollm2:135m", "--host", server.url, *LEAN, "--own-server",
                        env={"PATH": f"{FAKE.parent}:{os.environ['PATH']}"})
        for words in ("Settings of the whole server", "flash-off: set OLLAMA_FLASH_ATTENTION=0", "quality not checked"):
            self.assertIn(words, " ".join(shown.out.split()))

    def test_faults_at_the_start(self):
        """Said at once, each with its status, and before the user's server has loaded anything."""
        cases = [({"say": "Error: mkdir /m: permission denied"}, IMPOSSIBLE, "permission denied"),
                 ({"say": "Error: write /m/x: no space left on device"}, INTERNAL, "no space left"),
                 ({"say": "Error: listen tcp: bind: address already in use"}, UNAVAILABLE, "port"),
                 ({"say": "Error: odd"}, INTERNAL, "odd"),
                 ({"models": [{"name": "other:1b"}]}, NOT_FOUND, "model store")]
        for private, status, words in cases:
            with self.subTest(private):
                server = self.serve(private)
                run = self.servers(server)
                self.check_sentence(run, words, wanted=status)
                self.assertEqual(server.record.loads, [])
                self.check_gone(server)
        server = self.serve()
        self.check_sentence(self.servers(server, path="/nowhere"), "PATH", wanted=NOT_FOUND)
        os.rmdir(server.folder / "models")
        self.check_sentence(self.servers(server), "models", wanted=NOT_FOUND)
        self.check_sentence(self.servers(server, "--quick"), "--quick", wanted=USAGE)

    def test_port_taken_once(self):
        """Another port is tried: the script's first start finds it taken."""
        server = self.serve()
        once = self.box.work / "once" / "ollama"
        once.parent.mkdir()
        once.write_text(f'#!/bin/sh\n[ -e "$0.done" ] || {{ touch "$0.done"; echo "Error: bind: address already in use"; '
                        f'exit 1; }}\nexec {FAKE.parent}/ollama "$@"\n')
        once.chmod(0o755)
        run = self.servers(server, path=str(once.parent))
        self.check_exit(run, DONE)
        self.assertTrue((once.parent / "ollama.done").exists())

    def test_death_and_deafness_are_the_row_s(self):
        server = self.serve({"when": {SLOW: {"faults": [{"on": "generate", "do": "exit", "nth": 2}]},
                                      "OLLAMA_NUM_PARALLEL=2": {"deaf": ["OLLAMA_NUM_PARALLEL"]}}})
        run = self.servers(server)
        self.check_exit(run, DONE)
        self.assertIn("ended", self.row(run, "flash-off")["note"])
        self.assertIn("no effect", self.row(run, "slots-2")["note"])
        self.assertFalse(self.row(run, "slots-2")["measured"])
        self.assertEqual(self.row(run, "cache-off")["turns"], 4)
        self.check_gone(server)

    def test_no_time(self):
        server = self.serve()
        self.check_exit(self.optimize(server, *LEAN), DONE)
        run = self.servers(server, "--budget", "5s")
        self.check_exit(run, DONE)
        self.assertFalse(run.get("servers_complete"))
        left = [row["note"] for row in run.get("servers") if "budget" in (row["note"] or "")]
        self.assertTrue(left or "no time" in str(run.get("notes")), run)
        self.check_exit(self.servers(server), DONE)     # goes on from there

    def test_killed_in_the_middle(self):
        """Ctrl-C ends the private server; so does a kill that we cannot answer."""
        for number in (signal.SIGINT, signal.SIGKILL):
            with self.subTest(number):
                server = self.serve()
                env = {"PATH": f"{FAKE.parent}:{os.environ['PATH']}", "TMPDIR": str(self.box.work)}
                started = self.start("optimize", "smollm2:135m", "--host", server.url, "--json", *LEAN, "--own-server",
                                     "--force", env=env)
                end = time.monotonic() + 120
                while not any(r.of("generate") for _, r in server.starts()) and time.monotonic() < end:
                    time.sleep(0.05)
                started.kill(number)
                run = started.wait(30)
                if number == signal.SIGINT:
                    self.check_exit(run, INTERRUPTED)
                    self.check_gone(server)
                needle = str(server.folder / "private-").encode()
                end = time.monotonic() + 10
                while time.monotonic() < end and self.processes(needle):
                    time.sleep(0.05)
                self.assertEqual(self.processes(needle), [])

    @staticmethod
    def processes(needle):
        found = []
        for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            try:
                found += [str(path)] if needle in path.read_bytes() else []
            except OSError:
                continue
        return found


if __name__ == "__main__":
    unittest.main()
