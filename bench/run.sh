#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A first set of figures, each beside the limit it is measured against in the same run. Called by
# `./mill bench`.
#	bench/run.sh [SECONDS]	how long each measurement takes (default 5)
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-5}
place=$(mktemp -d ./bench-data.XXXXXX)
engine=

stop() {
	[ -z "$engine" ] || { kill -TERM "$engine" 2>/dev/null || true; wait "$engine" || true; }
	engine=
}
trap 'stop; rm -rf "$place"' EXIT
trap 'exit 130' INT TERM

# start NAME IDLE [COMMAND...]: an engine on a fresh directory, waits for "ready"
start() {
	name=$1 idle=$2
	shift 2
	cat >"$place/$name.yaml" <<-TEXT
		data: $place/$name
		socket: $place/$name.sock
		idle: $idle
		retention_bytes: 1 GiB
		segment_bytes: 256 MiB
	TEXT
	"$@" build/millrace serve --config "$place/$name.yaml" >"$place/$name.out" 2>&1 &
	engine=$!
	tries=0
	until grep -q '^ready' "$place/$name.out"; do
		tries=$((tries + 1))
		[ "$tries" -lt 100 ] || { cat "$place/$name.out" >&2; exit 1; }
		sleep 0.1
	done
	socket=$place/$name.sock
}
publish() { build/bench/bench-publish --socket "$socket" --seconds "$seconds" "$@"; }
raw() { "$@" build/bench/bench-durable "$place/raw" --writes 1000; }

echo "== one producer, 100-byte values"
start rates adaptive
cat "$place/rates.out"
publish --acks memory
publish --acks committed
echo "== publish to acknowledged at 10,000 records/s, a raw durable write before each"
for i in 1 2 3; do
	raw
	publish --acks committed --rate 10000 --burst 1
done
stop

echo "== an idle engine"
start idle adaptive
build/bench/bench-idle --pid "$engine" --socket "$socket" --lanes 100 --topics 10 \
	--seconds "$seconds"
stop

# A worker that spins on the core where the kernel finishes its durable writes would wait for the
# scheduler's tick (4 ms) each time. So: on each core in turn, spinning and adaptive.
echo "== the worker on each core, spinning and adaptive, at 10,000 records/s"
cores=$(nproc)
core=0
while [ "$core" -lt "$cores" ] && [ "$core" -lt 4 ]; do
	for idle in spin adaptive; do
		start "core-$core-$idle" "$idle" taskset -c "$core"
		echo "core $core, idle: $idle"
		raw taskset -c "$core"
		publish --acks committed --rate 10000 --burst 1
		stop
	done
	core=$((core + 1))
done
