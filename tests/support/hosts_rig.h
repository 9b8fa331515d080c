/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two whole engines in the test's own process, hosts a and b, that are each other's peers over
 * loopback; each as engine_rig.h has it, with a disk that can be made to fail and a clock of its
 * own. The topic of the clients here is "t". A rig ends the program when something fails that no
 * test asks for.
 */
#ifndef MR_TEST_HOSTS_RIG_H
#define MR_TEST_HOSTS_RIG_H

#include "engine_rig.h"

#define MR_TEST_HOSTS	       2u
#define MR_TEST_HOSTS_PATIENCE 30000u /* ms */

struct mr_test_hosts {
	struct mr_test_engine hosts[MR_TEST_HOSTS];
	struct mr_connection *connections[MR_TEST_HOSTS]; /* NULL: it does not run */
};

/* Configures both, starts none. */
void mr_test_hosts_init(struct mr_test_hosts *rig);
void mr_test_hosts_deinit(struct mr_test_hosts *rig);
void mr_test_hosts_start(struct mr_test_hosts *rig, uint32_t number);
/* What mr_engine_run() returned. */
int mr_test_hosts_stop(struct mr_test_hosts *rig, uint32_t number);
/* While it does not run: all that it had is gone. */
void mr_test_hosts_replace_disk(struct mr_test_hosts *rig, uint32_t number);

/* Until it is done: registers and connections take a moment. */
void mr_test_hosts_ask(struct mr_test_hosts *rig, uint32_t number, const char *request);
/* Until the reply holds 'words' ('held'), or does not. */
void mr_test_hosts_await_words(struct mr_test_hosts *rig, uint32_t number, const char *request,
			       const char *words, bool held);
/*
 * The one topic, which was just made and which host 0 leads, has its copy on host 1, in sync. A new
 * copy is in the ISR at first, and leaves it to begin anew: until then it may be either.
 */
void mr_test_hosts_await_copy(struct mr_test_hosts *rig);
/* It does not wait for its follower any longer: topics of one partition. */
void mr_test_hosts_go_on_alone(struct mr_test_hosts *rig, uint32_t number);
/* Until all partitions' numbers of that name together are 'sum', as this host knows. */
void mr_test_hosts_await_sum(struct mr_test_hosts *rig, uint32_t number, const char *name,
			     int32_t partitions, int64_t sum);

struct mr_producer *mr_test_hosts_producer(struct mr_test_hosts *rig, uint32_t number);
/* Records without a key, so into all partitions. */
void mr_test_hosts_publish(struct mr_producer *producer, uint32_t count, uint32_t value_bytes);
/* All of 'count' was acknowledged. */
void mr_test_hosts_close_producer(struct mr_producer *producer, uint64_t count);
/* From the earliest on: so many, and no offset left out. */
void mr_test_hosts_read(struct mr_test_hosts *rig, uint32_t number, uint32_t count);

#endif
