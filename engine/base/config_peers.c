/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hosts of a cluster as the configuration has them: names and numbers are each one's own,
 * everybody can be reached by whoever is to reach him, nothing leaves this host in the clear unless
 * somebody said so, and topics find enough hosts for their copies. Runs at start on one thread.
 */
#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

#include "check.h"
#include "config_table.h"

#define MAKE_CERTIFICATES                                                                          \
	"make certificates with 'millrace cert init' and name them in tls, or say insecure: true"

const struct mr_config_peer *mr_config_peer_find(const struct mr_config *config, const char *name)
{
	for (size_t i = 0; i < config->peer_count; i++) {
		if (strcmp(config->peers[i].name, name) == 0)
			return &config->peers[i];
	}
	return NULL;
}

const struct mr_config_peer *mr_config_peer_numbered(const struct mr_config *config,
						     uint32_t number)
{
	for (size_t i = 0; i < config->peer_count; i++) {
		if (config->peers[i].number == number)
			return &config->peers[i];
	}
	return NULL;
}

void mr_config_cluster_id(const struct mr_config *config, uint8_t id[16])
{
	unsigned char digest[EVP_MAX_MD_SIZE];

	mr_assert(EVP_Digest(config->cluster, strlen(config->cluster), digest, NULL, EVP_sha256(),
			     NULL) == 1);
	memcpy(id, digest, 16);
}

uint32_t mr_config_least_in_sync(uint32_t given, uint32_t replicas)
{
	if (given)
		return given;
	return replicas <= 2 ? 1 : 2;
}

/* ---- hosts ----------------------------------------------------------------------------------- */

static int check_own_name(const struct mr_config *config, struct mr_config_misfit *misfit,
			  struct mr_error *err)
{
	if (strcmp(config->node, MR_CONFIG_LEADERS_SPREAD) != 0)
		return 0;
	misfit->option = "node";
	mr_error_set(err, -EINVAL, "node is '%s', expected another name", config->node);
	mr_error_why(err, "that word stands for all hosts in leaders");
	return -EINVAL;
}

static int check_peer_name(const struct mr_config *config, const struct mr_config_peer *peer,
			   struct mr_error *err)
{
	if (strcmp(peer->name, config->node) == 0) {
		mr_error_set(err, -EINVAL, "peer '%s' has this host's own name", peer->name);
		mr_error_hint(err, "list the other hosts only, and give each its name in node");
		return -EINVAL;
	}
	if (strcmp(peer->name, MR_CONFIG_LEADERS_SPREAD) == 0) {
		mr_error_set(err, -EINVAL, "a peer's name is '%s', expected another one",
			     peer->name);
		mr_error_why(err, "that word stands for all hosts in leaders");
		return -EINVAL;
	}
	return 0;
}

/* Those before it are checked already. */
static int check_peer_number(const struct mr_config *config, const struct mr_config_peer *peer,
			     struct mr_error *err)
{
	const struct mr_config_peer *other = mr_config_peer_numbered(config, peer->number);

	if (peer->number == config->number)
		mr_error_set(err, -EINVAL, "number of peer '%s' is %u, which is this host's own",
			     peer->name, peer->number);
	else if (other != peer)
		mr_error_set(err, -EINVAL, "number of peer '%s' is %u, which is that of '%s'",
			     peer->name, peer->number, other->name);
	else
		return 0;
	mr_error_hint(err, "each host of the cluster has a number of its own, from 0 to %d",
		      MR_CONFIG_HOSTS_MAX - 1);
	return -EINVAL;
}

static int check_peer_address(const struct mr_config *config, const struct mr_config_peer *peer,
			      struct mr_error *err)
{
	if (!peer->address[0] && peer->number > config->number) {
		mr_error_set(err, -EINVAL,
			     "peer '%s' has no address, expected one as 10.0.0.2:7420", peer->name);
		mr_error_why(err,
			     "its number %u is higher than this host's %u, so this host "
			     "connects to it",
			     peer->number, config->number);
		return -EINVAL;
	}
	if (!peer->address[0] || config->insecure || config->tls.key[0] ||
	    mr_address_is_loopback(peer->address))
		return 0;
	mr_error_set(err, -EINVAL, "peer '%s' at %.80s would be spoken to without TLS", peer->name,
		     peer->address);
	mr_error_hint(err, MAKE_CERTIFICATES);
	return -EINVAL;
}

