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

static const char *plural(int count)
{
    return count == 1 ? "" : "s";
}

/* "L1 data 48 KiB x 8 · L2 2 MiB x 8 · L3 32 MiB" */
static void add_caches(o3_buf *buf, bool colour, const o3_profile *p)
{
    o3_auto(buf) o3_buf line = O3_BUF(1024);
    for (int i = 0; i < p->cache_count; i++) {
        const o3_cache *cache = &p->caches[i];
        char size[32];
        o3_fmt_bytes(size, sizeof(size), (double)cache->size_bytes);
        if (!strcmp(cache->type, "instruction"))
            continue;
        o3_buf_printf(&line, "%sL%d %s", line.len ? " · " : "caches: ", cache->level, size);
        if (cache->count > 1)
            o3_buf_printf(&line, " x %d", cache->count);
    }
    if (line.len)
        add_line(buf, colour, "", o3_buf_text(&line));
}

static void add_kinds(o3_buf *buf, bool colour, const o3_profile *p)
{
    o3_auto(buf) o3_buf line = O3_BUF(2048);
    for (int i = 0; i < p->kind_count; i++) {
        const o3_cpu_kind *kind = &p->kinds[i];
        char cores[32];
        number(cores, sizeof(cores), kind->cores);
        o3_buf_printf(&line, "%s%s: %s core%s", i ? " · " : "cores of several makes: ", kind->name, cores,
                      plural(kind->cores));
        if (*kind->list)
            o3_buf_printf(&line, ", CPUs %s", kind->list);
        else
            o3_buf_printf(&line, ", %d CPUs", kind->cpus);
    }
    if (line.len)
        add_line(buf, colour, "", o3_buf_text(&line));
}

static void add_cpu(o3_buf *buf, bool colour, const o3_profile *p)
{
    char online[32], cores[32], threads[32], usable[32], packages[32], line[512];
    number(online, sizeof(online), p->cpus_online);
    number(cores, sizeof(cores), p->cores);
    number(threads, sizeof(threads), p->threads_per_core);
    number(usable, sizeof(usable), p->usable_cpus);
    number(packages, sizeof(packages), p->packages);
    add_line(buf, colour, "CPU", or_unknown(p->cpu_model));
    O3_FORMAT(line, "usable %s (%s) of %s online · %s core%s · %s thread%s a core · %s package%s", usable,
              or_unknown(p->usable_why), online, cores, plural(p->cores), threads, plural(p->threads_per_core),
              packages, plural(p->packages));
    add_line(buf, colour, "", line);
    add_kinds(buf, colour, p);
    add_caches(buf, colour, p);
    add_line(buf, colour, "", *p->isa ? p->isa : "instruction sets unknown: /proc/cpuinfo does not tell them");
}

