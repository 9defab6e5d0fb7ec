# SPDX-License-Identifier: Apache-2.0
"""The stand-in itself: what it says is what it did, and its traps are those of the real server."""

import http.client
import json
import pathlib
import time
import unittest

import harness
from harness import MODEL, Fake, Sandbox, get

PROSE = "The old ferryman counted {0} crates of lemons, and on day {0} the river rose over the eastern meadow. "


def prose(sentences, start=0):
    return "".join(PROSE.format(start + number) for number in range(sentences))


class FakeCase(unittest.TestCase):
    """Speaks HTTP by Python's own client; needs no o3."""

    def setUp(self):
        self.box = Sandbox()
        self.addCleanup(self.box.close)

    def serve(self, **script):
        server = Fake(self.box, {**harness.QUICK, **script})
        self.addCleanup(server.kill)
        return server

    def call(self, server, method, path, body=None, timeout=30):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=timeout)
        self.addCleanup(connection.close)
        connection.request(method, path, json.dumps(body) if body is not None else None)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type"), answer.read().decode()

    def ask(self, server, prompt, num_ctx=2048, num_predict=8, **fields):
        """(status, list of JSON objects) of one streamed request."""
        options = {"num_ctx": num_ctx, "num_batch": 512, "num_thread": 2, "num_predict": num_predict}
        options.update(fields.pop("options", {}))
        status, _, text = self.call(server, "POST", "/api/generate", {"model": MODEL, "prompt": prompt, "raw": True,
                                                                      "options": options, **fields})
        return status, [json.loads(line) for line in text.splitlines()]

    def loaded(self, server):
        return json.loads(self.call(server, "GET", "/api/ps")[2])["models"]


class TestAnswers(FakeCase):
    def test_plain_routes(self):
        server = self.serve()
        self.assertEqual(self.call(server, "GET", "/")[2], "Ollama is running")
        self.assertEqual(json.loads(self.call(server, "GET", "/api/version")[2]), {"version": "0.32.15"})
        row = get(json.loads(self.call(server, "GET", "/api/tags")[2]), "models.0")
        self.assertEqual((row["name"], row["details"]["context_length"]), (MODEL, 8192))
        self.assertEqual(self.call(server, "GET", "/api/generate")[0], 405)
        self.assertEqual(self.call(server, "GET", "/nothing")[0], 404)
        self.assertEqual(self.call(server, "POST", "/api/show", {"model": "nope"})[::2],
                         (404, '{"error":"model \'nope:latest\' not found"}'))

    def test_show_has_what_prediction_needs(self):
        server = self.serve()
        show = json.loads(self.call(server, "POST", "/api/show", {"model": MODEL})[2])
        self.assertEqual(show["model_info"]["llama.context_length"], 8192)
        self.assertIsNone(show["model_info"]["tokenizer.ggml.tokens"], "arrays are null without verbose")
        self.assertEqual(len(show["tensors"]), 2 + 9 * 30)
        verbose = json.loads(self.call(server, "POST", "/api/show", {"model": MODEL, "verbose": True})[2])
        self.assertTrue(verbose["model_info"]["tokenizer.ggml.tokens"])

    def test_sizes_are_those_of_the_real_server(self):
        server = self.serve()
        for num_ctx, num_batch, real in ((2048, 512, 160222411), (4096, 512, 209505483), (8192, 1024, 330626497)):
            self.ask(server, "", num_ctx, options={"num_batch": num_batch})
            row, = self.loaded(server)
            self.assertEqual((row["context_length"], row["size_vram"]), (num_ctx, 0))
            self.assertLess(abs(row["size"] - real), 20_000)

    def test_load_unload_and_clamp(self):
        server = self.serve()
        status, lines = self.ask(server, "", 100_000)
        self.assertEqual((status, lines[0]["done_reason"]), (200, "load"))
        self.assertNotIn("eval_count", lines[0])
        self.assertEqual(self.loaded(server)[0]["context_length"], 8192, "clamped without a word")
        status, lines = self.ask(server, "", keep_alive=0)
        self.assertEqual(lines[0]["done_reason"], "unload")
        self.assertEqual(self.loaded(server), [])

    def test_a_changed_runner_option_reloads(self):
        server = self.serve()
        for options in ({}, {"temperature": 0.5}, {"num_thread": 1}, {"num_thread": 1}, {"num_batch": 64}):
            self.ask(server, "hello there", num_predict=1, options=options)
        self.assertEqual([load["num_thread"] for load in server.record.loads], [2, 1, 2])

    def test_old_release(self):
        server = self.serve(version="0.24.0")
        self.assertEqual(self.ask(server, prose(200), 1024, truncate=False),
                         (400, [{"error": "the input length exceeds the context length"}]))
        self.assertEqual(self.ask(server, prose(200), 1024)[1][-1]["prompt_eval_count"], 1024)

    def test_presets_and_pull(self):
        server = self.serve(pullable=[{"name": "tiny:1b"}])
        made = {"model": "p", "from": MODEL, "parameters": {"num_ctx": 1024}}
        self.assertIn("success", self.call(server, "POST", "/api/create", made)[2])
        show = json.loads(self.call(server, "POST", "/api/show", {"model": "p"})[2])
        self.assertRegex(show["parameters"], r"num_ctx +1024")
        self.call(server, "POST", "/api/generate", {"model": "p"})
        self.assertEqual(self.loaded(server)[0]["context_length"], 1024)
        self.assertEqual(self.call(server, "DELETE", "/api/delete", {"model": "p"})[0], 200)
        self.assertEqual(self.call(server, "DELETE", "/api/delete", {"model": "p"})[0], 404)
        self.assertEqual(self.call(server, "POST", "/api/show", {"model": "a b"})[0], 400)
        self.assertIn('"error"', self.call(server, "POST", "/api/pull", {"model": "nope"})[2])
        self.assertTrue(self.call(server, "POST", "/api/pull", {"model": "tiny:1b"})[2].endswith('"success"}\n'))
        self.assertEqual(self.call(server, "POST", "/api/show", {"model": "tiny:1b"})[0], 200)


