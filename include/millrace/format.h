/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every byte that another program may read: the lane, the tail, groups, segments, the checkpoint,
 * the messages on the engine's socket and those between hosts. (Record batches are Kafka's:
 * ringbuf/batch.h.)
 *
 * Shared memory and the socket never leave the host: host byte order. Files and the feed are
 * little-endian; on a big-endian host the engine refuses to start. Offsets stand in the margin;
 * static_assert locks them.
 *
 * Words: offset counts records, position counts bytes of one partition's log on this host, index
 * counts slots of a lane (32 bits, free-running), number counts a producer's records in a
 * partition.
 */
#ifndef MR_FORMAT_H
#define MR_FORMAT_H

#include <assert.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define MR_PAGE_BYTES	    4096u
#define MR_BLOCK_BYTES	    4096u /* groups start and end on multiples of it */
#define MR_SLOT_BYTES	    8u
#define MR_TOPIC_NAME_MAX   249u
#define MR_GROUP_NAME_MAX   249u
#define MR_PARTITIONS_MAX   1024

/* "MR" and what it is, so that a dump shows it: read as little-endian text. */
#define MR_LANE_CLIENT_MAGIC 0x434c524du /* MRLC */
#define MR_LANE_ENGINE_MAGIC 0x454c524du /* MRLE */
#define MR_TAIL_MAGIC	     0x4c54524du /* MRTL */
#define MR_WAIT_MAGIC	     0x5457524du /* MRWT */
#define MR_SEGMENT_MAGIC     0x4753524du /* MRSG */
#define MR_GROUP_MAGIC	     0x5247524du /* MRGR */
#define MR_CHECKPOINT_MAGIC  0x5043524du /* MRCP */
#define MR_INDEX_MAGIC	     0x5849524du /* MRIX */
#define MR_MESSAGE_MAGIC     0x534d524du /* MRMS */

#define MR_FORMAT_VERSION    1 /* of all memory and files */
#define MR_PROTOCOL_VERSION  1 /* of the socket's messages */

/* ---- the lane: frames ------------------------------------------------------------------------ */

enum mr_frame_kind {
	MR_FRAME_RECORD = 1,
	MR_FRAME_BATCH = 2, /* a whole record batch that keeps its bytes; not in use by clients
			       yet */
};

enum mr_frame_flag {
	MR_FRAME_NULL_KEY = 1,
	MR_FRAME_NULL_VALUE = 2,
};

/*
 * What precedes each record in a lane; then key, value and headers (as Kafka encodes them) without
 * gaps, and up to 7 bytes of padding. Written by the client, copied once and checked by the engine.
 */
struct mr_frame {
	uint32_t bytes;	       /*  0 this header and the payload, without padding */
	uint8_t kind;	       /*  4 enum mr_frame_kind */
	uint8_t flags;	       /*  5 enum mr_frame_flag */
	uint16_t header_count; /*  6 */
	uint64_t number;       /*  8 the one before + 1; the batch's sequence is number mod 2^31 */
	int64_t timestamp_ms;  /* 16 */
	uint32_t key_bytes;    /* 24 */
	uint32_t value_bytes;  /* 28 the headers take the rest */
};
static_assert(sizeof(struct mr_frame) == 32, "frame header size");

/* ---- the lane: the client's memfd: one page, then the slots ---------------------------------- */

/* Written by the client only; the engine maps it for reading and trusts nothing in it. */
struct mr_lane_client_page {
	uint32_t magic;		      /*   0 */
	uint32_t version;	      /*   4 */
	uint8_t reserved0[56];	      /*   8 zero */
	_Atomic uint32_t published;   /*  64 index: slots made visible (W1) */
	uint8_t reserved1[60];	      /*  68 zero */
	_Atomic uint32_t waiting;     /* 128 1: the producer sleeps until the engine's index moves
					 (W6) */
	uint8_t reserved2[3964];      /* 132 zero */
};
static_assert(sizeof(struct mr_lane_client_page) == MR_PAGE_BYTES, "client page size");
static_assert(offsetof(struct mr_lane_client_page, published) == 64, "own line");
static_assert(offsetof(struct mr_lane_client_page, waiting) == 128, "own line");

/* ---- the lane: the engine's memfd: a page, then a page of receipts --------------------------- */

