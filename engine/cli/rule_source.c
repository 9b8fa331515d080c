/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules out of files and out of engines (rule_source.h).
 */
#include "rule_source.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ask.h"
#include "base/nearest.h"
#include "connection.h"

#define QUOTED_BYTES_MAX (56u << 10) /* beside a path and weights in a message of 64 KiB */

static int refuse_file(const char *path, int error, struct mr_error *err)
{
	mr_error_set(err, -error, "cannot read the rule '%.160s'", path);
	mr_error_why(err, "%s", strerrordesc_np(error));
	return mr_error_hint(err, "name a rule's file, or - for standard input");
}

static int read_all(FILE *file, const char *path, char **text, size_t *bytes, struct mr_error *err)
{
	char *buffer = malloc(MR_RULE_FILE_MAX + 2);
	size_t count;

	if (!buffer)
		return mr_error_set(err, -ENOMEM, "no memory for the rule %s", path);
	errno = 0;
	count = fread(buffer, 1, MR_RULE_FILE_MAX + 1, file);
	if (ferror(file)) {
		int r = refuse_file(path, errno ? errno : EIO, err);

		free(buffer);
		return r;
	}
	buffer[count] = '\0';
	*text = buffer;
	*bytes = count; /* what is too long is refused by who reads it as a rule */
	return 0;
}

/* Bytes that jansson makes of 'text'. */
static size_t quoted_bytes(const char *text)
{
	size_t count = 0;

	for (; *text; text++)
		if (strchr("\"\\\n\r\t\b\f", *text))
			count += 2;
		else
			count += (unsigned char)*text < 0x20 ? 6 : 1;
	return count;
}

/* Else it is good until somebody wants to run it. */
static int check_quoted(const char *path, const char *text, struct mr_error *err)
{
	size_t bytes = quoted_bytes(text);

	if (bytes <= QUOTED_BYTES_MAX)
		return 0;
	mr_error_set(err, -EINVAL, "%.160s: the rule has %zu bytes quoted, expected at most %u",
		     path, bytes, QUOTED_BYTES_MAX);
	mr_error_why(err,
		     "it goes to the engine in one message, in which each quote, backslash and "
		     "end of a line is two");
	return mr_error_hint(err, "shorten its comments");
}

int mr_rule_source_file(const char *path, struct mr_rule **out, char **text, struct mr_error *err)
{
	bool standard = strcmp(path, "-") == 0;
	FILE *file = standard ? stdin : fopen(path, "re");
	char *buffer = NULL;
	size_t bytes = 0;
	int r;

	if (!file)
		return refuse_file(path, errno, err);
	r = read_all(file, path, &buffer, &bytes, err);
	if (!standard)
		(void)fclose(file); /* only read */
	if (standard)
		path = "standard input";
	if (r == 0)
		r = check_quoted(path, buffer, err);
	if (r == 0)
		r = mr_rule_read(buffer, bytes, path, out, err);
	if (r == 0 && text)
		*text = buffer;
	else
		free(buffer);
	return r;
}

/* Of those that run, the one whose name is near; else where to look. */
static int refuse_name(const json_t *rows, const char *name, struct mr_error *err)
{
	struct mr_nearest nearest;
	size_t i;
	json_t *row;

	mr_error_set(err, -ENOENT, "no pipeline '%s' runs here", name);
	mr_nearest_begin(&nearest, name, strlen(name));
	json_array_foreach(rows, i, row) mr_nearest_offer(&nearest, mr_ask_word(row, "name"),
							  strlen(mr_ask_word(row, "name")));
	if (mr_nearest_hint(&nearest, err))
		return -ENOENT;
	return mr_error_hint(err, "millrace rule list shows which do; millrace rule add FILE "
				  "starts one");
}

/* The reply's rows are definitions as the catalogue has them (pipelines.h). */
static int choose(const json_t *rows, const char *name, struct mr_definition **out,
		  struct mr_error *err)
{
	size_t i;
	json_t *row;

	if (!name && json_array_size(rows) > 1) {
		mr_error_set(err, -EINVAL, "%zu pipelines run here: which is meant?",
			     json_array_size(rows));
		return mr_error_hint(err, "name it with --rule; millrace rule list shows them");
	}
	json_array_foreach(rows, i, row)
	{
		if (!name || strcmp(mr_ask_word(row, "name"), name) == 0)
			return mr_definition_from_json(row, out, err);
	}
	if (name)
		return refuse_name(rows, name, err);
	mr_error_set(err, -ENOENT, "no pipeline runs here");
	return mr_error_hint(err, "start one: millrace rule add FILE");
}

int mr_rule_source_engine(struct mr_connection *connection, const char *name,
			  struct mr_definition **out, struct mr_error *err)
{
	json_error_t problem;
	json_t *reply;
	char *text;
	int r = mr_connection_admin(connection, "{\"do\":\"rule.describe\"}", &text, err);

	if (r < 0)
		return r;
	reply = json_loads(text, 0, &problem);
	free(text);
	if (!reply)
		return mr_error_set(err, -EPROTO, "the engine's answer is no JSON: %s",
				    problem.text);
	r = choose(json_object_get(reply, "pipelines"), name, out, err);
	json_decref(reply);
	return r;
}
