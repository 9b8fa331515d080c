#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What must hold of `millrace cert init`: what it makes works in any TLS library, is secret where
it must be, nothing is ever written over, and a run that fails leaves nothing behind."""
import os
import socket
import ssl
import stat
import subprocess
import threading

import support


class Cert(support.Program):
    def setUp(self):
        super().setUp()
        self.certificates = os.path.join(self.directory, "certs")

    def init(self, *words):
        return self.run_command("cert", "init", "--dir", self.certificates, *words)

    def made(self, *words):
        ran = self.init(*words)
        self.assertEqual(ran.code, 0, ran)
        return ran

    def path(self, name):
        return os.path.join(self.certificates, name)

    def contents(self):
        found = {}
        for name in os.listdir(self.certificates):
            with open(self.path(name), "rb") as file:
                found[name] = file.read()
        return found

    # ---- what is made --------------------------------------------------------------------

    def test_files_are_there_and_secret(self):
        old = os.umask(0)
        try:
            self.made("a", "b")
        finally:
            os.umask(old)
        self.assertEqual(sorted(os.listdir(self.certificates)),
                         ["a.key", "a.pem", "b.key", "b.pem", "ca.key", "ca.pem"])
        for name in os.listdir(self.certificates):
            self.assertEqual(stat.S_IMODE(os.stat(self.path(name)).st_mode), 0o600, name)
        self.assertEqual(stat.S_IMODE(os.stat(self.certificates).st_mode), 0o700)

    def test_it_says_what_goes_where(self):
        out = self.made("a", "b").out
        for words in ("host a: copy ca.pem, a.pem, a.key", "host b:", "node: b",
                      "certificate: /etc/millrace/b.pem", "ca.key goes to no host", "offline"):
            self.assertIn(words, out)
        self.assertNotIn("PRIVATE", out)

    def context(self, node, purpose):
        context = ssl.SSLContext(purpose)
        context.load_verify_locations(self.path("ca.pem"))
        context.load_cert_chain(self.path(f"{node}.pem"), self.path(f"{node}.key"))
        context.verify_mode = ssl.CERT_REQUIRED
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        return context

    def shake(self, client, server, expected):
        """One handshake over a socket pair by another program's library; the client's name."""
        mine, theirs = socket.socketpair()
        mine.settimeout(support.PATIENCE)
        theirs.settimeout(support.PATIENCE)
        heard = []

        def serve():
            try:
                with self.context(server, ssl.PROTOCOL_TLS_SERVER).wrap_socket(
                        theirs, server_side=True) as connection:
                    heard.append(connection.getpeercert()["subjectAltName"])
            except (ssl.SSLError, OSError):
                theirs.close()
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with self.context(client, ssl.PROTOCOL_TLS_CLIENT).wrap_socket(
                    mine, server_hostname=expected):
                pass
        finally:
            mine.close()
            thread.join()
        return heard[0]

    def test_any_library_takes_them_in_both_roles(self):
        self.made("a", "b")
        self.assertEqual(self.shake("a", "b", "b"), (("DNS", "a"),))
        self.assertEqual(self.shake("b", "a", "a"), (("DNS", "b"),))
        with self.assertRaises(ssl.SSLCertVerificationError):
            self.shake("a", "b", "c")

    def test_a_node_can_be_added_later(self):
        self.made("a")
        before = self.contents()
        ran = self.made("b")
        self.assertIn("the authority that was there", ran.out)
        after = self.contents()
        self.assertEqual({name: after[name] for name in before}, before)
        self.assertEqual(self.shake("a", "b", "b"), (("DNS", "a"),))

    def test_two_authorities_do_not_know_each_other(self):
        self.made("a")
        ours = self.certificates
        self.certificates = os.path.join(self.directory, "other")
        self.made("b")
        for name in ("b.pem", "b.key"):
            os.rename(self.path(name), os.path.join(ours, name))
        self.certificates = ours
        with self.assertRaises(ssl.SSLCertVerificationError):
            self.shake("a", "b", "b")

    def test_days_are_kept(self):
        self.made("--days", "10", "--ca-days", "10", "a")
        for name in ("a", "ca"):
            # pylint: disable=protected-access
            facts = ssl._ssl._test_decode_cert(self.path(f"{name}.pem"))
            from_s = ssl.cert_time_to_seconds(facts["notBefore"])
            until_s = ssl.cert_time_to_seconds(facts["notAfter"])
            self.assertEqual(until_s - from_s, 10 * 86400 + 3600, name)
        self.assertEqual(dict(facts["subject"][1])["commonName"], "millrace")

    # ---- what is refused -----------------------------------------------------------------

    def refused(self, words, *sentences):
        before = self.contents()
        ran = self.init(*words)
        self.assertEqual(ran.code, 1, ran)
        for sentence in sentences:
            self.assertIn(sentence, ran.err)
        self.assertRegex(ran.err, r"(?m)^  do:  ")
        self.assertEqual(ran.out, "")
        self.assertEqual(self.contents(), before)

    def test_nothing_is_written_over(self):
        self.made("a")
        self.refused(("a",), "'a.pem'", "EEXIST")
        self.refused(("b", "a"), "'a.pem'")
        os.unlink(self.path("a.pem"))
        self.refused(("a",), "'a.key'")
        os.unlink(self.path("a.key"))
        os.symlink("/nonexistent/elsewhere", self.path("a.key"))
        os.mkdir(self.path("sub"))  # and a link to nowhere is not followed
        os.rmdir(self.path("sub"))
        ran = self.init("a")
        self.assertEqual(ran.code, 1, ran)
        self.assertTrue(os.path.islink(self.path("a.key")))
        self.assertFalse(os.path.exists(self.path("a.pem")))

    def test_half_an_authority_is_told(self):
        self.made("a")
        os.rename(self.path("ca.key"), os.path.join(self.directory, "ca.key"))
        self.refused(("b",), "there is 'ca.pem' and no 'ca.key'", "bring 'ca.key' back")
        os.rename(os.path.join(self.directory, "ca.key"), self.path("ca.key"))
        os.unlink(self.path("ca.pem"))
        self.refused(("b",), "there is 'ca.key' and no 'ca.pem'")

    def test_an_authority_that_is_none_is_told(self):
        self.made("a")
        good = self.contents()

        def put(name, content):
            with open(self.path(name), "wb") as file:
                file.write(content)
        for name, content, sentence in (
                ("ca.pem", b"nonsense", "certificate cannot be read"),
                ("ca.key", b"nonsense", "key cannot be read"),
                ("ca.key", good["a.key"], "not that of its certificate"),
                ("ca.pem", b"", "cannot read 'ca.pem'")):
            put(name, content)
            ran = self.init("b")
            self.assertEqual(ran.code, 1, ran)
            self.assertIn(sentence, ran.err)
            self.assertFalse(os.path.exists(self.path("b.pem")))
            put(name, good[name])
        put("ca.pem", good["a.pem"])
        put("ca.key", good["a.key"])
        ran = self.init("b")
        self.assertIn("no authority's certificate", ran.err)

    def test_a_certificate_never_outlives_its_authority(self):
        ran = self.init("--ca-days", "5", "--days", "6", "a")
        self.assertEqual(ran.code, 1, ran)
        self.assertIn("outlive", ran.err)
        self.assertIn("--days", ran.err)
        self.assertEqual(os.listdir(self.certificates), [])
        self.made("--ca-days", "5", "--days", "5", "a")
        self.refused(("--ca-days", "9", "b"), "there is an authority", "--ca-days")

    def test_a_directory_that_cannot_be_is_told(self):
        self.certificates = os.path.join(self.directory, "no", "such")
        ran = self.init("a")
        self.assertEqual(ran.code, 1, ran)
        self.assertIn("cannot make the directory", ran.err)
        self.certificates = self.file("plain", "x")
        ran = self.init("a")
        self.assertEqual(ran.code, 1, ran)
        self.assertIn("cannot open the directory", ran.err)

    def test_a_run_that_fails_leaves_nothing(self):
        """Files of 512 bytes at most: keys can be written, certificates cannot."""
        ran = support.Ran(subprocess.run(
            ["sh", "-c", "trap '' XFSZ; ulimit -f 1; exec \"$@\"", "sh", support.MILLRACE, "cert",
             "init", "--dir", self.certificates, "a", "b"],
            capture_output=True, timeout=support.PATIENCE, check=False,
            env=support.environment()))
        self.assertEqual(ran.code, 1, ran)
        self.assertIn("cannot write 'ca.pem'", ran.err)
        self.assertEqual(os.listdir(self.certificates), [])
        self.made("a", "b")  # and nothing is in the way


if __name__ == "__main__":
    support.main()
