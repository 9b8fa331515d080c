/* SPDX-License-Identifier: Apache-2.0 */
/* Which libmillrace is loaded: perhaps not the one of the header. Any thread. */
#include "millrace.h"

const char *mr_version(void)
{
	return MR_VERSION;
}
