# SPDX-License-Identifier: Apache-2.0
"""What every script of perf-scripts/ shares: words to people, packages, a place for its files, and
processes that are ended by their id, whatever happens.

A script is a file that ends with `script.run(main, options)`. Exit codes: 0 answered, 1 cannot be
answered on this machine or something failed, 2 wrong usage.
"""
import argparse
import atexit
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
REPORT = os.path.join(ROOT, "perf-report")
NAME = os.path.basename(sys.argv[0])
PATIENCE = 20  # seconds that a process gets to end by itself


class Failed(Exception):
    """What failed, and what to do; 'code' is the script's exit code."""

    def __init__(self, what, do=None, code=1):
        super().__init__(what)
        self.what, self.do, self.code = what, do, code


def wrong(what, do=None):
    return Failed(what, do or f"perf-scripts/{NAME} --help", 2)


def say(*words):
    """A line of the answer."""
    print(*words, flush=True)


def progress(*words):
    """A line for who watches."""
    if sys.stderr.isatty():
        print(f"{NAME}:", *words, file=sys.stderr, flush=True)


def options(question, examples):
    """An argument parser; the question and the examples are what --help adds."""
    text = "Examples:\n" + "".join(f"  perf-scripts/{line}\n" for line in examples)
    return argparse.ArgumentParser(
        prog=f"perf-scripts/{NAME}", description=question, epilog=text,
        formatter_class=argparse.RawDescriptionHelpFormatter)


def between(least, most, kind=float):
    """For add_argument(type=...): a number within bounds."""
    def check(text):
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no number from {least} to {most}")
        return value
    return check


def list_of(check):
    """For add_argument(type=...): several, with commas between."""
    return lambda text: [check(word) for word in text.split(",")]


def add_seconds(parser, default):
    parser.add_argument("--seconds", type=between(0.2, 600), default=default, metavar="N",
                        help=f"how long each measurement takes (default {default:g})")


def add_engine(parser):
    """Options of a script that starts an engine of its own."""
    parser.add_argument("--build", default=os.path.join(ROOT, "build"), metavar="DIR",
                        help="the build to look at (default build)")
    parser.add_argument("--data", default=None, metavar="DIR",
                        help="where to put a temporary data directory, which decides the disk "
                             "(default perf-report)")


def add_pid(parser):
    parser.add_argument("--pid", type=between(1, 1 << 30, int), metavar="PID",
                        help="look at this running engine, and put no load on it")


def program(build):
    """The millrace of a build directory."""
    path = os.path.join(os.path.abspath(build), "millrace")
    if not os.access(path, os.X_OK) or os.path.isdir(path):
        raise wrong(f"there is no program '{path}'",
                    "./mill build, or name the directory of a build")
    return path


def check_pid(pid):
    """Refuses what is no engine."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
            comm = file.read().strip()
    except OSError:
        raise wrong(f"there is no process {pid}", "pgrep -x millrace") from None
    if comm != "millrace":
        raise wrong(f"process {pid} is '{comm}', not an engine", "pgrep -x millrace")
    if not os.access(f"/proc/{pid}/maps", os.R_OK):
        raise Failed(f"process {pid} belongs to another user", "run this as root")
    return pid


def need_root(what):
    if os.geteuid() != 0:
        raise Failed(f"{what} needs root", f"sudo perf-scripts/{NAME} ...")


def need_packages(*names):
    """Debian packages, installed the way ./mill does it. Says nothing when they are there."""
    result = subprocess.run([os.path.join(ROOT, "mill"), "packages", *names], text=True,
                            stdout=sys.stderr, check=False)
    if result.returncode:
        raise Failed("cannot have the packages " + " ".join(names), "see apt-get's message above")


def report_path(name):
    """A file that stays, in perf-report/."""
    os.makedirs(REPORT, exist_ok=True)
    return os.path.join(REPORT, name)


def shown(path):
    """A path as a person would type it."""
    relative = os.path.relpath(path)
    return path if relative.startswith("../../..") else relative


# ---- what is cleaned up ----------------------------------------------------------------------

_processes = []
_places = []


def place(parent=None):
    """A directory for engines' data, removed at the end. 'parent' decides which disk."""
    if parent is None:
        os.makedirs(REPORT, exist_ok=True)
        parent = REPORT
    if not os.path.isdir(parent):
        raise wrong(f"there is no directory '{parent}'")
    path = tempfile.mkdtemp(prefix="tmp.", dir=parent)
    _places.append(path)
    return path


def start(command, **more):
    """A process of ours. It is ended at the end if it still runs."""
    process = subprocess.Popen(command, **more)
    _processes.append(process)
    return process


def end(process, how=signal.SIGTERM, patience=PATIENCE):
    """Asks it to end, kills it when it does not; its exit code. By its id, never by a name."""
    if process.poll() is None:
        process.send_signal(how)
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    return process.returncode


def output(command, patience=60, check=True, **more):
    """Runs it to its end; what it printed. Refuses to go on when it failed."""
    process = start(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                    errors="replace", **more)
    try:
        out, err = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        end(process, patience=2)
        raise Failed(f"'{' '.join(command)}' took more than {patience:g} s") from None
    if check and process.returncode:
        raise Failed(f"'{' '.join(command)}' ended with {process.returncode}: {err.strip()}")
    return out


def wait_for(condition, what, patience=PATIENCE):
    limit = time.monotonic() + patience
    while not condition():
        if time.monotonic() > limit:
            raise Failed(f"waited in vain for {what}")
        time.sleep(0.02)


def clean_up():
    while _processes:
        end(_processes.pop(), patience=5)
    while _places:
        shutil.rmtree(_places.pop(), ignore_errors=True)


def _ended(number, _frame):
    raise SystemExit(128 + number)


def run(main, parser):
    """Parses, runs main(arguments), cleans up, exits."""
    signal.signal(signal.SIGTERM, _ended)
    signal.signal(signal.SIGHUP, _ended)
    atexit.register(clean_up)
    try:
        main(parser.parse_args())
    except Failed as failure:
        print(f"{NAME}: {failure.what}", file=sys.stderr)
        if failure.do:
            print(f"  do:  {failure.do}", file=sys.stderr)
        sys.exit(failure.code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # whoever read the answer has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
