/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of probe/. */
#ifndef O3_PROBE_IMPL_H
#define O3_PROBE_IMPL_H

#include <stdarg.h>

#include "probe/probe.h"

void probe_judge(o3_trial *trial, o3_outcome outcome, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
o3_status probe_stopped(probe *p, o3_trial *trial, o3_err *err);
o3_status probe_fatal(probe *p, const o3_trial *trial, o3_err *err);

#endif
