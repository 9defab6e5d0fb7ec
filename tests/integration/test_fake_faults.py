# SPDX-License-Identifier: Apache-2.0
"""Every trap that HTTP hides, one at a time: the right outcome, the right exit status, nothing lost."""

import json
import os
import sqlite3
import subprocess
import sys
import time
import unittest
import urllib.request

from harness import DONE, INTERNAL, MODEL, NOT_FOUND, UNAVAILABLE, Case, find_all

SMALL = {"models": [{"trained": 2048}], "decode_scale": 0.1}
# The formula's floor is a second; a deadline is never below twice the prediction, so these models are tiny.
HASTY = """testing:
  adaptive_timeouts: {base_timeout: 1, min_timeout: 1, max_timeout: 4, context_multiplier: 0, batch_multiplier: 0}
"""


class FaultCase(Case):
    def run_with(self, *faults, args=(), timeout=180, **script):
        self.server = self.fake(**{**SMALL, **script}, faults=[{"on": "generate", **row} for row in faults])
        run = self.optimize(self.server, *args, timeout=timeout)
        self.check_calm(run)
        return run

    def check_survived(self, run, num_ctx=2048):
        """One bad answer costs a retry, not the result."""
        self.check_exit(run, DONE)
        self.assertTrue(self.server.record.faults, "the fault was met")
        self.assertEqual(run.get("ceiling.proven_tokens"), num_ctx, run)
        json.loads(run.out, parse_constant=lambda word: self.fail(f"{word} is not JSON"))

    def check_kept(self):
        self.assertTrue(self.trials(), "what was measured is in the store")


class TestOnce(FaultCase):
    """A single bad answer."""

    def test_repeat_guard(self):
        run = self.run_with({"nth": 2, "do": "repeat-abort", "after": 6})
        self.check_survived(run)
        prompts = self.server.record.of("generate")
        bad = next(i for i, request in enumerate(prompts) if request.end["outcome"] == "repeat-abort")
        asked = [(request.prompt_id, request.body["options"].get("seed")) for request in prompts]
        self.assertNotIn(asked[bad], asked[bad + 1:], "what set it off is not sent again")

    def check_crash(self, run, words):
        """A dead runner is evidence: that size is not tried again, a smaller one is proven, and the reason is named."""
        self.check_exit(run, DONE)
        proven = run.get("ceiling.proven_tokens")
        self.assertTrue(512 <= proven < 2048, run)
        self.assertIn(words, run.get("ceiling.next_step.reason"))
        tried = [load["num_ctx"] for load in self.server.record.loads if load["num_thread"] or load["num_ctx"] != 2048]
        self.assertLessEqual(tried.count(2048), 1, "a size that killed its runner is not offered again")

    def test_error_line_in_mid_stream(self):
        self.check_crash(self.run_with({"nth": 6, "do": "error-line", "after": 3, "unload": True},
                                       args=("--keep-knobs",)), "unexpected EOF")

    def test_disconnect_in_mid_stream(self):
        self.check_survived(self.run_with({"nth": 3, "do": "close", "after": 3}))

    def test_disconnect_before_the_answer(self):
        self.check_survived(self.run_with({"nth": 3, "do": "close"}))

    def test_runner_died(self):
        text = ("model runner has unexpectedly stopped, this may be due to resource limitations or an internal error, "
                "check ollama server logs for details")
        self.check_crash(self.run_with({"nth": 6, "do": "http", "status": 500, "text": text, "unload": True},
                                       args=("--keep-knobs",)), "unexpectedly stopped")

    def test_runner_died_in_the_race(self):
        """An accident in a visit of the default is no verdict on the default: it is told, and the visit made again."""
        run = self.run_with({"nth": 2, "do": "http", "status": 500, "text": "llama runner process has terminated",
                             "unload": True})
        self.check_survived(run)
        self.assertNotEqual(run.get("race.verdict"), "fallback")
        self.assertIn("the default ended with a crash", " ".join(run.get("notes")))

    def test_busy(self):
        text = "server busy, please try again.  maximum pending requests exceeded"
        self.check_survived(self.run_with({"nth": 3, "do": "http", "status": 503, "text": text}))

    def test_half_a_json_in_ps(self):
        server = self.fake(**SMALL, faults=[{"on": "ps", "nth": 2, "do": "half"}])
        run = self.optimize(server)
        self.check_calm(run)
        self.check_exit(run, DONE, UNAVAILABLE)

    def test_absurd_metrics(self):
        for wrong in ({"set": {"eval_duration": 0, "prompt_eval_duration": 0}},
                      {"set": {"eval_duration": -5, "prompt_eval_duration": -1, "eval_count": -3}},
                      {"drop": ["eval_duration", "prompt_eval_duration", "eval_count", "prompt_eval_count"]},
                      {"set": {"eval_duration": 1, "prompt_eval_duration": 1}},
                      {"set": {"eval_count": 10**18, "prompt_eval_count": 10**18}},
                      {"set": {"eval_duration": "soon", "prompt_eval_count": None, "done_reason": 7}}):
            with self.subTest(**wrong):
                self.fresh()
                run = self.run_with({"nth": 4, "do": "metrics", **wrong})
                self.check_exit(run, DONE)
                fair = [request.decode_per_s for request in self.server.record.evaluated]
                for measure in find_all(run.json["presets"], "decode_per_s"):
                    if measure["n"]:
                        self.assertGreater(measure["mean"], 0.8 * min(filter(None, fair)))
                        self.assertLess(measure["mean"], 1.2 * max(filter(None, fair)))

    def test_one_slow_sample(self):
        """An outlier is removed and counted, not averaged in."""
        run = self.run_with({"from": 4, "times": 1, "do": "slow", "decode": 6})
        self.check_exit(run, DONE)
        for measure in find_all(run.json["presets"], "decode_per_s"):
            self.assertLess(measure["cv"], 0.15)


