# SPDX-License-Identifier: Apache-2.0
"""`o3 predict` beside the engine's own estimator and a library for the same purpose: error against what the engine then
really took, and time a call. Same files, same settings, one run."""

import math
import statistics
import unittest

from harness import Engine
from predictors import MIB, PARTS, Truth, error, fit_params, gguf_parser, o3
from timing import interleaved, row

# model, the settings (num_ctx, num_batch) that are loaded, one slot each
CASES = (("smollm2:135m", ((2048, 512), (8192, 512), (8192, 1024), (4096, 2048))),
         ("gemma3:270m", ((2048, 512), (8192, 512), (32768, 512), (8192, 2048))))
TIMED = (8192, 512)
ROUNDS = 20


def predictors(runner):
    """Ours first, then the peers that can be had."""
    found = [o3()]
    for make in (lambda: fit_params(runner), gguf_parser):
        try:
            found.append(make())
        except unittest.SkipTest as reason:
            print(f"  skipped: {reason}")
    return found


def share(value, form):
    return f"{value:{form}}" if math.isfinite(value) else "-".rjust(int(form.strip("+").split(".")[0]))


def line(who, parts, true=None):
    """MiB of each part, and how far that is from the truth."""
    cells = [share(parts[part] / MIB, "9.2f") + (share(error(parts[part], true[part]), "+10.2%") if true else 10 * " ")
             for part in PARTS]
    print(f"  {who:24}" + "".join(cells).rstrip(), flush=True)


def summary(errors):
    print("  largest and mean error, sign dropped")
    for name, parts in errors.items():
        cells = [share(max(map(abs, parts[part])), "9.2%") + share(statistics.mean(map(abs, parts[part])), "10.2%")
                 for part in PARTS]
        print(f"  {name:24}" + "".join(cells))


def compare(truth, env):
    errors, files, tools = {}, {}, []
    for model, settings in CASES:
        files[model] = truth.file(model)
        for num_ctx, num_batch in settings:
            true = truth.buffers(model, num_ctx, num_batch)
            tools = tools or predictors(truth.runner())
            print(f"  {model}, num_ctx {num_ctx}, num_batch {num_batch}")
            line("the engine took, MiB", true)
            for tool in tools:
                said = tool.ask(files[model], num_ctx, num_batch, env)
                line(tool.name, said, true)
                for part in PARTS:
                    errors.setdefault(tool.name, {}).setdefault(part, []).append(error(said[part], true[part]))
    summary(errors)
    print()
    for model, file in files.items():
        times = interleaved([[str(word) for word in tool.command(file, *TIMED)] for tool in tools], ROUNDS, env)
        for tool, theirs in list(zip(tools, times))[1:]:
            row(f"{tools[0].name} ({model})", tool.name, times[0], theirs)


def predict(box):
    """memory predicted, against the engine's buffers (one slot, flash attention, CPU) and beside peers"""
    engine = Engine("--release", "new", "--model", "smollm2", "--model", "gemma3")
    try:
        print(f"  {'':24}" + "".join(f"{part:>19}" for part in PARTS))
        compare(Truth(engine), box.environment())
    finally:
        engine.down()
