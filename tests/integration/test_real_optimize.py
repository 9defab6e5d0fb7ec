# SPDX-License-Identifier: Apache-2.0
"""The whole job on a real Ollama with smollm2:135m. Skipped, with the reason, where tools/engine cannot bring it up."""

import collections
import json
import signal
import time
import unittest
import urllib.request

from harness import DONE, MODEL, Case, Engine, Sandbox, get

PRESET_MODEL = MODEL + "-o3-max-context"


class RealCase(Case):
    """One server and one home for the class; the tests build on each other's results, in the order of their names."""

    OPTIONS = ()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.engine = Engine(*cls.OPTIONS)
        cls.addClassCleanup(cls.engine.down)
        cls.shared = Sandbox()
        cls.addClassCleanup(cls.shared.close)

    def setUp(self):
        self.box = self.shared

    def api(self, method, path, body=None):
        request = urllib.request.Request(self.engine.host + path, method=method,
                                         data=json.dumps(body).encode() if body is not None else None)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=120) as answer:
            return json.loads(answer.read() or "null")

    def finished(self):
        return collections.Counter(
            (row["run_id"], row["purpose"], *(row[key] for key in row if key.startswith("asked_")))
            for row in self.trials() if row["outcome"] not in ("unfinished", "cancelled"))


class TestRealOptimize(RealCase):
    WHOLE = ("--no-proof", "--budget", "5m", "--seed", "3")

    def test_1_quick(self):
        run = self.optimize(self.engine, "--quick", timeout=90)
        self.check_exit(run, DONE)
        self.assertLess(run.wall_s, 60)
        self.assertEqual(run.get("ceiling.trained_tokens"), 8192)
        self.assertEqual(run.get("cost.loads"), 1)
        again = self.optimize(self.engine, "--quick")
        self.check_exit(again, DONE)
        self.assertLess(again.wall_s, 1)

    def test_2_kill_and_resume(self):
        started = self.start("optimize", MODEL, "--host", self.engine.host, "--json", *self.WHOLE)
        end = time.monotonic() + 240
        known = len(self.trials())
        while len([row for row in self.trials()[known:] if row["outcome"] == "ok"]) < 1:
            self.assertIsNone(started.process.poll(), f"ended before it was killed\n{started.err()}")
            self.assertLess(time.monotonic(), end, "no trial was finished in four minutes")
            time.sleep(0.5)
        time.sleep(1)
        started.kill(signal.SIGKILL)
        started.wait(20)
        finished = self.finished()
        run = self.optimize(self.engine, *self.WHOLE, timeout=420)
        type(self).result = run
        self.check_exit(run, DONE)
        for trial, count in finished.items():
            self.assertEqual(self.finished()[trial], count, f"{trial} was run again")

    def test_3_what_it_found(self):
        run = self.result
        self.assertEqual(run.get("ceiling.proven_tokens"), 8192)
        self.assertIn("trained", run.get("ceiling.next_step.reason"))
        preset = run.get("presets.max_context")
        self.assertEqual(preset["knobs"]["num_ctx"], 8192)
        self.assertGreater(preset["decode_per_s"]["mean"], 1)
        self.assertGreater(get(run.json, "baseline.decode_per_s.n"), 0)
        self.assertLess(run.rss_kib, 30 * 1024)
        self.assertLess(run.cpu_s, 0.01 * run.wall_s + 0.5, "its own CPU")

    def test_3_what_the_default_comes_to_is_not_measured_twice(self):
        row, default = self.result.get("presets.fast_response"), self.result.get("baseline")
        if self.result.get("race.verdict") == "winner" or not row["proven"]:
            self.skipTest(f"fast_response is not the default here (race: {self.result.get('race.verdict')}), or not proven")
        for name in ("num_ctx", "num_batch"):
            self.assertEqual(default["knobs"][name], row["knobs"][name])
        for name in ("decode_per_s", "prefill_per_s", "ttft_ms"):
            self.assertEqual(default[name], row[name], name)
        purposes = {trial["purpose"] for trial in self.trials()}
        self.assertIn("baseline-load", purposes)
        self.assertFalse({"baseline-512", "compare-2"} & purposes)
        self.assertIn("the default's own settings", self.o3("preset", "show", MODEL).out.replace("\n    ", " "))

    def test_4_known(self):
        run = self.optimize(self.engine, *self.WHOLE)
        self.check_exit(run, DONE)
        self.assertLess(run.wall_s, 1)
        self.assertEqual(run.get("ceiling.proven_tokens"), 8192)

    def test_5_apply_is_in_force(self):
        run = self.o3("apply", MODEL, "max_context", "--host", self.engine.host)
        self.check_exit(run, DONE)
        self.addCleanup(self.api, "DELETE", "/api/delete", {"model": PRESET_MODEL})
        self.assertIn(PRESET_MODEL, run.out)
        self.api("POST", "/api/generate", {"model": PRESET_MODEL, "stream": False})
        row, = self.api("GET", "/api/ps")["models"]
        self.assertEqual((row["name"], row["context_length"]), (PRESET_MODEL, 8192))


if __name__ == "__main__":
    unittest.main()