class TestPrompts(FakeCase):
    def test_refusal_names_the_count(self):
        server = self.serve()
        status, (line,) = self.ask(server, prose(200), 1024, truncate=False)
        inner = json.loads(line["error"])["error"]
        self.assertEqual((status, inner["type"], inner["n_ctx"]), (400, "exceed_context_size_error", 1024))
        count = self.ask(server, prose(200), 8192, truncate=False)[1][-1]["prompt_eval_count"]
        self.assertEqual(inner["n_prompt_tokens"], count)
        self.assertEqual(inner["message"], f"request ({count} tokens) exceeds the available context size (1024 "
                                           "tokens), try increasing it")

    def test_silent_cut_to_half(self):
        server = self.serve()
        self.assertEqual(self.ask(server, prose(400), 4096)[1][-1]["prompt_eval_count"], 2050)

    def test_prefix_cache(self):
        server = self.serve()
        first, grown = prose(20), prose(40)
        counts = [self.ask(server, text)[1][-1]["prompt_eval_count"] for text in (first, grown, grown, prose(20, 500))]
        evaluated = server.record.evaluated
        self.assertEqual([request.eval["tokens"] for request in evaluated], counts)
        self.assertEqual(evaluated[0].eval["cached"], 0)
        self.assertGreaterEqual(evaluated[1].eval["cached"], counts[0] - 1)
        self.assertEqual(evaluated[2].added, 1)
        self.assertLess(evaluated[3].eval["cached"], 30)
        fast, slow = (evaluated[i].done["prompt_eval_duration"] for i in (2, 1))
        self.assertLess(fast * 5, slow, "the duration covers only what was added")

    def test_tokens_are_stable_but_not_proportional(self):
        server = self.serve()
        ratios = set()
        for text in (prose(10), "Ha! " * 100, "Incomprehensibilities notwithstanding. " * 20):
            ratios.add(round(len(text) / self.ask(server, text, 8192)[1][-1]["prompt_eval_count"], 1))
        self.assertEqual(len(ratios), 3, ratios)


