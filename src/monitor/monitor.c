/* SPDX-License-Identifier: Apache-2.0 */
/* The calls, whoever answers them. */
#include "monitor/monitor.h"

void monitor_stop(o3_monitor *monitor)
{
    if (monitor)
        monitor->ops->stop(monitor);
}

void monitor_watch(o3_monitor *monitor, int server_pid, int runner_pid)
{
    monitor->ops->watch(monitor, server_pid, runner_pid);
}

void monitor_peaks_reset(o3_monitor *monitor)
{
    monitor->ops->peaks_reset(monitor);
}

void monitor_peaks(o3_monitor *monitor, o3_peaks *ret_peaks)
{
    monitor->ops->peaks(monitor, ret_peaks);
}

void monitor_mark(o3_monitor *monitor)
{
    monitor->ops->mark(monitor);
}

void monitor_since_mark(o3_monitor *monitor, o3_window *ret_window)
{
    monitor->ops->since_mark(monitor, ret_window);
}

double monitor_foreign(o3_monitor *monitor, int64_t since_ns)
{
    return monitor->ops->foreign ? monitor->ops->foreign(monitor, since_ns) : (double)NAN;
}

o3_monitor_stop monitor_stop_reason(o3_monitor *monitor, char *dst, size_t dst_size)
{
    return monitor->ops->stop_reason(monitor, dst, dst_size);
}

void monitor_rearm(o3_monitor *monitor)
{
    monitor->ops->rearm(monitor);
}

int64_t monitor_pool_bytes(o3_monitor *monitor, int pool)
{
    return monitor->ops->pool_bytes(monitor, pool);
}

int64_t monitor_ticks(o3_monitor *monitor)
{
    return monitor->ops->ticks(monitor);
}

double monitor_age_s(o3_monitor *monitor)
{
    return monitor->ops->age_s(monitor);
}

double monitor_cost_s(o3_monitor *monitor)
{
    return monitor->ops->cost_s(monitor);
}

bool monitor_hot(o3_monitor *monitor, char *dst, size_t dst_size)
{
    return monitor->ops->hot && monitor->ops->hot(monitor, dst, dst_size);
}

void monitor_notes(o3_monitor *monitor, o3_notes *notes)
{
    if (monitor->ops->notes)
        monitor->ops->notes(monitor, notes);
}
