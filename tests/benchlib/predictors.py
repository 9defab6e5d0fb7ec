# SPDX-License-Identifier: Apache-2.0
"""Who says how much memory a GGUF file needs at a setting, and what the real engine then took.

A predictor has a name, command(file, num_ctx, num_batch) and read(stdout), which gives bytes by part; NaN = it does not
say. The truth is the buffers that the runner logs. /api/ps is a part of its own: Ollama keeps one line of a kind, so a
model with a sliding window, which has two KV caches, is listed without the larger one.
"""

import json
import math
import os
import pathlib
import re
import shutil
import subprocess
import unittest
import urllib.request

from harness import O3, ROOT

MIB = 1 << 20
PARTS = ("weights", "kv", "compute", "total", "/api/ps")
PEER = ROOT / "tests" / "bench-peers" / "gguf-parser"
BUFFER = re.compile(r"\b(model|KV|RS|compute|output) buffer size\s*=\s*([\d.]+) MiB")
# What the runner logs -> our word for it.
KINDS = {"model": "weights", "KV": "kv", "RS": "kv", "compute": "compute", "output": "output"}


class Predictor:
    def __init__(self, name, command, read):
        self.name, self.command, self.read = name, command, read

    def ask(self, file, num_ctx, num_batch, env):
        asked = subprocess.run([str(word) for word in self.command(file, num_ctx, num_batch)], env=env, text=True,
                               stdin=subprocess.DEVNULL, capture_output=True)
        if asked.returncode:
            last = (asked.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise unittest.SkipTest(f"{self.name}: exit {asked.returncode}, {last}")
        return self.read(asked.stdout)


def middle(value):
    """Of {low, mid, high}, or the plain number of what is exact."""
    return value["mid"] if isinstance(value, dict) else value


def read_o3(text):
    memory = json.loads(text)["memory"]
    weights, kv, state, compute, output, size = (middle(memory[name + "_bytes"]) for name in (
        "weights", "kv", "state", "compute", "output", "size"))
    return {"weights": weights, "kv": kv + state, "compute": compute, "total": weights + kv + state + compute + output,
            "/api/ps": size}


def o3():
    return Predictor("o3 predict --gguf", lambda file, num_ctx, num_batch: [
        O3, "predict", "--gguf", file, "--num-ctx", num_ctx, "--num-batch", num_batch, "--parallel", 1, "--json"],
        read_o3)


def read_fit(text):
    """`Host 92 180 98`: model, context, compute in whole MiB."""
    found = re.search(r"^Host (\d+) (\d+) (\d+)\s*$", text, re.M)
    if not found:
        raise unittest.SkipTest(f"llama-fit-params printed no line of the host but {text[:80]!r}")
    weights, kv, compute = (int(word) * MIB for word in found.groups())
    return {"weights": weights, "kv": kv, "compute": compute, "total": weights + kv + compute,
            "/api/ps": math.nan}


def fit_params(runner):
    """The engine's own estimator, beside its runner."""
    program = pathlib.Path(runner).with_name("llama-fit-params")
    if not program.exists():
        raise unittest.SkipTest(f"llama-fit-params is not beside {pathlib.Path(runner).name}")
    return Predictor("llama-fit-params", lambda file, num_ctx, num_batch: [
        program, "-m", file, "-c", num_ctx, "-b", num_batch, "-ub", num_batch, "-np", 1, "-fa", "on", "-fitp", "on"],
        read_fit)


def read_gguf_parser(text):
    said = json.loads(text)
    return {"weights": said["weights_bytes"], "kv": said["kv_bytes"], "compute": said["compute_bytes"],
            "total": sum(said.values()), "/api/ps": math.nan}


def gguf_parser():
    """The Go library behind GPUStack, called by a program of ours that is built into the user's cache."""
    version = re.search(r"^require \S+ (v\S+)$", (PEER / "go.mod").read_text(), re.M)[1]
    if not shutil.which("go"):
        raise unittest.SkipTest("gguf-parser-go needs the Go toolchain (go) to be built")
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "o3" / "bench-peers"
    program = cache / f"gguf-parser-{version}"
    cache.mkdir(parents=True, exist_ok=True)
    try:
        subprocess.run(["go", "build", "-o", program, "."], cwd=PEER, text=True, stdin=subprocess.DEVNULL,
                       capture_output=True, timeout=300, check=True)
    except subprocess.SubprocessError as error:
        reason = ((getattr(error, "stderr", None) or "").strip() or str(error)).splitlines()[-1]
        raise unittest.SkipTest(f"gguf-parser-go {version} cannot be built: {reason}") from None
    return Predictor(f"gguf-parser-go {version}", lambda *words: [program, *words], read_gguf_parser)


class Truth:
    """A real server: loads a model at a setting and tells what that took."""

    def __init__(self, engine):
        self.host, self.log = engine.host, pathlib.Path(engine.env["O3_ENGINE_LOG"])

    def api(self, path, body=None):
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(f"{self.host}/api/{path}", body and json.dumps(body).encode(), timeout=120) as answer:
            return json.load(answer)

    def file(self, model):
        """The blob that a model's FROM line names: the very file that the engine loads."""
        return re.search(r"(?m)^FROM (/.*)$", self.api("show", {"model": model})["modelfile"])[1]

    def runner(self):
        """Path of the llama-server that was started last."""
        found = re.findall(r'starting llama-server" cmd="(\S+)', self.log.read_text(errors="replace"))
        if not found:
            raise unittest.SkipTest("the engine's log names no llama-server")
        return found[-1]

    def buffers(self, model, num_ctx, num_batch):
        """Bytes by part, as its runner logs them while it loads."""
        seen = self.log.stat().st_size
        self.api("generate", {"model": model, "keep_alive": 0})     # a runner of the same setting would stay
        self.api("generate", {"model": model, "options": {"num_ctx": num_ctx, "num_batch": num_batch}})
        loaded = self.log.read_bytes()[seen:].decode(errors="replace").rpartition("loading model tensors")[2]
        parts = dict.fromkeys((*PARTS, "output"), 0.0)
        for kind, mib in BUFFER.findall(loaded):
            parts[KINDS[kind]] += float(mib) * MIB
            parts["total"] += float(mib) * MIB
        if not parts["weights"] or not parts["compute"]:
            raise unittest.SkipTest(f"the log of this engine tells no buffers of {model}")
        row = next(row for row in self.api("ps")["models"] if row["model"] == model)
        if row["context_length"] != num_ctx:
            raise unittest.SkipTest(f"{model} was loaded with {row['context_length']} tokens instead of {num_ctx}")
        return {**parts, "/api/ps": row["size"]}


def error(said, true):
    return said / true - 1 if true else math.nan


def header_bytes(path):
    """Length of a GGUF file's header: what a reader of its metadata and tensor list has to read."""
    sizes = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
    with open(path, "rb") as file:
        def number(count):
            return int.from_bytes(file.read(count), "little")

        def skip(kind):
            if kind == 8:
                file.seek(number(8), 1)
            elif kind == 9:
                inner, count = number(4), number(8)
                if inner in sizes:
                    file.seek(sizes[inner] * count, 1)
                else:
                    for _ in range(count):
                        skip(inner)
            else:
                file.seek(sizes[kind], 1)

        if file.read(4) != b"GGUF" or number(4) not in (2, 3):
            raise unittest.SkipTest(f"{path} is no GGUF file of version 2 or 3")
        tensors, keys = number(8), number(8)
        for _ in range(keys):
            skip(8)
            skip(number(4))
        for _ in range(tensors):
            skip(8)
            file.seek(8 * number(4) + 4 + 8, 1)
        return file.tell()
