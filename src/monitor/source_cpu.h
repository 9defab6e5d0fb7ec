/* SPDX-License-Identifier: Apache-2.0 */
/* monitor, inside: what the kernel counts of the CPUs: waits for them, throttling, energy. Nothing is stopped by it, so
 * it is read twice a second. */
#ifndef O3_MONITOR_SOURCE_CPU_H
#define O3_MONITOR_SOURCE_CPU_H

#include "monitor/source_file.h"

#define SOURCE_COUNTERS_MAX 32
#define SOURCE_PACKAGES_MAX 8

typedef struct cpu_reading {
    int64_t at_ns;          /* when all of it was read; 0 never */
    int64_t psi_some_us;    /* since boot; -1 unknown */
    int64_t throttle_count; /* events since boot, of the cores and packages that are looked at; -1 unknown */
    int64_t energy_uj;      /* of all packages since the first reading; -1 unknown */
} cpu_reading;

typedef struct cpu_source {
    source_file psi;
    int counter_count, package_count;
    source_file counters[SOURCE_COUNTERS_MAX];
    struct {
        source_file file;
        int64_t last_uj, range_uj; /* it wraps there */
    } packages[SOURCE_PACKAGES_MAX];
    int64_t energy_uj;
} cpu_source;

void cpu_source_open(cpu_source *cpu, const char *root);
void cpu_source_close(cpu_source *cpu);
void cpu_source_read(cpu_source *cpu, cpu_reading *ret_reading); /* allocates nothing */
/* "some avg10=... total=N": N of the line that begins with `kind`; -1 if there is none. */
int64_t source_psi_us(const char *text, const char *kind);

#endif
