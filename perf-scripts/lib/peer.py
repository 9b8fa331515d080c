# SPDX-License-Identifier: Apache-2.0
"""What the programs of peers.d/ share: their arguments, their one JSON document, servers, packages.

peers.d/NAME --seconds N --bytes N --data DIR [--core N] [--server-core N] prints one JSON object:

  name       as shown in the table
  kind       "peer", or "limit": what the machine can do with nothing of anybody in it
  durable    true: acknowledged means on the disk; false: it does not; null: there is no disk
  note       one sentence
  rows       [{setting, records_per_second, p50_us, p99_us}], null where not known

Exit code 0, or 1 with a sentence on stderr: it cannot be run here. It leaves nothing behind.
"""
import json
import os
import shutil
import socket
import subprocess
import sys

import script


def run(measure, question):
    """measure(options) returns the document."""
    parser = script.options(question, [f"peers.d/{script.NAME} --seconds 1 --data /tmp"])
    parser.prog = f"perf-scripts/peers.d/{script.NAME}"
    parser.add_argument("--seconds", type=script.between(0.2, 60), default=1, metavar="N",
                        help="how long each setting is measured (default 1)")
    parser.add_argument("--bytes", type=script.between(1, 4096, int), default=100, metavar="N",
                        help="of a record's value (default 100)")
    parser.add_argument("--data", metavar="DIR", help="on which disk (default perf-report)")
    parser.add_argument("--build", default=os.path.join(script.ROOT, "build"), metavar="DIR",
                        help="the build of Millrace (default build)")
    parser.add_argument("--core", type=script.between(0, 4095, int), metavar="N",
                        help="pin the client to it")
    parser.add_argument("--server-core", type=script.between(0, 4095, int), metavar="N",
                        help="pin the server to it")
    script.run(lambda options: print(json.dumps(measure(options))), parser)


def document(name, durable, note, rows, kind="peer"):
    return {"name": name, "kind": kind, "durable": durable, "note": note, "rows": rows}


def row(setting, records_per_second, p50_us=None, p99_us=None):
    return {"setting": setting, "records_per_second": records_per_second, "p50_us": p50_us,
            "p99_us": p99_us}


def pinned(core):
    return [] if core is None else ["taskset", "-c", str(core)]


def binary(name, package, need=script.need_packages):
    """A program's path; its package is installed where there is none."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if not path:
        need(package)
        path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if not path:
        raise script.Failed(f"'{package}' brought no '{name}'")
    return path


def unpacked(name, package):
    """A program from a package that is unpacked beside the report, not installed: to install a
    server is to start it for good. The file that there is stays for the next time."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if path:
        return path
    folder = script.report_path(os.path.join("packages", package))
    for place in ("usr/sbin", "usr/bin"):
        if os.access(os.path.join(folder, place, name), os.X_OK):
            return os.path.join(folder, place, name)
    os.makedirs(folder, exist_ok=True)
    if not download(package, folder):
        script.need_packages("--refresh")
        if not download(package, folder):
            raise script.Failed(f"cannot have the package {package}", "is there a network?")
    for file in os.listdir(folder):
        if file.endswith(".deb"):
            script.output(["dpkg", "-x", os.path.join(folder, file), folder])
            os.unlink(os.path.join(folder, file))
    return unpacked(name, package)


def download(package, folder):
    return subprocess.run(["apt-get", "-q", "-q", "-o", "APT::Sandbox::User=root", "download",
                           package], cwd=folder, stdout=sys.stderr, check=False).returncode == 0


def free_port():
    """A port of loopback that nobody has now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
