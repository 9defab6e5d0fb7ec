/* SPDX-License-Identifier: Apache-2.0 */
/* What the CPU is: model, cores, the instruction sets that choose llama.cpp's kernels. How much of it the engine
 * may use is in usable.c. */
#include <ctype.h>

#include "hardware/hardware_impl.h"

#define CPUINFO_HEAD 16384      /* the first CPU's block; reading all asks every core for its frequency */
#define CPUINFO_WHOLE 2097152

bool hw_read_line(const char *root, const char *path, char *dst, size_t dst_size)
{
    if (o3_read_text(root, path, dst, dst_size) <= 0)
        return false;
    dst[strcspn(dst, "\n")] = '\0';
    for (size_t len = strlen(dst); len && isspace((unsigned char)dst[len - 1]);)
        dst[--len] = '\0';
    return *dst != '\0';
}

bool hw_key_text(const char *text, const char *key, char *dst, size_t dst_size)
{
    size_t len = strlen(key);
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        const char *p = line + len;
        if (strncmp(line, key, len))
            continue;
        p += strspn(p, " \t");
        if (*p != ':' && *p != '=')
            continue;
        p += 1 + strspn(p + 1, " \t\"");
        size_t cut = strcspn(p, "\"\n");
        o3_format(dst, dst_size, "%.*s", (int)cut, p);
        return *dst != '\0';
    }
    return false;
}

/* Names of ARM's "CPU implementer" (Arm ARM, MIDR_EL1). */
static const struct {
    const char *code, *name;
} implementers[] = {
    {"0x41", "ARM"},      {"0x42", "Broadcom"}, {"0x43", "Cavium"},   {"0x46", "Fujitsu"}, {"0x48", "HiSilicon"},
    {"0x4e", "NVIDIA"},   {"0x50", "APM"},      {"0x51", "Qualcomm"}, {"0x53", "Samsung"}, {"0x56", "Marvell"},
    {"0x61", "Apple"},    {"0x6d", "Microsoft"}, {"0xc0", "Ampere"},
};

static void read_names(o3_profile *profile, const char *root, const char *info)
{
    static const char *const model_keys[] = {"model name", "cpu model", "cpu", "uarch", "Processor", "Hardware"};
    char part[32], code[32];
    for (int i = 0; i < O3_COUNT(model_keys) && !*profile->cpu_model; i++)
        hw_key_text(info, model_keys[i], profile->cpu_model, sizeof(profile->cpu_model));
    if (!hw_key_text(info, "vendor_id", profile->cpu_vendor, sizeof(profile->cpu_vendor)) &&
        hw_key_text(info, "CPU implementer", code, sizeof(code))) {
        O3_COPY(profile->cpu_vendor, code);
        for (int i = 0; i < O3_COUNT(implementers); i++)
            if (!strcasecmp(implementers[i].code, code))
                O3_COPY(profile->cpu_vendor, implementers[i].name);
    }
    if (!*profile->cpu_model && hw_key_text(info, "CPU part", part, sizeof(part)))
        O3_FORMAT(profile->cpu_model, "%s part %s", profile->cpu_vendor, part);
    if (!*profile->cpu_model)
        hw_read_line(root, "/proc/device-tree/model", profile->cpu_model, sizeof(profile->cpu_model));
}

/* In the order in which they speed llama.cpp up; /proc/cpuinfo lists only what the kernel lets programs use. */
static const char *const isa_names[] = {
    "ssse3", "sse4_2", "avx", "f16c", "fma", "bmi2", "avx2", "avx_vnni", "avx_vnni_int8", "avx512f", "avx512bw",
    "avx512dq", "avx512vl", "avx512vbmi", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8",
    "amx_bf16", "neon", "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "svei8mm", "sme", "vsx",
    "altivec", "vx", "vxe2", "lsx", "lasx",
};

static bool has_word(const char *words, const char *word)
{
    size_t len = strlen(word);
    for (const char *p = words; (p = strstr(p, word)); p += len)
        if ((p == words || p[-1] == ' ') && (p[len] == ' ' || !p[len]))
            return true;
    return false;
}

