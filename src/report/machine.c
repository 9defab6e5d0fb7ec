/* SPDX-License-Identifier: Apache-2.0 */
/* A profile from JSON, strictly: a machine that somebody describes must not be another one because of a typing error.
 * The members are those of fields_profile, so what is printed can be read. */
#include <strings.h>

#include "base/base.h"
#include "fields.h"

#define BYTES_MOST (INT64_C(1) << 53)
#define MIB 1048576.0

typedef struct where {
    char path[192]; /* "gpus[0].name" */
} where;

static where inner(const where *at, const char *name)
{
    where w;
    O3_FORMAT(w.path, "%.120s%s%.60s", at->path, *at->path ? "." : "", name);
    return w;
}

static o3_status misfit(const where *at, const char *expected, o3_err *err)
{
    return o3_fail(err, O3_E_CONFIG, "%s of the machine must be %s", at->path, expected);
}

static const field *find(const field *table, const char *name)
{
    for (const field *row = table; row->name; row++)
        if (!strcmp(row->name, name))
            return row;
    return NULL;
}

static o3_status unknown(const field *table, const where *at, const char *name, o3_err *err)
{
    const char *names[64];
    int count = 0;
    where w = inner(at, name);
    for (const field *row = table; row->name && count < O3_COUNT(names); row++)
        names[count++] = row->name;
    const char *near = NULL;
    for (int i = 0; i < count && !near; i++) /* "gpu" is no cpu */
        near = strncmp(names[i], name, strlen(name)) ? NULL : names[i];
    if (!near)
        near = o3_nearest(name, names, count);
    if (near)
        return o3_fail(err, O3_E_CONFIG, "a machine has no %s (did you mean %s?)", w.path, near);
    return o3_fail(err, O3_E_CONFIG, "a machine has no %s; docs/machine.md lists what it has", w.path);
}

static o3_status read_object(const field *table, char *base, const json_t *json, const where *at, o3_err *err);

/* What is printed as a list of texts is kept as one: the environment by lines, CPU features by words. */
static o3_status read_text(const field *row, char *at, const json_t *json, const where *w, o3_err *err)
{
    o3_auto(buf) o3_buf joined = O3_BUF(row->size - 1);
    if (json_is_string(json))
        o3_buf_str(&joined, json_string_value(json));
    bool lines = !strcmp(row->name, "env");
    for (size_t i = 0; i < json_array_size(json); i++) {
        const char *word = json_string_value(json_array_get(json, i));
        if (!word)
            return misfit(w, "a list of texts", err);
        o3_buf_printf(&joined, "%s%s%s", !lines && i ? " " : "", word, lines ? "\n" : "");
    }
    if (!json_is_string(json) && !json_is_array(json))
        return misfit(w, "a text", err);
    if (joined.overflow)
        return misfit(w, "a shorter text", err);
    o3_copy(at, row->size, o3_buf_text(&joined));
    return O3_OK;
}

/* "24GiB" or 25769803776. */
static o3_status read_bytes(const json_t *json, const where *w, int64_t *ret_bytes, o3_err *err)
{
    int64_t value = json_is_integer(json) ? json_integer_value(json) : -1;
    if (json_is_string(json) && !o3_parse_bytes(json_string_value(json), &value))
        value = -1;
    if (value < 0 || value > BYTES_MOST)
        return misfit(w, "a number of bytes such as 25769803776 or \"24GiB\"", err);
    *ret_bytes = value;
    return O3_OK;
}

static bool is_bytes(const char *name)
{
    size_t len = strlen(name);
    return len > 6 && !strcmp(name + len - 6, "_bytes");
}

static o3_status read_integer(const field *row, char *at, const json_t *json, const where *w, o3_err *err)
{
    int64_t value = json_is_integer(json) ? json_integer_value(json) : -1;
    if (row->type == FIELD_I64 && is_bytes(row->name)) {
        o3_status status = read_bytes(json, w, &value, err);
        if (status)
            return status;
    }
    if (row->type == FIELD_I64) {
        if (value < 0 || value > BYTES_MOST)
            return misfit(w, "a whole number that is not negative", err);
        memcpy(at, &value, sizeof(value));
        return O3_OK;
    }
    if (value < 0 || value > INT32_MAX)
        return misfit(w, "a whole number that is not negative", err);
    int32_t small = (int32_t)value;
    memcpy(at, &small, sizeof(small));
    return O3_OK;
}

static o3_status read_real(char *at, const json_t *json, const where *w, o3_err *err)
{
    double value = json_is_number(json) ? json_number_value(json) : NAN;
    if (!(value > 0) || !isfinite(value))
        return misfit(w, "a number above 0", err);
    memcpy(at, &value, sizeof(value));
    return O3_OK;
}