/* Who the lane is, under a MAC with the data directory's key, so that it can be handed back. */
struct mr_lane_identity {
	uint8_t topic_id[16];	/*  0 */
	int32_t partition;	/* 16 */
	uint32_t uid;		/* 20 */
	int64_t producer_id;	/* 24 */
	int32_t producer_epoch; /* 32 */
	uint32_t acks;		/* 36 enum mr_acks */
	uint32_t lane_bytes;	/* 40 of slots */
	uint32_t format;	/* 44 MR_FORMAT_VERSION of the lane */
	uint8_t log_id[16];	/* 48 of the data directory that the lane belongs to */
};
static_assert(sizeof(struct mr_lane_identity) == 64, "identity size");

/* Why a lane takes no more records; the text behind it is in reason_text. */
enum mr_lane_reason {
	MR_LANE_OPEN = 0,
	MR_LANE_BAD_FRAME = 1,	   /* the client wrote nonsense */
	MR_LANE_GAP = 2,	   /* a number was left out */
	MR_LANE_TOPIC_DELETED = 3,
	MR_LANE_DISK_FAILED = 4,   /* the data directory failed; nothing is acknowledged any more */
	MR_LANE_FENCED = 5,	   /* a newer producer epoch of the same producer was seen */
	MR_LANE_CLOSED = 6,	   /* closed by the client's wish */
	MR_LANE_CORRUPT = 7,	   /* the partition is read-only: its log is damaged */
};

/* Written by the engine only; sealed before the client gets it. */
struct mr_lane_engine_page {
	uint32_t magic;			  /*   0 */
	uint32_t version;		  /*   4 */
	uint32_t record_bytes_max;	  /*   8 largest key + value + headers */
	uint32_t reserved0;		  /*  12 zero */
	struct mr_lane_identity identity; /*  16 */
	uint8_t mac[32];		  /*  80 HMAC-SHA-256 over identity */
	uint8_t reserved1[16];		  /* 112 zero */
	_Atomic uint32_t acknowledged;	  /* 128 index: slots that are safe and may be reused
					     (W2) */
	uint32_t reserved2;		  /* 132 zero */
	_Atomic uint64_t number;	  /* 136 number of the first record not acknowledged (W4) */
	_Atomic uint64_t receipts;	  /* 144 receipts written so far (W4) */
	_Atomic uint64_t lost;		  /* 152 records lost at all hand-backs (weaker lanes) */
	uint64_t lost_before;		  /* 160 numbers before it are counted there, or are safe */
	uint8_t reserved3[24];		  /* 168 zero */
	_Atomic uint32_t asleep;	  /* 192 1: the worker sleeps, ring its doorbell (W5) */
	uint8_t reserved4[60];		  /* 196 zero */
	_Atomic uint32_t reason;	  /* 256 enum mr_lane_reason (W3: after the text) */
	uint8_t reserved5[4];		  /* 260 zero */
	char reason_text[248];		  /* 264 one sentence, terminated */
	uint8_t reserved6[3584];	  /* 512 zero */
};
static_assert(sizeof(struct mr_lane_engine_page) == MR_PAGE_BYTES, "engine page size");
static_assert(offsetof(struct mr_lane_engine_page, acknowledged) == 128, "own line");
static_assert(offsetof(struct mr_lane_engine_page, asleep) == 192, "own line");
static_assert(offsetof(struct mr_lane_engine_page, reason_text) == 264, "no hidden padding");

/* The newest MR_RECEIPTS receipts of a lane; receipt i stands in place i % MR_RECEIPTS. */
struct mr_lane_receipt {
	uint64_t base_offset; /* 0 of the first record; MR_OFFSET_UNKNOWN: in the log, offset not
				 known */
	uint32_t count;	      /* 8 records, dense from base_offset on */
	uint32_t first;	      /* 12 low half of the first record's number */
};
static_assert(sizeof(struct mr_lane_receipt) == 16, "receipt size");
#define MR_RECEIPTS (MR_PAGE_BYTES / sizeof(struct mr_lane_receipt))

#define MR_LANE_ENGINE_BYTES (2 * MR_PAGE_BYTES)

/*
 * ---- the tail: a page of published positions; at 2 MiB tail_bytes of the log's end ------------
 */

