# SPDX-License-Identifier: Apache-2.0
"""A real memory ceiling: a real Ollama within 320 MiB, where HTTP says 200 while the machine thrashes, and where one
step too far kills the runner. O3 has to stop before either."""

import os
import pathlib
import re
import unittest

from harness import DONE, need_root
from test_real_optimize import RealCase

SAFE = range(3584, 5632 + 1)    # docs: measured rows of this ceiling


def counter(text, name):
    found = re.search(rf"(?m)^{name} (\d+)$", text)
    return int(found[1]) if found else 0


class TestRealCgroup(RealCase):
    OPTIONS = ("--memory", "320M", "--env", "LLAMA_ARG_CACHE_RAM=0")

    @classmethod
    def setUpClass(cls):
        need_root()
        super().setUpClass()
        folder = cls.engine.env.get("O3_ENGINE_CGROUP")
        if not folder:
            raise unittest.SkipTest("tools/engine made no cgroup")
        cls.group = pathlib.Path(folder)

    def kills(self):
        """How often the kernel killed in there, by either version of cgroups."""
        for name in ("memory.events", "memory.oom_control"):
            if (self.group / name).exists():
                return counter((self.group / name).read_text(), "oom_kill")
        return self.skipTest(f"no oom counter in {self.group}")

    def test_proven_and_never_killed(self):
        before = self.kills()
        run = self.optimize(self.engine, "--budget", "6m", timeout=460)
        self.assertEqual(self.kills(), before, f"the runner was killed\n{run}")
        self.check_exit(run, DONE)
        proven = run.get("ceiling.proven_tokens")
        self.assertIn(proven, SAFE, run)
        limit = 320 * 1024 * 1024
        peaks = run.get("presets.max_context.peaks")
        pools = {name: value for name, value in peaks.items() if str(name).startswith("cgroup")}
        self.assertTrue(pools, f"the cgroup is among the peaks: {peaks}")
        for name, value in pools.items():
            size = value if isinstance(value, int) else value["bytes"]
            self.assertLessEqual(size, 0.85 * limit * 1.02, f"{name}: what cannot be reclaimed stays below 85 %")
        for trial in self.trials():
            self.assertNotIn(trial["outcome"], ("oom-run", "oom-load", "crash"), dict(trial))
        self.assertTrue(os.path.isdir(f"/proc/{self.engine.pid}"), "the server lives")


if __name__ == "__main__":
    unittest.main()
