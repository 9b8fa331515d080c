/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A wire between two feeds that a test can cut or hold still: a TCP proxy on the loopback, for one
 * connection at a time, driven by rig_turn() on the test's thread.
 */
#ifndef MR_TEST_FEED_PROXY_H
#define MR_TEST_FEED_PROXY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rig_proxy {
	int listen_fd;
	int fds[2];	/* who connected, and whom it connected to; -1: none */
	uint16_t port;	/* where it listens */
	uint16_t to;	/* on the loopback */
	bool held;	/* it takes nothing from either side */
	bool refuses;	/* who connects is closed at once */
	uint32_t count; /* of connections so far */
	uint64_t bytes; /* that went through */
	uint8_t *waiting[2];
	size_t waiting_bytes[2], waiting_at[2];
};

struct rig_proxy *rig_proxy_start(uint16_t to);
void rig_proxy_stop(struct rig_proxy *proxy);
void rig_proxy_cut(struct rig_proxy *proxy); /* both ends, at once, with a reset */
void rig_proxies_turn(void);

#endif
