/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Up to three static coordinators for a test; what they say to each other waits in a list, what
 * they save until the test lets it be durable.
 */
#ifndef MR_COORD_RIG_H
#define MR_COORD_RIG_H

#include "coord_static.h"

#define COORDS	       3
#define COORDS_ALL     7u
#define COORDS_NODE(n) (UINT64_C(1) << (n))

struct coords_host {
	struct mr_coord *coord; /* NULL: it is dead */
	uint64_t incarnation;
	uint8_t *disk, *saving;
	size_t disk_bytes, saving_bytes;
	int fails;		     /* so many saves from now on */
	struct mr_coord_state state; /* of the newest event */
	enum mr_coord_event_kind kind;
	uint32_t states;	/* events of that kind */
	uint64_t first_version; /* of its first event */
	int promoted;		/* outcome; 1: none yet */
	char sentence[400];
};

extern struct coords_host coords_hosts[COORDS];
extern uint32_t coords_lose_percent; /* of the notices */
extern uint64_t coords_chance;
extern struct mr_error coords_err;
extern const struct mr_coord_key coords_key;

/* Its coordinator, as after a start; nothing is watched yet. */
int coords_open_host(uint32_t n);
void coords_take_events(uint32_t n);
void coords_start(uint32_t n);
/* What is under way between them is lost. */
void coords_cut(uint32_t a, uint32_t b);
void coords_join(uint32_t a, uint32_t b);
/* Power is cut: what was being saved is not. */
void coords_crash(uint32_t n);
/* False: nothing is being saved. */
bool coords_save_done(uint32_t n);
/* The oldest notice; false: there is none. */
bool coords_deliver(void);
/* All that is under way arrives and becomes durable. */
void coords_settle(void);
void coords_pass(uint64_t ms);
/* And watched. */
void coords_create(uint32_t n, uint64_t replicas, uint32_t leader);
/* All are up, host 0 leads. */
void coords_setup(void);
void coords_teardown(void);
struct mr_coord_state coords_known(uint32_t n);
uint64_t coords_not_heard(uint32_t n);
struct mr_coord_proposal coords_proposal_of(uint32_t n);
void coords_propose(uint32_t n, const struct mr_coord_proposal *proposal);
/* As the protocol does where the register says that this host leads. */
void coords_claim(uint32_t n);
void coords_shrink(uint32_t n, uint64_t isr);
int coords_promote(uint32_t at, uint32_t to, bool accept_loss, uint32_t least);
void coords_all_agree(void);

#endif
