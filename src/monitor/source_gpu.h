/* SPDX-License-Identifier: Apache-2.0 */
/* monitor, inside: GPUs. Their drivers are asked in threads of their own, one a source, so that a call that hangs makes
 * a value old and not the sampler late. None is asked so often that it takes more than a tenth of its time. */
#ifndef O3_MONITOR_SOURCE_GPU_H
#define O3_MONITOR_SOURCE_GPU_H

#include "hardware/gpu.h"

typedef struct gpu_sample {
    gpu_reading values;
    int64_t at_ns;      /* when memory, use and loss were read last; 0 never */
    int64_t slow_at_ns; /* when temperature, power and throttling were; 0 never */
    int64_t every_ns;   /* how often it is asked at present: 0 = with every tick */
} gpu_sample;

typedef struct gpu_sources gpu_sources;

gpu_sources *gpu_sources_open(const char *root, const o3_profile *profile); /* NULL: no GPU can be watched */
void gpu_sources_close(gpu_sources *sources); /* NULL is fine; does not wait for a call that hangs */
/* Asks, waits for the answers for some milliseconds, and gives the last there are, by profile.gpus. No allocation.
 * runner_pid: whose memory is asked for every two seconds; -1 nobody's. */
void gpu_sources_read(gpu_sources *sources, bool slow, int runner_pid, gpu_sample ret_samples[O3_GPUS_MAX]);
double gpu_sources_cost_s(gpu_sources *sources); /* CPU time of the threads so far */

#endif
