/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A field of a JSON value by its dotted path, and numbers as text. Pure; any thread.
 */
#ifndef MR_JSON_FIELD_H
#define MR_JSON_FIELD_H

#include <jansson.h>

#include "error.h"

#define MR_JSON_NUMBER_BYTES 32

/*
 * "a.b.c": member c of member b of member a. In a list a step is the place, from 0. A member whose
 * own name has dots is found where the whole rest of the path is a name. 0 and a borrowed value, or
 * -EBADMSG: there is none, or it is null.
 */
int mr_json_find(const json_t *root, const char *path, const json_t **out, struct mr_error *err);

/* The shortest decimal text that gives the same number again; -EINVAL for what is no number. */
int mr_json_number_text(const json_t *value, char text[MR_JSON_NUMBER_BYTES]);

#endif
