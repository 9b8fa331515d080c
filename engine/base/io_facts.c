/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the disk under a data directory is: file system, block size (D4), and what is weaker there
 * than Millrace would like (D13). Runs once, on the thread that opens the directory; owns nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/stat.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "check.h"
#include "io_facts.h"

/* A device that claims larger blocks than this is not believed. */
#define BLOCK_BYTES_MAX (1u << 20)

static const struct known_file_system {
	uint64_t magic;
	const char *name;
	const char *warning;
} known_file_systems[] = {
	{0xEF53, "ext4", ""},
	{0x58465342, "xfs", ""},
	{0xF2F52010, "f2fs", ""},
	{0x01021994, "tmpfs", "tmpfs keeps nothing across a restart of the machine"},
	{0x858458F6, "ramfs", "ramfs keeps nothing across a restart of the machine"},
	{0x6969, "nfs", "on NFS, durability and locks are only as good as the server's"},
	{0xFF534D42, "cifs", "on CIFS, durability and locks are only as good as the server's"},
	{0x794C7630, "overlayfs", "on overlayfs, the data lives as long as the container's layer"},
	{0x9123683E, "btrfs", "btrfs copies on write: the disk may be full at any overwrite"},
	{0x2FC12FC1, "zfs", "zfs copies on write: the disk may be full at any overwrite"},
	{0x65735546, "fuse", "on FUSE, durability is only as good as the program behind it"},
	{0x01021997, "9p", "on 9p, durability is only as good as the host behind it"},
};

static void learn_file_system(int directory_fd, struct mr_io_facts *facts)
{
	struct statfs fs;

	if (fstatfs(directory_fd, &fs) < 0) {
		snprintf(facts->file_system, sizeof(facts->file_system), "unknown");
		return;
	}
	for (size_t i = 0; i < mr_array_count(known_file_systems); i++) {
		if ((uint64_t)fs.f_type != known_file_systems[i].magic)
			continue;
		snprintf(facts->file_system, sizeof(facts->file_system), "%s",
			 known_file_systems[i].name);
		snprintf(facts->warning, sizeof(facts->warning), "%s",
			 known_file_systems[i].warning);
		return;
	}
	snprintf(facts->file_system, sizeof(facts->file_system), "0x%llx",
		 (unsigned long long)fs.f_type);
}

/* "6.1.64" matches "6.1.64-1" but not "6.1.640". */
static bool names_version(const char *text, const char *version)
{
	const char *found = strstr(text, version);
	char before, after;

	if (!found)
		return false;
	before = found == text ? ' ' : found[-1];
	after = found[strlen(version)];
	return before == ' ' && (after < '0' || after > '9');
}

bool mr_io_facts_kernel_is_bad(const char *release, const char *version)
{
	/* Debian keeps upstream's number in 'version': "#1 SMP Debian 6.1.64-1 (2023-11-30)". */
	return names_version(release, "6.1.64") || names_version(release, "6.1.65") ||
	       names_version(version, "6.1.64") || names_version(version, "6.1.65");
}

static uint32_t read_number(const char *path)
{
	char text[32] = "";
	unsigned long value;
	FILE *file = fopen(path, "re");

	if (!file)
		return 0;
	if (!fgets(text, sizeof(text), file))
		text[0] = '\0';
	(void)fclose(file); /* only read */
	value = strtoul(text, NULL, 10);
	return value <= BLOCK_BYTES_MAX && (value & (value - 1)) == 0 ? (uint32_t)value : 0;
}

static uint32_t physical_block_bytes(int directory_fd)
{
	char path[128];
	struct stat st;
	uint32_t bytes;

	if (fstat(directory_fd, &st) < 0)
		return 0;
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/queue/physical_block_size",
		 major(st.st_dev), minor(st.st_dev));
	bytes = read_number(path);
	if (bytes)
		return bytes;
	/* A partition: the queue is its parent's. */
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/../queue/physical_block_size",
		 major(st.st_dev), minor(st.st_dev));
	return read_number(path);
}

uint32_t mr_io_facts_direct_alignment(int fd)
{
	struct statx stx;

	memset(&stx, 0, sizeof(stx));
	if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) < 0)
		return 0;
	if (!(stx.stx_mask & STATX_DIOALIGN) || stx.stx_dio_offset_align > BLOCK_BYTES_MAX)
		return 0;
	return stx.stx_dio_offset_align;
}

void mr_io_facts_learn(int directory_fd, struct mr_io_facts *facts)
{
	uint32_t physical = physical_block_bytes(directory_fd);
	struct utsname name;
	struct stat st;

	if (fstat(directory_fd, &st) == 0)
		facts->device = st.st_dev;
	facts->block_bytes = physical > MR_IO_BLOCK_BYTES ? physical : MR_IO_BLOCK_BYTES;
	learn_file_system(directory_fd, facts);
	if (strcmp(facts->file_system, "ext4") == 0 && uname(&name) == 0 &&
	    mr_io_facts_kernel_is_bad(name.release, name.version))
		snprintf(facts->warning, sizeof(facts->warning),
			 "Linux %s corrupts durable direct writes on ext4: upgrade the kernel",
			 name.release);
}
