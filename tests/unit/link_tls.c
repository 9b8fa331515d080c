/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of connections under TLS: only a node with a certificate of our authority and the
 * name that is expected gets in, each other one is told apart in a sentence; bytes arrive as they
 * were sent however they were cut; a hostile peer costs a closed connection and nothing else.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "link_rig.h"
#include "replica/link_state.h"

static struct mr_link_rig_certificates certificates;
static struct mr_link_trust *trust_a, *trust_b;

static void set_up(void)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};

	sigaction(SIGPIPE, &ignore, NULL); /* as the engine does */
	mr_link_rig_certificates_open(&certificates);
	trust_a = mr_link_rig_trust(&certificates, "a");
	trust_b = mr_link_rig_trust(&certificates, "b");
	cr_assert(trust_a && trust_b);
}

static void tear_down(void)
{
	mr_link_trust_close(trust_a);
	mr_link_trust_close(trust_b);
	mr_link_rig_certificates_close(&certificates);
}

TestSuite(link_tls, .init = set_up, .fini = tear_down);

static void assert_open(const struct mr_link_rig *rig)
{
	cr_assert_eq(rig->a_result, 0, "%s", rig->a_error.what);
	cr_assert_eq(rig->b_result, 0, "%s", rig->b_error.what);
}

/* An authority of the same name that is not ours. */
static struct mr_certificate other_authority(void)
{
	struct mr_certificate_times times = {time(NULL) - 10, time(NULL) + 100000};
	struct mr_certificate other;

	cr_assert_eq(mr_certificate_authority("test", times, &other, NULL), 0);
	return other;
}

/* What the connecting side hears when the accepting side did not let it in: after its own step. */
static void hear(struct mr_link_rig *rig)
{
	char byte;

	if (rig->a_result == 0)
		rig->a_result = (int)mr_link_rig_receive(rig->a, &byte, 1, &rig->a_error);
}

/* ---- who gets in --------------------------------------------------------------------------------
 */

Test(link_tls, both_know_each_other_by_name)
{
	struct mr_link_rig rig = mr_link_rig_open(trust_a, trust_b, "b");

	assert_open(&rig);
	cr_assert_str_eq(mr_link_peer(rig.a), "b");
	cr_assert_str_eq(mr_link_peer(rig.b), "a");
	cr_assert(strstr(mr_link_security(rig.a), "TLS 1.3, TLS_"), "%s", mr_link_security(rig.a));
	cr_assert_str_eq(mr_link_security(rig.a), mr_link_security(rig.b));
	cr_assert_str_eq(mr_link_trust_name(trust_a), "a");
	cr_assert_gt(mr_link_rtt_us(rig.a), 0);
	mr_link_rig_close(&rig);
}

Test(link_tls, another_node_than_expected_is_refused_on_both_sides)
{
	struct mr_link_rig rig = mr_link_rig_open(trust_a, trust_b, "c");

	cr_assert_eq(rig.a_result, -EKEYREJECTED);
	cr_assert(strstr(rig.a_error.what, "is node 'b' by its certificate, expected 'c'"), "%s",
		  rig.a_error.what);
	cr_assert_eq(rig.b_result, -EKEYREJECTED);
	cr_assert(strstr(rig.b_error.what, "does not take our certificate"), "%s",
		  rig.b_error.what);
	mr_link_rig_close(&rig);
}

Test(link_tls, names_are_equal_byte_for_byte)
{
	static const char *const near[] = {"B", "b.", "bb", "*", ".b"};

	for (size_t i = 0; i < mr_array_count(near); i++) {
		struct mr_link_rig rig = mr_link_rig_open(trust_a, trust_b, near[i]);

		cr_assert_eq(rig.a_result, -EKEYREJECTED, "%s", near[i]);
		mr_link_rig_close(&rig);
	}
}

Test(link_tls, a_server_of_another_authority_is_refused)
{
	struct mr_certificate other = other_authority();
	struct mr_link_trust *stranger;
	struct mr_link_rig rig;

	mr_link_rig_certificates_add(&certificates, &other, "b", -10, 1000);
	mr_link_rig_write(mr_link_rig_path(&certificates, "ca", ".pem"), other.certificate, 0644);
	stranger = mr_link_rig_trust(&certificates, "b");
	rig = mr_link_rig_open(trust_a, stranger, "b");
	cr_assert_eq(rig.a_result, -EKEYREJECTED);
	cr_assert(strstr(rig.a_error.what, "of another authority"), "%s", rig.a_error.what);
	cr_assert(strstr(rig.a_error.what, "which says it is b"), "%s", rig.a_error.what);
	cr_assert(strstr(rig.b_error.what, "does not take our certificate"), "%s",
		  rig.b_error.what);
	mr_link_rig_close(&rig);
	mr_link_trust_close(stranger);
	mr_certificate_deinit(&other);
}

