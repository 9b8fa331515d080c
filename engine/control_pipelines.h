/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pipelines as the control thread sees them: the catalogue, a thread for each, and their lanes.
 * control_pipelines.c starts and ends them and answers what they ask; control_rules.c carries out
 * what people ask. All of it runs on the control thread.
 */
#ifndef MR_CONTROL_PIPELINES_H
#define MR_CONTROL_PIPELINES_H

#include "control.h"
#include "pipelines.h"
#include "runner.h"

/* A new version whose mark this host puts into the log of partition 0, until it has read it there.
 */
struct mr_pipeline_coming {
	char *text; /* NULL: there is none */
	struct json_t *weights;
	uint32_t version;
	int32_t leader_epoch; /* under which it is put there */
	bool appended;
	uint64_t offset;		/* then: of its mark */
	struct mr_local_ticket *ticket; /* who waits for it; or NULL */
};

/* What this host, leading a partition, did about versions that begin nowhere there. */
struct mr_pipeline_marking {
	uint32_t below;	      /* versions whose marks it appended, */
	int32_t leader_epoch; /* under this epoch */
	bool told;	      /* that it could not be */
	bool out;	      /* one is on its way to the worker */
};

/* A pipeline with its thread. Out of the catalogue when it is removed; gone when that has ended. */
struct mr_pipeline_host {
	struct mr_local_source source; /* first: what the thread sends */
	struct mr_control *control;
	struct mr_definition *definition;    /* the catalogue's; its own once it is removed */
	struct mr_runner *runner;	     /* NULL: could not be started */
	struct mr_runner_lanes *lanes;	     /* by partition */
	struct mr_pipeline_marking *marking; /* by partition */
	struct mr_error reason;		     /* why it does not run */
	struct mr_place_entry place;
	bool ending;			  /* its thread is to end */
	bool removed;			  /* and its files are to go */
	struct mr_local_ticket *removing; /* answered when they are gone; or NULL */
	uint32_t asked;			  /* GETs that are out */
	uint32_t forgets;		  /* FORGETs that are */
	struct mr_pipeline_coming coming;
	struct mr_pipeline_host *next;
};

struct mr_control_pipelines {
	struct mr_control *control;
	struct mr_pipelines catalogue;
	struct mr_pipeline_host *hosts;
	bool running; /* threads may be started */
	bool unsaved; /* more is known than the file says */
};

/* control_pipelines.c */
/* Of its log, replicated or not. */
bool mr_control_leads(const struct mr_hosted *hosted);
struct mr_pipeline_host *mr_control_pipeline_find(struct mr_control_pipelines *pipelines,
						  const char *name);
/* Its thread, if threads may run. What cannot be started now says why in its reason. */
int mr_control_pipeline_start(struct mr_control_pipelines *pipelines,
			      struct mr_definition *definition, struct mr_error *err);
int mr_control_pipelines_save(struct mr_control_pipelines *pipelines, struct mr_error *err);
/* Out of the catalogue, durably; its thread ends, then its files go, and the ticket, if there is
 * one, is answered. */
int mr_control_pipeline_take_out(struct mr_pipeline_host *host, struct mr_local_ticket *ticket,
				 struct mr_error *err);

/* control_pipeline_peers.c: peers with a replica of its input hear of it */
void mr_control_pipeline_made(struct mr_control *control, const struct mr_definition *definition);
void mr_control_pipeline_gone(struct mr_control *control, const struct mr_definition *definition);

/* control_pipeline_cut.c */
/* FORGET is back. */
void mr_control_pipeline_forgot(struct mr_pipeline_host *host, struct mr_runner_message *message);

/* control_versions.c */
/* Whether a next version may be added here and now: 0. -EINPROGRESS: this one is on its way. */
int mr_control_version_check(const struct mr_pipeline_host *host, const char *text,
			     const struct json_t *weights, struct mr_error *err);
/* Puts it into the log of partition 0; 'ticket' is answered when it is known to be that, or why
 * not. */
int mr_control_version_add(struct mr_pipeline_host *host, struct mr_local_ticket *ticket,
			   const char *text, const struct json_t *weights, struct mr_error *err);
/* Its thread came to a mark. */
void mr_control_version_learn(struct mr_pipeline_host *host, struct mr_runner_message *message);
/* A peer told of versions, or of where they begin: its thread begins once more, by that. */
void mr_control_version_told(struct mr_pipeline_host *host);
/* Who waits for a version is told that there will be no answer. */
void mr_control_version_forget(struct mr_pipeline_host *host, const struct mr_error *why);

/* control_rules.c */
struct json_t *mr_control_rule_json(const struct mr_pipeline_host *host);
void mr_control_rule_got(struct mr_pipeline_host *host, struct mr_runner_message *message);

#endif
