/* SPDX-License-Identifier: Apache-2.0 */
/* What the disk under a data directory is. Private to io*.c and their tests. */
#ifndef MR_IO_FACTS_H
#define MR_IO_FACTS_H

#include "io.h"

/* Fills in block_bytes, file_system and warning; what cannot be found out is left at its least. */
void mr_io_facts_learn(int directory_fd, struct mr_io_facts *facts);

/* What an open file's direct I/O offsets must be multiples of (statx); 0 if not known. */
uint32_t mr_io_facts_direct_alignment(int fd);

/* Linux 6.1.64 and 6.1.65 corrupt O_SYNC direct writes on ext4; both strings come from uname(). */
bool mr_io_facts_kernel_is_bad(const char *release, const char *version);

#endif
