/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections on loopback for tests (link_rig.h).
 */
#include "link_rig.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

int mr_link_rig_listen(char address[64])
{
	struct sockaddr_in own;
	socklen_t bytes = sizeof(own);
	int fd = mr_link_listen("127.0.0.1:0", NULL);

	mr_assert(fd >= 0);
	mr_assert(getsockname(fd, (struct sockaddr *)&own, &bytes) == 0);
	snprintf(address, 64, "127.0.0.1:%d", ntohs(own.sin_port));
	return fd;
}

int mr_link_rig_accept(int listener)
{
	struct pollfd ready = {.fd = listener, .events = POLLIN};
	int fd;

	mr_assert(poll(&ready, 1, 5000) == 1);
	fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	mr_assert(fd >= 0);
	return fd;
}

int mr_link_rig_raw(const char *address)
{
	struct sockaddr_in where = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	where.sin_port = htons((uint16_t)strtol(strchr(address, ':') + 1, NULL, 10));
	where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	mr_assert(connect(fd, (struct sockaddr *)&where, sizeof(where)) == 0);
	return fd;
}

void mr_link_rig_reset(int fd)
{
	struct linger at_once = {.l_onoff = 1, .l_linger = 0};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	close(fd);
}

int mr_link_rig_step(struct mr_link *link, struct mr_error *err)
{
	int r = -EAGAIN;

	for (int i = 0; i < 1000 && r == -EAGAIN; i++) {
		struct pollfd ready = {.fd = mr_link_fd(link),
				       .events = (short)mr_link_wants(link)};

		(void)poll(&ready, 1, 10);
		r = mr_link_step(link, err);
	}
	return r;
}

ssize_t mr_link_rig_receive(struct mr_link *link, void *bytes, size_t count, struct mr_error *err)
{
	ssize_t got = mr_link_receive(link, bytes, count, err);

	for (int i = 0; i < 500 && got == -EAGAIN; i++) {
		struct pollfd ready = {.fd = mr_link_fd(link), .events = POLLIN};

		(void)poll(&ready, 1, 10);
		got = mr_link_receive(link, bytes, count, err);
	}
	return got;
}

/* A side that failed closes, as the feed would, so that the other one hears of it. */
static int step_side(struct mr_link **link, int result, struct mr_error *err)
{
	if (result != -EAGAIN)
		return result;
	result = mr_link_step(*link, err);
	if (result != -EAGAIN && result != 0) {
		mr_link_close(*link);
		*link = NULL;
	}
	return result;
}

struct mr_link_rig mr_link_rig_open(struct mr_link_trust *a, struct mr_link_trust *b,
				    const char *expects)
{
	struct mr_link_rig rig = {.a_result = -EAGAIN, .b_result = -EAGAIN};
	char address[64];
	int listener = mr_link_rig_listen(address);

	mr_assert(mr_link_connect(address, a, expects, &rig.a, &rig.a_error) == 0);
	for (int i = 0; i < 10; i++) /* so far that there is a connection to accept */
		rig.a_result = step_side(&rig.a, rig.a_result, &rig.a_error);
	mr_assert(mr_link_accept(mr_link_rig_accept(listener), b, &rig.b, &rig.b_error) == 0);
	close(listener);
	for (int i = 0; i < 5000 && (rig.a_result == -EAGAIN || rig.b_result == -EAGAIN); i++) {
		if (i > 20)
			(void)poll(NULL, 0, 1);
		rig.a_result = step_side(&rig.a, rig.a_result, &rig.a_error);
		rig.b_result = step_side(&rig.b, rig.b_result, &rig.b_error);
	}
	return rig;
}

void mr_link_rig_close(struct mr_link_rig *rig)
{
	mr_link_close(rig->a);
	mr_link_close(rig->b);
	*rig = (struct mr_link_rig){0};
}

/* ---- certificates -----------------------------------------------------------------------------
 */

void mr_link_rig_write(const char *path, const char *text, unsigned int mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	size_t bytes = strlen(text);

	mr_assert(fd >= 0);
	mr_assert(write(fd, text, bytes) == (ssize_t)bytes);
	mr_assert(fchmod(fd, mode) == 0);
	close(fd);
}

const char *mr_link_rig_path(const struct mr_link_rig_certificates *rig, const char *name,
			     const char *ending)
{
	static char paths[4][200];
	static unsigned int next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s%s", rig->directory, name, ending);
	return path;
}

void mr_link_rig_certificates_open(struct mr_link_rig_certificates *out)
{
	struct mr_certificate_times times = {time(NULL) - 3600, time(NULL) + 100000};

	snprintf(out->directory, sizeof(out->directory), "/tmp/millrace-link-XXXXXX");
	mr_assert(mkdtemp(out->directory));
	mr_assert(mr_certificate_authority("test", times, &out->authority, NULL) == 0);
	mr_link_rig_write(mr_link_rig_path(out, "ca", ".pem"), out->authority.certificate, 0644);
}

void mr_link_rig_certificates_add(struct mr_link_rig_certificates *rig,
				  const struct mr_certificate *authority, const char *name,
				  int64_t from_s, int64_t until_s)
{
	struct mr_certificate_times times = {time(NULL) + from_s, time(NULL) + until_s};
	struct mr_certificate made;

	mr_assert(mr_certificate_issue(authority, name, times, &made, NULL) == 0);
	mr_link_rig_write(mr_link_rig_path(rig, name, ".pem"), made.certificate, 0644);
	mr_link_rig_write(mr_link_rig_path(rig, name, ".key"), made.key, 0600);
	mr_certificate_deinit(&made);
}

struct mr_link_trust *mr_link_rig_trust(struct mr_link_rig_certificates *rig, const char *name)
{
	struct mr_link_trust *trust;
	struct mr_error err;

	if (access(mr_link_rig_path(rig, name, ".pem"), R_OK) < 0)
		mr_link_rig_certificates_add(rig, &rig->authority, name, -3600, 1000);
	if (mr_link_trust_open(mr_link_rig_path(rig, "ca", ".pem"),
			       mr_link_rig_path(rig, name, ".pem"),
			       mr_link_rig_path(rig, name, ".key"), &trust, &err) == 0)
		return trust;
	fprintf(stderr, "%s\n", err.what);
	return NULL;
}

void mr_link_rig_certificates_close(struct mr_link_rig_certificates *rig)
{
	DIR *directory = opendir(rig->directory);
	const struct dirent *entry;

	while (directory && (entry = readdir(directory)))
		if (entry->d_name[0] != '.')
			(void)unlinkat(dirfd(directory), entry->d_name, 0);
	if (directory)
		closedir(directory);
	rmdir(rig->directory);
	mr_certificate_deinit(&rig->authority);
}
