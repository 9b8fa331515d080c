/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A question to the engine: JSON there, JSON back, shown as it is or in words.
 */
#ifndef MR_ASK_H
#define MR_ASK_H

#include <argp.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct mr_ask {
	const char *socket;  /* NULL: the usual places */
	const char *command; /* names the client */
	json_t *request;     /* taken; NULL: some text in it is no UTF-8 */
	bool json;	     /* show the answer as it is */
	void (*print)(const json_t *reply, const void *arg);
	int (*check)(const json_t *reply, const void *arg); /* the exit code; NULL: 0 */
	/* True: it is not as it will be in a moment. Then for up to two seconds 'again' is asked.
	 */
	bool (*early)(const json_t *reply);
	json_t *again; /* taken; NULL: never */
	/* What is refused for a moment (-EAGAIN), or on its way (-EINPROGRESS), is asked again for
	 * so long, and why it was is said meanwhile. */
	uint32_t patience_ms;
	json_t *underway; /* taken; asked in place of 'request' once that is on its way */
	const void *arg;
};

/* Asks and shows. Returns the exit code. */
int mr_cli_ask(const struct mr_ask *ask);

/* What a command is given that only asks: argp's options and parser, and what they fill in. */
struct mr_ask_arguments {
	const char *socket;
	bool json;
};
extern const struct argp_option mr_ask_options[];
error_t mr_ask_parse(int key, char *arg, struct argp_state *state);

/* Of an object in an answer: 0 and "" where there is none. */
json_int_t mr_ask_number(const json_t *object, const char *name);
const char *mr_ask_word(const json_t *object, const char *name);
/* "a, b" of a list of words; "none". */
const char *mr_ask_words(const json_t *list, char *room, size_t bytes);
/* Warns of those that end soon, on standard output. */
void mr_ask_certificates(const json_t *list);
/* "12", "1.5 k", "3.2 M": at most 8 characters and the unit's. */
const char *mr_ask_amount(json_int_t value, char room[24]);
/* The same of bytes: "12 B", "1.5 kB". */
const char *mr_ask_bytes(json_int_t value, char room[24]);
/* Compressed bytes beside what they would be: "0.31 of 1.5 kB"; "nothing yet" of nothing. */
const char *mr_ask_ratio(json_int_t bytes, json_int_t plain_bytes, char room[48]);
/* "0 ms", "3.2 s", "5 min", "2.1 h". */
const char *mr_ask_span(json_int_t ms, char room[24]);

#endif
