/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside feed*.c only: what the feed is made of, and what its files say to each other.
 *
 *	feed.c		  the thread and its turn; what the control thread asks for
 *	feed_port.c	  the doors to the workers and to the control thread: queues of mail
 *	feed_peer.c	  one configured peer: connecting to it, twins, its state for people
 *	feed_connection.c one connection: its handshake, its end, who is told
 *	feed_send.c	  flows of parcels, and messages made of them
 *	feed_receive.c	  messages taken apart, and deliveries made of them
 *	feed_buffers.c	  memory for what arrives
 *	feed_table.c	  partitions by topic id and number
 *
 * All of it belongs to the feed's thread but what says otherwise.
 */
#ifndef MR_FEED_INSIDE_H
#define MR_FEED_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>

#include "catchup.h"
#include "feed.h"

#define FEED_MILLISECOND_NS UINT64_C(1000000)
#define FEED_SECOND_NS	    UINT64_C(1000000000)

#define FEED_PATIENCE_NS    (10 * FEED_SECOND_NS)
#define FEED_BYTES_A_SECOND (64u << 10) /* a message that comes slower than this is given up */
#define FEED_GOODBYE_NS	    (500 * FEED_MILLISECOND_NS) /* a last message has so long to leave */
#define FEED_BACKOFF_MIN_NS (50 * FEED_MILLISECOND_NS)
#define FEED_BACKOFF_MAX_NS (700 * FEED_MILLISECOND_NS) /* and half of it more, by chance */
#define FEED_GOOD_NS	    (5 * FEED_SECOND_NS) /* a connection that stood so long was good */
#define FEED_STRANGERS_MAX  64			 /* accepted connections that said no hello yet */
#define FEED_BATCH_BYTES    (4u << 20)		 /* of batches in a message, or one parcel */
#define FEED_SHARE_BYTES    (16u << 20) /* of a peer's messages with the workers, and one more */
#define FEED_NOTICES_MAX    (64u << 20) /* bytes of notices that wait for one peer */
#define FEED_UNTAKEN_MAX    (8u << 20)	/* bytes of notices that the control thread has not taken */
#define FEED_NEWS_MAX	    4096 /* CONNECTED, DISCONNECTED with the workers: then none new */
#define FEED_STAGING_BYTES  (64u << 10)
#define FEED_TURN_BYTES	    (4u << 20) /* read from one connection before the others have a turn */
#define FEED_PIECES_MAX	    1024       /* of a message: what one system call takes */
#define FEED_SAID_BYTES	    320u
#define FEED_REASONS_MAX    4u /* told to the control thread of one peer in a second */
#define FEED_CAPABILITIES   (MR_FEED_TAKES_COMPRESSED | MR_FEED_CAN_SAY_ALIVE)
#define FEED_SIGNS	    10u /* a message at least so often: each second */
#define FEED_SIGNS_MISSING  3u	/* so many, and people hear of it */

/* ---- partitions by name (feed_table.c) ------------------------------------------------------- */

struct feed_key {
	uint8_t topic_id[16];
	int32_t partition;
};

/* Anything that has a key as its first member. */
struct feed_table {
	struct feed_key **slots;
	uint32_t slot_count; /* a power of two */
	uint32_t count;
	uint32_t any_from; /* feed_table_any(): where it looks first, as often as it went around */
};

struct feed_key feed_key(const uint8_t topic_id[16], int32_t partition);
void *feed_table_find(const struct feed_table *table, const struct feed_key *key);
int feed_table_add(struct feed_table *table, struct feed_key *entry); /* it is not there; -ENOMEM */
void *feed_table_remove(struct feed_table *table, const struct feed_key *key); /* NULL: not there */
/* Memory of the table, not of what stands in it: take that out with _any() and _remove() first. */
void feed_table_deinit(struct feed_table *table);
void *feed_table_any(struct feed_table *table); /* NULL: empty */

/* ---- queues and doors (feed_port.c) ---------------------------------------------------------- */

