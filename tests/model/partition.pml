/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One partition's election by compare-and-set, in-sync set and truncation by leader epoch, as
 * engine/replica/protocol.c does them, for Spin. README.md says what is left out and why.
 *
 * One process for each host. Every step is a d_step; which one comes next, Spin tries in every order.
 * A message is not a thing of its own where only its receiver's state decides what it does (ASK,
 * ANSWER, BATCHES, WATERMARK: a late one is one that came early, to a receiver that then waited).
 * What a follower says it has flushed is one: it may reach a leader that is none any more, from a
 * follower that has long gone another way.
 *
 * HOSTS, MINIMUM (min_insync_replicas), RECORDS, EPOCHS and CRASHES bound the search. BAD_... turns on
 * one known mistake, which the assertions must find.
 */
#ifndef HOSTS
#define HOSTS 2
#endif
#ifndef MINIMUM
#define MINIMUM 1
#endif
#ifndef RECORDS
#define RECORDS 2
#endif
#ifndef EPOCHS
#define EPOCHS 3
#endif
#ifndef CRASHES
#define CRASHES 1
#endif

#define EVERYBODY ((1 << HOSTS) - 1)
#define BIT(host) (1 << (host))
#define HOLDS(set, host) (((set) >> (host)) & 1)
#define COUNT(set) (((set) & 1) + (((set) >> 1) & 1) + (((set) >> 2) & 1))
#define NOBODY 255

/* A record is named by its leader epoch, and by how often that epoch had been led before. */
#define RECORD(epoch, times) ((epoch) + 8 * (times))
#define EPOCH(record) ((record) & 7)

/* roles */
#define NONE 0 /* has just started, or is leader by an earlier life */
#define LEADER 1
#define ASKING 2   /* follower: where do our logs part? */
#define FETCHING 3 /* follower: agreed */

/* how far a host's own proposal is, made against the register as it knows it */
#define NOTHING 0
#define SENT 1	 /* carried out yet, or later, or never: refused if the register moved */
#define DONE 2	 /* carried out, which its proposer has not heard */
#define PASSED 3 /* the same, and the register has moved on since */

typedef host {
	byte log[RECORDS];
	byte end;
	byte flushed;
	byte shown; /* its high watermark */
	byte role;
	byte epoch; /* the register as it knows it; 0: not at all */
	byte isr;
	bit fresh; /* that is the register's newest version */
	byte proposing;
	byte wanted; /* the proposed ISR; who does not lead proposes himself as leader */
	/* while it leads */
	byte begin;	   /* its epoch's start */
	byte maybe;	   /* every host that was proposed since: the maximal ISR (R4) is isr | maybe */
	byte fetching;	   /* hosts that have agreed with it */
	byte acked[HOSTS]; /* flushed there, as far as it has heard */
	byte said[HOSTS];  /* on its way to it: flushed there, plus one */
};

host h[HOSTS];

/* the register (R1) and a proposal of an engine that has died since */
byte epoch;
byte isr;
bit alive; /* the leader's engine is the one that was elected */
byte late_epoch; /* 0: none */
byte late_isr;
byte late_leader;

/* what the checks know */
byte chosen[EPOCHS + 1];  /* who was elected */
byte led[EPOCHS + 1];	  /* how often an engine began to lead in it */
byte committed[RECORDS];  /* what was once below somebody's high watermark */
byte crashes;

hidden byte i, j, k, low, cut, mine, theirs;

#define me h[self]
#define ITS_LEADER h[chosen[me.epoch]]
#define IS_LED (me.epoch > 0 && chosen[me.epoch] != self && \
		ITS_LEADER.role == LEADER && ITS_LEADER.epoch == me.epoch)

/* ---- promises -------------------------------------------------------------------------------- */

/*
 * I1, I2: every member of the ISR, as the register has it, holds every committed record on its disk:
 * whoever is elected next has it, and so is no smaller number of disks than the minimum.
 * I3: no two hosts differ below what both show.
 */
