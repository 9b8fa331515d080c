/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one TCP connection over loopback carries in one direction, as iperf3 asks it: a child sends
 * the same MiB as fast as it goes, this process receives and looks at none of it.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "limit.h"
#include "now.h"
#include "sides.h"
#include "windows.h"

#define PIECE_BYTES (1u << 20)
#define WARM_UP	    0.1 /* of the seconds: the window of the connection opens */

struct stream {
	const struct mr_limit *limit;
	int listener;
	struct sockaddr_in at;
	uint64_t began_ns, ended_ns, bytes;
};

static int stream_there(void *shared, void *arg)
{
	const struct stream *stream = arg;
	uint8_t *piece = calloc(1, PIECE_BYTES);
	int fd;

	if (!piece)
		return -ENOMEM;
	mr_sides_say_ready(shared);
	fd = accept4(stream->listener, NULL, NULL, SOCK_CLOEXEC);
	while (fd >= 0 && send(fd, piece, PIECE_BYTES, MSG_NOSIGNAL) > 0)
		; /* until the other side closes it */
	if (fd >= 0)
		(void)close(fd); /* the other side has closed it */
	free(piece);
	return 0;
}

static int receive(struct stream *stream, int fd, uint8_t *piece, struct mr_error *err)
{
	uint64_t ns = (uint64_t)(stream->limit->seconds * 1e9);
	uint64_t first_ns = mr_bench_now_ns(), now_ns = first_ns;

	while (now_ns < first_ns + ns) {
		ssize_t got = recv(fd, piece, PIECE_BYTES, 0);

		if (got <= 0)
			return mr_error_set(err, -EPIPE, "the sender of a stream ended too early");
		now_ns = mr_bench_now_ns();
		if ((double)(now_ns - first_ns) < WARM_UP * (double)ns) {
			stream->began_ns = now_ns;
			continue;
		}
		stream->bytes += (uint64_t)got;
		stream->ended_ns = now_ns;
	}
	return 0;
}

static int stream_here(void *shared, void *arg, struct mr_error *err)
{
	struct stream *stream = arg;
	uint8_t *piece = malloc(PIECE_BYTES);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int r = mr_sides_wait_ready(shared, err);

	if (!piece)
		r = mr_error_set(err, -ENOMEM, "no memory for what is received");
	if (r == 0 &&
	    (fd < 0 || connect(fd, (struct sockaddr *)&stream->at, sizeof(stream->at)) < 0))
		r = mr_error_set(err, -errno, "cannot connect over loopback: %s", strerror(errno));
	if (r == 0)
		r = receive(stream, fd, piece, err);
	if (fd >= 0)
		(void)close(fd); /* the other side ends then */
	free(piece);
	return r;
}

static int run_stream(struct mr_bench_run *run, struct stream *stream,
		      struct mr_bench_sample *sample, struct mr_error *err)
{
	const struct mr_sides sides = {
		.shared_bytes = sizeof(struct mr_sides_page),
		.here_core = stream->limit->here,
		.there_core = stream->limit->there,
		.here = stream_here,
		.there = stream_there,
		.arg = stream,
	};
	int r = mr_sides_run(&sides, err);

	if (r < 0)
		return r;
	if (stream->ended_ns <= stream->began_ns)
		return mr_error_set(err, -ETIME, "a stream of %g s is too short to say anything",
				    stream->limit->seconds);
	sample->values[0] =
		(double)stream->bytes * 1e9 / (double)(stream->ended_ns - stream->began_ns);
	sample->disturbed = mr_windows_disturbed(run, mr_limit_mask(stream->limit),
						 stream->began_ns, stream->ended_ns);
	return 0;
}

int mr_limit_stream(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		    struct mr_error *err)
{
	struct stream stream = {
		.limit = arg,
		.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
		.at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)},
	};
	socklen_t bytes = sizeof(stream.at);
	int r;

	if (stream.listener < 0 ||
	    bind(stream.listener, (struct sockaddr *)&stream.at, sizeof(stream.at)) < 0 ||
	    listen(stream.listener, 1) < 0 ||
	    getsockname(stream.listener, (struct sockaddr *)&stream.at, &bytes) < 0)
		r = mr_error_set(err, -errno, "cannot listen on loopback: %s", strerror(errno));
	else
		r = run_stream(run, &stream, sample, err);
	if (stream.listener >= 0)
		(void)close(stream.listener); /* only listened */
	return r;
}