static o3_status read_vendor(char *at, const json_t *json, const where *w, o3_err *err)
{
    const char *name = json_is_string(json) ? json_string_value(json) : "";
    for (int32_t i = 0; fields_vendors[i]; i++) {
        if (!strcasecmp(name, fields_vendors[i])) {
            memcpy(at, &i, sizeof(i));
            return O3_OK;
        }
    }
    return misfit(w, "one of other, nvidia, amd, intel, apple, software", err);
}

static o3_status read_array(const field *row, char *base, const json_t *json, const where *w, o3_err *err)
{
    size_t count = json_array_size(json);
    int kept = (int)count;
    if (!json_is_array(json))
        return misfit(w, "a list", err);
    if (count > row->most)
        return o3_fail(err, O3_E_LIMIT, "%s of the machine has %zu entries; %zu are the most", w->path, count, row->most);
    for (size_t i = 0; i < count; i++) {
        where element;
        O3_FORMAT(element.path, "%.150s[%zu]", w->path, i);
        o3_status status = read_object(row->part, base + row->offset + i * row->size, json_array_get(json, i), &element,
                                       err);
        if (status)
            return status;
    }
    memcpy(base + row->count, &kept, sizeof(kept));
    return O3_OK;
}

static o3_status read_value(const field *row, char *base, const json_t *json, const where *w, o3_err *err)
{
    char *at = base + row->offset;
    bool flag = json_is_true(json);
    switch (row->type) {
    case FIELD_TEXT:
        return read_text(row, at, json, w, err);
    case FIELD_BOOL:
        if (!json_is_boolean(json))
            return misfit(w, "true or false", err);
        memcpy(at, &flag, sizeof(flag));
        return O3_OK;
    case FIELD_REAL:
        return read_real(at, json, w, err);
    case FIELD_PART:
        return read_object(row->part, at, json, w, err);
    case FIELD_ARRAY:
        return read_array(row, base, json, w, err);
    case FIELD_VENDOR:
        return read_vendor(at, json, w, err);
    case FIELD_NOTES:
        for (size_t i = 0; i < json_array_size(json); i++)
            if (json_is_string(json_array_get(json, i)))
                o3_note((o3_notes *)(void *)at, "%s", json_string_value(json_array_get(json, i)));
        return O3_OK;
    case FIELD_PROFILE:
        return O3_OK; /* taken by whoever knows its place */
    default:
        return read_integer(row, at, json, w, err);
    }
}

static o3_status read_object(const field *table, char *base, const json_t *json, const where *at, o3_err *err)
{
    const char *name;
    json_t *value;
    if (!json_is_object(json))
        return misfit(at, "an object", err);
    json_object_foreach((json_t *)json, name, value)
    {
        const field *row = find(table, name);
        where w = inner(at, name);
        if (!row)
            return unknown(table, at, name, err);
        if (json_is_null(value))
            continue; /* unknown, as if it were left out */
        o3_status status = read_value(row, base, value, &w, err);
        if (status)
            return status;
    }
    return O3_OK;
}

static void nothing_known(o3_profile *p)
{
    *p = (o3_profile){.cpus_online = -1, .packages = -1, .cores = -1, .threads_per_core = -1, .usable_cpus = NAN,
                      .ram_bytes = -1, .ram_available_bytes = -1, .swap_bytes = -1, .swap_free_bytes = -1,
                      .engine_pid = -1, .engine_uid = -1, .engine_local = true, .engine_env_known = true,
                      .bandwidth = O3_BANDWIDTH_NONE};
    for (int i = 0; i < O3_POOLS_MAX; i++)
        p->pools[i] = (o3_pool){.total_bytes = -1, .used_bytes = -1, .safe_bytes = -1, .limit_frac = NAN};
    for (int i = 0; i < O3_CGROUPS_MAX; i++)
        p->cgroups[i].limit_bytes = -1;
    for (int i = 0; i < O3_GPUS_MAX; i++)
        p->gpus[i] = O3_GPU_UNKNOWN;
    for (int i = 0; i < O3_CPU_KINDS_MAX; i++)
        p->kinds[i].cores = -1;
    for (int i = 0; i < O3_CACHES_MAX; i++)
        p->caches[i].size_bytes = -1;
    for (int i = 0; i < O3_NODES_MAX; i++)
        p->nodes[i].total_bytes = p->nodes[i].free_bytes = -1;
    for (int i = 0; i < O3_LIMITS_MAX; i++)
        p->limits[i] = (o3_limit){.bytes = -1, .cpus = NAN};
}

