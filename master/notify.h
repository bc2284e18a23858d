/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tell the service manager how we are: sd_notify(3) by hand, a datagram to $NOTIFY_SOCKET. Without
 * that variable each of these does nothing. Never blocks; a datagram that is lost is lost.
 */
#ifndef MASTER_NOTIFY_H
#define MASTER_NOTIFY_H

#include <stdint.h>

/* The service is up, or up again after notify_reloading. */
void notify_ready(uint32_t workers, uint32_t generation);

void notify_reloading(void);
void notify_stopping(void);

#endif
