/* SPDX-License-Identifier: Apache-2.0 */
/*
 * millrace bench: measures Millrace and, in turn with it, what this machine can do; the questions
 * lie in bench/. Runs on the main thread.
 */
#include "bench.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

#define SECONDS_MAX 86400.0

enum {
	OPTION_SECONDS = MR_CLI_FIRST_OWN,
	OPTION_SAVE,
};

struct arguments {
	struct mr_bench_options options;
};

/* In the three lines of every error, then out. */
static error_t refuse(const struct mr_error *err)
{
	mr_cli_error(err);
	exit(MR_EXIT_USAGE);
}

static error_t read_seconds(const char *text, double *seconds)
{
	struct mr_error err;
	char *end;

	*seconds = strtod(text, &end);
	if (end != text && !*end && *seconds > 0 && *seconds <= SECONDS_MAX)
		return 0;
	mr_error_set(&err, -EINVAL, "--seconds: '%s' is no number of seconds", text);
	mr_error_why(&err, "a sample takes more than 0 and at most %.0f seconds", SECONDS_MAX);
	mr_error_hint(&err, "leave it out, or give a number as 0.5 or 10");
	return refuse(&err);
}

static error_t take_question(const char *word, struct arguments *arguments)
{
	struct mr_error err;

	if (arguments->options.question) {
		mr_error_set(&err, -EINVAL, "one question at a time: '%s' is one too many", word);
		mr_error_hint(&err, "ask 'all', or one after the other");
		return refuse(&err);
	}
	arguments->options.question = word;
	if (strcmp(word, "all") == 0 || mr_bench_find(word))
		return 0;
	mr_error_set(&err, -EINVAL, "there is no question '%s'", word);
	mr_error_hint(&err, "'millrace bench --help' lists the questions");
	return refuse(&err);
}

static error_t check_whole(const struct arguments *arguments)
{
	struct mr_error err;

	if (arguments->options.question)
		return 0;
	mr_error_set(&err, -EINVAL, "name the question, or 'all'");
	mr_error_hint(&err, "'millrace bench --help' lists the questions");
	return refuse(&err);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct arguments *arguments = state->input;

	switch (key) {
	case MR_CLI_DATA:
		arguments->options.data = arg;
		return 0;
	case MR_CLI_JSON:
		arguments->options.json = true;
		return 0;
	case OPTION_SAVE:
		arguments->options.save = arg;
		return 0;
	case OPTION_SECONDS:
		return read_seconds(arg, &arguments->options.seconds);
	case ARGP_KEY_ARG:
		return take_question(arg, arguments);
	case ARGP_KEY_END:
		return check_whole(arguments);
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{"seconds", OPTION_SECONDS, "N", 0, "of one sample (default: each question's own)", 0},
	{"data", MR_CLI_DATA, "DIR", 0,
	 "measure on DIR's disk, in a new directory there, removed at the end (default .)", 0},
	{"save", OPTION_SAVE, "DIR", 0, "write each question's JSON into DIR, too", 0},
	MR_CLI_OPTION_JSON,
	{0},
};

/* Lines of argp's text are not filled where they begin with white space. */
static char *list_questions(void)
{
	char *text = NULL;
	size_t bytes = 0;
	FILE *out = open_memstream(&text, &bytes);

	if (!out)
		return NULL;
	fprintf(out, "Questions:\n");
	for (size_t i = 0; i < mr_bench_question_count; i++)
		fprintf(out, "  %-9s %s%s\n", mr_bench_questions[i].name,
			mr_bench_questions[i].asks,
			mr_bench_questions[i].long_running ? "; not in all" : "");
	fprintf(out, "  %-9s each of these in turn\n\n", "all");
	fprintf(out, "Every figure is paired with a limit of this machine, measured in the same\n"
		     "run; what counts is the median of the ratios. 'millrace bench QUESTION\n"
		     "--help' tells what is measured against what.\n\n"
		     "Examples:\n"
		     "  millrace bench limits\n"
		     "  millrace bench ack --seconds 2 --data /var/lib/millrace\n"
		     "  millrace bench all --json > figures.json\n");
	fclose(out);
	return text;
}

static char *filter_help(int key, const char *text, void *input)
{
	return key == ARGP_KEY_HELP_EXTRA ? list_questions() : (char *)text;
}

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "QUESTION",
	.doc = "Measure Millrace and, in turn with it, what this machine can do.\v",
	.help_filter = filter_help,
};

/* "bench ack --help": argp would print the general page before it knew the question. */
static const struct mr_bench_question *wants_details(int argc, char **argv)
{
	const struct mr_bench_question *question = NULL;
	bool help = false;

	for (int i = 1; i < argc; i++) {
		help = help || strcmp(argv[i], "--help") == 0;
		if (!question)
			question = mr_bench_find(argv[i]);
	}
	return help ? question : NULL;
}

static int print_details(const struct mr_bench_question *question)
{
	const char *at = question->details;

	printf("millrace bench %s:\n%s\n\n", question->name, question->asks);
	while (*at) {
		int bytes = (int)strlen(at);

		if (bytes > 78)
			for (bytes = 78; bytes > 0 && at[bytes] != ' '; bytes--)
				;
		printf("%.*s\n", bytes, at);
		at += bytes;
		at += strspn(at, " ");
	}
	if (question->free_bytes > 0)
		printf("\nNeeds %.0f GiB free on the disk that is measured.\n",
		       (double)question->free_bytes / (1 << 30));
	printf("\nExamples:\n  millrace bench %s\n  millrace bench %s --seconds 1 --json\n",
	       question->name, question->name);
	return mr_cli_finish_output(MR_EXIT_DONE);
}

int mr_command_bench(int argc, char **argv)
{
	const struct mr_bench_question *question = wants_details(argc, argv);
	struct arguments arguments = {.options = {.out = stdout}};
	struct mr_error err = {0};

	if (question)
		return print_details(question);
	mr_cli_parse(&argp, argc, argv, &arguments);
	arguments.options.progress = isatty(STDERR_FILENO) ? stderr : NULL;
	if (mr_bench_main(&arguments.options, &err) == 0)
		return mr_cli_finish_output(MR_EXIT_DONE);
	mr_cli_error(&err);
	return err.code == -EINTR || err.code == -ENODATA ? MR_EXIT_DEGRADED : MR_EXIT_REFUSED;
}
