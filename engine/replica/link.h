/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection with another host: bytes in order, by TCP alone or under TLS 1.3 with certificates
 * on both sides (reliability.md R10). Non-blocking throughout; owned by the feed's thread. It knows
 * no messages.
 *
 * SIGPIPE is ignored by the program: under TLS a broken connection may raise it.
 *
 * A connection that is silently dead is found out by TCP_USER_TIMEOUT and by keep-alive; Nagle's
 * delay is off, since the feed sends whole messages.
 */
#ifndef MR_LINK_H
#define MR_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "error.h"

/* "10.0.0.2:7420", "[::1]:7420", "host.example:7420". -EINVAL names what is wrong with it. */
#define MR_LINK_ADDRESS_MAX 300
int mr_link_check_address(const char *address, struct mr_error *err);

/* ---- whom to trust -------------------------------------------------------------------------- */

struct mr_link_trust;

/*
 * Reads the certificate of the authority, this node's certificate and its key (PEM); all three are
 * checked against each other, and dates, so that what cannot work is told at start. No tickets, no
 * early data, TLS 1.3 only; the kernel does the records where it can.
 */
int mr_link_trust_open(const char *authority, const char *certificate, const char *key,
		       struct mr_link_trust **out, struct mr_error *err);
void mr_link_trust_close(struct mr_link_trust *trust); /* takes NULL; links may go on */
/* The node that its certificate names: what configuration says must be the same. */
const char *mr_link_trust_name(const struct mr_link_trust *trust);
/* When it ends, and when the first of those above it does: seconds since 1970. */
struct mr_link_trust_ends {
	int64_t own_s, authority_s;
};
struct mr_link_trust_ends mr_link_trust_ends(const struct mr_link_trust *trust);

/* ---- listening ------------------------------------------------------------------------------- */

/* A bound, listening, non-blocking socket. -EADDRINUSE and such, with the address. Port 0: any. */
int mr_link_listen(const char *address, struct mr_error *err);

/* ---- a connection ---------------------------------------------------------------------------- */

struct mr_link;

/*
 * Begins to connect; name look-ups happen on a thread of the resolver's and never block the caller.
 * 'trust' NULL: plain. 'name' is what the other's certificate must say (NULL on the accepting side:
 * it is read from there, mr_link_peer()).
 */
int mr_link_connect(const char *address, struct mr_link_trust *trust, const char *name,
		    struct mr_link **out, struct mr_error *err);
/* 'fd' comes from accept4() and is taken, also on failure. */
int mr_link_accept(int fd, struct mr_link_trust *trust, struct mr_link **out, struct mr_error *err);
void mr_link_close(struct mr_link *link); /* takes NULL; tells the other where that is possible */

/*
 * For epoll; it may change in mr_link_step() until that returned 0. Its number then changes, too,
 * and the one before is closed, so is in no epoll set any more.
 */
int mr_link_fd(const struct mr_link *link);
/* EPOLLIN, EPOLLOUT: what has to happen before the next call can get on. */
uint32_t mr_link_wants(const struct mr_link *link);

/*
 * Until it returns 0: connected and the other side verified. -EAGAIN: not yet, else it is over. It
 * has no clock: a peer that does not get on with it is for the caller to close. Under TLS the
 * connecting side is done first; that the other refused its certificate is told by
 * mr_link_receive().
 */
int mr_link_step(struct mr_link *link, struct mr_error *err);
/* After mr_link_step(): the name in the other's certificate; NULL: plain. */
const char *mr_link_peer(const struct mr_link *link);
/* "10.0.0.2:40112", for people. */
const char *mr_link_address(const struct mr_link *link);

/*
 * Sends from 'pieces' as much as goes now: bytes taken (the rest is offered again, beginning with
 * the same bytes, and not fewer of them), -EAGAIN, or the connection's end as an error.
 */
ssize_t mr_link_send(struct mr_link *link, const struct iovec *pieces, int count,
		     struct mr_error *err);
/*
 * Bytes, -EAGAIN, -ECONNRESET and the like; 0: the other has closed. After mr_link_send() failed
 * there may still be what the other had said before.
 */
ssize_t mr_link_receive(struct mr_link *link, void *bytes, size_t count, struct mr_error *err);
/*
 * Whether bytes that came lie in the link (under TLS) while the socket may be silent: epoll does
 * not tell of them, so receive before waiting. Never true after -EAGAIN.
 */
bool mr_link_has_more(const struct mr_link *link);
/* Smoothed round trip as TCP measured it, microseconds; 0: not known. */
uint32_t mr_link_rtt_us(const struct mr_link *link);
/* "plain", or "TLS 1.3, TLS_AES_256_GCM_SHA384, in the kernel". */
const char *mr_link_security(const struct mr_link *link);

#endif