Test(link_tls, a_client_of_another_authority_is_refused_and_told)
{
	struct mr_certificate other = other_authority();
	char both[8192];
	struct mr_link_trust *stranger;
	struct mr_link_rig rig;

	/* It knows our authority, so takes us; its own certificate is of the other one. */
	snprintf(both, sizeof(both), "%s%s", certificates.authority.certificate, other.certificate);
	mr_link_rig_certificates_add(&certificates, &other, "a", -10, 1000);
	mr_link_rig_write(mr_link_rig_path(&certificates, "ca", ".pem"), both, 0644);
	stranger = mr_link_rig_trust(&certificates, "a");
	rig = mr_link_rig_open(stranger, trust_b, "b");
	cr_assert_eq(rig.b_result, -EKEYREJECTED);
	cr_assert(strstr(rig.b_error.what, "of another authority"), "%s", rig.b_error.what);
	hear(&rig);
	cr_assert_eq(rig.a_result, -EKEYREJECTED);
	cr_assert(strstr(rig.a_error.what, "does not take our certificate"), "%s",
		  rig.a_error.what);
	mr_link_rig_close(&rig);
	mr_link_trust_close(stranger);
	mr_certificate_deinit(&other);
}

/* Sending is the first thing that a feed does: it must hear the same as who receives. */
Test(link_tls, who_sends_first_hears_why_it_is_not_let_in)
{
	struct mr_certificate other = other_authority();
	struct iovec piece = {"hello", 5};
	char both[8192];
	struct mr_link_trust *stranger;
	struct mr_link_rig rig;
	ssize_t r = 0;

	snprintf(both, sizeof(both), "%s%s", certificates.authority.certificate, other.certificate);
	mr_link_rig_certificates_add(&certificates, &other, "a", -10, 1000);
	mr_link_rig_write(mr_link_rig_path(&certificates, "ca", ".pem"), both, 0644);
	stranger = mr_link_rig_trust(&certificates, "a");
	rig = mr_link_rig_open(stranger, trust_b, "b");
	cr_assert_eq(rig.a_result, 0);
	for (int i = 0; i < 100 && r >= 0; i++) {
		r = mr_link_send(rig.a, &piece, 1, &rig.a_error);
		(void)poll(NULL, 0, 1);
	}
	cr_assert_eq(r, -EKEYREJECTED, "%zd", r);
	cr_assert(strstr(rig.a_error.what, "does not take our certificate"), "%s",
		  rig.a_error.what);
	mr_link_rig_close(&rig);
	mr_link_trust_close(stranger);
	mr_certificate_deinit(&other);
}

/* Loads the certificate while it is good, then waits until it is not. */
Test(link_tls, an_expired_certificate_is_refused_with_its_date)
{
	struct mr_link_trust *old;
	struct mr_link_rig rig;

	mr_link_rig_certificates_add(&certificates, &certificates.authority, "old", -10, 2);
	old = mr_link_rig_trust(&certificates, "old");
	cr_assert(old);
	(void)poll(NULL, 0, 3100);
	rig = mr_link_rig_open(trust_a, old, "old");
	cr_assert_eq(rig.a_result, -EKEYREJECTED);
	cr_assert(strstr(rig.a_error.what, "it expired on "), "%s", rig.a_error.what);
	cr_assert(strstr(rig.b_error.what, "certificate expired"), "%s", rig.b_error.what);
	mr_link_rig_close(&rig);
	rig = mr_link_rig_open(old, trust_b, "b");
	cr_assert_eq(rig.b_result, -EKEYREJECTED);
	cr_assert(strstr(rig.b_error.what, "it expired on "), "%s", rig.b_error.what);
	mr_link_rig_close(&rig);
	mr_link_trust_close(old);
}

/* ---- clients and servers that are not ours ------------------------------------------------------
 */

/* Runs one end by OpenSSL itself, with what a test breaks, until our end is done. */
static void shake_with(SSL *ssl, struct mr_link *link, int *result, struct mr_error *err)
{
	*result = -EAGAIN;
	for (int i = 0; i < 2000 && *result == -EAGAIN; i++) {
		(void)SSL_do_handshake(ssl);
		*result = mr_link_step(link, err);
		if (i > 20)
			(void)poll(NULL, 0, 1);
	}
}

static SSL *foreign_client(SSL_CTX *context, const char *address)
{
	SSL *ssl = SSL_new(context);
	int fd = mr_link_rig_raw(address);

	fcntl(fd, F_SETFL, O_NONBLOCK);
	SSL_set_fd(ssl, fd);
	SSL_set_connect_state(ssl);
	return ssl;
}

static void foreign_close(SSL *ssl)
{
	close(SSL_get_fd(ssl));
	SSL_free(ssl);
}

/* Our accepting side against one client with 'context'. */
static int accept_foreign(SSL_CTX *context, struct mr_error *err)
{
	struct mr_link *link;
	char address[64];
	int listener = mr_link_rig_listen(address);
	SSL *ssl = foreign_client(context, address);
	int result;

	cr_assert_eq(mr_link_accept(mr_link_rig_accept(listener), trust_b, &link, err), 0);
	shake_with(ssl, link, &result, err);
	mr_link_close(link);
	foreign_close(ssl);
	close(listener);
	return result;
}

