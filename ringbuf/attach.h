/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The conversation on the engine's Unix socket (SOCK_SEQPACKET): packets with a header (format.h),
 * a body of one struct, and descriptors. Both ends use these functions; neither trusts the other.
 * Blocking is the caller's choice: sockets are non-blocking in the engine, waited on with a
 * time-out in the library.
 */
#ifndef MR_ATTACH_H
#define MR_ATTACH_H

#include <stddef.h>
#include <stdint.h>

#include "millrace.h"
#include "millrace/format.h"

#define MR_PACKET_BODY_MAX (MR_MESSAGE_BYTES_MAX - sizeof(struct mr_message_header))

/* A packet received; 'fds' belong to the receiver until it takes them (sets the place to -1). */
struct mr_packet {
	struct mr_message_header head;
	uint32_t body_bytes;
	int fds[MR_MESSAGE_FDS_MAX];
	_Alignas(8) uint8_t body[MR_PACKET_BODY_MAX];
};

/*
 * Sends one packet: head->bytes, magic, version and fd_count are filled in here. Descriptors are
 * borrowed. 0; -EAGAIN: the socket is full; -EPIPE or another negative errno: it is gone. Never
 * raises SIGPIPE.
 */
int mr_packet_send(int socket, struct mr_message_header *head, const void *body, size_t body_bytes,
		   const int *fds, uint32_t fd_count);

/*
 * Receives one packet, checked: magic, version, sizes, exact descriptor count (extras are closed),
 * close-on-exec. 0; -EAGAIN: nothing there; -EPIPE: the other end hung up; -EBADMSG / -EPROTO
 * (other version): the conversation is over.
 */
int mr_packet_receive(int socket, struct mr_packet *packet);
void mr_packet_close_fds(struct mr_packet *packet);

/* Where the engine's socket is by default: see mr_connect_options.socket_path. -ENAMETOOLONG. */
int mr_socket_default_path(char *path, size_t bytes);

#endif
