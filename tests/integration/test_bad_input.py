# SPDX-License-Identifier: Apache-2.0
"""What users and the world get wrong: one sentence each, the right exit status, nothing lost."""

import os
import pathlib
import shutil
import socket
import sqlite3
import subprocess
import threading
import unittest

from harness import (DONE, IMPOSSIBLE, INTERNAL, MODEL, NOT_FOUND, O3, UNAVAILABLE, USAGE, Case, free_port,
                     need_program, need_root)

TINY = {"models": [{"trained": 512}], "decode_scale": 0.1}
EMBEDDING = {"name": "nomic-embed-text:latest", "architecture": "nomic-bert", "capabilities": ["embedding"],
             "pooling": 1, "trained": 2048}
CLOUD = {"name": "gpt-oss:120b-cloud", "remote_host": "https://ollama.com:443", "remote_model": "gpt-oss:120b"}
SAFETENSORS = {"name": "mlx-llama:8b", "format": "safetensors"}


class Listener:
    """A TCP service that is no HTTP server: sends `greeting` to whoever comes, and then waits or closes."""

    def __init__(self, greeting, close):
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.sock.getsockname()[1]}"
        self.greeting, self.close_at_once, self.kept = greeting, close, []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                client, _ = self.sock.accept()
                client.sendall(self.greeting)
            except OSError:
                return
            if self.close_at_once:
                client.close()
            else:
                self.kept.append(client)

    def end(self):
        self.sock.close()
        for client in self.kept:
            client.close()