class TestAlways(FaultCase):
    """A server that is always like this."""

    def test_utf8_and_objects_cut_anywhere(self):
        for size in (1, 7, 64):
            with self.subTest(size):
                self.fresh()
                run = self.run_with({"do": "split", "bytes": size}, models=[{"trained": 1024}])
                self.check_exit(run, DONE)
                self.assertEqual(run.get("ceiling.proven_tokens"), 1024)

    def test_many_objects_in_one_chunk(self):
        run = self.run_with({"do": "join"}, models=[{"trained": 1024}])
        self.check_exit(run, DONE)
        self.assertEqual(run.get("ceiling.proven_tokens"), 1024)

    def test_silent_cut_is_never_accepted(self):
        """Whatever is asked: a server that cuts above 1000 tokens has no larger window."""
        run = self.run_with({"prompt_above": 1000, "do": "cut", "frac": 0.5})
        self.check_exit(run, DONE)
        self.assertTrue(self.server.record.faults or any(
            request.eval["tokens"] < request.eval["asked"] for request in self.server.record.evaluated))
        self.assertLessEqual(run.get("ceiling.proven_tokens"), 1280)
        self.assertIn("cut", (json.dumps(run.json) + run.err).lower())

    def test_small_cut_is_noticed(self):
        """A tenth missing is missing: the texts before it told how many tokens to expect."""
        run = self.run_with({"prompt_above": 1000, "do": "cut", "frac": 0.9})
        self.check_exit(run, DONE)
        self.assertLessEqual(run.get("ceiling.proven_tokens"), 1280)

    def test_repeat_guard_on_every_text(self):
        run = self.run_with({"do": "repeat-abort", "after": 6})
        self.check_exit(run, DONE, INTERNAL, UNAVAILABLE)
        self.assertLessEqual(len(self.server.record.of("generate")), 60, "it gives up in time")
        if run.rc == DONE:
            self.assertEqual(run.get("ceiling.proven_tokens"), 0)

    def test_busy_for_ever(self):
        text = "server busy, please try again.  maximum pending requests exceeded"
        server = self.fake(**SMALL, faults=[{"on": kind, "do": "http", "status": 503, "text": text}
                                            for kind in ("generate", "load")])
        run = self.optimize(server)
        self.check_sentence(run, "busy", wanted=UNAVAILABLE)

    def test_no_metrics_at_all(self):
        run = self.run_with({"do": "metrics", "drop": ["eval_duration", "prompt_eval_duration"]})
        if run.rc == DONE:
            json.loads(run.out, parse_constant=lambda word: self.fail(f"{word} is not JSON"))
            for number in find_all(run.json["presets"], "mean"):
                self.assertTrue(number is None or number > 0, number)


