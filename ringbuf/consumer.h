/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the engine asks of a consumer besides millrace.h: the control batches of its topic, which
 * the engine writes into logs for itself and which applications never see.
 */
#ifndef MR_CONSUMER_H
#define MR_CONSUMER_H

#include <stdbool.h>

#include "millrace.h"

/* From the next poll on the records of control batches are handed out, too: each batch alone. */
void mr_consumer_want_control(struct mr_consumer *consumer);
/* Whether what the last poll handed out is of a control batch. */
bool mr_consumer_got_control(const struct mr_consumer *consumer);

#endif
