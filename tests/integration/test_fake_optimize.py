# SPDX-License-Identifier: Apache-2.0
"""`o3 optimize`, the whole job, against a server whose every byte is on record.

What O3 says is compared with what the server did, not with constants: rates with the times at which tokens were
really sent, loads and fills with the runner starts and prompts that the server saw.
"""

import json
import sqlite3
import unittest

from harness import DONE, IMPOSSIBLE, MODEL, UNAVAILABLE, UNSAFE, Case, Fake, QUICK, Sandbox, find_all, get

PRESETS = ("max_context", "balanced", "fast_response")
NEAR = 0.06         # depths within 6 % are the same depth
TIGHT = 0.03        # and rates within 3 % of the record's span are right


class Measured(Case):
    """Holds measured numbers against the record."""

    def of_preset(self, record, preset):
        """Evaluated requests with exactly this preset's knobs."""
        knobs = {key: value for key, value in preset["knobs"].items() if value is not None}
        return [request for request in record.evaluated
                if all(request.eval["options"].get(key) == value for key, value in knobs.items())]

    def check_within(self, name, measure, seen, slack=0.0):
        """The mean lies within the span of what was seen, widened by 3 %; the interval encloses the mean."""
        self.assertTrue(seen, f"{name}: nothing on record at depth {measure['depth_tokens']}: {measure}")
        self.assertGreaterEqual(measure["mean"], min(seen) * (1 - TIGHT) - slack, f"{name} {measure} of {seen}")
        self.assertLessEqual(measure["mean"], max(seen) * (1 + TIGHT) + slack, f"{name} {measure} of {seen}")
        if measure["n"] > 1:
            self.assertLessEqual(measure["low"], measure["mean"])
            self.assertGreaterEqual(measure["high"], measure["mean"])

    def check_decode(self, record, name, preset):
        measure, depth = preset["decode_per_s"], preset["decode_per_s"]["depth_tokens"]
        seen = [request.decode_per_s for request in self.of_preset(record, preset)
                if abs(request.depth - depth) <= NEAR * depth + 32 and request.done["eval_count"] >= 16]
        self.check_within(f"{name}.decode_per_s", measure, seen)
        self.assertLessEqual(measure["n"], len(seen), f"{name}: more samples than requests")

    def check_prefill(self, record, name, preset):
        measure, depth = preset["prefill_per_s"], preset["prefill_per_s"]["depth_tokens"]
        asked = {request.id for request in self.of_preset(record, preset)}
        seen = [rate for request, tokens, rate in record.texts()
                if request.id in asked and abs(tokens - depth) <= NEAR * depth]
        self.check_within(f"{name}.prefill_per_s", measure, seen)

    def check_ttft(self, record, name, preset):
        measure, depth = preset["ttft_ms"], preset["ttft_ms"]["depth_tokens"]
        seen = [request.ttft_ms for request in self.of_preset(record, preset)
                if request.eval["cached"] <= 16 and abs(request.eval["tokens"] - depth) <= NEAR * depth]
        self.check_within(f"{name}.ttft_ms", measure, seen, slack=3)

    def check_presets(self, record, document, names=PRESETS):
        for name in names:
            preset = get(document, f"presets.{name}")
            for check in (self.check_decode, self.check_prefill, self.check_ttft):
                with self.subTest(f"{name} {check.__name__}"):
                    check(record, name, preset)

    def check_proven(self, record, document, num_ctx, texts=2):
        """The claim, and the evidence: different texts that filled the window, evaluated whole."""
        self.assertEqual(get(document, "ceiling.proven_tokens"), num_ctx, document["ceiling"])
        filled = {request.prompt_head for request in record.evaluated
                  if request.num_ctx == num_ctx and request.eval["tokens"] >= 0.93 * num_ctx
                  and request.eval["tokens"] == request.eval["asked"]}
        self.assertGreaterEqual(len(filled), texts, f"{len(filled)} texts filled {num_ctx}")


