/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every byte that another program may read: lane, tail, group, segment, messages on the socket.
 */
#ifndef MR_FORMAT_H
#define MR_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#endif