/* A huge page's boundary; of what lies before it only the first page is ever touched. */
#define MR_TAIL_DATA_OFFSET (2u << 20)

/* Written by the worker only; consumers map it for reading. Positions stand at batch ends. */
struct mr_tail_page {
	uint32_t magic;			  /*   0 */
	uint32_t version;		  /*   4 */
	uint8_t topic_id[16];		  /*   8 */
	int32_t partition;		  /*  24 */
	uint32_t data_offset;		  /*  28 from the region's start: MR_TAIL_DATA_OFFSET */
	uint64_t tail_bytes;		  /*  32 a power of two */
	uint64_t start_position;	  /*  40 nothing before it was ever in this tail */
	uint8_t reserved0[16];		  /*  48 zero */
	_Atomic uint64_t reclaimed;	  /*  64 position: bytes before it may be overwritten
					     (W7) */
	_Atomic uint64_t reclaimed_offset;/*  72 offset at the first group start >= reclaimed; a
					     hint */
	uint8_t reserved1[48];		  /*  80 zero */
	_Atomic uint64_t committed;	  /* 128 position: consumers may read up to here (W8) */
	_Atomic uint64_t committed_offset;/* 136 the high watermark */
	_Atomic uint64_t flushed;	  /* 144 position: durable on this host */
	_Atomic uint64_t flushed_offset;  /* 152 */
	_Atomic uint64_t appended;	  /* 160 position: encoded so far (W8) */
	_Atomic uint64_t appended_offset; /* 168 log end offset */
	_Atomic uint64_t log_start_offset;/* 176 oldest offset kept */
	_Atomic uint64_t last_stable_offset; /* 184 reserved for transactions: the high watermark */
	_Atomic uint32_t closed;	  /* 192 1: attach again (new tail, or topic deleted) */
	uint8_t reserved2[3900];	  /* 196 zero */
};
static_assert(sizeof(struct mr_tail_page) == MR_PAGE_BYTES, "tail page size");
static_assert(offsetof(struct mr_tail_page, committed) == 128, "own line");

/* ---- a client's wait page: one for each consumer, its own memfd ------------------------------ */

/* For which news a consumer is to be woken. */
enum mr_wait_for {
	MR_WAIT_FOR_NOTHING = 0,
	MR_WAIT_FOR_COMMITTED = 1, /* what is committed moved */
	MR_WAIT_FOR_APPENDED = 2,  /* what is appended moved */
};

struct mr_wait_page {
	uint32_t magic;		  /*  0 */
	uint32_t version;	  /*  4 */
	uint8_t reserved0[56];	  /*  8 zero */
	_Atomic uint32_t waiting; /* 64 enum mr_wait_for (W6) */
	uint8_t reserved1[4028];  /* 68 zero */
};
static_assert(sizeof(struct mr_wait_page) == MR_PAGE_BYTES, "wait page size");

/* ---- counters: a file that outlives the process: header page, entries, values ---------------- */

#define MR_COUNTERS_MAGIC     0x544e434du /* MCNT */
#define MR_COUNTER_NAME_BYTES 112
#define MR_COUNTERS_MAX	      8192

/* Written by the engine's control thread; magic last, so that a half-made file is none. */
struct mr_counters_header {
	_Atomic uint32_t magic;	 /*  0 MR_COUNTERS_MAGIC (W11) */
	uint32_t version;	 /*  4 MR_FORMAT_VERSION */
	uint32_t count_max;	 /*  8 MR_COUNTERS_MAX: as many entries, then as many values */
	uint32_t pid;		 /* 12 of the engine that writes it, or wrote it last */
	uint8_t reserved[4080];	 /* 16 zero */
};
static_assert(sizeof(struct mr_counters_header) == MR_PAGE_BYTES, "counters header size");

/* Entry i names value i. */
struct mr_counter_entry {
	_Atomic uint32_t generation;	       /*  0 odd: being written (W12) */
	_Atomic uint32_t kind;		       /*  4 enum mr_counter_kind */
	uint64_t reserved;		       /*  8 zero */
	uint64_t name[MR_COUNTER_NAME_BYTES / 8]; /* 16 text, ends with a zero byte at least */
};
static_assert(sizeof(struct mr_counter_entry) == 128, "counter entry size");

