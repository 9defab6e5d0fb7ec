# SPDX-License-Identifier: Apache-2.0
"""o3 predict: from a server, from a saved answer, from a file, for another machine; and everything that is wrong."""

import json
import os
import pathlib
import sqlite3
import sys
import unittest

import gguf
from harness import DONE, FAKE, IMPOSSIBLE, INTERNAL, MODEL, NOT_FOUND, ROOT, UNAVAILABLE, USAGE, Case, free_port

sys.path.insert(0, str(FAKE.parent))
from models import Model  # noqa: E402

MIB = 1 << 20
KV_TOKEN = 30 * 2 * 3 * 64 * 2      # smollm2:135m, f16: layers, K and V, heads, width, bytes
DESKTOP = {"cpu": {"usable": 8}, "memory": {"ram_bytes": "64GiB", "available_bytes": "60GiB"}}
EMBEDDING = {"name": "embed", "capabilities": ["embedding"], "pooling": 1}
CLOUD = {"name": "far:cloud", "remote_host": "https://example.com", "remote_model": "far"}


class Predict(Case):
    def predict(self, *args, server=None, **keywords):
        where = ["--host", server.url] if server else []
        return self.o3("predict", *where, *args, **keywords)

    def answer(self, *args, **keywords):
        run = self.predict(*args, "--json", **keywords)
        self.check_exit(run, DONE)
        return run.json

    @staticmethod
    def lasting(answer):
        """Without what changes from moment to moment: how much memory is free."""
        for pool in answer["memory"]["pools"]:
            pool["room_bytes"] = None
        return answer

    def file(self, name, content):
        path = self.box.work / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    def nowhere(self):
        """An address at which nobody answers."""
        return {"OLLAMA_HOST": f"127.0.0.1:{free_port()}"}

    def gguf(self, name="m.gguf", metadata=None, model=None, **keywords):
        model = model or Model({})
        info = {key: item for key, item in model.show(True)["model_info"].items() if item is not None}
        info.pop("general.parameter_count")
        return gguf.write(self.box.work / name, {**info, **(metadata or {})},
                          [tensor for tensor, _ in model.tensors], **keywords)

    def check_ranges(self, here, path=""):
        """low <= mid <= high, wherever there is a range."""
        if isinstance(here, list):
            for i, item in enumerate(here):
                self.check_ranges(item, f"{path}[{i}]")
        elif isinstance(here, dict):
            if set(here) == {"low", "mid", "high"}:
                self.assertLessEqual(here["low"], here["mid"], path)
                self.assertLessEqual(here["mid"], here["high"], path)
            for key, item in here.items():
                self.check_ranges(item, f"{path}.{key}")


