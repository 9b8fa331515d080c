/* SPDX-License-Identifier: Apache-2.0 */
/* Publishes ten readings into the topic 'demo' and says where the log has them. */
#include <inttypes.h>
#include <millrace.h>
#include <stdio.h>

int main(void)
{
	struct mr_producer_options options = {.size = sizeof(options), .topic = "demo"};
	struct mr_connection *connection;
	struct mr_producer *producer;
	struct mr_receipt receipt;
	struct mr_error err;

	if (mr_connect(NULL, &connection, &err) < 0 ||
	    mr_producer_open(connection, &options, &producer, &err) < 0)
		return fprintf(stderr, "%s\n%s\n%s\n", err.what, err.why, err.hint), 1;
	for (int i = 0; i < 10; i++) {
		void *value;

		if (mr_producer_reserve(producer, "sensor-7", 8, 16, MR_TIMESTAMP_NOW, &value) == 0)
			snprintf(value, 16, "%15d", 20 + i);
	}
	printf("published %d records\n", mr_producer_publish(producer));
	if (mr_producer_flush(producer, 5000) < 0)
		mr_producer_error(producer, &err), fprintf(stderr, "%s\n%s\n", err.what, err.why);
	while (mr_producer_receipts(producer, &receipt, 1) == 1)
		printf("%" PRIu64 " records are durable from offset %" PRIu64 "\n", receipt.count,
		       receipt.base_offset);
	mr_producer_close(producer, 1000);
	mr_disconnect(connection);
	return 0;
}
