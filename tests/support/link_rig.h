/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections on loopback with both ends in the test's own thread, and certificates made for it.
 */
#ifndef MR_LINK_RIG_H
#define MR_LINK_RIG_H

#include "replica/certificate.h"
#include "replica/link.h"

/* A listening socket, and its address for mr_link_connect(). */
int mr_link_rig_listen(char address[64]);
/* Waits for a connection; its socket. */
int mr_link_rig_accept(int listener);
/* A socket of the test's own, to misbehave with; blocking. */
int mr_link_rig_raw(const char *address);
void mr_link_rig_reset(int fd);

/* As the feed does it: waits for what the link wants, then steps; ten seconds at most. */
int mr_link_rig_step(struct mr_link *link, struct mr_error *err);
/* Receives, waiting up to five seconds for something. */
ssize_t mr_link_rig_receive(struct mr_link *link, void *bytes, size_t count, struct mr_error *err);

/* Both ends of one connection: a connects, b accepts. Each one's last step and its words. */
struct mr_link_rig {
	struct mr_link *a, *b;
	int a_result, b_result;
	struct mr_error a_error, b_error;
};

/* 'expects': what a demands as b's name. Both NULL: plain. Steps both until each is done. */
struct mr_link_rig mr_link_rig_open(struct mr_link_trust *a, struct mr_link_trust *b,
				    const char *expects);
void mr_link_rig_close(struct mr_link_rig *rig);

/* ---- certificates -----------------------------------------------------------------------------
 */

/* A temporary directory with ca.pem, NAME.pem, NAME.key in it. */
struct mr_link_rig_certificates {
	char directory[64];
	struct mr_certificate authority;
};

void mr_link_rig_certificates_open(struct mr_link_rig_certificates *out);
/* Good from 'from_s' seconds from now until 'until_s' seconds from now, by 'authority'. */
void mr_link_rig_certificates_add(struct mr_link_rig_certificates *rig,
				  const struct mr_certificate *authority, const char *name,
				  int64_t from_s, int64_t until_s);
/* FILE in that directory; good until the next call but three. */
const char *mr_link_rig_path(const struct mr_link_rig_certificates *rig, const char *name,
			     const char *ending);
void mr_link_rig_write(const char *path, const char *text, unsigned int mode);
/* For a node; adds its certificate if there is none yet. */
struct mr_link_trust *mr_link_rig_trust(struct mr_link_rig_certificates *rig, const char *name);
void mr_link_rig_certificates_close(struct mr_link_rig_certificates *rig);

#endif
