/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <time.h>

#include "base.h"

int64_t o3_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * O3_NS_PER_S + t.tv_nsec;
}

int64_t o3_unix_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int64_t real_now(void *ctx)
{
    (void)ctx;
    return o3_now_ns();
}

static void real_sleep(void *ctx, int64_t ns)
{
    (void)ctx;
    if (ns <= 0)
        return;
    struct timespec t = {.tv_sec = (time_t)(ns / O3_NS_PER_S), .tv_nsec = (long)(ns % O3_NS_PER_S)};
    while (nanosleep(&t, &t) && errno == EINTR)
        ;
}

const o3_clock o3_clock_real = {.now_ns = real_now, .sleep_ns = real_sleep};

void o3_iso_utc(int64_t unix_ms, char ret_text[32])
{
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm parts;
    gmtime_r(&seconds, &parts);
    strftime(ret_text, 32, "%Y-%m-%dT%H:%M:%SZ", &parts);
}