static void read_isa(o3_profile *profile, const char *info)
{
    static const char *const keys[] = {"flags", "Features", "features", "isa"};
    o3_auto(free) char *flags = o3_alloc(1, 4096);
    bool found = false;
    for (int i = 0; i < O3_COUNT(keys) && !found; i++)
        found = hw_key_text(info, keys[i], flags, 4096);
    if (found && !strncmp(flags, "rv", 2)) { /* RISC-V: one word that says it all */
        O3_COPY(profile->isa, flags);
        return;
    }
    for (int i = 0; found && i < O3_COUNT(isa_names); i++) {
        size_t len = strlen(profile->isa);
        if (has_word(flags, isa_names[i]) && len + strlen(isa_names[i]) + 2 < sizeof(profile->isa))
            o3_format(profile->isa + len, sizeof(profile->isa) - len, "%s%s", len ? " " : "", isa_names[i]);
    }
}

/* Cores and packages from sysfs: a core is counted at the first online CPU of its thread list. */
static bool read_topology(o3_profile *profile, const char *root, const hw_set *online, hw_set *ret_cores)
{
    hw_set cores = {.known = true};
    uint64_t packages[HW_CPUS_MAX / 64] = {0};
    int threads = 0, package_count = 0;
    for (int cpu = 0; cpu < HW_CPUS_MAX; cpu++) {
        char path[128], siblings[1024];
        if (!hw_set_has(online, cpu))
            continue;
        O3_FORMAT(path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
        if (!hw_read_line(root, path, siblings, sizeof(siblings)))
            return false;
        hw_set together = hw_set_parse(siblings);
        for (int i = 0; i < O3_COUNT(together.bits); i++)
            together.bits[i] &= online->bits[i];
        int width = hw_set_count(&together);
        threads = width > threads ? width : threads;
        if (hw_set_first(&together) == cpu)
            cores.bits[cpu / 64] |= UINT64_C(1) << (cpu % 64);
        O3_FORMAT(path, "/sys/devices/system/cpu/cpu%d/topology/physical_package_id", cpu);
        int64_t package = o3_read_i64(root, path, -1);
        /* Firmware of small ARM boards numbers nothing (-1) or with handles beyond any count. */
        package = package < 0 || package >= HW_CPUS_MAX ? 0 : package;
        package_count += !(packages[package / 64] >> (package % 64) & 1);
        packages[package / 64] |= UINT64_C(1) << (package % 64);
    }
    if (!hw_set_count(&cores))
        return false;
    *ret_cores = cores;
    profile->cores = hw_set_count(&cores);
    profile->threads_per_core = threads;
    profile->packages = package_count;
    return true;
}

/* Without sysfs: x86 repeats these lines for each CPU of /proc/cpuinfo. */
static void topology_of_cpuinfo(o3_profile *profile, const char *root)
{
    o3_auto(free) char *info = o3_alloc(1, CPUINFO_WHOLE);
    int64_t top = -1;
    int cpus = 0;
    if (o3_read_text(root, "/proc/cpuinfo", info, CPUINFO_WHOLE) <= 0)
        return;
    for (const char *line = info; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        cpus += !strncmp(line, "processor", 9) && strchr(" \t:", line[9]);
        int64_t package = !strncmp(line, "physical id", 11) ? o3_field_i64(line, "physical id", -1) : -1;
        top = package > top ? package : top;
    }
    char cores[32];
    if (profile->cpus_online < 0 && cpus)
        profile->cpus_online = cpus;
    if (top < 0 || top >= HW_CPUS_MAX || !hw_key_text(info, "cpu cores", cores, sizeof(cores)))
        return;
    long each = strtol(cores, NULL, 10);
    if (each < 1 || each > HW_CPUS_MAX)
        return;
    profile->packages = (int)top + 1;
    profile->cores = (int)(each * profile->packages);
    profile->threads_per_core = cpus > profile->cores ? cpus / profile->cores : 1;
}

void hw_cpu_read(o3_profile *profile, const char *root)
{
    o3_auto(free) char *info = o3_alloc(1, CPUINFO_HEAD);
    char online[4096];
    profile->cpus_online = profile->packages = profile->cores = profile->threads_per_core = -1;
    if (o3_read_text(root, "/proc/cpuinfo", info, CPUINFO_HEAD) > 0) {
        read_names(profile, root, info);
        read_isa(profile, info);
    }
    hw_set set = {.known = false}, cores = {.known = false};
    if (hw_read_line(root, "/sys/devices/system/cpu/online", online, sizeof(online)))
        set = hw_set_parse(online);
    profile->cpus_online = set.known ? hw_set_count(&set) : -1;
    if (!set.known || !read_topology(profile, root, &set, &cores))
        topology_of_cpuinfo(profile, root);
    hw_topology_read(profile, root, &set, &cores);
    if (profile->cpus_online < 0)
        o3_note(&profile->notes, "the number of CPUs is unknown: neither /sys nor /proc/cpuinfo tells it");
}