struct feed_list {
	struct mr_feed_mail *first, *last;
};

void feed_list_add(struct feed_list *list, struct mr_feed_mail *mail);
struct mr_feed_mail *feed_list_take(struct feed_list *list); /* NULL: empty */

/* A mailbox that is never full: what finds no room waits with the sender. */
struct feed_way {
	struct mr_mailbox *box;
	struct feed_list waiting; /* the sender's */
};

int feed_way_open(struct feed_way *way, enum mr_mailbox_bell bell, struct mr_error *err);
void feed_way_close(struct feed_way *way);
void feed_way_send(struct feed_way *way, struct mr_feed_mail *mail);
/* What its owner gets back and, mostly, does not wait for. */
void feed_way_send_back(struct feed_way *way, struct mr_feed_mail *mail);
bool feed_way_push(struct feed_way *way); /* what waits, as far as it goes. True: nothing is left */

struct mr_feed_port {
	uint32_t worker;
	struct feed_way to_feed;   /* the worker sends */
	struct feed_way to_worker; /* the feed sends */
};

/* From and to the control thread; 'kind' of the mail is not looked at. */
struct feed_request {
	struct mr_feed_mail mail; /* first */
	enum feed_request_kind {
		FEED_REQUEST_ROUTE,
		FEED_REQUEST_UNROUTE,
		FEED_REQUEST_NOTICE,
		FEED_REQUEST_STOP,
	} kind;
	struct feed_route *route; /* ROUTE: taken */
	struct feed_key key;	  /* UNROUTE */
	struct feed_notice *notice;
	uint64_t connections[MR_NODES_MAX]; /* NOTICE: for these; 0: not for that node */
};

struct feed_event {
	struct mr_feed_mail mail; /* first */
	struct mr_feed_event event;
	uint64_t connection;
};

struct feed_notice {
	uint32_t references; /* the feed's, from the request on */
	uint32_t bytes;
	char text[];
};
void feed_notice_drop(struct feed_notice *notice);

/* ---- memory for what arrives (feed_buffers.c) ------------------------------------------------ */

#define FEED_BUFFER_CLASSES 16

struct feed_buffer {
	struct feed_buffer *next, *previous; /* of those in use, or next of the free ones */
	struct mr_feed_peer *peer;	     /* whose share it is of; NULL: nobody's */
	size_t bytes_max;
	uint32_t class;
	uint32_t references; /* deliveries that are out, and the one who fills it */
	_Alignas(64) uint8_t bytes[];
};

struct feed_buffers {
	struct feed_buffer *in_use;
	struct feed_buffer *free[FEED_BUFFER_CLASSES];
	size_t free_bytes;
};

struct feed_buffer *feed_buffer_take(struct feed_buffers *buffers, struct mr_feed_peer *peer,
				     size_t bytes); /* NULL: no memory */
void feed_buffer_drop(struct feed_buffers *buffers, struct feed_buffer *buffer);
void feed_buffers_deinit(struct feed_buffers *buffers);

/* A delivery and where it lies. */
struct feed_delivery {
	struct mr_feed_delivery delivery; /* first */
	struct feed_buffer *buffer;
};

/* ---- peers (feed_peer.c) --------------------------------------------------------------------- */

struct feed_route {
	struct feed_key key; /* first */
	uint32_t worker;
	void *owner;
};

/* What another thread reads: each by itself, relaxed; it orders nothing. */
struct feed_figures {
	_Atomic bool connected;
	_Atomic uint64_t incarnation, since_ns, heard_ns;
	_Atomic bool watched;
	_Atomic uint32_t rtt_us, version;
	_Atomic uint64_t sent_bytes, received_bytes;
	_Atomic uint64_t sent_messages, received_messages;
	_Atomic uint64_t sent_batch_bytes, received_batch_bytes;
	_Atomic uint64_t sent_plain_bytes, received_plain_bytes;
	_Atomic uint64_t sent_records, received_records;
	_Atomic uint64_t refused;
};

