/* SPDX-License-Identifier: Apache-2.0 */
/* A look of the monitor as JSON and as a line of CSV: for programs. */
#include "fields.h"
#include "text.h"

static json_t *real(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *bytes(int64_t value)
{
    return value < 0 ? json_null() : json_integer((json_int_t)value);
}

/* true, false, or null where the value or the limit is unknown. */
static json_t *reached(double value, double limit)
{
    return isfinite(value) && isfinite(limit) ? json_boolean(value >= limit) : json_null();
}

static json_t *pools_json(const o3_frame *f)
{
    json_t *json = json_array();
    for (int i = 0; i < f->profile->pool_count; i++)
        json_array_append_new(json, json_pack("{s:o, s:o, s:o}", "name", fields_text(f->profile->pools[i].name),
                                              "used_bytes", bytes(f->sight->pool_bytes[i]), "total_bytes",
                                              bytes(f->profile->pools[i].total_bytes)));
    return json;
}

static json_t *gpus_json(const o3_frame *f)
{
    json_t *json = json_array();
    for (int i = 0; i < f->profile->gpu_count; i++) {
        const o3_gpu_sight *gpu = &f->sight->gpus[i];
        json_array_append_new(json, json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "name",
                                              fields_text(f->profile->gpus[i].name), "pci",
                                              fields_text(f->profile->gpus[i].pci), "busy_frac", real(gpu->busy_frac),
                                              "temperature_c", real(gpu->temperature_c), "power_w", real(gpu->power_w),
                                              "throttled", gpu->throttled < 0 ? json_null()
                                                                              : json_boolean(gpu->throttled),
                                              "age_s", real(gpu->age_s)));
    }
    return json;
}

static json_t *models_json(const o3_frame *f)
{
    json_t *json = json_array();
    for (int i = 0; i < f->model_count; i++)
        json_array_append_new(json, json_pack("{s:o, s:o, s:o, s:o}", "name", fields_text(f->models[i].name), "num_ctx",
                                              bytes(f->models[i].num_ctx), "size_bytes", bytes(f->models[i].size_bytes),
                                              "size_vram_bytes", bytes(f->models[i].size_vram_bytes)));
    return json;
}

static void add_temperature(json_t *json, const char *name, double value_c, double limit_c)
{
    if (isfinite(limit_c) && limit_c > 0)
        json_array_append_new(json, json_pack("{s:o, s:s, s:o, s:o, s:o}", "name", fields_text(name), "kind",
                                              "temperature", "limit_c", real(limit_c), "value_c", real(value_c),
                                              "reached", reached(value_c, limit_c)));
}

/* What O3 would stop at, in a trial: hardware.h, monitor.h. */
static json_t *limits_json(const o3_frame *f)
{
    json_t *json = json_array();
    for (int i = 0; i < f->profile->pool_count; i++) {
        const o3_pool *pool = &f->profile->pools[i];
        double limit = pool->total_bytes < 0 ? (double)NAN : pool->limit_frac * (double)pool->total_bytes;
        double used = f->sight->pool_bytes[i] < 0 ? (double)NAN : (double)f->sight->pool_bytes[i];
        json_array_append_new(json, json_pack("{s:o, s:s, s:o, s:o, s:o, s:o}", "name", fields_text(pool->name), "kind",
                                              "memory", "limit_bytes", bytes(isnan(limit) ? -1 : (int64_t)limit),
                                              "safe_bytes", bytes(pool->safe_bytes), "value_bytes",
                                              bytes(f->sight->pool_bytes[i]), "reached", reached(used, limit)));
    }
    add_temperature(json, "CPU", f->sight->temperature_c, f->max_temperature_c);
    for (int i = 0; i < f->profile->gpu_count; i++)
        add_temperature(json, f->profile->gpus[i].name, f->sight->gpus[i].temperature_c,
                        f->profile->gpus[i].max_temperature_c);
    return json;
}

