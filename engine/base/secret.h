/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The data directory's key: 32 random bytes in the file "key", readable by the engine's user only.
 * With it the engine marks what it hands out and later gets back from clients (the identity of a
 * lane), by HMAC-SHA-256 (RFC 2104, OpenSSL).
 */
#ifndef MR_SECRET_H
#define MR_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/io.h"

struct mr_secret {
	uint8_t key[32];
};

/* Reads the key, or makes one durably in a new data directory. -EBADMSG: there is a file, but not
 * of 32 bytes. */
int mr_secret_load(struct mr_io *io, struct mr_secret *out, struct mr_error *err);
int mr_secret_mac(const struct mr_secret *secret, const void *bytes, size_t count, uint8_t mac[32]);
/* In constant time. */
bool mr_secret_check(const struct mr_secret *secret, const void *bytes, size_t count,
		     const uint8_t mac[32]);
/* Random bytes from the kernel. */
int mr_random(void *bytes, size_t count, struct mr_error *err);

#endif
