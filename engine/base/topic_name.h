/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a topic may be called. Pure.
 */
#ifndef MR_TOPIC_NAME_H
#define MR_TOPIC_NAME_H

#include "error.h"

/* 0, or -EINVAL naming the letter or length. Names that begin with "__" are the engine's own. */
int mr_topic_check_name(const char *name, struct mr_error *err);

#endif
