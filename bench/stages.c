/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pipeline's work up to a stage, timed (stages.h). Runs on the question's thread, owns nothing
 * beyond a call.
 */
#include "stages.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "pipeline.h"

#define POLL_MS 5000

struct core {
	struct mr_rule *rule;
	struct mr_program *program;
	struct mr_pipeline *pipeline;
	struct mr_parser *parser;
};

static void close_core(struct core *core)
{
	mr_parser_free(core->parser);
	mr_pipeline_free(core->pipeline);
	mr_program_free(core->program);
	mr_rule_free(core->rule);
}

/* close_core() in any case. */
static int open_core(const struct mr_bench_stage_input *input, const char *rule, const char *format,
		     struct core *core, struct mr_error *err)
{
	char text[2048];
	int r;

	snprintf(text, sizeof(text),
		 "pipeline: bench\ninput: %s\n%s\n%s\noutput: {topic: o, format: %s}\n",
		 input->topic, input->parse, rule, format);
	*core = (struct core){0};
	r = mr_rule_read(text, strlen(text), "bench", &core->rule, err);
	if (r == 0)
		r = mr_program_new(core->rule, &core->program, err);
	if (r == 0)
		r = mr_pipeline_new(core->program, 0, &core->pipeline, err);
	if (r == 0)
		r = mr_parser_new(&core->rule->parse, &core->parser, err);
	return r;
}

static void swallow(void *arg, const struct mr_pipeline_record *record)
{
}

static int work_up_to(const struct core *core, enum mr_bench_stage_cut cut,
		      const struct mr_message *messages, uint32_t count)
{
	const struct mr_pipeline_sink sink = {.put = swallow};
	struct mr_parsed parsed;

	for (uint32_t i = 0; cut == MR_BENCH_STAGE_PARSE && i < count; i++)
		(void)mr_parser_parse(core->parser, &messages[i], &parsed); /* its time counts */
	return cut == MR_BENCH_STAGE_FEED ? mr_pipeline_feed(core->pipeline, messages, count, &sink)
					  : 0;
}

static uint64_t own_cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static int read_all(const struct mr_bench_stage_input *input, const struct core *core,
		    enum mr_bench_stage_cut cut, struct mr_consumer *consumer, struct mr_error *err)
{
	const struct mr_message *messages;
	uint64_t done = 0;
	int r = 0;

	while (r >= 0 && done < input->records) {
		r = mr_consumer_poll(consumer, POLL_MS, &messages);
		if (r < 0)
			mr_consumer_error(consumer, err);
		else if (r == 0)
			r = mr_error_set(err, -ETIMEDOUT, "stored records do not come");
		if (r < 0)
			break;
		done += (uint64_t)r;
		r = work_up_to(core, cut, messages, (uint32_t)r);
		if (r < 0)
			mr_error_set(err, r, "no memory for keys");
	}
	return r;
}

int mr_bench_stage_time(const struct mr_bench_stage_input *input, enum mr_bench_stage_cut cut,
			const char *rule, const char *format, struct mr_bench_stage_cost *out,
			struct mr_error *err)
{
	struct mr_consumer_options from = {
		.size = sizeof(from), .topic = input->topic, .from = MR_FROM_EARLIEST};
	const struct mr_pipeline_counters *counters;
	struct mr_consumer *consumer = NULL;
	struct core core;
	uint64_t began;
	int r = open_core(input, rule, format, &core, err);

	if (r == 0)
		r = mr_consumer_open(input->connection, &from, &consumer, err);
	if (r == 0) {
		began = own_cpu_ns();
		r = read_all(input, &core, cut, consumer, err);
		out->ns = (double)(own_cpu_ns() - began) / (double)input->records;
		counters = mr_pipeline_counters(core.pipeline);
		out->alerts =
			(double)(counters->raised + counters->cleared) / (double)input->records;
	}
	mr_consumer_close(consumer);
	close_core(&core);
	return r;
}