Test(link_tls, a_client_without_certificate_is_refused)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	struct mr_error err;

	cr_assert_eq(accept_foreign(context, &err), -EKEYREJECTED);
	cr_assert(strstr(err.what, "showed no certificate"), "%s", err.what);
	SSL_CTX_free(context);
}

static SSL_CTX *good_client_context(void)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());

	SSL_CTX_use_certificate_file(context, mr_link_rig_path(&certificates, "a", ".pem"),
				     SSL_FILETYPE_PEM);
	SSL_CTX_use_PrivateKey_file(context, mr_link_rig_path(&certificates, "a", ".key"),
				    SSL_FILETYPE_PEM);
	return context;
}

Test(link_tls, an_older_tls_is_refused)
{
	SSL_CTX *context = good_client_context();
	struct mr_error err;

	SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
	cr_assert_eq(accept_foreign(context, &err), -EPROTO);
	cr_assert(strstr(err.what, "TLS 1.3"), "%s", err.what);
	SSL_CTX_free(context);
}

static int sessions;

static int note_session(SSL *ssl, SSL_SESSION *session)
{
	sessions++;
	return 0;
}

/* A ticket would be a second way in, that lives longer than the certificate. */
Test(link_tls, no_ticket_is_given_and_no_early_data_taken)
{
	SSL_CTX *context = good_client_context();
	struct iovec piece = {"x", 1};
	struct mr_link *link;
	struct mr_error err;
	char address[64], byte;
	int listener = mr_link_rig_listen(address), result;
	SSL *ssl;

	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT);
	SSL_CTX_sess_set_new_cb(context, note_session);
	ssl = foreign_client(context, address);
	cr_assert_eq(mr_link_accept(mr_link_rig_accept(listener), trust_b, &link, &err), 0);
	shake_with(ssl, link, &result, &err);
	cr_assert_eq(result, 0, "%s", err.what);
	cr_assert_eq(mr_link_send(link, &piece, 1, &err), 1);
	for (int i = 0; i < 1000 && SSL_read(ssl, &byte, 1) != 1; i++)
		(void)poll(NULL, 0, 1);
	cr_assert_eq(sessions, 0);
	cr_assert_eq(SSL_SESSION_get_max_early_data(SSL_get_session(ssl)), 0);
	cr_assert_not(SSL_SESSION_is_resumable(SSL_get_session(ssl)));
	cr_assert_str_eq(mr_link_peer(link), "a");
	mr_link_close(link);
	foreign_close(ssl);
	close(listener);
	SSL_CTX_free(context);
}

