/* SPDX-License-Identifier: Apache-2.0 */
/*
 * power.h: whether times can be trusted.
 */
#ifndef CLGAZE_TUNING_POWER_H
#define CLGAZE_TUNING_POWER_H

enum { POWER_SAMPLES = 9 };

/* Times of one thing, measured together. */
struct power_times {
    double us[POWER_SAMPLES];
    int n; /* 0: none could be measured */
};

/* Does this machine run on a battery now?  `folder`: /sys/class/power_supply. */
int power_on_battery(const char *folder);
/* By which share the same thing takes longer than before, beyond noise; 0: it does not. */
double power_slower(struct power_times *before, struct power_times *after);

#endif
