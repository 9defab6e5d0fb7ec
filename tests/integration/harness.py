# SPDX-License-Identifier: Apache-2.0
"""What every integration test needs: a private home, the o3 binary, a scripted server, the real engine, the record."""

import json
import os
import pathlib
import shlex
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
O3 = pathlib.Path(os.environ.get("O3_BIN", ROOT / "build" / "o3")).resolve()
FAKE = ROOT / "tests" / "fake-ollama" / "fake_ollama.py"
ENGINE = ROOT / "tools" / "engine"

# Exit statuses of the command line; each test names the one it wants.
DONE, INTERNAL, USAGE, NOT_FOUND, UNAVAILABLE, GATE, UNSAFE, INTERRUPTED, IMPOSSIBLE = range(9)

MODEL = "smollm2:135m"
# Fast enough for a suite, slow enough to be measured: decode 4 ms a token, a window of 8192 in 1.4 s.
QUICK = {"time_scale": 0.02, "decode_scale": 0.25}


class Run:
    """One finished o3: what it said and what it cost."""

    def __init__(self, args, status, out, err, wall_s, cpu_s, rss_kib):
        self.args, self.out, self.err, self.wall_s, self.cpu_s, self.rss_kib = args, out, err, wall_s, cpu_s, rss_kib
        self.rc = os.waitstatus_to_exitcode(status)

    @property
    def json(self):
        try:
            return json.loads(self.out)
        except ValueError as error:
            raise AssertionError(f"stdout is not one JSON document ({error})\n{self}") from None

    def get(self, path, *default):
        return get(self.json, path, *default)

    def __str__(self):
        return (f"$ {shlex.join(map(str, self.args))}\n[exit {self.rc}, {self.wall_s:.1f} s, {self.rss_kib} KiB]\n"
                f"--- stdout\n{clip(self.out, 700)}\n--- stderr\n{clip(self.err)}")


def clip(text, limit=3000):
    return text if len(text) <= limit else text[:limit // 2] + "\n   [...]\n" + text[-limit // 2:]


def get(document, path, *default):
    """get(doc, "presets.max_context.knobs.num_ctx"); a missing part is an assertion, unless there is a default."""
    here = document
    for part in path.split("."):
        try:
            here = here[int(part)] if isinstance(here, list) else here[part]
        except (KeyError, IndexError, TypeError, ValueError):
            if default:
                return default[0]
            keys = sorted(here) if isinstance(here, dict) else type(here).__name__
            raise AssertionError(f"the JSON has no {path} (at {part!r}: {keys})") from None
    return here


class Sandbox:
    """A home of its own: nothing of the user's is read or written."""

    def __init__(self, base=None):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="o3-test-", dir=base))
        self.data, self.config, self.cache = (self.path / name for name in ("data", "config", "cache"))
        self.work = self.path / "work"
        for folder in (self.data, self.config, self.cache, self.work):
            folder.mkdir()
        self.path.chmod(0o755)

    @property
    def database(self):
        return self.data / "o3" / "o3.db"

    def environment(self, extra=None):
        kept = {key: value for key, value in os.environ.items()
                if not key.startswith(("O3_", "OLLAMA_", "LLAMA_", "XDG_")) and key != "NO_COLOR"}
        kept.update(HOME=str(self.path), XDG_DATA_HOME=str(self.data), XDG_CONFIG_HOME=str(self.config),
                    XDG_CACHE_HOME=str(self.cache), LC_ALL="C.UTF-8", TERM="dumb", COLUMNS="80")
        kept.update(extra or {})
        return {key: value for key, value in kept.items() if value is not None}

    def close(self):
        shutil.rmtree(self.path, ignore_errors=True)


