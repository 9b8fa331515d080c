/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which CPUs finish a disk's writes. From the device number to the disk's place in sysfs, from
 * there to the name under which its driver asks for interrupts, from /proc/interrupts to their
 * numbers, and from those to the CPUs that take them now. Runs at start on one thread, owns
 * nothing.
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

/* What to look for in /proc/interrupts. */
struct wanted {
	char names[8][64]; /* beginnings of interrupts' names */
	size_t count;
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

static void want_device(const char *device, struct wanted *wanted, int layers)
{
	char path[PATH_MAX], mark[PATH_MAX + 16];

	if (layers == 0 || !realpath(device, path))
		return;
	snprintf(mark, sizeof(mark), "%s/partition", path);
	if (access(mark, F_OK) == 0)
		*strrchr(path, '/') = '\0';
	if (!want_slaves(path, wanted, layers))
		want_from_path(path, wanted);
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

int mr_place_disk_interrupt_cpus(const char *root, dev_t device, cpu_set_t *cpus,
				 struct mr_error *err)
{
	struct wanted wanted = {.count = 0};
	char path[PATH_MAX];
	cpu_set_t found;

	CPU_ZERO(&found);
	snprintf(path, sizeof(path), "%s/sys/dev/block/%u:%u", root, major(device), minor(device));
	want_device(path, &wanted, LAYERS_MAX);
	if (wanted.count > 0)
		add_wanted_interrupts(root, &wanted, &found);
	if (CPU_COUNT(&found) > 0) {
		*cpus = found;
		return 0;
	}
	mr_error_set(err, -ENODATA, "the CPUs that take the interrupts of disk %u:%u are not known",
		     major(device), minor(device));
	mr_error_why(err, wanted.count > 0 ? "/proc/interrupts does not name it"
					   : "it is no disk of this host's own");
	return -ENODATA;
}
