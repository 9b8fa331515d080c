/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates (certificate.h), by OpenSSL.
 *
 * An authority may sign nodes and nothing below them. A node's certificate is good for both ends of
 * a connection, and for nothing else. Serial numbers are 127 random bits, so that an authority
 * has no state besides its key.
 */
#include "certificate.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SERIAL_BITS 127

bool mr_certificate_name_good(const char *name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789._-";
	size_t bytes = strlen(name);

	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return false;
	return bytes >= 1 && bytes <= MR_FEED_NAME_MAX && strspn(name, allowed) == bytes;
}

void mr_certificate_deinit(struct mr_certificate *certificate)
{
	if (certificate->key)
		OPENSSL_cleanse(certificate->key, strlen(certificate->key));
	free(certificate->key);
	free(certificate->certificate);
	*certificate = (struct mr_certificate){0};
}

static int failed(struct mr_error *err, int code, const char *what)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	mr_error_set(err, code, "%s: %s", what, reason ? reason : "no reason given");
	ERR_clear_error();
	return code;
}

/* ---- from and to text ---------------------------------------------------------------------------
 */

/* The text that lies in 'memory', which is freed and wiped; NULL: no memory. */
static char *take_text(BIO *memory)
{
	char *bytes = NULL;
	long count = BIO_get_mem_data(memory, &bytes);
	char *text = count > 0 ? strndup(bytes, (size_t)count) : NULL;

	if (count > 0)
		OPENSSL_cleanse(bytes, (size_t)count);
	BIO_free(memory);
	return text;
}

static int to_text(X509 *certificate, EVP_PKEY *key, struct mr_certificate *out,
		   struct mr_error *err)
{
	BIO *first = BIO_new(BIO_s_mem());
	BIO *second = BIO_new(BIO_s_mem());
	bool good = first && second && PEM_write_bio_X509(first, certificate) == 1 &&
		    PEM_write_bio_PKCS8PrivateKey(second, key, NULL, NULL, 0, NULL, NULL) == 1;

	out->certificate = first ? take_text(first) : NULL;
	out->key = second ? take_text(second) : NULL;
	if (good && out->certificate && out->key)
		return 0;
	mr_certificate_deinit(out);
	return failed(err, -ENOMEM, "cannot write a certificate");
}

static int no_password(char *text, int bytes, int writing, void *unused)
{
	return -1; /* never ask at a terminal */
}

struct signer {
	X509 *certificate;
	EVP_PKEY *key;
};

static void signer_deinit(struct signer *signer)
{
	X509_free(signer->certificate);
	EVP_PKEY_free(signer->key);
}

static int signer_read(const struct mr_certificate *authority, struct signer *out,
		       struct mr_error *err)
{
	BIO *certificate = BIO_new_mem_buf(authority->certificate, -1);
	BIO *key = BIO_new_mem_buf(authority->key, -1);
	int r = 0;

	if (certificate)
		out->certificate = PEM_read_bio_X509(certificate, NULL, no_password, NULL);
	if (key && out->certificate)
		out->key = PEM_read_bio_PrivateKey(key, NULL, no_password, NULL);
	BIO_free(certificate);
	BIO_free(key);
	if (!out->certificate)
		r = failed(err, -EKEYREJECTED, "the authority's certificate cannot be read");
	else if (!out->key)
		r = failed(err, -EKEYREJECTED, "the authority's key cannot be read");
	else if (X509_check_private_key(out->certificate, out->key) != 1)
		r = failed(err, -EKEYREJECTED,
			   "the authority's key is not that of its certificate");
	else if (X509_check_ca(out->certificate) != 1)
		r = mr_error_set(err, -EKEYREJECTED,
				 "what shall sign is no authority's certificate");
	if (r < 0)
		signer_deinit(out);
	return r;
}

/* ---- making one ---------------------------------------------------------------------------------
 */

static bool set_serial(X509 *certificate)
{
	BIGNUM *number = BN_new();
	bool good = number && BN_rand(number, SERIAL_BITS, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) &&
		    BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));

	BN_free(number);
	return good;
}

static bool set_subject(X509 *certificate, const char *organisation, const char *name)
{
	X509_NAME *subject = X509_get_subject_name(certificate);

	if (organisation &&
	    !X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_ASC,
					(const unsigned char *)organisation, -1, -1, 0))
		return false;
	return X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name,
					  -1, -1, 0);
}

