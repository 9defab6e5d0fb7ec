# SPDX-License-Identifier: Apache-2.0
"""How long `o3 predict` takes beside the plainest program that fetches the same input."""

import json
import sqlite3

from harness import MODEL, O3, Engine, Fake
from predictors import Truth, header_bytes
from timing import interleaved, memory_row, row

SHOW_MS, HEADER_MS, THOUSAND_MS, RSS_MB = 12, 20, 1000, 40      # goals
ROUNDS = 30
MODELS = 1000


def forget_model(box):
    """The store as it is before the model is seen for the first time."""
    db = sqlite3.connect(box.database)
    forgotten = db.execute("DELETE FROM document WHERE kind = 'model'").rowcount
    db.commit()
    db.close()
    if not forgotten:
        raise AssertionError("the store kept no model, so nothing tells a first call from a second one")


def from_server(box):
    """latency on a warm server, beside curl of /api/show, which the first row asks for too"""
    engine = Engine("--release", "new")
    try:
        env = box.environment()
        mine = [O3, "predict", MODEL, "--host", engine.host]
        curl = ["curl", "-s", "-d", json.dumps({"model": MODEL}), engine.host + "/api/show"]
        interleaved([mine, curl], 2, env)
        row("o3 predict, model not seen before", "curl /api/show", *interleaved(
            [mine, curl], ROUNDS, env, lambda index: index or forget_model(box)), more_ms=SHOW_MS)
        row("o3 predict, model known", "curl /api/show", *interleaved([mine, curl], ROUNDS, env), more_ms=SHOW_MS)
        memory_row("o3 predict", mine, env, RSS_MB)
    finally:
        engine.down()


def from_file(box):
    """latency on a file, beside cat of its header"""
    engine = Engine("--release", "new", "--model", "smollm2", "--model", "gemma3")
    try:
        files = {model: Truth(engine).file(model) for model in (MODEL, "gemma3:270m")}
    finally:
        engine.down()
    for model, file in files.items():
        header = box.path / "header"
        with open(file, "rb") as whole:
            header.write_bytes(whole.read(header_bytes(file)))
        mine, what = [O3, "predict", "--gguf", file], f"o3 predict --gguf ({model})"
        row(what, f"cat of its header, {header.stat().st_size / 1e6:.1f} MB",
            *interleaved([mine, ["cat", header]], ROUNDS, box.environment()), more_ms=HEADER_MS)
        memory_row(what, mine, box.environment(), RSS_MB)


def thousand(box):
    """a thousand models in one table, from the digest cache (fake server), beside curl of /api/tags"""
    models = [{"name": f"model-{number}:latest", "layers": 12 + number % 64} for number in range(MODELS)]
    fake = Fake(box, {"models": models})
    try:
        env = box.environment()
        mine, curl = [O3, "predict", "--host", fake.url], ["curl", "-s", fake.url + "/api/tags"]
        interleaved([mine], 1, env)
        first = len(fake.record.of("show"))
        row(f"o3 predict of {MODELS} known models", "curl /api/tags", *interleaved([mine, curl], 20, env),
            total_ms=THOUSAND_MS)
        later = len(fake.record.of("show")) - first
        if first != MODELS or later:
            raise AssertionError(f"/api/show was asked {first} times by the first call and {later} times by the others")
        memory_row(f"o3 predict of {MODELS} models", mine, env, RSS_MB)
    finally:
        fake.kill()
