/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS 1.3 for links, by OpenSSL: whom to trust, the handshake, records. Runs on the feed's thread.
 *
 * Both sides show a certificate of the same authority, and it names the node. Neither tickets nor
 * early data nor any older version: there is one way in. OpenSSL checks the certificate,
 * check_peer() the name, byte for byte, while the handshake can still tell the other side.
 *
 * A record that OpenSSL has begun to write must be offered again with the same bytes. It has
 * encrypted them already, so of a large piece only their number matters and they may lie anywhere;
 * small pieces are gathered into a record in a buffer of the link's own, and stay there until the
 * record is with the kernel. Bytes count as taken only then.
 *
 * Where the kernel makes the records, OpenSSL keeps no copy but points to what it was given, which
 * may then lie elsewhere: so everything goes through the link's own buffer.
 *
 * One key encrypts 2^24.5 full records at most (RFC 8446, 5.5), 380 GiB: before, it is changed.
 * That the kernel cannot do, so there the connection ends, and the next one begins with new keys.
 */
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>

#include "certificate.h"
#include "check.h"
#include "link_state.h"

#define RECORD_BYTES	  16384u
#define READ_BYTES	  65536u /* by one system call */
#define SEND_RECORDS_MAX  64	 /* in one call: 1 MiB, then the feed's other peers have a turn */
#define RECORDS_A_KEY	  (UINT64_C(1) << 23)
#define CERTIFICATE_BYTES 8192 /* a peer may show so much */
#define VERDICT_BYTES	  160
#define OTHERS_MAY_READ	  (S_IWGRP | S_IXGRP | S_IRWXO)

/* Owned by whoever opened it; links count on its SSL_CTX themselves. Never changes after open. */
struct mr_link_trust {
	SSL_CTX *context;
	uint64_t records_a_key;
	char name[MR_FEED_NAME_MAX + 1];
	struct mr_link_trust_ends ends;
};

/* Part of a link. pending > 0: OpenSSL has a record of so many bytes under way. */
struct mr_link_tls {
	SSL *ssl;
	const char *address; /* the link's */
	size_t record_max;   /* below RECORD_BYTES where the other asked for that */
	size_t pending;
	bool gathered; /* they lie in 'record', else where the caller has them */
	bool kernel_sends;
	bool read_dry; /* SSL_read() had nothing more */
	uint64_t records;
	uint64_t records_a_key;
	bool ready;			     /* the handshake was done once */
	bool names_nobody;		     /* the other's certificate */
	char expected[MR_FEED_NAME_MAX + 1]; /* empty: any */
	char peer[MR_FEED_NAME_MAX + 1];
	char verdict[VERDICT_BYTES]; /* on its certificate */
	char security[MR_LINK_SECURITY_MAX];
	struct mr_error send_failure; /* code 0: none */
	struct mr_error receive_failure;
	uint8_t record[RECORD_BYTES];
};

static const char *reason_text(unsigned long problem)
{
	const char *text = ERR_reason_error_string(problem);

	return text ? text : "no reason given";
}

/* ---- whom to trust ------------------------------------------------------------------------------
 */

/* The one DNS name in it, which is a node's. False: there is none, or several. */
static bool read_name(X509 *certificate, char name[MR_FEED_NAME_MAX + 1])
{
	GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	const GENERAL_NAME *only = NULL;
	int found = 0;
	int bytes;

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		if (sk_GENERAL_NAME_value(names, i)->type != GEN_DNS)
			continue;
		only = sk_GENERAL_NAME_value(names, i);
		found++;
	}
	bytes = found == 1 ? ASN1_STRING_length(only->d.dNSName) : 0;
	if (bytes >= 1 && bytes <= (int)MR_FEED_NAME_MAX) {
		memcpy(name, ASN1_STRING_get0_data(only->d.dNSName), (size_t)bytes);
		name[bytes] = '\0';
	}
	GENERAL_NAMES_free(names);
	return bytes >= 1 && bytes <= (int)MR_FEED_NAME_MAX && strlen(name) == (size_t)bytes &&
	       mr_certificate_name_good(name);
}

