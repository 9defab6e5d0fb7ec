# SPDX-License-Identifier: Apache-2.0
"""What `o3 predict` says before a load against what the real engine reports after it: the size in /api/ps on both
releases, and each memory's bytes on the software GPU. The whole grid is a case of tests/proof (predict)."""

import json
import pathlib
import re
import unittest
import urllib.request

from harness import Case, DONE, Engine

MODELS = ("smollm2:135m", "gemma3:270m")
BOTH = ("--model", "smollm2", "--model", "gemma3")
MIB = 1 << 20
BUFFER = re.compile(r"(\S+) +(?:model|KV|RS|compute|output) buffer size = +([\d.]+) MiB")


def call(host, path, body=None):
    host = host if "://" in host else "http://" + host
    data = json.dumps(body).encode() if body else None
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(urllib.request.Request(host + path, data=data), timeout=300) as answer:
        return json.load(answer)


def load(engine, model, **knobs):
    """Loads the model and gives its row of /api/ps."""
    call(engine.host, "/api/generate", {"model": model, "options": knobs, "keep_alive": 60})
    return next(row for row in call(engine.host, "/api/ps")["models"] if row["name"] == model)


def flags(**knobs):
    return [word for name, value in knobs.items() for word in (f"--{name.replace('_', '-')}", value)]


def size_error(o3, engine, model, slots, **knobs):
    """Relative error of the predicted size, and whether the interval holds what /api/ps says."""
    said = o3("predict", model, "--host", engine.host, "--json", "--parallel", slots, *flags(**knobs))
    if said.rc != DONE:
        raise AssertionError(str(said))
    size, measured = said.get("memory.size_bytes"), load(engine, model, **knobs)["size"]
    return size["mid"] / measured - 1, size["low"] <= measured <= size["high"]


class Sizes:
    """One release; the server has two slots."""

    RELEASE = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.engine = Engine("--release", cls.RELEASE, *BOTH, "--env", "OLLAMA_NUM_PARALLEL=2")

    @classmethod
    def tearDownClass(cls):
        cls.engine.down()

    def test_size_in_ps(self):
        for model in MODELS:
            for num_ctx, num_batch in ((1000, 512), (4096, 128), (8192, 1024)):
                with self.subTest(model=model, num_ctx=num_ctx, num_batch=num_batch):
                    error, inside = size_error(self.o3, self.engine, model, 2, num_ctx=num_ctx, num_batch=num_batch)
                    self.assertLessEqual(abs(error), 0.01)
                    self.assertTrue(inside)


class TestNewRelease(Sizes, Case):
    RELEASE = "new"


class TestOldRelease(Sizes, Case):
    RELEASE = "old"


class TestSoftwareGpu(Case):
    """Bytes of the host and of the device, as the log of the load has them."""

    MACHINE = {"memory": {"ram_bytes": "24GiB"}, "cpu": {"usable": 2},
               "gpus": [{"name": "llvmpipe", "vendor": "software", "memory_bytes": "2048MiB", "max_tensor_bytes": "128MiB"}]}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.engine = Engine("--gpu", *BOTH)

    @classmethod
    def tearDownClass(cls):
        cls.engine.down()

    def measured(self, model, **knobs):
        """(host, device) in MiB."""
        log = pathlib.Path(self.engine.env["O3_ENGINE_LOG"])
        before = log.stat().st_size
        load(self.engine, model, **knobs)
        with log.open(errors="replace") as file:
            file.seek(before)
            text = file.read()
        last = text[text.rindex("layers to GPU"):]     # what comes before is the search for a fit
        sums = [0.0, 0.0]
        for device, mib in BUFFER.findall(last):
            sums[device.startswith("Vulkan") and not device.endswith("_Host")] += float(mib)
        return sums

    def test_bytes_of_each_memory(self):
        machine = self.box.work / "machine.json"
        machine.write_text(json.dumps(self.MACHINE))
        for model, num_gpu in ((MODELS[0], None), (MODELS[0], 10), (MODELS[1], None), (MODELS[1], 5)):
            knobs = {"num_ctx": 4096, "num_batch": 512, **({} if num_gpu is None else {"num_gpu": num_gpu})}
            with self.subTest(model=model, num_gpu=num_gpu):
                said = self.o3("predict", model, "--host", self.engine.host, "--machine", machine, "--json", *flags(**knobs))
                self.assertEqual(said.rc, DONE, said)
                pools = [sum(pool[f"{part}_bytes"] for part in ("weights", "kv", "state", "compute", "output")) / MIB
                         for pool in said.get("memory.pools")]
                for predicted, measured in zip(pools, self.measured(model, **knobs), strict=True):
                    self.assertLessEqual(abs(predicted / measured - 1), 0.03 if num_gpu is None else 0.06)


if __name__ == "__main__":
    unittest.main()
