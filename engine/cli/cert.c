/* SPDX-License-Identifier: Apache-2.0 */
/*
 * millrace cert init: a private authority, and a certificate with its key for each node named.
 *
 * No file is ever written over: what is there is looked at before the first one is written, and
 * each is made anew or not at all. What a run that fails has written, it removes again. A directory
 * that has an authority keeps it, so that nodes can be added.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "arguments.h"
#include "base/clock.h"
#include "cli.h"
#include "replica/certificate.h"

#define NODES_MAX	64
#define FILES_MAX	(2 * (NODES_MAX + 1))
#define DAYS_MAX	36500u
#define AUTHORITY_DAYS	3650u
#define NODE_DAYS	825u
#define DAY_S		86400
#define CLOCK_SKEW_S	3600 /* a host's clock may be so much behind this one's */
#define FILE_BYTES_MAX	65536
#define AUTHORITY	"ca"
#define FILE_NAME_BYTES (MR_FEED_NAME_MAX + 8)

enum {
	OPTION_DIR = MR_CLI_FIRST_OWN,
	OPTION_CLUSTER,
	OPTION_CA_DAYS,
	OPTION_DAYS,
};

struct arguments {
	const char *verb;
	const char *directory;
	const char *cluster;
	uint64_t authority_days; /* 0: not given */
	uint64_t days;
	const char *nodes[NODES_MAX];
	uint32_t node_count;
};

/* What one run does; all of it belongs to the main thread. */
struct work {
	const struct arguments *arguments;
	int directory;
	bool new_authority;
	int64_t now;
	struct mr_certificate authority;
	char written[FILES_MAX][FILE_NAME_BYTES]; /* to be removed if the run fails */
	uint32_t written_count;
};

/* ---- arguments ----------------------------------------------------------------------------------
 */

static void add_node(struct arguments *arguments, const char *name, struct argp_state *state)
{
	if (!mr_certificate_name_good(name))
		argp_error(state,
			   "'%s' is no name of a node: 1 to %u letters, digits, '.', '_' or '-'",
			   name, MR_FEED_NAME_MAX);
	if (strcmp(name, AUTHORITY) == 0)
		argp_error(state,
			   "a node cannot be called '" AUTHORITY "': the authority's files are");
	for (uint32_t i = 0; i < arguments->node_count; i++)
		if (strcasecmp(arguments->nodes[i], name) == 0)
			argp_error(state, "'%s' is there twice", name);
	if (arguments->node_count == NODES_MAX)
		argp_error(state, "%d nodes at a time at most", NODES_MAX);
	arguments->nodes[arguments->node_count++] = name;
}

static void add_word(struct arguments *arguments, const char *word, struct argp_state *state)
{
	if (arguments->verb) {
		add_node(arguments, word, state);
		return;
	}
	if (strcmp(word, "init") != 0)
		argp_error(state, "there is no '%s': init", word);
	arguments->verb = word;
}

static void set_days(const char *option, const char *text, uint64_t *out, struct argp_state *state)
{
	if (mr_argument_number(text, 1, DAYS_MAX, out) < 0)
		argp_error(state, "--%s: '%s' is no number from 1 to %u", option, text, DAYS_MAX);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct arguments *arguments = state->input;

	switch (key) {
	case OPTION_DIR:
		if (!arg[0])
			argp_error(state, "--dir: name a directory");
		arguments->directory = arg;
		return 0;
	case OPTION_CLUSTER:
		if (!mr_certificate_name_good(arg))
			argp_error(state, "--cluster: '%s' is no name", arg);
		arguments->cluster = arg;
		return 0;
	case OPTION_CA_DAYS:
		set_days("ca-days", arg, &arguments->authority_days, state);
		return 0;
	case OPTION_DAYS:
		set_days("days", arg, &arguments->days, state);
		return 0;
	case ARGP_KEY_ARG:
		add_word(arguments, arg, state);
		return 0;
	case ARGP_KEY_END:
		if (!arguments->verb)
			argp_error(state, "say what to do: init");
		else if (arguments->node_count == 0)
			argp_error(state, "name the nodes, as their configuration does in 'node'");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{"dir", OPTION_DIR, "DIR", 0, "where the files go (default: ./millrace-certs)", 0},
	{"cluster", OPTION_CLUSTER, "NAME", 0,
	 "the authority's name, for people (default: millrace)", 0},
	{"ca-days", OPTION_CA_DAYS, "N", 0, "how long a new authority is good (default: 3650)", 0},
	{"days", OPTION_DAYS, "N", 0, "how long nodes' certificates are good (default: 825)", 0},
	{0},
};

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "init NODE...",
	.doc = "Make certificates by which the hosts of a cluster know each other: a private "
	       "authority (ca.pem, ca.key), and for each node NODE.pem and NODE.key. A directory "
	       "that has an authority keeps it. No file is written over."
	       "\vExamples:\n"
	       "  millrace cert init a b\n"
	       "  millrace cert init --dir /root/millrace-certs --days 365 a b c\n"
	       "  millrace cert init --dir /root/millrace-certs d     later: one more node\n"
	       "\nWhoever has ca.key can make a node of this cluster: keep it away from the hosts.",
};

