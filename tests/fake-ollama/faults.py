# SPDX-License-Identifier: Apache-2.0
"""Which request is answered wrongly, and how.

A script's `faults` is a list of rows {"on", conditions, "do", parameters}. `on` is the kind of request: root, version,
tags, show, ps, generate (with a prompt), load (without one), unload, create, delete, pull, any - or `loading`, the
start of a runner, whichever request caused it. Conditions (all must hold):

    nth N            only the Nth request that meets the other conditions (1 is the first)
    from N           that one and all after it
    times N          at most N times
    num_ctx_above/num_ctx_below N, num_batch_above N, prompt_above/prompt_below N (tokens)
    added_above N    tokens not in the cache
    model NAME

What can be done (`do`), and its parameters:

    http             status, text, unload          an error answer; `unload` drops the runner, as a crash does
    html             status                        a web page
    half             -                             the first half of the right JSON
    raw              text                          these bytes as body, as application/json
    stall            seconds, after                no bytes for so long (before the answer, or after N tokens)
    close            after                         the connection is closed (before the answer, or after N tokens)
    exit             after                         the whole server ends
    repeat-abort     after                         the stream ends in good order, but without a done object
    error-line       after, text, unload           an error object in mid-stream
    huge             mib, newline                  a body or a line of so many MiB
    split            bytes                         every chunk holds so many bytes: objects and UTF-8 are cut
    join             -                             the whole stream in one chunk
    metrics          set {}, drop []               wrong numbers in the final object
    cut              frac                          the prompt is cut silently, whatever `truncate` says
    slow             decode, prefill               so many times slower
    queue            seconds                       waits before prefill starts, outside all engine durations
    ps               set {}, scale {}, drop []     lies in /api/ps (on: ps; num_ctx is that of the loaded model)
    gone             -                             the model is deleted at this moment
"""

ACTIONS = ("http html half raw stall close exit repeat-abort error-line huge split join metrics cut slow queue ps "
           "gone").split()
CONDITIONS = {
    "num_ctx_above": lambda want, seen: seen.get("num_ctx", -1) > want,
    "num_ctx_below": lambda want, seen: 0 <= seen.get("num_ctx", -1) < want,
    "num_batch_above": lambda want, seen: seen.get("num_batch", -1) > want,
    "prompt_above": lambda want, seen: seen.get("prompt", -1) > want,
    "prompt_below": lambda want, seen: 0 <= seen.get("prompt", -1) < want,
    "added_above": lambda want, seen: seen.get("added", -1) > want,
    "model": lambda want, seen: seen.get("model") == want,
}


class Fault:
    def __init__(self, row):
        self.row = row
        self.met = 0    # requests that met the conditions
        self.fired = 0
        if row.get("do") not in ACTIONS or "on" not in row:
            raise ValueError(f"script: fault {row} needs `on` and a `do` out of {', '.join(ACTIONS)}")

    def fires(self, kind, seen):
        row = self.row
        if row["on"] not in (kind, "any") or (row["on"] == "any" and kind == "loading"):
            return False
        if not all(test(row[name], seen) for name, test in CONDITIONS.items() if name in row):
            return False
        self.met += 1
        if "nth" in row and self.met != row["nth"]:
            return False
        if self.met < row.get("from", 1) or self.fired >= row.get("times", 1 << 30):
            return False
        self.fired += 1
        return True


class Faults:
    def __init__(self, rows):
        self.rows = [Fault(row) for row in rows]

    def plan(self, kind, **seen):
        """{action: row} of the faults that fire now."""
        return {fault.row["do"]: fault.row for fault in self.rows if fault.fires(kind, seen)}
