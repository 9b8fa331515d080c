#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs fuzz targets, each for a number of seconds, from the seeds in corpus/NAME/*.hex and from what
# earlier runs in the same build directory found. One line per target; exit 1 if one failed, 2 for
# wrong usage.
#
#	CC=clang meson setup build-fuzz -Dfuzz=true && ninja -C build-fuzz
#	tests/fuzz/run.sh build-fuzz 30 [NAME...]
#
# A seed is text: hexadecimal digits, blanks and line ends as one likes, lines that begin with # are
# comments. What a failure wrote can be kept as one:
#	od -An -v -tx1 FILE > tests/fuzz/corpus/NAME/why.hex
set -u

if [ $# -lt 2 ]; then
	echo "usage: $0 BUILD SECONDS [NAME...]" >&2
	exit 2
fi
build=$1/tests/fuzz
seconds=$2
shift 2
seeds=$(dirname "$0")/corpus

if [ $# -eq 0 ]; then
	for program in "$build"/fuzz-*; do
		[ -f "$program" ] && [ -x "$program" ] && set -- "$@" "${program##*/fuzz-}"
	done
fi
if [ $# -eq 0 ]; then
	echo "no fuzz targets in $build: set the build up with CC=clang and -Dfuzz=true" >&2
	exit 2
fi

failed=0
for name; do
	found=$build/corpus/$name
	log=$build/$name.log
	mkdir -p "$found" || exit 2
	for seed in "$seeds/$name"/*.hex; do
		[ -f "$seed" ] || continue
		if ! grep -v '^#' "$seed" | tr -d ' \t\r\n' | tr a-f A-F |
			basenc --base16 -d > "$found/seed-$(basename "$seed" .hex)"; then
			echo "fuzz $name: seed $seed is not hexadecimal"
			exit 2
		fi
	done
	UBSAN_OPTIONS=print_stacktrace=1 timeout -k 10 $((seconds + 120)) "$build/fuzz-$name" \
		-max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
		-artifact_prefix="$build/$name-" "$found" > "$log" 2>&1
	status=$?
	runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
	if [ $status -eq 0 ]; then
		echo "fuzz $name: ok, ${runs:-0} runs in $seconds s"
	else
		failed=1
		echo "fuzz $name: FAILED (exit $status), see $log"
		grep -m 3 -E 'ERROR|runtime error|does not hold|SUMMARY|Test unit written' "$log"
	fi
done
exit $failed
