/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses as text (address.h). Runs on any thread, owns nothing.
 */
#include "address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* Behind the last colon: 1 to 65535, digits only. */
static int parse_port(const char *text, uint16_t *port)
{
	size_t digits = strspn(text, "0123456789");
	long value;

	if (digits < 1 || digits > 5 || text[digits] || text[0] == '0')
		return -EINVAL;
	value = strtol(text, NULL, 10);
	if (value > UINT16_MAX)
		return -EINVAL;
	*port = (uint16_t)value;
	return 0;
}

/* What stands between brackets, perhaps with a zone: fe80::1%eth0. */
static bool is_ipv6(const char *host)
{
	char plain[MR_ADDRESS_HOST_MAX + 1];
	size_t bytes = strcspn(host, "%");
	struct in6_addr address;

	memcpy(plain, host, bytes);
	plain[bytes] = '\0';
	return inet_pton(AF_INET6, plain, &address) == 1 && (!host[bytes] || host[bytes + 1]);
}

/* A name, or four numbers with dots between them. */
static bool is_name(const char *host)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789._-";
	struct in_addr address;

	if (strspn(host, allowed) != strlen(host) || host[0] == '.' || host[0] == '-')
		return false;
	return host[strspn(host, "0123456789.")] || inet_pton(AF_INET, host, &address) == 1;
}

int mr_address_parse(const char *address, char host[MR_ADDRESS_HOST_MAX + 1], uint16_t *port)
{
	const char *colon = strrchr(address, ':');
	char found[MR_ADDRESS_HOST_MAX + 1];
	bool brackets = address[0] == '[';
	uint16_t number;
	size_t bytes;

	if (!colon || parse_port(colon + 1, &number) < 0)
		return -EINVAL;
	if (brackets && (colon - address < 3 || colon[-1] != ']'))
		return -EINVAL;
	bytes = (size_t)(colon - address) - (brackets ? 2 : 0);
	if (bytes < 1 || bytes > MR_ADDRESS_HOST_MAX)
		return -EINVAL;
	memcpy(found, address + brackets, bytes);
	found[bytes] = '\0';
	if (brackets ? !is_ipv6(found) : !is_name(found))
		return -EINVAL;
	if (host)
		memcpy(host, found, bytes + 1);
	if (port)
		*port = number;
	return 0;
}

bool mr_address_is_loopback(const char *address)
{
	char host[MR_ADDRESS_HOST_MAX + 1];
	struct in6_addr v6;
	struct in_addr v4;

	if (mr_address_parse(address, host, NULL) < 0)
		return false;
	if (inet_pton(AF_INET, host, &v4) == 1)
		return ntohl(v4.s_addr) >> 24 == 127;
	if (inet_pton(AF_INET6, host, &v6) == 1)
		return IN6_IS_ADDR_LOOPBACK(&v6);
	return strcmp(host, "localhost") == 0;
}