/* ---- files --------------------------------------------------------------------------------------
 */

static bool exists(const struct work *work, const char *name)
{
	struct stat about;

	return fstatat(work->directory, name, &about, AT_SYMLINK_NOFOLLOW) == 0;
}

static void file_name(char out[FILE_NAME_BYTES], const char *name, const char *ending)
{
	snprintf(out, FILE_NAME_BYTES, "%s%s", name, ending);
}

static int write_whole(int fd, const char *text)
{
	size_t left = strlen(text);

	while (left > 0) {
		ssize_t r = write(fd, text, left);

		if (r < 0)
			return -errno;
		text += r;
		left -= (size_t)r;
	}
	return fsync(fd) < 0 ? -errno : 0;
}

/* Readable by its owner only from its first byte on. */
static int write_file(struct work *work, const char *name, const char *ending, const char *text,
		      struct mr_error *err)
{
	char *path = work->written[work->written_count];
	int fd, r;

	file_name(path, name, ending);
	fd = openat(work->directory, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		    0600);
	if (fd < 0)
		return mr_error_set(err, -errno, "cannot make '%s' in '%s'", path,
				    work->arguments->directory);
	work->written_count++;
	r = write_whole(fd, text);
	(void)close(fd); /* it is on disk already, or it is not */
	if (r < 0)
		return mr_error_set(err, r, "cannot write '%s' in '%s'", path,
				    work->arguments->directory);
	return 0;
}

/* As text that the caller frees. */
static int read_file(const struct work *work, const char *name, char **out, struct mr_error *err)
{
	int fd = openat(work->directory, name, O_RDONLY | O_CLOEXEC);
	char *text = calloc(1, FILE_BYTES_MAX + 1);
	ssize_t got = fd >= 0 && text ? read(fd, text, FILE_BYTES_MAX) : -1;
	int problem = errno;

	if (fd >= 0)
		(void)close(fd); /* it was only read */
	if (got > 0) {
		*out = text;
		return 0;
	}
	free(text);
	return mr_error_set(err, got == 0 ? -EBADMSG : -problem, "cannot read '%s' in '%s'", name,
			    work->arguments->directory);
}

static int open_directory(struct work *work, struct mr_error *err)
{
	const char *path = work->arguments->directory;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return mr_error_set(err, -errno, "cannot make the directory '%s'", path);
	work->directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (work->directory < 0)
		return mr_error_set(err, -errno, "cannot open the directory '%s'", path);
	return 0;
}

/* ---- the authority ------------------------------------------------------------------------------
 */

static int half_an_authority(const char *there, const char *missing, struct mr_error *err)
{
	mr_error_set(err, -ENOENT, "there is '%s' and no '%s'", there, missing);
	mr_error_hint(err, "bring '%s' back for this, or take another --dir for another authority",
		      missing);
	return -ENOENT;
}

static int read_authority(struct work *work, struct mr_error *err)
{
	int r;

	if (work->arguments->authority_days) {
		mr_error_set(err, -EEXIST, "there is an authority in '%s' already",
			     work->arguments->directory);
		mr_error_hint(err, "leave --ca-days away to add nodes to it");
		return -EEXIST;
	}
	r = read_file(work, AUTHORITY ".pem", &work->authority.certificate, err);
	if (r == 0)
		r = read_file(work, AUTHORITY ".key", &work->authority.key, err);
	return r;
}

static struct mr_certificate_times days_from(int64_t now, uint64_t days)
{
	return (struct mr_certificate_times){now - CLOCK_SKEW_S, now + (int64_t)days * DAY_S};
}

static int get_authority(struct work *work, struct mr_error *err)
{
	uint64_t days = work->arguments->authority_days;
	bool certificate = exists(work, AUTHORITY ".pem");
	bool key = exists(work, AUTHORITY ".key");

	if (certificate && !key)
		return half_an_authority(AUTHORITY ".pem", AUTHORITY ".key", err);
	if (key && !certificate)
		return half_an_authority(AUTHORITY ".key", AUTHORITY ".pem", err);
	if (certificate)
		return read_authority(work, err);
	work->new_authority = true;
	return mr_certificate_authority(work->arguments->cluster,
					days_from(work->now, days ? days : AUTHORITY_DAYS),
					&work->authority, err);
}

/* ---- nodes --------------------------------------------------------------------------------------
 */

