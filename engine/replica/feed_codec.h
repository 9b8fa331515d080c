/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The feed's messages to bytes and back (format.h, "the feed"). Pure: no socket, no clock, no
 * thread, no allocation; fuzzed, since the bytes come from another host.
 *
 * A sender begins a message in a buffer of its own, adds entries, and ends it with the places where
 * the batches lie: what it sends is that buffer, then those places, which were not copied.
 *
 * A receiver decodes a header first, of 16 or of 24 bytes. That bounds what is still to come,
 * before anything is allocated or waited for; then it has the rest, of exactly that many bytes,
 * decoded. Whatever is wrong gives -EBADMSG and a sentence with the field, what was found and what
 * was expected; the connection cannot go on after it.
 */
#ifndef MR_FEED_CODEC_H
#define MR_FEED_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "error.h"
#include "millrace/format.h"
#include "protocol.h"

#define MR_FEED_HEADER_BYTES	 ((uint32_t)sizeof(struct mr_feed_header)) /* the long one */
#define MR_FEED_HEADER_BYTES_MIN ((uint32_t)sizeof(struct mr_feed_short_header))
#define MR_FEED_HELLO_BYTES_MAX	 (24u + 56u + MR_FEED_NAME_MAX)
#define MR_FEED_REFUSE_BYTES_MAX (24u + 8u + MR_FEED_SENTENCE_MAX)
#define MR_FEED_ENTRY_BYTES_MAX	 48u /* of an entry's head, and no less than that of any */

/* ---- hello and refusal ---- */

struct mr_feed_hello {
	uint8_t version_min;
	uint8_t version_max;
	uint32_t node; /* below MR_NODES_MAX */
	uint8_t cluster_id[16];
	uint8_t log_id[16];
	uint64_t incarnation;
	uint64_t capabilities;
	char name[MR_FEED_NAME_MAX + 1]; /* as mr_feed_name_fits() */
};

struct mr_feed_refusal {
	uint32_t code; /* enum mr_feed_refusal_code, or one that this engine does not know */
	char sentence[MR_FEED_SENTENCE_MAX + 1];
};

/* 1 to MR_FEED_NAME_MAX printable ASCII characters: only such a name can be said on the feed. */
bool mr_feed_name_fits(const char *name);

/* A whole message each; its size. What is not printable in the sentence, or too long, is cut. */
size_t mr_feed_encode_hello(const struct mr_feed_hello *hello,
			    uint8_t bytes[MR_FEED_HELLO_BYTES_MAX]);
size_t mr_feed_encode_refusal(enum mr_feed_refusal_code code, const char *sentence,
			      uint8_t bytes[MR_FEED_REFUSE_BYTES_MAX]);

/*
 * What two hosts speak: the lower of the two highest versions, and the capabilities that both have.
 * -EPROTONOSUPPORT: one of them does not speak that version any more.
 */
int mr_feed_agree(const struct mr_feed_hello *mine, const struct mr_feed_hello *theirs,
		  uint8_t *version, uint64_t *capabilities, struct mr_error *err);

/* ---- notices ---- */

/* What goes before 'count' bytes of text. */
void mr_feed_encode_notice(uint8_t version, const char *text, size_t count,
			   uint8_t bytes[MR_FEED_HEADER_BYTES]);
/* Then 'body' is the text, all 'count' bytes of it, without a zero. */
int mr_feed_decode_notice(const struct mr_feed_header *header, const uint8_t *body, size_t count,
			  struct mr_error *err);

/* ---- signs of life ---- */

/* A whole message. */
void mr_feed_encode_alive(uint8_t version, uint8_t bytes[MR_FEED_HEADER_BYTES]);
int mr_feed_decode_alive(const struct mr_feed_header *header, struct mr_error *err);

/* ---- entries ---- */

/* What was said last on a channel, one way: entries under the same one do not say it again. */
struct mr_feed_term {
	int32_t leader_epoch;
	uint32_t session;
	bool said;
};

/* By channel, of a connection and of those that the other opened; zeros at first. */
struct mr_feed_terms {
	struct mr_feed_term *of;
	uint32_t count;
};

