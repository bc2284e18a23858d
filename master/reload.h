/* SPDX-License-Identifier: Apache-2.0 */
/* HUP: a new configuration for running workers. Master only. */
#ifndef MASTER_RELOAD_H
#define MASTER_RELOAD_H

#include "master/master.h"

/*
 * Remember that a reload was asked for, by HUP; several until reload_step has done it are one. It ends a
 * pause once it has succeeded.
 */
void reload_ask(struct master *master);

/* The same for a program that has just taken over: what is paused stays so. */
void reload_again(struct master *master);

/*
 * Once every slot uses the generation before (or has had a second to do so): read, check, bind,
 * build, publish, and tell the slots. Whatever fails, the running configuration is untouched, and
 * the error log says every reason. Call it every turn.
 */
void reload_step(struct master *master, uint64_t now_ms);

/* Put on the board what keepers go by: timeouts of the configuration in use. */
void reload_show_limits(struct master *master);

/* Worker slots that a configuration asks for: one per core for 0, never more than the board has. */
uint32_t reload_workers(const struct conf *conf);

#endif
