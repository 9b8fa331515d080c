#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What must hold of libmillrace as others get it: it needs libc only, it shows exactly what
# millrace.h declares, and a C++ program compiles and links with it.
#
#	tests/library.sh LIBRARY HEADER_DIRECTORY C++-COMPILER
set -eu

library=$1
include=$2
cxx=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
	echo "$1" >&2
	exit 1
}

readelf -d "$library" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' >"$work/needed"
others=$(grep -v '^libc\.so\|^ld-linux' "$work/needed" || true)
[ -z "$others" ] || fail "$library needs more than libc: $others"

# Every function of the header, by its last word before the parenthesis.
tr '\n\t' '  ' <"$include/millrace.h" | sed 's/MR_API/\n&/g' |
	sed -n 's/^MR_API [^(]*[ *]\(mr_[a-z_]*\)(.*/\1/p' | sort >"$work/declared"
readelf --dyn-syms -W "$library" | awk '$5 == "GLOBAL" && $7 != "UND" { print $8 }' |
	sort >"$work/shown"
[ -s "$work/declared" ] || fail "no declarations were found in $include/millrace.h"
diff "$work/declared" "$work/shown" || fail "header and library differ (<: declared only)"

cat >"$work/program.cpp" <<'END'
#include <millrace.h>
#include <cstring>

int main()
{
	mr_connection *connection = nullptr;
	mr_connect_options options = {};
	mr_error error;

	options.size = sizeof(options);
	options.socket_path = "/nobody/is/here";
	if (mr_connect(&options, &connection, &error) >= 0)
		return 1;
	mr_disconnect(connection);
	return std::strcmp(mr_version(), MR_VERSION);
}
END
for standard in c++11 c++17; do
	$cxx -std=$standard -Wall -Wextra -Werror -pedantic -I "$include" -o "$work/program" \
		"$work/program.cpp" "$library" -Wl,-rpath,"$(dirname "$(realpath "$library")")"
	"$work/program" || fail "a $standard program does not find what it expects"
done
