/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a topic may be called (topic_name.h).
 */
#include "topic_name.h"

#include <errno.h>
#include <string.h>

#include "millrace/format.h"

int mr_topic_check_name(const char *name, struct mr_error *err)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789._-";
	size_t length = strlen(name), good = strspn(name, allowed);

	if (length == 0 || length > MR_TOPIC_NAME_MAX)
		return mr_error_set(err, -EINVAL, "topic name of %zu bytes: 1 to %u are allowed",
				    length, MR_TOPIC_NAME_MAX);
	if (good != length)
		return mr_error_set(
			err, -EINVAL,
			"topic name '%.60s' has byte 0x%02x at place %zu: letters, digits, "
			"'.', '_' and '-' are allowed",
			name, (unsigned char)name[good], good);
	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return mr_error_set(err, -EINVAL, "topic name '%s' is not allowed", name);
	return 0;
}