inline check_promises()
{
	assert(COUNT(isr) >= MINIMUM);
	for (i : 0 .. HOSTS - 1) {
		assert(h[i].shown <= h[i].flushed && h[i].flushed <= h[i].end);
		for (k : 0 .. RECORDS - 1) {
			if
			:: committed[k] != 0 && HOLDS(isr, i) ->
				assert(h[i].flushed > k && h[i].log[k] == committed[k])
			:: else
			fi;
			if
			:: k < h[i].shown -> assert(h[i].log[k] == committed[k])
			:: else
			fi
		}
	}
	skip
}

/*
 * I4: what a host shows is what was shown before, and a leader that no other has followed shows no
 * less than anybody ever did.
 */
inline publish(n)
{
	for (k : 0 .. RECORDS - 1) {
		if
		:: k < h[n].shown && committed[k] == 0 ->
			assert(h[n].role == LEADER);
			committed[k] = h[n].log[k]
		:: k < h[n].shown && committed[k] != 0 ->
			assert(h[n].log[k] == committed[k]) /* I3: it names one record for ever */
		:: k >= h[n].shown && committed[k] != 0 ->
			assert(h[n].role != LEADER || h[n].epoch < epoch)
		:: else
		fi
	}
}

/* ---- the leader ------------------------------------------------------------------------------ */

#ifdef BAD_EXPANSION_IS_NOT_COUNTED
#define MAXIMAL(n) (h[n].isr)
#elif defined(BAD_SHRINK_COUNTS_AT_ONCE)
#define MAXIMAL(n) (h[n].proposing == NOTHING -> h[n].isr : h[n].wanted)
#else
#define MAXIMAL(n) (h[n].isr | h[n].maybe)
#endif

/* R4 */
inline raise(n)
{
	low = h[n].end;
	for (j : 0 .. HOSTS - 1) {
		if
#ifdef BAD_LEADER_IS_NOT_FLUSHED
		:: j == n
#else
		:: j == n && h[n].flushed < low -> low = h[n].flushed
#endif
		:: j != n && HOLDS(MAXIMAL(n), j) && h[n].acked[j] < low -> low = h[n].acked[j]
		:: else
		fi
	}
	if
	:: COUNT(h[n].isr) >= MINIMUM && low >= h[n].begin && low > h[n].shown ->
		h[n].shown = low;
		publish(n)
	:: else
	fi
}

/* Before the host's role or epoch changes. Who followed it knows nobody to follow. */
inline forget_leading(n)
{
	for (j : 0 .. HOSTS - 1) {
		if
		:: h[n].role == LEADER && h[j].role == FETCHING && h[j].epoch == h[n].epoch ->
			h[j].role = ASKING
		:: else
		fi
	}
	h[n].begin = 0;
	h[n].fetching = 0;
	for (j : 0 .. HOSTS - 1) {
		h[n].acked[j] = 0;
		h[n].said[j] = 0
	}
}

inline lead(n)
{
	/* I5: nobody else has led in this epoch. Whether this host has, in an earlier life, is
	   left to what its records show. */
	assert(chosen[h[n].epoch] == n);
	led[h[n].epoch]++;
	h[n].role = LEADER;
	h[n].begin = h[n].end;
	raise(n)
}

/* ---- the register ---------------------------------------------------------------------------- */

inline forget_proposal(n)
{
	h[n].proposing = NOTHING;
	h[n].wanted = 0;
	h[n].maybe = 0
}

#ifdef BAD_EPOCH_IS_RESUMED
#define WON(n) (chosen[epoch] == n)
#else
#define WON(n) (chosen[epoch] == n && alive)
#endif

