/* SPDX-License-Identifier: Apache-2.0 */
/* Which libmillrace is loaded: a program may have been compiled with the header of another. Any thread. */
#include "millrace.h"

const char *mr_version(void)
{
	return MR_VERSION;
}
