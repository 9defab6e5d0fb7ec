# SPDX-License-Identifier: Apache-2.0
"""The speed floor: --min-decode and --max-ttft lower the ceiling to what keeps them, and say why."""

import collections
import json
import signal
import statistics
import unittest

from harness import DONE, GATE, INTERRUPTED, MODEL, UNSAFE, USAGE, Case

LEAN = ("--keep-knobs", "--samples", "3")


def decode_crosses(floor):
    """The depth at which the stand-in's default machine, at the suite's scale, decodes at this rate."""
    return (1000 / floor / 0.25 - 10) / 0.0034


class TestFloor(Case):
    def floored(self, *args, server=None, **script):
        self.server = server or self.fake(**script)
        return self.optimize(self.server, *LEAN, *args)

    def full(self, num_ctx):
        """Requests that lay in a full window of that size, by the server's record."""
        return [request for request in self.server.record.evaluated
                if request.eval["num_ctx"] == num_ctx and request.eval["tokens"] >= 0.95 * num_ctx]

    def test_decode(self):
        run = self.floored("--min-decode", "200", "--gate", "proven,floor")
        self.check_exit(run, DONE)
        proven, crossing = run.get("ceiling.proven_tokens"), decode_crosses(200)
        self.assertTrue(0.8 * crossing < proven < 1.1 * crossing, f"{proven} of {crossing}\n{run}")
        rate = statistics.median(request.decode_per_s for request in self.full(proven) if request.decode_per_s)
        self.assertGreater(rate, 190)
        self.assertGreaterEqual(run.get("ceiling.full_decode_per_s"), 200)
        self.assertAlmostEqual(run.get("ceiling.full_decode_per_s"), rate, delta=0.1 * rate)
        self.assertEqual(run.get("floor"), {"min_decode_per_s": 200, "max_ttft_s": None})
        self.assertEqual(run.get("ceiling.next_step.kind"), "measured")
        self.assertIn("at least 200", run.get("ceiling.next_step.reason"))
        for name, row in run.get("presets").items():
            self.assertTrue(row["proven"] and row["knobs"]["num_ctx"] <= proven, name)
        outcomes = [row["outcome"] for row in self.trials()]
        self.assertTrue(1 <= outcomes.count("slow") <= 3, outcomes)
        self.assertNotIn("thrashing", outcomes)
        self.assertEqual([request for request in self.full(8192) if request.added > 64], [],
                         "a window that a rung on the way shows to be too slow is not filled")
        asked = len(self.server.record.of("generate"))
        again = self.floored("--min-decode", "200", server=self.server)
        self.assertTrue(again.get("known"))
        self.assertEqual(len(self.server.record.of("generate")), asked)
        shown = self.o3("optimize", MODEL, "--host", self.server.url, *LEAN, "--min-decode", "200")
        self.assertIn("(floor 200)", " ".join(shown.out.split()))

    def test_ttft(self):
        (self.box.work / "o3_ai_config.yaml").write_text("objectives:\n  max_ttft_s: 0.5\n")
        run = self.floored()
        self.check_exit(run, DONE)
        proven = run.get("ceiling.proven_tokens")
        self.assertTrue(3072 <= proven <= 4352, run)
        self.assertIn("at most 0.5 s", run.get("ceiling.next_step.reason"))
        self.assertTrue(0.3 < run.get("ceiling.full_ttft_s") <= 0.5, run)
        rungs = [request for request in self.server.record.evaluated
                 if request.eval["num_ctx"] == proven and request.added > 64]
        spent = collections.Counter()
        for rung in rungs:
            spent[rung.prompt_head] += (rung.done["t_first"] - rung.eval["t_start"]) / 1e9
        told = run.get("ceiling.full_ttft_s")
        self.assertTrue(any(abs(took / told - 1) < 0.15 for took in spent.values()), f"{told} told, the server took {spent}")

    def test_interrupted_and_gone_on_with(self):
        """A window that was too slow is known to be, and is not visited again."""
        self.server = self.fake()
        started = self.start("optimize", MODEL, "--host", self.server.url, "--json", *LEAN, "--min-decode", "200")
        self.server.wait_for(lambda record: {load["num_ctx"] for load in record.loads} - {8192}, what="the next window")
        started.kill(signal.SIGINT)
        self.check_exit(started.wait(60), INTERRUPTED)
        run = self.floored("--min-decode", "200", server=self.server)
        self.check_exit(run, DONE)
        self.assertTrue(0.8 * decode_crosses(200) < run.get("ceiling.proven_tokens") < 1.1 * decode_crosses(200), run)
        slow = [row["purpose"] for row in self.trials() if row["asked_num_ctx"] == 8192 and row["outcome"] == "slow"]
        self.assertTrue(slow)
        self.assertEqual(len(slow), len(set(slow)), "once, and beside a busy neighbour once more under another name")

    def test_nothing_keeps_it(self):
        run = self.floored("--min-decode", "5000")
        said = self.check_sentence(run, "5000", "fastest", "tok/s", wanted=UNSAFE)
        self.assertNotIn("nan", said)
        self.assertLessEqual(len(self.server.record.loads), 6)

    def test_no_floor_in_reach_changes_nothing(self):
        run = self.floored("--min-decode", "20", "--max-ttft", "30", models=[{"trained": 2048}])
        self.check_exit(run, DONE)
        self.assertEqual(run.get("ceiling.proven_tokens"), 2048)
        self.assertEqual(run.get("ceiling.next_step.kind"), "trained")
        self.assertNotIn("slow", [row["outcome"] for row in self.trials()])

    def test_a_preset_below_it_is_not_handed_out(self):
        """Its window is smaller than the ceiling, and slower for a reason of its own."""
        run = self.floored("--min-decode", "80", faults=[{"on": "generate", "num_ctx_below": 8000, "do": "slow", "decode": 4}])
        self.check_exit(run, DONE)
        self.assertEqual(run.get("ceiling.proven_tokens"), 8192)
        # Where somebody else's work might be why, it is shown, but not as proven.
        self.assertEqual({row["knobs"]["num_ctx"] for row in run.get("presets").values() if row["proven"]}, {8192})
        self.assertIn("at least 80 are asked for", json.dumps(run.get("notes")))

    def test_gate_without_a_floor(self):
        run = self.floored("--gate", "floor", models=[{"trained": 512}])
        self.check_exit(run, GATE)
        self.assertIn("--min-decode", run.err)

    def test_quick(self):
        run = self.floored("--quick", "--min-decode", "200")
        self.check_exit(run, DONE)
        self.assertIn("floor", json.dumps(run.get("notes")))
        windows = [row["knobs"]["num_ctx"] for row in run.get("presets").values()]
        self.assertTrue(windows and max(windows) < 1.1 * decode_crosses(200), windows)

    def test_words(self):
        for args in (("--min-decode", "fast"), ("--min-decode", "0"), ("--min-decode", "nan"), ("--max-ttft", "never"),
                     ("--max-ttft", "-3")):
            with self.subTest(args):
                self.check_sentence(self.o3("optimize", MODEL, *args), args[0], wanted=USAGE)


if __name__ == "__main__":
    unittest.main()