static bool add_extension(X509 *certificate, X509 *issuer, int what, const char *value)
{
	X509V3_CTX context;
	X509_EXTENSION *extension;
	bool added;

	X509V3_set_ctx_nodb(&context);
	X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &context, what, value);
	added = extension && X509_add_ext(certificate, extension, -1);
	X509_EXTENSION_free(extension);
	return added;
}

static bool add_authority_extensions(X509 *certificate)
{
	return add_extension(certificate, certificate, NID_basic_constraints,
			     "critical,CA:TRUE,pathlen:0") &&
	       add_extension(certificate, certificate, NID_key_usage,
			     "critical,keyCertSign,cRLSign") &&
	       add_extension(certificate, certificate, NID_subject_key_identifier, "hash");
}

/* The name has no comma or colon in it (mr_certificate_name_good), so it can be written here. */
static bool add_node_extensions(X509 *certificate, X509 *issuer, const char *node)
{
	char name[MR_FEED_NAME_MAX + 8];

	snprintf(name, sizeof(name), "DNS:%s", node);
	return add_extension(certificate, issuer, NID_basic_constraints, "critical,CA:FALSE") &&
	       add_extension(certificate, issuer, NID_key_usage, "critical,digitalSignature") &&
	       add_extension(certificate, issuer, NID_ext_key_usage, "serverAuth,clientAuth") &&
	       add_extension(certificate, issuer, NID_subject_key_identifier, "hash") &&
	       add_extension(certificate, issuer, NID_authority_key_identifier, "keyid:always") &&
	       add_extension(certificate, issuer, NID_subject_alt_name, name);
}

/* A new key and a certificate for it that nobody has signed yet. */
static bool begin(const char *organisation, const char *name, struct mr_certificate_times times,
		  struct signer *out)
{
	out->key = EVP_EC_gen("P-256");
	out->certificate = X509_new();
	return out->key && out->certificate && X509_set_version(out->certificate, X509_VERSION_3) &&
	       set_serial(out->certificate) && set_subject(out->certificate, organisation, name) &&
	       ASN1_TIME_set(X509_getm_notBefore(out->certificate), (time_t)times.from) &&
	       ASN1_TIME_set(X509_getm_notAfter(out->certificate), (time_t)times.until) &&
	       X509_set_pubkey(out->certificate, out->key);
}

int mr_certificate_authority(const char *cluster, struct mr_certificate_times times,
			     struct mr_certificate *out, struct mr_error *err)
{
	struct signer own = {0};
	int r;

	*out = (struct mr_certificate){0};
	if (!mr_certificate_name_good(cluster))
		return mr_error_set(err, -EINVAL, "'%.80s' is no name of a cluster", cluster);
	if (begin("Millrace authority", cluster, times, &own) &&
	    X509_set_issuer_name(own.certificate, X509_get_subject_name(own.certificate)) &&
	    add_authority_extensions(own.certificate) &&
	    X509_sign(own.certificate, own.key, EVP_sha256()))
		r = to_text(own.certificate, own.key, out, err);
	else
		r = failed(err, -EIO, "cannot make an authority");
	signer_deinit(&own);
	return r;
}

static int check_times(const struct signer *authority, struct mr_certificate_times times,
		       struct mr_error *err)
{
	time_t until = (time_t)times.until - 1; /* both may end together */

	if (X509_cmp_time(X509_get0_notAfter(authority->certificate), &until) > 0)
		return 0;
	return mr_error_set(err, -ERANGE, "the certificate would outlive its authority");
}

int mr_certificate_issue(const struct mr_certificate *authority, const char *node,
			 struct mr_certificate_times times, struct mr_certificate *out,
			 struct mr_error *err)
{
	struct signer signer = {0}, own = {0};
	int r;

	*out = (struct mr_certificate){0};
	if (!mr_certificate_name_good(node))
		return mr_error_set(err, -EINVAL, "'%.80s' is no name of a node", node);
	r = signer_read(authority, &signer, err);
	if (r < 0)
		return r;
	r = check_times(&signer, times, err);
	if (r < 0)
		goto end;
	if (begin(NULL, node, times, &own) &&
	    X509_set_issuer_name(own.certificate, X509_get_subject_name(signer.certificate)) &&
	    add_node_extensions(own.certificate, signer.certificate, node) &&
	    X509_sign(own.certificate, signer.key, EVP_sha256()))
		r = to_text(own.certificate, own.key, out, err);
	else
		r = failed(err, -EIO, "cannot make a certificate");
	signer_deinit(&own);
end:
	signer_deinit(&signer);
	return r;
}