class TestPsLies(FaultCase):
    def test_wrong_context(self):
        server = self.fake(**SMALL, faults=[{"on": "ps", "num_ctx_above": 1024, "do": "ps",
                                             "set": {"context_length": 777}}])
        run = self.optimize(server)
        self.check_calm(run)
        self.check_exit(run, DONE)
        self.assertEqual(run.get("ceiling.proven_tokens"), 1024)

    def test_odd_values(self):
        for change in ({"set": {"size": 0, "size_vram": 0}}, {"drop": ["size", "size_vram"]},
                       {"set": {"context_length": -1}}, {"drop": ["context_length"]},
                       {"set": {"size": "much", "context_length": "big", "name": None}},
                       {"set": {"size_vram": 10**18}}):
            with self.subTest(**change):
                self.fresh()
                server = self.fake(models=[{"trained": 1024}], faults=[{"on": "ps", "do": "ps", **change}])
                self.check_calm(self.optimize(server))

    def test_half_in_vram(self):
        server = self.fake(**SMALL, gpu=True, faults=[{"on": "ps", "do": "ps", "scale": {"size_vram": 0.5}}])
        run = self.optimize(server)
        self.check_calm(run)
        self.assertIn("spill", (run.out + run.err).lower().replace("outside the device", "spill"))


class TestStall(FaultCase):
    def setUp(self):
        super().setUp()
        (self.box.work / "o3_ai_config.yaml").write_text(HASTY)

    def check_ended(self, run):
        """By its deadline, and not fatal."""
        self.check_exit(run, DONE)
        self.assertTrue(self.server.record.faults, "the fault was met")
        self.assertLess(run.wall_s, 90)
        self.assertGreater(run.get("ceiling.proven_tokens"), 0)

    def test_stall_in_mid_stream(self):
        run = self.run_with({"nth": 2, "do": "stall", "seconds": 900, "after": 3}, models=[{"trained": 512}])
        self.check_ended(run)
        self.server.wait_for(lambda record: any(r.end and r.end["outcome"] == "client-gone" for r in record.requests),
                             what="the stalled request was hung up")

    def test_stall_before_the_answer(self):
        self.check_ended(self.run_with({"nth": 2, "do": "stall", "seconds": 900}, models=[{"trained": 512}]))

    def test_stall_while_loading(self):
        server = self.fake(models=[{"trained": 512}], faults=[{"on": "loading", "nth": 1, "do": "stall",
                                                               "seconds": 900}])
        run = self.optimize(server, timeout=400)
        self.check_calm(run)
        self.check_exit(run, DONE, UNAVAILABLE)

    def test_no_load_ever_ends(self):
        """Each is given up at its deadline, smaller ones are tried, and then that is the answer."""
        server = self.fake(models=[{"trained": 512}], faults=[{"on": "loading", "do": "stall", "seconds": 900}])
        run = self.optimize(server, "--keep-knobs", timeout=400)
        self.check_calm(run)
        self.check_sentence(run, "deadline", wanted=INTERNAL)
        self.assertEqual({row["outcome"] for row in self.trials()}, {"timeout"})


class TestGone(FaultCase):
    def check_no_false_zeros(self, run):
        """What was not measured is null or a prediction, never 0."""
        for key in ("decode_per_s", "prefill_per_s", "ttft_ms"):
            for measure in find_all(json.loads(run.out or "{}"), key):
                if not measure["n"]:
                    self.assertTrue(measure["mean"] is None or measure["mean"] > 0, f"{key}: {measure}")

    def test_model_deleted_meanwhile(self):
        run = self.run_with({"nth": 8, "do": "gone"})
        self.check_sentence(run, MODEL, wanted=NOT_FOUND)
        self.check_kept()

    def test_server_exits(self):
        run = self.run_with({"nth": 8, "do": "exit", "after": 2})
        self.check_sentence(run, wanted=UNAVAILABLE)
        self.check_kept()
        self.check_no_false_zeros(run)

    def test_server_exits_before_the_answer(self):
        run = self.run_with({"nth": 8, "do": "exit"})
        self.check_sentence(run, wanted=UNAVAILABLE)
        self.check_kept()

    def test_server_exits_while_loading(self):
        server = self.fake(**SMALL, faults=[{"on": "loading", "nth": 2, "do": "exit"}])
        run = self.optimize(server)
        self.check_sentence(run, wanted=UNAVAILABLE)
        self.check_kept()