static int refuse_existing(const struct work *work, struct mr_error *err)
{
	static const char *const endings[] = {".pem", ".key"};
	char name[FILE_NAME_BYTES];

	for (uint32_t i = 0; i < 2 * work->arguments->node_count; i++) {
		file_name(name, work->arguments->nodes[i / 2], endings[i % 2]);
		if (!exists(work, name))
			continue;
		mr_error_set(err, -EEXIST, "there is '%s' in '%s' already", name,
			     work->arguments->directory);
		mr_error_hint(err, "leave '%s' away, or move its files elsewhere to make new ones",
			      work->arguments->nodes[i / 2]);
		return -EEXIST;
	}
	return 0;
}

static int make_node(struct work *work, const char *node, struct mr_error *err)
{
	struct mr_certificate made;
	int r = mr_certificate_issue(&work->authority, node,
				     days_from(work->now, work->arguments->days), &made, err);

	if (r == -ERANGE)
		mr_error_hint(err, "give fewer --days, or more --ca-days for a new authority");
	if (r < 0)
		return r;
	r = write_file(work, node, ".key", made.key, err);
	if (r == 0)
		r = write_file(work, node, ".pem", made.certificate, err);
	mr_certificate_deinit(&made);
	return r;
}

static int make_all(struct work *work, struct mr_error *err)
{
	int r = open_directory(work, err);

	if (r == 0)
		r = refuse_existing(work, err);
	if (r == 0)
		r = get_authority(work, err);
	if (r == 0 && work->new_authority)
		r = write_file(work, AUTHORITY, ".key", work->authority.key, err);
	if (r == 0 && work->new_authority)
		r = write_file(work, AUTHORITY, ".pem", work->authority.certificate, err);
	for (uint32_t i = 0; r == 0 && i < work->arguments->node_count; i++)
		r = make_node(work, work->arguments->nodes[i], err);
	if (r == 0 && fsync(work->directory) < 0)
		r = mr_error_set(err, -errno, "cannot make the files in '%s' durable",
				 work->arguments->directory);
	for (; r < 0 && work->written_count > 0; work->written_count--)
		(void)unlinkat(work->directory, work->written[work->written_count - 1], 0);
	return r;
}

/* ---- what to do with them -----------------------------------------------------------------------
 */

static void print_date(const char *words, int64_t when)
{
	time_t seconds = (time_t)when;
	struct tm parts;
	char text[32] = "";

	if (gmtime_r(&seconds, &parts))
		strftime(text, sizeof(text), "%Y-%m-%d", &parts);
	printf("%s %s", words, text);
}

static void print_result(const struct work *work)
{
	const struct arguments *arguments = work->arguments;
	uint64_t days = arguments->authority_days ? arguments->authority_days : AUTHORITY_DAYS;

	printf("in %s:\n", arguments->directory);
	if (work->new_authority) {
		print_date("  ca.pem, ca.key: a new authority, good until",
			   work->now + (int64_t)days * DAY_S);
		printf("\n");
	} else {
		printf("  ca.pem, ca.key: the authority that was there\n");
	}
	for (uint32_t i = 0; i < arguments->node_count; i++) {
		printf("  %s.pem, %s.key: ", arguments->nodes[i], arguments->nodes[i]);
		print_date("node, good until", work->now + (int64_t)arguments->days * DAY_S);
		printf("\n");
	}
	for (uint32_t i = 0; i < arguments->node_count; i++) {
		const char *node = arguments->nodes[i];

		printf("\nhost %s: copy ca.pem, %s.pem, %s.key to /etc/millrace, owned by the "
		       "engine's user, mode 0600,\nand write in its configuration:\n\n"
		       "    node: %s\n"
		       "    tls:\n"
		       "      authority: /etc/millrace/ca.pem\n"
		       "      certificate: /etc/millrace/%s.pem\n"
		       "      key: /etc/millrace/%s.key\n",
		       node, node, node, node, node, node);
	}
	printf("\nca.key goes to no host: whoever has it can make a node of this cluster. Keep it "
	       "offline, with a copy;\nit is needed to add a node and to make new certificates "
	       "before these end.\n");
}

int mr_command_cert(int argc, char **argv)
{
	struct arguments arguments = {
		.directory = "./millrace-certs", .cluster = "millrace", .days = NODE_DAYS};
	static struct work work;
	struct mr_error err;
	int r;

	mr_cli_parse(&argp, argc, argv, &arguments);
	work = (struct work){.arguments = &arguments, .directory = -1};
	work.now = mr_clock_wall_ms(&mr_clock_system) / 1000;
	r = make_all(&work, &err);
	mr_certificate_deinit(&work.authority);
	if (work.directory >= 0)
		(void)close(work.directory); /* nothing is written through it */
	if (r < 0)
		return mr_cli_fail(&err);
	print_result(&work);
	return mr_cli_finish_output(MR_EXIT_DONE);
}
