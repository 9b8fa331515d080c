/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whom to trust. There is no TLS yet: plain connections only.
 */
#include <errno.h>

#include "link_state.h"

int mr_link_trust_open(const char *authority, const char *certificate, const char *key,
		       struct mr_link_trust **out, struct mr_error *err)
{
	return mr_error_set(err, -EOPNOTSUPP, "this engine knows no TLS yet");
}

void mr_link_trust_close(struct mr_link_trust *trust)
{
}
