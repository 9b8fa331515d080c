/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The certificates by which hosts know each other (control_peers.h): opened at the start, and
 * watched, since one that ends keeps every connection from coming back: people are warned a month
 * before, at the start and every day. Control thread.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/diag.h"
#include "base/time_text.h"
#include "control_peers.h"

#define DAY_MS	  (INT64_C(24) * 3600 * 1000)
#define NOTICE_MS (30 * DAY_MS)

int mr_control_trust_open(struct mr_control_peers *peers, struct mr_link_trust **out,
			  struct mr_error *err)
{
	const struct mr_config *config = peers->control->config;
	struct mr_link_trust *trust = NULL;
	int r;

	*out = NULL;
	if (!config->tls.key[0])
		return 0;
	r = mr_link_trust_open(config->tls.authority, config->tls.certificate, config->tls.key,
			       &trust, err);
	if (r == 0 && strcmp(mr_link_trust_name(trust), config->node) != 0) {
		r = mr_error_set(err, -EKEYREJECTED,
				 "certificate %.200s is that of host '%.64s', and the "
				 "configuration says node: %.64s",
				 config->tls.certificate, mr_link_trust_name(trust), config->node);
		mr_error_why(err, "peers would refuse this host: they expect the name that they "
				  "know it by");
		mr_error_hint(err,
			      "give the certificate of this host, made by: millrace cert init "
			      "%.64s",
			      config->node);
		mr_link_trust_close(trust);
	} else if (r == 0) {
		peers->ends = mr_link_trust_ends(trust);
		*out = trust;
	}
	return r;
}

/* ---- their ends ------------------------------------------------------------------------------ */

/* "own certificate" is the shorter-lived as a rule; both are looked at. */
static void warn(const char *whose, const char *file, int64_t end_ms, int64_t now_ms)
{
	char time[MR_TIME_TEXT_BYTES];

	mr_time_format(end_ms, time);
	if (end_ms <= now_ms)
		mr_diag_warn("a certificate has ended: no connection with a peer comes back until "
			     "there is a new one and this engine was started again",
			     "whose=%s file=%s ended=%s", whose, file, time);
	else if (end_ms - now_ms < NOTICE_MS)
		mr_diag_warn("a certificate ends soon: put a new one in its place and start this "
			     "engine again",
			     "whose=%s file=%s ends=%s days=%" PRId64, whose, file, time,
			     (end_ms - now_ms) / DAY_MS);
}

void mr_control_trust_second(struct mr_control_peers *peers)
{
	const struct mr_config *config = peers->control->config;
	int64_t now_ms = mr_clock_wall_ms(peers->control->clock);

	if (!peers->ends.own_s || (peers->ends_told_ms && now_ms - peers->ends_told_ms < DAY_MS))
		return;
	peers->ends_told_ms = now_ms;
	warn("this-host", config->tls.certificate, peers->ends.own_s * 1000, now_ms);
	warn("authority", config->tls.authority, peers->ends.authority_s * 1000, now_ms);
}

static json_t *end_json(const char *whose, const char *file, int64_t end_ms, int64_t now_ms)
{
	return json_pack("{s:s, s:s, s:I, s:b, s:b}", "whose", whose, "file", file, "ends_ms",
			 (json_int_t)end_ms, "soon", (int)(end_ms - now_ms < NOTICE_MS), "ended",
			 (int)(end_ms <= now_ms));
}

void mr_control_add_certificates(json_t *row, const struct mr_control *control)
{
	const struct mr_config *config = control->config;
	int64_t now_ms = mr_clock_wall_ms(control->clock);
	json_t *list;

	if (!control->peers || !control->peers->ends.own_s)
		return;
	list = json_array();
	json_array_append_new(list, end_json("this host", config->tls.certificate,
					     control->peers->ends.own_s * 1000, now_ms));
	json_array_append_new(list, end_json("authority", config->tls.authority,
					     control->peers->ends.authority_s * 1000, now_ms));
	json_object_set_new(row, "certificates", list);
}
