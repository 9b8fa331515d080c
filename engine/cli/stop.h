/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ending in good order on SIGINT or SIGTERM. Main thread only.
 */
#ifndef MR_STOP_H
#define MR_STOP_H

#include <stdbool.h>
#include <stdint.h>

/*
 * After mr_stop_watch(), SIGINT and SIGTERM only raise a flag; a second one ends the program. Waits
 * below end early when it is raised.
 */
void mr_stop_watch(void);
bool mr_stop_asked(void);

/*
 * Waits until 'fd' is readable (then true), the time is over or a stop was asked for. -1 as fd:
 * just waits.
 */
bool mr_stop_wait(int fd, uint64_t timeout_ns);

#endif