class TestServer(Case):
    """Nobody there, or somebody else."""

    def test_nobody(self):
        port = free_port()
        run = self.optimize(f"http://127.0.0.1:{port}")
        self.check_sentence(run, str(port), wanted=UNAVAILABLE)
        self.assertLess(run.wall_s, 10)

    def test_no_such_host(self):
        self.check_sentence(self.optimize("http://no-such-host.invalid:11434"), "no-such-host.invalid",
                            wanted=UNAVAILABLE)

    def test_what_is_no_url(self):
        for url in ("ftp://127.0.0.1", "http://127.0.0.1:99999", "http://[::1", "http://127.0.0.1:port", "not a url",
                    "http://", "x" * 5000):
            with self.subTest(url[:40]):
                run = self.optimize(url)
                self.check_calm(run)
                self.check_sentence(run, wanted=USAGE)

    def test_html_on_every_route(self):
        server = self.fake(faults=[{"on": "any", "do": "html"}])
        self.check_sentence(self.optimize(server), ("text/html", "html"), "Ollama", wanted=UNAVAILABLE)

    def test_html_with_an_error_status(self):
        for status in (403, 404, 502):
            with self.subTest(status):
                server = self.fake(faults=[{"on": "any", "do": "html", "status": status}])
                self.check_sentence(self.optimize(server), "Ollama", wanted=UNAVAILABLE)

    def test_500_on_every_route(self):
        server = self.fake(faults=[{"on": "any", "do": "http", "status": 500, "text": "database is locked"}])
        self.check_sentence(self.optimize(server), ("500", "database is locked"), wanted=UNAVAILABLE)

    def test_half_a_json(self):
        for route in ("version", "tags", "any"):
            with self.subTest(route):
                server = self.fake(faults=[{"on": route, "do": "half"}])
                self.check_sentence(self.optimize(server), "Ollama", wanted=UNAVAILABLE)

    def test_json_of_another_shape(self):
        for text in ("[]", "null", "42", '"0.32.15"', "{}", '{"version":7}', '{"models":7}', '{"models":[7,null,{}]}',
                     '{"models":[{"name":' + "[" * 3000 + "]" * 3000 + "}]}", "\x00\x01", ""):
            with self.subTest(text[:30]):
                server = self.fake(faults=[{"on": "any", "do": "raw", "text": text}])
                run = self.optimize(server)
                self.check_calm(run)
                self.assertIn(run.rc, (UNAVAILABLE, NOT_FOUND, INTERNAL), run)
                self.check_sentence(run)

    def test_a_stall(self):
        server = self.fake(faults=[{"on": "any", "do": "stall", "seconds": 900}])
        run = self.optimize(server, timeout=90)
        self.check_sentence(run, wanted=UNAVAILABLE)
        self.assertLess(run.wall_s, 60)

    def test_no_http_at_all(self):
        for greeting, close in ((b"SSH-2.0-OpenSSH_9.2p1\r\n", False), (b"", True), (b"\x16\x03\x01garbage", True),
                                (b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n{", True),
                                (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", True)):
            with self.subTest(greeting[:20]):
                service = Listener(greeting, close)
                self.addCleanup(service.end)
                run = self.optimize(service.url, timeout=90)
                self.check_sentence(run, wanted=UNAVAILABLE)

    def test_the_environment_names_the_server(self):
        server = self.fake(**TINY)
        for value in (server.url, server.url + "/", f"127.0.0.1:{server.port}", f"localhost:{server.port}",
                      f" '127.0.0.1:{server.port}' "):
            with self.subTest(value):
                run = self.o3("optimize", MODEL, "--quick", "--json", env={"OLLAMA_HOST": value})
                self.check_exit(run, DONE)


class TestModel(Case):
    def test_unknown_with_a_guess(self):
        server = self.fake()
        for name in ("smollm:135m", "smolm2:135m", "smollm2", "smollm2:135"):
            with self.subTest(name):
                self.check_sentence(self.optimize(server, model=name), name, MODEL, wanted=NOT_FOUND)

    def test_unknown_without_a_guess(self):
        server = self.fake()
        run = self.optimize(server, model="zzzzzzzz:999b")
        self.assertNotIn("did you mean", self.check_sentence(run, "zzzzzzzz:999b", wanted=NOT_FOUND))

    def test_no_models_at_all(self):
        server = self.fake(models=[])
        self.check_sentence(self.optimize(server), MODEL, wanted=NOT_FOUND)

    def test_pull_of_what_does_not_exist(self):
        server = self.fake(models=[])
        run = self.optimize(server, "--pull", model="nope:1b")
        self.check_sentence(run, "nope:1b")
        self.check_exit(run, NOT_FOUND, INTERNAL)

    def test_what_cannot_be_optimised(self):
        server = self.fake(models=[{}, EMBEDDING, CLOUD, SAFETENSORS])
        for name, word in (("nomic-embed-text", "embedding"), ("gpt-oss:120b-cloud", "cloud"),
                           ("mlx-llama:8b", "safetensors")):
            with self.subTest(name):
                self.check_sentence(self.optimize(server, model=name), name, word, wanted=IMPOSSIBLE)
        self.assertEqual(server.record.of("generate", "load"), [], "nothing was sent to them")

    def test_names_with_slashes_and_colons(self):
        name = "hf.co/bartowski/SmolLM2-135M-Instruct-GGUF:Q4_1"
        server = self.fake(models=[{"name": name, "trained": 512}])
        run = self.optimize(server, "--quick", model=name)
        self.check_exit(run, DONE)
        self.assertEqual(run.get("model"), name)
        self.check_exit(self.o3("preset", "list", name, "--json"), DONE)
        self.check_exit(self.o3("export", name, "json"), DONE)

    def test_latest_is_implied(self):
        server = self.fake(models=[{"name": "tiny", "trained": 512}])
        self.check_exit(self.optimize(server, "--quick", model="tiny"), DONE)
        loads = len(server.record.loads)
        self.check_exit(self.optimize(server, "--quick", model="tiny:latest"), DONE)
        self.assertEqual(len(server.record.loads), loads, "the same model under both names")

    def test_names_that_are_none(self):
        server = self.fake()
        for name in ("my model", " ", "", "a\nb", "../../etc/passwd", "%s%n", "x" * 5000, "smollm2:135m;rm -rf",
                     "\N{SNOWMAN}", b"\xff\xfe".decode("utf-8", "surrogateescape")):
            with self.subTest(name[:30]):
                run = self.optimize(server, model=name)
                self.check_calm(run)
                self.check_sentence(run)
                self.check_exit(run, USAGE, NOT_FOUND)


class TestConfiguration(Case):
    def config(self, text, *args):
        path = self.box.work / "my.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return self.o3("config", "check", path, *args)

    def test_broken_yaml_names_the_line(self):
        run = self.config("objectives:\n  max_context_priority: 0.8\n  throughput_priority: [0.6\nai_guidance:\n")
        said = self.check_sentence(run, "my.yaml", wanted=USAGE)
        self.assertRegex(said, r"my\.yaml:[345]")

    def test_unknown_key(self):
        run = self.config("---\nobjectives:\n  max_context_priorty: 0.8\n")
        self.check_sentence(run, "my.yaml:3", "max_context_priorty", "max_context_priority", wanted=USAGE)

    def test_wrong_type_and_range(self):
        for line, word in (("max_context_priority: much", "much"), ("stability_margin: 7", "7"),
                           ("stability_margin: -0.1", "-0.1"), ("max_context_priority: [1, 2]", "max_context_priority"),
                           ("max_context_priority: .nan", "max_context_priority"),
                           ("max_context_priority: {a: 1}", "max_context_priority")):
            with self.subTest(line):
                self.check_sentence(self.config(f"objectives:\n  {line}\n"), "my.yaml:2", word, wanted=USAGE)

    def test_hostile_files(self):
        bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
            f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9))
        for name, text in (("aliases", bomb), ("depth", "a: " + "[" * 20000), ("binary", bytes(range(256)) * 40),
                           ("big", "objectives:\n  max_context_priority: 0.8\n" + "# padding\n" * 2_000_000),
                           ("twice", "objectives:\n  stability_margin: 0.8\n  stability_margin: 0.9\n"),
                           ("list", "- a\n- b\n"), ("scalar", "hello\n"), ("two documents", "---\na: 1\n---\nb: 2\n"),
                           ("bad utf-8", b"objectives:\n  max_context_priority: \xff\xfe\n")):
            with self.subTest(name):
                run = self.config(text)
                self.check_calm(run)
                self.check_sentence(run, wanted=USAGE)
                self.assertLess(run.rss_kib, 128 * 1024)
                self.assertLess(run.wall_s, 5)

    def test_harmless_files(self):
        for name, text in (("empty", ""), ("comment", "# nothing\n"), ("start", "---\n"), ("null", "objectives:\n"),
                           ("emoji", "# \N{ROCKET} O3\nobjectives: { max_context_priority: 0.8 } # flow\n")):
            with self.subTest(name):
                self.check_exit(self.config(text), DONE)

    def test_a_file_that_is_not_there(self):
        for path in (self.box.work / "none.yaml", self.box.work):
            run = self.o3("config", "check", path)
            self.check_sentence(run, path.name)
            self.check_exit(run, USAGE, NOT_FOUND, INTERNAL)

    def test_optimize_refuses_it_before_it_touches_the_server(self):
        server = self.fake(**TINY)
        (self.box.work / "o3_ai_config.yaml").write_text("objectives:\n  nonsense: 1\n")
        run = self.optimize(server)
        self.check_sentence(run, "o3_ai_config.yaml:2", "nonsense", wanted=USAGE)
        self.assertEqual(server.record.of("generate", "load"), [])

    def test_bad_environment(self):
        server = self.fake(**TINY)
        run = self.optimize(server, "--quick", env={"O3_OBJECTIVES_STABILITY_MARGIN": "lots"})
        self.check_calm(run)
        self.check_sentence(run, "lots", wanted=USAGE)


class TestDataDirectory(Case):
    """Where O3 remembers."""

    def refused(self, run, *words):
        self.check_calm(run)
        self.check_sentence(run, *words, wanted=INTERNAL)

    def test_a_file_where_the_directory_should_be(self):
        server = self.fake(**TINY)
        for path in (self.box.data, self.box.data / "o3"):
            with self.subTest(path.name):
                shutil.rmtree(path, ignore_errors=True)
                path.write_text("mine")
                self.refused(self.optimize(server, "--quick"), str(path))
                self.assertEqual(path.read_text(), "mine", "not touched")
                path.unlink()
                self.box.data.mkdir(exist_ok=True)

    def as_nobody(self):
        need_root()
        need_program("setpriv")
        for folder in (O3, *O3.parents):
            if not os.stat(folder).st_mode & 0o001:
                self.skipTest(f"nobody cannot reach {folder}")
        return ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")

    def test_read_only_directory(self):
        prefix = self.as_nobody() if not os.geteuid() else ()
        server = self.fake(**TINY)
        self.box.data.chmod(0o555)
        self.addCleanup(self.box.data.chmod, 0o755)
        self.refused(self.optimize(server, "--quick", prefix=prefix), str(self.box.data))

    def test_read_only_database(self):
        prefix = self.as_nobody() if not os.geteuid() else ()
        server = self.fake(**TINY)
        self.check_exit(self.optimize(server, "--quick"), DONE)
        before = self.box.database.read_bytes()
        for path in (self.box.data, self.box.data / "o3"):
            path.chmod(0o555)
            self.addCleanup(path.chmod, 0o755)
        self.box.database.chmod(0o444)
        self.refused(self.optimize(server, "--force", "--quick", prefix=prefix), "o3.db")
        self.assertEqual(self.box.database.read_bytes(), before)

    def test_full_disk(self):
        need_root()
        server = self.fake(models=[{"trained": 1024}], decode_scale=0.1)
        for size in ("64k", "256k"):
            with self.subTest(size):
                made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", self.box.data],
                                      capture_output=True, text=True)
                if made.returncode:
                    self.skipTest(f"cannot mount a small tmpfs: {made.stderr.strip()}")
                self.addCleanup(subprocess.run, ["umount", self.box.data], capture_output=True)
                (self.box.data / "filler").write_bytes(b"\0" * (int(size[:-1]) * 1024 - 40960))
                run = self.optimize(server, "--samples", 40)
                self.check_calm(run)
                self.check_sentence(run, str(self.box.data), ("full", "space"), wanted=INTERNAL)
                subprocess.run(["umount", self.box.data], check=True)

    def kept_aside(self, content):
        """The old file, byte for byte, under another name; and a new database that works."""
        run = self.optimize(self.fake(**TINY), "--quick")
        self.check_calm(run)
        self.check_exit(run, DONE)
        aside = [path for path in self.box.database.parent.iterdir() if "aside" in path.name]
        self.assertIn(content, [path.read_bytes() for path in aside], [path.name for path in aside])
        self.assertIn("aside", run.err + " ".join(run.get("notes")), "and it is said")
        self.check_exit(self.o3("history"), DONE)

    def test_newer_database(self):
        self.box.database.parent.mkdir()
        with sqlite3.connect(self.box.database) as db:
            db.execute("create table run (id text, something_new text)")
            db.execute("insert into run values ('precious', 'data')")
            db.execute("pragma user_version = 9999")
        db.close()
        self.kept_aside(self.box.database.read_bytes())

    def test_garbage_database(self):
        self.box.database.parent.mkdir()
        self.box.database.write_bytes(bytes((i * 37 + i // 251) % 256 for i in range(20000)))
        self.kept_aside(self.box.database.read_bytes())

    def test_damaged_database(self):
        self.check_exit(self.optimize(self.fake(**TINY), "--quick"), DONE)
        with sqlite3.connect(self.box.database) as db:
            db.execute("pragma wal_checkpoint(truncate)")
        db.close()
        data = bytearray(self.box.database.read_bytes())
        data[4096:] = bytes(len(data) - 4096)
        for extra in ("-wal", "-shm"):
            pathlib.Path(str(self.box.database) + extra).unlink(missing_ok=True)
        self.box.database.write_bytes(data)
        self.kept_aside(bytes(data))

    def test_empty_database_is_no_damage(self):
        self.box.database.parent.mkdir()
        self.box.database.touch()
        self.check_exit(self.optimize(self.fake(**TINY), "--quick"), DONE)

    def test_two_at_a_time(self):
        """Two runs with one store: both end well, nothing is lost."""
        one, two = (self.fake(models=[{"trained": 512, "name": name}]) for name in ("one:1b", "two:1b"))
        first = self.start("optimize", "one:1b", "--host", one.url, "--json")
        second = self.start("optimize", "two:1b", "--host", two.url, "--json")
        for started in (first, second):
            self.check_exit(started.wait(), DONE)
        history = self.o3("history", "--json")
        self.check_exit(history, DONE)
        for name in ("one:1b", "two:1b"):
            self.assertIn(name, history.out)


if __name__ == "__main__":
    unittest.main()