static void write_time(const ASN1_TIME *time, char text[64])
{
	BIO *memory = BIO_new(BIO_s_mem());
	int bytes = 0;

	if (memory && ASN1_TIME_print(memory, time) == 1)
		bytes = BIO_read(memory, text, 63);
	text[bytes > 0 ? bytes : 0] = '\0';
	BIO_free(memory);
}

/* What is wrong with a certificate, for people: with its dates where those are it. */
static void write_verdict(X509 *certificate, long verdict, char text[VERDICT_BYTES])
{
	const char *words = X509_verify_cert_error_string(verdict);
	char time[64];

	if (certificate && verdict == X509_V_ERR_CERT_HAS_EXPIRED) {
		write_time(X509_get0_notAfter(certificate), time);
		snprintf(text, VERDICT_BYTES, "it expired on %s", time);
	} else if (certificate && verdict == X509_V_ERR_CERT_NOT_YET_VALID) {
		write_time(X509_get0_notBefore(certificate), time);
		snprintf(text, VERDICT_BYTES, "it is not good before %s", time);
	} else if (verdict == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY ||
		   verdict == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN ||
		   verdict == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT ||
		   verdict == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE ||
		   verdict == X509_V_ERR_CERT_SIGNATURE_FAILURE) {
		snprintf(text, VERDICT_BYTES, "it is of another authority than ours (%s)", words);
	} else {
		snprintf(text, VERDICT_BYTES, "%s", words);
	}
}

/*
 * Instead of X509_verify_cert() alone. What it leaves in 'store' becomes the alert to the other
 * side and the handshake's verdict.
 */
static int check_peer(X509_STORE_CTX *store, void *unused)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct mr_link_tls *tls = SSL_get_app_data(ssl);
	char name[MR_FEED_NAME_MAX + 1] = "";
	bool named = read_name(X509_STORE_CTX_get0_cert(store), name);

	if (named)
		memcpy(tls->peer, name, sizeof(name));
	if (X509_verify_cert(store) <= 0) {
		write_verdict(X509_STORE_CTX_get_current_cert(store),
			      X509_STORE_CTX_get_error(store), tls->verdict);
		return 0;
	}
	tls->names_nobody = !named;
	if (named && (!tls->expected[0] || strcmp(tls->expected, name) == 0))
		return 1;
	X509_STORE_CTX_set_error(store, X509_V_ERR_HOSTNAME_MISMATCH);
	return 0;
}

static int no_password(char *text, int bytes, int writing, void *unused)
{
	return -1; /* never ask at a terminal */
}

static int not_loaded(const char *what, const char *path, struct mr_error *err)
{
	unsigned long problem = ERR_peek_error();
	int code = -EKEYREJECTED;

	if (ERR_SYSTEM_ERROR(problem)) {
		code = -ERR_GET_REASON(problem);
		mr_link_failed(err, code, what, path);
	} else {
		mr_error_set(err, code, "%s %s: %s", what, path, reason_text(problem));
		mr_error_hint(err, "it must be PEM, a key without password; 'millrace cert init' "
				   "makes such files");
	}
	ERR_clear_error();
	return code;
}

/* A key that others can read is no secret, which is better told now than never. */
static int check_key_mode(const char *key, struct mr_error *err)
{
	struct stat about;

	if (stat(key, &about) < 0)
		return mr_link_failed(err, -errno, "cannot read the key", key);
	if (!(about.st_mode & OTHERS_MAY_READ))
		return 0;
	mr_error_set(err, -EPERM, "the key %s is open to others (mode %04o)", key,
		     (unsigned int)(about.st_mode & 07777));
	mr_error_hint(err, "chmod 600, if nobody else can have read it; else make a new one");
	return -EPERM;
}

static int load(SSL_CTX *context, const char *authority, const char *certificate, const char *key,
		struct mr_error *err)
{
	int r = check_key_mode(key, err);