#define MR_COUNTERS_BYTES                                                                          \
	(sizeof(struct mr_counters_header) +                                                       \
	 MR_COUNTERS_MAX * (sizeof(struct mr_counter_entry) + sizeof(uint64_t)))

/* ---- the log: segment, group ----------------------------------------------------------------- */

/* First block of a segment file; the rest of the block is zero. Little-endian. */
struct mr_segment_header {
	uint32_t magic;		  /*  0 MR_SEGMENT_MAGIC */
	uint16_t version;	  /*  4 MR_FORMAT_VERSION */
	uint16_t reserved0;	  /*  6 zero */
	uint64_t segment_id;	  /*  8 random; seeds the groups' checksums */
	uint8_t topic_id[16];	  /* 16 */
	uint8_t log_id[16];	  /* 32 of the data directory */
	int32_t partition;	  /* 48 */
	uint32_t previous_crc;	  /* 52 of the last group before it; 0 for the first of a log */
	uint64_t base_offset;	  /* 56 offset of its first record */
	uint64_t base_position;	  /* 64 position of its first byte */
	uint64_t group_number;	  /* 72 of its first group */
	int64_t created_ms;	  /* 80 wall clock, for people */
	uint64_t file_bytes;	  /* 88 allocated */
	uint32_t reserved1;	  /* 96 zero */
	uint32_t crc;		  /* 100 CRC-32C of the bytes before it */
};
static_assert(sizeof(struct mr_segment_header) == 104, "segment header size");

/* What one durable write carries: this, batches back to back, zeros to the block. Little-endian. */
struct mr_group_header {
	uint32_t magic;		 /*  0 MR_GROUP_MAGIC */
	uint32_t bytes;		 /*  4 whole group, a multiple of MR_BLOCK_BYTES; 0 while it is
				    open */
	uint32_t batch_bytes;	 /*  8 after this header */
	uint32_t record_count;	 /* 12 records; base_offset + record_count is the next group's
				    base */
	uint64_t number;	 /* 16 one more than the group before */
	uint64_t base_offset;	 /* 24 */
	uint64_t flushed_offset; /* 32 flushed here when it was closed */
	int64_t append_ms;	 /* 40 wall clock when it was closed: retention by age */
	int32_t leader_epoch;	 /* 48 */
	uint32_t batch_count;	 /* 52 */
	uint32_t previous_crc;	 /* 56 crc of the group before */
	uint32_t crc;		 /* 60 see log/group.h */
};
static_assert(sizeof(struct mr_group_header) == 64, "group header size");
static_assert(offsetof(struct mr_group_header, crc) == 60, "no hidden padding");

/* ---- the socket: AF_UNIX, SOCK_SEQPACKET, one message a packet ------------------------------- */

#define MR_MESSAGE_BYTES_MAX 65536u
#define MR_MESSAGE_FDS_MAX   4

enum mr_message_type {
	MR_MESSAGE_HELLO = 1,	     /* client: struct mr_hello; engine: struct mr_hello_reply */
	MR_MESSAGE_OPEN_TOPIC = 2,   /* struct mr_open_topic; struct mr_topic_reply */
	MR_MESSAGE_OPEN_LANE = 3,    /* struct mr_open_lane; struct mr_lane_reply + 4 descriptors */
	MR_MESSAGE_LANE_MAPPED = 4,  /* struct mr_lane_id; struct mr_lane_id: the lane is in use
					now */
	MR_MESSAGE_HAND_BACK = 5,    /* struct mr_hand_back + 2 descriptors; struct mr_lane_reply +
					3 */
	MR_MESSAGE_CLOSE_LANE = 6,   /* struct mr_lane_id; struct mr_lane_id */
	MR_MESSAGE_OPEN_WAIT = 7,    /* empty; struct mr_wait_id + 2: wait page, eventfd */
	MR_MESSAGE_WAIT_MAPPED = 8,  /* struct mr_wait_id; struct mr_wait_id */
	MR_MESSAGE_ATTACH_TAIL = 9,  /* struct mr_attach_tail; struct mr_tail_reply + 1 */
	MR_MESSAGE_DETACH_TAIL = 10, /* struct mr_attach_tail; the same */
	MR_MESSAGE_FIND_SEGMENT = 11,/* struct mr_find_segment; struct mr_segment_reply + 1 */
	MR_MESSAGE_FIND_OFFSET = 12, /* struct mr_find_offset; struct mr_offset_reply */
	MR_MESSAGE_COMMIT = 13,	     /* struct mr_commit; empty: durable */
	MR_MESSAGE_COMMITTED = 14,   /* struct mr_commit; struct mr_offset_reply */
	MR_MESSAGE_ADMIN = 15,	     /* JSON text; JSON text (with MR_MESSAGE_MORE in all but the
					last) */
	MR_MESSAGE_TYPE_COUNT,
};

