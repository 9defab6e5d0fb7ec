# SPDX-License-Identifier: Apache-2.0
"""The command line itself: help, suggestions, colour, completion, manual page. No server is needed."""

import os
import pty
import re
import select
import subprocess
import unittest

from harness import DONE, INTERNAL, O3, ROOT, USAGE, Case, need_program

COMMANDS = ("optimize", "predict", "preset list", "preset show", "apply", "export", "history", "config show",
            "config check", "hardware", "hardware capture", "monitor", "help")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def generated(*patterns):
    """The files of these names among the generated documents, wherever the build keeps them."""
    roots = (ROOT / "docs", ROOT / "share", O3.parent)
    return [path for root in roots if root.is_dir() for pattern in patterns for path in sorted(root.rglob(pattern))]


class TestHelp(Case):
    def check_narrow(self, text):
        wide = [line for line in text.splitlines() if len(line) > 80]
        self.assertEqual(wide, [], "lines over 80 columns")

    def test_overview(self):
        for args in (["help"], ["--help"], ["-h"]):
            with self.subTest(args):
                run = self.o3(*args)
                self.check_exit(run, DONE)
                self.check_narrow(run.out)
                self.assertEqual(run.err, "")
                for command in COMMANDS:
                    self.assertIn(command.split()[0], run.out)

    def test_no_command(self):
        run = self.o3()
        self.check_exit(run, USAGE)
        self.assertIn("help", run.out + run.err)

    def test_each_command(self):
        for command in COMMANDS:
            for args in (["help", *command.split()], [*command.split(), "--help"]):
                with self.subTest(args):
                    run = self.o3(*args)
                    self.check_exit(run, DONE)
                    self.check_narrow(run.out)
                    self.assertIn(f"o3 {command}", run.out)
                    self.assertEqual(run.err, "")

    def test_options_of_optimize(self):
        text = self.o3("help", "optimize").out
        for option in ("budget", "quick", "samples", "preset", "use-case", "config", "host", "json", "seed", "no-proof",
                       "unload-others", "force", "pull"):
            self.assertIn(f"--{option}", text)

    def test_every_command_has_json(self):
        for command in COMMANDS[:-1]:
            self.assertIn("--json", self.o3("help", *command.split()).out, command)

    def test_version(self):
        run = self.o3("--version")
        self.check_exit(run, DONE)
        self.assertRegex(run.out, r"^o3 \d+\.\d+\.\d+\n$")
        self.assertEqual(run.err, "")


class TestUsage(Case):
    def test_unknown_command(self):
        for word, guess in (("optimise", "optimize"), ("histroy", "history"), ("hardwear", "hardware")):
            self.check_sentence(self.o3(word), word, guess, wanted=USAGE)
        self.check_sentence(self.o3("frobnicate"), "frobnicate", "help", wanted=USAGE)
        self.check_sentence(self.o3("preset"), "preset list", wanted=USAGE)
        self.check_sentence(self.o3("preset", "lst"), "preset list", wanted=USAGE)

    def test_unknown_option(self):
        self.check_sentence(self.o3("optimize", "m", "--bugdet", "3m"), "--bugdet", "--budget", wanted=USAGE)
        self.check_sentence(self.o3("optimize", "m", "--qick"), "--qick", "--quick", wanted=USAGE)
        self.check_sentence(self.o3("hardware", "--zzzzzz"), "--zzzzzz", wanted=USAGE)
        self.check_sentence(self.o3("optimize", "m", "-z"), "-z", wanted=USAGE)

    def test_bad_values(self):
        for args, word in ((["--budget", "soon"], "soon"), (["--budget", "-5m"], "-5m"), (["--budget", "0"], "0"),
                           (["--budget", "1e999"], "1e999"), (["--samples", "0"], "0"), (["--samples", "-3"], "-3"),
                           (["--samples", "99999999999999999999"], "99999999999999999999"),
                           (["--samples", "5x"], "5x"), (["--seed", "x"], "x"), (["--host", ""], "--host"),
                           (["--quick=yes"], "--quick"), (["--samples"], "--samples"), (["--preset", "nope"], "nope"),
                           (["--use-case", "codding"], "coding")):
            with self.subTest(args):
                run = self.o3("optimize", "smollm2:135m", "--host", "127.0.0.1:9", *args) if "--host" not in args \
                    else self.o3("optimize", "smollm2:135m", *args)
                self.check_calm(run)
                self.check_sentence(run, word, wanted=USAGE)

    def test_wrong_number_of_words(self):
        for args in (["export"], ["export", "m"], ["apply"], ["history", "show"], ["hardware", "now"],
                     ["optimize", "a", "b"], ["config"], ["help", "nonsense"]):
            with self.subTest(args):
                run = self.o3(*args)
                self.check_calm(run)
                self.check_sentence(run, wanted=USAGE)

    def test_long_arguments(self):
        for args in (["x" * 100_000], ["optimize", "x" * 100_000], ["optimize", "m", "--" + "x" * 100_000],
                     ["optimize", "m", "--config", "x" * 100_000], ["optimize", "m", "--host", "x" * 100_000]):
            with self.subTest(args[0][:10]):
                run = self.o3(*args)
                self.check_calm(run)
                self.check_exit(run, USAGE, 3, INTERNAL)
                self.assertLess(len(run.err), 2000)


