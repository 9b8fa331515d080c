/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of the feed: parcels of one partition arrive whole and in order, or come back;
 * what gathers while one message is under way is the next one; workers hear of a connection before
 * what came on it and of its end after; and nobody is let in who should not be.
 *
 * Two or three feeds in this process, on ports of the loopback that the kernel chose. The test is
 * their workers and their control threads.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "batches.h"
#include "feed_rig.h"

/* ---- parcels ---- */

Test(feed, a_parcel_arrives_and_comes_back)
{
	struct rig *b = rig_start(1, NULL), *a = rig_start(0, NULL);
	const struct mr_feed_item *item;

	rig_route(b, 7, 3);
	rig_meet(a, b);
	rig_send_flushed(a, 1, 7, 3, 1234);
	item = &rig_expect(b)->item;
	cr_assert_eq(item->entry.kind, MR_FEED_FLUSHED);
	cr_assert_eq(item->entry.offset, 1234);
	cr_assert_eq(item->entry.session, RIG_SESSION);
	rig_parcels_back(a, 1, 0);
	rig_stop(a);
	rig_stop(b);
}

Test(feed, both_ways)
{
	struct rig *b = rig_start(1, NULL), *a = rig_start(0, NULL);
	const struct mr_feed_item *item;

	rig_route(a, 7, 0);
	rig_route(b, 7, 0);
	rig_meet(a, b);
	rig_send_flushed(b, 0, 7, 0, 5);
	item = &rig_expect(a)->item;
	cr_assert_eq(item->entry.offset, 5);
	rig_send_batches(a, 1, 7, 0, 100, 3, 1000);
	item = &rig_expect(b)->item;
	cr_assert_eq(item->entry.kind, MR_FEED_BATCHES);
	cr_assert_eq(item->entry.offset, 100);
	cr_assert_eq(item->entry.end_offset, 103);
	rig_check_batches(item);
	rig_parcels_back(a, 1, 0);
	rig_parcels_back(b, 1, 0);
	rig_stop(b);
	rig_stop(a);
}
