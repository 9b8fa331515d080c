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

/* A pipeline with its thread. Out of the catalogue when it is removed; gone when that has ended. */
struct mr_pipeline_host {
	struct mr_local_source source; /* first: what the thread sends */
	struct mr_control *control;
	struct mr_definition *definition; /* the catalogue's; its own copy once it is removed */
	struct mr_runner *runner;	  /* NULL: could not be started */
	struct mr_runner_lanes *lanes;	  /* by partition */
	struct mr_error reason;		  /* why it does not run */
	struct mr_place_entry place;
	bool ending;			  /* its thread is to end */
	bool removed;			  /* and its files are to go */
	struct mr_definition *fresh;	  /* another begins with this, the catalogue's, then */
	struct mr_local_ticket *removing; /* answered when they are gone; or NULL */
	uint32_t asked;			  /* GETs that are out */
	uint32_t forgets;		  /* FORGETs that are */
	/* a new version, on its way in */
	struct mr_local_ticket *replacing;
	char *text;
	struct json_t *weights;
	char alerts[MR_TOPIC_NAME_MAX + 1]; /* that it has, and none before had; or "" */
	struct mr_pipeline_host *next;
};

struct mr_control_pipelines {
	struct mr_control *control;
	struct mr_pipelines catalogue;
	struct mr_pipeline_host *hosts;
	bool running; /* threads may be started */
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
/* Out of the catalogue already, where 'fresh' is in its place: its thread ends, another begins. */
void mr_control_pipeline_supersede(struct mr_pipeline_host *host, struct mr_definition *fresh);

/* control_pipeline_peers.c: peers with a replica of its input hear of it */
void mr_control_pipeline_made(struct mr_control *control, const struct mr_definition *definition);
void mr_control_pipeline_gone(struct mr_control *control, const struct mr_definition *definition);

/* control_pipeline_cut.c */
/* FORGET is back. */
void mr_control_pipeline_forgot(struct mr_pipeline_host *host, struct mr_runner_message *message);

/* control_rules.c */
void mr_control_rule_held(struct mr_pipeline_host *host, struct mr_runner_message *message);
void mr_control_rule_got(struct mr_pipeline_host *host, struct mr_runner_message *message);
void mr_control_rule_forget(struct mr_pipeline_host *host, const struct mr_error *why);

#endif
