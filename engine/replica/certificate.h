/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates for a cluster's hosts: a private authority, and one certificate with its key for
 * each node, whose name is the only thing that it says. Texts are PEM. No file, no clock; any
 * thread.
 *
 * Keys are ECDSA on P-256: every TLS library takes it, those of Java and of hardware keys too,
 * so that the same authority serves whatever else will speak TLS here; Ed25519 is not that far.
 */
#ifndef MR_CERTIFICATE_H
#define MR_CERTIFICATE_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"
#include "millrace/format.h"

/* Letters, digits, '.', '_', '-', 1 to MR_FEED_NAME_MAX of them: what configuration calls a node.
 */
bool mr_certificate_name_good(const char *name);

/* A certificate with its key. Owns both texts; the key is wiped when it is freed. */
struct mr_certificate {
	char *certificate;
	char *key;
};
void mr_certificate_deinit(struct mr_certificate *certificate);

/* When it is good: seconds since 1970. */
struct mr_certificate_times {
	int64_t from, until;
};

int mr_certificate_authority(const char *cluster, struct mr_certificate_times times,
			     struct mr_certificate *out, struct mr_error *err);
/*
 * For one node, by that authority. -EINVAL: the name; -EKEYREJECTED: what is in 'authority' is no
 * authority with its own key; -ERANGE: it ends before 'times' do.
 */
int mr_certificate_issue(const struct mr_certificate *authority, const char *node,
			 struct mr_certificate_times times, struct mr_certificate *out,
			 struct mr_error *err);

#endif
