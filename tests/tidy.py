#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Style is a test: what style.md asks for and a program can see.

    tests/tidy.py [--root DIR] [--cc CC] [--cxx CXX] [--include DIR]...

Reads every source file below the root (needs no git), prints FILE:LINE: what is wrong and what to
do, and ends with "N passed, N failed": rules kept, findings. With --cc and --cxx it also compiles
each header alone, in C, and those for applications in C++ too.
"""
import argparse
import os
import re
import subprocess
import sys

LINE_WIDTH = 100
TAB_WIDTH = 8
FUNCTION_LINES = 70
NESTING = 3
FILE_LINES = 1000
LICENCE = "SPDX-License-Identifier: Apache-2.0"

# A file may include headers of its own folder and of folders with a smaller number. Folders of
# one number never include each other. What is not named here (tests) may include anything.
LAYERS = (
    ("examples/", 1, ("include/",)),
    ("include/", 0, None),
    ("ringbuf/", 1, None),
    ("engine/base/", 2, None),
    ("engine/log/", 3, None),
    ("engine/replica/", 4, None),
    ("engine/pipeline/", 4, None),
    ("engine/serve/", 4, None),
    ("bench/", 6, None),
    ("engine/cli/", 7, None),
    ("engine/", 5, None),
)
INCLUDE_PATH = ("include", "ringbuf", "engine", "engine/base", "engine/cli", "bench",
                "tests/support")

# Not a member and not part of a longer name: calls of the C library itself.
CALL = r"(?<![\w.>])(?:%s)\s*\("
BANNED = (
    ("strcpy|stpcpy|strcat|strncat|strncpy", "snprintf or memcpy with a checked length"),
    ("sprintf|vsprintf", "snprintf"),
    ("gets", "fgets or getline"),
    ("atoi|atol|atoll|atof", "strtol and its kin, with the end and errno checked"),
    ("strtok|strtok_r", "strcspn or strsep"),
    ("localtime|gmtime|ctime|asctime|ctime_r|asctime_r|localtime_r", "gmtime_r: times are UTC"),
    ("rand|srand|random|srandom|drand48", "getrandom, or a seeded generator of the test's own"),
    ("alloca", "a bound array, or memory taken at start"),
    ("setjmp|longjmp", "a returned error"),
    ("vfork", "posix_spawn"),
    ("mktemp|tmpnam|tempnam", "mkdtemp or mkostemp"),
)
# These a test may use.
BANNED_IN_THE_PROGRAM = (
    ("system|popen", "posix_spawn with an argument list"),
    ("signal", "sigaction or signalfd"),
    ("usleep|sleep", "a wait with a reason: poll, a queue's wait"),
)

# Only these may touch disk or time; everybody else goes through base/io.h and base/clock.h.
DOORS = (
    ("disk",
     r"open|openat|creat|pread|pwrite|preadv2?|pwritev2?|fsync|fdatasync|sync_file_range|fallocate|"
     r"posix_fallocate|ftruncate|truncate|rename|renameat|renameat2|unlink|unlinkat|mkdir|mkdirat|"
     r"opendir|fdopendir|statvfs|fstatvfs|fopen|flock|io_uring_\w+",
     "base/io.h",
     (r"engine/base/io\w*\.c", r"ringbuf/\w+\.c",
      r"engine/base/place\w*\.c",           # /proc and /sys, read only
      r"engine/base/config\w*\.c",          # its file, before there is a directory
      r"engine/cli/\w+\.c",                 # input files, /proc, the demo's directory
      r"engine/serve/local\.c",             # its socket's name
      r"engine/\w+/\w+_main\.c",           # run by the build
      r"engine/\w*host\w*\.c", r"engine/engine\.c")),
    ("time", r"clock_gettime|gettimeofday|time|ftime|timespec_get", "base/clock.h",
     (r"engine/base/clock\.c", r"ringbuf/\w+\.c")),
)
PRINTERS = re.compile(r"engine/\w+\.c|engine/cli/|engine/base/diag\.c|engine/\w+/\w+_main\.c|"
                      r"ringbuf/error\.c|ringbuf/check\.c|examples/|tests/|bench/|perf-scripts/")

# Files written by hand in other shapes, or whose bytes are data.
SKIPPED_FOLDERS = {".git", "__pycache__", "corpus", "millrace-data", "bench-report",
                   "perf-report"}


class Findings:
    """What was found, by rule."""

    def __init__(self):
        self.rules = {}

    def rule(self, name):
        self.rules.setdefault(name, 0)

    def add(self, name, path, line, words):
        self.rules[name] = self.rules.get(name, 0) + 1
        print(f"{path}:{line}: {words} [{name}]")


def files_below(root):
    """Paths relative to the root, sorted, without what is built."""
    found = []
    for folder, names, files in os.walk(root):
        names[:] = sorted(name for name in names
                          if name not in SKIPPED_FOLDERS and not name.startswith("build"))
        found += [os.path.relpath(os.path.join(folder, name), root) for name in files]
    return sorted(found)


def bare(text):
    """C without comments, strings and character constants; the same lines and columns."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match.group(0))
    pattern = (r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])+'")
    return re.sub(pattern, blank, text, flags=re.DOTALL)


