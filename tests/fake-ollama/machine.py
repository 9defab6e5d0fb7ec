# SPDX-License-Identifier: Apache-2.0
"""The state behind the routes: models, runners, their prefix caches, and how long everything takes.

Times are the script's, scaled, and really slept; what is reported to the client is what the clock showed.
"""

import hashlib
import os
import random
import re
import select
import subprocess
import threading
import time

from models import Model, canonical

SPEED = {
    "prefill_ms_per_token": 3.5,       # at depth 0 ...
    "prefill_ms_per_depth": 0.0013,    # ... and what each token of depth adds
    "decode_ms": 10.0,
    "decode_ms_per_depth": 0.0034,
    "load_ms": 550.0,
    "jitter": 0.01,                    # share, uniform, each way, on every decode step
    "cpus": os.cpu_count() or 1,       # threads beyond these hurt
    "prompt_cache": 16,                # prompts that the prefix cache remembers; 1 = only the last
    "parallel": 1,
}
RUNNER = ("num_ctx", "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread", "draft_num_predict")
NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*){0,3}(:\w[\w.-]*)?")
TYPES = {"use_mmap": bool, **{name: int for name in RUNNER if name != "use_mmap"}}
VOWELS, CONSONANTS = "aeiou", "bcdfghklmnprstvz"
SPICE = ("é", " naïve", " €5", " 日本", " 🙂", ".", ",", " Straße")   # so that UTF-8 is in every stream


class Refusal(Exception):
    """An answer other than 200. `body` is sent as it is when given, else {"error": text}."""

    def __init__(self, status, text):
        super().__init__(text)
        self.status, self.text = status, text


class ClientGone(Exception):
    pass


def now():
    return time.monotonic_ns()


def wait_until(deadline_ns, sock=None):
    """Sleeps; raises ClientGone as soon as the other side hangs up."""
    while (left := deadline_ns - now()) > 0:
        if sock is None:
            time.sleep(left / 1e9)
            continue
        readable, _, _ = select.select([sock], [], [], left / 1e9)
        if readable and not sock.recv(1, 2):      # MSG_PEEK
            raise ClientGone
        if readable:
            sock = None                           # pipelined bytes: they wait


class Runner:
    """One loaded model: what `llama-server` would be."""

    def __init__(self, model, options, auto, size):
        self.model, self.options, self.auto, self.size = model, options, auto, size
        self.num_ctx = options["num_ctx"]
        self.cache = []
        self.expires = float("inf")
        self.process = None

    def cached_tokens(self, tokens):
        best = 0
        for old in self.cache if self.model.fields["reuse"] else ():
            same, end = 0, min(len(old), len(tokens) - 1)   # at least one token is always evaluated
            if old[:end] == tokens[:end]:
                same = end
            else:
                while old[same] == tokens[same]:
                    same += 1
            best = max(best, same)
        return best

    def remember(self, tokens, keep):
        self.cache = [old for old in self.cache if old != tokens[:len(old)]][-(keep - 1):] if keep > 1 else []
        self.cache.append(tokens)

    def show_process(self):
        """A child whose command line says what is in force, as llama-server's would. It only waits for its stdin."""
        o, env = self.options, os.environ.get
        slots, kv, flash = int(env("OLLAMA_NUM_PARALLEL", "1")), env("OLLAMA_KV_CACHE_TYPE"), env("OLLAMA_FLASH_ATTENTION")
        args = ["llama-server", "-s", "--", "--model", f"/nowhere/blobs/sha256-{self.model.blob}", "--port", "0",
                "-c", str(o["num_ctx"] * slots), "-np", str(slots), "-b", str(o["num_batch"]), "-ub", str(o["num_batch"])]
        args += ["--cache-type-k", kv, "--cache-type-v", kv] if kv else []
        args += ["--flash-attn", "auto" if not flash else "off" if flash == "0" else "on"]
        args += ["-ngl", str(o["num_gpu"])] if o["num_gpu"] >= 0 else []
        args += ["-t", str(o["num_thread"])] if o["num_thread"] > 0 else []
        self.process = subprocess.Popen(args, executable="/bin/sh", stdin=subprocess.PIPE)

    def end(self):
        if self.process:
            self.process.stdin.close()
            self.process.wait()