	if (r < 0)
		return r;
	if (SSL_CTX_load_verify_file(context, authority) != 1)
		return not_loaded("cannot read the authority", authority, err);
	if (SSL_CTX_use_certificate_chain_file(context, certificate) != 1)
		return not_loaded("cannot read the certificate", certificate, err);
	if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1)
		return not_loaded("cannot use the key", key, err);
	return 0;
}

static int64_t end_of(const X509 *certificate)
{
	struct tm tm = {0};

	if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &tm) != 1)
		return INT64_MAX; /* it was checked before: never */
	return timegm(&tm);
}

/* Of a chain that was found to be good: the first is our own. */
static struct mr_link_trust_ends ends_of(STACK_OF(X509) * chain)
{
	struct mr_link_trust_ends ends = {INT64_MAX, INT64_MAX};

	for (int i = 0; i < sk_X509_num(chain); i++) {
		int64_t end_s = end_of(sk_X509_value(chain, i));

		if (i == 0)
			ends.own_s = end_s;
		else if (end_s < ends.authority_s)
			ends.authority_s = end_s;
	}
	return ends;
}

/* Our own certificate as the other side will see it, at either end of a connection. */
static int check_own(struct mr_link_trust *trust, const char *purpose, const char *certificate,
		     const char *authority, struct mr_error *err)
{
	SSL_CTX *context = trust->context;
	X509_STORE_CTX *check = X509_STORE_CTX_new();
	X509 *own = SSL_CTX_get0_certificate(context);
	STACK_OF(X509) *chain = NULL;
	char words[VERDICT_BYTES];
	int r = 0;

	SSL_CTX_get0_chain_certs(context, &chain);
	if (!check ||
	    X509_STORE_CTX_init(check, SSL_CTX_get_cert_store(context), own, chain) != 1 ||
	    X509_STORE_CTX_set_default(check, purpose) != 1) {
		r = mr_error_set(err, -ENOMEM, "no memory to check a certificate");
	} else if (X509_verify_cert(check) != 1) {
		write_verdict(X509_STORE_CTX_get_current_cert(check),
			      X509_STORE_CTX_get_error(check), words);
		r = mr_error_set(err, -EKEYREJECTED, "certificate %s under authority %s: %s",
				 certificate, authority, words);
		mr_error_hint(err, "'millrace cert init' makes a new one by an authority's key");
	} else {
		trust->ends = ends_of(X509_STORE_CTX_get0_chain(check));
	}
	X509_STORE_CTX_free(check);
	ERR_clear_error();
	return r;
}

static void set_rules(SSL_CTX *context)
{
	SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
	SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION);
	SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION |
					     SSL_OP_NO_COMPRESSION | SSL_OP_ENABLE_KTLS);
	SSL_CTX_set_num_tickets(context, 0);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_max_early_data(context, 0);
	SSL_CTX_set_mode(context,
			 SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_cert_verify_callback(context, check_peer, NULL);
	SSL_CTX_set_max_cert_list(context, CERTIFICATE_BYTES);
	SSL_CTX_set_read_ahead(context, 1);
	SSL_CTX_set_default_read_buffer_len(context, READ_BYTES);
	SSL_CTX_set_default_passwd_cb(context, no_password);
}

int mr_link_trust_open(const char *authority, const char *certificate, const char *key,
		       struct mr_link_trust **out, struct mr_error *err)
{
	struct mr_link_trust *trust = calloc(1, sizeof(*trust));
	int r;

	if (trust)
		trust->context = SSL_CTX_new(TLS_method());
	if (!trust || !trust->context) {
		r = mr_error_set(err, -ENOMEM, "no memory for TLS");
		goto fail;
	}
	trust->records_a_key = RECORDS_A_KEY;
	set_rules(trust->context);
	ERR_clear_error();
	r = load(trust->context, authority, certificate, key, err);
	if (r == 0)
		r = check_own(trust, "ssl_server", certificate, authority, err);
	if (r == 0)
		r = check_own(trust, "ssl_client", certificate, authority, err);
	if (r < 0)
		goto fail;
	if (!read_name(SSL_CTX_get0_certificate(trust->context), trust->name)) {
		r = mr_error_set(err, -EKEYREJECTED,
				 "certificate %s names no node: expected one "
				 "DNS name in its subjectAltName",
				 certificate);
		goto fail;
	}
	*out = trust;
	return 0;
fail:
	mr_link_trust_close(trust);
	return r;
}

