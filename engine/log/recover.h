/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is kept after a crash, and why (reliability.md D3, D5, D6, D14, I8, I12). Every segment is
 * locked before a byte is read. Reading begins at the checkpoint (or at the oldest segment without
 * one), checks each group and batch and the chain of group numbers, checksums and offsets, and
 * keeps the prefix before the first invalid group. What lies behind it within the in-flight window
 * is looked at once for a proof that it had been flushed; with such a proof, or when the checkpoint
 * itself lies above, it is corruption: the partition is then read-only and says at which offset.
 * Else the window is zeroed and flushed, and so is what was kept, before it counts. Behind a
 * checkpoint of an engine that ended well is no window: nothing had been written there.
 */
#ifndef MR_RECOVER_H
#define MR_RECOVER_H

#include "checkpoint.h"
#include "log.h"

struct mr_recover_options {
	uint64_t window_bytes; /* mr_log_window_bytes() of the engine that wrote the log */
	uint32_t lock_wait_ms; /* how long a killed engine's writes are waited for */
	bool read_only;	       /* look only: no lock, no zeroing, no flush (verify, dump) */
	/* progress, may be NULL: bytes checked so far of those to check */
	void (*progress)(uint64_t bytes, uint64_t total, void *arg);
	void *arg;
};

struct mr_recovered {
	struct mr_segment **segments; /* owned; oldest first; the last is open for writing */
	size_t segment_count;
	struct mr_log_start start; /* where appending goes on; start.active is the last
				      segment */
	uint64_t log_start;
	uint64_t flushed_offset; /* highest offset known to have been flushed */
	int32_t leader_epoch;	 /* highest seen */
	uint64_t checked_bytes;
	uint64_t cut_bytes;  /* discarded behind the kept prefix, unanswered */
	uint64_t cut_groups; /* of those, groups that were whole but stood behind an
				invalid one */
	bool clean;	     /* ended well: nothing behind, and a "spare" that is there
				may be used (mr_segment_use_spare()) */
	bool corrupt;	     /* damage below what was flushed: read-only from
				corrupt_offset on */
	uint64_t corrupt_offset;
	uint64_t corrupt_position;
	struct mr_error damage; /* the sentence: file, position, offset, found, expected */
};

/*
 * Recovers "topics/<id>/<partition>" ('directory'). 'checkpoint' may be NULL. Producers and leader
 * epochs are put into 'partition' (init'ed, empty): the checkpoint's first, then of each batch
 * since; its log_end is set, mr_partition_start() is the caller's. 0 also when corrupt (see
 * ->corrupt: nothing was changed on the disk then, and the segments are those up to the damage,
 * perhaps none); -ENOENT: no segment, as when making the partition was cut off; another negative
 * errno when nothing can be said (I/O error, lock held).
 */
int mr_recover(struct mr_io *io, const char *directory, const uint8_t topic_id[16],
	       int32_t partition_number, const struct mr_checkpoint_partition *checkpoint,
	       const struct mr_recover_options *options, struct mr_partition *partition,
	       struct mr_recovered *out, struct mr_error *err);
/* Closes the segments and frees their list; who takes them sets segment_count to 0 first. */
void mr_recovered_deinit(struct mr_recovered *recovered);

/*
 * After corruption, on a person's word (repair --accept-loss): cuts the log at the damage;
 * everything from corrupt_offset on is gone. *lost: records that were flushed and are lost, as far
 * as is known. 'recovered' is not of a read_only recovery. Afterwards the caller takes the
 * partition out of the checkpoint, durably, and recovers again: a checkpoint above the cut would be
 * damage.
 */
int mr_recover_accept_loss(struct mr_io *io, const char *directory,
			   const struct mr_recovered *recovered, uint64_t *lost,
			   struct mr_error *err);

/*
 * A new partition: directory, first segment (made and named), everything durable. May block.
 * -EEXIST: there is a log already.
 */
int mr_log_create(struct mr_io *io, const char *directory, const uint8_t topic_id[16],
		  int32_t partition_number, const uint8_t log_id[16], uint64_t segment_bytes,
		  struct mr_recovered *out, struct mr_error *err);
/* The same in a directory that is there, durably: who makes many logs syncs their names at once. */
int mr_log_create_in(struct mr_io *io, const char *directory, const uint8_t topic_id[16],
		     int32_t partition_number, const uint8_t log_id[16], uint64_t segment_bytes,
		     struct mr_recovered *out, struct mr_error *err);

#endif