/* An entry and whose it is. What its kind does not use is zero. */
struct mr_feed_item {
	uint32_t channel;
	struct mr_feed_entry entry;
	uint8_t topic_id[16];	   /* OPEN: what the channel is */
	int32_t partition;	   /* OPEN */
	uint64_t plain_bytes;	   /* of batches, decoded: what they would be without compression */
	const uint8_t *batches;	   /* BATCHES, decoded: entry.bytes of them, borrowed; STATE: the
				      piece's */
	struct mr_feed_term *term; /* to be said: the channel's, which may change. NULL: as if
				      nothing had been said there */
};

/* A message of entries in the making; owned by the sending thread. */
struct mr_feed_writer {
	uint8_t *bytes; /* borrowed: the header, then heads */
	uint32_t head_bytes_max;
	uint32_t head_bytes;
	uint32_t payload_bytes;
	uint32_t entry_count;
	uint8_t version;
};

/* Whether a peer of that version knows such entries; else they are not said to it. */
bool mr_feed_speaks(uint8_t version, enum mr_feed_kind kind);
/* In 'capacity' bytes at 'bytes': of a header and an entry's head at least. */
void mr_feed_begin(struct mr_feed_writer *writer, uint8_t version, uint8_t *bytes, size_t capacity);
/*
 * Offsets and 'batches' of a BATCHES entry are not looked at: its bytes say where they stand.
 * 0; -ENOSPC: no room for it, or too many entries or batches (nothing was added).
 */
int mr_feed_add(struct mr_feed_writer *writer, const struct mr_feed_item *item);
/*
 * After one entry at least. 'pieces' are the batches of all entries in order, in as many places as
 * one likes. Returns how many bytes at writer->bytes are to be sent before them.
 */
uint32_t mr_feed_end(struct mr_feed_writer *writer, const struct iovec *pieces, size_t piece_count);

/* ---- decoding ---- */

/*
 * A header in host order, as the long one, its lengths within the bounds of its kind. 'agreed' is
 * the version that both speak; 0: not known yet, so only a hello or a refusal is let in. 0;
 * -EAGAIN: more of it is to come; -EBADMSG.
 */
int mr_feed_decode_header(const uint8_t *bytes, size_t available, uint8_t agreed,
			  struct mr_feed_header *header, struct mr_error *err);

/* What it takes, or took, on the wire: which of the two forms it has follows from what it says. */
uint32_t mr_feed_header_bytes(const struct mr_feed_header *header);

/* What follows the header. */
static inline size_t mr_feed_body_bytes(const struct mr_feed_header *header)
{
	return (size_t)header->head_bytes + header->payload_bytes;
}

/* 'body' is all that follows the decoded header, 'count' bytes; anything else is refused. */
int mr_feed_decode_hello(const struct mr_feed_header *header, const uint8_t *body, size_t count,
			 struct mr_feed_hello *hello, struct mr_error *err);
int mr_feed_decode_refusal(const struct mr_feed_header *header, const uint8_t *body, size_t count,
			   struct mr_feed_refusal *refusal, struct mr_error *err);

/* Walks the entries of a message, in order. 'body' must stay and not change until it is over. */
struct mr_feed_reader {
	const uint8_t *at;	/* the next entry's head, or number of it */
	const uint8_t *payload; /* end of the heads; the next entry's batches follow from... */
	const uint8_t *batches; /* ...here on */
	const uint8_t *payload_end;
	struct mr_feed_terms *terms; /* borrowed */
	uint32_t left;		     /* entries not read yet */
	enum mr_feed_kind last_kind; /* that the version knows */
};

/* Both checksums are right from here on. 'terms' may grow between two entries, when one opens. */
int mr_feed_read(struct mr_feed_reader *reader, const struct mr_feed_header *header,
		 const uint8_t *body, size_t count, struct mr_feed_terms *terms,
		 struct mr_error *err);
/*
 * 1 and the next entry; 0 after the last; -EBADMSG. Batches are whole, their offsets dense, their
 * leader epochs none above the entry's; entry.offset and entry.end_offset are theirs. Their own
 * checksums (mr_batch_check_crc()) are not looked at: the message's covers them.
 */
int mr_feed_next(struct mr_feed_reader *reader, struct mr_feed_item *item, struct mr_error *err);

#endif
