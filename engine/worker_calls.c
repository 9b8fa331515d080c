/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control thread's side of a worker: requests to it, answers from it, and how the control
 * thread sleeps until there are some. Requests that the mailbox has no place for are held here, in
 * their order. Runs on the control thread.
 */
#include <errno.h>

#include "base/mailbox.h"
#include "worker_state.h"

static void send_held(struct mr_worker *worker)
{
	while (worker->held) {
		struct mr_worker_message *message = worker->held, *next = message->next;

		if (mr_mailbox_send(worker->requests, message) < 0)
			return;
		worker->held = next; /* the message is the worker's now */
	}
	worker->held_end = &worker->held;
}

int mr_worker_post(struct mr_worker *worker, struct mr_worker_message *message)
{
	send_held(worker);
	return worker->held ? -EAGAIN : mr_mailbox_send(worker->requests, message);
}

void mr_worker_send(struct mr_worker *worker, struct mr_worker_message *message)
{
	message->next = NULL;
	if (mr_worker_post(worker, message) == 0)
		return;
	*worker->held_end = message;
	worker->held_end = &message->next;
}

struct mr_worker_message *mr_worker_take(struct mr_worker *worker)
{
	if (worker->held)
		send_held(worker);
	return mr_mailbox_receive(worker->answers);
}

int mr_worker_fd(const struct mr_worker *worker)
{
	return mr_mailbox_fd(worker->answers);
}

bool mr_worker_sleep(struct mr_worker *worker)
{
	return mr_mailbox_sleep(worker->answers);
}

void mr_worker_wake(struct mr_worker *worker)
{
	mr_mailbox_wake(worker->answers);
}

int mr_worker_compressor(struct mr_worker *worker, uint32_t batch_bytes_max,
			 struct mr_compressor **out, struct mr_error *err)
{
	int r = 0;

	if (!worker->compressor)
		r = mr_compressor_new(batch_bytes_max, &worker->compressor, err);
	*out = worker->compressor;
	return r;
}

int mr_worker_bells(const struct mr_worker *worker)
{
	return worker->bells;
}