def layer(path):
    for prefix, rank, only in LAYERS:
        if path.startswith(prefix):
            return prefix, rank, only
    return None


def resolve(root, path, name):
    """Which file of the tree an #include means, or None for one from outside."""
    here = os.path.dirname(path)
    for folder in (here,) + INCLUDE_PATH:
        candidate = os.path.normpath(os.path.join(folder, name))
        if os.path.isfile(os.path.join(root, candidate)):
            return candidate
    return None


def may_include(path, target):
    mine, theirs = layer(path), layer(target)
    if not mine:
        return True
    if not theirs:
        return False
    prefix, rank, only = mine
    if only is not None:
        return theirs[0] in only or theirs[0] == prefix
    return theirs[0] == prefix or theirs[1] < rank


def check_includes(root, path, text, findings):
    findings.rule("include direction")
    for number, line in enumerate(text.split("\n"), 1):
        match = re.match(r'\s*#\s*include\s+["<]([^">]+)[">]', line)
        target = match and resolve(root, path, match.group(1))
        if target and not may_include(path, target):
            findings.add("include direction", path, number,
                         f"includes {target}, which lies downstream of it")


def check_functions(path, text, findings):
    """Style puts a function's braces, and only those and structs', on column 0."""
    findings.rule("function length")
    opened = None
    for number, line in enumerate(text.split("\n"), 1):
        if line == "{":
            opened = number
        elif line == "}" and opened is not None:
            lines = number - opened - 1
            if lines > FUNCTION_LINES:
                findings.add("function length", path, opened,
                             f"a function of {lines} lines, at most {FUNCTION_LINES}")
            opened = None


def check_nesting(path, text, findings):
    """Each statement stands on its own line, indented by as many tabs as it is deep."""
    findings.rule("nesting")
    for number, line in enumerate(text.split("\n"), 1):
        match = re.match(r"(\t+)(?:if|for|while|do|switch)\b", line)
        if match and len(match.group(1)) > NESTING:
            findings.add("nesting", path, number,
                         f"{len(match.group(1))} deep, at most {NESTING}: a function of its own?")


def check_gotos(path, text, findings):
    findings.rule("goto goes forward")
    labels = set()
    for number, line in enumerate(text.split("\n"), 1):
        if line == "}":
            labels = set()
        label = re.match(r"\s*(\w+):$", line)
        if label:
            labels.add(label.group(1))
        target = re.search(r"\bgoto (\w+);", line)
        if target and target.group(1) in labels:
            findings.add("goto goes forward", path, number,
                         f"goes back to '{target.group(1)}': write a loop")


def check_comment(path, lines, findings):
    findings.rule("file comment")
    if len(lines) < 2 or not lines[1].startswith("/*"):
        findings.add("file comment", path, 2, "does not say what the file is, below its licence")


def check_lines(path, lines, findings):
    findings.rule("line length")
    findings.rule("file length")
    findings.rule("white space")
    for number, line in enumerate(lines, 1):
        width = len(line.expandtabs(TAB_WIDTH))
        if width > LINE_WIDTH:
            findings.add("line length", path, number, f"{width} columns, at most {LINE_WIDTH}")
        if line != line.rstrip():
            findings.add("white space", path, number, "white space at the end of the line")
    if len(lines) > FILE_LINES:
        findings.add("file length", path, len(lines), f"{len(lines)} lines, at most {FILE_LINES}")


def check_words(path, text, findings):
    findings.rule("no notes to self")
    for number, line in enumerate(text.split("\n"), 1):
        match = re.search(r"\b(TODO|FIXME|XXX|HACK)\b", line)
        if match:
            findings.add("no notes to self", path, number,
                         f"{match.group(1)}: do it, or write an issue")


def check_script_name(path, findings):
    """Beside a script that has the name of one of Python's own modules nothing else starts."""
    findings.rule("scripts have names of their own")
    name = os.path.basename(path).removesuffix(".py")
    if path.endswith(".py") and name in sys.stdlib_module_names:
        findings.add("scripts have names of their own", path, 1,
                     f"'{name}' is a module of Python's: take another name")


def check_licence(path, lines, findings):
    findings.rule("licence line")
    if path.endswith((".c", ".h")):
        good = bool(lines) and lines[0] == f"/* {LICENCE} */"
    else:
        good = any(line == f"# {LICENCE}" for line in lines[:2])
    if not good:
        findings.add("licence line", path, 1, f"does not begin with '{LICENCE}'")