void mr_link_trust_close(struct mr_link_trust *trust)
{
	if (!trust)
		return;
	SSL_CTX_free(trust->context);
	free(trust);
}

const char *mr_link_trust_name(const struct mr_link_trust *trust)
{
	return trust->name;
}

struct mr_link_trust_ends mr_link_trust_ends(const struct mr_link_trust *trust)
{
	return trust->ends;
}

void mr_link_trust_set_records_a_key(struct mr_link_trust *trust, uint64_t records)
{
	trust->records_a_key = records;
}

/* ---- the handshake ------------------------------------------------------------------------------
 */

int mr_link_tls_open(struct mr_link_trust *trust, const char *name, const char *address,
		     struct mr_link_tls **out, struct mr_error *err)
{
	struct mr_link_tls *tls = calloc(1, sizeof(*tls));

	ERR_clear_error();
	if (tls)
		tls->ssl = SSL_new(trust->context);
	if (!tls || !tls->ssl) {
		mr_link_tls_close(tls);
		return mr_error_set(err, -ENOMEM, "no memory for TLS");
	}
	tls->address = address;
	tls->records_a_key = trust->records_a_key;
	if (name)
		snprintf(tls->expected, sizeof(tls->expected), "%s", name);
	SSL_set_app_data(tls->ssl, tls);
	if (name)
		SSL_set_connect_state(tls->ssl);
	else
		SSL_set_accept_state(tls->ssl);
	*out = tls;
	return 0;
}

int mr_link_tls_begin(struct mr_link_tls *tls, int fd, struct mr_error *err)
{
	ERR_clear_error();
	if (SSL_set_fd(tls->ssl, fd) == 1) /* which stays the link's */
		return 0;
	return mr_error_set(err, -ENOMEM, "no memory for TLS");
}

void mr_link_tls_close(struct mr_link_tls *tls)
{
	if (!tls)
		return;
	ERR_clear_error();
	/* Once, and not waiting: a full socket ends without it, and is then no end in good order.
	 */
	if (tls->ready && tls->send_failure.code == 0 && tls->receive_failure.code == 0)
		(void)SSL_shutdown(tls->ssl);
	SSL_free(tls->ssl);
	ERR_clear_error();
	OPENSSL_cleanse(tls->record, sizeof(tls->record));
	free(tls);
}

/* The other's certificate is not taken. */
static int not_trusted(struct mr_link_tls *tls, long verdict, struct mr_error *err)
{
	if (verdict == X509_V_ERR_HOSTNAME_MISMATCH && tls->names_nobody) {
		mr_error_set(err, -EKEYREJECTED, "the certificate of %s names no node",
			     tls->address);
	} else if (verdict == X509_V_ERR_HOSTNAME_MISMATCH) {
		mr_error_set(err, -EKEYREJECTED,
			     "%s is node '%s' by its certificate, expected '%s'", tls->address,
			     tls->peer, tls->expected);
		mr_error_hint(err, "are the addresses in peers swapped, or the certificates?");
		return -EKEYREJECTED;
	} else {
		mr_error_set(err, -EKEYREJECTED, "the certificate of %s%s%s is not taken: %s",
			     tls->address, tls->peer[0] ? ", which says it is " : "", tls->peer,
			     tls->verdict);
	}
	mr_error_hint(err, "that host needs a certificate of our authority (millrace cert init)");
	return -EKEYREJECTED;
}

