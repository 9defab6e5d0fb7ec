/* SPDX-License-Identifier: Apache-2.0 */
/* hardware, inside: what a process holds on a GPU, as the kernel tells it of each descriptor of a DRM driver (amdgpu,
 * i915, xe): lines "drm-KEY: VALUE" in /proc/PID/fdinfo/N, the kernel's Documentation/gpu/drm-usage-stats.rst. They are
 * counters of the driver's: reading them wakes no card. Those of another user's process are not to be read. */
#ifndef O3_HARDWARE_FDINFO_H
#define O3_HARDWARE_FDINFO_H

#include "base/base.h"

/* One descriptor. Several of a process may be of the same client, who has an id on each GPU. */
typedef struct fdinfo_client {
    char pci[20];         /* "0000:03:00.0"; "" it is none of a GPU */
    int64_t id;           /* -1 unknown */
    int64_t own_bytes;    /* in the card's memory; -1 unknown */
    int64_t mapped_bytes; /* in RAM that the driver mapped for it; -1 unknown */
} fdinfo_client;
void fdinfo_parse(const char *text, fdinfo_client *ret_client); /* pure; whatever comes in */

/* Bytes of process `pid` in the memory of the GPU at `pci`; mapped: with the RAM that the driver mapped, for a GPU whose
 * pool is both. -1 unknown: not to be read, nothing open on that GPU, a client that does not tell or cannot be told
 * from others, more than is looked at. Allocates nothing. */
int64_t fdinfo_bytes(const char *root, int pid, const char *pci, bool mapped);

#endif
