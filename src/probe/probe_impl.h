/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of probe/. */
#ifndef O3_PROBE_IMPL_H
#define O3_PROBE_IMPL_H

#include <stdarg.h>

#include "probe/probe.h"

void probe_judge(o3_trial *trial, o3_outcome outcome, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Did the kernel kill something in the engine's cgroup since the last mark, when a request ended like this? */
bool probe_oom_killed(probe *p, o3_outcome outcome);
o3_status probe_fatal(probe *p, const o3_trial *trial, o3_err *err);

#endif
