/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The actions of a pipeline's alerts: a thread that reads the topic of alerts as any consumer does,
 * and has done for each record what the rule says (actions.h). It is a group of its own, so it goes
 * on after a restart where it was: an action is done at least once, and twice only if the engine
 * ended in between. Of a partition whose input another host leads nothing is done here.
 *
 * A slow or failing action holds up the actions of its pipeline, nobody else.
 */
#ifndef MR_ALERT_ACTIONS_H
#define MR_ALERT_ACTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "actions.h"
#include "pipelines.h"
#include "runner.h"

struct mr_alert_actions;

/* True if the newest version of the rule has any. */
bool mr_alert_actions_wanted(const struct mr_definition *definition);
/*
 * Starts the thread, which writes view->actions. 'view' is borrowed for its life, the rest for the
 * call. Never on the control thread: stopping waits for what that has to answer.
 */
int mr_alert_actions_start(const struct mr_definition *definition, struct mr_runner_view *view,
			   const char *socket_path, struct mr_alert_actions **out,
			   struct mr_error *err);
/* What is under way is killed. Takes NULL. */
void mr_alert_actions_stop(struct mr_alert_actions *actions);

#endif