class Machine:
    def __init__(self, script, record, faults):
        self.record, self.faults = record, faults
        self.version = script.get("version", "0.32.15")
        self.era = tuple(int(part) for part in self.version.split("-")[0].split("."))
        self.speed = {**SPEED, **script.get("speed", {})}
        self.scale = script.get("time_scale", 1.0)              # of prefill and loads
        self.decode_scale = script.get("decode_scale", 1.0)
        self.default_ctx = script.get("default_ctx", 4096)
        self.gpu = script.get("gpu", False)                     # whether size_vram is size or 0
        self.runner_process = script.get("runner_process", False)
        self.models = {m.name: m for m in map(Model, script.get("models", [{}]))}
        self.pullable = {m.name: m for m in map(Model, script.get("pullable", []))}
        self.runners = {}                                       # by blob
        self.slot, self.state = threading.Lock(), threading.RLock()
        self.random = random.Random(script.get("seed", 1))
        for name, num_ctx in script.get("loaded", {}).items():  # by somebody else, before the client comes
            model = self.find(name)
            options, auto = self.options(model, {"num_ctx": num_ctx})
            size = model.size_bytes(options["num_ctx"], options["num_batch"])
            self.runners[model.blob] = Runner(model, options, auto, size)

    def since(self, *version):
        return self.era >= version or self.era == (0, 0, 0)

    # models ------------------------------------------------------------------------------------------------------
    @staticmethod
    def check_name(name):
        if not isinstance(name, str) or not name:
            raise Refusal(400, "model is required")
        if not NAME.fullmatch(name) or len(name) > 250:
            raise Refusal(400, "invalid model name")

    def find(self, name, spell=str):
        """The model of that name. /api/show spells an unknown name in full, the other routes as it was sent."""
        self.check_name(name)
        found = self.models.get(canonical(name))
        if not found:
            raise Refusal(404, f"model '{spell(name)}' not found")
        return found

    def forget(self, model):
        with self.state:
            self.models.pop(model.name, None)
            if not any(m.blob == model.blob for m in self.models.values()):
                self.drop(self.runners.get(model.blob))

    def create(self, name, base, parameters):
        base = self.models.get(canonical(base or ""))
        if not base:
            return False        # Ollama would ask its registry
        merged = {**base.fields["parameters"], **(parameters or {})}
        fields = {**base.fields, "name": canonical(name), "parameters": merged,
                  "from": base.fields["from"] or base.name}
        with self.state:
            self.models[fields["name"]] = Model(fields)
        return True

    # runners -----------------------------------------------------------------------------------------------------
    def options(self, model, asked):
        """(runner options in force, the set of those that nobody chose). Unknown keys are ignored, as by Ollama."""
        given = {**model.fields["parameters"], **(asked or {})}
        chosen = {}
        for key, kind in TYPES.items():
            value = given.get(key)
            if value is None:
                continue
            good = isinstance(value, bool) if kind is bool else isinstance(value, (int, float)) and value is not True
            if not good:
                raise Refusal(500, f'option "{key}" must be of type {"boolean" if kind is bool else "integer"}')
            chosen[key] = kind(value)
        num_ctx = min(max(chosen.get("num_ctx", self.default_ctx), 4), model.trained)
        automatic = 512 if num_ctx <= 4096 else 1024 if num_ctx <= 32768 else 2048
        base = {"num_batch": automatic if self.since(0, 30) else 512, "num_gpu": -1, "main_gpu": None,
                "use_mmap": None, "num_thread": 0, "draft_num_predict": 4}
        return {**base, **chosen, "num_ctx": num_ctx}, set(TYPES) - set(chosen)

    @staticmethod
    def needs_reload(runner, options, auto):
        for key in RUNNER:
            if key in ("num_ctx", "num_batch", "use_mmap") and key in auto and key in runner.auto:
                continue
            if key == "num_gpu" and options[key] == -1:
                continue
            if runner.options[key] != options[key]:
                return True
        return False

    def drop(self, runner):
        if runner and self.runners.get(runner.model.blob) is runner:
            del self.runners[runner.model.blob]
            runner.end()

    def expire(self):
        with self.state:
            for runner in [r for r in self.runners.values() if r.expires <= time.monotonic()]:
                self.drop(runner)

    def runner(self, request, model, asked):
        """The runner for these options: the loaded one, or a new one (counted, slept, recorded)."""
        options, auto = self.options(model, asked)
        with self.state:
            old = self.runners.get(model.blob)
            if old and not self.needs_reload(old, options, auto):
                return old
            self.drop(old)
        started = now()
        plan = self.faults.plan("loading", num_ctx=options["num_ctx"], num_batch=options["num_batch"], model=model.name)
        size = model.size_bytes(options["num_ctx"], options["num_batch"])
        event = {"ev": "load", "id": request.id, "t": started, "model": model.name, "size": size, "ok": not plan,
                 **options}
        self.record(event)
        wait_until(started + int(self.speed["load_ms"] * 1e6 * self.scale), request.sock)
        request.apply_early(plan)
        runner = Runner(model, options, auto, size)
        if self.runner_process:
            runner.show_process()
        with self.state:
            self.runners[model.blob] = runner
        return runner

    # time --------------------------------------------------------------------------------------------------------
    def prefill_ns(self, runner, start, end, factor):
        s, threads = self.speed, runner.options["num_thread"] or int(os.environ.get("LLAMA_ARG_THREADS", self.speed["cpus"]))
        batch = 1 + 12 / runner.options["num_batch"]
        crowd = s["cpus"] / threads if threads < s["cpus"] else 1.1 if threads > s["cpus"] else 1.0
        ms = s["prefill_ms_per_token"] * (end - start) + s["prefill_ms_per_depth"] * (end * end - start * start) / 2
        return int(ms * 1e6 * batch * crowd * factor * self.scale)

    def decode_ns(self, runner, depth, factor):
        s, threads = self.speed, runner.options["num_thread"] or int(os.environ.get("LLAMA_ARG_THREADS", self.speed["cpus"]))
        crowd = s["cpus"] / threads if threads < s["cpus"] else 2.6 if threads > s["cpus"] else 1.0
        ms = s["decode_ms"] + s["decode_ms_per_depth"] * depth
        noise = 1 + s["jitter"] * self.random.uniform(-1, 1)
        return int(ms * 1e6 * crowd * factor * noise * self.decode_scale)

    def word(self, rng):
        if rng.random() < 0.15:
            return rng.choice(SPICE)
        return " " + "".join(rng.choice(CONSONANTS) + rng.choice(VOWELS) for _ in range(rng.randint(1, 4)))

    def fit_prompt(self, runner, tokens, truncate, plan):
        """What is evaluated of a prompt: all of it, a silent cut, or a refusal - as the era does it."""
        count, window = len(tokens), runner.num_ctx
        if "cut" in plan:
            return tokens[count - int(count * plan["cut"]["frac"]):]
        if count < window:
            return tokens
        if truncate is False and self.since(0, 12, 6):
            if not self.since(0, 30):
                raise Refusal(400, "the input length exceeds the context length")
            raise Refusal(400, '{"error":{"code":400,"message":"request (%d tokens) exceeds the available context '
                               'size (%d tokens), try increasing it","type":"exceed_context_size_error",'
                               '"n_prompt_tokens":%d,"n_ctx":%d}}' % (count, window, count, window))
        keep = 4
        total = window - (window - keep) // 2 if self.since(0, 30, 11) else window - self.since(0, 30)
        return tokens[:keep] + tokens[count - (total - keep):]

    def ps_row(self, runner):
        vram = runner.size if self.gpu and runner.options["num_gpu"] != 0 else 0
        row = {"name": runner.model.name, "model": runner.model.name, "size": runner.size,
               "digest": runner.model.digest, "details": runner.model.details(),
               "expires_at": "2318-11-22T16:00:00.0Z", "size_vram": vram}
        if self.since(0, 10):
            row["context_length"] = runner.num_ctx
        plan = self.faults.plan("ps", num_ctx=runner.num_ctx, model=runner.model.name).get("ps", {})
        for key, factor in plan.get("scale", {}).items():
            row[key] = int((row["size"] if key == "size_vram" else row[key]) * factor)
        row.update(plan.get("set", {}))
        return {key: value for key, value in row.items() if key not in plan.get("drop", [])}

    def text_id(self, prompt):
        return hashlib.sha256(prompt.encode()).hexdigest()[:16]