static inline void feed_count(_Atomic uint64_t *figure, uint64_t more)
{
	atomic_store_explicit(figure, atomic_load_explicit(figure, memory_order_relaxed) + more,
			      memory_order_relaxed);
}

/* Reasons of a second that the control thread was told. */
struct feed_told {
	uint64_t since_ns;
	uint32_t count;
};

struct mr_feed_peer {
	uint32_t node;
	char name[MR_FEED_NAME_MAX + 1];
	char address[MR_LINK_ADDRESS_MAX];
	uint64_t bytes_per_second;
	struct feed_connection *connection; /* up; or NULL */
	struct feed_connection *attempt;    /* of ours, not up yet; or NULL */
	uint64_t retry_ns, backoff_ns;
	/* the newest of its lives that was here */
	bool known;
	uint64_t incarnation;
	uint8_t log_id[16];
	char said[FEED_SAID_BYTES]; /* the last REFUSED */
	struct feed_told told;
	size_t share; /* bytes of buffers with the workers, of all its connections */
	/* the quota's bucket */
	int64_t tokens;
	uint64_t tokens_ns;
	struct feed_figures figures;
	/* under the feed's lock */
	char security[96];
	char last_error[320];
};

/* ---- connections (feed_connection.c) --------------------------------------------------------- */

/* One partition's parcels for one connection, in order, and the channel it has there. */
struct feed_flow {
	struct feed_key key; /* first */
	uint32_t channel;
	bool opened;
	struct mr_feed_term term; /* said on it last */
	enum feed_flow_place {
		FEED_FLOW_IDLE,
		FEED_FLOW_SMALL,   /* in 'small': an entry without batches is next */
		FEED_FLOW_BATCHES, /* in 'batches' */
		FEED_FLOW_READING, /* the catch-up reader has a request for the next */
	} place;
	struct feed_flow *next; /* in that list */
	struct feed_list parcels;
	struct feed_reading *reading;
};

struct feed_flow_list {
	struct feed_flow *first, *last;
};

/* A request at the catch-up reader; outlives its flow. */
struct feed_reading {
	struct mr_feed *feed;
	struct mr_catchup_request *request;
	struct feed_connection *connection; /* NULL: nobody waits for it any more */
	struct feed_flow *flow;
	struct feed_reading *next, *previous; /* of all that there are */
	bool out;			      /* with the reader */
	bool used;			      /* what it read is being sent */
};

/* The message that is being sent. */
struct feed_sending {
	uint8_t *heads;		  /* owned: room for the longest */
	struct iovec *pieces;	  /* owned: FEED_PIECES_MAX */
	uint32_t piece_count, at; /* all before 'at' went out */
	uint64_t head_bytes, bytes, sent;
	struct feed_list parcels; /* in it, in order */
	uint64_t parcel_bytes;	  /* of batches of those that are back already */
	struct feed_notice *notice;
	uint8_t *copy; /* owned, or NULL: the rest of it, where parcels had to go back early */
	bool last;     /* nothing follows: the connection is closed behind it */
	uint8_t urgent[MR_FEED_REFUSE_BYTES_MAX]; /* a whole message, before all others */
	uint32_t urgent_bytes;
	bool urgent_last;
};

/* The message that is being received. */
struct feed_receiving {
	uint8_t *staging; /* owned: bytes read ahead, from 'staged_at' on */
	uint32_t staged_at, staged;
	struct mr_feed_header header;
	bool has_header;
	struct feed_buffer *buffer; /* its body goes to the end of it; NULL: not begun */
	uint8_t *body;
	size_t body_bytes, have;
	uint64_t due_ns; /* when the message must be here; 0: none is under way */
};

/* What the other said with OPEN, by channel. */
struct feed_channels {
	struct feed_channel {
		struct feed_key key;
		bool open;
	} * channels;
	struct mr_feed_terms terms; /* as many */
	uint32_t count;
};

