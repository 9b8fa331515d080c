/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See trouble.h. A site of its own for each of the three lines, so that none keeps another back.
 */
#include "trouble.h"

#include <inttypes.h>

#include "base/diag.h"

#define SECOND_NS UINT64_C(1000000000)

bool mr_trouble_met(struct mr_trouble *trouble, uint64_t now_ns, const char *what,
		    const char *where, const struct mr_error *err)
{
	const char *space = where[0] ? " " : "";

	if (trouble->times++ == 0) {
		trouble->since_ns = now_ns;
		trouble->told_ns = now_ns;
		mr_diag_warn(what, "%s%serror=\"%s\"", where, space, err->what);
		return true;
	}
	if (now_ns - trouble->told_ns < MR_TROUBLE_REMIND_NS)
		return false;
	trouble->told_ns = now_ns;
	mr_diag_warn(what, "%s%stimes=%" PRIu64 " for_seconds=%" PRIu64 " error=\"%s\"", where,
		     space, trouble->times, (now_ns - trouble->since_ns) / SECOND_NS, err->what);
	return true;
}

void mr_trouble_over(struct mr_trouble *trouble, uint64_t now_ns, const char *what,
		     const char *where)
{
	if (trouble->times)
		mr_diag_notice("over:", "%s%s%s times=%" PRIu64 " for_seconds=%" PRIu64, what,
			       where[0] ? " " : "", where, trouble->times,
			       (now_ns - trouble->since_ns) / SECOND_NS);
	*trouble = (struct mr_trouble){0};
}
