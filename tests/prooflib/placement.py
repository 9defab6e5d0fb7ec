# SPDX-License-Identifier: Apache-2.0
"""Where the layers lie, on the software GPU: Ollama's own figures against what O3 says. Loads only, since filling takes
minutes there."""

from harness import MODEL, Engine
from rates import call

GPU = ("--release", "new", "--gpu")
WINDOW = 8192                               # what --quick loads of the model: its trained context
SPILLING = (1800, 1825, 1850, 1875, 1900)   # MiB of the device to be left free: less than WINDOW takes is left
WHOLE = 1600                                # all of it lies on the device


def truth(engine, model):
    """(size, size_vram) of a window that we load ourselves."""
    call(engine, "/api/generate", {"model": model, "options": {"num_ctx": WINDOW, "num_batch": 512}})
    loaded = call(engine, "/api/ps")["models"][0]
    call(engine, "/api/generate", {"model": model, "keep_alive": 0})
    return loaded["size"], loaded["size_vram"]


def quick(case, engine, model, seed):
    """(run, its trial): one load."""
    run = case.o3("optimize", model, "--host", engine.host, "--json", "--quick", "--force", "--seed", str(seed))
    trial = case.o3("history", "show", run.get("run_id"), "--json").get("trials.0")
    windows = [row["knobs"]["num_ctx"] for row in run.get("presets").values()]
    kept = ("asked", "in_force", "size_bytes", "size_vram_bytes", "outcome", "reason")
    case.keep(model=model, seed=seed, engine=run.get("engine"), preset_windows=windows, **{name: trial[name] for name in kept})
    return trial, windows


def spill(case):
    """A window that spills is seen, ten times of ten, and is no preset; one that does not is not accused."""
    seen = handed_out = tried = 0
    for number, target in enumerate(SPILLING):
        engine = Engine(*GPU, "--env", f"LLAMA_ARG_FIT_TARGET={target}")
        try:
            size, vram = truth(engine, MODEL)
            case.keep(fit_target_mib=target, true_size_bytes=size, true_size_vram_bytes=vram)
            if not 0 < vram < size:
                raise RuntimeError(f"{WINDOW} tokens do not spill with a fit target of {target} MiB: {vram} of {size} bytes")
            for seed in (2 * number + 1, 2 * number + 2):
                trial, windows = quick(case, engine, MODEL, seed)
                tried += 1
                seen += (trial["outcome"], trial["size_bytes"], trial["size_vram_bytes"]) == ("spilled", size, vram)
                handed_out += any(window >= WINDOW for window in windows)
        finally:
            engine.down()
    case.check("spilled windows seen, with Ollama's own bytes", f"{tried} of {tried}", f"{seen} of {tried}", seen == tried)
    case.check("spilled windows among the presets", "0", handed_out, handed_out == 0)
    engine = Engine(*GPU, "--env", f"LLAMA_ARG_FIT_TARGET={WHOLE}")
    try:
        size, vram = truth(engine, MODEL)
        trial, _ = quick(case, engine, MODEL, 1)
        case.check(f"a window that lies whole on the device ({vram} of {size} bytes)", "not spilled", trial["outcome"],
                   vram == size and trial["outcome"] in ("ok", "cancelled"))
    finally:
        engine.down()


def some_layers(case, engine, count):
    """Share on the device of the model with this num_gpu (None: Ollama's own choice), as O3 saw it."""
    model, name = MODEL, "num_gpu unset"
    if count is not None:
        model, name = f"o3-proof-layers-{count}", f"num_gpu {count}"
        call(engine, "/api/create", {"model": model, "from": MODEL, "parameters": {"num_gpu": count}, "stream": False})
    try:
        size, vram = truth(engine, model)
        trial, _ = quick(case, engine, model, 1)
    finally:
        if count is not None:
            call(engine, "/api/delete", {"model": model}, "DELETE")
    said, found = trial["reason"] or trial["outcome"], (trial["size_bytes"], trial["size_vram_bytes"])
    case.check(f"{name}, in force", count, trial["in_force"]["num_gpu"], trial["in_force"]["num_gpu"] == count)
    case.check(f"{name}, bytes in all and on the device", (size, vram), found, found == (size, vram))
    case.check(f"{name}, said", {0: "spilled, no layer", None: "not spilled"}.get(count, "spilled"), said,
               (trial["outcome"] == "spilled") == (count is not None) and ("no layer" in said) == (count == 0))
    return found[1] / found[0]


def layers(case):
    """Some layers, no layer and Ollama's own choice are told apart."""
    engine = Engine(*GPU, "--env", f"LLAMA_ARG_FIT_TARGET={WHOLE}")
    try:
        order = [some_layers(case, engine, count) for count in (0, 10, 20, None)]
    finally:
        engine.down()
    case.check("share on the device by layers", "rises to 100 %", " < ".join(f"{share:.0%}" for share in order),
               order == sorted(set(order)) and order[-1] == 1)


CASES = {"spill": spill, "layers": layers}