struct feed_connection {
	struct feed_connection *next, *previous;
	struct mr_feed *feed;
	struct mr_link *link;
	struct mr_feed_peer *peer;    /* NULL: accepted, and not introduced yet */
	struct mr_feed_peer *claimed; /* whom its hello named; told of refusals */
	uint64_t unclaimed_bytes;     /* received before it was known whose they are */
	uint64_t number;	      /* once it is up */
	bool ours;		      /* this host connected */
	enum feed_stage {
		FEED_STAGE_LINK,  /* TCP, TLS */
		FEED_STAGE_HELLO, /* waits for the other's hello */
		FEED_STAGE_UP,
		FEED_STAGE_LEAVING, /* a refusal is going out, nothing is read */
		FEED_STAGE_OVER,    /* freed at the turn's end */
	} stage;
	uint64_t due_ns; /* LINK, HELLO, LEAVING: or it is over */
	uint8_t version;
	bool watched;		    /* both say something each second */
	uint64_t said_ns, heard_ns; /* when bytes last went, and came; from UP on */
	int fd;			    /* in epoll; -1: none */
	uint32_t events;	    /* asked for */
	bool readable, writable, paused, hung_up;
	uint64_t stuck_ns; /* when a send that takes nothing is given up; 0: it takes */
	struct feed_table flows;
	uint32_t flow_count;
	struct feed_flow_list small, batches;
	struct feed_sending sending;
	struct feed_receiving receiving;
	struct feed_channels theirs;
	struct feed_notice **notices; /* a ring, in order; owned references */
	uint32_t notice_first, notice_count, notice_room;
	uint64_t notice_bytes;
	bool notice_was_last; /* entries have the next turn */
};

struct mr_feed {
	/* constant */
	struct mr_place_entry place;
	const struct mr_clock *clock;
	struct mr_link_trust *trust;
	struct mr_feed_hello hello;
	uint64_t patience_ns;
	struct mr_feed_peer *peers;
	uint32_t peer_count;
	struct mr_feed_peer *by_node[MR_NODES_MAX];
	struct mr_feed_port *ports;
	uint32_t port_count;
	uint16_t listens_at;
	pthread_t thread;
	/* between the threads */
	struct feed_way requests; /* control -> feed */
	struct feed_way events;	  /* feed -> control */
	pthread_mutex_t lock;	  /* of the peers' texts */
	_Atomic uint64_t untaken; /* bytes of notices among the events; both change it */
	/* the control thread's */
	uint64_t connections[MR_NODES_MAX]; /* as the events said that it took */
	/* the feed's */
	int listen_fd, epoll_fd;
	bool listen_ready, stopping;
	uint64_t listen_ns; /* when to try again; 0: no need */
	uint64_t now_ns, stop_ns, figures_ns;
	struct feed_table routes;
	struct feed_connection *all;
	uint32_t strangers;
	uint64_t last_number;
	uint32_t news; /* deliveries of CONNECTED and DISCONNECTED that are out */
	struct feed_buffers buffers;
	struct mr_feed_item *items; /* of the message being taken apart */
	struct feed_route **item_routes;
	uint32_t *item_counts; /* by worker */
	struct feed_list held; /* UNROUTED that waits for the worker's mailbox */
	struct mr_catchup *catchup;
	struct feed_reading *readings;
	uint64_t unrouted; /* entries that came for no partition here */
	char said_of_strangers[FEED_SAID_BYTES];
	struct feed_told told_of_strangers;
};

/* 'link' is taken. 'peer': whom we connect to, NULL: who connects to us. -ENOMEM */
int feed_connection_new(struct mr_feed *feed, struct mr_link *link, struct mr_feed_peer *peer,
			struct feed_connection **out);
/* What it can do now. Whether it did anything. */
bool feed_connection_serve(struct feed_connection *connection);
/* Parcels come back, workers and control are told. 'why' stays the caller's. */
void feed_connection_end(struct feed_connection *connection, const char *why);
/* Says why not, then ends. 'why' is what both sides show. */
void feed_connection_refuse(struct feed_connection *connection, enum mr_feed_refusal_code code,
			    const char *why);
