/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stop.h: a run that ends between two steps when it is asked to.
 */
#ifndef CLGAZE_TOOLS_STOP_H
#define CLGAZE_TOOLS_STOP_H

/** From now on SIGINT and SIGTERM are only noted. */
void stop_listen(void);

/** The signal that came; 0: none. */
int stop_asked(void);

/** End as the signal that came would have it; returns where none came. */
void stop_now(void);

#endif
