/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which CPUs finish a disk's writes, and where the disk itself is. From the device number to the
 * disk's place in sysfs, from there to the name under which its driver asks for interrupts, from
 * /proc/interrupts to their numbers, and from those to the CPUs that take them now. Runs at start
 * on one thread, owns nothing.
 *
 * Known: virtio (virtio1-req.0, also virtio-scsi), NVMe (nvme0q1, ...), and controllers whose
 * interrupts carry their PCI address (ahci[0000:00:1f.2]). Partitions, device mapper and md
 * are followed down to their disks. All else is unknown, which is an answer: nothing depends
 * on it but where workers go.
 */
#include "place_cores.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define LAYERS_MAX 4 /* of devices on devices */

/* What to look for in /proc/interrupts, and what sysfs told on the way. */
struct wanted {
	char names[8][64]; /* beginnings of interrupts' names */
	size_t count;
	uint32_t queues; /* of all disks under the device */
	int32_t node;	 /* of their controllers; MR_PLACE_ANY: not told, or they differ */
	bool node_seen;
};

static void want(struct wanted *wanted, const char *format, const char *part, size_t bytes)
{
	if (wanted->count == sizeof(wanted->names) / sizeof(wanted->names[0]))
		return;
	snprintf(wanted->names[wanted->count++], sizeof(wanted->names[0]), format, (int)bytes,
		 part);
}

/* "virtio" and digits up to the component's end. */
static bool is_numbered(const char *part, size_t bytes, const char *stem)
{
	size_t at = strlen(stem);

	if (bytes <= at || strncmp(part, stem, at) != 0)
		return false;
	while (at < bytes && isdigit((unsigned char)part[at]))
		at++;
	return at == bytes;
}

/* 0000:00:1f.2 */
static bool is_pci_address(const char *part, size_t bytes)
{
	unsigned int domain, bus, slot, function;
	int used = 0;

	return sscanf(part, "%x:%x:%x.%x%n", &domain, &bus, &slot, &function, &used) == 4 &&
	       (size_t)used == bytes;
}

/* The last PCI address on the way is the disk's controller; those before it are bridges. */
static void want_from_path(const char *path, struct wanted *wanted)
{
	const char *address = NULL;
	size_t address_bytes = 0;

	for (const char *part = path; *part; part += strcspn(part, "/")) {
		size_t bytes;

		part += strspn(part, "/");
		bytes = strcspn(part, "/");
		if (is_numbered(part, bytes, "virtio"))
			want(wanted, "%.*s-", part, bytes);
		else if (is_numbered(part, bytes, "nvme"))
			want(wanted, "%.*sq", part, bytes);
		else if (is_pci_address(part, bytes)) {
			address = part;
			address_bytes = bytes;
		}
	}
	if (address)
		want(wanted, "[%.*s]", address, address_bytes);
}

static void want_device(const char *device, struct wanted *wanted, int layers);

/* The disks under a device-mapper or md device. False if it lies on none. */
static bool want_slaves(const char *path, struct wanted *wanted, int layers)
{
	char slaves[PATH_MAX + 8], slave[PATH_MAX + 8 + NAME_MAX + 2];
	struct dirent *entry;
	bool any = false;
	DIR *list;

	snprintf(slaves, sizeof(slaves), "%s/slaves", path);
	list = opendir(slaves);
	while (list && (entry = readdir(list))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(slave, sizeof(slave), "%s/%s", slaves, entry->d_name);
		want_device(slave, wanted, layers - 1);
		any = true;
	}
	if (list)
		closedir(list);
	return any;
}

/* The hardware queues that the kernel fills for the disk: directories of its mq. */
static uint32_t count_queues(const char *disk)
{
	char path[PATH_MAX + 8];
	struct dirent *entry;
	uint32_t count = 0;
	DIR *list;

	snprintf(path, sizeof(path), "%s/mq", disk);
	list = opendir(path);
	while (list && (entry = readdir(list)))
		count += isdigit((unsigned char)entry->d_name[0]) != 0;
	if (list)
		closedir(list);
	return count;
}

/* The node of the first device on the way up that tells one; the kernel writes -1 for "none". */
static int32_t find_node(const char *disk)
{
	char path[PATH_MAX], file_path[PATH_MAX + 16], text[32];

	snprintf(path, sizeof(path), "%s", disk);
	for (char *slash; (slash = strrchr(path, '/')) && slash > path; *slash = '\0') {
		long node = MR_PLACE_ANY;
		FILE *file;

		snprintf(file_path, sizeof(file_path), "%s/numa_node", path);
		file = fopen(file_path, "re");
		if (file && fgets(text, sizeof(text), file))
			node = strtol(text, NULL, 10);
		if (file)
			fclose(file);
		if (node >= 0 && node < MR_PLACE_NODES_MAX)
			return (int32_t)node;
	}
	return MR_PLACE_ANY;
}

static void want_disk(const char *path, struct wanted *wanted)
{
	int32_t node = find_node(path);

	want_from_path(path, wanted);
	wanted->queues += count_queues(path);
	wanted->node = !wanted->node_seen || wanted->node == node ? node : MR_PLACE_ANY;
	wanted->node_seen = true;
}

