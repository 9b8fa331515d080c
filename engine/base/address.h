/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses of hosts as people write them: "10.0.0.2:7420", "[::1]:7420", "host.example:7420".
 * Pure: nothing is looked up.
 */
#ifndef MR_ADDRESS_H
#define MR_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

#define MR_ADDRESS_HOST_MAX  253
#define MR_ADDRESS_BYTES_MAX 300 /* of an address, with its final zero */

/* 0, and host without brackets and port; -EINVAL: it is none. Both may be NULL. */
int mr_address_parse(const char *address, char host[MR_ADDRESS_HOST_MAX + 1], uint16_t *port);
/* Whether it can be nothing but this very host: 127.0.0.0/8, ::1, localhost. False for nonsense. */
bool mr_address_is_loopback(const char *address);

#endif
