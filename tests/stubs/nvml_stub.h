/* SPDX-License-Identifier: Apache-2.0 */
/* What a test tells the stub of libnvidia-ml to play. Its functions are found with dlsym in the library that
 * O3_TEST_NVML names. */
#ifndef O3_TEST_NVML_STUB_H
#define O3_TEST_NVML_STUB_H

typedef enum nvml_stub_machine {
    STUB_H100, STUB_MIG, STUB_GB10,
    STUB_LOST,          /* from now on */
    STUB_LOST_AT_START, /* there is no handle to be had */
    STUB_SLOW,          /* 200 ms for each call that the firmware answers */
    STUB_HANGS,         /* seconds a call */
    STUB_NOT_READY,     /* once, then well */
    STUB_REFUSES_V2,    /* of the memory struct */
    STUB_HOT, STUB_CROWD,
    STUB_MISMATCH,      /* library and driver of different releases */
} nvml_stub_machine;

typedef void nvml_stub_play_fn(nvml_stub_machine machine, unsigned long long used_mib);
typedef int nvml_stub_count_fn(void);
nvml_stub_play_fn nvml_stub_play;
nvml_stub_count_fn nvml_stub_wrong_structs; /* refused so far */
nvml_stub_count_fn nvml_stub_sessions;      /* started and not shut down */
nvml_stub_count_fn nvml_stub_attached;      /* starts that would have woken what sleeps */

#endif