/* The register is read, or tells that it changed. */
inline learn(n)
{
	forget_proposal(n);
	if
	:: h[n].epoch != epoch || !WON(n) -> forget_leading(n)
	:: else
	fi;
	cut = h[n].epoch; /* before */
	h[n].epoch = epoch;
	h[n].isr = isr;
	h[n].fresh = 1;
	if
	:: WON(n) && h[n].role == LEADER && cut == epoch -> raise(n)
	:: WON(n) && !(h[n].role == LEADER && cut == epoch) -> lead(n)
	:: !WON(n) && chosen[epoch] == n -> h[n].role = NONE
	:: chosen[epoch] != n && (cut != epoch || h[n].role == NONE) -> h[n].role = ASKING
	:: else
	fi
}

/* The answer to its own proposal, after others have changed the register again. */
inline hear_late(n)
{
	h[n].isr = h[n].wanted;
	forget_proposal(n);
	if
	:: h[n].role == LEADER -> raise(n)
	:: else ->
		h[n].epoch++;
		lead(n)
	fi
}

inline move_on()
{
	for (j : 0 .. HOSTS - 1) {
		h[j].fresh = 0;
		if
		:: h[j].proposing == DONE -> h[j].proposing = PASSED
		:: else
		fi;
		if
		:: h[j].role != LEADER -> h[j].isr = 0 /* proposes nothing before it reads again */
		:: else
		fi;
#ifndef BAD_NO_COMPARE
		if
		:: h[j].role != LEADER && h[j].proposing == SENT -> forget_proposal(j) /* refused */
		:: else
		fi
#endif
	}
	late_epoch = 0;
	late_isr = 0;
	late_leader = 0
}

/* Carried out: by compare-and-set, so only while its proposer knows the newest version. */
inline carry_out(n)
{
	if
	:: h[n].role != LEADER ->
		epoch = h[n].epoch + 1;
		assert(chosen[epoch] == NOBODY); /* I5 */
		chosen[epoch] = n;
		alive = 1
	:: else
	fi;
	isr = h[n].wanted;
	move_on();
	h[n].proposing = DONE
}

inline carry_out_late()
{
	if
	:: late_epoch > epoch ->
		epoch = late_epoch;
		chosen[epoch] = late_leader;
		alive = 0
	:: else
	fi;
	isr = late_isr;
	move_on()
}

/*
 * What no step and no check depends on any more is forgotten, so that states that differ only in it
 * are one: which leader is gone that a host followed, and who led in an epoch that nobody is in.
 */
#define STILL_LEADS(n, e) ((h[n].role == LEADER && h[n].epoch == (e)) || \
			   (h[n].role != LEADER && h[n].proposing >= DONE && h[n].epoch + 1 == (e)))

inline forget()
{
	for (j : 0 .. HOSTS - 1) {
		if
		:: h[j].role == ASKING && !h[j].fresh && h[j].proposing == NOTHING &&
		   !STILL_LEADS(chosen[h[j].epoch], h[j].epoch) ->
			h[j].role = NONE;
			h[j].epoch = 0
		:: else
		fi
	}
	for (k : 1 .. epoch - 1) {
		low = 0;
		for (j : 0 .. HOSTS - 1) {
			if
			:: h[j].epoch == k || (h[j].proposing == PASSED && h[j].epoch + 1 == k) ->
				low = 1
			:: else
			fi
		}
		if
		:: low == 0 ->
			chosen[k] = NOBODY;
			led[k] = 0
		:: else
		fi
	}
	skip
}

/* ---- the follower ---------------------------------------------------------------------------- */

/* R5: 'cut' is where the log must end before both are asked again. */
inline find_cut(n, l)
{
	mine = 0;
	if
	:: h[n].end > 0 -> mine = EPOCH(h[n].log[h[n].end - 1])
	:: else
	fi;
	low = h[l].end;
	do /* the leader's greatest epoch up to that, and its end */
	:: mine > 0 && low > 0 && EPOCH(h[l].log[low - 1]) > mine -> low--
	:: else -> break
	od;
	theirs = 0;
	if
	:: mine > 0 && low > 0 -> theirs = EPOCH(h[l].log[low - 1])
	:: else
	fi;
	cut = h[n].end; /* our own end of that epoch */
	do
	:: theirs > 0 && cut > 0 && EPOCH(h[n].log[cut - 1]) > theirs -> cut--
	:: else -> break
	od;
	if
	:: low < cut -> cut = low
	:: else
	fi;
#ifdef BAD_CUT_BY_HIGH_WATERMARK
	cut = h[n].shown;
#endif
#ifdef BAD_NEVER_CUT
	cut = h[n].end;
#endif
	skip
}