/* The reasons that there are before anything was agreed on. */
static int early_error(struct mr_link_tls *tls, int reason, struct mr_error *err)
{
	switch (reason) {
	case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
		mr_error_set(err, -EKEYREJECTED, "%s showed no certificate", tls->address);
		mr_error_hint(err, "both sides need one: see 'millrace cert init'");
		return -EKEYREJECTED;
	case SSL_R_WRONG_VERSION_NUMBER:
	case SSL_R_HTTP_REQUEST:
	case SSL_R_HTTPS_PROXY_REQUEST:
	case SSL_R_PACKET_LENGTH_TOO_LONG:
	case SSL_R_UNEXPECTED_MESSAGE:
		mr_error_set(err, -EPROTO, "%s does not speak TLS", tls->address);
		mr_error_hint(err, "is it set to plain? then give it certificates, too (millrace "
				   "cert init)");
		return -EPROTO;
	case SSL_R_UNSUPPORTED_PROTOCOL:
	case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
		return mr_error_set(err, -EPROTO, "%s does not speak TLS 1.3", tls->address);
	default:
		return 0;
	}
}

/* The other side ended it and said why, by a number. */
static int alert_error(struct mr_link_tls *tls, int alert, struct mr_error *err)
{
	const char *words = SSL_alert_desc_string_long(alert);
	bool certificate =
		(alert >= SSL_AD_BAD_CERTIFICATE && alert <= SSL_AD_CERTIFICATE_UNKNOWN) ||
		alert == SSL_AD_UNKNOWN_CA || alert == SSL_AD_ACCESS_DENIED ||
		alert == SSL_AD_CERTIFICATE_REQUIRED;

	if (!certificate)
		return mr_error_set(err, -EPROTO, "%s ended TLS: %s", tls->address, words);
	mr_error_set(err, -EKEYREJECTED, "%s does not take our certificate: %s", tls->address,
		     words);
	mr_error_hint(err, "its own messages say why it does not");
	return -EKEYREJECTED;
}

static int no_goodbye(struct mr_link_tls *tls, int code, struct mr_error *err)
{
	bool early = !tls->ready;

	mr_error_set(err, code, "%s ended the connection %s: %s", tls->address,
		     early ? "during the TLS handshake" : "without saying so",
		     strerrordesc_np(-code));
	if (early)
		mr_error_hint(err, "is it set to plain? its own messages say why it did");
	return code;
}

/* OpenSSL's reason as one of ours. */
static int reason_error(struct mr_link_tls *tls, unsigned long problem, struct mr_error *err)
{
	int reason = ERR_GET_REASON(problem);
	int code = tls->ready ? 0 : early_error(tls, reason, err);

	if (code)
		return code;
	if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING)
		return no_goodbye(tls, -ECONNRESET, err);
	if (reason > SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256)
		return alert_error(tls, reason - SSL_AD_REASON_OFFSET, err);
	return mr_error_set(err, -EPROTO, "TLS with %s failed: %s", tls->address,
			    reason_text(problem));
}

/* After a call that got nowhere: 'kind' is of SSL_get_error(), 'problem' errno then. */
static int tls_error(struct mr_link_tls *tls, int kind, int problem, struct mr_error *err)
{
	unsigned long first = ERR_peek_error();
	int code;

	if (kind == SSL_ERROR_SSL && first)
		code = reason_error(tls, first, err);
	else
		code = no_goodbye(tls, problem ? -problem : -ECONNRESET, err);
	ERR_clear_error();
	return code;
}

int mr_link_tls_step(struct mr_link_tls *tls, uint32_t *wants, struct mr_error *err)
{
	int r, kind, problem;
	long verdict;

	ERR_clear_error();
	errno = 0;
	r = SSL_do_handshake(tls->ssl);
	problem = errno;
	if (r == 1)
		return 0;
	kind = SSL_get_error(tls->ssl, r);
	if (kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE) {
		*wants = kind == SSL_ERROR_WANT_READ ? EPOLLIN : EPOLLOUT;
		return -EAGAIN;
	}
	verdict = SSL_get_verify_result(tls->ssl);
	if (verdict != X509_V_OK) {
		ERR_clear_error();
		return not_trusted(tls, verdict, err);
	}
	return tls_error(tls, kind, problem, err);
}

