# SPDX-License-Identifier: Apache-2.0
"""An engine of a script's own, or a running one that it was given; its threads and counters; load.
"""
import os
import signal
import struct
import subprocess
import time

import script

COUNTERS_MAGIC = 0x544E434D  # include/millrace/format.h: struct mr_counters_header
HEADER_BYTES, ENTRY_BYTES, NAME_AT = 4096, 128, 16


def threads(pid):
    """{thread id: name}, the main thread as "control"."""
    found = {}
    for tid in sorted(int(name) for name in os.listdir(f"/proc/{pid}/task")):
        try:
            with open(f"/proc/{pid}/task/{tid}/comm", encoding="utf-8") as file:
                found[tid] = "control" if tid == pid else file.read().strip()
        except OSError:
            pass  # it ended meanwhile
    return found


def cpu_ns(pid, tid):
    """CPU time of a thread so far; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/task/{tid}/schedstat", encoding="utf-8") as file:
            return int(file.read().split()[0])
    except OSError:
        return 0


def workers(pid):
    return {tid: name for tid, name in threads(pid).items() if name.startswith("worker")}


def counters(path):
    """{name: value} of a data directory's file 'counters', as of now."""
    with open(path, "rb") as file:
        data = file.read()
    magic, _version, count = struct.unpack_from("=III", data)
    if magic != COUNTERS_MAGIC:
        raise script.Failed(f"'{path}' holds no counters")
    found = {}
    for i in range(count):
        entry = HEADER_BYTES + i * ENTRY_BYTES
        generation, kind = struct.unpack_from("=II", data, entry)
        if kind and generation % 2 == 0:
            name = data[entry + NAME_AT:entry + ENTRY_BYTES].split(b"\0")[0].decode()
            at = HEADER_BYTES + count * ENTRY_BYTES + 8 * i
            found[name] = struct.unpack_from("=Q", data, at)[0]
    return found


class Running:
    """An engine that runs. Given by its id, or started by Engine below."""

    def __init__(self, pid):
        self.pid = pid

    def counters_path(self):
        """It has the file mapped."""
        with open(f"/proc/{self.pid}/maps", encoding="utf-8") as file:
            for line in file:
                fields = line.split(None, 5)
                if len(fields) == 6 and fields[5].strip().endswith("/counters"):
                    return fields[5].strip()
        raise script.Failed(f"process {self.pid} has no counters: is it an engine?")

    def total(self, name):
        """Sum of a counter over what has it: "appended_records", "written_bytes"."""
        found = counters(self.counters_path())
        return sum(value for key, value in found.items() if key.endswith("." + name))


class Engine(Running):
    """`serve` on a directory of its own below a script.place()."""

    def __init__(self, program, place, config="", under=(), patience=30):
        self.program, self.place = program, place
        number = len(os.listdir(place))
        self.log = os.path.join(place, f"engine-{number}.log")
        self.socket = os.path.relpath(os.path.join(place, f"s{number}"), place)
        path = os.path.join(place, f"engine-{number}.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"data: data-{number}\nsocket: {self.socket}\n"
                       f"retention_bytes: 1 GiB\nsegment_bytes: 256 MiB\n{config}")
        with open(self.log, "wb") as log:
            self.process = script.start([*under, program, "serve", "--config", path],
                                        stdout=log, stderr=log, cwd=place)
        script.wait_for(self.ready, f"the engine to be ready: see {self.log}", patience)
        super().__init__(self.process.pid)

    def ready(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            text = file.read()
        if self.process.poll() is not None:
            raise script.Failed("the engine ended:\n" + text.strip())
        return "\nready" in text or text.startswith("ready")

    def stop(self):
        script.end(self.process, patience=60)

    def client(self, *words, **more):
        """A command against it, to its end."""
        command, *rest = words
        return script.output([self.program, command, *rest, "--socket", self.socket],
                             cwd=self.place, **more)


class Load:
    """`put` of lines of 99 bytes and a line's end at some rate, until stop(). The lines come from
    coreutils' `yes`, which costs a few percent of a core at full rate."""

    def __init__(self, engine, topic="load", rate=None, size=100, under=(), core=None):
        pinned = ["taskset", "-c", str(core)] if core is not None else []
        self.source = script.start(["yes", "x" * size], stdout=subprocess.PIPE)
        command = [*pinned, *under, engine.program, "put", topic, "--socket", engine.socket,
                   "--json"]
        if rate:
            command += ["--rate", str(rate)]
        self.put = script.start(command, stdin=self.source.stdout, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, cwd=engine.place)
        self.source.stdout.close()
        self.pid = self.put.pid

    def stop(self):
        """Ends it as Ctrl-C does."""
        if self.put.poll() is None:
            self.put.send_signal(signal.SIGINT)
        try:
            said = self.put.communicate(timeout=script.PATIENCE)[1]
        except subprocess.TimeoutExpired:
            script.end(self.put, signal.SIGKILL)
            said = "did not end"
        script.end(self.source)
        return said.strip()


def warm(engine, load, seconds=0.5):
    """Waits until records flow, and a little longer."""
    def flowing():
        if load.put.poll() is not None:
            raise script.Failed("the producer ended: " + load.stop())
        return engine.total("appended_records") > before
    before = engine.total("appended_records")
    script.wait_for(flowing, "records to flow")
    time.sleep(seconds)
