/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of the feed under TLS: all that holds of it plain, and that nobody is let in whose
 * certificate has another name than the configuration.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "feed_proxy.h"
#include "feed_rig.h"
#include "link_rig.h"

#define MILLION 1000000u

static struct mr_link_rig_certificates certificates;

static void set_up(void)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};

	sigaction(SIGPIPE, &ignore, NULL); /* as the engine does */
	mr_link_rig_certificates_open(&certificates);
}

static void tear_down(void)
{
	mr_link_rig_certificates_close(&certificates);
}

TestSuite(feed_tls, .init = set_up, .fini = tear_down);

/* A feed that shows the certificate of 'name'; the feed closes the trust. */
static struct rig *start(uint32_t node, const char *name, uint16_t port)
{
	struct rig_tuning tuning = {.strangers = 1u << 2, .ports = {0, port}};

	tuning.trust = mr_link_rig_trust(&certificates, name);
	cr_assert_not_null(tuning.trust);
	return rig_start(node, &tuning);
}

Test(feed_tls, parcels_and_notices_arrive)
{
	static const uint32_t sizes[] = {8, 16000, 65536, MILLION, 5 * MILLION};
	struct rig *b = start(1, "b", 0), *a = start(0, "a", 0);
	uint64_t offset = 0;

	for (int32_t p = 0; p < 2; p++) {
		rig_route(a, 1, p);
		rig_route(b, 1, p);
	}
	rig_meet(a, b);
	cr_assert_eq(strncmp(rig_status(a, 1).security, "TLS 1.3", 7), 0);
	cr_assert_eq(strncmp(rig_status(b, 0).security, "TLS 1.3", 7), 0);
	for (uint32_t i = 0; i < 5; i++, offset += 2) {
		rig_send_batches(a, 1, 1, 0, offset, 2, sizes[i]);
		rig_send_batches(b, 0, 1, 1, offset, 2, sizes[i]);
		cr_assert_eq(mr_feed_notify(a->feed, 1, "notice", 6), 0);
	}
	for (uint32_t i = 0; i < 5; i++) {
		const struct mr_feed_item *at_b = &rig_expect(b)->item;

		cr_assert_eq(at_b->entry.offset, 2 * i);
		rig_check_batches(at_b);
		rig_check_batches(&rig_expect(a)->item);
		cr_assert_str_eq(rig_event(b, MR_FEED_EVENT_NOTICE)->text, "notice");
	}
	rig_parcels_back(a, 5, 0);
	rig_parcels_back(b, 5, 0);
	rig_stop(a);
	rig_stop(b);
}

Test(feed_tls, comes_back_after_a_cut)
{
	struct rig *b = start(1, "b", 0), *a;
	struct rig_proxy *proxy = rig_proxy_start(rig_port(b));

	a = start(0, "a", proxy->port);
	rig_route(b, 1, 0);
	for (uint32_t i = 0; i < 3; i++) {
		rig_meet(a, b);
		rig_send_flushed(a, 1, 1, 0, i);
		cr_assert_eq(rig_expect(b)->item.entry.offset, i);
		rig_proxy_cut(proxy);
		rig_wait(!a->connection[1] && !b->connection[0]);
	}
	rig_stop(a);
	rig_proxy_stop(proxy);
	rig_stop(b);
}

Test(feed_tls, a_slow_worker_holds_its_peer_back)
{
	struct rig *b = start(1, "b", 0), *a = start(0, "a", 0);

	for (int32_t p = 0; p < 40; p++)
		rig_route(b, 1, p);
	rig_meet(a, b);
	b->keeps = true;
	for (int32_t p = 0; p < 40; p++)
		rig_send_batches(a, 1, 1, p, 0, 1, MILLION);
	rig_wait(b->arrival_count > 8);
	for (uint32_t i = 0; i < 300; i++)
		rig_turn();
	cr_assert_lt(b->arrival_count, 27);
	b->keeps = false;
	rig_give_back(b, UINT32_MAX);
	rig_wait(b->arrival_count == 40);
	rig_parcels_back(a, 40, 0);
	rig_stop(a);
	rig_stop(b);
}

Test(feed_tls, who_connects_has_its_own_certificate)
{
	struct rig *b = start(1, "b", 0), *a = start(0, "c", 0);
	const struct mr_feed_event *event = rig_event(b, MR_FEED_EVENT_REFUSED);

	cr_assert_not_null(strstr(event->text, "'a', but its certificate says 'c'"), "%s",
			   event->text);
	event = rig_event(a, MR_FEED_EVENT_REFUSED);
	cr_assert_not_null(strstr(event->text, "certificate says 'c'"), "%s", event->text);
	cr_assert_eq(a->news_count[0] + b->news_count[0], 0);
	rig_stop(a);
	rig_stop(b);
}

Test(feed_tls, who_is_connected_to_has_its_own_certificate)
{
	struct rig *b = start(1, "c", 0), *a = start(0, "a", 0);
	const struct mr_feed_event *event = rig_event(a, MR_FEED_EVENT_REFUSED);

	cr_assert_not_null(strstr(event->text, "'c'"), "%s", event->text);
	cr_assert_eq(event->node, 1);
	cr_assert_gt(strlen(rig_status(a, 1).last_error), 0);
	cr_assert_eq(a->news_count[0] + b->news_count[0], 0);
	rig_stop(a);
	rig_stop(b);
}

Test(feed_tls, plain_and_tls_do_not_meet)
{
	struct rig_tuning plain = {.strangers = 1u << 2};
	struct rig *b = start(1, "b", 0), *a = rig_start(0, &plain);

	cr_assert_not_null(rig_event(a, MR_FEED_EVENT_REFUSED)->text);
	cr_assert_not_null(rig_event(b, MR_FEED_EVENT_REFUSED)->text);
	cr_assert_eq(a->news_count[0] + b->news_count[0], 0);
	rig_stop(b);
	b = rig_start(1, &plain);
	rig_stop(a);
	a = start(0, "a", 0);
	cr_assert_not_null(rig_event(a, MR_FEED_EVENT_REFUSED)->text);
	cr_assert_eq(a->news_count[0] + b->news_count[0], 0);
	rig_stop(a);
	rig_stop(b);
}
