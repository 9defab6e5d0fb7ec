/* SPDX-License-Identifier: Apache-2.0 */
#include <poll.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base.h"

struct o3_cancel {
    atomic_int reason;
    int fd; /* eventfd: readable from the first set to the last clear */
};

o3_cancel *o3_cancel_new(void)
{
    o3_cancel *cancel = o3_alloc(1, sizeof(*cancel));
    cancel->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return cancel;
}

void o3_cancel_free(o3_cancel *cancel)
{
    if (!cancel)
        return;
    if (cancel->fd >= 0)
        close(cancel->fd);
    free(cancel);
}

void o3_cancel_set(o3_cancel *cancel, o3_cancel_reason reason)
{
    /* A user's wish outranks a safety stop that was set just before: the run must end, not go on below. A limit outranks
     * the end of the time. */
    static const int rank[] = {[O3_CANCEL_NONE] = 0, [O3_CANCEL_BUDGET] = 1, [O3_CANCEL_SAFETY] = 2, [O3_CANCEL_USER] = 3};
    if (!cancel)
        return;
    int set = atomic_load(&cancel->reason);
    while (rank[reason] > rank[set] && !atomic_compare_exchange_weak(&cancel->reason, &set, (int)reason))
        continue;
    uint64_t one = 1;
    if (write(cancel->fd, &one, sizeof(one)) < 0)
        return; /* full counter: it is readable already */
}

o3_cancel_reason o3_cancel_get(const o3_cancel *cancel)
{
    return cancel ? (o3_cancel_reason)atomic_load(&cancel->reason) : O3_CANCEL_NONE;
}

void o3_cancel_clear(o3_cancel *cancel, o3_cancel_reason only)
{
    int expected = (int)only;
    if (!cancel || !atomic_compare_exchange_strong(&cancel->reason, &expected, O3_CANCEL_NONE))
        return;
    uint64_t drained;
    if (read(cancel->fd, &drained, sizeof(drained)) < 0)
        return;
    /* Set again between the two lines above: keep the fd readable. */
    if (atomic_load(&cancel->reason) != O3_CANCEL_NONE)
        o3_cancel_set(cancel, O3_CANCEL_NONE);
}

bool o3_wait(const o3_cancel *cancel, int64_t ns)
{
    struct pollfd fd = {.fd = o3_cancel_fd(cancel), .events = POLLIN};
    if (o3_clock_simulated())
        o3_sleep_ns(ns);
    else
        poll(&fd, 1, (int)(ns / O3_NS_PER_MS)); /* a negative fd is passed over: a plain sleep */
    return o3_cancel_get(cancel) != O3_CANCEL_NONE;
}

int o3_cancel_fd(const o3_cancel *cancel)
{
    return cancel ? cancel->fd : -1;
}
