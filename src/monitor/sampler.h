/* SPDX-License-Identifier: Apache-2.0 */
/* monitor, inside: the readings of the sampler, for who takes them one by one. */
#ifndef O3_MONITOR_SAMPLER_H
#define O3_MONITOR_SAMPLER_H

#include "monitor/sources.h"

#define SAMPLER_KEPT 64

/* Waits, until until_ns (monotonic) at most, for the thread's reading number `tick` (0 ...) or, where that is not kept
 * any more, the oldest that is. Its number, -1 if there was none in time. Only for monitors of monitor_start. */
int64_t sampler_take(o3_monitor *monitor, int64_t tick, int64_t until_ns, monitor_reading *ret_reading);

/* The reading of monitor_start. */
void sampler_first(o3_monitor *monitor, monitor_reading *ret_reading);

#endif