void mr_link_tls_ready(struct mr_link_tls *tls)
{
	bool receives = BIO_get_ktls_recv(SSL_get_rbio(tls->ssl));
	uint8_t asked = SSL_SESSION_get_max_fragment_length(SSL_get0_session(tls->ssl));

	tls->ready = true;
	/* RFC 6066, 4: 512 to 4096. So one SSL_write() is always one record. */
	tls->record_max = asked >= 1 && asked <= 4 ? 256u << asked : RECORD_BYTES;
	tls->kernel_sends = BIO_get_ktls_send(SSL_get_wbio(tls->ssl));
	snprintf(tls->security, sizeof(tls->security), "%s, %s%s", "TLS 1.3",
		 SSL_get_cipher_name(tls->ssl),
		 !tls->kernel_sends ? ""
		 : receives	    ? ", in the kernel"
				    : ", sent by the kernel");
}

const char *mr_link_tls_peer(const struct mr_link_tls *tls)
{
	return tls->peer;
}

const char *mr_link_tls_security(const struct mr_link_tls *tls)
{
	return tls->security;
}

/* ---- sending ------------------------------------------------------------------------------------
 */

/* Where in the caller's pieces the next byte lies. */
struct cursor {
	const struct iovec *piece, *end;
	size_t offset;
};

static void skip(struct cursor *cursor, size_t bytes)
{
	while (cursor->piece < cursor->end) {
		size_t left = cursor->piece->iov_len - cursor->offset;

		if (bytes < left) {
			cursor->offset += bytes;
			return;
		}
		bytes -= left;
		cursor->piece++;
		cursor->offset = 0;
	}
	mr_assert(bytes == 0);
}

static size_t gather(struct cursor cursor, uint8_t *record, size_t max)
{
	size_t filled = 0;

	while (cursor.piece < cursor.end && filled < max) {
		size_t left = cursor.piece->iov_len - cursor.offset;
		size_t part = left < max - filled ? left : max - filled;

		if (part > 0)
			memcpy(record + filled,
			       (const uint8_t *)cursor.piece->iov_base + cursor.offset, part);
		filled += part;
		skip(&cursor, part);
	}
	return filled;
}

/* What the next record carries: tls->pending bytes, gathered or in place. */
static void choose_record(struct mr_link_tls *tls, const struct cursor *cursor)
{
	size_t left = cursor->piece->iov_len - cursor->offset;

	tls->gathered =
		tls->kernel_sends || (left < tls->record_max && cursor->piece + 1 < cursor->end);
	if (tls->gathered)
		tls->pending = gather(*cursor, tls->record, tls->record_max);
	else
		tls->pending = left < tls->record_max ? left : tls->record_max;
}

static size_t offered(const struct cursor *cursor)
{
	size_t bytes = 0;

	for (const struct iovec *piece = cursor->piece; piece < cursor->end; piece++)
		bytes += piece->iov_len;
	return bytes - cursor->offset;
}

/* The alert by which the other side ended it says more than a broken pipe. */
static int send_error(struct mr_link_tls *tls, int kind, int problem, struct mr_error *err)
{
	int code = tls_error(tls, kind, problem, err);
	uint8_t byte;
	int r;

	if (kind != SSL_ERROR_SYSCALL)
		return code;
	r = SSL_peek(tls->ssl, &byte, 1);
	if (r <= 0 && SSL_get_error(tls->ssl, r) == SSL_ERROR_SSL &&
	    ERR_GET_REASON(ERR_peek_error()) > SSL_AD_REASON_OFFSET)
		code = tls_error(tls, SSL_ERROR_SSL, 0, err);
	ERR_clear_error();
	return code;
}

/* Keeps to how much one key may encrypt. */
static int renew_key(struct mr_link_tls *tls, struct mr_error *err)
{
	if (++tls->records < tls->records_a_key)
		return 0;
	tls->records = 0;
	if (tls->kernel_sends)
		return mr_error_set(err, -EKEYEXPIRED,
				    "the key for %s is used up, and the kernel takes no other",
				    tls->address);
	if (SSL_key_update(tls->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) != 1)
		return tls_error(tls, SSL_ERROR_SSL, 0, err);
	return 0;
}

