/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <string.h>

#include "monitor/source_cpu.h"

#define CPUS_LOOKED_AT 24 /* for core counters: throttling by heat meets all cores of a package within moments */
#define PACKAGE_CPUS_MAX 1024

int64_t source_psi_us(const char *text, const char *kind)
{
    size_t len = strlen(kind);
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        const char *total = !strncmp(line, kind, len) && line[len] == ' ' ? strstr(line, "total=") : NULL;
        if (total && isdigit((unsigned char)total[6]))
            return strtoll(total + 6, NULL, 10);
    }
    return -1;
}

static bool add_counter(cpu_source *cpu, const char *root, int number, const char *name)
{
    char dir[96];
    if (cpu->counter_count == SOURCE_COUNTERS_MAX)
        return false;
    source_file *file = &cpu->counters[cpu->counter_count];
    O3_FORMAT(dir, "/sys/devices/system/cpu/cpu%d/thermal_throttle", number);
    source_open(file, root, dir, name);
    cpu->counter_count += file->fd >= 0;
    return file->fd >= 0;
}

/* Each package's counter, by the first CPU of it, and the counters of the first cores. */
static void open_counters(cpu_source *cpu, const char *root)
{
    uint64_t seen = 0;
    char path[96];
    for (int number = 0; number < PACKAGE_CPUS_MAX; number++) {
        O3_FORMAT(path, "/sys/devices/system/cpu/cpu%d/topology/physical_package_id", number);
        int64_t package = o3_read_i64(root, path, -1);
        if (package < 0 || package >= 64 || (seen >> package & 1))
            continue;
        seen |= UINT64_C(1) << package;
        if (!add_counter(cpu, root, number, "package_throttle_count"))
            return; /* AMD, ARM, a virtual machine */
    }
    for (int number = 0; number < CPUS_LOOKED_AT; number++)
        add_counter(cpu, root, number, "core_throttle_count");
}

static void open_energy(cpu_source *cpu, const char *root)
{
    char dir[64], path[96], name[32];
    for (int i = 0; i < SOURCE_PACKAGES_MAX; i++) {
        O3_FORMAT(dir, "/sys/class/powercap/intel-rapl:%d", i); /* AMD's are called so too */
        O3_FORMAT(path, "%s/name", dir);
        if (o3_read_text(root, path, name, sizeof(name)) <= 0 || strncmp(name, "package", 7))
            continue;
        source_file *file = &cpu->packages[cpu->package_count].file;
        source_open(file, root, dir, "energy_uj");
        O3_FORMAT(path, "%s/max_energy_range_uj", dir);
        cpu->packages[cpu->package_count].range_uj = o3_read_i64(root, path, -1);
        cpu->packages[cpu->package_count].last_uj = -1;
        cpu->package_count += file->fd >= 0;
    }
}

void cpu_source_open(cpu_source *cpu, const char *root)
{
    *cpu = (cpu_source){.counter_count = 0};
    source_open(&cpu->psi, root, "/proc/pressure", "cpu");
    open_counters(cpu, root);
    open_energy(cpu, root);
}

void cpu_source_close(cpu_source *cpu)
{
    source_close(&cpu->psi);
    for (int i = 0; i < cpu->counter_count; i++)
        source_close(&cpu->counters[i]);
    for (int i = 0; i < cpu->package_count; i++)
        source_close(&cpu->packages[i].file);
}

/* Of two counters of which one cannot be read any more, the other still tells of throttling. */
static int64_t read_counters(cpu_source *cpu)
{
    int64_t sum = -1;
    for (int i = 0; i < cpu->counter_count; i++) {
        int64_t count = source_i64(&cpu->counters[i]);
        if (count >= 0 && count < INT64_MAX / SOURCE_COUNTERS_MAX)
            sum = (sum < 0 ? 0 : sum) + count;
    }
    return sum;
}

/* One package that cannot be read makes the sum unknown: half of the energy would be a wrong number. */
static int64_t read_energy(cpu_source *cpu)
{
    bool whole = cpu->package_count > 0;
    for (int i = 0; i < cpu->package_count; i++) {
        int64_t now = source_i64(&cpu->packages[i].file), *last = &cpu->packages[i].last_uj;
        int64_t range = cpu->packages[i].range_uj;
        if (now < 0 || (*last > now && range <= *last)) {
            whole = false;
        } else if (*last >= 0) {
            cpu->energy_uj += now >= *last ? now - *last : range - *last + now;
        }
        *last = now;
    }
    return whole ? cpu->energy_uj : -1;
}

void cpu_source_read(cpu_source *cpu, cpu_reading *ret_reading)
{
    char text[256];
    bool told = source_fd_read(cpu->psi.fd, text, sizeof(text));
    *ret_reading = (cpu_reading){.at_ns = o3_now_ns(), .psi_some_us = told ? source_psi_us(text, "some") : -1,
                                 .throttle_count = read_counters(cpu), .energy_uj = read_energy(cpu)};
}
