/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Doorbells: rung by any thread of either side, waited for by one. Owns nothing: descriptors belong
 * to the caller. Promises that no call blocks longer than it was told, whatever the other side does
 * to the eventfd: it may read it, fill it, or ring it for ever.
 */
#include "doorbell.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "error.h"

enum {
	CLEAR_READS = 16,  /* an eventfd gives all rings at once, a socket one by one */
	CLEAR_EVENTS = 64, /* taken by one call of epoll_wait */
	CLEAR_ROUNDS = 16, /* bound of one mr_doorbell_set_clear() */
};

int mr_doorbell_open(struct mr_error *err)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	if (fd < 0)
		return mr_error_set(err, -errno, "cannot make a doorbell: %s", strerror(errno));
	return fd;
}

int mr_doorbell_open_pair(int *ring_fd, int *wait_fd, struct mr_error *err)
{
	int ends[2];

	/* Datagrams: a client that closed its end gives an error here, never a SIGPIPE. */
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) < 0)
		return mr_error_set(err, -errno, "cannot make a doorbell: %s", strerror(errno));
	*ring_fd = ends[0];
	*wait_fd = ends[1];
	return 0;
}

void mr_doorbell_ring(int fd)
{
	uint64_t once = 1;

	/*
	 * -EAGAIN: full, so it is rung. Nothing else can be mended here: the sleeper's time-out
	 * does.
	 */
	(void)!write(fd, &once, sizeof(once));
}

void mr_doorbell_clear(int fd)
{
	uint64_t rings;

	for (int i = 0; i < CLEAR_READS; i++)
		if (read(fd, &rings, sizeof(rings)) < 0)
			return; /* -EAGAIN: no more */
}

bool mr_doorbell_wait(int fd, uint32_t timeout_ms)
{
	struct pollfd bell = {.fd = fd, .events = POLLIN};
	int r = poll(&bell, 1, timeout_ms > INT_MAX ? INT_MAX : (int)timeout_ms);

	if (r <= 0)
		return false;
	mr_doorbell_clear(fd);
	return true;
}

int mr_doorbell_set_open(struct mr_error *err)
{
	int fd = epoll_create1(EPOLL_CLOEXEC);

	if (fd < 0)
		return mr_error_set(err, -errno, "cannot make a set of doorbells: %s",
				    strerror(errno));
	return fd;
}

int mr_doorbell_set_add(int set_fd, int bell_fd, struct mr_error *err)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.fd = bell_fd};

	if (epoll_ctl(set_fd, EPOLL_CTL_ADD, bell_fd, &event) < 0)
		return mr_error_set(err, -errno, "cannot add doorbell %d to the set: %s", bell_fd,
				    strerror(errno));
	return 0;
}

void mr_doorbell_set_remove(int set_fd, int bell_fd)
{
	(void)epoll_ctl(set_fd, EPOLL_CTL_DEL, bell_fd, NULL); /* it is gone: that was the wish */
}

void mr_doorbell_set_clear(int set_fd)
{
	struct epoll_event events[CLEAR_EVENTS];

	for (int i = 0; i < CLEAR_ROUNDS; i++)
		if (epoll_wait(set_fd, events, CLEAR_EVENTS, 0) < CLEAR_EVENTS)
			return;
}

int mr_doorbell_set_wait(int set_fd, uint32_t timeout_ms)
{
	struct epoll_event events[CLEAR_EVENTS];
	int wait_ms = timeout_ms > INT_MAX ? INT_MAX : (int)timeout_ms;
	int count = epoll_wait(set_fd, events, CLEAR_EVENTS, wait_ms);

	if (count == CLEAR_EVENTS)
		mr_doorbell_set_clear(set_fd);
	return count > 0 ? events[0].data.fd : -1;
}
