/* SPDX-License-Identifier: Apache-2.0 */
/* Prints the records of the topic 'demo' as they come, from the oldest on, until 2 s bring none. */
#include <inttypes.h>
#include <millrace.h>
#include <stdio.h>

int main(void)
{
	struct mr_consumer_options options = {.size = sizeof(options), .topic = "demo"};
	const struct mr_message *messages;
	struct mr_connection *connection;
	struct mr_consumer *consumer;
	struct mr_error err;
	int count;

	if (mr_connect(NULL, &connection, &err) < 0 ||
	    mr_consumer_open(connection, &options, &consumer, &err) < 0)
		return fprintf(stderr, "%s\n%s\n%s\n", err.what, err.why, err.hint), 1;
	while ((count = mr_consumer_poll(consumer, 2000, &messages)) > 0)
		for (int i = 0; i < count; i++)
			printf("%" PRIu64 " %.*s %.*s\n", messages[i].offset,
			       messages[i].key_bytes < 0 ? 0 : messages[i].key_bytes,
			       (const char *)messages[i].key,
			       messages[i].value_bytes < 0 ? 0 : messages[i].value_bytes,
			       (const char *)messages[i].value);
	if (count < 0)
		mr_consumer_error(consumer, &err), fprintf(stderr, "%s\n%s\n", err.what, err.why);
	mr_consumer_close(consumer);
	mr_disconnect(connection);
	return count < 0;
}