class TestStreams(Case):
    def terminal(self, *args, env=None):
        """What comes to a terminal."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen([O3, *args], stdin=theirs, stdout=theirs, stderr=theirs, cwd=self.box.work,
                                   env=self.box.environment({"TERM": "xterm-256color", **(env or {})}))
        os.close(theirs)
        seen = b""
        while select.select([ours], [], [], 30)[0]:
            try:
                data = os.read(ours, 65536)
            except OSError:
                break
            if not data:
                break
            seen += data
        os.close(ours)
        process.wait(10)
        return seen.decode(errors="replace")

    def test_no_colour_without_a_terminal(self):
        for args in (["help"], ["hardware"], ["config", "show"], ["nonsense"]):
            run = self.o3(*args, env={"TERM": "xterm-256color"})
            self.assertNotIn("\x1b", run.out + run.err, args)

    def test_no_color(self):
        for args in (["help"], ["hardware"], ["nonsense"]):
            self.assertNotRegex(self.terminal(*args, env={"NO_COLOR": "1"}), COLOUR, args)

    def test_json_has_no_colour_on_a_terminal(self):
        self.assertNotRegex(self.terminal("hardware", "--json"), COLOUR)

    def test_full_stdout(self):
        """What could not be written is an error, not a success."""
        for args in (["--version"], ["help"], ["hardware"], ["hardware", "--json"], ["config", "show", "--json"]):
            with self.subTest(args), open("/dev/full", "w") as full:
                done = subprocess.run([O3, *args], stdout=full, stderr=subprocess.PIPE, text=True, timeout=30,
                                      env=self.box.environment())
                self.assertEqual(done.returncode, INTERNAL, done.stderr)

    def test_closed_pipe(self):
        done = subprocess.run(["bash", "-c", f"'{O3}' config show --all | head -n 1"], capture_output=True, text=True,
                              timeout=30, env=self.box.environment())
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stderr, "")

    def test_without_a_home(self):
        run = self.o3("hardware", env={"HOME": None, "XDG_DATA_HOME": None, "XDG_CONFIG_HOME": None,
                                       "XDG_CACHE_HOME": None})
        self.check_calm(run)
        self.check_exit(run, DONE)

    def test_start_is_quick(self):
        times = sorted(self.o3("--version").wall_s for _ in range(7))
        self.assertLess(times[3], 0.2)


class TestDocuments(Case):
    def test_completion_loads(self):
        need_program("bash")
        files = [path for path in generated("*.bash", "completions/o3", "bash-completion*")
                 if path.is_file() and "o3" in path.read_text(errors="replace")]
        self.assertTrue(files, "no completion for bash was generated")
        done = subprocess.run(["bash", "-n", files[0]], capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def complete(self, script, *words):
        """What bash would offer after these words."""
        line = " ".join(words)
        code = (f"source '{script}'; COMP_WORDS=({' '.join(repr(word) for word in words)}); "
                f"COMP_CWORD={len(words) - 1}; COMP_LINE={line!r}; COMP_POINT={len(line)}; COMPREPLY=(); "
                "f=$(complete -p o3 | sed 's/.*-F \\([^ ]*\\).*/\\1/'); \"$f\" o3 "
                f"{words[-1]!r} {words[-2]!r}; printf '%s\\n' \"${{COMPREPLY[@]}}\"")
        return subprocess.run(["bash", "-c", code], capture_output=True, text=True, timeout=20).stdout.split()

    def test_completion_offers_commands_and_options(self):
        need_program("bash")
        files = generated("*.bash")
        self.assertTrue(files, "no completion for bash was generated")
        self.assertIn("optimize", self.complete(files[0], "o3", "opt"))
        self.assertIn("--budget", self.complete(files[0], "o3", "optimize", "--bu"))
        self.assertIn("list", self.complete(files[0], "o3", "preset", "l"))

    def test_manual_page(self):
        need_program("groff")
        files = generated("o3.1")
        self.assertTrue(files, "no manual page was generated")
        done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-P-c", files[0]], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0)
        self.assertEqual(done.stderr, "", "groff warns of nothing")
        plain = re.sub(r".\x08", "", done.stdout)       # bold is letters struck twice
        for word in ("NAME", "SYNOPSIS", "optimize", "--budget", "EXIT STATUS"):
            self.assertIn(word, plain)


if __name__ == "__main__":
    unittest.main()