class TestClock(FakeCase):
    """What it reports is what a client sees, and what the record says."""

    def test_rates(self):
        server = self.serve(time_scale=0.2)
        sent = time.monotonic_ns()
        _, lines = self.ask(server, prose(30), num_predict=32)
        wall = time.monotonic_ns() - sent
        final, request = lines[-1], server.record.evaluated[-1]
        self.assertEqual(final["eval_count"], 32)
        self.assertEqual(len(request.token_times), 32)
        own = final["eval_duration"] / 1e9
        seen = (request.token_times[-1] - request.token_times[0]) / 1e9
        self.assertAlmostEqual(own, seen, delta=0.02 * seen + 0.002)
        self.assertLess(request.ttft_ms * 1e6 + final["eval_duration"], wall)
        self.assertGreater(request.ttft_ms * 1e6, final["prompt_eval_duration"])
        self.assertLess(abs(wall - final["total_duration"]), 20e6)

    def test_too_many_threads_are_slow(self):
        server = self.serve(speed={"cpus": 2})
        rates = {}
        for threads in (1, 2, 4):
            self.ask(server, prose(3), num_predict=16, options={"num_thread": threads})
            rates[threads] = server.record.evaluated[-1].decode_per_s
        self.assertGreater(rates[2], 1.5 * rates[1])
        self.assertGreater(rates[2], 2 * rates[4])

    def test_client_that_leaves_is_noticed(self):
        server = self.serve(time_scale=2)
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request("POST", "/api/generate", json.dumps({"model": MODEL, "prompt": prose(40), "raw": True}))
        server.wait_for(lambda record: any(r.eval for r in record.requests), what="prefill has begun")
        left = time.monotonic_ns()
        connection.close()
        server.wait_for(lambda record: record.requests[0].end, what="the server noticed")
        end = server.record.requests[0].end
        self.assertEqual(end["outcome"], "client-gone")
        self.assertLess(end["t"] - left, 50e6)


