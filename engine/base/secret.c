/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The data directory's key (secret.h). Loaded once at start; then read by the control thread only.
 */
#include "secret.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define KEY_FILE "key"

int mr_random(void *bytes, size_t count, struct mr_error *err)
{
	ssize_t got = getrandom(bytes, count, 0); /* up to 256 bytes come whole */

	if (got != (ssize_t)count)
		return mr_error_set(err, got < 0 ? -errno : -EIO,
				    "the kernel gave no %zu random bytes", count);
	return 0;
}

static int make_key(struct mr_io *io, struct mr_secret *out, struct mr_error *err)
{
	int r = mr_random(out->key, sizeof(out->key), err);

	if (r < 0)
		return r;
	return mr_io_replace(io, KEY_FILE, out->key, sizeof(out->key), err);
}

int mr_secret_load(struct mr_io *io, struct mr_secret *out, struct mr_error *err)
{
	void *bytes = NULL;
	size_t count = 0;
	int r = mr_io_load(io, KEY_FILE, 4096, &bytes, &count, err);

	if (r == -ENOENT)
		return make_key(io, out, err);
	if (r < 0)
		return r;
	if (count != sizeof(out->key)) {
		r = mr_error_set(err, -EBADMSG, "file '" KEY_FILE "' has %zu bytes, expected %zu",
				 count, sizeof(out->key));
		mr_error_hint(err,
			      "remove it: lanes of running programs are then refused, nothing else "
			      "is lost");
	} else {
		memcpy(out->key, bytes, sizeof(out->key));
	}
	OPENSSL_cleanse(bytes, count);
	free(bytes);
	return r;
}

int mr_secret_mac(const struct mr_secret *secret, const void *bytes, size_t count, uint8_t mac[32])
{
	unsigned int length = 32;

	if (!HMAC(EVP_sha256(), secret->key, sizeof(secret->key), bytes, count, mac, &length))
		return -EIO;
	return 0;
}

bool mr_secret_check(const struct mr_secret *secret, const void *bytes, size_t count,
		     const uint8_t mac[32])
{
	uint8_t computed[32];

	return mr_secret_mac(secret, bytes, count, computed) == 0 &&
	       CRYPTO_memcmp(computed, mac, sizeof(computed)) == 0;
}
