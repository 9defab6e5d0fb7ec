/* SPDX-License-Identifier: Apache-2.0 */
/* The machine, as a person reads it. */
#include "text.h"

#define LABEL 10

static void add_line(o3_buf *buf, bool colour, const char *label, const char *text)
{
    char padded[32];
    O3_FORMAT(padded, "%-*s", LABEL, label);
    text_styled(buf, colour, TEXT_BOLD, padded);
    text_wrap(buf, LABEL, LABEL, text);
}

static const char *or_unknown(const char *text)
{
    return *text ? text : "unknown";
}

static void number(char *dst, size_t size, double value)
{
    if (!(value >= 0))
        o3_copy(dst, size, "unknown");
    else
        o3_format(dst, size, "%.4g", value);
}

static void add_cpu(o3_buf *buf, bool colour, const o3_profile *p)
{
    char online[32], cores[32], threads[32], usable[32], line[512];
    number(online, sizeof(online), p->cpus_online);
    number(cores, sizeof(cores), p->cores);
    number(threads, sizeof(threads), p->threads_per_core);
    number(usable, sizeof(usable), p->usable_cpus);
    O3_FORMAT(line, "%s", or_unknown(p->cpu_model));
    add_line(buf, colour, "CPU", line);
    O3_FORMAT(line, "usable %s (%s) of %s online · %s core%s · %s thread%s a core", usable,
              or_unknown(p->usable_why), online, cores, p->cores == 1 ? "" : "s", threads,
              p->threads_per_core == 1 ? "" : "s");
    add_line(buf, colour, "", line);
    if (*p->isa)
        add_line(buf, colour, "", p->isa);
}

static void add_memory(o3_buf *buf, bool colour, const o3_profile *p)
{
    char ram[32], available[32], swap[32], line[256];
    o3_fmt_bytes(ram, sizeof(ram), (double)p->ram_bytes);
    o3_fmt_bytes(available, sizeof(available), (double)p->ram_available_bytes);
    o3_fmt_bytes(swap, sizeof(swap), (double)p->swap_bytes);
    O3_FORMAT(line, "RAM %s, %s available · swap %s · pressure figures %s", ram, available,
              p->swap_bytes ? swap : "none", p->psi ? "there" : "not there");
    add_line(buf, colour, "Memory", line);
}

static void add_bandwidth(o3_buf *buf, bool colour, const o3_profile *p)
{
    const o3_bandwidth *b = &p->bandwidth;
    char all[32], line[256];
    if (!p->engine_local)
        return;
    if (isnan(b->all_bytes_per_s)) {
        add_line(buf, colour, "Reading", "not measured; o3 hardware --measure does it in a second");
        return;
    }
    char half[32] = "";
    if (b->half_bytes_per_s > b->one_bytes_per_s || b->half_bytes_per_s < b->one_bytes_per_s)
        O3_FORMAT(half, ", %.1f by half", b->half_bytes_per_s / 1e9);
    number(all, sizeof(all), p->usable_cpus);
    O3_FORMAT(line, "measured: %.1f GB/s by one core%s, %.1f by all %s · %.0f GFLOP/s", b->one_bytes_per_s / 1e9, half,
              b->all_bytes_per_s / 1e9, all, b->flops_per_s / 1e9);
    add_line(buf, colour, "Reading", line);
}

static void add_pools(o3_buf *buf, bool colour, const o3_profile *p)
{
    char total[32], used[32], safe[32], limit[32] = "", line[512];
    for (int i = 0; i < p->pool_count; i++) {
        const o3_pool *pool = &p->pools[i];
        o3_fmt_bytes(total, sizeof(total), (double)pool->total_bytes);
        o3_fmt_bytes(used, sizeof(used), (double)pool->used_bytes);
        o3_fmt_bytes(safe, sizeof(safe), (double)pool->safe_bytes);
        if (isfinite(pool->limit_frac))
            O3_FORMAT(limit, " (limit %.0f %%)", pool->limit_frac * 100);
        O3_FORMAT(line, "%s: %s of %s used · O3 stays below %s%s", pool->name, used, total, safe, limit);
        add_line(buf, colour, i ? "" : "Pools", line);
    }
}

static void add_engine(o3_buf *buf, bool colour, const o3_profile *p)
{
    char line[512];
    if (!p->engine_local)
        O3_COPY(line, "on another machine: what stands here says nothing about it");
    else if (p->engine_pid < 0)
        O3_COPY(line, "no process seen on this machine (none runs, or another user's)");
    else
        O3_FORMAT(line, "pid %d, %s", p->engine_pid, or_unknown(p->engine_exe));
    add_line(buf, colour, "Server", line);
    if (p->engine_pid >= 0 && !p->engine_env_known)
        add_line(buf, colour, "", "its environment is not readable");
    o3_auto(free) char *env = o3_strdup(p->engine_env);
    char *rest = NULL;
    for (char *word = strtok_r(env, "\n", &rest); word; word = strtok_r(NULL, "\n", &rest))
        add_line(buf, colour, "", word);
    for (int i = 0; i < p->cgroup_count; i++) {
        const o3_cgroup *group = &p->cgroups[i];
        char limit[32];
        o3_fmt_bytes(limit, sizeof(limit), (double)group->limit_bytes);
        O3_FORMAT(line, "v%d %.300s, memory limit %s", group->version, group->dir,
                  group->limit_bytes < 0 ? "none" : limit);
        add_line(buf, colour, i ? "" : "Cgroups", line);
    }
}

char *o3_profile_summary(const o3_profile *profile, bool colour)
{
    o3_buf buf = O3_BUF(TEXT_MAX);
    char line[512];
    O3_FORMAT(line, "%s · %s · Linux %s", or_unknown(profile->hostname), or_unknown(profile->os),
              or_unknown(profile->kernel));
    add_line(&buf, colour, "Machine", line);
    add_cpu(&buf, colour, profile);
    add_memory(&buf, colour, profile);
    add_bandwidth(&buf, colour, profile);
    add_pools(&buf, colour, profile);
    add_engine(&buf, colour, profile);
    for (int i = 0; i < profile->notes.count; i++)
        add_line(&buf, colour, i ? "" : "Notes", profile->notes.text[i]);
    if (*profile->fingerprint)
        add_line(&buf, colour, "Identity", profile->fingerprint);
    return O3_TAKE(buf.data);
}
