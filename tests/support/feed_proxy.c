/* SPDX-License-Identifier: Apache-2.0 */
/* See feed_proxy.h. */
#include "feed_proxy.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PROXIES_MAX 4
#define CHUNK	    (1u << 18)

static struct rig_proxy *proxies[PROXIES_MAX];

static struct sockaddr_in loopback(uint16_t port)
{
	return (struct sockaddr_in){.sin_family = AF_INET,
				    .sin_port = htons(port),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

struct rig_proxy *rig_proxy_start(uint16_t to)
{
	struct rig_proxy *proxy = calloc(1, sizeof(*proxy));
	struct sockaddr_in at = loopback(0);
	socklen_t bytes = sizeof(at);
	uint32_t i = 0;

	proxy->fds[0] = proxy->fds[1] = -1;
	proxy->to = to;
	proxy->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	cr_assert_eq(bind(proxy->listen_fd, (struct sockaddr *)&at, bytes), 0);
	cr_assert_eq(listen(proxy->listen_fd, 8), 0);
	cr_assert_eq(getsockname(proxy->listen_fd, (struct sockaddr *)&at, &bytes), 0);
	proxy->port = ntohs(at.sin_port);
	proxy->waiting[0] = malloc(CHUNK);
	proxy->waiting[1] = malloc(CHUNK);
	while (proxies[i])
		i++;
	proxies[i] = proxy;
	return proxy;
}

void rig_proxy_cut(struct rig_proxy *proxy)
{
	struct linger reset = {.l_onoff = 1};

	for (int i = 0; i < 2; i++) {
		if (proxy->fds[i] < 0)
			continue;
		setsockopt(proxy->fds[i], SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		close(proxy->fds[i]);
		proxy->fds[i] = -1;
		proxy->waiting_bytes[i] = proxy->waiting_at[i] = 0;
	}
}

void rig_proxy_stop(struct rig_proxy *proxy)
{
	rig_proxy_cut(proxy);
	close(proxy->listen_fd);
	for (uint32_t i = 0; i < PROXIES_MAX; i++)
		if (proxies[i] == proxy)
			proxies[i] = NULL;
	free(proxy->waiting[0]);
	free(proxy->waiting[1]);
	free(proxy);
}

static void take_one(struct rig_proxy *proxy)
{
	struct sockaddr_in to = loopback(proxy->to);
	int fd;

	if (proxy->fds[0] >= 0)
		return;
	fd = accept4(proxy->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0)
		return;
	proxy->count++;
	if (proxy->refuses) {
		close(fd);
		return;
	}
	proxy->fds[0] = fd;
	proxy->fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(proxy->fds[1], (struct sockaddr *)&to, sizeof(to)) < 0)
		rig_proxy_cut(proxy);
}

/* From one side to the other. False: one of them is gone. */
static bool pump(struct rig_proxy *proxy, int from)
{
	size_t *bytes = &proxy->waiting_bytes[from], *at = &proxy->waiting_at[from];
	ssize_t n;

	if (*bytes == 0) {
		n = recv(proxy->fds[from], proxy->waiting[from], CHUNK, MSG_DONTWAIT);
		if (n <= 0)
			return n < 0 && errno == EAGAIN;
		*bytes = (size_t)n;
		*at = 0;
	}
	n = send(proxy->fds[!from], proxy->waiting[from] + *at, *bytes,
		 MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return errno == EAGAIN;
	*at += (size_t)n;
	*bytes -= (size_t)n;
	proxy->bytes += (size_t)n;
	return true;
}

/* As what goes through is passed on, so is the end. */
static void end(struct rig_proxy *proxy)
{
	for (int i = 0; i < 2; i++) {
		close(proxy->fds[i]);
		proxy->fds[i] = -1;
		proxy->waiting_bytes[i] = 0;
	}
}

void rig_proxies_turn(void)
{
	for (uint32_t i = 0; i < PROXIES_MAX; i++) {
		struct rig_proxy *proxy = proxies[i];

		if (!proxy || proxy->held)
			continue;
		take_one(proxy);
		for (int n = 0; n < 64 && proxy->fds[0] >= 0; n++)
			if (!pump(proxy, 0) || !pump(proxy, 1))
				end(proxy);
	}
}
