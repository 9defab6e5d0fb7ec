# SPDX-License-Identifier: Apache-2.0
"""--own-server on a real Ollama whose memory binds: a quantised KV cache must be found to give the larger window, with its
price, in force and within the limit, and nothing of the user's may be touched."""

import os
import pathlib
import unittest

from harness import DONE, need_root
from test_real_cgroup import counter
from test_real_optimize import RealCase

ONE_SLOT = "testing:\n  concurrency_progression:\n    levels: [1]\n"    # no rows for more: they take minutes


class TestRealServers(RealCase):
    OPTIONS = ("--memory", "220M", "--env", "LLAMA_ARG_CACHE_RAM=0")

    @classmethod
    def setUpClass(cls):
        need_root()
        super().setUpClass()
        folder = cls.engine.env.get("O3_ENGINE_CGROUP")
        if not folder:
            raise unittest.SkipTest("tools/engine made no cgroup")
        cls.group = pathlib.Path(folder)

    def kills(self):
        for name in ("memory.events", "memory.oom_control"):
            if (self.group / name).exists():
                return counter((self.group / name).read_text(), "oom_kill")
        return self.skipTest(f"no oom counter in {self.group}")

    def store(self):
        folder = pathlib.Path(self.engine.env["O3_ENGINE_MODELS"])
        return sorted((str(path), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file())

    def test_quantised_cache_gives_the_larger_window(self):
        config = self.box.work / "one-slot.yaml"
        config.write_text(ONE_SLOT)
        kills, store = self.kills(), self.store()
        run = self.optimize(self.engine, "--own-server", "--keep-knobs", "--no-proof", "--samples", "3", "--preset",
                            "max_context", "--config", config, "--budget", "10m", timeout=700)
        self.check_exit(run, DONE)
        rows = {row["name"]: row for row in run.get("servers")}
        first, quantised = rows["as-is"], rows["kv-q8_0"]
        self.assertIsNone(quantised["note"], run)
        self.assertGreater(quantised["window_tokens"], 1.3 * first["window_tokens"], run)
        self.assertIn("KV q8_0", quantised["in_force"])
        self.assertIn("KV f16", first["in_force"])
        self.assertIn("OLLAMA_KV_CACHE_TYPE=q8_0", quantised["env"])
        if run.get("servers_complete"):     # a busy machine may leave no time for the turns, and says so
            self.assertEqual(quantised["turns"], 4)
            self.assertTrue(0.2 < quantised["decode_ratio"]["mid"] < 2, quantised)
        self.assertEqual(self.kills(), kills, f"something was killed\n{run}")
        self.assertEqual(self.store(), store, "the model store is as it was")
        self.assertEqual((self.group / "cgroup.procs").read_text().split(), [str(self.engine.pid)], "only the user's server")
        self.assertTrue(os.path.isdir(f"/proc/{self.engine.pid}"), "the server lives")


if __name__ == "__main__":
    unittest.main()
