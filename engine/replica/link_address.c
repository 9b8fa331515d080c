/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses of hosts: what they must look like, their look-up, and listening.
 *
 * The C library can only look up names by waiting, so that each look-up is a thread that ends with
 * it. It and the link share one struct, which has two claims on it: the thread writes the result,
 * then says so, and is never touched again; whoever drops the last claim frees it. So a link
 * that is closed does not wait for a name server. Numeric addresses need no thread.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/address.h"
#include "link_state.h"

#define LOOKUPS_MAX    64u
#define LISTEN_BACKLOG 64

/* ---- what an address looks like -----------------------------------------------------------------
 */

static int malformed(struct mr_error *err, const char *address)
{
	mr_error_set(err, -EINVAL, "'%.200s' is no address of a host", address);
	mr_error_hint(err, "write it as 10.0.0.2:7420, [fd00::2]:7420 or host.example:7420");
	return -EINVAL;
}

int mr_link_split(const char *address, struct mr_link_place *out, struct mr_error *err)
{
	char with_port[MR_LINK_ADDRESS_MAX];
	size_t bytes = strlen(address);
	struct in_addr ipv4;
	uint16_t port;
	bool any_port;

	if (bytes < 2 || bytes >= sizeof(with_port))
		return malformed(err, address);
	memcpy(with_port, address, bytes + 1);
	any_port = strcmp(address + bytes - 2, ":0") == 0;
	if (any_port)
		with_port[bytes - 1] = '1';
	if (mr_address_parse(with_port, out->host, &port) < 0)
		return malformed(err, address);
	snprintf(out->port, sizeof(out->port), "%u", any_port ? 0u : port);
	out->numeric = strchr(out->host, ':') || inet_pton(AF_INET, out->host, &ipv4) == 1;
	return 0;
}

int mr_link_check_address(const char *address, struct mr_error *err)
{
	return mr_address_parse(address, NULL, NULL) < 0 ? malformed(err, address) : 0;
}