enum mr_message_flag {
	/* With request_id 0 and a status: the engine turns the client away, and hangs up. */
	MR_MESSAGE_REPLY = 1,
	MR_MESSAGE_MORE = 2, /* another packet of the same reply follows */
	/*
	 * Not a reply: request_id and type are 0. To every client, now and then while the engine
	 * does what takes long: whoever waits for an answer begins to wait anew.
	 */
	MR_MESSAGE_AT_WORK = 4,
};

/* A reply with status < 0 carries struct mr_error_reply instead of its own struct. */
struct mr_message_header {
	uint32_t magic;	     /*  0 MR_MESSAGE_MAGIC */
	uint16_t version;    /*  4 MR_PROTOCOL_VERSION */
	uint16_t type;	     /*  6 enum mr_message_type */
	uint32_t bytes;	     /*  8 whole message */
	uint32_t request_id; /* 12 chosen by the client, repeated in the reply */
	int32_t status;	     /* 16 0 or a negative errno, in replies */
	uint16_t flags;	     /* 20 enum mr_message_flag */
	uint16_t fd_count;   /* 22 descriptors that travel with it */
};
static_assert(sizeof(struct mr_message_header) == 24, "message header size");

struct mr_error_reply {
	char what[320];
	char why[160];
	char hint[200];
};

struct mr_hello {
	uint32_t format;	/* MR_FORMAT_VERSION of lanes that the client can write */
	uint32_t reserved;
	char client_name[64];	/* terminated */
};

struct mr_hello_reply {
	uint32_t format;
	uint32_t pid;		 /* of the engine */
	uint8_t log_id[16];	 /* of the data directory */
	uint64_t engine_start;	 /* counts the engine's starts on this data directory */
	char engine_version[16]; /* terminated */
};

struct mr_open_topic {
	char name[256];	 /* terminated */
	uint32_t create; /* 1: make it if it is not there and the configuration allows */
	uint32_t producer; /* 1: a producer id is wanted */
};

struct mr_topic_reply {
	uint8_t topic_id[16];
	int32_t partition_count;
	int32_t producer_epoch;
	int64_t producer_id; /* -1 where none was wanted */
};

/*
 * Reply's descriptors: client's memfd, engine's memfd, doorbell to the worker, doorbell to the
 * client.
 */
struct mr_open_lane {
	uint8_t topic_id[16];
	int64_t producer_id; /* from mr_topic_reply */
	int32_t partition;
	uint32_t acks;
	uint32_t lane_bytes; /* 0: the engine's default */
	uint32_t reserved;
};

struct mr_lane_reply {
	uint64_t lane;	     /* the engine's name for it on this connection */
	uint64_t number;     /* the next number to use: 0 in a new lane */
	uint32_t lane_bytes;
	uint32_t record_bytes_max;
	uint64_t lost; /* at all hand-backs of the lane, as far as is known yet */
};

struct mr_lane_id {
	uint64_t lane;
};

/*
 * Descriptors: client's memfd, old engine's memfd. Reply's: new engine's memfd and two doorbells.
 */
struct mr_hand_back {
	uint64_t published; /* numbers published so far, for the engine's report only */
};

struct mr_wait_id {
	uint64_t wait;
};

struct mr_attach_tail {
	uint8_t topic_id[16];
	int32_t partition;
	uint32_t reserved;
	uint64_t wait; /* whom to wake; 0: nobody */
};

struct mr_tail_reply {
	uint64_t tail_bytes;
	uint64_t log_start_offset;
	uint64_t log_end_offset;
	uint64_t committed_offset;
	int32_t leader_epoch;
	uint32_t reserved;
};

struct mr_find_segment {
	uint8_t topic_id[16];
	int32_t partition;
	uint32_t reserved;
	uint64_t offset;
};

