/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is not worth computing with: missing, out of range, late, said twice, unchanged, a spike.
 * The state of a key is a block of memory of fixed size without pointers. Pure, no allocation.
 *
 * The checks, in this order; the first that fails names the verdict:
 *	missing		NaN or infinite, if 'drop_missing'; else it is kept out all the same, as
 *			nothing can be computed from it: verdict MISSING always
 *	range		value < low or value > high
 *	late		time < the key's newest time - max_late_ms. Time of dropped values counts
 *			only from here on
 *	duplicate	the time and the value of one of the key's last 8 different values that
 *			came this far
 *	spike		|value - median| > spike_mads x max(MAD, spike_floor) over the key's last 32
 *			kept or spiking values, without this one, once there are 8; MAD is the raw
 *			median of absolute deviations (of an even number, the middle of two). A
 *			level that has really changed is believed once it is half of the 32
 *	unchanged	the value of the last kept one
 */
#ifndef MR_CLEAN_H
#define MR_CLEAN_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum mr_clean_verdict {
	MR_CLEAN_KEEP,
	MR_CLEAN_MISSING,
	MR_CLEAN_RANGE,
	MR_CLEAN_LATE,
	MR_CLEAN_DUPLICATE,
	MR_CLEAN_SPIKE,
	MR_CLEAN_UNCHANGED,
	MR_CLEAN_VERDICTS,
};
extern const char *const mr_clean_verdict_names[MR_CLEAN_VERDICTS];

struct mr_clean_spec {
	double low, high;    /* NaN: no bound */
	int64_t max_late_ms; /* INT64_MAX: never late */
	bool drop_duplicate, drop_unchanged;
	double spike_mads;  /* 0: spikes are kept */
	double spike_floor; /* of the MAD: below it a deviation is noise of the sensor; 0: none */
};

size_t mr_clean_block_bytes(const struct mr_clean_spec *spec); /* a multiple of 8 */
void mr_clean_block_init(const struct mr_clean_spec *spec, void *block);
enum mr_clean_verdict mr_clean_check(const struct mr_clean_spec *spec, void *block, int64_t time_ms,
				     double value);
/* Whether anything but what is missing is asked for: if not, mr_clean_missing() is all of it. */
bool mr_clean_asks(const struct mr_clean_spec *spec);
static inline enum mr_clean_verdict mr_clean_missing(double value)
{
	return isfinite(value) ? MR_CLEAN_KEEP : MR_CLEAN_MISSING;
}
/* A copy out of a file: true if no call on it can go out of its bytes. */
bool mr_clean_block_valid(const struct mr_clean_spec *spec, const void *block);

#endif