void feed_connection_free(struct feed_connection *connection);
/* Ends it if it is time; returns when to look again. */
uint64_t feed_connection_time(struct feed_connection *connection);

void feed_peer_init(struct mr_feed_peer *peer, const struct mr_feed_peer_options *options,
		    uint64_t now_ns);
/* If it is time; returns when it will be. */
uint64_t feed_peer_connect(struct mr_feed *feed, struct mr_feed_peer *peer);
/* The attempt or connection is over. */
void feed_peer_lost(struct mr_feed *feed, struct mr_feed_peer *peer, bool was_up);
/* Whether a connection that says this may be the node's. 0, or a refusal's code and why. */
int feed_peer_check(struct mr_feed *feed, const struct feed_connection *connection,
		    const struct mr_feed_hello *hello, struct mr_error *err);
void feed_peer_up(struct mr_feed *feed, struct mr_feed_peer *peer,
		  const struct mr_feed_hello *hello, uint8_t version);
void feed_peer_say(struct mr_feed *feed, struct mr_feed_peer *peer, const char *security,
		   const char *error); /* NULL: as it was */
/* To the control thread; once a reason. 'peer' NULL: a stranger. */
void feed_peer_refused(struct mr_feed *feed, struct mr_feed_peer *peer, const char *why);

/* feed_send.c */
int feed_send_init(struct feed_connection *connection);
void feed_send_deinit(struct feed_connection *connection); /* after feed_send_clear() */
void feed_send_parcel(struct mr_feed *feed, struct mr_feed_parcel *parcel);
/* 'encoded' bytes stand in sending.urgent. */
void feed_send_urgent(struct feed_connection *connection, size_t encoded, bool last);
/*
 * Parcels that wait or are under way come back, notices are forgotten. With 'more' to be sent the
 * message that is under way stays whole; -ENOMEM: it does not.
 */
int feed_send_clear(struct feed_connection *connection, bool more);
int feed_send_notice(struct feed_connection *connection, struct feed_notice *notice);
/* All parcels of one partition come back. */
int feed_send_purge(struct feed_connection *connection, const struct feed_key *key);
void feed_read_back(struct feed_reading *reading);
void feed_readings_free(struct mr_feed *feed); /* after the reader was stopped */
/* Sends what there is. 1: it did something; 0; or the connection's end. */
int feed_send_turn(struct feed_connection *connection, struct mr_error *err);
/* When something must be said, if only that this host is there. */
uint64_t feed_send_sign_ns(const struct feed_connection *connection);
bool feed_send_idle(const struct feed_connection *connection);
uint64_t feed_send_next_ns(const struct feed_connection *connection);

/* feed_receive.c */
int feed_receive_init(struct feed_connection *connection);
void feed_receive_deinit(struct feed_connection *connection);
/* Whether no more is to be read now. */
bool feed_receive_full(const struct feed_connection *connection);
/* 1: it did something; 0; -EBADMSG: refuse it; or the connection's end. */
int feed_receive_turn(struct feed_connection *connection, struct mr_error *err);
/* To every worker. */
void feed_deliver_news(struct mr_feed *feed, const struct mr_feed_delivery *news);
void feed_deliver_back(struct mr_feed *feed, struct mr_feed_delivery *delivery);

/* feed_connection.c: of what was received */
void feed_connection_heard(struct feed_connection *connection);
void feed_connection_hello(struct feed_connection *connection, const struct mr_feed_hello *hello);
void feed_connection_refused(struct feed_connection *connection,
			     const struct mr_feed_refusal *refusal);

void feed_tell(struct mr_feed *feed, const struct mr_feed_event *event, uint64_t connection);
void feed_tell_text(struct mr_feed *feed, enum mr_feed_event_kind kind, uint32_t node,
		    const char *text, uint64_t connection);

#endif