/* Bytes of one record that are now with the kernel; -EAGAIN. */
static ssize_t send_record(struct mr_link_tls *tls, const struct cursor *cursor,
			   struct mr_error *err)
{
	const uint8_t *bytes;
	size_t written = 0;
	int r, kind, problem;

	if (tls->pending == 0)
		choose_record(tls, cursor);
	else
		mr_assert(tls->pending <= offered(cursor));
	bytes = tls->gathered ? tls->record
			      : (const uint8_t *)cursor->piece->iov_base + cursor->offset;
	ERR_clear_error();
	errno = 0;
	r = SSL_write_ex(tls->ssl, bytes, tls->pending, &written);
	problem = errno;
	if (r == 1) {
		tls->pending = 0;
		r = renew_key(tls, err);
		return r < 0 ? r : (ssize_t)written;
	}
	kind = SSL_get_error(tls->ssl, r);
	if (kind == SSL_ERROR_WANT_WRITE || kind == SSL_ERROR_WANT_READ)
		return -EAGAIN;
	return send_error(tls, kind, problem, err);
}

ssize_t mr_link_tls_send(struct mr_link_tls *tls, const struct iovec *pieces, int count,
			 bool *waits, struct mr_error *err)
{
	struct cursor cursor = {.piece = pieces, .end = pieces + count};
	size_t taken = 0;
	ssize_t r = 0;

	*waits = false;
	skip(&cursor, 0);
	for (int i = 0; i < SEND_RECORDS_MAX && cursor.piece < cursor.end; i++) {
		r = tls->send_failure.code;
		if (r == 0)
			r = send_record(tls, &cursor, &tls->send_failure);
		if (r < 0)
			break;
		taken += (size_t)r;
		skip(&cursor, (size_t)r);
	}
	*waits = (r >= 0 || r == -EAGAIN) && cursor.piece < cursor.end;
	if (taken > 0 || r >= 0)
		return (ssize_t)taken;
	if (r != -EAGAIN && err)
		*err = tls->send_failure;
	return r;
}

/* ---- receiving ----------------------------------------------------------------------------------
 */

/* Fills 'bytes' as far as there is something; returns SSL_get_error()'s word on what ended it. */
static int read_all(struct mr_link_tls *tls, uint8_t *bytes, size_t count, size_t *received)
{
	int kind = SSL_ERROR_NONE;

	*received = 0;
	ERR_clear_error();
	while (*received < count && kind == SSL_ERROR_NONE) {
		size_t part = 0;

		errno = 0;
		kind = SSL_get_error(tls->ssl, SSL_read_ex(tls->ssl, bytes + *received,
							   count - *received, &part));
		*received += part;
	}
	return kind;
}

ssize_t mr_link_tls_receive(struct mr_link_tls *tls, void *bytes, size_t count, bool *waits,
			    struct mr_error *err)
{
	size_t received;
	int kind;

	if (tls->receive_failure.code)
		goto failed;
	kind = read_all(tls, bytes, count, &received);
	tls->read_dry = kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE;
	*waits = *waits || kind == SSL_ERROR_WANT_WRITE;
	if (kind == SSL_ERROR_SSL || kind == SSL_ERROR_SYSCALL)
		(void)tls_error(tls, kind, errno, &tls->receive_failure); /* kept, and told below */
	if (received > 0)
		return (ssize_t)received; /* the next call tells what ended it */
	if (tls->read_dry)
		return -EAGAIN;
	if (kind == SSL_ERROR_ZERO_RETURN)
		return 0;
failed:
	if (err)
		*err = tls->receive_failure;
	return tls->receive_failure.code;
}

bool mr_link_tls_has_more(const struct mr_link_tls *tls)
{
	return !tls->read_dry && SSL_has_pending(tls->ssl);
}
