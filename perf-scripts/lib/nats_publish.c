/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publishes into a JetStream stream over loopback and counts its acknowledgements: NATS's text
 * protocol, one connection, one thread, a window of publishes outstanding. Prints one JSON object.
 *
 *	nats_publish PORT WINDOW SECONDS BYTES
 *
 * A publish carries its number in its reply subject (a.NUMBER), so an acknowledgement tells how
 * long it took from being handed to the socket. Built and run by perf-scripts/peers.d/nats.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define IN_BYTES    (1 << 20)
#define WINDOW_MAX  65536
#define FRAME_BYTES 128	       /* of a publish beside its payload, at most */
#define TIMES_MAX   (20 << 20) /* acknowledgements whose time is kept */
#define PATIENCE_MS 10000

struct client {
	int fd;
	uint32_t window, bytes;
	uint64_t sent, acknowledged;
	uint64_t sent_ns[WINDOW_MAX]; /* of publish i at i % WINDOW_MAX */
	uint32_t *times_ns;
	char *out; /* what is not with the kernel yet */
	size_t out_begin, out_end, out_max;
	char in[IN_BYTES + 1];
	size_t in_end;
	char api_reply[1024]; /* the answer to a request, once there is one */
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

__attribute__((noreturn)) static void die(const char *what, const char *why)
{
	fprintf(stderr, "nats_publish: %s: %s\n", what, why);
	exit(1);
}

static void append(struct client *c, const char *bytes, size_t count)
{
	if (c->out_max - c->out_end < count)
		die("cannot send", "the buffer is full");
	memcpy(c->out + c->out_end, bytes, count);
	c->out_end += count;
}

static void append_text(struct client *c, const char *text)
{
	append(c, text, strlen(text));
}

/* One acknowledgement: the subject tells which publish, the payload whether it is stored. */
static void take_ack(struct client *c, const char *subject, const char *payload, size_t bytes)
{
	uint64_t number = strtoull(subject + 2, NULL, 10);
	uint64_t took;

	if (!memmem(payload, bytes, "\"seq\"", 5))
		die("the server refused a publish", payload);
	if (number >= c->sent || c->sent - number > c->window)
		die("an acknowledgement of nothing outstanding", subject);
	took = now_ns() - c->sent_ns[number % WINDOW_MAX];
	if (c->acknowledged < TIMES_MAX)
		c->times_ns[c->acknowledged] = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
	c->acknowledged++;
}

/* Takes one message at 'text', which ends with a zero byte behind all that came. Returns how many
 * bytes it took, 0: not whole yet. */
static size_t take_message(struct client *c, char *text)
{
	char *end = strstr(text, "\r\n"), subject[64];
	size_t head, bytes, there = c->in_end - (size_t)(text - c->in);

	if (!end)
		return 0;
	head = (size_t)(end - text) + 2;
	if (strncmp(text, "PING", 4) == 0)
		append_text(c, "PONG\r\n");
	if (strncmp(text, "-ERR", 4) == 0)
		*end = 0, die("the server says", text);
	if (strncmp(text, "MSG ", 4) != 0)
		return head;
	if (sscanf(text, "MSG %63s %*u %zu", subject, &bytes) != 2 || bytes > IN_BYTES / 2)
		die("cannot understand", text);
	if (there < head + bytes + 2)
		return 0;
	if (subject[0] == 'a')
		take_ack(c, subject, text + head, bytes);
	else
		snprintf(c->api_reply, sizeof(c->api_reply), "%.*s", (int)bytes, text + head);
	return head + bytes + 2;
}

static void take_all(struct client *c)
{
	size_t at = 0, took;

	while (at < c->in_end && (took = take_message(c, c->in + at)) > 0)
		at += took;
	memmove(c->in, c->in + at, c->in_end - at);
	c->in_end -= at;
	c->in[c->in_end] = 0;
}

/* Sends and receives what goes; sleeps only when neither does. */
static void exchange(struct client *c)
{
	struct pollfd p = {.fd = c->fd, .events = POLLIN};
	ssize_t n;

	if (c->out_end > c->out_begin) {
		n = send(c->fd, c->out + c->out_begin, c->out_end - c->out_begin, MSG_DONTWAIT);
		if (n < 0 && errno != EAGAIN)
			die("cannot send", strerror(errno));
		c->out_begin += n > 0 ? (size_t)n : 0;
		if (c->out_begin == c->out_end)
			c->out_begin = c->out_end = 0;
		else
			p.events |= POLLOUT;
	}
	if (poll(&p, 1, PATIENCE_MS) == 0)
		die("the server does not answer", "waited 10 s");
	if (!(p.revents & POLLIN))
		return;
	n = recv(c->fd, c->in + c->in_end, IN_BYTES - c->in_end, MSG_DONTWAIT);
	if (n == 0 || (n < 0 && errno != EAGAIN))
		die("cannot receive", n == 0 ? "the server hung up" : strerror(errno));
	c->in_end += n > 0 ? (size_t)n : 0;
	c->in[c->in_end] = 0;
	take_all(c);
}

/* Publishes until the window is full. Compacts the buffer first, so that it holds a window. */
static void fill_window(struct client *c, const char *payload)
{
	char head[FRAME_BYTES];
	int n;

	memmove(c->out, c->out + c->out_begin, c->out_end - c->out_begin);
	c->out_end -= c->out_begin;
	c->out_begin = 0;
	while (c->sent - c->acknowledged < c->window) {
		n = snprintf(head, sizeof(head), "PUB bench a.%" PRIu64 " %u\r\n", c->sent,
			     c->bytes);
		append(c, head, (size_t)n);
		append(c, payload, c->bytes);
		append_text(c, "\r\n");
		c->sent_ns[c->sent++ % WINDOW_MAX] = now_ns();
	}
}

static void open_stream(struct client *c, int port)
{
	static const char request[] =
		"{\"name\":\"bench\",\"subjects\":[\"bench\"],\"storage\":\"file\","
		"\"retention\":\"limits\",\"discard\":\"old\",\"num_replicas\":1,"
		"\"max_consumers\":-1,\"max_msgs\":-1,\"max_bytes\":-1,\"max_age\":0}";
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	char line[128];
	int one = 1;

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		die("cannot connect", strerror(errno));
	(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* a wish */
	append_text(c, "CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"c\","
		       "\"version\":\"1\"}\r\nSUB r 1\r\nSUB a.* 2\r\n");
	snprintf(line, sizeof(line), "PUB $JS.API.STREAM.CREATE.bench r %zu\r\n",
		 sizeof(request) - 1);
	append_text(c, line);
	append_text(c, request);
	append_text(c, "\r\n");
	while (!c->api_reply[0])
		exchange(c);
	if (strstr(c->api_reply, "\"error\""))
		die("the server made no stream", c->api_reply);
}

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void report(struct client *c, uint64_t took_ns)
{
	uint64_t count = c->acknowledged < TIMES_MAX ? c->acknowledged : TIMES_MAX;

	if (count == 0)
		die("nothing was acknowledged", "is JetStream on?");
	qsort(c->times_ns, count, sizeof(*c->times_ns), by_size);
	printf("{\"records\": %" PRIu64 ", \"seconds\": %.4f, \"records_per_second\": %.0f, "
	       "\"p50_us\": %.1f, \"p99_us\": %.1f}\n",
	       c->acknowledged, (double)took_ns / 1e9,
	       (double)c->acknowledged / ((double)took_ns / 1e9), c->times_ns[count / 2] / 1e3,
	       c->times_ns[count - 1 - count / 100] / 1e3);
}

int main(int argc, char **argv)
{
	struct client *c = calloc(1, sizeof(*c));
	uint64_t began, until;
	char *payload;

	if (!c || argc != 5)
		die("usage", "nats_publish PORT WINDOW SECONDS BYTES");
	c->window = (uint32_t)strtoul(argv[2], NULL, 10);
	c->bytes = (uint32_t)strtoul(argv[4], NULL, 10);
	if (c->window < 1 || c->window > WINDOW_MAX || c->bytes < 1 || c->bytes > 65536)
		die("usage", "a window of 1 to 65536, 1 to 65536 bytes");
	c->out_max = (size_t)(c->window + 16) * (c->bytes + FRAME_BYTES) + 4096;
	c->out = malloc(c->out_max);
	c->times_ns = malloc(TIMES_MAX * sizeof(*c->times_ns));
	payload = malloc(c->bytes);
	if (!c->out || !c->times_ns || !payload)
		die("cannot begin", "no memory");
	memset(payload, 'x', c->bytes);
	open_stream(c, (int)strtol(argv[1], NULL, 10));
	began = now_ns();
	until = began + (uint64_t)(strtod(argv[3], NULL) * 1e9);
	while (now_ns() < until) {
		fill_window(c, payload);
		exchange(c);
	}
	while (c->acknowledged < c->sent)
		exchange(c);
	report(c, now_ns() - began);
	free(payload);
	free(c->times_ns);
	free(c->out);
	(void)close(c->fd); /* nothing is left to be lost */
	free(c);
	return 0;
}
