# SPDX-License-Identifier: Apache-2.0
"""Visits of a real server: one load with given settings, seen to be in force, and a few samples of prefill and decode,
those beside a busy neighbour taken again. Every sample goes into a file of JSON lines at once."""

import json
import pathlib
import time

from paired import score
from rates import ask, call, decode_rate, prose
from timing import busy_share

LEAST_TOKENS = 16       # of a decode sample: below that a rate says nothing
LOOK_S = 0.5            # one look whether the CPUs are idle
WAITS, WAIT_S = 40, 3   # of one visit, for neighbours to end
FLAGS = {"num_thread": "-t", "num_batch": "-b", "num_ctx": "-c"}    # of the runner's command line


def text_of(knobs):
    return ", ".join(f"{name} {value}" for name, value in sorted(knobs.items())) or "the server's own"


def runner_flags(pid):
    """{flag: value} of the runner that this server started."""
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rsplit(")", 1)[1].split()[1]) != pid:
                continue
            words = (stat.parent / "cmdline").read_text().split("\0")
        except OSError:     # it ended while we looked
            continue
        if "llama-server" in words[0]:
            return dict(zip(words, words[1:]))
    raise RuntimeError(f"the server (pid {pid}) has no llama-server; its settings cannot be seen")


class Visitor:
    def __init__(self, engine, model, data, limit, samples):
        self.engine, self.model, self.data, self.limit, self.samples = engine, model, data, limit, samples
        self.num_ctx, self.prompt_tokens, self.decode_weight = 4096, 1024, 0.5
        self.words_per_token, self.texts, self.visits, self.noisy, self.waits = 0.6, 0, 0, 0, 0

    def plan(self, race):
        """What the race did: the same window, prompt and score."""
        self.num_ctx, self.prompt_tokens, self.decode_weight = (
            race[name] for name in ("num_ctx", "prompt_tokens", "decode_weight"))

    def keep(self, **line):
        self.data.write(json.dumps(line) + "\n")
        self.data.flush()

    def wait_for_quiet(self):
        """How busy others kept the CPUs at the last look. A visit's patience is used up once."""
        while (busy := busy_share(LOOK_S)) > self.limit and self.waits > 0:
            self.waits -= 1
            time.sleep(WAIT_S)
        return busy

    def unload(self):
        call(self.engine, "/api/generate", {"model": self.model, "keep_alive": 0})
        for _ in range(200):
            if not self.loaded():
                return
            time.sleep(0.05)
        raise RuntimeError(f"{self.model} is still loaded 10 s after it was to be unloaded")

    def loaded(self):
        return call(self.engine, "/api/ps").get("models")

    def ask(self, knobs, tokens):
        """One prompt that no other begins like: (reply, foreign share)."""
        self.texts += 1
        words = [f"{self.texts}."] + prose(f"grid {self.texts}", self.num_ctx)[:int(tokens * self.words_per_token)]
        reply, foreign = ask(self.engine, self.model, words, {"num_ctx": self.num_ctx, "seed": self.texts, **knobs})
        if reply.get("prompt_eval_count", 0) >= 64:
            self.words_per_token = len(words) / reply["prompt_eval_count"]
        return reply, foreign

    def check_effect(self, knobs):
        flags = runner_flags(self.engine.pid)
        for name, flag in FLAGS.items():
            if name in knobs and flags.get(flag) != str(knobs[name]):
                raise RuntimeError(f"{name} {knobs[name]} is not in force: the runner has {flag} {flags.get(flag)}")
        return {name: flags.get(flag) for name, flag in FLAGS.items()}

    def sample(self, knobs):
        reply, foreign = self.ask(knobs, self.prompt_tokens)
        if reply.get("eval_count", 0) < LEAST_TOKENS:
            return None     # the repeat guard, or an early end: another text
        return {"prompt_tokens": reply["prompt_eval_count"], "foreign": round(foreign, 3),
                "prefill_per_s": round(reply["prompt_eval_count"] / reply["prompt_eval_duration"] * 1e9, 2),
                "decode_per_s": round(decode_rate(reply), 2)}

    def visit(self, why, knobs):
        """The score of one fresh load; the line in the data has all samples, also those that do not count."""
        self.waits = WAITS
        before, taken = self.wait_for_quiet(), []
        self.unload()
        begin = time.monotonic()
        self.ask(knobs, 64)     # loads, warms up
        in_force = self.check_effect({**knobs, "num_ctx": self.num_ctx})
        good = lambda: [s for s in taken if s["foreign"] <= self.limit]
        for _ in range(3 * self.samples):
            if len(good()) >= self.samples:
                break
            taken += filter(None, [self.sample(knobs)])
            if taken and taken[-1]["foreign"] > self.limit:
                self.wait_for_quiet()
        seconds, after = time.monotonic() - begin, busy_share(LOOK_S)
        if len(taken) < self.samples:
            raise RuntimeError(f"{text_of(knobs)}: only {len(taken)} of {3 * self.samples} requests gave a rate")
        noisy = len(good()) < self.samples
        counted = taken if noisy else good()
        value = score([s["decode_per_s"] for s in counted], [s["prefill_per_s"] for s in counted], self.decode_weight)
        self.visits, self.noisy = self.visits + 1, self.noisy + noisy
        self.keep(kind="visit", why=why, knobs=knobs, in_force=in_force, score=round(value, 3), noisy=noisy,
                  busy_before=round(before, 3), busy_after=round(after, 3), wall_s=round(seconds, 1), samples=taken)
        return value, seconds, len(taken) - len(good())