void mr_link_address_text(const struct sockaddr *address, socklen_t bytes,
			  char text[MR_LINK_ADDRESS_MAX])
{
	char host[MR_ADDRESS_HOST_MAX + 1];
	char port[16];
	const char *shape = address->sa_family == AF_INET6 ? "[%s]:%s" : "%s:%s";

	if (getnameinfo(address, bytes, host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		snprintf(text, MR_LINK_ADDRESS_MAX, "an unknown address");
	else
		snprintf(text, MR_LINK_ADDRESS_MAX, shape, host, port);
}

/* ---- looking up ---------------------------------------------------------------------------------
 */

struct mr_link_lookup {
	struct mr_link_place place;
	int bell;    /* eventfd */
	int result;  /* of getaddrinfo() */
	int problem; /* errno with EAI_SYSTEM */
	struct addrinfo *found;
	atomic_bool
		done; /* release by the thread, acquire by the link: the three above are there */
	atomic_uint claims;
};

static atomic_uint lookups; /* threads: so many names at most that a name server does not answer */

static void look_up(struct mr_link_lookup *lookup, int flags)
{
	struct addrinfo hints = {
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICSERV | flags,
	};

	errno = 0;
	lookup->result =
		getaddrinfo(lookup->place.host, lookup->place.port, &hints, &lookup->found);
	lookup->problem = errno;
	if (lookup->result != 0)
		lookup->found = NULL;
	atomic_store_explicit(&lookup->done, true, memory_order_release);
	(void)eventfd_write(lookup->bell, 1); /* cannot fail: it was 0 */
}

void mr_link_lookup_drop(struct mr_link_lookup *lookup)
{
	if (!lookup || atomic_fetch_sub_explicit(&lookup->claims, 1, memory_order_acq_rel) > 1)
		return;
	if (lookup->found)
		freeaddrinfo(lookup->found);
	if (lookup->bell >= 0)
		(void)close(lookup->bell); /* nothing was written into it that could be lost */
	free(lookup);
}

static void *look_up_thread(void *argument)
{
	look_up(argument, 0);
	mr_link_lookup_drop(argument);
	atomic_fetch_sub_explicit(&lookups, 1, memory_order_relaxed); /* a count and nothing else */
	return NULL;
}

static int start_thread(struct mr_link_lookup *lookup)
{
	sigset_t all, old;
	pthread_t thread;
	int r;

	if (atomic_fetch_add_explicit(&lookups, 1, memory_order_relaxed) >= LOOKUPS_MAX) {
		r = -EBUSY;
		goto fail;
	}
	atomic_store_explicit(&lookup->claims, 2, memory_order_relaxed); /* nobody sees it yet */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = -pthread_create(&thread, NULL, look_up_thread, lookup);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r == 0) {
		pthread_detach(thread);
		return 0;
	}
	atomic_store_explicit(&lookup->claims, 1, memory_order_relaxed);
fail:
	atomic_fetch_sub_explicit(&lookups, 1, memory_order_relaxed);
	return r;
}

int mr_link_lookup_start(const struct mr_link_place *place, struct mr_link_lookup **out,
			 struct mr_error *err)
{
	struct mr_link_lookup *lookup = calloc(1, sizeof(*lookup));
	int r;

	if (!lookup)
		return mr_error_set(err, -ENOMEM, "no memory to look up '%s'", place->host);
	lookup->place = *place;
	lookup->claims = 1;
	lookup->bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (lookup->bell < 0) {
		r = mr_error_set(err, -errno, "no descriptor to look up '%s'", place->host);
		goto fail;
	}
	if (place->numeric) {
		look_up(lookup, AI_NUMERICHOST);
	} else {
		r = start_thread(lookup);
		if (r < 0) {
			mr_error_set(err, r, "cannot look up '%s': no thread for it", place->host);
			goto fail;
		}
	}
	*out = lookup;
	return 0;
fail:
	mr_link_lookup_drop(lookup);
	return r;
}

int mr_link_lookup_fd(const struct mr_link_lookup *lookup)
{
	return lookup->bell;
}

int mr_link_lookup_take(struct mr_link_lookup *lookup, struct addrinfo **out, struct mr_error *err)
{
	if (!atomic_load_explicit(&lookup->done, memory_order_acquire))
		return -EAGAIN;
	if (lookup->result != 0) {
		mr_error_set(err, -EHOSTUNREACH, "cannot look up '%s': %s", lookup->place.host,
			     lookup->result == EAI_SYSTEM ? strerrordesc_np(lookup->problem)
							  : gai_strerror(lookup->result));
		return mr_error_hint(err, "is the name right, and does the name server answer?"),
		       -EHOSTUNREACH;
	}
	*out = lookup->found;
	lookup->found = NULL;
	return 0;
}

/* ---- listening ----------------------------------------------------------------------------------
 */

static int listen_on(const struct addrinfo *where)
{
	int on = 1, off = 0, r;
	int fd = socket(where->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	/* An engine that starts again need not wait for the connections of the one before. */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		goto fail;
	if (where->ai_family == AF_INET6 && /* [::] is for IPv4, too, whatever the host's default */
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) < 0)
		goto fail;
	if (bind(fd, where->ai_addr, where->ai_addrlen) == 0 && listen(fd, LISTEN_BACKLOG) == 0)
		return fd;
fail:
	r = -errno;
	(void)close(fd); /* it was never used */
	return r;
}

/* At start, where waiting for a name is no harm. */
int mr_link_listen(const char *address, struct mr_error *err)
{
	struct mr_link_lookup lookup = {.bell = -1, .claims = 1};
	struct addrinfo *found;
	int r = mr_link_split(address, &lookup.place, err);

	if (r < 0)
		return r;
	look_up(&lookup, AI_PASSIVE);
	r = mr_link_lookup_take(&lookup, &found, err);
	if (r < 0)
		return r;
	r = listen_on(found);
	freeaddrinfo(found);
	if (r >= 0)
		return r;
	mr_link_failed(err, r, "cannot listen at", address);
	if (r == -EADDRINUSE)
		mr_error_hint(err, "is another engine running? 'ss -ltnp' shows who listens");
	if (r == -EADDRNOTAVAIL)
		mr_error_hint(err, "this host has no such address: 'ip address' shows them");
	return r;
}