static int check_peer(const struct mr_config *config, struct mr_config_misfit *misfit,
		      struct mr_error *err)
{
	const struct mr_config_peer *peer = &config->peers[misfit->peer];
	int r = check_peer_name(config, peer, err);

	if (r < 0)
		return r;
	misfit->of_peer = "number";
	r = check_peer_number(config, peer, err);
	if (r < 0)
		return r;
	misfit->of_peer = "address";
	return check_peer_address(config, peer, err);
}

/* Of two hosts the one with the lower number connects. */
static int check_listen(const struct mr_config *config, struct mr_config_misfit *misfit,
			struct mr_error *err)
{
	misfit->option = "listen";
	for (size_t i = 0; i < config->peer_count && !config->listen[0]; i++) {
		if (config->peers[i].number > config->number)
			continue;
		misfit->option = NULL;
		misfit->peer = i;
		misfit->of_peer = "number";
		mr_error_set(err, -EINVAL, "peer '%s' cannot connect: there is no listen",
			     config->peers[i].name);
		mr_error_why(err,
			     "its number %u is lower than this host's %u, so it connects to "
			     "this host",
			     config->peers[i].number, config->number);
		mr_error_hint(err, "say where, as listen: 10.0.0.1:7420");
		return -EINVAL;
	}
	if (!config->listen[0] || config->insecure || config->tls.key[0] ||
	    mr_address_is_loopback(config->listen))
		return 0;
	mr_error_set(err, -EINVAL, "listen is %.80s, which other hosts reach, without TLS",
		     config->listen);
	mr_error_hint(err, MAKE_CERTIFICATES);
	return -EINVAL;
}

static int check_tls(const struct mr_config *config, struct mr_config_misfit *misfit,
		     struct mr_error *err)
{
	if (!config->insecure || !config->tls.key[0])
		return 0;
	misfit->option = "insecure";
	mr_error_set(err, -EINVAL, "insecure is true, and there are certificates in tls");
	mr_error_hint(err, "leave out one of them");
	return -EINVAL;
}

int mr_config_check_hosts(const struct mr_config *config, struct mr_config_misfit *misfit,
			  struct mr_error *err)
{
	int r = check_own_name(config, misfit, err);

	if (r == 0)
		r = check_tls(config, misfit, err);
	for (size_t i = 0; r == 0 && i < config->peer_count; i++) {
		*misfit = (struct mr_config_misfit){.peer = i};
		r = check_peer(config, misfit, err);
	}
	return r < 0 ? r : check_listen(config, misfit, err);
}

/* ---- copies and leaders ---------------------------------------------------------------------- */

static int check_leaders(const struct mr_config *config, const char *whose, const char *leaders,
			 struct mr_error *err)
{
	if (strcmp(leaders, MR_CONFIG_LEADERS_SPREAD) == 0 || strcmp(leaders, config->node) == 0 ||
	    mr_config_peer_find(config, leaders))
		return 0;
	mr_error_set(err, -EINVAL, "leaders%s is '%s', expected %s, '%s' or the name of a peer",
		     whose, leaders, MR_CONFIG_LEADERS_SPREAD, config->node);
	return -EINVAL;
}

int mr_config_check_replicas(const struct mr_config *config, const char *name, uint32_t replicas,
			     uint32_t min_insync_replicas, const char *leaders,
			     struct mr_error *err)
{
	char whose[100] = "";
	size_t hosts = config->peer_count + 1;

	if (name)
		snprintf(whose, sizeof(whose), " of topic '%.80s'", name);
	if (replicas > hosts) {
		mr_error_set(err, -EINVAL, "replicas%s is %u, expected at most %zu", whose,
			     replicas, hosts);
		mr_error_why(err, "so many hosts there are: this one and its peers");
		return -EINVAL;
	}
	if (min_insync_replicas > replicas) {
		mr_error_set(err, -EINVAL,
			     "min_insync_replicas%s is %u, expected at most replicas, which is %u",
			     whose, min_insync_replicas, replicas);
		mr_error_why(err, "no record would ever be committed");
		return -EINVAL;
	}
	return check_leaders(config, whose, leaders, err);
}