#ifdef BAD_SAYS_WHAT_IS_NOT_FLUSHED
#define TOLD(n) (h[n].end)
#else
#define TOLD(n) (h[n].flushed)
#endif

/* FETCH, once all that it agreed on is flushed; FLUSHED from then on. The newest is on its way. */
inline tell(n, l)
{
	if
	:: HOLDS(h[l].fetching, n) || TOLD(n) == h[n].end -> h[l].said[n] = TOLD(n) + 1
	:: else
	fi
}

inline agree(n, l)
{
	h[l].fetching = h[l].fetching & ~BIT(n);
	h[l].said[n] = 0;
	find_cut(n, l);
	if
	:: cut == h[n].end ->
		h[n].role = FETCHING;
		tell(n, l)
	:: cut < h[n].end && h[n].proposing == NOTHING -> /* never beside an election */
		assert(cut >= h[n].shown); /* I4 */
		for (k : cut .. RECORDS - 1) {
			h[n].log[k] = 0
		}
		h[n].end = cut;
		h[n].flushed = cut;
#ifdef BAD_ASKS_ONCE
		h[n].role = FETCHING;
		tell(n, l);
#endif
		skip
	:: else
	fi
}

/* ---- crashes --------------------------------------------------------------------------------- */

/* What was flushed stays, and as much behind it as the disk happened to write. */
inline crash(n, kept)
{
	crashes++;
	if
	:: h[n].proposing == SENT && h[n].fresh ->
		late_isr = h[n].wanted;
		late_leader = n;
		late_epoch = (h[n].role == LEADER -> h[n].epoch : h[n].epoch + 1)
	:: else
	fi;
	if
	:: chosen[epoch] == n -> alive = 0
	:: else
	fi;
	forget_proposal(n);
	forget_leading(n);
	for (k : kept .. RECORDS - 1) {
		h[n].log[k] = 0
	}
	h[n].end = kept;
	h[n].flushed = kept;
	h[n].shown = 0;
	h[n].role = NONE;
	h[n].epoch = 0;
	h[n].isr = 0;
	h[n].fresh = 0
}

/* ---- what a host may do ---------------------------------------------------------------------- */

#ifdef BAD_ANYBODY_IS_ELECTED
#define MAY_LEAD true
#else
#define MAY_LEAD HOLDS(me.isr, self)
#endif

#ifdef BAD_NO_COMPARE
#define IS_CURRENT true
#else
#define IS_CURRENT me.fresh
#endif

#ifdef BAD_JOINS_TOO_EARLY
#define CAUGHT_UP(other) true
#elif defined(BAD_JOINS_BEFORE_EPOCH_START)
#define CAUGHT_UP(other) (me.acked[other] >= me.shown)
#else
#define CAUGHT_UP(other) (me.acked[other] >= me.shown && me.acked[other] >= me.begin)
#endif

#define MAY_PROPOSE (me.fresh && me.proposing == NOTHING)

inline propose(set)
{
	me.proposing = SENT;
	me.wanted = set;
	if
	:: me.role == LEADER ->
		me.maybe = me.maybe | (set);
#ifdef BAD_SHRINK_COUNTS_AT_ONCE
		raise(self);
#endif
		skip
	:: else
	fi
}

#define CRASH_KEEPING(kept) \
	:: d_step { \
		crashes < CRASHES && (kept) >= me.flushed && (kept) <= me.end -> \
		crash(self, kept); \
		forget(); \
		check_promises() \
	}

