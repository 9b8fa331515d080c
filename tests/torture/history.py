# SPDX-License-Identifier: Apache-2.0
"""Reads what producers and consumers of a cluster said, and checks it (reliability.md T9).

What must hold, in time linear in the records: what was acknowledged is there, once, where the
receipt said; what a producer flushed is all there; each producer's records are in its order; every
consumer saw the same record at the same offset, with no offset left out or seen twice; all
replicas' logs are equal, batch for batch.
"""
UNKNOWN = -1  # an offset that the engine could not tell


class Producer:
    """What one producer said."""

    def __init__(self, writer):
        self.writer = writer
        self.receipts = []  # (partition, first, count, offset)
        self.faults = []
        self.end = None  # (flushed, published, acknowledged, lost, hand_backs)

    def read(self, lines):
        for line in lines:
            words = line.split()
            if words[0] == "receipt":
                self.receipts.append(tuple(int(word) for word in words[1:5]))
            elif words[0] == "end":
                self.end = tuple(int(word) for word in words[1:6])
            elif words[0] == "fault":
                self.faults.append(line.strip())
        return self


class Consumer:
    """What one consumer saw: for each partition its records by offset."""

    def __init__(self, name):
        self.name = name
        self.seen = {}  # partition -> [(writer, number)], from offset 0 on
        self.faults = []
        self.lag = None

    def read(self, lines):
        for line in lines:
            words = line.split()
            if words[0] == "seen":
                self.see(*(int(word) for word in words[1:5]))
            elif words[0] == "end":
                self.lag = int(words[1])
            elif words[0] == "fault":
                self.faults.append(line.strip())
        return self

    def see(self, partition, offset, writer, number):
        records = self.seen.setdefault(partition, [])
        if offset != len(records):
            self.faults.append(f"partition {partition}: offset {offset} where {len(records)} was "
                               "due")
            if offset < len(records):
                if records[offset] != (writer, number):
                    self.faults.append(f"partition {partition}: offset {offset} was "
                                       f"{records[offset]} and is {(writer, number)} now")
                return
            records.extend([None] * (offset - len(records)))
        records.append((writer, number))


class Verdict:
    """What did not hold, by kind: the sentences of each."""

    KINDS = ("lost", "doubled", "disordered", "misplaced", "differing", "faults", "unended",
             "logs differing")

    def __init__(self):
        self.found = {kind: [] for kind in self.KINDS}
        self.records = 0
        self.acknowledged = 0

    def add(self, kind, sentence):
        self.found[kind].append(sentence)

    def holds(self):
        return not any(self.found.values())

    def __str__(self):
        return (f"{self.records} records, {self.acknowledged} acknowledged; " +
                ", ".join(f"{kind} {len(self.found[kind])}" for kind in self.KINDS))


def check_consumers(consumers, verdict):
    """All saw the same. Returns the longest view of each partition."""
    merged = {}
    for consumer in consumers:
        for fault in consumer.faults:
            verdict.add("faults", f"consumer {consumer.name}: {fault}")
        if consumer.lag != 0:
            verdict.add("unended", f"consumer {consumer.name} ended with lag {consumer.lag}")
        for partition, records in consumer.seen.items():
            known = merged.setdefault(partition, records)
            both = min(len(known), len(records))
            for offset in range(both):
                if known[offset] != records[offset]:
                    verdict.add("differing", f"partition {partition} offset {offset}: consumer "
                                f"{consumer.name} saw {records[offset]}, another {known[offset]}")
            if len(records) > len(known):
                merged[partition] = records
    for consumer in consumers:
        for partition, records in merged.items():
            have = len(consumer.seen.get(partition, []))
            if have != len(records):
                verdict.add("unended", f"consumer {consumer.name} saw {have} of {len(records)} "
                            f"records of partition {partition}")
    return merged


def place_records(merged, verdict):
    """Where each (partition, writer, number) is; each once, each writer's in order."""
    places = {}
    for partition, records in merged.items():
        last = {}
        for offset, record in enumerate(records):
            if record is None:
                continue
            writer, number = record
            verdict.records += 1
            if (partition, writer, number) in places:
                verdict.add("doubled", f"partition {partition}: record {number} of {writer} at "
                            f"{places[partition, writer, number]} and {offset}")
                continue
            places[partition, writer, number] = offset
            if number != last.get(writer, -1) + 1:
                verdict.add("disordered", f"partition {partition} offset {offset}: record {number} "
                            f"of {writer} behind {last.get(writer, -1)}")
            last[writer] = max(number, last.get(writer, -1))
    return places


def check_receipts(producer, places, verdict):
    for partition, first, count, base in producer.receipts:
        verdict.acknowledged += count
        for i in range(count):
            offset = places.get((partition, producer.writer, first + i))
            if offset is None:
                verdict.add("lost", f"partition {partition}: record {first + i} of "
                            f"{producer.writer}, acknowledged at {base + i}")
            elif base != UNKNOWN and offset != base + i:
                verdict.add("misplaced", f"partition {partition}: record {first + i} of "
                            f"{producer.writer} at {offset}, its receipt says {base + i}")


def check_producer(producer, places, counts, verdict):
    for fault in producer.faults:
        verdict.add("faults", f"producer {producer.writer}: {fault}")
    check_receipts(producer, places, verdict)
    if producer.end is None:
        verdict.add("unended", f"producer {producer.writer} did not come to its end")
        return
    flushed, published, acknowledged, lost, _ = producer.end
    if flushed != 0:
        verdict.add("unended", f"producer {producer.writer}: flush said {flushed}, "
                    f"{acknowledged} of {published} acknowledged")
    elif counts.get(producer.writer, 0) != published:
        verdict.add("lost", f"producer {producer.writer} flushed {published} records, "
                    f"{counts.get(producer.writer, 0)} are there")
    if lost:
        verdict.add("lost", f"producer {producer.writer} was told of {lost} lost records")


def check_logs(logs, verdict):
    """'logs': {host: {partition: [batches]}}; all must be the same."""
    hosts = sorted(logs)
    for host in hosts[1:]:
        for partition in sorted(set(logs[hosts[0]]) | set(logs[host])):
            one, two = logs[hosts[0]].get(partition), logs[host].get(partition)
            if one is None or two is None:
                verdict.add("logs differing", f"partition {partition} is not on both "
                            f"{hosts[0]} and {host}")
                continue
            for i in range(max(len(one), len(two))):
                left = one[i] if i < len(one) else None
                right = two[i] if i < len(two) else None
                if left != right:
                    verdict.add("logs differing", f"partition {partition} batch {i}: {hosts[0]} "
                                f"has {left}, {host} has {right}")
                    break


def check(producers, consumers, logs):
    verdict = Verdict()
    merged = check_consumers(consumers, verdict)
    places = place_records(merged, verdict)
    counts = {}
    for _, writer, _ in places:
        counts[writer] = counts.get(writer, 0) + 1
    for producer in producers:
        check_producer(producer, places, counts, verdict)
    check_logs(logs, verdict)
    return verdict