/* Descriptor: the segment's file, for reading. -ERANGE names the oldest and the next offset. */
struct mr_segment_reply {
	uint64_t base_offset;
	uint64_t base_position;	 /* position of the file's first byte */
	uint64_t segment_id;	 /* seed of its groups' checksums */
	uint64_t group_position; /* a group start at or before the offset asked for */
	uint64_t group_offset;	 /* and its base offset */
	uint64_t end_position;	 /* end of the segment's last group; UINT64_MAX while it is
				    written */
};

struct mr_find_offset {
	uint8_t topic_id[16];
	int32_t partition;
	uint32_t reserved;
	int64_t timestamp_ms; /* the first offset that may have a record at or after it */
};

struct mr_offset_reply {
	uint64_t offset; /* MR_OFFSET_UNKNOWN where there is none */
};

struct mr_commit {
	uint8_t topic_id[16];
	int32_t partition;
	uint32_t reserved;
	uint64_t offset;
	char group[256]; /* terminated */
};

/*
 * ---- the feed: a TCP stream between two hosts; little-endian ---------------------------------
 *
 * A message is a header, 'head_bytes' of heads, 'payload_bytes' of record batches. A sender writes
 * the heads into one buffer and takes the batches from where they lie. A hello and a refusal keep
 * this form in every version, so that any two hosts can tell each other why not. Entries that fit
 * into the short header have that one and no other.
 */
#define MR_FEED_MAGIC	       0x4446524du /* MRFD */
#define MR_FEED_SHORT_MAGIC    0x724du	   /* Mr */
#define MR_FEED_VERSION	       2 /* spoken by this engine, and the oldest one it speaks */
#define MR_FEED_VERSION_OLDEST 1 /* which knows kinds up to MR_FEED_FORWARDED */
#define MR_FEED_VERSION_STATE  2 /* the first that knows ASK_STATE and STATE */
#define MR_FEED_VERSION_HELLO  1 /* of a hello's and a refusal's form, for ever */

#define MR_FEED_HEAD_BYTES_MAX	  (1u << 20)
#define MR_FEED_PAYLOAD_BYTES_MAX (64u << 20)
#define MR_FEED_ENTRIES_MAX	  65535u /* of a message */
#define MR_FEED_CHANNELS_MAX	  65536u /* of a connection: below it */
#define MR_FEED_NAME_MAX	  64u
#define MR_FEED_SENTENCE_MAX	  320u
#define MR_FEED_NOTICE_MAX	  (1u << 20)
#define MR_FEED_STATE_BYTES_MAX	  (1u << 30)
#define MR_FEED_STATE_PIECE_MAX	  (256u << 10) /* all but the last are as long */

enum mr_feed_message {
	MR_FEED_HELLO = 1,   /* the first, both ways: struct mr_feed_hello_head and a name */
	MR_FEED_REFUSE = 2,  /* the last: struct mr_feed_refuse_head and a sentence */
	MR_FEED_ENTRIES = 3, /* entries' heads, then the batches of all of them in the same order */
	MR_FEED_NOTICE = 4,  /* no heads; text: 1 to MR_FEED_NOTICE_MAX bytes, none of them 0 */
	MR_FEED_ALIVE = 5,   /* nothing else; only where both have MR_FEED_CAN_SAY_ALIVE */
};

struct mr_feed_header {
	uint32_t magic;		/*  0 MR_FEED_MAGIC */
	uint8_t version;	/*  4 the one agreed on; of a hello and a refusal _VERSION_HELLO */
	uint8_t kind;		/*  5 enum mr_feed_message */
	uint16_t entry_count;	/*  6 0 but in MR_FEED_ENTRIES */
	uint32_t head_bytes;	/*  8 behind this header */
	uint32_t payload_bytes; /* 12 behind the heads: batches, or text */
	uint32_t head_crc;	/* 16 CRC-32C of this header with 0 here, and the heads */
	uint32_t payload_crc;	/* 20 CRC-32C of what is behind the heads; 0 without */
};
static_assert(sizeof(struct mr_feed_header) == 24, "feed header size");

