/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <time.h>

#include "base.h"

static _Thread_local const o3_clock *simulated;

void o3_clock_use(const o3_clock *clock)
{
    simulated = clock;
}

bool o3_clock_simulated(void)
{
    return simulated;
}

int64_t o3_now_ns(void)
{
    struct timespec t;
    if (simulated)
        return simulated->now_ns(simulated->ctx);
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * O3_NS_PER_S + t.tv_nsec;
}

int64_t o3_unix_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void o3_sleep_ns(int64_t ns)
{
    if (simulated) {
        simulated->sleep_ns(simulated->ctx, ns);
        return;
    }
    if (ns <= 0)
        return;
    struct timespec t = {.tv_sec = (time_t)(ns / O3_NS_PER_S), .tv_nsec = (long)(ns % O3_NS_PER_S)};
    while (nanosleep(&t, &t) && errno == EINTR)
        ;
}

void o3_iso_utc(int64_t unix_ms, char ret_text[32])
{
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm parts;
    gmtime_r(&seconds, &parts);
    strftime(ret_text, 32, "%Y-%m-%dT%H:%M:%SZ", &parts);
}
