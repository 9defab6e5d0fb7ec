# SPDX-License-Identifier: Apache-2.0
"""Heat: the request is cancelled, O3 waits until the machine is cool and goes on with a smaller num_batch.

The sensor is a made one, put in the place of the machine's own for this o3 alone (a mount of its own), and as hot as the
request that the server answers makes it.
"""

import os
import pathlib
import re
import signal
import subprocess
import threading
import time
import unittest

from harness import DONE, INTERRUPTED, MODEL, UNSAFE, Case, need_program, need_root

COOL, HOT = 60000, 91000
# A window of 1024 takes three seconds: three readings, half a second apart, have to be hot.
SCRIPT = {"models": [{"trained": 1024}], "time_scale": 0.8, "decode_scale": 0.05}


class Oven:
    """Writes the temperature that `heats(options)` of the running request makes, twenty times a second."""

    def __init__(self, box, record, heats):
        self.folder, self.record, self.heats = box.path / "sensors", record, heats
        self.chip = pathlib.Path("/sys/class/hwmon")
        if self.chip.is_dir():
            place, name, kind = "hwmon0", "name", "coretemp"
        else:
            self.chip, place, name, kind = pathlib.Path("/sys/class/thermal"), "thermal_zone0", "type", "x86_pkg_temp"
        here = self.folder / place
        here.mkdir(parents=True)
        (here / name).write_text(kind + "\n")
        (here / "temp1_label").write_text("Package id 0\n")
        self.file = here / ("temp1_input" if name == "name" else "temp")
        self.file.write_text(f"{COOL}\n")
        self.sensor, self.ended = os.open(self.file, os.O_WRONLY), threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    @property
    def prefix(self):
        return ("unshare", "--mount", "sh", "-c", f'mount --bind {self.folder} {self.chip} && exec "$@"', "o3")

    def run(self):
        while not self.ended.wait(0.05):
            last = next((request for request in reversed(self.record().of("generate"))), None)
            busy = last and not last.end and not last.done
            os.pwrite(self.sensor, b"%d\n" % (HOT if self.heats(last.body.get("options") or {} if busy else None) else COOL), 0)

    def close(self):
        self.ended.set()
        self.thread.join()
        os.close(self.sensor)


class TestHeat(Case):
    def setUp(self):
        super().setUp()
        need_root()
        need_program("unshare")
        self.server = self.fake(**SCRIPT)

    def start_in(self, heats, *args):
        oven = Oven(self.box, lambda: self.server.record, heats)
        self.addCleanup(oven.close)
        self.oven = oven
        there = subprocess.run([*oven.prefix, "true"], capture_output=True, text=True)
        if there.returncode:
            self.skipTest(f"no mount of its own here: {there.stderr.strip()}")
        return self.start_again(*args)

    def start_again(self, *args):
        return self.start("optimize", MODEL, "--host", self.server.url, "--json", "--keep-knobs", "--samples", "3",
                          "--preset", "max_context", *args, prefix=self.oven.prefix)

    def batches(self, outcome):
        return sorted({row["asked_num_batch"] for row in self.trials() if row["outcome"] == outcome}, reverse=True)

    def test_goes_on_milder(self):
        """512 is too hot, 256 too, 128 is not: the answer is proven with 128 and says why."""
        run = self.start_in(lambda options: options and options.get("num_batch", 0) > 128, "--budget", "5m").wait(300)
        self.check_exit(run, DONE)
        self.assertEqual(run.get("ceiling.proven_tokens"), 1024, run)
        self.assertEqual(self.batches("too-hot"), [512, 256])
        for row in self.trials():
            if row["outcome"] == "too-hot":
                self.assertIn("CPU at 91 °C (median of three readings), over the limit of 85 °C", row["reason"])
                self.assertIn("cool again after", row["reason"])
        for name, preset in run.get("presets").items():
            self.assertEqual(preset["knobs"]["num_batch"], 128)
            self.assertTrue(any(note.startswith(f"{name}: num_batch 128, because larger ones made this machine too hot")
                                for note in run.get("notes")), run.get("notes"))
        self.assertRegex(run.err, r"Paused +CPU at \d\d °C, to be below 75 °C")
        # Nothing ran on while it was hot: each such request was cancelled and the model unloaded.
        hot = [request for request in self.server.record.of("generate") if (request.body.get("options") or {}).get("num_batch", 0) > 128]
        self.assertFalse([request for request in hot if request.done and request.eval["tokens"] > 900], "a hot fill went on")

    def test_below(self):
        """Windows above 512 are too hot with any batch: the search goes on below them."""
        run = self.start_in(lambda options: options and options.get("num_ctx", 0) > 512, "--budget", "5m").wait(300)
        self.check_exit(run, DONE)
        self.assertIn(run.get("ceiling.proven_tokens"), range(256, 513), run)
        self.assertEqual(self.batches("too-hot"), [512, 256, 128])
        self.assertIn("too hot", " ".join(run.get("notes")))

    def test_stays_hot(self):
        """What does not cool is given up within the budget, with the reading."""
        ever = []
        run = self.start_in(lambda options: ever or (options and ever.append(1)), "--budget", "40s").wait(120)
        said = self.check_sentence(run, "CPU at 91 °C", "not cool after", wanted=UNSAFE)
        self.assertLess(float(re.search(r"not cool after ([\d.]+) s", said)[1]), 0.25 * 40 + 1)

    def test_interrupted_in_the_pause(self):
        """Ctrl-C ends a pause that would last a minute; the next run goes on from it with the smaller batch."""
        ever = []
        started = self.start_in(lambda options: 2 not in ever and (ever or (options and ever.append(1))), "--budget", "5m")
        end = time.monotonic() + 60
        while "Paused " not in started.err():
            self.assertLess(time.monotonic(), end, started.err())
            time.sleep(0.05)
        started.kill(signal.SIGINT)
        self.check_exit(started.wait(30), INTERRUPTED)
        self.assertEqual(self.batches("too-hot"), [512])
        ever.append(2)      # it has cooled since
        run = self.start_again("--budget", "5m").wait(300)
        self.check_exit(run, DONE)
        self.assertEqual(run.get("presets.max_context.knobs.num_batch"), 256)
        self.assertEqual(self.batches("too-hot"), [512])


if __name__ == "__main__":
    unittest.main()
