# SPDX-License-Identifier: Apache-2.0
"""After the run: presets are listed, shown, exported, applied to the server and read back; history, configuration."""

import json
import unittest

from harness import DONE, MODEL, NOT_FOUND, UNAVAILABLE, USAGE, Case, Fake, QUICK, Sandbox, get

PRESETS = ("max_context", "balanced", "fast_response")


class TestAfterwards(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.shared = Sandbox()
        cls.addClassCleanup(cls.shared.close)
        cls.server = Fake(cls.shared, {**QUICK, "models": [{"trained": 4096}]})
        cls.addClassCleanup(cls.server.kill)
        job = cls("run_job")
        job.box = cls.shared
        cls.result = job.optimize(cls.server, timeout=300)

    def run_job(self):
        """Only so that a Case can be made to start o3 with."""

    def setUp(self):
        self.box = self.shared
        self.check_exit(self.result, DONE)

    def knobs(self, name):
        return {key: value for key, value in self.result.get(f"presets.{name}.knobs").items() if value is not None}

    def test_preset_list(self):
        run = self.o3("preset", "list")
        self.check_exit(run, DONE)
        for name in (MODEL, *PRESETS):
            self.assertIn(name, run.out)
        self.check_exit(self.o3("preset", "list", "--json"), DONE)
        self.assertTrue(self.o3("preset", "list", "--json").json)

    def test_preset_show(self):
        for name in PRESETS:
            run = self.o3("preset", "show", MODEL, name, "--json")
            self.check_exit(run, DONE)
            self.assertEqual(get(run.json, "preset.knobs"), self.result.get(f"presets.{name}.knobs"))

    def test_unknown_preset(self):
        run = self.o3("preset", "show", MODEL, "max_contxt")
        self.check_sentence(run, "max_contxt", "max_context", wanted=NOT_FOUND)
        self.check_sentence(self.o3("apply", MODEL, "fastest", "--host", self.server.url), "fastest", wanted=NOT_FOUND)

    def test_model_without_results(self):
        for command in (("preset", "show", "nope:1b", "balanced"), ("export", "nope:1b", "json"),
                        ("apply", "nope:1b", "balanced", "--host", self.server.url)):
            with self.subTest(command[0]):
                self.check_sentence(self.o3(*command), "nope:1b", "optimize", wanted=NOT_FOUND)

    def test_apply_is_read_back(self):
        before = len(self.server.record.loads)
        run = self.o3("apply", MODEL, "max_context", "--host", self.server.url, "--json")
        self.check_exit(run, DONE)
        create = self.server.record.of("create")[-1].body
        self.assertEqual((create["model"], create["from"]), ("smollm2:135m-o3-max-context", MODEL))
        sent = {key: value for key, value in create["parameters"].items() if value is not None}
        self.assertEqual(sent, self.knobs("max_context"))
        loads = self.server.record.loads[before:]
        self.assertTrue(loads, "it was loaded to be read back")
        self.assertEqual(loads[-1]["num_ctx"], self.knobs("max_context")["num_ctx"])
        self.assertTrue(self.server.record.of("ps")[-1].id > loads[-1]["id"], "and /api/ps was asked")

    def test_apply_notices_when_it_did_not_take(self):
        server = self.fake(models=[{"trained": 4096}], faults=[{"on": "ps", "do": "ps",
                                                               "set": {"context_length": 2048}}])
        run = self.o3("apply", MODEL, "max_context", "--host", server.url)
        self.check_calm(run)
        self.assertNotEqual(run.rc, DONE)
        self.check_sentence(run, "2048")

    def test_apply_without_a_server(self):
        self.check_sentence(self.o3("apply", MODEL, "balanced", "--host", "http://127.0.0.1:9"), wanted=UNAVAILABLE)

    def test_export_json(self):
        run = self.o3("export", MODEL, "json")
        self.check_exit(run, DONE)
        for name in PRESETS:
            self.assertIn(name, run.out)
        json.loads(run.out)

    def test_export_yaml(self):
        run = self.o3("export", MODEL, "yaml")
        self.check_exit(run, DONE)
        for name in PRESETS:
            self.assertRegex(run.out, rf'(?m)^\s*"?{name}"?:')
        self.assertIn(f"num_ctx: {self.knobs('max_context')['num_ctx']}", run.out)

    def test_export_modelfile(self):
        run = self.o3("export", MODEL, "modelfile", "--preset", "max_context")
        self.check_exit(run, DONE)
        lines = run.out.splitlines()
        self.assertIn(f"FROM {MODEL}", lines)
        for key, value in self.knobs("max_context").items():
            self.assertIn(f"PARAMETER {key} {str(value).lower()}", lines)
        keys = {line.split()[1] for line in lines if line.startswith("PARAMETER")}
        self.assertLessEqual(keys, {"num_ctx", "num_batch", "num_gpu", "num_thread", "use_mmap"},
                             "only what Ollama reads")

    def test_export_of_an_unknown_kind(self):
        self.check_sentence(self.o3("export", MODEL, "jsn"), "jsn", "json", wanted=USAGE)

    def test_history(self):
        run = self.o3("history")
        self.check_exit(run, DONE)
        self.assertIn(MODEL, run.out)
        rows = self.o3("history", "--json")
        self.check_exit(rows, DONE)
        self.assertIn(MODEL, rows.out)
        self.assertTrue(rows.json)

    def test_history_needs_no_server_and_no_home(self):
        self.fresh()
        run = self.o3("history", "--json")
        self.check_exit(run, DONE, NOT_FOUND)


class TestConfig(Case):
    def test_show_names_every_key_and_its_origin(self):
        (self.box.work / "o3_ai_config.yaml").write_text("objectives:\n  stability_margin: 0.8\n")
        run = self.o3("config", "show", "--all")
        self.check_exit(run, DONE)
        line = next(line for line in run.out.splitlines() if "stability_margin" in line)
        self.assertIn("0.8", line)
        self.assertIn("o3_ai_config.yaml:2", line)
        for key in ("hardware_monitoring.safety_thresholds.max_ram_percent", "testing.adaptive_timeouts.base_timeout",
                    "learning_system.prediction_model.enabled", "deployment.auto_deployment.update_threshold",
                    "search_strategy.batch_adaptation.initial_batch_large"):
            self.assertIn(key, run.out)
        self.assertTrue(self.o3("config", "show", "--json").json)

    def test_environment_rules_over_the_file(self):
        (self.box.work / "o3_ai_config.yaml").write_text("objectives:\n  stability_margin: 0.8\n")
        run = self.o3("config", "show", env={"O3_OBJECTIVES_STABILITY_MARGIN": "0.7"})
        line = next(line for line in run.out.splitlines() if "stability_margin" in line)
        self.assertIn("0.7", line)
        self.assertIn("O3_OBJECTIVES_STABILITY_MARGIN", line)

    def test_the_users_own_directory(self):
        (self.box.config / "o3").mkdir()
        (self.box.config / "o3" / "o3_ai_config.yaml").write_text("objectives:\n  stability_margin: 0.75\n")
        run = self.o3("config", "show")
        self.assertIn("0.75", next(line for line in run.out.splitlines() if "stability_margin" in line))

    def test_commands_in_a_file_are_never_run(self):
        flag = self.box.work / "ran"
        (self.box.work / "o3_ai_config.yaml").write_text(
            "hardware_monitoring:\n  gpu_handling:\n    nvidia:\n"
            f"      command: touch {flag}\n      temperature_command: touch {flag}\n")
        self.check_exit(self.o3("config", "show"), DONE)
        self.check_exit(self.optimize(self.fake(models=[{"trained": 512}]), "--quick"), DONE)
        self.assertFalse(flag.exists())

    def test_a_preset_of_ones_own(self):
        (self.box.work / "o3_ai_config.yaml").write_text(
            "preset_categories:\n  night_shift:\n    description: long and slow\n"
            "    throughput_weight: 0.1\n    ttft_weight: 0.1\n    target_context_range: [1024, 2048]\n")
        run = self.optimize(self.fake(models=[{"trained": 2048}]), timeout=200)
        self.check_exit(run, DONE)
        self.assertIn("night_shift", run.get("presets"))


class TestHardware(Case):
    def test_hardware(self):
        run = self.o3("hardware")
        self.check_exit(run, DONE)
        self.assertIn("RAM", run.out)
        document = self.o3("hardware", "--json").json
        self.assertIn("ram", [pool["name"] for pool in get(document, "profile.pools")])


if __name__ == "__main__":
    unittest.main()