/* As hardware.h says: the share of the limits, and the reserve where the user set one. */
static void set_safe(o3_pool *pool, const o3_config *config, bool device)
{
    double percent = device ? config->hardware_monitoring.safety_thresholds.max_vram_percent
                            : config->hardware_monitoring.safety_thresholds.max_ram_percent;
    int64_t reserve_mb = device ? config->hardware_monitoring.resource_headroom.vram_reserve_mb
                                : config->hardware_monitoring.resource_headroom.ram_reserve_mb;
    bool users = device ? config->hardware_monitoring.vram_reserve_is_users
                        : config->hardware_monitoring.ram_reserve_is_users;
    if (pool->total_bytes < 0 || pool->safe_bytes >= 0)
        return;
    pool->limit_frac = isfinite(pool->limit_frac) ? pool->limit_frac : percent / 100;
    double total = (double)pool->total_bytes, safe = pool->limit_frac * total;
    if (users && reserve_mb > 0)
        safe = fmin(safe, total - (double)reserve_mb * MIB);
    pool->safe_bytes = safe > 0 ? (int64_t)safe : 0;
}

static o3_pool *add_pool(o3_profile *p, const char *name, int64_t total, int64_t used)
{
    o3_pool *pool = &p->pools[p->pool_count++];
    O3_COPY(pool->name, name);
    O3_COPY(pool->source, "the machine's description");
    pool->total_bytes = total;
    pool->used_bytes = used;
    return pool;
}

static o3_status add_host(o3_profile *p, const o3_config *config, o3_err *err)
{
    if (p->pool_count || !p->engine_local)
        return O3_OK;
    if (p->ram_bytes < 0)
        return o3_fail(err, O3_E_CONFIG, "the machine has no memory.ram_bytes; give it, such as \"64GiB\"");
    bool known = p->ram_available_bytes >= 0 && p->ram_available_bytes <= p->ram_bytes;
    if (!known)
        o3_note(&p->notes, "the machine's memory.available_bytes is not given: its RAM counts as unused");
    set_safe(add_pool(p, "ram", p->ram_bytes, known ? p->ram_bytes - p->ram_available_bytes : 0), config, false);
    return O3_OK;
}

/* A unified GPU without a size of its own may use all of the RAM. */
static o3_status add_gpu(o3_profile *p, int i, const json_t *json, const o3_config *config, o3_err *err)
{
    o3_gpu *gpu = &p->gpus[i];
    const json_t *memory = json_object_get(json, "memory_bytes");
    where w;
    char name[64];
    int64_t total;
    O3_FORMAT(w.path, "gpus[%d].memory_bytes", i);
    if (gpu->pool >= p->pool_count)
        return o3_fail(err, O3_E_CONFIG, "gpus[%d].pool %d is not one of the machine's %d pools", i, gpu->pool, p->pool_count);
    if (gpu->pool >= 0)
        return O3_OK;
    if (gpu->unified && (!memory || json_is_null(memory))) {
        gpu->pool = 0;
        return O3_OK;
    }
    if (!memory || p->pool_count == O3_POOLS_MAX)
        return misfit(&w, "given, such as \"24GiB\"", err);
    o3_status status = read_bytes(memory, &w, &total, err);
    if (status)
        return status;
    O3_FORMAT(name, "gpu%d", i);
    gpu->pool = p->pool_count;
    set_safe(add_pool(p, name, total, 0), config, true);
    return O3_OK;
}

o3_status o3_profile_from_json(o3_profile *ret_profile, const json_t *json, const o3_config *config, o3_err *err)
{
    o3_auto(free) o3_profile *p = o3_alloc(1, sizeof(*p));
    const json_t *whole = json_object_get(json, "profile"); /* of `o3 hardware --json` */
    const where top = {""};
    if (!json_is_object(json) || (whole && !json_is_object(whole)))
        return o3_fail(err, O3_E_CONFIG, "the machine's description is no JSON object; docs/machine.md shows one");
    json = whole ? whole : json;
    nothing_known(p);
    o3_status status = read_object(fields_profile, (char *)p, json, &top, err);
    if (!status)
        status = add_host(p, config, err);
    for (int i = 0; i < p->pool_count; i++)
        set_safe(&p->pools[i], config, false);
    for (int i = 0; i < p->gpu_count && !status; i++)
        status = add_gpu(p, i, json_array_get(json_object_get(json, "gpus"), (size_t)i), config, err);
    if (status)
        return status;
    p->gpus_seen = p->gpu_count;
    if (!(p->usable_cpus > 0))
        p->usable_cpus = p->cores > 0 ? p->cores : p->cpus_online; /* -1 where that is unknown too */
    if (!(p->usable_cpus > 0))
        p->usable_cpus = NAN;
    if (!(p->usable_cpus > 0))
        o3_note(&p->notes, "the machine's cpu.usable is not given: speed on its CPU counts one core");
    *ret_profile = *p;
    return O3_OK;
}
