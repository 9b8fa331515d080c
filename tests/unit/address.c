/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold: an address is host and port, nothing else; loopback is only what can be nothing
 * but this very host, since plain TCP is let in there unasked.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "address.h"

Test(address, is_a_host_and_a_port)
{
	static const struct {
		const char *text, *host;
		uint16_t port;
	} good[] = {
		{"10.0.0.2:7420", "10.0.0.2", 7420},
		{"[::1]:1", "::1", 1},
		{"host.example:65535", "host.example", 65535},
		{"b:80", "b", 80},
		{"[fe80::1%eth0]:7420", "fe80::1%eth0", 7420},
		{"0.0.0.0:7420", "0.0.0.0", 7420},
		{"7a:7420", "7a", 7420},
	};
	char host[MR_ADDRESS_HOST_MAX + 1];
	uint16_t port;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		cr_assert_eq(mr_address_parse(good[i].text, host, &port), 0, "%s", good[i].text);
		cr_assert_str_eq(host, good[i].host);
		cr_assert_eq(port, good[i].port);
	}
	cr_assert_eq(mr_address_parse("b:80", NULL, NULL), 0);
}

Test(address, nothing_else_is_one)
{
	static const char *const bad[] = {
		"",
		":",
		":80",
		"host",
		"host:",
		"host:0",
		"host:65536",
		"host:080",
		"host:-1",
		"host:8 0",
		"host:80 ",
		"ho st:80",
		"::1:80",
		"[::1]80",
		"[]:80",
		"[::1:80",
		"[1.2.3.4]:80",
		"[::1%]:80",
		"1.2.3:80",
		"1.2.3.256:80",
		"-x:80",
		".x:80",
		"a/b:80",
		"host:99999999999",
		"[::g]:80",
		"a:b:80",
		"host:+80",
	};
	char longest[MR_ADDRESS_HOST_MAX + 10], host[MR_ADDRESS_HOST_MAX + 1] = "kept";
	uint16_t port = 5;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_eq(mr_address_parse(bad[i], host, &port), -EINVAL, "%s", bad[i]);
	cr_assert_str_eq(host, "kept");
	cr_assert_eq(port, 5);
	memset(longest, 'h', sizeof(longest));
	memcpy(longest + MR_ADDRESS_HOST_MAX, ":80", 4);
	cr_assert_eq(mr_address_parse(longest, host, &port), 0);
	memset(longest, 'h', sizeof(longest));
	memcpy(longest + MR_ADDRESS_HOST_MAX + 1, ":80", 4);
	cr_assert_eq(mr_address_parse(longest, host, &port), -EINVAL);
}

Test(address, loopback_is_this_very_host)
{
	cr_assert(mr_address_is_loopback("127.0.0.1:1"));
	cr_assert(mr_address_is_loopback("127.255.0.9:1"));
	cr_assert(mr_address_is_loopback("[::1]:1"));
	cr_assert(mr_address_is_loopback("localhost:1"));
	cr_assert(!mr_address_is_loopback("0.0.0.0:1"));
	cr_assert(!mr_address_is_loopback("[::]:1"));
	cr_assert(!mr_address_is_loopback("128.0.0.1:1"));
	cr_assert(!mr_address_is_loopback("localhost.example:1"));
	cr_assert(!mr_address_is_loopback("127.0.0.1.example:1"));
	cr_assert(!mr_address_is_loopback("127.0.0.1"));
	cr_assert(!mr_address_is_loopback(""));
}
