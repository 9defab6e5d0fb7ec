# SPDX-License-Identifier: Apache-2.0
"""Rates of a real server, asked directly, so that no code of O3 takes part in measuring what O3 says."""

import json
import pathlib
import random
import statistics
import time
import unittest
import urllib.request

QUIET = 0.05    # share of the CPUs that others may use during a sample


def prose(seed, words):
    """Varied sentences: a small model does not fall into repetitions after them."""
    pick = random.Random(seed)
    who = "the gardener|a clerk|my neighbour|one careful pilot|every baker|the old engineer|her teacher".split("|")
    did = "carried|watched|repaired|followed|measured|painted|forgot|described|crossed".split("|")
    what = "the wooden bridge|a heavy basket|seven lanterns|an honest answer|the morning train|another map".split("|")
    when = "before noon|in the rain|without a word|near the mill|for the third time|after the storm".split("|")
    text = []
    while len(text) < words:
        text += (f"{pick.choice(who)} {pick.choice(did)} {pick.choice(what)} {pick.choice(when)}, and number "
                 f"{pick.randint(1, 999)} was {pick.choice(did)}.").split()
    return text


def ticks(pid):
    """CPU time of a server and its runner so far."""
    total = 0
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(stat.parent.name) == pid or int(fields[1]) == pid:
            total += int(fields[11]) + int(fields[12])
    return total


def cpu_ticks():
    """(all, busy) of the machine so far."""
    fields = [int(x) for x in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(fields), sum(fields) - fields[3] - fields[4]


def call(engine, path, body=None, method=None):
    """GET, or POST where there is a body; None where the answer is empty."""
    request = urllib.request.Request(engine.host + path, body and json.dumps(body).encode(), method=method)
    with urllib.request.urlopen(request, timeout=600) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def ask(engine, model, words, options):
    """(reply, share of the CPUs that others used meanwhile)."""
    body = {"model": model, "prompt": " ".join(words), "raw": True, "stream": False,
            "options": {"num_predict": 32, "temperature": 0.8, **options}}
    own, before = ticks(engine.pid), cpu_ticks()   # looking through /proc is not somebody else's work
    reply = call(engine, "/api/generate", body)
    after, own = cpu_ticks(), ticks(engine.pid) - own
    return reply, max(0, after[1] - before[1] - own) / max(1, after[0] - before[0])


def decode_rate(reply):
    return (reply["eval_count"] - 1) / reply["eval_duration"] * 1e9


class Rates:
    """Decode rates of one server at wanted depths."""

    def __init__(self, engine):
        self.engine, self.words_per_token = engine, 0.6

    def ask(self, model, num_ctx, words, seed):
        return ask(self.engine, model, words, {"num_ctx": num_ctx, "num_batch": 512, "seed": seed})

    def decode(self, model, num_ctx, depth):
        """Median of five quiet samples at about this depth: (rate, depth)."""
        text, rates, at = prose(f"{model} {num_ctx}", num_ctx), [], 0
        for part in (0.8, 1, 1):  # the number of words that gives the depth; from below: what is too long is cut
            words = text[:int((depth - 48) * self.words_per_token * part)]
            reply, _ = self.ask(model, num_ctx, words, 1)
            at = reply["prompt_eval_count"]
            if abs(at + 48 - depth) < 0.03 * depth:
                break
            self.words_per_token = len(words) / at
        words = text[:int((depth - 48) * self.words_per_token)]
        for seed in range(2, 80):
            reply, foreign = self.ask(model, num_ctx, words, seed)
            if foreign > QUIET:
                time.sleep(2)
            elif reply.get("eval_count", 0) >= 16:
                rates.append(decode_rate(reply))
                at = reply["prompt_eval_count"] + reply["eval_count"] // 2
            if len(rates) == 5:
                return statistics.median(rates), at
        raise unittest.SkipTest("something else uses the CPUs all the time; rates need a quiet machine")