class TestKilledAnywhere(FaultCase):
    def at(self):
        """Purpose of the trial that is under way; "" while there is none."""
        try:
            with sqlite3.connect(f"file:{self.box.database}?mode=ro", uri=True) as db:
                row = db.execute("select purpose from trial order by started_unix_ms desc limit 1").fetchone()
        except sqlite3.OperationalError:        # not made yet
            return ""
        return row[0] if row else ""

    def test_engine_killed_in_race_ceiling_and_compare(self):
        """Each time the run ends with what it has, and the same command goes on from there when the server is back."""
        args = ("--samples", "3", "--preset", "max_context")
        self.server = self.fake(**{**SMALL, "default_ctx": 2048})
        port = self.server.port
        for stage in ("race-", "proof-1", "compare"):
            started = self.start("optimize", MODEL, "--host", self.server.url, "--json", *args)
            end = time.monotonic() + 240
            while not self.at().startswith(stage) and started.process.returncode is None and time.monotonic() < end:
                time.sleep(0.02)
            self.assertTrue(self.at().startswith(stage), f"{self.at()}, not {stage}\n{started.err()}")
            self.server.kill()
            run = started.wait(60)
            self.check_calm(run)
            self.check_sentence(run, ("start it", "still running"), wanted=UNAVAILABLE)
            self.check_kept()
            self.server.start(port)
        run = self.optimize(self.server, *args)
        self.check_exit(run, DONE)
        self.assertTrue(run.get("complete"), run)
        self.assertTrue(run.get("presets.max_context.proven"))
        with sqlite3.connect(f"file:{self.box.database}?mode=ro", uri=True) as db:
            twice = db.execute("select purpose, count(*) from trial where outcome = 'ok' group by run_id, purpose, "
                               "asked_num_ctx, asked_num_batch, asked_num_thread, asked_num_gpu, asked_use_mmap "
                               "having count(*) > 1").fetchall()
        self.assertEqual(twice, [], "what was finished is not measured again")

    def test_runner_killed_in_compare(self):
        """A window that was proven fails on a fresh load: that is the news, and it is told. (The last load is the default's.)"""
        run = self.run_with(args=("--keep-knobs", "--preset", "max_context", "--samples", "3"), models=[{"trained": 512}])
        loads = len(self.server.record.loads)
        self.fresh()
        server = self.fake(models=[{"trained": 512}], decode_scale=0.1, faults=[
            {"on": "loading", "nth": loads - 1, "do": "http", "status": 500, "text": "llama runner process has terminated"}])
        run = self.optimize(server, "--keep-knobs", "--preset", "max_context", "--samples", "3")
        self.check_exit(run, DONE)
        self.assertTrue(server.record.faults)
        self.assertIn("compare", next(row["purpose"] for row in self.trials() if row["outcome"] == "crash"))
        self.assertFalse(run.get("presets.max_context.proven"))
        self.assertIn("loaded once more", " ".join(run.get("notes")))