class TestWholeJob(Measured):
    """One run, looked at from all sides."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.shared = Sandbox()
        cls.addClassCleanup(cls.shared.close)
        cls.server = Fake(cls.shared, QUICK)
        cls.addClassCleanup(cls.server.kill)
        job = cls("run_job")
        job.box = cls.shared
        cls.run_ = job.optimize(cls.server, timeout=300)
        cls.record = cls.server.record

    def run_job(self):
        """Only so that a Case can be made to start o3 with."""

    def setUp(self):
        self.box = self.shared
        self.check_exit(self.run_, DONE)
        self.document = self.run_.json

    def test_identity(self):
        self.assertEqual(get(self.document, "schema"), 1)
        self.assertEqual(get(self.document, "model"), MODEL)
        self.assertEqual(get(self.document, "engine.version"), "0.32.15")
        self.assertEqual(len(get(self.document, "digest").removeprefix("sha256:")), 64)
        self.assertTrue(get(self.document, "profile"))

    def test_stdout_is_the_answer_and_stderr_the_talk(self):
        self.assertTrue(self.run_.err.strip(), "it talks while it works")
        for text in (self.run_.out, self.run_.err):
            self.assertNotIn("\x1b", text, "no escape codes where there is no terminal")
            self.assertNotIn("\r", text, "plain lines where there is no terminal")
        json.loads(self.run_.out, parse_constant=lambda word: self.fail(f"{word} is not JSON"))

    def test_ceiling_is_the_trained_context(self):
        self.check_proven(self.record, self.document, 8192)
        self.assertEqual(get(self.document, "ceiling.allocated_tokens"), 8192)
        self.assertEqual(get(self.document, "ceiling.trained_tokens"), 8192)
        self.assertIn("trained", get(self.document, "ceiling.next_step.reason"))

    def test_ceiling_is_cheap(self):
        self.assertLessEqual(get(self.document, "ceiling.loads"), 4)
        self.assertLessEqual(get(self.document, "ceiling.fills"), 3)

    def test_costs_are_what_the_server_saw(self):
        self.assertEqual(get(self.document, "cost.loads"), len(self.record.loads))
        self.assertGreaterEqual(get(self.document, "cost.fills"), 2)
        self.assertLessEqual(get(self.document, "cost.fills"), len(self.record.fills))
        sent = self.record.of("generate", "load", "unload")
        self.assertLessEqual(len(self.record.evaluated), get(self.document, "cost.requests"))
        self.assertGreaterEqual(len(sent), get(self.document, "cost.requests"))
        self.assertAlmostEqual(get(self.document, "cost.wall_s"), self.run_.wall_s, delta=0.1 * self.run_.wall_s + 0.5)
        self.assertLessEqual(get(self.document, "cost.lower_bound_s"), get(self.document, "cost.wall_s"))

    def test_every_request_is_an_honest_probe(self):
        for request in self.record.of("generate"):
            self.assertIs(request.body.get("truncate"), False, request)
            self.assertIs(request.body.get("raw"), True, request)
            self.assertNotEqual(request.body.get("stream"), False, request)
            self.assertGreaterEqual(request.body["options"]["num_predict"], 1, request)

    def test_nothing_was_loaded_by_accident(self):
        """A prompt never starts a runner with knobs that no load asked for."""
        asked = [request.body.get("options", {}) for request in self.record.of("load", "generate")]
        for load in self.record.loads:
            self.assertTrue(any(all(load.get(k) == v for k, v in options.items() if k in load) for options in asked))

    def test_presets_say_what_the_server_did(self):
        self.check_presets(self.record, self.document)

    def test_presets_rest_on_enough_samples(self):
        for name in PRESETS:
            measure = get(self.document, f"presets.{name}.decode_per_s")
            self.assertGreaterEqual(measure["n"], 4, f"{name}: five samples less an outlier")
            self.assertLess(measure["cv"], 0.15)
            self.assertGreaterEqual(get(self.document, f"presets.{name}.score.total"), 0)
            self.assertLessEqual(get(self.document, f"presets.{name}.score.total"), 1)

    def test_decode_is_given_at_half_of_the_window(self):
        for name in PRESETS:
            preset = get(self.document, f"presets.{name}")
            half = preset["knobs"]["num_ctx"] / 2
            self.assertAlmostEqual(preset["decode_per_s"]["depth_tokens"], half, delta=0.1 * half, msg=name)

    def test_max_context_is_proven_and_is_the_ceiling(self):
        preset = get(self.document, "presets.max_context")
        self.assertEqual((preset["knobs"]["num_ctx"], preset["proven"]), (8192, True))

    def test_candidates_are_on_the_ladder(self):
        allowed = {2048, 3072, 4096, 6144, 8192}
        for name in PRESETS:
            self.assertIn(get(self.document, f"presets.{name}.knobs.num_ctx"), allowed, name)

    def test_every_knob_is_in_the_document(self):
        for name in PRESETS:
            self.assertEqual(set(get(self.document, f"presets.{name}.knobs")),
                             {"num_ctx", "num_batch", "num_thread", "num_gpu", "use_mmap"})

    def test_baseline_was_measured_as_ollama_would_run(self):
        baseline = get(self.document, "baseline")
        self.assertGreaterEqual(get(baseline, "decode_per_s.n"), 1)
        defaults = [load for load in self.record.loads if load["num_ctx"] == 4096 and load["num_thread"] == 0]
        self.assertTrue(defaults, "Ollama's own defaults were loaded")

    def test_it_costs_little(self):
        """Its own CPU share needs the long real run; here only the memory is bounded."""
        self.assertLess(self.run_.rss_kib, 60 * 1024)
        self.check_calm(self.run_)


class TestSecondCall(Case):
    def test_known_answer_and_force(self):
        server = self.fake(models=[{"trained": 2048}])
        first = self.optimize(server)
        self.check_exit(first, DONE)
        loads, prompts = len(server.record.loads), len(server.record.of("generate"))
        again = self.optimize(server)
        self.check_exit(again, DONE)
        self.assertEqual((len(server.record.loads), len(server.record.of("generate"))), (loads, prompts),
                         "the stored answer costs no load and no prompt")
        self.assertLess(again.wall_s, 1.0)
        for path in ("ceiling.proven_tokens", "presets.max_context.decode_per_s.mean", "cost.loads"):
            self.assertEqual(again.get(path), first.get(path), path)
        forced = self.optimize(server, "--force")
        self.check_exit(forced, DONE)
        self.assertGreater(len(server.record.loads), loads, "--force measures again")

    def test_what_changed_is_measured_again(self):
        first = self.fake(models=[{"trained": 2048}])
        self.check_exit(self.optimize(first), DONE)
        for change in ({"version": "0.32.16"}, {"models": [{"trained": 2048, "quantization": "Q4_0"}]}):
            with self.subTest(**change):
                server = self.fake(**{"models": [{"trained": 2048}], **change})
                self.check_exit(self.optimize(server), DONE)
                self.assertGreater(len(server.record.loads), 0)

    def test_another_request_is_another_answer(self):
        server = self.fake(models=[{"trained": 2048}])
        self.check_exit(self.optimize(server, "--quick"), DONE)
        loads = len(server.record.loads)
        whole = self.optimize(server)
        self.check_exit(whole, DONE)
        self.assertGreater(len(server.record.loads), loads, "a quick answer is not the whole one")
        self.assertEqual(whole.get("ceiling.proven_tokens"), 2048)


class TestCeilings(Measured):
    """Where the window ends for other reasons than training."""

    def ceiling(self, wanted, reason, **script):
        server = self.fake(**script)
        run = self.optimize(server, timeout=300)
        self.check_exit(run, DONE)
        record, document = server.record, run.json
        self.check_proven(record, document, wanted)
        self.assertEqual(get(document, "ceiling.next_step.num_ctx"), wanted + 256)
        said = get(document, "ceiling.next_step.reason").lower()
        self.assertTrue(any(word in said for word in reason), said)
        self.assertLessEqual(get(document, "ceiling.loads"), 9)
        self.assertLessEqual(get(document, "ceiling.fills"), 3)
        self.assertEqual(get(document, "cost.loads"), len(record.loads))
        self.assertEqual(get(document, "presets.max_context.knobs.num_ctx"), wanted)
        return record, document

    def test_out_of_memory_while_loading(self):
        texts = ("llama-server process has terminated: signal: killed",
                 "llama-server reported out-of-memory during startup: failed to allocate buffer",
                 "llama-server process has terminated: exit status 1: cudaMalloc failed: out of memory")
        for text, limit in zip(texts, (5000, 3000, 7700)):
            with self.subTest(text):
                self.fresh()
                self.ceiling(limit // 256 * 256, ("memory",), faults=[
                    {"on": "loading", "num_ctx_above": limit, "do": "http", "text": text}])

    def test_spill(self):
        self.ceiling(5888, ("spill", "outside"), gpu=True, faults=[
            {"on": "ps", "num_ctx_above": 6000, "do": "ps", "scale": {"size_vram": 0.6}}])

    def test_what_spilled_is_no_predicted_preset(self):
        faults = [{"on": "ps", "num_ctx_above": 6000, "do": "ps", "scale": {"size_vram": 0.6}}]
        run = self.optimize(self.fake(gpu=True, faults=faults), "--quick")
        self.check_exit(run, DONE)
        self.assertEqual(run.get("presets"), {})
        self.assertTrue([note for note in run.get("notes") if "8192" in note and "outside" in note], run)

    def test_clamp_below_the_trained_context(self):
        record, document = self.ceiling(3072, ("clamp", "smaller"), faults=[
            {"on": "ps", "num_ctx_above": 3072, "do": "ps", "set": {"context_length": 3072}}])
        self.assertEqual(get(document, "ceiling.allocated_tokens"), 3072)

    def test_out_of_memory_while_running(self):
        """It loads at any size, and dies on long prompts: only the fill can tell."""
        server = self.fake(faults=[{"on": "generate", "prompt_above": 5000, "do": "error-line", "after": 1,
                                    "unload": True}])
        run = self.optimize(server, timeout=300)
        self.check_exit(run, DONE)
        proven = run.get("ceiling.proven_tokens")
        self.assertGreaterEqual(proven, 4608)
        self.assertLessEqual(proven, 5376)
        self.check_proven(server.record, run.json, proven)

    def test_decode_collapses_at_depth(self):
        """HTTP says 200, and the machine is thrashing."""
        server = self.fake(decode_scale=0.05, faults=[{"on": "generate", "prompt_above": 6000, "do": "slow",
                                                       "decode": 40}])
        run = self.optimize(server, timeout=300)
        self.check_exit(run, DONE)
        self.assertLessEqual(run.get("ceiling.proven_tokens"), 6400, "a collapsed window is not proven")
        self.assertGreaterEqual(run.get("ceiling.proven_tokens"), 4096)

    def test_a_model_without_prefix_reuse(self):
        """Sliding windows and hybrids evaluate a grown prompt anew: one long fill, no ladder."""
        server = self.fake(models=[{"trained": 4096, "reuse": False}])
        run = self.optimize(server, timeout=300)
        self.check_exit(run, DONE)
        self.check_proven(server.record, run.json, 4096)
        self.check_presets(server.record, run.json)

    def test_small_and_odd_trained_contexts(self):
        for trained in (512, 1000, 2048):
            with self.subTest(trained):
                server = self.fake(models=[{"trained": trained}])
                run = self.optimize(server)
                self.check_exit(run, DONE)
                self.assertIn(run.get("ceiling.proven_tokens"), {trained, trained // 256 * 256})


class TestEras(Measured):
    def test_old_release(self):
        """0.24 refuses without a count: sizes are estimated, and that is said."""
        server = self.fake(version="0.24.0", models=[{"trained": 4096}])
        run = self.optimize(server, timeout=300)
        self.check_exit(run, DONE)
        self.assertEqual(run.get("engine.version"), "0.24.0")
        self.check_proven(server.record, run.json, 4096)
        self.check_presets(server.record, run.json)
        notes = " ".join(run.get("notes")).lower()
        self.assertIn("estimat", notes, "how tokens were counted")

    def test_unknown_version(self):
        server = self.fake(version="0.0.0", models=[{"trained": 2048}])
        run = self.optimize(server)
        self.check_exit(run, DONE)
        self.check_proven(server.record, run.json, 2048)

    def test_other_tokenizers(self):
        for pieces, bos in ((3, 1), (14, 2)):
            with self.subTest(pieces):
                server = self.fake(models=[{"trained": 2048, "chars_per_piece": pieces, "bos": bos}])
                run = self.optimize(server)
                self.check_exit(run, DONE)
                self.check_proven(server.record, run.json, 2048)


class TestClock(Measured):
    def test_waiting_counts_for_ttft_and_not_for_prefill(self):
        server = self.fake(models=[{"trained": 2048}],
                           faults=[{"on": "generate", "do": "queue", "seconds": 0.15}])
        run = self.optimize(server)
        self.check_exit(run, DONE)
        self.check_presets(server.record, run.json)
        for name in PRESETS:
            self.assertGreater(run.get(f"presets.{name}.ttft_ms.mean"), 150)

    def test_slow_jittery_server(self):
        server = self.fake(models=[{"trained": 1024}], decode_scale=1.0, speed={"jitter": 0.3})
        run = self.optimize(server)
        self.check_exit(run, DONE)
        self.check_presets(server.record, run.json)


class TestOptions(Measured):
    def test_quick(self):
        server = self.fake()
        run = self.optimize(server, "--quick")
        self.check_exit(run, DONE)
        self.assertEqual(len(server.record.loads), 1, "one load")
        self.assertEqual(server.record.fills, [], "a partial fill")
        self.assertTrue(server.record.evaluated, "but something is measured")
        self.assertEqual(run.get("ceiling.proven_tokens"), 0, "nothing is called proven")

    def test_no_proof(self):
        """One fill instead of two, and said so."""
        server = self.fake(models=[{"trained": 4096}])
        run = self.optimize(server, "--no-proof")
        self.check_exit(run, DONE)
        self.check_proven(server.record, run.json, 4096, texts=1)
        at_ceiling = {request.prompt_head for request in server.record.fills if request.num_ctx == 4096}
        whole = self.fake(models=[{"trained": 4096}])
        self.fresh()
        self.check_exit(self.optimize(whole), DONE)
        usual = {request.prompt_head for request in whole.record.fills if request.num_ctx == 4096}
        self.assertLess(len(at_ceiling), len(usual), "a fill is saved")
        self.assertRegex(" ".join(run.get("notes")), "(?i)once|one fill|second|proof")

    def test_samples(self):
        server = self.fake(models=[{"trained": 1024}])
        run = self.optimize(server, "--samples", 9)
        self.check_exit(run, DONE)
        with sqlite3.connect(f"file:{self.box.database}?mode=ro", uri=True) as db:
            marked, = db.execute("select count(*) from sample where disturbed").fetchone()
        if marked > 12:
            self.skipTest(f"something else uses this machine's CPUs: {marked} samples were marked and taken again")
        for measure in find_all(run.json["presets"], "decode_per_s"):
            self.assertGreaterEqual(measure["n"] + measure["removed"], 10, measure)
        for measure in find_all(run.json["presets"], "prefill_per_s"):
            self.assertGreaterEqual(measure["n"], 9, "as many as were asked for, outliers aside")
            self.assertLessEqual(measure["n"] + measure["removed"], 12, measure)
        for measure in find_all(run.json["presets"], "ttft_ms"):
            self.assertGreaterEqual(measure["n"] + measure["removed"], 9, measure)

    def test_one_preset(self):
        server = self.fake(models=[{"trained": 4096}])
        run = self.optimize(server, "--preset", "fast_response")
        self.check_exit(run, DONE)
        self.check_presets(server.record, run.json, ("fast_response",))
        for name in set(run.get("presets")) - {"fast_response"}:
            self.assertIn(run.get(f"presets.{name}.decode_per_s.n", 0), (0, None), f"{name} was not asked for")

    def test_use_case(self):
        server = self.fake(models=[{"trained": 2048}])
        run = self.optimize(server, "--use-case", "coding")
        self.check_exit(run, DONE)

    def test_seed_decides_the_texts(self):
        heads = []
        for seed in (7, 7, 8):
            self.fresh()
            server = self.fake(models=[{"trained": 1024}])
            self.check_exit(self.optimize(server, "--seed", seed, "--quick"), DONE)
            heads.append([request.prompt_head for request in server.record.evaluated][:2])
        self.assertEqual(heads[0], heads[1])
        self.assertNotEqual(heads[0], heads[2])

    def test_texts_are_unique_from_their_first_token(self):
        server = self.fake(models=[{"trained": 4096}])
        self.check_exit(self.optimize(server), DONE)
        first_words = {}
        for request, _, _ in server.record.texts():
            if request.eval["cached"] <= 64:
                self.assertLessEqual(request.eval["cached"], 8, request)
                first_words.setdefault(request.prompt_head, request)
        self.assertGreater(len(first_words), 3)

    def test_budget_ends_a_request(self):
        """A device that nobody knew to be slow: one rung would take longer than the run may."""
        run = self.optimize(self.fake(time_scale=20, models=[{"trained": 1024}]), "--budget", "8s", "--keep-knobs")
        self.check_exit(run, DONE)
        self.assertIn("time was up", run.get("ceiling.next_step.reason"))
        self.assertFalse(run.get("complete"))
        self.assertEqual(run.get("ceiling.proven_tokens"), 0)

    def test_budget(self):
        """Real speed: a fill of 8192 takes 70 s, and there are 25."""
        server = self.fake(time_scale=1.0, decode_scale=1.0)
        run = self.optimize(server, "--budget", "25s")
        self.check_exit(run, DONE)
        self.assertLess(run.wall_s, 40)
        self.assertIn("budget", (json.dumps(run.get("notes")) + run.err + json.dumps(run.get("ceiling"))).lower())
        self.assertFalse([request for request in server.record.fills if request.num_ctx == 8192])

    def test_others_are_loaded(self):
        models = [{"trained": 2048}, {"name": "other:1b", "trained": 4096}]
        server = self.fake(models=models, loaded={"other:1b": 4096})
        run = self.optimize(server)
        self.check_sentence(run, "other:1b", "--unload-others", wanted=UNAVAILABLE)
        self.assertEqual(server.record.of("generate", "load", "unload"), [], "nothing was touched")
        run = self.optimize(server, "--unload-others")
        self.check_exit(run, DONE)
        sent = [(request.kind, request.body["model"]) for request in server.record.of("load", "unload")]
        self.assertIn(("unload", "other:1b"), sent)
        back = [i for i, row in enumerate(sent) if row == ("load", "other:1b")]
        self.assertTrue(back and back[-1] > max(i for i, row in enumerate(sent) if row == ("load", MODEL)),
                        f"what was loaded is loaded again at the end: {sent}")

    def test_text_answer_fits_the_screen(self):
        server = self.fake(models=[{"trained": 2048}])
        run = self.o3("optimize", MODEL, "--host", server.url)
        self.check_exit(run, DONE)
        for word in (*PRESETS, "num_ctx", "2048", "proven"):
            self.assertIn(word, run.out)
        wide = [line for line in run.out.splitlines() if len(line) > 100]
        self.assertEqual(wide, [], "lines over 100 columns")


class TestPull(Case):
    def test_a_model_that_is_not_there(self):
        server = self.fake(models=[], pullable=[{"trained": 1024}])
        run = self.optimize(server, "--pull", "--quick")
        self.check_exit(run, DONE)
        self.assertEqual(len(server.record.of("pull")), 1)

    def test_not_without_being_asked(self):
        server = self.fake(models=[], pullable=[{"trained": 1024}])
        run = self.optimize(server)
        self.check_sentence(run, "--pull")
        self.assertEqual(server.record.of("pull"), [])


class TestNothingProven(Case):
    def test_no_size_loads(self):
        server = self.fake(models=[{"trained": 2048}], faults=[
            {"on": "loading", "do": "http", "text": "llama-server process has terminated: signal: killed"}])
        run = self.optimize(server)
        self.check_calm(run)
        self.check_exit(run, UNSAFE, IMPOSSIBLE, 1)
        self.assertLessEqual(len(server.record.loads), 12, "it gives up in time")


if __name__ == "__main__":
    unittest.main()
