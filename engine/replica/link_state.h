/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside link*.c only: what a connection is made of, and what its three files say to each other.
 */
#ifndef MR_LINK_STATE_H
#define MR_LINK_STATE_H

#include <netdb.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/address.h"
#include "link.h"

#define MR_LINK_PIECES_MAX   1024 /* what one sendmsg() takes */
#define MR_LINK_SILENCE_MS   10000
#define MR_LINK_SECURITY_MAX 96

/* ---- addresses (link_address.c) ----------------------------------------------------------------
 */

struct mr_link_place {
	char host[MR_ADDRESS_HOST_MAX + 1]; /* without brackets */
	char port[6];
	bool numeric;
};

/* As mr_link_check_address(), and port 0 is taken, too. */
int mr_link_split(const char *address, struct mr_link_place *out, struct mr_error *err);
void mr_link_address_text(const struct sockaddr *address, socklen_t bytes,
			  char text[MR_LINK_ADDRESS_MAX]);

/* A name look-up on a thread of its own, or at once for a numeric one. */
struct mr_link_lookup;
int mr_link_lookup_start(const struct mr_link_place *place, struct mr_link_lookup **out,
			 struct mr_error *err);
int mr_link_lookup_fd(const struct mr_link_lookup *lookup); /* EPOLLIN: it is done */
/* -EAGAIN: not yet; 0: the caller owns *out (freeaddrinfo). */
int mr_link_lookup_take(struct mr_link_lookup *lookup, struct addrinfo **out, struct mr_error *err);
void mr_link_lookup_drop(struct mr_link_lookup *lookup); /* also while it runs; takes NULL */

/* ---- TLS on a socket (link_tls.c) ---------------------------------------------------------------
 */

struct mr_link_tls;

/* 'name' NULL: the accepting side. 'address' is borrowed and must stay. */
int mr_link_tls_open(struct mr_link_trust *trust, const char *name, const char *address,
		     struct mr_link_tls **out, struct mr_error *err);
int mr_link_tls_begin(struct mr_link_tls *tls, int fd, struct mr_error *err);
void mr_link_tls_close(struct mr_link_tls *tls); /* before the socket; takes NULL */
/* 0; -EAGAIN and in *wants what for; else it is over. */
int mr_link_tls_step(struct mr_link_tls *tls, uint32_t *wants, struct mr_error *err);
void mr_link_tls_ready(struct mr_link_tls *tls); /* once, after that was 0 */
const char *mr_link_tls_peer(const struct mr_link_tls *tls);
const char *mr_link_tls_security(const struct mr_link_tls *tls);
/* As mr_link_send() and its kin; *waits: for EPOLLOUT. */
ssize_t mr_link_tls_send(struct mr_link_tls *tls, const struct iovec *pieces, int count,
			 bool *waits, struct mr_error *err);
ssize_t mr_link_tls_receive(struct mr_link_tls *tls, void *bytes, size_t count, bool *waits,
			    struct mr_error *err);
bool mr_link_tls_has_more(const struct mr_link_tls *tls);
/* For tests: how many records one key encrypts, of links made from now on. */
void mr_link_trust_set_records_a_key(struct mr_link_trust *trust, uint64_t records);

/* ---- a connection (link.c) ---------------------------------------------------------------------
 */

enum mr_link_stage {
	MR_LINK_LOOKING_UP,
	MR_LINK_CONNECTING,
	MR_LINK_SHAKING_HANDS, /* TLS only */
	MR_LINK_READY,
};

/*
 * One connection, owned by the feed's thread. In every stage 'fd' is what epoll shall watch: the
 * look-up's bell, then a socket. A socket's number differs from that of the descriptor before it.
 */
struct mr_link {
	enum mr_link_stage stage;
	int fd;
	bool fd_is_socket; /* else it is the look-up's */
	bool accepted;
	bool send_waits;     /* for EPOLLOUT */
	bool began;	     /* plain: the first bytes were looked at */
	uint32_t hand_wants; /* while shaking hands */
	struct mr_link_lookup *lookup;
	struct addrinfo *found; /* owned; 'next' points into it */
	struct addrinfo *next;
	struct mr_link_tls *tls; /* NULL: plain */
	char address[MR_LINK_ADDRESS_MAX];
};

/* 'words' is "cannot connect to 10.0.0.2:7420": the error's name in words follows. */
int mr_link_failed(struct mr_error *err, int code, const char *words, const char *address);

#endif