static void add_memory(o3_buf *buf, bool colour, const o3_profile *p)
{
    char ram[32], available[32], swap[32], swap_free[32], line[256];
    o3_fmt_bytes(ram, sizeof(ram), (double)p->ram_bytes);
    o3_fmt_bytes(available, sizeof(available), (double)p->ram_available_bytes);
    o3_fmt_bytes(swap, sizeof(swap), (double)p->swap_bytes);
    o3_fmt_bytes(swap_free, sizeof(swap_free), (double)p->swap_free_bytes);
    O3_FORMAT(line, "RAM %s, %s available · swap %s%s%s · pressure figures %s", ram, available,
              p->swap_bytes ? swap : "none", p->swap_bytes > 0 ? ", free " : "", p->swap_bytes > 0 ? swap_free : "",
              p->psi ? "there" : "not there");
    add_line(buf, colour, "Memory", line);
    for (int i = 0; i < p->node_count && p->node_count > 1; i++) {
        const o3_node *node = &p->nodes[i];
        o3_fmt_bytes(ram, sizeof(ram), (double)node->total_bytes);
        o3_fmt_bytes(available, sizeof(available), (double)node->free_bytes);
        O3_FORMAT(line, "node %d: %s, %s free · CPUs %s", node->id, ram, available, *node->cpus ? node->cpus : "none");
        add_line(buf, colour, i ? "" : "NUMA", line);
    }
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

static void add_gpu(o3_buf *buf, bool colour, const o3_profile *p, int i)
{
    const o3_gpu *gpu = &p->gpus[i];
    o3_auto(buf) o3_buf line = O3_BUF(1024);
    char own[32], shared[32];
    o3_fmt_bytes(own, sizeof(own), (double)gpu->own_bytes);
    o3_fmt_bytes(shared, sizeof(shared), (double)gpu->shared_bytes);
    o3_buf_printf(&line, "%s%s%s", *gpu->pci ? gpu->pci : "", *gpu->pci ? " " : "", or_unknown(gpu->name));
    if (*gpu->part)
        o3_buf_printf(&line, " · %s", gpu->part);
    o3_buf_printf(&line, " · driver %s", or_unknown(gpu->driver));
    if (gpu->pool >= 0 && gpu->pool < p->pool_count)
        o3_buf_printf(&line, " · pool %s", p->pools[gpu->pool].name);
    if (gpu->bandwidth_bytes_per_s > 0)
        o3_buf_printf(&line, " · %.0f GB/s by its data", gpu->bandwidth_bytes_per_s / 1e9);
    if (gpu->integrated)
        o3_buf_str(&line, " · integrated");
    if (gpu->own_bytes >= 0 || gpu->shared_bytes >= 0)
        o3_buf_printf(&line, " (own %s, may map %s of the RAM)", own, shared);
    if (gpu->asleep)
        o3_buf_str(&line, " · asleep, and not woken for this");
    if (i >= p->gpu_count)
        o3_buf_printf(&line, " · not counted: %s", or_unknown(gpu->aside));
    else if (isnan(gpu->max_temperature_c))
        o3_buf_str(&line, " · temperature not watched");
    else
        o3_buf_printf(&line, " · O3 pauses at %.0f °C", gpu->max_temperature_c);
    add_line(buf, colour, i ? "" : "GPUs", o3_buf_text(&line));
}

static void add_gpus(o3_buf *buf, bool colour, const o3_profile *p)
{
    int seen = p->gpus_seen > p->gpu_count ? p->gpus_seen : p->gpu_count;
    for (int i = 0; i < seen; i++)
        add_gpu(buf, colour, p, i);
    if (!seen)
        add_line(buf, colour, "GPUs", "none seen");
}

/* The safe size is the lower of limit x total and total - reserve (hardware.h). */
static void pool_why(char *dst, size_t size, const o3_pool *pool)
{
    char kept[32];
    double by_limit = pool->limit_frac * (double)pool->total_bytes;
    o3_fmt_bytes(kept, sizeof(kept), (double)(pool->total_bytes - pool->safe_bytes));
    if (pool->safe_bytes < 0 || isnan(pool->limit_frac))
        o3_copy(dst, size, "unknown size");
    else if ((double)pool->safe_bytes + 1 < floor(by_limit))
        o3_format(dst, size, "reserve %s", kept);
    else
        o3_format(dst, size, "limit %.4g %%", pool->limit_frac * 100);
}

static void add_pools(o3_buf *buf, bool colour, const o3_profile *p)
{
    static const char *const heads[] = {"Pools", "total", "used", "O3 stays below", "by"};
    text_cell cells[O3_POOLS_MAX * O3_COUNT(heads)];
    for (int i = 0; i < p->pool_count; i++) {
        const o3_pool *pool = &p->pools[i];
        text_cell *row = &cells[i * O3_COUNT(heads)];
        O3_COPY(row[0], pool->name);
        o3_fmt_bytes(row[1], sizeof(row[1]), (double)pool->total_bytes);
        o3_fmt_bytes(row[2], sizeof(row[2]), (double)pool->used_bytes);
        o3_fmt_bytes(row[3], sizeof(row[3]), (double)pool->safe_bytes);
        pool_why(row[4], sizeof(row[4]), pool);
    }
    if (p->pool_count)
        o3_buf_str(buf, "\n");
    text_grid(buf, colour, O3_COUNT(heads), heads, p->pool_count, cells);
}

static void add_limits(o3_buf *buf, bool colour, const o3_profile *p)
{
    static const char *const heads[] = {"Limits of cgroups", "of", "file", "value"};
    text_cell cells[O3_LIMITS_MAX * O3_COUNT(heads)];
    for (int i = 0; i < p->limit_count; i++) {
        const o3_limit *limit = &p->limits[i];
        text_cell *row = &cells[i * O3_COUNT(heads)];
        text_clean(row[0], sizeof(row[0]), limit->group);
        O3_COPY(row[1], limit->whose);
        O3_COPY(row[2], limit->file);
        if (*limit->list)
            O3_FORMAT(row[3], "CPUs %s", limit->list);
        else if (!isnan(limit->cpus))
            O3_FORMAT(row[3], "%.4g CPUs", limit->cpus);
        else
            o3_fmt_bytes(row[3], sizeof(row[3]), (double)limit->bytes);
    }
    o3_buf_str(buf, "\n");
    text_grid(buf, colour, O3_COUNT(heads), heads, p->limit_count, cells);
    if (p->limit_count)
        o3_buf_str(buf, "\n");
    else if (p->engine_local)
        add_line(buf, colour, "Limits", p->cgroup_count ? "no cgroup sets one" : "unknown: no cgroup can be seen");
}

static void add_engine(o3_buf *buf, bool colour, const o3_profile *p)
{
    char line[512], user[96] = "unknown user";
    if (*p->engine_user)
        O3_FORMAT(user, "user %s", p->engine_user);
    else if (p->engine_uid >= 0)
        O3_FORMAT(user, "uid %d", p->engine_uid);
    if (!p->engine_local)
        O3_COPY(line, "on another machine: what stands here says nothing about it");
    else if (p->engine_pid < 0)
        O3_COPY(line, "no process seen on this machine (none runs, or another user's)");
    else
        O3_FORMAT(line, "pid %d, %s · %s · %s", p->engine_pid, or_unknown(p->engine_exe), user,
                  *p->engine_unit ? p->engine_unit : "no systemd unit");
    add_line(buf, colour, "Server", line);
    if (p->engine_pid >= 0 && !p->engine_env_known)
        add_line(buf, colour, "", "its environment is unknown: another user's process");
    else if (p->engine_pid >= 0 && !*p->engine_env)
        add_line(buf, colour, "", "no settings of Ollama in its environment");
    o3_auto(free) char *env = o3_strdup(p->engine_env);
    char *rest = NULL;
    for (char *word = strtok_r(env, "\n", &rest); word; word = strtok_r(NULL, "\n", &rest))
        add_line(buf, colour, "", word);
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
    add_gpus(&buf, colour, profile);
    add_engine(&buf, colour, profile);
    add_pools(&buf, colour, profile);
    add_limits(&buf, colour, profile);
    for (int i = 0; i < profile->notes.count; i++)
        add_line(&buf, colour, i ? "" : "Notes", profile->notes.text[i]);
    if (*profile->fingerprint)
        add_line(&buf, colour, "Identity", profile->fingerprint);
    return O3_TAKE(buf.data);
}
