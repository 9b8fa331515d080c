/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The feed's doors: a mailbox each way between the feed's thread and each worker, and the control
 * thread. A mailbox may be full; what finds no room then waits with its sender, in order, and
 * follows. Whoever has something waiting does not sleep.
 */
#include <errno.h>
#include <stdlib.h>

#include "check.h"
#include "feed_inside.h"

#define BOX_CAPACITY 8192u

/* ---- queues ---- */

void feed_list_add(struct feed_list *list, struct mr_feed_mail *mail)
{
	mail->next = NULL;
	if (list->last)
		list->last->next = mail;
	else
		list->first = mail;
	list->last = mail;
}

struct mr_feed_mail *feed_list_take(struct feed_list *list)
{
	struct mr_feed_mail *mail = list->first;

	if (!mail)
		return NULL;
	list->first = mail->next;
	if (!list->first)
		list->last = NULL;
	mail->next = NULL;
	return mail;
}

/* ---- ways ---- */

int feed_way_open(struct feed_way *way, enum mr_mailbox_bell bell, struct mr_error *err)
{
	return mr_mailbox_open(BOX_CAPACITY, bell, &way->box, err);
}

void feed_way_close(struct feed_way *way)
{
	mr_mailbox_close(way->box);
	*way = (struct feed_way){0};
}

bool feed_way_push(struct feed_way *way)
{
	while (way->waiting.first) {
		struct mr_feed_mail *next = way->waiting.first->next;

		/* The receiver's from there on: its 'next' is not ours to read any more. */
		if (mr_mailbox_send(way->box, way->waiting.first) < 0)
			return false;
		way->waiting.first = next;
	}
	way->waiting.last = NULL;
	return true;
}

void feed_way_send(struct feed_way *way, struct mr_feed_mail *mail)
{
	mail->next = NULL;
	if (!feed_way_push(way) || mr_mailbox_send(way->box, mail) < 0)
		feed_list_add(&way->waiting, mail);
}

void feed_way_send_back(struct feed_way *way, struct mr_feed_mail *mail)
{
	mail->next = NULL;
	if (!feed_way_push(way) || mr_mailbox_send_quietly(way->box, mail) < 0)
		feed_list_add(&way->waiting, mail);
}

/* ---- a worker's door ---- */

void mr_feed_port_send(struct mr_feed_port *port, struct mr_feed_parcel *parcel)
{
	parcel->mail.kind = MR_MAIL_PARCEL;
	parcel->mail.worker = port->worker;
	feed_way_send(&port->to_feed, &parcel->mail);
}

void mr_feed_port_return(struct mr_feed_port *port, struct mr_feed_delivery *delivery)
{
	mr_assert(delivery->mail.kind == MR_MAIL_DELIVERY);
	feed_way_send_back(&port->to_feed, &delivery->mail);
}

struct mr_feed_mail *mr_feed_port_receive(struct mr_feed_port *port)
{
	(void)feed_way_push(&port->to_feed); /* the rest follows with the next look */
	return mr_mailbox_receive(port->to_worker.box);
}

int mr_feed_port_fd(const struct mr_feed_port *port)
{
	return mr_mailbox_fd(port->to_worker.box);
}

bool mr_feed_port_sleep(struct mr_feed_port *port, bool parcels)
{
	if (!feed_way_push(&port->to_feed))
		return false;
	return parcels ? mr_mailbox_sleep(port->to_worker.box)
		       : mr_mailbox_sleep_deeply(port->to_worker.box);
}

void mr_feed_port_wake(struct mr_feed_port *port)
{
	mr_mailbox_wake(port->to_worker.box);
}

/* ---- notices ---- */

void feed_notice_drop(struct feed_notice *notice)
{
	if (notice && --notice->references == 0)
		free(notice);
}