/* A client may ask for small records. They are written one by one, also when the socket is full. */
Test(link_tls, a_peer_that_asks_for_small_records_gets_them)
{
	enum { BYTES = 3 << 20 };
	SSL_CTX *context = good_client_context();
	uint8_t *out = malloc(BYTES), *in = malloc(BYTES);
	size_t sent = 0, received = 0;
	struct mr_link *link;
	struct mr_error err;
	char address[64];
	int listener = mr_link_rig_listen(address), result;
	int small = 8192;
	bool waited = false;
	SSL *ssl;

	SSL_CTX_set_tlsext_max_fragment_length(context, TLSEXT_max_fragment_length_512);
	ssl = foreign_client(context, address);
	cr_assert_eq(mr_link_accept(mr_link_rig_accept(listener), trust_b, &link, &err), 0);
	shake_with(ssl, link, &result, &err);
	cr_assert_eq(result, 0, "%s", err.what);
	setsockopt(mr_link_fd(link), SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	for (size_t i = 0; i < BYTES; i++)
		out[i] = (uint8_t)(i * 7 + i / 1000);
	for (int i = 0; i < 1000000 && received < BYTES; i++) {
		struct iovec piece = {out + sent, BYTES - sent};
		ssize_t r = sent < BYTES ? mr_link_send(link, &piece, 1, &err) : 0;
		int got;

		cr_assert(r >= 0 || r == -EAGAIN, "%s", err.what);
		waited = waited || r == -EAGAIN;
		sent += r > 0 ? (size_t)r : 0;
		got = SSL_read(ssl, in + received, (int)(BYTES - received));
		cr_assert_leq(got, 512);
		received += got > 0 ? (size_t)got : 0;
	}
	cr_assert(waited);
	cr_assert_eq(received, BYTES);
	cr_assert_eq(memcmp(in, out, BYTES), 0);
	free(in);
	free(out);
	mr_link_close(link);
	foreign_close(ssl);
	close(listener);
	SSL_CTX_free(context);
}

/* ---- plain and TLS ------------------------------------------------------------------------------
 */

Test(link_tls, plain_talking_to_tls_is_told)
{
	struct mr_link_rig rig = mr_link_rig_open(NULL, trust_b, NULL);
	struct iovec piece = {"MRFD hello, I am plain", 22};

	/* b waits for a handshake until a says something */
	cr_assert_eq(rig.a_result, 0);
	cr_assert_eq(rig.b_result, -EAGAIN);
	cr_assert_eq(mr_link_send(rig.a, &piece, 1, &rig.a_error), 22);
	cr_assert_eq(mr_link_rig_step(rig.b, &rig.b_error), -EPROTO);
	cr_assert(strstr(rig.b_error.what, "does not speak TLS"), "%s", rig.b_error.what);
	cr_assert(strstr(rig.b_error.hint, "plain"));
	mr_link_rig_close(&rig);
}

Test(link_tls, tls_talking_to_plain_is_told)
{
	struct mr_link_rig rig = mr_link_rig_open(trust_a, NULL, "b");
	char bytes[64];

	cr_assert_eq(rig.b_result, 0);
	cr_assert_eq(mr_link_rig_receive(rig.b, bytes, sizeof(bytes), &rig.b_error), -EPROTO);
	cr_assert(strstr(rig.b_error.what, "speaks TLS"), "%s", rig.b_error.what);
	mr_link_close(rig.b);
	rig.b = NULL;
	cr_assert_eq(mr_link_rig_step(rig.a, &rig.a_error), -ECONNRESET);
	cr_assert(strstr(rig.a_error.what, "during the TLS handshake"), "%s", rig.a_error.what);
	cr_assert(strstr(rig.a_error.hint, "plain"));
	mr_link_rig_close(&rig);
}

Test(link_tls, a_plain_server_that_speaks_first_is_told)
{
	struct mr_link_rig rig = mr_link_rig_open(trust_a, NULL, "b");
	struct iovec piece = {"MRFD hello, I am plain", 22};

	cr_assert_eq(mr_link_send(rig.b, &piece, 1, &rig.b_error), 22);
	cr_assert_eq(mr_link_rig_step(rig.a, &rig.a_error), -EPROTO);
	cr_assert(strstr(rig.a_error.what, "does not speak TLS"), "%s", rig.a_error.what);
	mr_link_rig_close(&rig);
}

/* ---- what cannot work is told at start ----------------------------------------------------------
 */

static int open_trust(const char *authority, const char *certificate, const char *key,
		      struct mr_error *err)
{
	struct mr_link_trust *trust;
	char paths[3][200];
	int r;

	snprintf(paths[0], 200, "%s/%s", certificates.directory, authority);
	snprintf(paths[1], 200, "%s/%s", certificates.directory, certificate);
	snprintf(paths[2], 200, "%s/%s", certificates.directory, key);
	r = mr_link_trust_open(paths[0], paths[1], paths[2], &trust, err);
	if (r == 0)
		mr_link_trust_close(trust);
	return r;
}

Test(link_tls, files_that_cannot_work_are_told_at_start)
{
	struct mr_certificate other = other_authority();
	struct mr_error err;

	cr_assert_eq(open_trust("ca.pem", "a.pem", "a.key", &err), 0, "%s", err.what);
	cr_assert_eq(open_trust("gone.pem", "a.pem", "a.key", &err), -ENOENT);
	cr_assert(strstr(err.what, "gone.pem"), "%s", err.what);
	cr_assert_eq(open_trust("ca.pem", "gone.pem", "a.key", &err), -ENOENT);
	cr_assert_eq(open_trust("ca.pem", "a.pem", "gone.key", &err), -ENOENT);
	cr_assert_eq(open_trust("a.key", "a.pem", "a.key", &err), -EKEYREJECTED);
	cr_assert_eq(open_trust("ca.pem", "a.pem", "b.key", &err), -EKEYREJECTED);
	cr_assert(strstr(err.what, "b.key"), "%s", err.what);
	cr_assert_eq(open_trust("ca.pem", "a.key", "a.key", &err), -EKEYREJECTED);
	chmod(mr_link_rig_path(&certificates, "a", ".key"), 0644);
	cr_assert_eq(open_trust("ca.pem", "a.pem", "a.key", &err), -EPERM);
	cr_assert(strstr(err.what, "mode 0644"), "%s", err.what);
	chmod(mr_link_rig_path(&certificates, "a", ".key"), 0640);
	cr_assert_eq(open_trust("ca.pem", "a.pem", "a.key", &err), 0);
	mr_link_rig_certificates_add(&certificates, &certificates.authority, "past", -100, -50);
	cr_assert_eq(open_trust("ca.pem", "past.pem", "past.key", &err), -EKEYREJECTED);
	cr_assert(strstr(err.what, "expired on"), "%s", err.what);
	mr_link_rig_certificates_add(&certificates, &certificates.authority, "soon", 500, 900);
	cr_assert_eq(open_trust("ca.pem", "soon.pem", "soon.key", &err), -EKEYREJECTED);
	cr_assert(strstr(err.what, "not good before"), "%s", err.what);
	mr_link_rig_certificates_add(&certificates, &other, "else", -10, 900);
	cr_assert_eq(open_trust("ca.pem", "else.pem", "else.key", &err), -EKEYREJECTED);
	cr_assert(strstr(err.what, "another authority"), "%s", err.what);
	mr_certificate_deinit(&other);
}

/* ---- bytes --------------------------------------------------------------------------------------
 */

/* Of our authority, but with other names in it than one node's. */
static void write_odd_certificate(const char *name, const char *names)
{
	BIO *text = BIO_new_mem_buf(certificates.authority.certificate, -1);
	BIO *key_text = BIO_new_mem_buf(certificates.authority.key, -1);
	X509 *issuer = PEM_read_bio_X509(text, NULL, NULL, NULL);
	EVP_PKEY *issuer_key = PEM_read_bio_PrivateKey(key_text, NULL, NULL, NULL);
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *made = X509_new();
	X509_EXTENSION *extension = NULL;
	FILE *file = fopen(mr_link_rig_path(&certificates, name, ".pem"), "w");

	X509_set_version(made, X509_VERSION_3);
	X509_gmtime_adj(X509_getm_notBefore(made), -10);
	X509_gmtime_adj(X509_getm_notAfter(made), 1000);
	X509_set_pubkey(made, key);
	X509_set_issuer_name(made, X509_get_subject_name(issuer));
	if (names)
		extension = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, names);
	if (extension)
		X509_add_ext(made, extension, -1);
	cr_assert(X509_sign(made, issuer_key, EVP_sha256()) > 0);
	PEM_write_X509(file, made);
	fclose(file);
	mr_link_rig_write(mr_link_rig_path(&certificates, name, ".key"), "", 0600);
	file = fopen(mr_link_rig_path(&certificates, name, ".key"), "w");
	PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL);
	fclose(file);
	X509_EXTENSION_free(extension);
	X509_free(made);
	X509_free(issuer);
	EVP_PKEY_free(key);
	EVP_PKEY_free(issuer_key);
	BIO_free(text);
	BIO_free(key_text);
}

