# SPDX-License-Identifier: Apache-2.0
"""The race for knobs against a server that is as fast as its threads and batches say."""

from harness import DONE, GATE, USAGE, Case, find_all, get


class TestKnobs(Case):
    def raced(self, *args, environ=None, **script):
        server = self.fake(environ=environ, models=[{"trained": 2048}], **script)
        run = self.optimize(server, *args, timeout=400)
        return server.record, run, run.json

    def purposes(self):
        return {trial["purpose"] for trial in self.trials()}

    def loads_with(self, record, knob, value):
        return [load for load in record.loads if load.knobs.get(knob) == value]

    def test_wrong_threads_of_the_server(self):
        """Started with four times the cores there are: the presets must not be."""
        record, run, document = self.raced(environ={"LLAMA_ARG_THREADS": "8"}, speed={"cpus": 2})
        self.check_exit(run, DONE)
        race = document["race"]
        self.assertEqual(race["verdict"], "winner", race)
        self.assertEqual(race["knobs"]["num_thread"], 2, race)
        self.assertGreater(race["gain_low"], 1.2, race)
        self.assertLessEqual(race["visits"], 12)
        for name, preset in document["presets"].items():
            self.assertEqual(preset["knobs"]["num_thread"], 2, name)
        best = document["presets"]["fast_response"]["decode_equal_per_s"]["mean"]
        self.assertGreater(best, 2 * document["baseline"]["decode_equal_per_s"]["mean"])
        self.assertIn("num_thread 2", self.o3("preset", "show", "smollm2:135m").out.replace("\n", " "))
        self.assertLessEqual({"baseline-512", "compare-2", "compare-3"}, self.purposes())

    def test_nothing_helps(self):
        record, run, document = self.raced(speed={"cpus": 2})
        self.check_exit(run, DONE)
        self.assertIn(document["race"]["verdict"], ("default", "undecided"), document["race"])
        self.assertTrue(document["race"]["why"])
        for preset in document["presets"].values():
            self.assertIsNone(preset["knobs"]["num_thread"])
            self.assertEqual(preset["knobs"]["num_batch"], 512)

    def test_a_visit_that_fails_is_no_winner(self):
        """A batch that kills the runner costs its own visits only."""
        record, run, document = self.raced(speed={"cpus": 2}, faults=[
            {"on": "loading", "num_batch_above": 600, "do": "http", "text": "llama runner process has terminated"}])
        self.check_exit(run, DONE)
        self.assertEqual(get(document, "ceiling.proven_tokens"), 2048)
        self.assertEqual(document["race"]["knobs"]["num_batch"], 512)

    def test_kept(self):
        record, run, document = self.raced("--keep-knobs")
        self.check_exit(run, DONE)
        self.assertEqual(document["race"]["verdict"], "not-run")
        self.assertIn("--keep-knobs", document["race"]["why"])
        self.assertEqual(document["race"]["visits"], 0)
        self.assertIsNone(document["race"]["gain"])

    def test_a_default_that_cannot_be_seen_is_measured(self):
        """The runner's command line is not there to be read: nobody knows whether the default is what a row is."""
        record, run, document = self.raced("--keep-knobs")
        self.check_exit(run, DONE)
        self.assertIsNone(document["baseline"]["knobs"]["num_batch"])
        self.assertLessEqual({"baseline-512", "compare-2", "compare-3"}, self.purposes())
        self.assertEqual(document["baseline"]["decode_equal_per_s"]["n"], 3, "its own visit and two rounds")

    def test_gate(self):
        record, run, document = self.raced("--keep-knobs", "--gate", "proven")
        self.check_exit(run, DONE)
        record, run, document = self.raced("--keep-knobs", "--gate", "proven,decided", "--force")
        self.check_exit(run, GATE)
        self.assertIn("decided", run.err)
        self.assertEqual(get(document, "ceiling.proven_tokens"), 2048, "the answer is printed all the same")
        self.check_sentence(self.o3("optimize", "smollm2:135m", "--gate", "lucky"), "lucky", "proven, decided and floor",
                            wanted=USAGE)

    def test_too_noisy_to_tell(self):
        """Half of a step's time is noise: what is not shown keeps the default, that is said, and the gate does not open.
        What larger batches bring here (1.7 % of prefill) may still be seen."""
        record, run, document = self.raced("--gate", "decided", speed={"cpus": 2, "jitter": 0.5})
        race = document["race"]
        self.assertIn(race["verdict"], ("undecided", "default", "winner"), race)
        self.assertIsNone(race["knobs"]["num_thread"])
        if race["verdict"] == "undecided":
            self.check_exit(run, GATE)
            self.assertTrue(find_all(document["notes"], "noise"), document["notes"])
        if race["verdict"] == "winner":
            self.assertLess(race["gain"], 1.05, race)
