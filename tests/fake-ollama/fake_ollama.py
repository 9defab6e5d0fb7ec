#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A scripted stand-in for Ollama: `fake_ollama.py --script FILE.json --record FILE.jsonl [--port 0]`.

Prints its port as the first line of stdout, then serves until it is killed. Every request, runner start, evaluation
and byte chunk is written to the record with CLOCK_MONOTONIC nanoseconds, at once, so that a test can hold a client's
numbers against what really happened. README.md beside it says what a script holds.
"""

import argparse
import json
import os
import random
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from faults import Faults
from machine import ClientGone, Machine, Refusal, now, wait_until
from models import canonical

DURATION = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}


def keep_alive_seconds(value):
    """Go's reading of keep_alive: seconds, or a duration text; negative is forever."""
    if value is None:
        return 300.0
    if isinstance(value, str):
        number = value.rstrip("nusmh")
        value = float(number or 0) * DURATION.get(value[len(number):], 1)
    return float("inf") if value < 0 else float(value)


class Record:
    def __init__(self, path):
        self.file, self.lock, self.next = open(path, "a", buffering=1), threading.Lock(), 0

    def __call__(self, event):
        with self.lock:
            self.file.write(json.dumps(event, ensure_ascii=False) + "\n")

    def new_id(self):
        with self.lock:
            self.next += 1
            return self.next


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "fake-ollama", ""

    ROUTES = {
        ("GET", "/"): "root", ("HEAD", "/"): "root", ("GET", "/api/version"): "version", ("GET", "/api/tags"): "tags",
        ("POST", "/api/show"): "show", ("GET", "/api/ps"): "ps", ("POST", "/api/generate"): "generate",
        ("POST", "/api/create"): "create", ("DELETE", "/api/delete"): "delete", ("POST", "/api/pull"): "pull",
    }

    # one request -------------------------------------------------------------------------------------------------
    def parse_request(self):
        self.arrived = now()
        return super().parse_request()

    def log_message(self, *_):
        pass

    def handle_any(self):
        self.machine, self.record, self.sock = self.server.machine, self.server.record, self.connection
        self.id = self.record.new_id()
        self.status, self.sent, self.chunked, self.join = None, 0, False, None
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.split("?")[0]
        kind = self.ROUTES.get((self.command, path))
        try:
            self.body = json.loads(raw) if raw else None
        except ValueError:
            self.body = None
        body = self.body if isinstance(self.body, dict) else {}
        prompt = body.get("prompt") if isinstance(body.get("prompt"), str) else ""
        if kind == "generate" and not prompt:
            kind = "unload" if keep_alive_seconds(body.get("keep_alive")) == 0 else "load"
        seen = {key: value for key, value in body.items() if key != "prompt"}
        self.record({"ev": "request", "id": self.id, "t": self.arrived, "t_body": now(), "method": self.command,
                     "path": path, "kind": kind, "body": seen, "prompt_chars": len(prompt),
                     "prompt_id": self.machine.text_id(prompt) if prompt else None, "prompt_head": prompt[:60]})
        outcome = "answered"
        try:
            self.machine.expire()
            self.answer(kind, path, body)
        except Refusal as refusal:
            outcome = "refused"
            self.send_body(refusal.status, self.error_body(refusal.text))
        except (ClientGone, BrokenPipeError, ConnectionResetError):
            outcome = "client-gone"
            self.close_connection = True
        except Closed as closed:
            outcome = str(closed)
            self.close_connection = True
        finally:
            self.record({"ev": "end", "id": self.id, "t": now(), "status": self.status, "outcome": outcome})

    do_GET = do_POST = do_DELETE = do_HEAD = do_PUT = handle_any

    def answer(self, kind, path, body):
        host = (self.headers.get("Host") or "").rsplit(":", 1)[0]
        if host not in ("localhost", "127.0.0.1", "[::1]"):
            raise Refusal(403, None)
        if kind in ("generate", "load", "unload"):
            return self.generate(kind, body)
        self.apply_early(self.server.faults.plan(kind or "unknown", model=body.get("model")))
        if kind is None:
            wrong_method = path in {route for _, route in self.ROUTES}
            text = "405 method not allowed" if wrong_method else "404 page not found"
            return self.send_body(405 if wrong_method else 404, text, "text/plain")
        return getattr(self, "route_" + kind)(body)

    # plain routes ------------------------------------------------------------------------------------------------
    def route_root(self, _):
        self.send_body(200, "Ollama is running", "text/plain; charset=utf-8")

    def route_version(self, _):
        self.send_json({"version": self.machine.version})

    def route_tags(self, _):
        self.send_json({"models": [model.row() for model in self.machine.models.values()]})

    def route_show(self, body):
        name = body.get("model") or body.get("name")
        self.send_json(self.machine.find(name, canonical).show(body.get("verbose")))

    def route_ps(self, _):
        with self.machine.state:
            self.send_json({"models": [self.machine.ps_row(r) for r in self.machine.runners.values()]})

    def route_create(self, body):
        self.machine.check_name(body.get("model"))
        if not self.machine.create(body.get("model"), body.get("from"), body.get("parameters")):
            return self.progress(body, [{"status": "pulling manifest"},
                                        {"error": "pull model manifest: file does not exist"}], ok=False)
        return self.progress(body, [{"status": "using existing layer"}, {"status": "writing manifest"}])

    def route_delete(self, body):
        self.machine.forget(self.machine.find(body.get("model") or body.get("name")))
        self.send_body(200, "")

    def route_pull(self, body):
        name = body.get("model") or body.get("name")
        self.machine.check_name(name)
        model = self.machine.pullable.get(canonical(name))
        if not model:
            return self.progress(body, [{"status": "pulling manifest"},
                                        {"error": "pull model manifest: file does not exist"}], ok=False)
        total = model.weight_bytes
        steps = [{"status": f"pulling {model.blob[:12]}", "digest": f"sha256:{model.blob}", "total": total,
                  "completed": total * i // 4} for i in range(5)]
        self.machine.models[model.name] = model
        return self.progress(body, [{"status": "pulling manifest"}, *steps, {"status": "verifying sha256 digest"}])

    def progress(self, body, lines, ok=True):
        lines = lines + [{"status": "success"}] if ok else lines
        if body.get("stream") is False:
            return self.send_json(lines[-1], 200 if ok else 500)
        self.start_stream()
        for line in lines:
            self.send_line(line)
        return self.end_stream()

    # generate ----------------------------------------------------------------------------------------------------
    def generate(self, kind, body):
        machine, started = self.machine, self.arrived
        model = machine.find(body.get("model"))
        if kind == "unload":
            self.apply_early(self.server.faults.plan(kind, model=model.name))
            with machine.state:
                machine.drop(machine.runners.get(model.blob))
            return self.send_json({"model": body["model"], "created_at": stamp(), "response": "", "done": True,
                                   "done_reason": "unload"})
        if model.fields["remote_host"]:
            raise Refusal(401, "unauthorized")
        if not model.generative:
            raise Refusal(400, f'"{model.name}" does not support generate')
        with machine.slot:
            if kind == "load":
                num_ctx = machine.options(model, body.get("options"))[0]["num_ctx"]
                self.apply_early(self.server.faults.plan(kind, num_ctx=num_ctx, model=model.name))
            runner = machine.runner(self, model, body.get("options"))
            loaded = now()
            keep = keep_alive_seconds(body.get("keep_alive"))
            try:
                if kind == "load":
                    return self.send_json({"model": body["model"], "created_at": stamp(), "response": "",
                                           "done": True, "done_reason": "load"})
                return self.evaluate(body, model, runner, started, loaded)
            finally:
                runner.expires = time.monotonic() + keep

    def evaluate(self, body, model, runner, started, loaded):
        machine, faults = self.machine, self.server.faults
        tokens = model.tokens(body["prompt"])
        cached = runner.cached_tokens(tokens)
        plan = faults.plan("generate", num_ctx=runner.num_ctx, prompt=len(tokens), added=len(tokens) - cached,
                           model=model.name)
        self.apply_early(plan)
        full = len(tokens)
        tokens = machine.fit_prompt(runner, tokens, body.get("truncate"), plan)
        cached = runner.cached_tokens(tokens)
        if "queue" in plan:
            wait_until(now() + int(plan["queue"]["seconds"] * 1e9), self.sock)
        slow = plan.get("slow", {})
        t_start = now()
        event = {"ev": "eval", "id": self.id, "num_ctx": runner.num_ctx, "options": runner.options, "asked": full,
                 "tokens": len(tokens), "cached": cached, "t_start": t_start}
        self.record(event)
        wait_until(t_start + machine.prefill_ns(runner, cached, len(tokens), slow.get("prefill", 1)), self.sock)
        t_first = t_last = now()
        runner.remember(tokens, machine.speed["prompt_cache"])
        asked = (body.get("options") or {}).get("num_predict", -1)
        count, reason = (asked, "length") if asked > 0 else (128, "stop")
        rng = random.Random((body.get("options") or {}).get("seed", 0))
        streaming = body.get("stream", True)
        if streaming:
            self.start_stream(plan)
        answer, due = [], t_first
        for index in range(count):
            if index:
                due += machine.decode_ns(runner, len(tokens) + index, slow.get("decode", 1))
                wait_until(due, self.sock)
                t_last = now()
            answer.append(machine.word(rng))
            if streaming:
                self.send_line({"model": body["model"], "created_at": stamp(), "response": answer[-1], "done": False},
                               tokens=1)
                self.apply_mid(plan, index + 1, runner)
        final = {"done": True, "done_reason": reason, "total_duration": now() - started,
                 "load_duration": loaded - started, "prompt_eval_count": len(tokens),
                 "prompt_eval_duration": t_first - t_start, "eval_count": count,
                 "eval_duration": max(t_last - t_first, 1000)}   # the engine says 1 us for a single token
        self.record({"ev": "done", "id": self.id, "t_first": t_first, "t_last": t_last, **final})
        wrong = plan.get("metrics", {})
        final.update(wrong.get("set", {}))
        final = {key: value for key, value in final.items() if key not in wrong.get("drop", [])}
        if not body.get("raw"):
            final["context"] = list(range(len(tokens) + count))
        self.send_final(body, {"response": "" if streaming else "".join(answer), **final})

    # faults ------------------------------------------------------------------------------------------------------
    def apply_early(self, plan):
        """Those that come before the first byte of an answer."""
        for name, row in plan.items():
            early = getattr(self, "early_" + name, None)
            if early and not row.get("after"):
                self.record({"ev": "fault", "id": self.id, "t": now(), "do": name})
                early(row)

    def early_http(self, row):
        if row.get("unload"):
            for runner in list(self.machine.runners.values()):
                self.machine.drop(runner)
        raise Refusal(row.get("status", 500), row.get("text", "internal error"))

    def early_html(self, row):
        page = "<!doctype html>\n<html><head><title>Router</title></head><body><h1>It works!</h1></body></html>\n"
        self.send_body(row.get("status", 200), page, "text/html; charset=utf-8")
        raise Closed("html")

    def early_half(self, row):
        whole = json.dumps({"version": self.machine.version, "models": [m.row() for m in self.machine.models.values()]})
        self.send_body(200, whole[:len(whole) // 2], "application/json; charset=utf-8")
        raise Closed("half")

    def early_raw(self, row):
        self.send_body(row.get("status", 200), row["text"], "application/json; charset=utf-8")
        raise Closed("raw")

    def early_stall(self, row):
        wait_until(now() + int(row["seconds"] * 1e9), self.sock)

    def early_close(self, _):
        raise Closed("close")

    def early_exit(self, _):
        os._exit(0)

    def early_gone(self, row):
        model = self.machine.find(self.body.get("model"))
        self.machine.forget(model)
        raise Refusal(404, f"model '{self.body.get('model')}' not found")

    def early_huge(self, row):
        self.start_stream()
        self.write_chunk(b'{"response":"')
        piece = (b"x" * 65535 + b"\n") if row.get("newline") else b"x" * 65536
        for _ in range(row["mib"] * 16):
            self.write_chunk(piece)
        self.write_chunk(b'","done":false}\n')
        self.end_stream()
        raise Closed("huge")

    def apply_mid(self, plan, count, runner):
        """Those that come after so many tokens."""
        for name, row in plan.items():
            if row.get("after") != count:
                continue
            self.record({"ev": "fault", "id": self.id, "t": now(), "do": name})
            if row.get("unload"):
                self.machine.drop(runner)
            if name == "stall":
                wait_until(now() + int(row["seconds"] * 1e9), self.sock)
            elif name == "exit":
                os._exit(0)
            elif name == "close":
                raise Closed("close")
            elif name in ("repeat-abort", "error-line"):
                if name == "error-line":
                    self.send_line({"error": row.get("text", "an error was encountered while running the model: "
                                                             "unexpected EOF")})
                self.end_stream()
                raise Closed(name)

    # the wire ----------------------------------------------------------------------------------------------------
    @staticmethod
    def error_body(text):
        return "" if text is None else json.dumps({"error": text}, ensure_ascii=False, separators=(",", ":"))

    def send_json(self, value, status=200):
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        if len(text) <= 2048:
            return self.send_body(status, text)
        self.start_stream(kind="application/json; charset=utf-8", status=status)   # Go sends what is long in chunks
        self.write_chunk(text.encode())
        return self.end_stream()

    def send_body(self, status, text, kind="application/json; charset=utf-8"):
        data = text.encode()
        self.status = status
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.record({"ev": "chunk", "id": self.id, "t": now(), "bytes": len(data), "tokens": 0})
        if self.command != "HEAD":
            self.wfile.write(data)

    def start_stream(self, plan=None, kind="application/x-ndjson", status=200):
        plan = plan or {}
        self.split = plan.get("split", {}).get("bytes")
        self.join = bytearray() if "join" in plan else None
        self.status, self.chunked = status, True
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def send_line(self, value, tokens=0):
        data = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        if self.join is not None:
            self.join += data
            return
        step = self.split or len(data)
        for start in range(0, len(data), step):
            self.write_chunk(data[start:start + step], tokens if start == 0 else 0)

    def write_chunk(self, data, tokens=0):
        if len(data) < 65536 or tokens:
            self.record({"ev": "chunk", "id": self.id, "t": now(), "bytes": len(data), "tokens": tokens})
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def end_stream(self):
        if self.join:
            self.write_chunk(bytes(self.join), 1)
        self.wfile.write(b"0\r\n\r\n")

    def send_final(self, body, fields):
        value = {"model": body["model"], "created_at": stamp(), **fields}
        if not body.get("stream", True):
            return self.send_json(value)
        if not self.chunked:
            self.start_stream()
        self.send_line(value)
        return self.end_stream()


class Closed(Exception):
    """The answer is over, whatever it was; the text names the fault."""


class Server(ThreadingHTTPServer):
    daemon_threads, request_queue_size = True, 64

    def get_request(self):
        sock, address = super().get_request()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock, address

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


def stamp():
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + ".%09dZ" % (time.time_ns() % 10**9)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--script", required=True)
    parser.add_argument("--record", required=True)
    parser.add_argument("--port", type=int, default=0)
    args = parser.parse_args()
    with open(args.script, encoding="utf-8") as file:
        script = json.load(file)
    server = Server(("127.0.0.1", args.port), Handler)
    try:
        server.record, server.faults = Record(args.record), Faults(script.get("faults", []))
        server.machine = Machine(script, server.record, server.faults)
    except ValueError as error:
        sys.exit(f"fake-ollama: {error}")
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