class TestFaults(FakeCase):
    TEXT = prose(5)

    def one(self, fault, **fields):
        server = self.serve(faults=[{"on": "generate", **fault}])
        return server, self.ask(server, self.TEXT, **fields)

    def test_repeat_abort(self):
        server, (status, lines) = self.one({"do": "repeat-abort", "after": 4})
        self.assertEqual((status, len(lines)), (200, 4))
        self.assertFalse(any(line["done"] for line in lines))
        server.wait_for(lambda record: record.requests[-1].end, what="the request ended")
        self.assertEqual(server.record.requests[-1].end["outcome"], "repeat-abort")

    def test_error_line(self):
        _, (status, lines) = self.one({"do": "error-line", "after": 3, "unload": True})
        self.assertEqual((status, len(lines)), (200, 4))
        self.assertIn("unexpected EOF", lines[-1]["error"])

    def test_oom_while_loading(self):
        text = "llama-server process has terminated: signal: killed"
        server = self.serve(faults=[{"on": "loading", "num_ctx_above": 4000, "do": "http", "text": text}])
        self.assertEqual(self.ask(server, "", 4096), (500, [{"error": text}]))
        self.assertEqual(self.ask(server, "", 2048)[0], 200)
        self.assertEqual([load["ok"] for load in server.record.loads], [False, True])

    def test_cut_in_spite_of_truncate_false(self):
        _, (_, lines) = self.one({"do": "cut", "frac": 0.5}, truncate=False)
        whole = self.ask(self.serve(), self.TEXT)[1][-1]["prompt_eval_count"]
        self.assertEqual(lines[-1]["prompt_eval_count"], whole // 2)

    def test_lies_in_ps(self):
        server = self.serve(gpu=True, faults=[{"on": "ps", "num_ctx_above": 2000, "do": "ps",
                                               "set": {"context_length": 7}, "scale": {"size_vram": 0.5}}])
        self.ask(server, "", 1024)
        row, = self.loaded(server)
        self.assertEqual((row["size"], row["context_length"]), (row["size_vram"], 1024))
        self.ask(server, "", 2048)
        row, = self.loaded(server)
        self.assertEqual((row["size"] // 2, row["context_length"]), (row["size_vram"], 7))

    def test_bytes_are_cut_anywhere(self):
        for fault in ({"do": "split", "bytes": 7}, {"do": "join"}):
            with self.subTest(fault["do"]):
                server, (_, lines) = self.one(fault, num_predict=64)
                self.assertTrue(lines[-1]["done"])
                self.assertTrue(any(ord(c) > 127 for line in lines for c in line["response"]), "UTF-8 is in there")
                chunks = server.record.requests[-1].chunks
                self.assertEqual(len(chunks) == 1, fault["do"] == "join")

    def test_metrics(self):
        _, (_, lines) = self.one({"do": "metrics", "set": {"eval_duration": -1}, "drop": ["prompt_eval_count"]})
        self.assertEqual(lines[-1]["eval_duration"], -1)
        self.assertNotIn("prompt_eval_count", lines[-1])

    def test_stall_and_close_and_exit(self):
        started = time.monotonic()
        self.one({"do": "stall", "seconds": 0.5, "after": 2})
        self.assertGreater(time.monotonic() - started, 0.5)
        for fault in ({"do": "close", "after": 2}, {"do": "exit", "after": 2}, {"do": "close"}, {"do": "exit"}):
            with self.subTest(fault), self.assertRaises((http.client.HTTPException, ConnectionError)):
                self.one(fault)

    def test_which_request(self):
        server = self.serve(faults=[{"on": "generate", "nth": 2, "do": "http", "status": 503, "text": "busy"},
                                    {"on": "generate", "prompt_above": 300, "do": "http", "text": "long"}])
        self.assertEqual([self.ask(server, text)[0] for text in (self.TEXT, self.TEXT, self.TEXT, prose(30))],
                         [200, 503, 200, 500])

    def test_other_faults(self):
        server = self.serve(faults=[{"on": "tags", "do": "html"}, {"on": "version", "do": "half"},
                                    {"on": "generate", "do": "gone"}])
        self.assertIn("text/html", self.call(server, "GET", "/api/tags")[1])
        self.assertRaises(ValueError, json.loads, self.call(server, "GET", "/api/version")[2])
        self.assertEqual(self.ask(server, self.TEXT)[0], 404)
        self.assertEqual(self.call(server, "POST", "/api/show", {"model": MODEL})[0], 404)

    def test_huge_line(self):
        server = self.serve(faults=[{"on": "generate", "do": "huge", "mib": 8}])
        text = self.call(server, "POST", "/api/generate", {"model": MODEL, "prompt": "x"})[2]
        self.assertGreater(len(text), 8 << 20)
        self.assertEqual(text.count("\n"), 1)

    def test_a_bad_script_is_refused(self):
        for script in ({"faults": [{"on": "generate", "do": "nonsense"}]}, {"models": [{"contxt": 1}]}):
            with self.subTest(script), self.assertRaises(RuntimeError):
                self.serve(**script)

    def test_runner_process_shows_what_is_in_force(self):
        server = self.serve(runner_process=True)
        self.ask(server, "", 1024)
        lists = pathlib.Path(f"/proc/{server.process.pid}/task").glob("*/children")
        child, = (pid for file in lists for pid in file.read_text().split())
        command, end = "", time.monotonic() + 5
        while not command and time.monotonic() < end:  # empty between fork and exec
            command = pathlib.Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ")
        self.assertRegex(command, "^llama-server .*-c 1024 -np 1 -b 512 -ub 512 --flash-attn auto -t 2")


if __name__ == "__main__":
    unittest.main()