/* Of MR_FEED_ENTRIES alone. */
struct mr_feed_short_header {
	uint16_t magic;		/*  0 MR_FEED_SHORT_MAGIC */
	uint8_t version;	/*  2 the one agreed on */
	uint8_t kind;		/*  3 MR_FEED_ENTRIES */
	uint8_t entry_count;	/*  4 */
	uint8_t head_bytes;	/*  5 behind this header */
	uint16_t payload_bytes; /*  6 behind the heads */
	uint32_t head_crc;	/*  8 as above */
	uint32_t payload_crc;	/* 12 */
};
static_assert(sizeof(struct mr_feed_short_header) == 16, "feed short header size");

/* Bits of 'capabilities'. */
enum mr_feed_capability {
	MR_FEED_TAKES_COMPRESSED = 1, /* FORWARD may carry batches that are compressed */
	MR_FEED_CAN_SAY_ALIVE = 2,    /* it says something each second, so that its silence is
					 known; then silence of a partition means nothing */
};

/* Behind it the name that people gave the node, printable ASCII. */
struct mr_feed_hello_head {
	uint8_t version_min;	/*  0 that the node speaks: the lower of both maxima is spoken */
	uint8_t version_max;	/*  1 */
	uint16_t name_bytes;	/*  2 1 to MR_FEED_NAME_MAX */
	uint32_t node;		/*  4 */
	uint8_t cluster_id[16]; /*  8 */
	uint8_t log_id[16];	/* 24 of the data directory */
	uint64_t incarnation;	/* 40 */
	uint64_t capabilities;	/* 48 what both have counts; unknown bits are nobody's */
};
static_assert(sizeof(struct mr_feed_hello_head) == 56, "feed hello size");

/* Why; a newer engine may have more of them: the sentence says it all. */
enum mr_feed_refusal_code {
	MR_FEED_REFUSED_VERSION = 1,  /* no version that both speak */
	MR_FEED_REFUSED_CLUSTER = 2,  /* another cluster */
	MR_FEED_REFUSED_NODE = 3,     /* not a node that is expected here */
	MR_FEED_REFUSED_TWIN = 4,     /* a newer incarnation, or a second one, of that node */
	MR_FEED_REFUSED_MESSAGE = 5,  /* what it said is no message, or not its turn */
	MR_FEED_REFUSED_STOPPING = 6, /* the engine ends */
	MR_FEED_REFUSED_SILENT = 7,   /* it said nothing for too long */
};

/* Behind it one sentence, printable ASCII. */
struct mr_feed_refuse_head {
	uint32_t code;		 /* 0 enum mr_feed_refusal_code; not 0 */
	uint16_t sentence_bytes; /* 4 1 to MR_FEED_SENTENCE_MAX */
	uint16_t reserved;	 /* 6 zero */
};
static_assert(sizeof(struct mr_feed_refuse_head) == 8, "feed refusal size");

/* What one host says to another about one partition. */
enum mr_feed_kind {
	MR_FEED_ASK = 1,   /* follower: my last epoch, my log end; where do our logs part? */
	MR_FEED_ANSWER,	   /* leader: the greatest epoch up to yours that I have, and its end */
	MR_FEED_FETCH,	   /* follower: we agree; send from my log end on */
	MR_FEED_BATCHES,   /* leader: record batches, byte for byte */
	MR_FEED_FLUSHED,   /* follower: on stable storage here up to an offset */
	MR_FEED_WATERMARK, /* leader: high watermark, log start, how far was sent; also its
			      heartbeat */
	MR_FEED_STALE,	   /* either: there is a newer leader epoch than yours */
	MR_FEED_OPEN,	   /* either: which partition a channel is; the protocol never sees it */
	MR_FEED_FORWARD,   /* follower: record batches of its own producers, for the leader's log */
	MR_FEED_FORWARDED, /* leader: how much of that it will take, or what it refused */
	/* from version 2 on */
	MR_FEED_ASK_STATE, /* follower: I begin anew; the piece of your state from a byte on */
	MR_FEED_STATE,	   /* leader: it, as payload: what its log says no longer */
	MR_FEED_KIND_COUNT,
};