class Started:
    """An o3 that runs: wait for it, watch it, or stop it."""

    def __init__(self, box, args, env=None, stdin=None, prefix=()):
        self.args = [*prefix, str(O3), *map(str, args)]
        self.files = [tempfile.TemporaryFile() for _ in range(2)]
        self.began = time.monotonic()
        self.process = subprocess.Popen(self.args, stdin=stdin or subprocess.DEVNULL, stdout=self.files[0],
                                        stderr=self.files[1], cwd=box.work, env=box.environment(env))

    @property
    def pid(self):
        return self.process.pid

    def err(self):
        return os.pread(self.files[1].fileno(), 1 << 24, 0).decode(errors="replace")

    def kill(self, number):
        self.process.send_signal(number)

    def peak_kib(self):
        """Its largest resident memory. ru_maxrss would say ours, from before the exec, where that was larger."""
        try:
            status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return 0
        return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0)

    def wait(self, timeout=300):
        end, over, peak = time.monotonic() + timeout, False, 0
        while not os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            peak = max(peak, self.peak_kib())
            if time.monotonic() > end and not over:
                over = True
                self.process.kill()
            time.sleep(0.01)
        _, status, usage = os.wait4(self.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        out, err = (os.pread(file.fileno(), 1 << 24, 0).decode(errors="replace") for file in self.files)
        run = Run(self.args, status, out, err, time.monotonic() - self.began, usage.ru_utime + usage.ru_stime, peak)
        for file in self.files:
            file.close()
        if over:
            raise AssertionError(f"o3 did not end within {timeout} s\n{run}")
        return run


class Request:
    """Everything the record says of one request."""

    def __init__(self, event):
        self.__dict__.update(event)
        self.loads, self.faults, self.chunks, self.eval, self.done, self.end = [], [], [], None, None, None

    @property
    def num_ctx(self):
        return (self.body.get("options") or {}).get("num_ctx")

    @property
    def token_times(self):
        return [chunk["t"] for chunk in self.chunks if chunk["tokens"]]

    @property
    def ttft_ms(self):
        return (self.token_times[0] - self.t) / 1e6 if self.token_times else None

    @property
    def decode_per_s(self):
        times = self.token_times
        return (len(times) - 1) / (times[-1] - times[0]) * 1e9 if len(times) > 1 else None

    @property
    def added(self):
        return self.eval["tokens"] - self.eval["cached"]

    @property
    def prefill_per_s(self):
        return self.added / (self.done["t_first"] - self.eval["t_start"]) * 1e9

    @property
    def depth(self):
        """Where its decode rate was taken: the prompt and half of what came out."""
        return self.eval["tokens"] + self.done["eval_count"] / 2

    def __repr__(self):
        what = f" {self.eval['tokens']} tokens, {self.eval['cached']} cached" if self.eval else ""
        return f"<{self.id} {self.kind} num_ctx {self.num_ctx}{what}>"


class Record:
    """The fake's record, read as far as it is written."""

    def __init__(self, path):
        self.requests, by_id = [], {}
        for line in path.read_text().splitlines():
            try:
                event = json.loads(line)
            except ValueError:      # the last line of a server that was killed
                continue
            kind = event.pop("ev")
            if kind == "request":
                by_id[event["id"]] = Request(event)
                self.requests.append(by_id[event["id"]])
                continue
            request = by_id[event["id"]]
            many = {"load": request.loads, "fault": request.faults, "chunk": request.chunks}.get(kind)
            if many is None:
                setattr(request, kind, event)
            else:
                many.append(event)

    def of(self, *kinds):
        return [request for request in self.requests if request.kind in kinds]

    @property
    def loads(self):
        """Runner starts, the failed ones too."""
        return [load for request in self.requests for load in request.loads]

    @property
    def evaluated(self):
        """Prompts that were evaluated to the end."""
        return [request for request in self.of("generate") if request.done]

    @property
    def fills(self):
        """Prompts that reached at least nine tenths of their window with new tokens: full fills, not repetitions."""
        return [request for request in self.evaluated
                if request.eval["tokens"] >= 0.9 * request.eval["num_ctx"] and request.added > 64]

    @property
    def faults(self):
        return [fault for request in self.requests for fault in request.faults]

    def texts(self):
        """How each text grew: (request, tokens so far, mean prefill rate so far), rung by rung. A text that is new
        from its first token is one rung."""
        known, rungs = {}, []
        for request in self.evaluated:
            if request.added <= 64:         # a repetition
                continue
            key = (request.prompt_head, request.eval["num_ctx"])
            tokens, spent = known.get(key, (0, 0)) if request.eval["cached"] > 64 else (0, 0)
            tokens, spent = tokens + request.added, spent + request.done["t_first"] - request.eval["t_start"]
            known[key] = tokens, spent
            rungs.append((request, tokens, tokens / spent * 1e9))
        return rungs


class Fake:
    """A running fake-ollama."""

    def __init__(self, box, script, environ=None):
        self.environ = {**os.environ, **(environ or {})}
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="fake-", dir=box.path))
        (self.folder / "script.json").write_text(json.dumps(script))
        self.record_path = self.folder / "record.jsonl"
        self.record_path.touch()
        self.process = None
        self.start()

    def start(self, port=0):
        with open(self.folder / "stderr", "a") as stderr:
            self.spawn(port, stderr)
        line = self.process.stdout.readline()
        if not line.strip():
            self.kill()
            raise RuntimeError(f"fake-ollama did not start: {(self.folder / 'stderr').read_text()}")
        self.port = int(line)
        self.url = f"http://127.0.0.1:{self.port}"

    def spawn(self, port, stderr):
        self.process = subprocess.Popen(
            [sys.executable, "-B", str(FAKE), "--script", str(self.folder / "script.json"), "--record",
             str(self.record_path), "--port", str(port)], stdout=subprocess.PIPE, text=True,
            stderr=stderr, env=self.environ)

    @property
    def record(self):
        return Record(self.record_path)

    def wait_for(self, condition, timeout=60, what="the condition"):
        """Until condition(record) is true."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if condition(self.record):
                return
            time.sleep(0.02)
        raise AssertionError(f"not within {timeout} s: {what}")

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.process = None


class Engine:
    """The real Ollama, by tools/engine. Skips, with the reason, where it cannot be had."""

    def __init__(self, *options, timeout=1500):
        if not ENGINE.exists():
            raise unittest.SkipTest("tools/engine is not there")
        self.name = f"test-{os.getpid()}-{time.monotonic_ns() % 10**6}"
        made = subprocess.run([ENGINE, "up", "--name", self.name, *options], text=True, timeout=timeout,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if made.returncode:
            reason = (made.stderr.strip().splitlines() or ["no reason given"])[-1]
            kind = unittest.SkipTest if not os.environ.get("O3_REQUIRE_ENGINE") else AssertionError
            raise kind(f"tools/engine up {' '.join(options)}: exit {made.returncode}, {reason}")
        self.env = {}
        for line in made.stdout.splitlines():
            for word in shlex.split(line)[1:] if line.startswith("export ") else ():
                key, _, value = word.partition("=")
                self.env[key] = value
        self.host = self.env["OLLAMA_HOST"]

    @property
    def pid(self):
        return int(self.env["O3_ENGINE_PID"])

    def down(self):
        subprocess.run([ENGINE, "down", "--name", self.name], stdin=subprocess.DEVNULL, capture_output=True,
                       timeout=60)


class Case(unittest.TestCase):
    """A test with a home of its own. self.fake(...) and self.o3(...) do the rest."""

    maxDiff = None

    @classmethod
    def setUpClass(cls):
        if not O3.exists():
            raise AssertionError(f"{O3.name} is not built: run make first (O3_BIN names another binary)")

    def setUp(self):
        self.fresh()

    def fresh(self):
        """A new home that knows nothing; a known model is answered from the store."""
        self.box = Sandbox()
        self.addCleanup(self.box.close)

    def fake(self, environ=None, **script):
        server = Fake(self.box, {**QUICK, **script}, environ)
        self.addCleanup(server.kill)
        return server

    def start(self, *args, env=None, stdin=None, prefix=()):
        started = Started(self.box, args, env, stdin, prefix)
        self.addCleanup(self.stop, started)
        return started

    @staticmethod
    def stop(started):
        if started.process.returncode is None:
            started.process.kill()
            started.process.wait()

    def o3(self, *args, env=None, timeout=300, stdin=None, prefix=()):
        return self.start(*args, env=env, stdin=stdin, prefix=prefix).wait(timeout)

    def optimize(self, server, *args, model=MODEL, **keywords):
        url = getattr(server, "url", None) or getattr(server, "host", server)
        return self.o3("optimize", model, "--host", url, "--json", *args, **keywords)

    # what a run must look like -----------------------------------------------------------------------------------
    def check_exit(self, run, *wanted):
        self.assertIn(run.rc, wanted, f"exit status\n{run}")

    def check_sentence(self, run, *words, wanted=None):
        """A failure says one sentence on stderr that begins with `o3: ` and holds the words; nothing else."""
        if wanted is not None:
            self.check_exit(run, wanted)
        said = [line for line in run.err.splitlines() if line.startswith("o3: ")]
        self.assertEqual(len(said), 1, f"one line that begins with `o3: ` on stderr\n{run}")
        for word in words:
            choice = word if isinstance(word, tuple) else (word,)
            self.assertTrue(any(w.lower() in said[0].lower() for w in choice), f"{word!r} in the sentence\n{run}")
        self.assertNotIn("\t", said[0])
        self.assertLess(len(said[0]), 800, run)
        return said[0]

    def check_calm(self, run):
        """Whatever went wrong: no crash, no sanitizer report, memory bounded."""
        self.assertGreaterEqual(run.rc, 0, f"killed by signal {-run.rc}\n{run}")
        for word in ("AddressSanitizer", "runtime error:", "LeakSanitizer", "Assertion"):
            self.assertNotIn(word, run.err)

    def trials(self):
        """Rows of the trials table of this home's store, by a reader of its own."""
        with sqlite3.connect(f"file:{self.box.database}?mode=ro", uri=True) as db:
            db.row_factory = sqlite3.Row
            tables = [row[0] for row in db.execute("select name from sqlite_master where type = 'table'")]
            table = next((name for name in ("trials", "trial") if name in tables), None)
            self.assertIsNotNone(table, f"the store has no table of trials: {tables}")
            return [dict(row) for row in db.execute(f"select * from {table}")]


def find_all(document, key):
    """Every value under `key`, however deep."""
    if isinstance(document, dict):
        for name, value in document.items():
            if name == key:
                yield value
            yield from find_all(value, key)
    elif isinstance(document, list):
        for value in document:
            yield from find_all(value, key)


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def need_root():
    if os.geteuid():
        raise unittest.SkipTest("needs root")


def need_program(*names):
    for name in names:
        if not shutil.which(name):
            raise unittest.SkipTest(f"needs the program {name}")