class TestServer(Predict):
    def test_one_model(self):
        server = self.fake()
        answer = self.answer(MODEL, "--num-ctx", 2048, "--num-batch", 512, server=server)
        memory = answer["memory"]
        self.assertEqual(memory["kv_bytes"], KV_TOKEN * 2048)
        self.assertEqual(memory["weights_bytes"], Model({}).weight_bytes)
        self.assertEqual(memory["output_bytes"], 4 * 49152)
        self.assertEqual(memory["state_bytes"], 0)
        self.assertEqual(sum(pool["kv_bytes"] for pool in memory["pools"]), memory["kv_bytes"])
        self.assertEqual(answer["prompt_cache_bytes_per_token"], KV_TOKEN)
        size = Model({}).size_bytes(2048, 512)
        self.assertAlmostEqual(memory["size_bytes"]["mid"] / size, 1, delta=0.01)
        self.check_ranges(answer)
        self.assertEqual(answer["ceiling_tokens"], 8192)
        self.assertEqual(answer["limited_by"], "training")
        self.assertGreater(answer["optimize_s"], 1)
        self.assertTrue(answer["origin"])
        self.assertEqual({request.kind for request in server.record.requests}, {"version", "tags", "ps", "show"})

    def test_table_of_contexts(self):
        answer = self.answer(MODEL, server=self.fake())
        contexts = [row["num_ctx"] for row in answer["contexts"]]
        self.assertEqual(contexts, [2048, 3072, 4096, 6144, 8192])
        self.assertEqual([(row["num_ctx"], row["depth_tokens"]) for row in answer["speed"]],
                         [(num_ctx, depth) for num_ctx in contexts for depth in (num_ctx // 2, num_ctx)])
        totals = [row["total_bytes"]["mid"] for row in answer["contexts"]]
        self.assertEqual(totals, sorted(totals))
        full = [row["decode_per_s"]["mid"] for row in answer["speed"][1::2]]
        self.assertEqual(full, sorted(full, reverse=True))
        ttft = [row["ttft_ms"]["mid"] for row in answer["speed"][1::2]]
        self.assertEqual(ttft, sorted(ttft))
        self.assertEqual(answer["setting"]["num_ctx"], 4096)    # what Ollama takes when nothing is named

    def test_text(self):
        server = self.fake(loaded={MODEL: 4096})
        for args in ([], [MODEL], [MODEL, "--num-ctx", "3000"]):
            run = self.predict(*args, server=server)
            self.check_exit(run, DONE)
            self.assertIn(MODEL, run.out)
            self.assertEqual([line for line in run.out.splitlines() if len(line) > 80], [])
            self.assertNotIn("\x1b", run.out)
            self.assertEqual(run.err, "")
        for words in ("Largest safe num_ctx", "Prompt cache", "o3 optimize", "2,048", "3,000", "`ollama ps`"):
            self.assertIn(words, run.out)
        self.assertEqual(server.record.of("generate", "load", "unload"), [])

    def test_remembered_by_digest(self):
        server = self.fake(models=[{"name": MODEL}, {"name": "again", "trained": 4096}])
        first = self.lasting(self.answer(MODEL, server=server))
        self.assertEqual(first, self.lasting(self.answer(MODEL, server=server)))
        self.assertEqual(len(server.record.of("show")), 1)
        self.answer(server=server)
        self.answer(server=server)
        self.assertEqual(len(server.record.of("show")), 2)
        with sqlite3.connect(self.box.database) as db:
            self.assertEqual(db.execute("select count(*) from document where kind = 'model'").fetchone()[0], 2)
            db.execute("update document set json = '{\"of\": \"another release\"}' where kind = 'model'")
        self.assertEqual(first, self.lasting(self.answer(MODEL, server=server)))
        self.assertEqual(len(server.record.of("show")), 3)

    def test_without_a_store(self):
        server = self.fake()
        (self.box.data / "o3").write_text("a file where the directory should be")
        run = self.predict(MODEL, "--json", server=server)
        self.check_exit(run, DONE)
        self.assertIn("nothing is remembered", run.err)
        self.assertEqual(run.json["ceiling_tokens"], 8192)

    def test_heads_by_layer(self):
        heads = [3, 0, 3, 1]
        server = self.fake(models=[{"name": "mixed", "layers": 4, "heads_kv": heads}])
        answer = self.answer("mixed", "--num-ctx", 2048, server=server)
        self.assertEqual(answer["memory"]["kv_bytes"], sum(heads) * 2 * 64 * 2 * 2048)
        asked = [bool(request.body.get("verbose")) for request in server.record.of("show")]
        self.assertEqual(asked, [False, True])

    def test_names(self):
        server = self.fake(models=[{"name": "tiny"}, {"name": MODEL}])
        self.assertEqual(self.answer("tiny", server=server)["model"], "tiny:latest")
        self.check_sentence(self.predict("smollm2:135", server=server), "smollm2:135", MODEL, wanted=NOT_FOUND)
        self.check_sentence(self.predict("zzzzzzz", server=server), "zzzzzzz", wanted=NOT_FOUND)
        self.check_sentence(self.predict(MODEL, env=self.nowhere()), "no server", wanted=UNAVAILABLE)

    def test_what_cannot_be(self):
        server = self.fake(models=[EMBEDDING, CLOUD, {"name": "safe", "format": "safetensors"}])
        for name, word in (("embed", "embeddings"), ("far:cloud", "cloud"), ("safe", "safetensors")):
            run = self.predict(name, server=server)
            self.check_sentence(run, name, word, wanted=IMPOSSIBLE)


class TestTable(Predict):
    def test_ranked(self):
        server = self.fake(models=[EMBEDDING, CLOUD, {"name": MODEL}, {"name": "wide", "trained": 40960}])
        models = self.answer(server=server)["models"]
        self.assertEqual([row["model"] for row in models[2:]], ["embed:latest", "far:cloud"])
        self.assertEqual({row["model"] for row in models[:2]}, {MODEL, "wide:latest"})
        self.assertEqual([row["runs"] for row in models], [True, True, False, False])
        self.assertIn("cloud", models[3]["why_not"])
        self.check_ranges(models)
        shown = {request.body["model"] for request in server.record.of("show")}
        self.assertNotIn("far:cloud", shown)
        text = self.predict(server=server).out
        for words in (MODEL, "wide:latest", "Not predicted", "only makes embeddings", "40,960"):
            self.assertIn(words, text)

    def test_another_machine(self):
        """A model that no context fits, and one that does."""
        machine = self.file("small.json", {"memory": {"ram_bytes": "230MiB", "available_bytes": "230MiB"}, "cpu": {"usable": 2}})
        server = self.fake(models=[{"name": MODEL}, {"name": "deep", "layers": 90}])
        models = self.answer("--machine", machine, server=server)["models"]
        self.assertEqual([(row["model"], row["runs"]) for row in models], [(MODEL, True), ("deep:latest", False)])
        self.assertEqual(models[1]["ceiling_tokens"], 0)
        self.assertLess(models[0]["ceiling_tokens"], 8192)
        one = self.answer(MODEL, "--machine", machine, server=server)
        self.assertEqual(one["ceiling_tokens"], models[0]["ceiling_tokens"])
        self.assertEqual(one["limited_by"], "ram")
        fits = {row["num_ctx"]: row["fits"] for row in one["contexts"]}
        self.assertTrue(fits[one["ceiling_tokens"]])
        self.assertFalse(fits[4096])
        self.assertFalse(one["fits"])
        self.assertEqual(server.record.of("ps"), [])

    def test_nothing_there(self):
        run = self.predict(server=self.fake(models=[]))
        self.check_exit(run, DONE)
        self.assertIn("no models", run.err)


class TestFlags(Predict):
    def setUp(self):
        super().setUp()
        self.server = self.fake(models=[{"name": MODEL}, {"name": "wide", "trained": 40960}])

    def memory(self, *args):
        return self.answer(MODEL, "--num-ctx", 4096, *args, server=self.server)["memory"]

    def test_each_counts(self):
        plain = self.memory("--num-batch", 512)
        self.assertEqual(self.memory("--num-batch", 512, "--kv-type", "q8_0")["kv_bytes"], plain["kv_bytes"] * 34 // 64)
        self.assertEqual(self.memory("--num-batch", 512, "--kv-type", "F32")["kv_bytes"], plain["kv_bytes"] * 2)
        self.assertEqual(self.memory("--num-batch", 512, "--parallel", 2)["kv_bytes"], plain["kv_bytes"] * 2)
        self.assertGreater(self.memory("--num-batch", 1024)["compute_bytes"]["mid"], 1.5 * plain["compute_bytes"]["mid"])
        self.assertGreater(self.memory("--num-batch", 512, "--flash-attention", "off")["compute_bytes"]["mid"],
                           1.5 * plain["compute_bytes"]["mid"])
        old = self.memory("--num-batch", 512, "--ollama", "0.24.0")
        self.assertEqual(old["kv_bytes"], plain["kv_bytes"])
        self.assertNotEqual(old["compute_bytes"]["mid"], plain["compute_bytes"]["mid"])

    def test_kept_in_the_answer(self):
        setting = self.answer(MODEL, "--num-ctx", 1000, "--num-batch", 64, "--num-thread", 3, "--num-gpu", 0, "--parallel", 2,
                              "--kv-type", "q4_0", "--flash-attention", "on", "--ollama", "v0.30.1",
                              server=self.server)["setting"]
        wanted = {"num_ctx": 1000, "num_batch": 64, "num_thread": 3, "num_gpu": 0, "use_mmap": None, "parallel": 2,
                  "kv_type": "q4_0", "flash_attention": True, "releases": "0.30.0 to 0.30.4"}
        self.assertEqual(setting, wanted)

    def test_above_the_trained_context(self):
        answer = self.answer(MODEL, "--num-ctx", 99999, server=self.server)
        self.assertEqual(answer["setting"]["num_ctx"], 8192)
        self.assertEqual(answer["memory"]["kv_bytes"], KV_TOKEN * 8192)
        self.assertTrue(any("99999" in note and "8192" in note for note in answer["notes"]), answer["notes"])

    def test_asked_context_is_in_the_table(self):
        contexts = [row["num_ctx"] for row in self.answer("wide", "--num-ctx", 5000, server=self.server)["contexts"]]
        self.assertIn(5000, contexts)
        self.assertEqual(contexts, sorted(set(contexts)))
        self.assertEqual(contexts[-1], 40960)

    def test_wrong_values(self):
        for args, words in (
                (["--kv-type", "q8_0", "--flash-attention", "off"], ("q8_0", "flash attention", "--flash-attention on")),
                (["--kv-type", "q8"], ("q8", "q8_0")), (["--kv-type", "q8_1"], ("q8_1", "q8_0")),
                (["--kv-type", "zzzzzz"], ("zzzzzz", "f16")), (["--flash-attention", "maybe"], ("maybe", "on")),
                (["--ollama", "new"], ("new", "0.32.15")), (["--num-ctx", "0"], ("--num-ctx", "0")),
                (["--num-ctx", "4k"], ("4k",)), (["--parallel", "1000"], ("1000",)), (["--num-batch", "-1"], ("-1",)),
                (["--num-gpu", "all"], ("all",)), (["--num-ctx", "99999999999"], ("99999999999",)),
                (["--show", "x", "--gguf", "y"], ("--show", "--gguf")), (["--gguf", "y"], (MODEL, "--gguf"))):
            with self.subTest(args):
                run = self.predict(MODEL, *args, server=self.server)
                self.check_calm(run)
                self.check_sentence(run, *words, wanted=USAGE)


class TestSavedAnswer(Predict):
    def show(self, **fields):
        return Model(fields).show(False)

    def test_as_from_the_server(self):
        machine = self.file("desk.json", DESKTOP)
        saved = self.file("smollm2", self.show())
        offline = self.answer("--show", saved, "--machine", machine, "--ollama", "0.32.15", env=self.nowhere())
        online = self.answer(MODEL, "--machine", machine, server=self.fake())
        for key in ("memory", "contexts", "speed", "ceiling_tokens", "setting", "trained_tokens"):
            self.assertEqual(offline[key], online[key], key)
        self.assertEqual(offline["model"], "smollm2")

    def test_no_server(self):
        """This machine, its limits, a current release; said once."""
        run = self.predict("--show", self.file("s.json", self.show()), "--json", env=self.nowhere())
        self.check_exit(run, DONE)
        self.assertEqual(run.err, "")
        self.assertIsNone(run.json["engine_version"])
        self.assertTrue(any("no Ollama answers" in note for note in run.json["notes"]))
        self.assertGreater(run.json["ceiling_tokens"], 0)

    def test_arrays_left_out(self):
        """An upper estimate that says so."""
        answer = self.answer("--show", self.file("s.json", self.show(layers=4, heads_kv=[3, 0, 3, 1])), "--machine",
                             self.file("desk.json", DESKTOP), "--num-ctx", 2048)
        self.assertGreaterEqual(answer["memory"]["kv_bytes"], 7 * 2 * 64 * 2 * 2048)
        self.assertTrue(any("upper estimate" in note for note in answer["notes"]), answer["notes"])

    def test_bad(self):
        for name, content, words, status in (
                ("broken.json", "{\"model_info\": ", (":1", "JSON"), USAGE), ("empty.json", "", ("JSON",), USAGE),
                ("list.json", [], ("no answer of /api/show",), USAGE), ("number.json", 7, ("JSON",), USAGE),
                ("error.json", {"error": "model 'x' not found"}, ("no answer", "not found"), USAGE),
                ("info.json", {"model_info": None}, ("no answer",), USAGE),
                ("tags.json", {"models": []}, ("no answer",), USAGE),
                ("bare.json", {"model_info": {}}, ("architecture",), IMPOSSIBLE),
                ("twice.json", '{"model_info": {}, "model_info": {}}', ("JSON", "duplicate"), USAGE),
                ("deep.json", "[" * 100000, ("JSON",), USAGE),
                ("embed.json", self.show(**EMBEDDING), ("embeddings",), IMPOSSIBLE)):
            with self.subTest(name):
                run = self.predict("--show", self.file(name, content), env=self.nowhere())
                self.check_calm(run)
                self.check_sentence(run, *words, wanted=status)

    def test_nulls_and_nonsense(self):
        """Every member null or of another type in turn: an answer or a sentence, never a crash."""
        machine = self.file("desk.json", DESKTOP)
        whole = self.show()
        cases = [(key, {**whole, key: value}) for key in whole for value in (None, 3, [None], "x")]
        cases += [(key, {**whole, "model_info": {**whole["model_info"], key: value}}) for key in whole["model_info"]
                  for value in (None, -1, 1e300)]
        for key, show in cases:
            with self.subTest(key):
                run = self.predict("--show", self.file("s.json", show), "--machine", machine, "--json")
                self.check_calm(run)
                self.check_exit(run, DONE, USAGE, IMPOSSIBLE)
                if run.rc:
                    self.check_sentence(run)
                else:
                    self.check_ranges(run.json)

    def test_no_such_file(self):
        for flag in ("--show", "--gguf", "--machine"):
            run = self.predict(flag, "nothing.here", env=self.nowhere())
            self.check_sentence(run, flag, "nothing.here", wanted=NOT_FOUND)
            run = self.predict(flag, self.box.work, env=self.nowhere())
            self.check_sentence(run, flag, "directory", wanted=USAGE)

    def test_no_permission(self):
        path = self.file("closed", self.show())
        path.chmod(0)
        if os.access(path, os.R_OK):
            raise unittest.SkipTest("root may read everything")
        for flag in ("--show", "--gguf", "--machine"):
            self.check_sentence(self.predict(flag, path, env=self.nowhere()), flag, "ermission", wanted=INTERNAL)


class TestFile(Predict):
    def test_as_from_the_server(self):
        machine = self.file("desk.json", DESKTOP)
        path = self.gguf()
        offline = self.answer("--gguf", path, "--machine", machine, "--ollama", "0.32.15", env=self.nowhere())
        online = self.answer(MODEL, "--machine", machine, server=self.fake())
        for key in ("memory", "contexts", "ceiling_tokens", "setting", "trained_tokens"):
            self.assertEqual(offline[key], online[key], key)
        self.assertEqual(offline["model"], "m.gguf")
        self.assertEqual(offline["parameters"], sum(self.elements(row) for row, _ in Model({}).tensors))

    @staticmethod
    def elements(tensor):
        count = 1
        for edge in tensor["shape"]:
            count *= edge
        return count

    def test_heads_by_layer(self):
        heads = [3, 0, 3, 1]
        path = self.gguf(model=Model({"layers": 4, "heads_kv": heads}))
        answer = self.answer("--gguf", path, "--num-ctx", 2048, env=self.nowhere())
        self.assertEqual(answer["memory"]["kv_bytes"], sum(heads) * 2 * 64 * 2 * 2048)

    def test_bad(self):
        whole = self.gguf("whole.gguf").read_bytes()[:6000]
        for name, raw, words in (
                ("empty", b"", ()), ("text", b"hello, I am no model\n" * 9, ("GGUF",)),
                ("short", whole[:20], ()), ("cut", whole[:5000], ()),
                ("counts", whole[:8] + b"\xff" * 16 + whole[24:], ()),
                ("length", whole[:24] + b"\xff\xff\xff\xff\xff\xff\xff\x7f" + whole[32:], ())):
            with self.subTest(name):
                path = self.box.work / name
                path.write_bytes(raw)
                run = self.predict("--gguf", path, env=self.nowhere())
                self.check_calm(run)
                self.check_sentence(run, name, *words, wanted=USAGE)
                self.assertLess(run.rss_kib, 40 * 1024)

    def test_unfinished_download(self):
        run = self.predict("--gguf", self.gguf("part.gguf", cut=1_000_000), env=self.nowhere())
        self.check_sentence(run, "part.gguf", wanted=USAGE)


class TestMachine(Predict):
    def setUp(self):
        super().setUp()
        self.model = self.gguf(model=Model({"layers": 40, "trained": 131072}))

    def on(self, machine, *args):
        return self.answer("--gguf", self.model, "--machine", self.file("machine.json", machine), *args, env=self.nowhere())

    def test_this_one_printed(self):
        run = self.o3("hardware", "--json", env=self.nowhere())
        self.check_exit(run, DONE)
        here = self.answer("--gguf", self.model, env=self.nowhere())
        for document in (run.json, run.json["profile"]):
            there = self.on(document)
            self.assertEqual(there["trained_tokens"], here["trained_tokens"])
            self.assertAlmostEqual(there["ceiling_tokens"], here["ceiling_tokens"], delta=4096)   # other use of the RAM

    def test_more_memory_holds_more(self):
        small, large = ({"memory": {"ram_bytes": size}, "cpu": {"usable": 4}} for size in ("1GiB", "2GiB"))
        self.assertLess(self.on(small)["ceiling_tokens"], self.on(large)["ceiling_tokens"])

    def test_a_graphics_card(self):
        gpu = {"name": "A card", "vendor": "nvidia", "memory_bytes": "24GiB", "bandwidth_bytes_per_s": 1e12, "fp16_flops": 1e14}
        answer = self.on({**DESKTOP, "gpus": [gpu]})
        self.assertEqual(len(answer["memory"]["pools"]), 2)
        self.assertEqual(answer["spilled_frac"], 0)
        self.assertIsNone(answer["on_device_decode_per_s"])
        self.assertEqual(answer["setting"]["num_ctx"], 32768)   # Ollama's tier for 24 GiB
        slow = self.on(DESKTOP, "--num-ctx", 32768)
        speed = {row["depth_tokens"]: row["decode_per_s"]["mid"] for row in answer["speed"]}
        for row in slow["speed"]:
            if row["depth_tokens"] in speed:
                self.assertGreater(speed[row["depth_tokens"]], row["decode_per_s"]["mid"])
        self.check_ranges(answer)

    def test_spilled(self):
        gpu = {"name": "A small card", "vendor": "nvidia", "memory_bytes": "2GiB", "bandwidth_bytes_per_s": 5e11}
        answer = self.on({**DESKTOP, "gpus": [gpu]}, "--num-ctx", 65536)
        self.assertGreater(answer["spilled_frac"], 0)
        self.assertLess(answer["spilled_frac"], 1)
        self.assertTrue(all(pool["kv_bytes"] > 0 for pool in answer["memory"]["pools"]))
        self.assertIsNotNone(answer["on_device_decode_per_s"])
        text = self.predict("--gguf", self.model, "--machine", self.box.work / "machine.json", "--num-ctx", 65536).out
        self.assertIn("Spilled", text)
        self.assertIn("machine.json", text)
        self.assertEqual([line for line in text.splitlines() if len(line) > 80], [])

    def test_bad(self):
        for machine, words in (({"memory": {"ram_byte": 1}}, ("memory.ram_byte", "ram_bytes")),
                               ({"memory": {"ram_bytes": "lots"}}, ("memory.ram_bytes", "24GiB")),
                               ({"gpu": []}, ("gpu", "gpus")), ([], ("object",)), ({}, ("memory.ram_bytes",)),
                               ("no json", ("JSON",))):
            with self.subTest(machine):
                run = self.predict("--gguf", self.model, "--machine", self.file("machine.json", machine))
                self.check_calm(run)
                self.check_sentence(run, "machine.json", *words, wanted=USAGE)

    def test_documented(self):
        text = (ROOT / "docs" / "machine.md").read_text()
        examples = [json.loads(part.split("```")[0]) for part in text.split("```json\n")[1:]]
        self.assertEqual(len(examples), 2)
        for example in examples:
            answer = self.on(example)
            self.assertGreater(answer["ceiling_tokens"], 100000)
            self.check_ranges(answer)


class TestAccuracy(Predict):
    ROWS = (("size_bytes", 105, 110, 120, 100, 0), ("size_bytes", 90, 100, 110, 100, 0),
            ("decode_per_s", 10, 20, 40, 30, 0), ("decode_per_s", 10, 20, 40, 50, 3))

    def test_nothing_yet(self):
        run = self.predict("--accuracy")
        self.check_exit(run, DONE)
        self.assertIn("no prediction was measured yet", run.err)
        self.assertEqual(self.predict("--accuracy", "--json").json["quantities"], [])
        self.check_sentence(self.predict(MODEL, "--accuracy"), MODEL, wanted=NOT_FOUND)

    def test_by_quantity(self):
        self.predict("--accuracy")
        with sqlite3.connect(self.box.database) as db:
            for quantity, low, mid, high, measured, learned in self.ROWS:
                db.execute("insert into forecast (model, model_digest, hardware, engine_version, quantity, low, mid, high, "
                           "measured, learned_from) values (?, '', '', '', ?, ?, ?, ?, ?, ?)",
                           (MODEL, quantity, low, mid, high, measured, learned))
        rows = {(row["quantity"], row["learned"]): row for row in self.predict("--accuracy", "--json").json["quantities"]}
        self.assertEqual(set(rows), {("size_bytes", False), ("decode_per_s", False), ("decode_per_s", True)})
        size = rows["size_bytes", False]
        self.assertEqual(size["count"], 2)
        self.assertAlmostEqual(size["error_frac"]["worst"], 0.1)
        self.assertAlmostEqual(size["error_frac"]["bias"], 0)
        self.assertEqual(size["inside"]["frac"], 0.5)
        self.assertAlmostEqual(rows["decode_per_s", True]["error_frac"]["worst"], -0.6)
        self.assertEqual(rows["decode_per_s", True]["inside"]["frac"], 0)
        text = self.predict("--accuracy", MODEL).out
        self.assertIn("decode_per_s, learned", text)
        self.assertEqual([line for line in text.splitlines() if len(line) > 80], [])
        self.check_sentence(self.predict("--accuracy", "other"), "other", wanted=NOT_FOUND)


class TestCost(Predict):
    def test_small(self):
        """Little memory, also with many models; the table of a thousand known models within a second."""
        server = self.fake(models=[{"name": f"m{i}", "trained": 8192 + i} for i in range(1000)])
        first = self.predict("--json", server=server, timeout=300)
        self.check_exit(first, DONE)
        again = self.predict("--json", server=server)
        self.assertEqual(len(again.json["models"]), 1000)
        self.assertEqual(len(server.record.of("show")), 1000)
        self.assertLess(again.rss_kib, 40 * 1024, again)
        self.assertLess(again.cpu_s, 1.0, "processor time of the second call")


if __name__ == "__main__":
    unittest.main()
