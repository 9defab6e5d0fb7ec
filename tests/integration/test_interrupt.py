# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C, kill -9 and a dead server: everything so far is kept, and the same command goes on from there."""

import collections
import signal
import socket
import time
import unittest

from harness import DONE, INTERRUPTED, MODEL, UNAVAILABLE, Case, find_all

# Slow enough to be hit in the middle: a window of 2048 takes a second.
SCRIPT = {"models": [{"trained": 2048}], "time_scale": 0.1, "decode_scale": 0.1}
KNOBS = ("num_ctx", "num_batch", "num_gpu", "num_thread", "use_mmap")


class InterruptCase(Case):
    # Without the race, which lasts as long as the noise of its samples wants: prompts are counted here.
    whole, options = 0, ["--keep-knobs"]

    def setUp(self):
        super().setUp()
        self.server = self.fake(**SCRIPT)

    def command(self):
        return ["optimize", MODEL, "--host", self.server.url, "--json", "--seed", "5", *self.options]

    def until(self, condition, what):
        """Starts o3 and returns it once condition(record) holds."""
        started = self.start(*self.command())
        end = time.monotonic() + 120
        while not condition(self.server.record):
            self.assertLess(time.monotonic(), end, f"not seen: {what}\n{started.err()}")
            self.assertIsNone(started.process.poll(), f"o3 ended before {what}\n{started.err()}")
            time.sleep(0.02)
        return started

    def after_some_trials(self):
        """In the middle of a prompt, in the third load."""
        return self.until(lambda record: len(record.loads) >= 3 and record.requests[-1].eval
                          and not record.requests[-1].done, "a prompt in the third load")

    def finished(self):
        """Finished trials by what they are; the same one twice is a repeated one."""
        rows = collections.Counter()
        for row in self.trials():
            outcome = row.get("outcome")
            if outcome not in (None, "", "unfinished", "cancelled"):
                rows[(row["run_id"], row["purpose"],
                      *(row.get(f"asked_{knob}", row.get(knob)) for knob in KNOBS))] += 1
        return rows

    def prompts(self):
        return len(self.server.record.evaluated)

    def check_resume(self, stopped_after):
        """The same command finishes the job without repeating what was finished."""
        finished = self.finished()
        self.assertTrue(finished, "finished trials were kept")
        before = self.prompts()
        run = self.start(*self.command()).wait(240)
        self.check_exit(run, DONE)
        self.assertEqual(run.get("ceiling.proven_tokens"), 2048)
        again = self.finished()
        for trial, count in finished.items():
            self.assertEqual(again[trial], count, f"{trial} was run again")
        rest = self.prompts() - before
        whole = self.whole_job()
        self.assertLess(rest, whole, f"{rest} prompts to finish, {whole} for the whole job, {stopped_after} before")
        self.assertLessEqual(before + rest, whole + 20, "at most the unfinished trial was measured again")
        self.assertTrue(all(n for n in find_all(run.json["presets"], "n")), "every preset is measured")

    def whole_job(self):
        """Prompts of the same job, undisturbed, in a fresh home; asked once."""
        if InterruptCase.whole:
            return InterruptCase.whole
        self.fresh()
        server, self.server = self.server, self.fake(**SCRIPT)
        run = self.start(*self.command()).wait(240)
        self.check_exit(run, DONE)
        InterruptCase.whole = self.prompts()
        self.server = server
        return InterruptCase.whole


class TestCtrlC(InterruptCase):
    def test_interrupt_and_resume(self):
        started = self.after_some_trials()
        sent = time.monotonic_ns()
        started.kill(signal.SIGINT)
        run = started.wait(20)
        self.check_exit(run, INTERRUPTED)
        self.check_calm(run)
        self.assertIn("kept", run.err)
        self.assertLess((time.monotonic_ns() - sent) / 1e9, 3, "it ends at once")
        self.server.wait_for(lambda record: any(r.end and r.end["outcome"] == "client-gone" for r in record.requests),
                             timeout=5, what="the running request was hung up")
        gone = next(r.end for r in self.server.record.requests if r.end and r.end["outcome"] == "client-gone")
        self.assertLess((gone["t"] - sent) / 1e6, 250, "milliseconds from the signal to the hang-up")
        last = self.server.record.of("generate", "load", "unload")[-1]
        self.assertEqual((last.kind, last.body.get("model")), ("unload", MODEL), "our model does not stay loaded")
        self.check_resume(self.prompts())

    def test_terminate(self):
        started = self.after_some_trials()
        started.kill(signal.SIGTERM)
        self.check_exit(started.wait(20), INTERRUPTED)

    def test_interrupt_before_anything(self):
        started = self.until(lambda record: record.requests, "the first request")
        started.kill(signal.SIGINT)
        self.check_exit(started.wait(20), INTERRUPTED)
        self.check_exit(self.o3("history"), DONE)

    def test_twice(self):
        started = self.after_some_trials()
        started.kill(signal.SIGINT)
        started.kill(signal.SIGINT)
        run = started.wait(20)
        self.assertIn(run.rc, (INTERRUPTED, -signal.SIGINT))
        self.assertTrue(self.trials())


class TestStalledServer(Case):
    def test_nothing_answers(self):
        """Something takes the connection and says nothing: Ctrl-C does not wait for it."""
        with socket.create_server(("127.0.0.1", 0)) as silent:
            started = self.start("optimize", MODEL, "--host", "127.0.0.1:%d" % silent.getsockname()[1])
            time.sleep(0.5)
            started.kill(signal.SIGINT)
            run = started.wait(8)  # the call's own deadline is 10 s
        self.check_exit(run, INTERRUPTED)


class TestKill(InterruptCase):
    def test_kill_and_resume(self):
        started = self.after_some_trials()
        started.kill(signal.SIGKILL)
        self.assertEqual(started.wait(20).rc, -signal.SIGKILL)
        self.check_resume(self.prompts())

    def test_kill_at_any_time(self):
        """Wherever it is hit, in the race too, the store opens and the next run ends well."""
        self.options = []
        for moment in (0.05, 0.4, 1.1, 2.3):
            started = self.start(*self.command())
            time.sleep(moment)
            started.kill(signal.SIGKILL)
            started.wait(20)
            self.check_exit(self.o3("history", "--json"), DONE)
        run = self.start(*self.command()).wait(240)
        self.check_exit(run, DONE)
        self.assertFalse([path for path in self.box.database.parent.iterdir() if "aside" in path.name])


class TestServerDies(InterruptCase):
    def test_in_the_middle_of_a_fill(self):
        started = self.until(lambda record: any(r.eval and not r.done and r.eval["tokens"] > 1500
                                                for r in record.requests), "a deep fill has begun")
        port = self.server.port
        self.server.kill()
        run = started.wait(60)
        self.check_sentence(run, wanted=UNAVAILABLE)
        self.check_calm(run)
        self.assertIn("kept", run.err)
        self.assertTrue(self.trials(), "what was measured is in the store")
        self.server.start(port)
        run = self.start(*self.command()).wait(240)
        self.check_exit(run, DONE)
        self.assertEqual(run.get("ceiling.proven_tokens"), 2048)


if __name__ == "__main__":
    unittest.main()