static const char *const odd_names[] = {NULL, "DNS:a,DNS:b", "IP:127.0.0.1", "DNS:*", "DNS:b c"};

Test(link_tls, a_certificate_must_name_one_node)
{
	struct mr_error err;

	for (size_t i = 0; i < mr_array_count(odd_names); i++) {
		write_odd_certificate("odd", odd_names[i]);
		cr_assert_eq(open_trust("ca.pem", "odd.pem", "odd.key", &err), -EKEYREJECTED);
		cr_assert(strstr(err.what, "names no node"), "%s", err.what);
	}
	write_odd_certificate("odd", "DNS:odd,IP:127.0.0.1");
	cr_assert_eq(open_trust("ca.pem", "odd.pem", "odd.key", &err), 0, "%s", err.what);
}

Test(link_tls, a_client_that_names_no_node_is_refused)
{
	for (size_t i = 0; i < mr_array_count(odd_names); i++) {
		SSL_CTX *context;
		struct mr_error err;

		write_odd_certificate("a", odd_names[i]);
		context = good_client_context();
		cr_assert_eq(accept_foreign(context, &err), -EKEYREJECTED);
		cr_assert(strstr(err.what, "names no node"), "%s", err.what);
		SSL_CTX_free(context);
	}
}

/* A generator of the test's own: what one seed does, it does again. */
static uint64_t random_next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/*
 * Offers bytes in pieces of every size, anew cut at each call and lying elsewhere each time, to a
 * peer that reads now and then, in parts of every size. Whatever was refused is offered again,
 * often with more behind it.
 */
static void exchange(struct mr_link *from, struct mr_link *to, size_t bytes, uint64_t seed)
{
	uint8_t *out = malloc(bytes), *in = malloc(bytes), *copy = NULL;
	size_t sent = 0, received = 0, end = 0;
	bool waited = false;
	struct mr_error err;

	for (size_t i = 0; i < bytes; i++)
		out[i] = (uint8_t)(i * 31 + i / 251 + seed);
	for (int turn = 0; turn < 2000000 && received < bytes; turn++) {
		struct iovec pieces[8];
		size_t left, at = sent;
		ssize_t r = 0;

		if (random_next(&seed) % 2)
			end = end + random_next(&seed) % (bytes / 8);
		end = end > bytes ? bytes : end;
		left = end - sent;

		free(copy); /* nobody may still look at what was offered before */
		copy = malloc(left + 1);
		memcpy(copy, out + sent, left);
		for (int i = 0; i < 8; i++) {
			size_t part = random_next(&seed) % (random_next(&seed) % 3 ? 200 : 50000);

			part = i == 7 || part > end - at ? end - at : part;
			pieces[i] = (struct iovec){copy + (at - sent), part};
			at += part;
		}
		if (left > 0)
			r = mr_link_send(from, pieces, 8, &err);
		cr_assert(r > 0 || r == -EAGAIN || left == 0, "%zd %s", r, err.what);
		cr_assert_eq(!!(mr_link_wants(from) & EPOLLOUT),
			     left > 0 && (r < 0 || (size_t)r < left));
		waited = waited || r == -EAGAIN;
		sent += r > 0 ? (size_t)r : 0;
		if (random_next(&seed) % 4 && left > 0)
			continue;
		r = mr_link_receive(to, in + received, 1 + random_next(&seed) % (bytes - received),
				    &err);
		cr_assert(r > 0 || r == -EAGAIN, "%zd %s", r, err.what);
		received += r > 0 ? (size_t)r : 0;
	}
	cr_assert(waited, "the socket took all at once: nothing was tested");
	cr_assert_eq(received, bytes);
	cr_assert_eq(memcmp(in, out, bytes), 0);
	free(copy);
	free(in);
	free(out);
}