/* A leader's dealings with another host. */
#define WITH(other) \
	:: d_step { /* a follower's word arrives */ \
		me.role == LEADER && me.said[other] > 0 && \
		(me.said[other] - 1 != me.acked[other] || !HOLDS(me.fetching, other)) -> \
		me.acked[other] = me.said[other] - 1; \
		me.fetching = me.fetching | BIT(other); \
		raise(self); \
		check_promises() \
	} \
	:: d_step { /* it did not keep up */ \
		me.role == LEADER && MAY_PROPOSE && HOLDS(me.isr, other) && other != self && \
		COUNT(me.isr) > MINIMUM -> \
		propose(me.isr & ~BIT(other)); \
		check_promises() \
	} \
	:: d_step { /* R3 */ \
		me.role == LEADER && MAY_PROPOSE && !HOLDS(me.isr, other) && \
		HOLDS(me.fetching, other) && CAUGHT_UP(other) -> \
		propose(me.isr | BIT(other)); \
		check_promises() \
	}

proctype engine(byte self)
{
end:
	do
	:: d_step {
		me.role == LEADER && me.end < RECORDS ->
		me.log[me.end] = RECORD(me.epoch, led[me.epoch] - 1);
		me.end++
	}
	:: d_step {
		me.flushed < me.end ->
		me.flushed = me.end;
		if
		:: me.role == LEADER -> raise(self)
		:: me.role == FETCHING && IS_LED -> tell(self, chosen[me.epoch])
		:: else
		fi;
		check_promises()
	}
	:: d_step {
		!me.fresh ->
		learn(self);
		forget();
		check_promises()
	}
	:: d_step {
		me.proposing == PASSED ->
		hear_late(self);
		forget();
		check_promises()
	}
	:: d_step { /* R2: a leader may seem gone at any time */
		me.role != LEADER && MAY_PROPOSE && MAY_LEAD && me.epoch < EPOCHS ->
		propose(me.isr)
	}
	:: d_step {
		me.proposing == SENT && IS_CURRENT ->
		carry_out(self);
		forget();
		check_promises()
	}
	:: d_step {
		late_epoch > 0 && late_leader == self ->
		carry_out_late();
		forget();
		check_promises()
	}
	:: d_step {
		me.role == ASKING && IS_LED ->
		agree(self, chosen[me.epoch]);
		check_promises()
	}
	:: d_step { /* a batch */
		me.role == FETCHING && IS_LED && HOLDS(ITS_LEADER.fetching, self) &&
		me.end < ITS_LEADER.end ->
		me.log[me.end] = ITS_LEADER.log[me.end];
		me.end++;
#ifdef BAD_SAYS_WHAT_IS_NOT_FLUSHED
		tell(self, chosen[me.epoch]);
#endif
		skip
	}
	:: d_step { /* its high watermark */
		me.role == FETCHING && IS_LED && HOLDS(ITS_LEADER.fetching, self) &&
		ITS_LEADER.shown > me.shown && me.flushed > me.shown ->
		me.shown = (ITS_LEADER.shown < me.flushed -> ITS_LEADER.shown : me.flushed);
		publish(self);
		check_promises()
	}
	WITH(0)
	WITH(1)
#if HOSTS > 2
	WITH(2)
#endif
	CRASH_KEEPING(0)
	CRASH_KEEPING(1)
	CRASH_KEEPING(2)
#if RECORDS > 2
	CRASH_KEEPING(3)
#endif
	od
}

/* Host 0 has just been elected, and everybody knows it. */
init {
	d_step {
		epoch = 1;
		isr = EVERYBODY;
		alive = 1;
		for (j : 0 .. EPOCHS) {
			chosen[j] = NOBODY
		}
		chosen[1] = 0;
		led[1] = 1;
		for (i : 0 .. HOSTS - 1) {
			h[i].epoch = 1;
			h[i].isr = EVERYBODY;
			h[i].fresh = 1;
			h[i].role = (i == 0 -> LEADER : ASKING)
		}
		skip
	}
	atomic {
		run engine(0);
		run engine(1);
#if HOSTS > 2
		run engine(2);
#endif
	}
}