def check_calls(path, code, findings):
    findings.rule("banned calls")
    banned = BANNED
    if not path.startswith("tests/"):
        banned += BANNED_IN_THE_PROGRAM
    for number, line in enumerate(code.split("\n"), 1):
        for names, instead in banned:
            match = re.search(CALL % names, line)
            if match:
                findings.add("banned calls", path, number,
                             f"{match.group(0).rstrip('( ')}: use {instead}")


def check_doors(path, code, findings):
    for name, calls, instead, allowed in DOORS:
        rule = f"one door to {name}"
        findings.rule(rule)
        if path.startswith(("tests/", "bench/", "examples/", "perf-scripts/")):
            continue
        if any(re.fullmatch(pattern, path) for pattern in allowed):
            continue
        for number, line in enumerate(code.split("\n"), 1):
            match = re.search(CALL % calls, line)
            if match:
                findings.add(rule, path, number,
                             f"{match.group(0).rstrip('( ')}: go through {instead}")


def check_language(path, code, findings):
    findings.rule("no typedef, no volatile")
    findings.rule("only the engine and the commands print")
    for number, line in enumerate(code.split("\n"), 1):
        if re.search(r"\btypedef\b", line):
            findings.add("no typedef, no volatile", path, number, "typedef: name the struct")
        if re.search(r"(?<!_)\bvolatile\b(?!__)", line) and not path.startswith("tests/"):
            findings.add("no typedef, no volatile", path, number, "volatile: use an atomic")
        if re.search(CALL % "printf|puts|putchar|perror|vprintf|psignal", line) \
                and not PRINTERS.match(path):
            findings.add("only the engine and the commands print", path, number,
                         "prints: return the error, or go through base/diag.h")


def check_c(root, path, text, findings):
    code = bare(text)
    check_includes(root, path, text, findings)
    check_comment(path, text.split("\n"), findings)
    check_functions(path, code, findings)
    check_nesting(path, code, findings)
    check_gotos(path, code, findings)
    check_calls(path, code, findings)
    check_doors(path, code, findings)
    check_language(path, code, findings)


def check_file(root, path, findings):
    with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
        text = file.read()
    lines = text.split("\n")
    if lines and lines[-1] == "":
        lines.pop()
    check_lines(path, lines, findings)
    check_licence(path, lines, findings)
    check_script_name(path, findings)
    if path != "tests/tidy.py" and path != "tests/tidy_test.py":
        check_words(path, text, findings)
    if path.endswith((".c", ".h")):
        check_c(root, path, text, findings)


def compile_header(path, compiler, flags):
    """The compiler's words about a file that includes this header alone, twice; empty if none."""
    source = f'#include "{path}"\n#include "{path}"\n'
    result = subprocess.run(compiler + flags + ["-fsyntax-only", "-"], input=source, text=True,
                            capture_output=True, check=False)
    return result.stderr if result.returncode else ""


def check_headers(root, paths, options, findings):
    findings.rule("headers stand alone in C")
    findings.rule("application headers stand alone in C++")
    includes = [f"-I{os.path.join(root, folder)}" for folder in INCLUDE_PATH]
    includes += [f"-isystem{folder}" for folder in options.include]
    strict = ["-Wall", "-Wextra", "-Werror"]
    for path in paths:
        if not path.endswith(".h") or path.startswith("tests/"):
            continue
        name = os.path.join(root, path)
        own = [f"-I{os.path.dirname(name)}"]
        said = compile_header(name, [options.cc], ["-xc", "-std=gnu17", "-D_GNU_SOURCE",
                                                   "-Wno-unused-parameter"]
                              + strict + own + includes)
        if said:
            findings.add("headers stand alone in C", path, 1, "does not compile alone:\n" + said)
        if path != "include/millrace.h":
            continue
        for standard in ("c++11", "c++17"):
            said = compile_header(name, [options.cxx], ["-xc++", f"-std={standard}"] + strict)
            if said:
                findings.add("application headers stand alone in C++", path, 1,
                             f"does not compile as {standard}:\n" + said)


def check_tree(root, options):
    findings = Findings()
    paths = files_below(root)
    for path in paths:
        script = path in ("mill", ".ci/run") or path.endswith((".sh", ".py")) or \
            re.fullmatch(r"perf-scripts/(peers\.d/)?[a-z0-9-]+", path)
        if script or path.endswith((".c", ".h")):
            check_file(root, path, findings)
    if options.cc and options.cxx:
        check_headers(root, paths, options, findings)
    return findings


def main():
    parser = argparse.ArgumentParser()
    here = os.path.dirname(os.path.abspath(__file__))
    parser.add_argument("--root", default=os.path.dirname(here))
    parser.add_argument("--cc")
    parser.add_argument("--cxx")
    parser.add_argument("--include", action="append", default=[])
    options = parser.parse_args()
    findings = check_tree(options.root, options)
    kept = sum(1 for count in findings.rules.values() if count == 0)
    failed = sum(findings.rules.values())
    print(f"{kept} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
