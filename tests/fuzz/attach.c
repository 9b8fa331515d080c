/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: any packet on the engine's socket, with any number of descriptors, as a request and
 * as a reply. What must hold beside memory safety: what is taken has the sizes that it says, no
 * descriptor is left behind, and the other end's words are never taken unterminated.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "attach.h"
#include "conversation.h"
#include "fuzz.h"

#define SENT_FDS_MAX 8u

static int pair[2] = {-1, -1};
static struct mr_packet packet;

static void open_pair(void)
{
	if (pair[0] >= 0)
		return;
	fuzz_demand(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair) == 0);
}

static bool send_raw(const uint8_t *data, size_t count, uint32_t fd_count)
{
	struct iovec part = {.iov_base = (void *)data, .iov_len = count};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	_Alignas(8) char control[CMSG_SPACE(sizeof(int) * SENT_FDS_MAX)] = {0};
	int fds[SENT_FDS_MAX];

	if (fd_count > 0) {
		struct cmsghdr *cmsg = (struct cmsghdr *)(void *)control;

		for (uint32_t i = 0; i < fd_count; i++)
			fds[i] = pair[0];
		message.msg_control = control;
		message.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
		memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * fd_count);
	}
	return sendmsg(pair[0], &message, MSG_NOSIGNAL) == (ssize_t)count;
}

static void check_taken(size_t count)
{
	struct mr_error err;
	uint32_t fds = 0;
	int r;

	fuzz_demand(packet.head.magic == MR_MESSAGE_MAGIC);
	fuzz_demand(packet.head.version == MR_PROTOCOL_VERSION);
	fuzz_demand(packet.head.bytes == count);
	fuzz_demand(packet.body_bytes == count - sizeof(packet.head));
	for (int i = 0; i < MR_MESSAGE_FDS_MAX; i++)
		fds += packet.fds[i] >= 0;
	fuzz_demand(packet.head.fd_count == fds);
	r = mr_conversation_check(&packet, packet.body_bytes, fds, &err);
	fuzz_demand(r == 0 ? packet.head.status >= 0 : packet.head.status < 0);
	if (r < 0) {
		fuzz_demand(err.code == r);
		fuzz_demand(memchr(err.what, '\0', sizeof(err.what)) != NULL);
		fuzz_demand(memchr(err.hint, '\0', sizeof(err.hint)) != NULL);
	}
	mr_packet_close_fds(&packet);
}

/* The first byte says how many descriptors travel and whether magic and sizes are made right. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
	static uint8_t bytes[MR_MESSAGE_BYTES_MAX + 64];
	struct mr_message_header head;
	uint32_t fd_count;
	int probe, r;

	if (count < 2 || count - 1 > sizeof(bytes))
		return 0;
	open_pair();
	probe = dup(0);
	close(probe);
	fd_count = (data[0] & 0x7f) % (SENT_FDS_MAX + 1);
	memcpy(bytes, data + 1, --count);
	if ((data[0] & 0x80) && count >= sizeof(head)) {
		memcpy(&head, bytes, sizeof(head));
		head.magic = MR_MESSAGE_MAGIC;
		head.version = MR_PROTOCOL_VERSION;
		head.bytes = (uint32_t)count;
		head.fd_count = (uint16_t)fd_count;
		memcpy(bytes, &head, sizeof(head));
	}
	if (!send_raw(bytes, count, fd_count))
		return 0;
	r = mr_packet_receive(pair[1], &packet);
	if (r == 0)
		check_taken(count);
	else
		fuzz_demand(r == -EBADMSG || r == -EPROTO);
	r = dup(0);
	fuzz_demand(r == probe); /* the lowest free descriptor is the same: none was left behind */
	close(r);
	return 0;
}
