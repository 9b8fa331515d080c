# SPDX-License-Identifier: Apache-2.0
"""What the tests of the whole program share: a directory, an engine on it, running a command."""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

MILLRACE = os.path.abspath(os.environ.get("MILLRACE", "build/millrace"))
PATIENCE = 60  # seconds; the sanitizers and a busy machine are slow


def environment(**more):
    """The caller's, without what would lead a command to another engine."""
    kept = {name: value for name, value in os.environ.items()
            if name not in ("MILLRACE_SOCKET", "XDG_RUNTIME_DIR", "HWLOC_SYNTHETIC")}
    kept.update(more)
    return kept


class Ran:
    """A command that ended."""

    def __init__(self, result):
        self.code = result.returncode
        self.out = result.stdout.decode("utf-8", "surrogateescape")
        self.err = result.stderr.decode("utf-8", "surrogateescape")

    def json(self):
        return json.loads(self.out)

    def json_lines(self):
        return [json.loads(line) for line in self.out.splitlines()]

    def __repr__(self):
        return f"code {self.code}\nout: {self.out[:2000]}\nerr: {self.err[:2000]}"


class Program(unittest.TestCase):
    """Each test has a directory of its own and ends every process that it started."""

    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="mr-", dir=os.environ.get("TMPDIR", "/tmp"))
        self.processes = []
        self.data = os.path.join(self.directory, "data")
        self.socket = os.path.join(self.directory, "s")

    def tearDown(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream:
                    stream.close()
        shutil.rmtree(self.directory)

    # ---- running -------------------------------------------------------------------------

    def run_command(self, *words, stdin=b"", env=None):
        if isinstance(stdin, str):
            stdin = stdin.encode()
        return Ran(subprocess.run([MILLRACE, *words], input=stdin, capture_output=True,
                                  timeout=PATIENCE, check=False, cwd=self.directory,
                                  env=env or environment()))

    def client(self, command, *words, stdin=b""):
        """A command that talks to this test's engine."""
        return self.run_command(command, *words, "--socket", self.socket, stdin=stdin)

    def good(self, command, *words, stdin=b""):
        ran = self.client(command, *words, stdin=stdin)
        self.assertEqual(ran.code, 0, ran)
        return ran

    def start(self, *words, **more):
        """A process that goes on; killed at the end of the test if it is still there."""
        process = subprocess.Popen([MILLRACE, *words], cwd=self.directory,
                                   env=environment(), **more)
        self.processes.append(process)
        return process

    def start_engine(self, config=None):
        words = ["serve", "--data", self.data, "--socket", self.socket]
        if config:
            path = self.file("millrace.yaml", config)
            words += ["--config", path]
        log = open(os.path.join(self.directory, "engine.log"), "ab")
        engine = self.start(*words, stdout=log, stderr=log)
        log.close()
        self.wait_for(lambda: self.is_ready(engine), "the engine to be ready")
        return engine

    def is_ready(self, engine):
        if engine.poll() is not None:
            self.fail("the engine ended: " + self.engine_log())
        return self.run_command("topic", "list", "--socket", self.socket).code == 0

    def engine_log(self):
        with open(os.path.join(self.directory, "engine.log"), encoding="utf-8") as file:
            return file.read()

    def stop(self, process, how=signal.SIGTERM):
        """Ends it; returns its exit code."""
        process.send_signal(how)
        return process.wait(timeout=PATIENCE)

    # ---- small things --------------------------------------------------------------------

    def file(self, name, content):
        path = os.path.join(self.directory, name)
        with open(path, "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
        return path

    def wait_for(self, condition, what, seconds=PATIENCE):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                self.fail("waited in vain for " + what)
            time.sleep(0.05)

    def values(self, topic, *words):
        """The values of a topic, by `tail --json`."""
        return [row["value"] for row in self.good("tail", topic, "--json", *words).json_lines()]


class Counter(unittest.TextTestResult):
    """Counts what passed too."""

    passed = 0

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1


def main():
    """Runs the tests of the calling file and ends with the line that tests/tally.py reads."""
    program = unittest.main(module="__main__", exit=False, verbosity=2,
                            testRunner=unittest.TextTestRunner(stream=sys.stdout, verbosity=2,
                                                               resultclass=Counter))
    result = program.result
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    print(f"{result.passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)