static void want_device(const char *device, struct wanted *wanted, int layers)
{
	char path[PATH_MAX], mark[PATH_MAX + 16];

	if (layers == 0 || !realpath(device, path))
		return;
	snprintf(mark, sizeof(mark), "%s/partition", path);
	if (access(mark, F_OK) == 0)
		*strrchr(path, '/') = '\0';
	if (!want_slaves(path, wanted, layers))
		want_disk(path, wanted);
}

/*
 * One name of an interrupt. Control queues are none of the data's: virtio's "-config", NVMe's
 * queue 0. An address in brackets stands behind the driver's name, all others at the
 * beginning.
 */
static bool is_wanted_name(const char *name, const struct wanted *wanted)
{
	for (size_t i = 0; i < wanted->count; i++) {
		const char *sought = wanted->names[i];
		size_t bytes = strlen(sought);

		if (sought[0] == '[' && strstr(name, sought))
			return true;
		if (strncmp(name, sought, bytes) == 0 && strcmp(name + bytes, "config") != 0 &&
		    strcmp(name + bytes, "0") != 0)
			return true;
	}
	return false;
}

/* ' 36:   0   84261   PCI-MSIX-0000:00:02.0   1-edge   virtio1-req.0' */
static bool is_wanted_line(char *line, const struct wanted *wanted)
{
	char *word;

	while ((word = strsep(&line, " ,\t\n"))) {
		if (is_wanted_name(word, wanted))
			return true;
	}
	return false;
}

/* Where interrupt 'number' goes now, or may go where the kernel does not tell that. */
static void add_cpus_of(const char *root, unsigned long number, cpu_set_t *cpus)
{
	static const char *const files[] = {"effective_affinity_list", "smp_affinity_list"};
	char path[PATH_MAX], text[4096];

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		int before = CPU_COUNT(cpus);
		FILE *file;

		snprintf(path, sizeof(path), "%s/proc/irq/%lu/%s", root, number, files[i]);
		file = fopen(path, "re");
		if (file && fgets(text, sizeof(text), file))
			mr_place_parse_list(text, cpus);
		if (file)
			fclose(file);
		if (CPU_COUNT(cpus) > before)
			return;
	}
}

static void add_wanted_interrupts(const char *root, const struct wanted *wanted, cpu_set_t *cpus)
{
	char path[PATH_MAX], *line = NULL;
	size_t room = 0;
	FILE *file;

	snprintf(path, sizeof(path), "%s/proc/interrupts", root);
	file = fopen(path, "re");
	while (file && getline(&line, &room, file) > 0) {
		char *end;
		unsigned long number = strtoul(line, &end, 10);

		if (end != line && *end == ':' && is_wanted_line(end + 1, wanted))
			add_cpus_of(root, number, cpus);
	}
	free(line);
	if (file)
		fclose(file);
}

/* 'root'/path, its first line; empty where there is none. */
static void read_line(const char *root, const char *path, char *text, size_t room)
{
	char whole[PATH_MAX];
	FILE *file;

	text[0] = '\0';
	snprintf(whole, sizeof(whole), "%s/%s", root, path);
	file = fopen(whole, "re");
	if (file && !fgets(text, (int)room, file))
		text[0] = '\0';
	if (file)
		fclose(file);
}

/* A node's distances stand in the order of the nodes that are there: "10 20" for nodes 0 and 2. */
static void read_distances(const char *root, int32_t from, uint8_t *distance)
{
	char text[4096], path[80], *rest = text;
	cpu_set_t nodes;

	read_line(root, "sys/devices/system/node/online", text, sizeof(text));
	CPU_ZERO(&nodes);
	mr_place_parse_list(text, &nodes);
	snprintf(path, sizeof(path), "sys/devices/system/node/node%d/distance", from);
	read_line(root, path, text, sizeof(text));
	for (int node = 0; node < MR_PLACE_NODES_MAX; node++) {
		if (!CPU_ISSET(node, &nodes))
			continue;
		distance[node] = (uint8_t)strtoul(rest, &rest, 10);
	}
}

int mr_place_disk_read(const char *root, dev_t device, struct mr_place_disk *out,
		       struct mr_error *err)
{
	struct wanted wanted = {.node = MR_PLACE_ANY};
	char path[PATH_MAX];

	memset(out, 0, sizeof(*out));
	snprintf(path, sizeof(path), "%s/sys/dev/block/%u:%u", root, major(device), minor(device));
	want_device(path, &wanted, LAYERS_MAX);
	out->queues = wanted.queues;
	out->node = wanted.node;
	if (out->node != MR_PLACE_ANY)
		read_distances(root, out->node, out->distance);
	if (wanted.count > 0)
		add_wanted_interrupts(root, &wanted, &out->cpus);
	if (CPU_COUNT(&out->cpus) > 0)
		return 0;
	mr_error_set(err, -ENODATA, "the CPUs that take the interrupts of disk %u:%u are not known",
		     major(device), minor(device));
	mr_error_why(err, wanted.count > 0 ? "/proc/interrupts does not name it"
					   : "it is no disk of this host's own");
	return -ENODATA;
}

int mr_place_disk_interrupt_cpus(const char *root, dev_t device, cpu_set_t *cpus,
				 struct mr_error *err)
{
	struct mr_place_disk disk;
	int r = mr_place_disk_read(root, device, &disk, err);

	if (r == 0)
		*cpus = disk.cpus;
	return r;
}
