/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The feed: one thread that moves bytes between this host and its peers, one connection a pair. It
 * decides nothing: the protocol runs on the partitions' workers, who leads is the control thread's.
 *
 *	worker ── parcel ──► feed ──► messages ──► peer		a parcel comes back when its bytes
 *								are with the kernel, or cannot be
 *	peer ──► messages ──► feed ── delivery ──► worker	a delivery goes back when its bytes
 *								were used
 *	control ◄── events, notices ──► feed
 *
 * A parcel is one entry for one peer. While a send is under way parcels of all partitions gather;
 * when it is done, all that have come go out as one message. So small messages coalesce by
 * themselves, and no timer delays a record. Batches are sent from where they lie, in a tail under a
 * hold of the worker's, or in a buffer of the catch-up reader (catchup.h).
 *
 * Memory is bounded: a worker has a fixed number of parcels for each partition and peer, and a
 * connection is not read while more than its share of bytes is with the workers; credits
 *(protocol.h) see to it that this does not happen to a peer that keeps to them.
 */
#ifndef MR_FEED_H
#define MR_FEED_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/mailbox.h"
#include "base/place.h"
#include "error.h"
#include "feed_codec.h"
#include "link.h"
#include "protocol.h"

struct mr_feed;

/* ---- between a worker and the feed ---------------------------------------------------------- */

enum mr_feed_mail_kind {
	/* worker -> feed */
	MR_MAIL_PARCEL,	  /* struct mr_feed_parcel; comes back as the same kind */
	MR_MAIL_DELIVERY, /* struct mr_feed_delivery; feed -> worker, then goes back */
};

/* First member of both. Belongs to whoever received it last. */
struct mr_feed_mail {
	enum mr_feed_mail_kind kind;
	uint32_t worker;	   /* whose door it goes through: set by that */
	struct mr_feed_mail *next; /* the holder's, to queue it */
};

#define MR_PARCEL_PIECES 32

struct mr_feed_parcel {
	struct mr_feed_mail mail;
	uint32_t node;
	uint64_t connection; /* of the delivery that told of it: for another one it is not sent */
	uint8_t topic_id[16];
	int32_t partition;
	struct mr_feed_entry entry;
	/* Kinds with batches: entry.bytes of them, here, until the parcel is back */
	uint32_t piece_count;
	struct iovec pieces[MR_PARCEL_PIECES];
	/* BATCHES with no pieces: from the segments. entry.offset is where to begin, entry.bytes
	   how much at most, entry.end_offset what is flushed (0: not known); on return
	   entry.offset, end_offset and bytes are what was sent */
	bool catch_up;
	uint64_t plain_bytes; /* what entry.bytes would be without compression */
	int status;  /* back: 0: sent; -ENOTCONN: not; -EPROTONOSUPPORT: the peer's version knows no
			such kind; catch_up: -ERANGE: no longer kept, -ENODATA: nothing whole there
			yet, -EIO, -EBADMSG */
	void *owner; /* the worker's own */
};

/* What arrived for one partition. */
struct mr_feed_arrival {
	void *owner; /* as it was routed: the worker's partition */
	struct mr_feed_item item;
	/* the worker's own while it has the delivery: what found no room yet waits, in order */
	struct mr_feed_delivery *delivery;
	struct mr_feed_arrival *next;
};

struct mr_feed_delivery {
	struct mr_feed_mail mail;
	enum mr_feed_delivery_kind {
		MR_DELIVERY_CONNECTED, /* handshake done */
		MR_DELIVERY_DISCONNECTED,
		MR_DELIVERY_ARRIVALS,
	} what;
	uint32_t node;
	uint64_t connection;   /* never the same number twice */
	uint64_t incarnation;  /* CONNECTED: of the node's engine */
	uint64_t capabilities; /* CONNECTED: that both have */
	struct mr_feed_arrival *arrivals;
	uint32_t count;
	uint32_t unused; /* the worker's own: of the arrivals; it goes back when there are none */
};

/* One worker's door to the feed. Worker's thread only. */
struct mr_feed_port;
void mr_feed_port_send(struct mr_feed_port *port, struct mr_feed_parcel *parcel);
void mr_feed_port_return(struct mr_feed_port *port, struct mr_feed_delivery *delivery);
struct mr_feed_mail *mr_feed_port_receive(struct mr_feed_port *port); /* NULL: nothing */
/* As mr_mailbox_fd(), _sleep(), _wake(). */
int mr_feed_port_fd(const struct mr_feed_port *port);
/* 'parcels': a parcel that comes back ends the sleep, too. */
bool mr_feed_port_sleep(struct mr_feed_port *port, bool parcels);
void mr_feed_port_wake(struct mr_feed_port *port);

/* ---- the thread; control thread from here on --------------------------------------------------
 */

struct mr_feed_peer_options {
	uint32_t node;
	const char *name;
	const char *address;
	uint64_t bytes_per_second; /* sent at most; 0: no limit */
};

