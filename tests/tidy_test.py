#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What must hold: tidy.py and tally.py see each thing that they are there to see, and nothing else.

A rule that finds nothing in a good tree proves little: here each one gets a tree that breaks it."""
import contextlib
import io
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tally  # noqa: E402
import tidy  # noqa: E402

LICENCE = "/* SPDX-License-Identifier: Apache-2.0 */\n"
HEAD = LICENCE + "/* What it is. */\n"


class Options:
    cc = cxx = None
    include = ()


def found(files):
    """The rules that a tree of these files breaks."""
    with tempfile.TemporaryDirectory() as root:
        for path, text in files.items():
            os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
            with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                file.write(text)
        with contextlib.redirect_stdout(io.StringIO()):
            findings = tidy.check_tree(root, Options)
    return {rule: count for rule, count in findings.rules.items() if count}


class Tidy(unittest.TestCase):
    def breaks(self, rule, path, code, **others):
        files = {path: HEAD + code}
        files.update({name: HEAD for name in others.get("beside", ())})
        self.assertEqual(found(files), {rule: 1}, code)

    def keeps(self, path, code, beside=()):
        files = {path: HEAD + code}
        files.update({name: HEAD for name in beside})
        self.assertEqual(found(files), {}, code)

    def test_no_script_hides_a_module(self):
        text = "# SPDX-License-Identifier: Apache-2.0\n"
        self.assertEqual(found({"tests/program/operator.py": text}),
                         {"scripts have names of their own": 1})
        self.assertEqual(found({"tests/program/operators.py": text, "tests/stat.sh": text}), {})

    def test_arrows_point_one_way(self):
        rule = "include direction"
        self.breaks(rule, "ringbuf/a.c", '#include "log/b.h"\n', beside=["engine/log/b.h"])
        self.breaks(rule, "engine/base/a.c", '#include "log/b.h"\n', beside=["engine/log/b.h"])
        self.breaks(rule, "engine/serve/a.c", '#include "replica/b.h"\n',
                    beside=["engine/replica/b.h"])
        self.breaks(rule, "engine/log/a.c", '#include "../worker.h"\n',
                    beside=["engine/worker.h"])
        self.breaks(rule, "examples/a.c", '#include "lane.h"\n', beside=["ringbuf/lane.h"])
        self.breaks(rule, "engine/log/a.c", '#include "support.h"\n',
                    beside=["tests/support/support.h"])
        self.keeps("engine/log/a.c", '#include "lane.h"\n#include "base/io.h"\n#include <io.h>\n',
                   ["ringbuf/lane.h", "engine/base/io.h"])
        self.keeps("engine/worker.c", '#include "serve/a.h"\n#include "replica/b.h"\n',
                   ["engine/serve/a.h", "engine/replica/b.h"])
        self.keeps("tests/unit/a.c", '#include "cli/a.h"\n', ["engine/cli/a.h"])

    def test_functions_files_and_lines_have_an_end(self):
        body = "\tx();\n" * 70
        self.keeps("ringbuf/a.c", "void a(void)\n{\n" + body + "}\n")
        self.breaks("function length", "ringbuf/a.c", "void a(void)\n{\n" + body + "\ty();\n}\n")
        self.keeps("ringbuf/a.c", "int x;\n" * 998)
        self.breaks("file length", "ringbuf/a.c", "int x;\n" * 999)
        self.keeps("ringbuf/a.c", "\t" * 12 + "abcd\n")
        self.breaks("line length", "ringbuf/a.c", "\t" * 12 + "abcde\n")
        self.keeps("ringbuf/a.c", "/* " + "é" * 94 + " */\n")
        self.breaks("white space", "ringbuf/a.c", "int x; \n")

    def test_functions_are_shallow(self):
        for word in ("if (x)", "for (;;) {", "while (x)", "do {", "switch (x) {"):
            with self.subTest(word=word):
                self.breaks("nesting", "ringbuf/a.c", f"void a(void)\n{{\n\t\t\t\t{word}\n}}\n")
                self.keeps("ringbuf/a.c", f"void a(void)\n{{\n\t\t\t{word}\n}}\n")
        self.keeps("ringbuf/a.c", "/*\n\t\t\t\tif this\n*/\n\t\t\t\tiffy();\n")

    def test_goto_goes_forward(self):
        self.breaks("goto goes forward", "ringbuf/a.c",
                    "void a(void)\n{\nagain:\n\tx();\n\tgoto again;\n}\n")
        self.keeps("ringbuf/a.c", "void a(void)\n{\n\tgoto fail;\nfail:\n\tx();\n}\n"
                                  "void b(void)\n{\n\tgoto fail;\nfail:\n\tx();\n}\n")

    def test_a_file_says_what_it_is(self):
        for path in ("ringbuf/a.c", "ringbuf/a.h", "tests/unit/a.c"):
            self.assertEqual(found({path: LICENCE + "int x;\n"}), {"file comment": 1})

    def test_banned_calls_are_seen_and_names_like_them_are_not(self):
        for call in ("strcpy(a, b)", "sprintf(a, b)", "strcat (a, b)", "x = atoi(a)", "gets(a)",
                     "strtok(a, b)", "localtime(a)", "rand()", "system(a)", "signal(1, f)"):
            with self.subTest(call=call):
                self.breaks("banned calls", "ringbuf/a.c", f"\t{call};\n")
        for code in ("my_strcpy(a, b)", "x->gets(a)", "x.signal(a)", "snprintf(a, 1, b)",
                     "gmtime_r(a, b)", 'f("strcpy(a)")', "/* strcpy(a) */", "strcpy_names"):
            with self.subTest(code=code):
                self.keeps("ringbuf/a.c", f"\t{code};\n")
        self.keeps("tests/unit/a.c", "\tsystem(a);\n\tusleep(1);\n")

    def test_disk_and_time_have_one_door(self):
        self.breaks("one door to disk", "engine/log/a.c", "\tfd = openat(a, b, c);\n")
        self.breaks("one door to disk", "engine/serve/a.c", "\tio_uring_get_sqe(ring);\n")
        self.breaks("one door to disk", "engine/log/a.c", "\trename(a, b);\n")
        self.keeps("engine/base/io_posix.c", "\tpwrite(a, b, c, d);\n")
        self.keeps("engine/log/a.c", "\tmr_io_open(a);\n\tio->operations->open(a);\n")
        self.breaks("one door to time", "engine/log/a.c", "\tclock_gettime(a, b);\n")
        self.keeps("engine/base/clock.c", "\tclock_gettime(a, b);\n")
        self.keeps("tests/unit/a.c", "\topen(a, b);\n\tclock_gettime(a, b);\n")

    def test_the_language_is_kept(self):
        self.breaks("no typedef, no volatile", "ringbuf/a.c", "typedef int x;\n")
        self.breaks("no typedef, no volatile", "ringbuf/a.c", "volatile int x;\n")
        self.keeps("ringbuf/a.c", "\t__asm__ __volatile__(a);\n")
        self.breaks("only the engine and the commands print", "engine/log/a.c", "\tprintf(a);\n")
        self.keeps("engine/worker.c", "\tprintf(a);\n")

    def test_notes_to_self_and_licences(self):
        note = "TO" + "DO"
        self.breaks("no notes to self", "ringbuf/a.c", f"/* {note}: later */\n")
        self.assertEqual(found({"ringbuf/a.c": "int x;\n"}), {"licence line": 1, "file comment": 1})
        self.assertEqual(found({"tests/a.sh": "#!/bin/sh\ntrue\n"}), {"licence line": 1})
        script = "#!/bin/sh\n# SPDX-License-Identifier: Apache-2.0\ntrue\n"
        self.assertEqual(found({"tests/a.sh": script}), {})

    def test_what_is_built_is_not_looked_at(self):
        self.assertEqual(found({"build-x/a.c": "typedef int x;\n"}), {})


class Tally(unittest.TestCase):
    SYNTHESIS = "[====] Synthesis: Tested: 8 | Passing: 6 | Failing: 1 | Crashing: 1 \n"
    GOOD = "[====] Synthesis: Tested: 8 | Passing: 8 | Failing: 0 | Crashing: 0 \n"

    def test_criterion_counts_single_tests(self):
        self.assertEqual(tally.count(self.SYNTHESIS, False)[:2], (6, 2))
        self.assertEqual(tally.count(self.GOOD, True)[:2], (8, 0))
        coloured = self.GOOD.replace("8", "\x1b[0;1m8\x1b[0m")
        self.assertEqual(tally.count(coloured, True)[:2], (8, 0))

    def test_a_script_counts_by_its_last_line(self):
        self.assertEqual(tally.count("1 passed, 1 failed\n5 passed, 2 failed\n", False)[:2],
                         (5, 2))
        self.assertEqual(tally.count("nothing to say\n", True)[:2], (1, 0))
        self.assertEqual(tally.count("nothing to say\n", False)[:2], (0, 1))

    def test_a_bad_end_is_a_failure_whatever_was_counted(self):
        self.assertEqual(tally.count(self.GOOD, False)[:2], (8, 1))
        self.assertEqual(tally.count("3 passed, 0 failed\n", False)[:2], (3, 1))

    def test_a_sanitizers_report_is_a_failure(self):
        for report in ("==7==ERROR: LeakSanitizer: detected memory leaks\n",
                       "==7==ERROR: AddressSanitizer: heap-use-after-free\n",
                       "WARNING: ThreadSanitizer: data race\n",
                       "../a.c:1:2: runtime error: shift exponent\n"):
            self.assertEqual(tally.count(report + self.GOOD, True)[:2], (8, 1), report)


if __name__ == "__main__":
    program = unittest.main(exit=False)
    bad = len(program.result.failures) + len(program.result.errors)
    print(f"{program.result.testsRun - bad} passed, {bad} failed")
    sys.exit(1 if bad else 0)