/*
 * An entry's head, back to back with others, of numbers: 7 bits a byte, the low ones first, bit 7
 * says that more follow; never longer than need be.
 *
 *	kind (one byte), and MR_FEED_TERM_SAID	enum mr_feed_kind
 *	channel					the partition that an OPEN here gave it
 *	[leader epoch, session]			the *term*: the sender's epoch (STALE: the newer
 *						one, session 0). Without MR_FEED_TERM_SAID it is
 *						that of the entry before on this channel, from
 *						this sender; said is only one that differs
 *	fields of the kind:
 *
 *	OPEN		16 bytes of topic id, partition; it has no term and changes none
 *	ASK		offset (log end), last epoch + 1 (0: none)
 *	ANSWER		offset (where that epoch ends), log start, last epoch + 1 (0: none)
 *	FETCH		offset (log end), credit: bytes of batches of this session, in all
 *	FLUSHED		offset (flushed), credit
 *	BATCHES		bytes of its batches, high watermark; both offsets are what the batches say
 *	WATERMARK	offset (all below was sent), by how much the high watermark is lower, log
 *			start. By how much: twice that; if it is higher, twice as much less 1
 *	STALE		-
 *	FORWARD		bytes of its batches
 *	FORWARDED	credit of this session, in all; whose batch was refused, else 0; sequence of
 *			the record that was due, else 0; enum mr_feed_forward_refusal
 *	ASK_STATE	offset of the state whose pieces came already, at
 *	STATE		offset, log start, at, bytes in all
 */
#define MR_FEED_TERM_SAID 0x80u

/*
 * Offsets in its batches count from 0, their leader epochs are 0: the leader sets both. The session
 * is the forwarder's own: another one begins at what was not answered yet. Before it hears of more
 * it may send MR_FEED_FORWARD_CREDIT bytes in a session, and one entry beyond.
 */
#define MR_FEED_FORWARD_CREDIT (256u << 10)

/* Why a producer's batch was not taken; then nothing more of its session is. */
enum mr_feed_forward_refusal {
	MR_FEED_FORWARD_TAKEN = 0,
	MR_FEED_FORWARD_GAP = 1,    /* records before it are missing; 'sequence' was due */
	MR_FEED_FORWARD_FENCED = 2, /* its producer has written under a newer epoch since */
	MR_FEED_FORWARD_BAD = 3,    /* larger than the leader takes, or no batch of a producer */
	MR_FEED_FORWARD_REFUSAL_COUNT,
};

/*
 * A state's offset: everything below it is committed; it is not below the log start, where the
 * follower's log is to begin. Its bytes in all are 1 to MR_FEED_STATE_BYTES_MAX. The piece's bytes
 * are the payload: the rest of the whole, or MR_FEED_STATE_PIECE_MAX. Together the pieces are a
 * partition's entry as in a checkpoint (engine/log/checkpoint.c), which begins with magic, version
 * and size, and ends with a checksum.
 */

/* ---- checkpoint of a pipeline ---------------------------------------------------------------
 */

#define MR_PIPELINE_FILE_MAGIC	 0x4b50524du /* "MRPK" */
#define MR_PIPELINE_FILE_VERSION 1
#define MR_PIPELINE_FILE_STATE	 4096u /* where the state begins */

/*
 * First bytes of a checkpoint of one input partition of a pipeline. Little endian. Behind it zeros
 * up to MR_PIPELINE_FILE_STATE, then the state of the pipeline's keys (pipeline.h). It stands for
 * all that was said about input records before 'offset': frame numbers below number + added.
 */
struct mr_pipeline_file {
	uint32_t magic;		 /*   0 MR_PIPELINE_FILE_MAGIC */
	uint32_t version;	 /*   4 MR_PIPELINE_FILE_VERSION */
	uint8_t pipeline_id[16]; /*   8 */
	uint8_t input_id[16];	 /*  24 of the input topic */
	int32_t partition;	 /*  40 */
	uint32_t rule_version;	 /*  44 from 0 */
	uint64_t offset;	 /*  48 of the next input record */
	uint64_t numbers[3];	 /*  56 of the next output, alert, rejected record, as state says */
	uint64_t added[3];	 /*  80 to those, for the frame's number */
	uint64_t skipped;	 /* 104 input records that were gone before they were read */
	uint64_t state_bytes;	 /* 112 */
	uint32_t state_crc;	 /* 120 CRC-32C */
	uint32_t crc;		 /* 124 CRC-32C of the bytes before */
};
static_assert(sizeof(struct mr_pipeline_file) == 128, "pipeline checkpoint header size");
static_assert(offsetof(struct mr_pipeline_file, crc) == 124, "no hidden padding");

#endif