/* Smaller buffers than what is sent, so that records are begun and not finished. */
static void shrink(struct mr_link_rig *rig, int bytes)
{
	setsockopt(mr_link_fd(rig->a), SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	setsockopt(mr_link_fd(rig->b), SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	setsockopt(mr_link_fd(rig->a), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	setsockopt(mr_link_fd(rig->b), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
}

Test(link_tls, bytes_arrive_however_they_are_cut)
{
	struct mr_link_rig rig = mr_link_rig_open(trust_a, trust_b, "b");

	assert_open(&rig);
	shrink(&rig, 100000);
	exchange(rig.a, rig.b, 6 << 20, 88172645463325252u);
	exchange(rig.b, rig.a, 6 << 20, 1234567);
	shrink(&rig, 8192);
	for (uint64_t seed = 1; seed <= 5; seed++)
		exchange(rig.a, rig.b, 300000, seed);
	mr_link_rig_close(&rig);
}

/* With a key for three records only, it changes all the time, and nobody notices. */
/* Where there is its 'tls' module: then no key changes, and what a test sends is encrypted, too. */
static bool kernel_sends(const struct mr_link *link)
{
	return strstr(mr_link_security(link), "the kernel") != NULL;
}

Test(link_tls, keys_change_while_bytes_flow)
{
	struct mr_link_rig rig;

	mr_link_trust_set_records_a_key(trust_a, 3);
	rig = mr_link_rig_open(trust_a, trust_b, "b");
	assert_open(&rig);
	if (kernel_sends(rig.a))
		cr_skip_test("the kernel makes the records, and changes no key");
	shrink(&rig, 100000);
	exchange(rig.a, rig.b, 4 << 20, 99);
	exchange(rig.b, rig.a, 4 << 20, 98);
	shrink(&rig, 8192);
	exchange(rig.a, rig.b, 300000, 97);
	mr_link_rig_close(&rig);
}

static int key_updates;

static void note_message(int written, int version, int type, const void *bytes, size_t count,
			 SSL *ssl, void *unused)
{
	if (!written && type == SSL3_RT_HANDSHAKE && count > 0 &&
	    ((const uint8_t *)bytes)[0] == SSL3_MT_KEY_UPDATE)
		key_updates++;
}

Test(link_tls, a_key_changes_after_so_many_records)
{
	SSL_CTX *context = good_client_context();
	struct iovec piece = {"x", 1};
	struct mr_link *link;
	struct mr_error err;
	char address[64], bytes[8];
	int listener = mr_link_rig_listen(address), result, got = 0;
	SSL *ssl = foreign_client(context, address);

	SSL_set_msg_callback(ssl, note_message);
	mr_link_trust_set_records_a_key(trust_b, 4);
	cr_assert_eq(mr_link_accept(mr_link_rig_accept(listener), trust_b, &link, &err), 0);
	shake_with(ssl, link, &result, &err);
	cr_assert_eq(result, 0, "%s", err.what);
	if (kernel_sends(link)) { /* it ends before more records than a key may encrypt */
		for (int i = 0; i < 3; i++)
			cr_assert_eq(mr_link_send(link, &piece, 1, &err), 1);
		for (int i = 0; i < 2; i++)
			cr_assert_eq(mr_link_send(link, &piece, 1, &err), -EKEYEXPIRED);
		cr_skip_test("the kernel makes the records: the connection ended instead");
	}
	for (int i = 0; i < 13; i++)
		cr_assert_eq(mr_link_send(link, &piece, 1, &err), 1);
	for (int i = 0; i < 1000 && got < 13; i++) {
		int r = SSL_read(ssl, bytes, sizeof(bytes));

		got += r > 0 ? r : 0;
		(void)poll(NULL, 0, r > 0 ? 0 : 1);
	}
	cr_assert_eq(got, 13);
	cr_assert_eq(key_updates, 3);
	mr_link_close(link);
	foreign_close(ssl);
	close(listener);
	SSL_CTX_free(context);
}

/* What the socket gave and nobody asked for yet: epoll is silent, the link says so. */
Test(link_tls, a_link_says_that_it_has_more)
{
	struct mr_link_rig rig = mr_link_rig_open(trust_a, trust_b, "b");
	struct iovec piece = {"0123456789", 10};
	struct pollfd ready;
	struct mr_error err;
	char byte;

	assert_open(&rig);
	cr_assert_not(mr_link_has_more(rig.b));
	for (int i = 0; i < 3; i++)
		cr_assert_eq(mr_link_send(rig.a, &piece, 1, &err), 10);
	(void)poll(NULL, 0, 20);
	for (int i = 0; i < 30; i++) {
		cr_assert_eq(mr_link_rig_receive(rig.b, &byte, 1, &err), 1);
		cr_assert_eq(byte, '0' + i % 10);
		ready = (struct pollfd){.fd = mr_link_fd(rig.b), .events = POLLIN};
		cr_assert_eq(poll(&ready, 1, 0), 0, "the test does not test what it says");
		cr_assert_eq(mr_link_has_more(rig.b), i < 29);
	}
	cr_assert_eq(mr_link_receive(rig.b, &byte, 1, &err), -EAGAIN);
	cr_assert_not(mr_link_has_more(rig.b));
	mr_link_rig_close(&rig);
}

/* ---- ends ---------------------------------------------------------------------------------------
 */

Test(link_tls, an_end_in_good_order_is_zero_and_another_is_not)
{
	struct mr_link_rig rig = mr_link_rig_open(trust_a, trust_b, "b");
	struct iovec piece = {"bye", 3};
	struct mr_error err;
	char bytes[8];

	assert_open(&rig);
	cr_assert_eq(mr_link_send(rig.a, &piece, 1, &err), 3);
	mr_link_close(rig.a);
	rig.a = NULL;
	cr_assert_eq(mr_link_rig_receive(rig.b, bytes, 8, &err), 3);
	cr_assert_eq(mr_link_rig_receive(rig.b, bytes, 8, &err), 0);
	cr_assert_eq(mr_link_rig_receive(rig.b, bytes, 8, &err), 0);
	mr_link_rig_close(&rig);

	/* Somebody on the way who cuts it short must not be taken for a goodbye. */
	rig = mr_link_rig_open(trust_a, trust_b, "b");
	assert_open(&rig);
	cr_assert_eq(mr_link_send(rig.a, &piece, 1, &err), 3);
	shutdown(mr_link_fd(rig.a), SHUT_WR);
	(void)poll(NULL, 0, 10);
	cr_assert_eq(mr_link_rig_receive(rig.b, bytes, 8, &err), 3);
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(mr_link_rig_receive(rig.b, bytes, 8, &err), -ECONNRESET);
		cr_assert(strstr(err.what, "without saying so"), "%s", err.what);
	}
	mr_link_rig_close(&rig);
}

Test(link_tls, a_changed_byte_ends_the_connection)
{
	struct mr_link_rig rig = mr_link_rig_open(trust_a, trust_b, "b");
	struct iovec piece = {"true", 4};
	uint8_t forged[] = {23, 3,  3,	0,  24, 1,  2,	3,  4,	5,  6,	7,  8,	9, 10,
			    11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24};
	struct mr_error err;
	char bytes[8];

	assert_open(&rig);
	if (kernel_sends(rig.a))
		cr_skip_test("the kernel encrypts what is forged here");
	cr_assert_eq(mr_link_send(rig.a, &piece, 1, &err), 4);
	cr_assert_eq(send(mr_link_fd(rig.a), forged, sizeof(forged), 0), (ssize_t)sizeof(forged));
	(void)poll(NULL, 0, 10);
	cr_assert_eq(mr_link_rig_receive(rig.b, bytes, 8, &err), 4);
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(mr_link_rig_receive(rig.b, bytes, 8, &err), -EPROTO);
		cr_assert(strstr(err.what, "TLS with"), "%s", err.what);
	}
	mr_link_rig_close(&rig);
}

/* ---- hostile peers ------------------------------------------------------------------------------
 */

static int open_count(void)
{
	int count = 0;

	for (int fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

/* Our accepting side, and a raw socket at the other end. */
static struct mr_link *accept_raw(int *raw)
{
	struct mr_link *link;
	struct mr_error err;
	char address[64];
	int listener = mr_link_rig_listen(address);

	*raw = mr_link_rig_raw(address);
	cr_assert_eq(mr_link_accept(mr_link_rig_accept(listener), trust_b, &link, &err), 0);
	close(listener);
	return link;
}

Test(link_tls, garbage_before_the_handshake_is_an_error)
{
	uint64_t state = 7;

	for (int round = 0; round < 200; round++) {
		uint8_t bytes[600];
		struct mr_error err;
		int raw, r = -EAGAIN;
		struct mr_link *link = accept_raw(&raw);

		for (size_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = (uint8_t)random_next(&state);
		if (round % 2) /* looks like TLS in its first bytes */
			memcpy(bytes, "\x16\x03\x01\x02\x40\x01\x00\x02\x3c\x03\x03", 11);
		cr_assert_eq(send(raw, bytes, sizeof(bytes), MSG_NOSIGNAL), (ssize_t)sizeof(bytes));
		shutdown(raw, SHUT_WR);
		for (int i = 0; i < 100 && r == -EAGAIN; i++)
			r = mr_link_rig_step(link, &err);
		cr_assert(r == -EPROTO || r == -ECONNRESET, "%d", r);
		cr_assert(err.what[0]);
		mr_link_close(link);
		close(raw);
	}
}

/* One byte now and then of what begins well: each step returns at once, and says "not yet". */
Test(link_tls, a_slow_client_never_blocks)
{
	SSL_CTX *context = good_client_context();
	SSL *ssl = SSL_new(context);
	BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
	struct mr_error err;
	uint8_t *hello;
	long bytes;
	int raw;
	struct mr_link *link = accept_raw(&raw);

	SSL_set_bio(ssl, in, out);
	SSL_set_connect_state(ssl);
	(void)SSL_do_handshake(ssl);
	bytes = BIO_get_mem_data(out, &hello);
	cr_assert_gt(bytes, 100);
	for (long i = 0; i < bytes - 1; i++) {
		cr_assert_eq(send(raw, hello + i, 1, MSG_NOSIGNAL), 1);
		cr_assert_eq(mr_link_step(link, &err), -EAGAIN);
		cr_assert_eq(mr_link_wants(link), EPOLLIN);
	}
	mr_link_close(link);
	SSL_free(ssl);
	SSL_CTX_free(context);
	close(raw);
}

Test(link_tls, a_client_that_goes_halfway_is_an_error)
{
	int before = open_count();

	for (int round = 0; round < 4; round++) {
		struct mr_error err;
		int raw;
		struct mr_link *link = accept_raw(&raw);

		if (round & 1)
			cr_assert_eq(send(raw, "\x16\x03\x01", 3, MSG_NOSIGNAL), 3);
		cr_assert_eq(mr_link_step(link, &err), -EAGAIN);
		if (round & 2) {
			mr_link_rig_reset(raw);
			raw = -1;
		} else {
			shutdown(raw, SHUT_WR);
		}
		cr_assert_eq(mr_link_rig_step(link, &err), -ECONNRESET);
		cr_assert(strstr(err.what, "during the TLS handshake"), "%s", err.what);
		mr_link_close(link);
		if (raw >= 0)
			close(raw);
	}
	cr_assert_eq(open_count(), before);
}

/* A reset at each point of a real handshake, from either side. */
Test(link_tls, a_reset_at_any_point_of_the_handshake_harms_nothing)
{
	int before = open_count();

	for (int point = 0; point < 8; point++) {
		struct mr_link *a, *b;
		struct mr_error err;
		char address[64];
		int listener = mr_link_rig_listen(address), r = -EAGAIN;
		struct linger at_once = {.l_onoff = 1, .l_linger = 0};

		cr_assert_eq(mr_link_connect(address, trust_a, "b", &a, &err), 0);
		for (int i = 0; i < 3; i++)
			(void)mr_link_step(a, &err);
		cr_assert_eq(mr_link_accept(mr_link_rig_accept(listener), trust_b, &b, &err), 0);
		for (int i = 0; i < point / 2; i++) {
			(void)mr_link_step(b, &err);
			(void)mr_link_step(a, &err);
		}
		/* dup: so that the link's close is the last one and resets */
		setsockopt(mr_link_fd(point % 2 ? a : b), SOL_SOCKET, SO_LINGER, &at_once,
			   sizeof(at_once));
		shutdown(mr_link_fd(point % 2 ? a : b), SHUT_RDWR);
		mr_link_close(point % 2 ? a : b);
		r = mr_link_rig_step(point % 2 ? b : a, &err);
		cr_assert(r == 0 || r == -ECONNRESET || r == -EPIPE, "%d %s", r, err.what);
		if (r == 0) {
			char byte;

			cr_assert_leq(mr_link_rig_receive(point % 2 ? b : a, &byte, 1, &err), 0);
		}
		mr_link_close(point % 2 ? b : a);
		close(listener);
	}
	cr_assert_eq(open_count(), before);
}

/* Closed in each of its stages, on both sides, with and without the other. */
Test(link_tls, nothing_leaks)
{
	int before = open_count();

	for (int steps = 0; steps < 8; steps++) {
		struct mr_link *a, *b;
		struct mr_error err;
		char address[64];
		int listener = mr_link_rig_listen(address);

		cr_assert_eq(mr_link_connect(address, trust_a, "b", &a, &err), 0);
		(void)mr_link_step(a, &err);
		cr_assert_eq(mr_link_accept(mr_link_rig_accept(listener), trust_b, &b, &err), 0);
		for (int i = 0; i < steps; i++) {
			(void)mr_link_step(a, &err);
			(void)mr_link_step(b, &err);
		}
		mr_link_close(a);
		mr_link_close(b);
		close(listener);
	}
	cr_assert_eq(open_count(), before);
}