class TestOtherClient(FaultCase):
    """Somebody asks for the model with other settings: the runner that is being measured goes."""
    LEAN = ("--keep-knobs", "--preset", "max_context", "--samples", "3")

    def ask(self):
        body = json.dumps({"model": MODEL, "prompt": "Hello there", "stream": False,
                           "options": {"num_ctx": 768, "num_predict": 2}}).encode()
        with urllib.request.urlopen(f"{self.server.url}/api/generate", body, timeout=60) as answer:
            answer.read()

    def theirs(self):
        return [load for load in self.server.record.loads if load["num_ctx"] == 768]

    def begin(self, **script):
        self.server = self.fake(**{**SMALL, "runner_process": True, **script})
        return self.start("optimize", MODEL, "--host", self.server.url, "--json", *self.LEAN)

    def test_noticed_told_not_measured(self):
        started = self.begin()
        self.server.wait_for(lambda record: len(record.evaluated) >= 2, what="a visit under way")
        self.ask()
        run = started.wait(180)
        self.check_calm(run)
        self.check_exit(run, DONE)
        self.assertEqual(run.get("ceiling.proven_tokens"), 2048)
        self.assertEqual(len(self.theirs()), 1)
        rows = self.trials()
        spoilt = [row for row in rows if row["outcome"] == "reloaded"]
        self.assertEqual(len(spoilt), 1, rows)
        self.assertIn("another client", spoilt[0]["reason"])
        self.assertEqual([row["outcome"] for row in rows if row["purpose"] == spoilt[0]["purpose"]], ["reloaded", "ok"])
        self.assertIn("another client", " ".join(run.get("notes")))
        self.assertTrue(run.get("complete"), run)

    def test_one_that_does_not_stop(self):
        """We give way, and what was measured is there for the next time."""
        started = self.begin()
        self.server.wait_for(lambda record: record.evaluated, what="the first sample")
        while not os.waitid(os.P_PID, started.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) and len(self.theirs()) < 60:
            self.ask()
            time.sleep(0.3)
        run = started.wait(60)
        self.check_sentence(run, "another client", wanted=UNAVAILABLE)
        self.assertLess(len(self.theirs()), 60, "it gave way in time")
        self.check_kept()
        again = self.optimize(self.server, *self.LEAN)
        self.check_exit(again, DONE)
        self.assertEqual(again.get("ceiling.proven_tokens"), 2048)


class TestHuge(FaultCase):
    LIMIT_KIB = 96 * 1024

    def test_endless_line(self):
        run = self.run_with({"nth": 2, "do": "huge", "mib": 300}, models=[{"trained": 512}])
        self.assertLess(run.rss_kib, self.LIMIT_KIB)
        self.check_exit(run, DONE, INTERNAL, UNAVAILABLE)

    def test_endless_lines(self):
        run = self.run_with({"nth": 2, "do": "huge", "mib": 300, "newline": True}, models=[{"trained": 512}])
        self.assertLess(run.rss_kib, self.LIMIT_KIB)

    def test_endless_lists(self):
        for route in ("version", "tags", "show", "ps"):
            with self.subTest(route):
                self.fresh()
                server = self.fake(**SMALL, faults=[{"on": route, "do": "huge", "mib": 300}])
                run = self.optimize(server)
                self.check_calm(run)
                self.assertNotEqual(run.rc, DONE)
                self.assertLess(run.rss_kib, self.LIMIT_KIB)


class TestDisturbed(FaultCase):
    def test_a_neighbour_of_short_samples_is_seen(self):
        """Each sample here is over in a tenth of a second, too short to tell whose the CPU was in it."""
        burn = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
        try:
            run = self.run_with(args=("--keep-knobs", "--preset", "max_context"), models=[{"trained": 512}],
                                time_scale=0.01, timeout=500)
        finally:
            for process in burn:
                process.kill()
                process.wait()
        self.check_exit(run, DONE)
        with sqlite3.connect(f"file:{self.box.database}?mode=ro", uri=True) as db:
            walls, marks = zip(*db.execute("select wall_ns, disturbed from sample where outcome = 'ok' and kind = 'decode'"))
        if sorted(walls)[len(walls) // 2] > 0.25e9:
            self.skipTest("this machine is too busy for short samples")
        self.assertGreater(sum(marks), 0.8 * len(marks), f"{sum(marks)} of {len(marks)} samples are marked")

    def test_a_busy_neighbour_is_named(self):
        """Samples beside a foreign load are marked; the answer says so."""
        burn = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
        try:
            run = self.run_with(models=[{"trained": 512}], time_scale=0.4, decode_scale=0.5, timeout=500)
        finally:
            for process in burn:
                process.kill()
                process.wait()
        self.check_exit(run, DONE)
        said = (json.dumps(run.get("notes")) + run.err).lower()
        self.assertTrue(any(word in said for word in ("disturb", "busy", "other process")), said)


if __name__ == "__main__":
    unittest.main()
