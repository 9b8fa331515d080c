#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Searches the model of one partition with Spin: every configuration to its end without a broken
# assertion, and every known mistake until it is found.
#
#	tests/model/run.sh [NAME]...	all, or the named ones; ends with "N passed, N failed"
#
# The counter-example of a failed search is left in the folder that is named then.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
compiler=${CC:-gcc}
memory_mb=3000
work=$(mktemp -d)
passed=0
failed=0
wanted=" $* "

finish() {
	rm -rf "$work"
}
trap finish EXIT

is_wanted() {
	[ "$wanted" = "  " ] && return 0
	case $wanted in
	*" $1 "*) return 0 ;;
	esac
	return 1
}

# search NAME DEPTH OPTION...: a full search of the model with these switches, into NAME/said
search() {
	name=$1
	depth=$2
	shift 2
	mkdir "$work/$name"
	echo "$@" >"$work/$name/switches"
	(
		cd "$work/$name" && cp "$here/partition.pml" . && spin "$@" -a partition.pml &&
			$compiler -O2 -w -DSAFETY -DNOREDUCE -DMEMLIM=$memory_mb pan.c -o pan &&
			./pan -n -m"$depth" -w24
	) >"$work/$name/said" 2>&1 || true
	said=$work/$name/said
	states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' "$said")
	reached=$(sed -n 's/.*depth reached \([0-9]*\), errors: .*/\1/p' "$said")
	errors=$(sed -n 's/.*depth reached [0-9]*, errors: \([0-9]*\).*/\1/p' "$said")
}

# Whether pan says that it saw every state; nothing that it could not say counts as that.
is_complete() {
	[ -n "$states" ] && [ "$errors" = 0 ] &&
		! grep -q -i 'not completed\|max search depth\|out of memory\|truncated' "$said"
}

keep() {
	kept=$(mktemp -d)
	cp -r "$work/$1/." "$kept"
	rm -f "$kept/pan" "$kept"/pan.?
	echo "$1: what Spin said and its counter-example are in $kept"
}

holds() {
	is_wanted "$1" || return 0
	search "$@"
	if is_complete; then
		passed=$((passed + 1))
		echo "$1: $states states, depth $reached"
	else
		failed=$((failed + 1))
		tail -n 40 "$said"
		echo "$1: FAILED after ${states:-no} states: see above"
		keep "$1"
	fi
}

# The mistake must be found: a broken assertion, and nothing else, ends the search.
is_found() {
	is_wanted "$1" || return 0
	search "$@"
	if [ "${errors:-0}" -gt 0 ] && grep -q 'assertion violated' "$said"; then
		passed=$((passed + 1))
		echo "$1: found after $states states, depth $reached"
	else
		failed=$((failed + 1))
		tail -n 40 "$said"
		echo "$1: FAILED: the mistake was not found in ${states:-no} states"
		keep "$1"
	fi
}

command -v spin >/dev/null || {
	echo "tests/model/run.sh: there is no spin; './mill test' installs it" >&2
	exit 1
}

# Every state within these bounds; 11 million of them take 1.4 GB and a minute.
holds two-minimum-1 10000 -DHOSTS=2 -DMINIMUM=1 -DRECORDS=3 -DEPOCHS=4 -DCRASHES=2
holds two-minimum-2 10000 -DHOSTS=2 -DMINIMUM=2 -DRECORDS=3 -DEPOCHS=4 -DCRASHES=2
holds three-one-record 10000 -DHOSTS=3 -DMINIMUM=2 -DRECORDS=1 -DEPOCHS=3 -DCRASHES=1
holds three-no-crash 10000 -DHOSTS=3 -DMINIMUM=2 -DRECORDS=2 -DEPOCHS=2 -DCRASHES=0

# Each found soon, with bounds as small as it needs.
small="-DHOSTS=2 -DRECORDS=2 -DEPOCHS=3 -DCRASHES=1"
for bad in NO_COMPARE ANYBODY_IS_ELECTED EPOCH_IS_RESUMED JOINS_TOO_EARLY \
	SHRINK_COUNTS_AT_ONCE EXPANSION_IS_NOT_COUNTED CUT_BY_HIGH_WATERMARK \
	NEVER_CUT SAYS_WHAT_IS_NOT_FLUSHED LEADER_IS_NOT_FLUSHED; do
	# shellcheck disable=SC2086 # a list of options
	is_found "$(echo "bad-$bad" | tr 'A-Z_' 'a-z-')" 10000 -DBAD_$bad $small
done
is_found bad-joins-before-epoch-start 10000 -DBAD_JOINS_BEFORE_EPOCH_START -DHOSTS=3 \
	-DMINIMUM=2 -DRECORDS=1 -DEPOCHS=2 -DCRASHES=0
is_found bad-asks-once 10000 -DBAD_ASKS_ONCE -DHOSTS=2 -DRECORDS=2 -DEPOCHS=4 -DCRASHES=0

if [ $((passed + failed)) = 0 ]; then
	echo "tests/model/run.sh: no search is named$wanted" >&2
	exit 2
fi
echo "$passed passed, $failed failed"
[ $failed = 0 ]