struct mr_feed_options {
	const struct mr_place_entry *place;
	const struct mr_clock *clock;
	struct mr_io *io; /* the catch-up reader's door to the segments */
	uint32_t node;
	const char *name;
	const char *listen;	     /* address, NULL: connects only */
	struct mr_link_trust *trust; /* taken, also on failure; NULL: plain */
	uint8_t cluster_id[16];
	uint8_t log_id[16];
	uint64_t incarnation;
	const struct mr_feed_peer_options *peers; /* all strings are copied */
	uint32_t peer_count;
	uint32_t worker_count;		    /* so many ports */
	uint32_t version_max;		    /* 0: MR_FEED_VERSION; a test's to lower */
	uint64_t catch_up_bytes_per_second; /* read from segments, all peers together */
	uint64_t patience_ns;		    /* with who is silent; 0: 10 s; a test's to lower */
};

/* Listens; does not wait for any peer. */
int mr_feed_start(const struct mr_feed_options *options, struct mr_feed **out,
		  struct mr_error *err);
/* No worker uses its port any more. Says goodbye to peers; waits for none. Takes NULL. */
void mr_feed_stop(struct mr_feed *feed);
struct mr_feed_port *mr_feed_port(struct mr_feed *feed, uint32_t worker);
/* The TCP port that it listens on, also where the kernel chose it; 0: it does not listen. */
uint16_t mr_feed_listens_at(const struct mr_feed *feed);

/* What arrives for the partition goes to 'owner' at that worker's port; before, it is dropped. */
int mr_feed_route(struct mr_feed *feed, const uint8_t topic_id[16], int32_t partition,
		  uint32_t worker, void *owner);
/*
 * Parcels for it that the feed still has come back at once, also from a peer that takes nothing.
 * Then MR_FEED_EVENT_UNROUTED: no delivery with it will be put into that port any more.
 */
int mr_feed_unroute(struct mr_feed *feed, const uint8_t topic_id[16], int32_t partition);

/*
 * A notice: text between control threads, in order on a connection, as long as it stands. 'node'
 * MR_NODE_NONE: to all that are connected. -ENOTCONN; -EMSGSIZE: empty, or beyond
 * MR_FEED_NOTICE_MAX. Copied. A peer that leaves too many of them unread is disconnected.
 */
int mr_feed_notify(struct mr_feed *feed, int32_t node, const char *text, size_t bytes);

struct mr_feed_event {
	enum mr_feed_event_kind {
		MR_FEED_EVENT_NOTHING,
		MR_FEED_EVENT_CONNECTED,
		MR_FEED_EVENT_DISCONNECTED, /* 'text': why */
		MR_FEED_EVENT_NOTICE,	    /* 'text', 'bytes': zero-terminated */
		MR_FEED_EVENT_UNROUTED,
		MR_FEED_EVENT_UNREADABLE, /* segments of ours, for that node: 'status', 'text'.
					     Each time that it is tried */
		MR_FEED_EVENT_REFUSED,	  /* it came to no connection, 'text': why. Once a reason */
	} kind;
	uint32_t node; /* REFUSED: UINT32_MAX: it is not known whose */
	uint64_t incarnation;
	uint8_t log_id[16];
	uint8_t topic_id[16];
	int32_t partition;
	int status; /* UNREADABLE: a negative errno */
	char *text; /* the receiver frees it; or NULL */
	size_t bytes;
};
struct mr_feed_event mr_feed_take(struct mr_feed *feed);
int mr_feed_fd(const struct mr_feed *feed);
bool mr_feed_sleep(struct mr_feed *feed);
void mr_feed_wake(struct mr_feed *feed);

/* For people; each number is as of some recent moment. */
struct mr_feed_peer_status {
	uint32_t node;
	char name[MR_FEED_NAME_MAX + 1];
	char address[MR_LINK_ADDRESS_MAX];
	bool connected;
	uint64_t incarnation;
	uint64_t since_ns; /* connected, or not; monotonic */
	uint32_t version;  /* of the feed: what it spoke when it was connected last; 0: never yet */
	uint64_t heard_ns; /* when it last said anything; 0: never */
	bool silent;	   /* connected, and it should have said something since */
	uint32_t rtt_us;
	uint64_t sent_bytes, received_bytes; /* on the wire, before TLS; since the start */
	uint64_t sent_messages, received_messages;
	uint64_t sent_batch_bytes, received_batch_bytes;
	uint64_t sent_plain_bytes, received_plain_bytes; /* the same without compression */
	uint64_t sent_records, received_records;
	uint64_t refused; /* messages that were none, and refusals */
	char security[96];
	char last_error[320];
};
/* Returns how many, at most 'max'. */
uint32_t mr_feed_peers(struct mr_feed *feed, struct mr_feed_peer_status *out, uint32_t max);

#endif
