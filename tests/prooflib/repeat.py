# SPDX-License-Identifier: Apache-2.0
"""The same job several times: is it the same answer, and was it worth its time?"""

from harness import MODEL, Engine

VARIES, TIMES_BOUND = 0.10, 1.5
SAMPLE = ("kind", "depth_tokens", "prefill_per_s", "decode_per_s", "disturbed")


def compact(trial):
    """A trial with its samples as rows; rates to four digits."""
    short = lambda value: float(f"{value:.4g}") if isinstance(value, float) else value
    kept = {name: trial[name] for name in ("purpose", "asked", "outcome", "reason", "size_bytes", "size_vram_bytes")}
    kept["asked"] = {name: value for name, value in kept["asked"].items() if value is not None}
    return kept | {"wall_s": round(trial["wall_ns"] / 1e9, 1),
                   "samples": [[short(sample[name]) for name in SAMPLE] for sample in trial["samples"]]}


def trials_of(case, run_id):
    return [compact(trial) for trial in case.o3("history", "show", run_id, "--json").get("trials")]


def take(case, engine, model, *options):
    """One run in a home of its own: --force alone would go on with an earlier one that its budget broke off."""
    case.fresh()
    run = case.o3("optimize", model, "--host", engine.host, "--json", "--force", *options, timeout=3600)
    if run.rc:
        case.keep(error=run.err.strip().splitlines()[-1], sample=SAMPLE, trials=trials_of(
            case, case.o3("history", "--json").get("runs")[0]["id"]))
        raise RuntimeError(f"o3 optimize ended with {run.rc}: {run.err.strip().splitlines()[-1]}")
    case.keep(**{name: run.get(name) for name in ("finished_at", "engine", "ceiling", "race", "cost")},
              presets={name: {key: row[key] for key in ("knobs", "measured", "proven", "decode_per_s")}
                       for name, row in run.get("presets").items()},
              sample=SAMPLE, trials=trials_of(case, run.get("run_id")))
    print(f"  {run.get('cost.wall_s'):.0f} s: proven {run.get('ceiling.proven_tokens')}, loaded "
          f"{run.get('ceiling.allocated_tokens')}; knobs {run.get('race.verdict')}", flush=True)
    return run


def steady(case, runs):
    """Each preset: the same window, and decode rates that agree."""
    for name in runs[0].get("presets"):
        rows = [run.get(f"presets.{name}") for run in runs]
        windows = [row["knobs"]["num_ctx"] for row in rows]
        rates = [row["decode_per_s"]["mean"] for row in rows if row["measured"]]
        if len(rates) < len(rows):
            case.skip(f"{name}: decode", f"measured in {len(rates)} of {len(rows)} runs (time)")
            continue
        spread = max(rates) / min(rates) - 1
        case.check(f"{name}: decode at windows {windows}", f"the same window, varies < {VARIES:.0%}",
                   f"{spread:.1%} ({', '.join(f'{rate:.1f}' for rate in rates)} tok/s)", len(set(windows)) == 1 and spread < VARIES)


def timely(case, runs):
    ratios = [run.get("cost.wall_s") / run.get("cost.lower_bound_s") for run in runs if run.get("cost.lower_bound_s")]
    if len(ratios) < len(runs):
        case.skip("time over the lower bound", "nothing was measured to the end, so no bound is shown")
        return
    case.check("time over the lower bound", f"<= {TIMES_BOUND}", ", ".join(f"{ratio:.2f}" for ratio in ratios) + " x",
               max(ratios) <= TIMES_BOUND)


def repeated(case, engine_options, model=MODEL, options=(), ceiling="proven_tokens"):
    engine = Engine("--release", "new", *engine_options)
    try:
        runs = [take(case, engine, model, *options) for _ in range(case.times(3))]
    finally:
        engine.down()
    found = [run.get(f"ceiling.{ceiling}") for run in runs]
    case.check(f"ceiling ({ceiling})", f"the same in {len(runs)} of {len(runs)}", found, len(set(found)) == 1 and found[0] > 0)
    steady(case, runs)
    timely(case, runs)
    return runs


def smollm2(case):
    """smollm2:135m on the CPU, several times: the same answer, in little more than it must take."""
    repeated(case, ())


def gemma3(case):
    """gemma3:270m (sliding window, 32768 tokens) on the CPU, several times."""
    repeated(case, ("--model", "gemma3"), "gemma3:270m")


def cgroup(case):
    """smollm2:135m in 320 MiB, several times."""
    case.need_root()
    repeated(case, ("--memory", "320M", "--env", "LLAMA_ARG_CACHE_RAM=0"))


def gemma3_cgroup(case):
    """gemma3:270m in 480 MiB, several times."""
    case.need_root()
    repeated(case, ("--model", "gemma3", "--memory", "480M", "--env", "LLAMA_ARG_CACHE_RAM=0"), "gemma3:270m")


def gpu(case):
    """smollm2:135m on the software GPU, which spills between 4096 and 8192: by loads, as its fill takes a quarter of an hour."""
    # Two minutes are less than a request's deadline there: the first rung of the fill is cut.
    runs = repeated(case, ("--gpu", "--env", "LLAMA_ARG_FIT_TARGET=1850"), ceiling="allocated_tokens", options=(
        "--keep-knobs", "--no-proof", "--samples", "3", "--preset", "max_context", "--budget", "2m"))
    largest = [max((row["knobs"]["num_ctx"] for row in run.get("presets").values()), default=0) for run in runs]
    found = [run.get("ceiling.allocated_tokens") for run in runs]
    case.check("spill", "4096 <= ceiling < 8192", found, all(4096 <= tokens < 8192 for tokens in found))
    case.check("largest window handed out", "no larger than what was loaded whole", largest,
               all(window <= tokens for window, tokens in zip(largest, found)))


CASES = {"repeat-smollm2": smollm2, "repeat-gemma3": gemma3, "repeat-cgroup": cgroup,
         "repeat-gemma3-cgroup": gemma3_cgroup, "repeat-gpu": gpu}