json_t *o3_frame_to_json(const o3_frame *f)
{
    const o3_sight *s = f->sight;
    json_t *cpu = json_pack("{s:o, s:o, s:o, s:o, s:o}", "busy_frac", real(s->busy_frac), "psi_some_frac",
                            real(s->psi_cpu_some_frac), "temperature_c", real(s->temperature_c), "power_w",
                            real(s->power_w), "throttle_events", bytes(s->throttle_events));
    json_t *memory = json_pack("{s:o, s:o}", "psi_some_frac", real(s->psi_memory_some_frac), "psi_full_frac",
                               real(s->psi_memory_full_frac));
    json_t *runner = json_pack("{s:o, s:o, s:o}", "pid", bytes(f->runner_pid), "rss_anon_bytes",
                               bytes(s->rss_anon_bytes), "rss_file_bytes", bytes(s->rss_file_bytes));
    return json_pack("{s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "t_ns", (json_int_t)s->t_ns, "tick",
                     (json_int_t)s->tick, "pools", pools_json(f), "gpus", gpus_json(f), "cpu", cpu, "memory", memory,
                     "runner", runner, "models", models_json(f), "limits", limits_json(f));
}

/* Names are the machine's: a comma, a quote or a line feed in them would be another column or line. */
static void csv_name(o3_buf *buf, const char *name, const char *what)
{
    o3_buf_str(buf, ",");
    for (; *name; name++) {
        char c[2] = {strchr(",\"\r\n", *name) ? '_' : *name, '\0'};
        o3_buf_str(buf, c);
    }
    o3_buf_printf(buf, "%s", what);
}

char *o3_frame_csv_head(const o3_profile *profile)
{
    o3_buf buf = O3_BUF(TEXT_MAX);
    o3_buf_str(&buf, "t_ns,tick");
    for (int i = 0; i < profile->pool_count; i++)
        csv_name(&buf, profile->pools[i].name, " used_bytes");
    o3_buf_str(&buf, ",cpu_busy_frac,cpu_psi_some_frac,memory_psi_some_frac,memory_psi_full_frac,cpu_temperature_c,"
                     "cpu_power_w,throttle_events,runner_rss_anon_bytes,runner_rss_file_bytes");
    for (int i = 0; i < profile->gpu_count; i++) {
        const o3_gpu *gpu = &profile->gpus[i];
        const char *name = *gpu->pci ? gpu->pci : gpu->name;
        csv_name(&buf, name, " busy_frac");
        csv_name(&buf, name, " temperature_c");
        csv_name(&buf, name, " power_w");
    }
    o3_buf_str(&buf, "\n");
    return O3_TAKE(buf.data);
}

static void csv_bytes(o3_buf *buf, int64_t value)
{
    if (value < 0)
        o3_buf_str(buf, ",");
    else
        o3_buf_printf(buf, ",%lld", (long long)value);
}

static void csv_real(o3_buf *buf, double value)
{
    if (isfinite(value))
        o3_buf_printf(buf, ",%.6g", value);
    else
        o3_buf_str(buf, ",");
}

char *o3_frame_csv(const o3_frame *f)
{
    const o3_sight *s = f->sight;
    const double rates[] = {s->busy_frac, s->psi_cpu_some_frac, s->psi_memory_some_frac, s->psi_memory_full_frac,
                            s->temperature_c, s->power_w};
    const int64_t counts[] = {s->throttle_events, s->rss_anon_bytes, s->rss_file_bytes};
    o3_buf buf = O3_BUF(TEXT_MAX);
    o3_buf_printf(&buf, "%lld,%lld", (long long)s->t_ns, (long long)s->tick);
    for (int i = 0; i < f->profile->pool_count; i++)
        csv_bytes(&buf, s->pool_bytes[i]);
    for (int i = 0; i < O3_COUNT(rates); i++)
        csv_real(&buf, rates[i]);
    for (int i = 0; i < O3_COUNT(counts); i++)
        csv_bytes(&buf, counts[i]);
    for (int i = 0; i < f->profile->gpu_count; i++) {
        csv_real(&buf, s->gpus[i].busy_frac);
        csv_real(&buf, s->gpus[i].temperature_c);
        csv_real(&buf, s->gpus[i].power_w);
    }
    o3_buf_str(&buf, "\n");
    return O3_TAKE(buf.data);
}
