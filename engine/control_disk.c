/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hosts tell each other of their disks (control_peers.h): a follower whose disk is full, or
 * failed, says nothing of batches any more, and whoever leads would only see that it is late. So it
 * says why, when that changes and to whoever connects; it is for people, nothing is decided by it.
 * A host that does not know such notices warns of one and goes on. Control thread.
 */
#include "control_peers.h"

#include <stdio.h>
#include <string.h>

#include "base/diag.h"
#include "check.h"

static const char *const state_words[] = {
	[MR_DISK_WELL] = "well",
	[MR_DISK_SHORT] = "short",
	[MR_DISK_FAILED] = "failed",
};

void mr_control_note_shortage(struct mr_control *control, const struct mr_error *err)
{
	control->shortage = *err;
}

/* Something waits for room, and is tried again. */
static bool is_short(struct mr_control *control)
{
	const struct mr_control_peers *peers = control->peers;
	struct mr_hosted *hosted;

	if (control->checkpoint_trouble.times || (peers && peers->coord_trouble.times))
		return true;
	mr_control_each(control, hosted)
	{
		if (hosted->no_space || hosted->name_trouble.times || hosted->cut_trouble.times)
			return true;
	}
	return false;
}

static struct mr_disk_state own_disk(struct mr_control *control)
{
	struct mr_disk_state disk = {.kind = MR_DISK_WELL};

	if (control->failed)
		disk.kind = MR_DISK_FAILED;
	else if (is_short(control))
		disk.kind = MR_DISK_SHORT;
	if (disk.kind == MR_DISK_FAILED)
		snprintf(disk.why, sizeof(disk.why), "%.300s (%s)", control->failure.what,
			 strerrorname_np(-control->failure.code));
	else if (disk.kind == MR_DISK_SHORT)
		snprintf(disk.why, sizeof(disk.why), "%s", control->shortage.what);
	return disk;
}

json_t *mr_control_disk_json(const struct mr_disk_state *disk)
{
	return json_pack("{s:s, s:s}", "state", state_words[disk->kind], "why", disk->why);
}

static void tell(struct mr_control_peers *peers, uint64_t nodes)
{
	mr_control_tell(peers, nodes,
			json_pack("{s:o}", "disk", mr_control_disk_json(&peers->own_disk)));
}

void mr_control_disk_tell(struct mr_control_peers *peers, uint32_t node)
{
	peers->disks[node] = (struct mr_disk_state){.kind = MR_DISK_WELL}; /* until it says so */
	if (peers->own_disk.kind != MR_DISK_WELL)
		tell(peers, mr_node_bit(node));
}

void mr_control_disk_second(struct mr_control_peers *peers)
{
	struct mr_disk_state disk = own_disk(peers->control);

	if (disk.kind == peers->own_disk.kind)
		return;
	peers->own_disk = disk;
	tell(peers, peers->connected);
}

bool mr_control_disk_heard(struct mr_control_peers *peers, uint32_t node, const json_t *json)
{
	const json_t *row = json_object_get(json, "disk");
	const char *state = json_string_value(json_object_get(row, "state"));
	const char *why = json_string_value(json_object_get(row, "why"));
	struct mr_disk_state *disk = &peers->disks[node];
	char room[16];

	if (!row)
		return false;
	disk->kind = MR_DISK_WELL;
	for (uint32_t i = 0; state && i < mr_array_count(state_words); i++)
		if (strcmp(state, state_words[i]) == 0)
			disk->kind = i;
	snprintf(disk->why, sizeof(disk->why), "%s", why ? why : "");
	if (disk->kind == MR_DISK_WELL)
		mr_diag_notice("a peer can write to its disk again", "peer=%s",
			       mr_control_node_name(peers->control, node, room));
	else
		mr_diag_warn("a peer cannot write to its disk", "peer=%s state=%s why=\"%s\"",
			     mr_control_node_name(peers->control, node, room),
			     state_words[disk->kind], disk->why);
	return true;
}

int mr_control_disk_may_lead(const struct mr_control_peers *peers, uint32_t node,
			     struct mr_error *err)
{
	const struct mr_control *control = peers->control;
	bool here = node == control->config->number;
	char room[16];

	if (here ? !control->failed : peers->disks[node].kind != MR_DISK_FAILED)
		return 0;
	mr_error_set(err, -EIO, "host '%s' leads nothing: its disk failed",
		     mr_control_node_name(control, node, room));
	mr_error_why(err, "%s", here ? control->failure.what : peers->disks[node].why);
	return mr_error_hint(err, "look at the disk there, then start the engine there again");
}

const char *mr_control_disk_hint(const struct mr_disk_state *disk)
{
	switch (disk->kind) {
	case MR_DISK_WELL:
		break;
	case MR_DISK_SHORT:
		return "make room there: it comes back by itself";
	case MR_DISK_FAILED:
		return "look at the disk there, then start the engine there again: it comes back "
		       "with what it lacks";
	}
	return "";
}

static void add_row(json_t *rows, const struct mr_control *control, uint32_t node,
		    const struct mr_disk_state *disk)
{
	json_t *row;
	char room[16];

	if (disk->kind == MR_DISK_WELL)
		return;
	row = mr_control_disk_json(disk);
	json_object_set_new(row, "node", json_string(mr_control_node_name(control, node, room)));
	json_object_set_new(row, "do", json_string(mr_control_disk_hint(disk)));
	json_array_append_new(rows, row);
}

json_t *mr_control_disks_json(const struct mr_control *control)
{
	uint64_t left = control->peers ? control->peers->connected : 0;
	json_t *rows = json_array();

	for (; left; left &= left - 1) {
		uint32_t node = (uint32_t)__builtin_ctzll(left);

		add_row(rows, control, node, &control->peers->disks[node]);
	}
	return rows;
}
