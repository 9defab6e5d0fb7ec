/* SPDX-License-Identifier: Apache-2.0 */
#include "fields.h"

/* Fails to compile when the member is not of the type. */
#define AT(owner, member, type) (offsetof(owner, member) * sizeof(char[_Generic(&((owner *)0)->member, type *: 1)]))
#define TEXT(owner, member)                                                                                           \
    {.name = #member, .type = FIELD_TEXT, .offset = offsetof(owner, member), .size = sizeof(((owner *)0)->member)}
#define TEXT_AS(key, owner, member)                                                                                   \
    {.name = (key), .type = FIELD_TEXT, .offset = offsetof(owner, member), .size = sizeof(((owner *)0)->member)}
#define BOOL(owner, member) {.name = #member, .type = FIELD_BOOL, .offset = AT(owner, member, bool)}
#define BOOL_AS(key, owner, member) {.name = (key), .type = FIELD_BOOL, .offset = AT(owner, member, bool)}
#define COUNT(owner, member) {.name = #member, .type = FIELD_COUNT, .offset = AT(owner, member, int32_t)}
#define INT32(owner, member) {.name = #member, .type = FIELD_I32, .offset = AT(owner, member, int32_t)}
#define INT32_AS(key, owner, member) {.name = (key), .type = FIELD_I32, .offset = AT(owner, member, int32_t)}
#define INT64(owner, member) {.name = #member, .type = FIELD_I64, .offset = AT(owner, member, int64_t)}
#define INT64_AS(key, owner, member) {.name = (key), .type = FIELD_I64, .offset = AT(owner, member, int64_t)}
#define REAL(owner, member) {.name = #member, .type = FIELD_REAL, .offset = AT(owner, member, double)}
#define REAL_AS(key, owner, member) {.name = (key), .type = FIELD_REAL, .offset = AT(owner, member, double)}
#define KNOB(member) {.name = #member, .type = FIELD_KNOB, .offset = AT(o3_knobs, member, int32_t)}
#define PART(owner, member, table)                                                                                    \
    {.name = #member, .type = FIELD_PART, .offset = offsetof(owner, member), .part = (table)}
#define GROUP(key, table) {.name = (key), .type = FIELD_PART, .offset = 0, .part = (table)}
#define PEAKS(owner) {.name = "peaks", .type = FIELD_PEAKS, .offset = AT(owner, peaks, o3_peaks)}
#define NOTES(owner) {.name = "notes", .type = FIELD_NOTES, .offset = AT(owner, notes, o3_notes)}
#define ARRAY(key, owner, first, counter, table)                                                                      \
    {.name = (key), .type = FIELD_ARRAY, .offset = offsetof(owner, first), .size = sizeof(((owner *)0)->first[0]),    \
     .most = sizeof(((owner *)0)->first) / sizeof(((owner *)0)->first[0]), .count = AT(owner, counter, int),           \
     .part = (table)}
#define END {.name = NULL}

static const field fields_knobs[] = {
    KNOB(num_ctx), KNOB(num_batch), KNOB(num_thread), KNOB(num_gpu),
    {.name = "use_mmap", .type = FIELD_SWITCH, .offset = AT(o3_knobs, use_mmap, int32_t)},
    END,
};

static const field fields_measure[] = {
    REAL(o3_measure, mean), REAL(o3_measure, low), REAL(o3_measure, high), REAL(o3_measure, cv),
    COUNT(o3_measure, n), COUNT(o3_measure, removed), INT64(o3_measure, depth_tokens),
    BOOL(o3_measure, disturbed),
    END,
};

static const field fields_score_parts[] = {
    REAL(o3_score, context), REAL(o3_score, throughput), REAL(o3_score, response),
    END,
};

static const field fields_score_weights[] = {
    REAL_AS("context", o3_score, w_context),
    REAL_AS("throughput", o3_score, w_throughput),
    REAL_AS("response", o3_score, w_response),
    END,
};

static const field fields_score[] = {
    REAL(o3_score, total), GROUP("parts", fields_score_parts), GROUP("weights", fields_score_weights),
    END,
};

static const field fields_success[] = {
    REAL_AS("frac", o3_preset, success_frac),
    REAL_AS("low", o3_preset, success_low),
    REAL_AS("high", o3_preset, success_high),
    END,
};

const field fields_preset[] = {
    TEXT(o3_preset, name),
    TEXT(o3_preset, description),
    PART(o3_preset, knobs, fields_knobs),
    BOOL(o3_preset, measured),
    BOOL(o3_preset, proven),
    PART(o3_preset, decode_per_s, fields_measure),
    PART(o3_preset, decode_equal_per_s, fields_measure),
    PART(o3_preset, prefill_per_s, fields_measure),
    PART(o3_preset, ttft_ms, fields_measure),
    PEAKS(o3_preset),
    PART(o3_preset, score, fields_score),
    GROUP("success", fields_success),
    TEXT(o3_preset, verdict),
    END,
};

static const field fields_engine[] = {
    TEXT_AS("version", o3_result, engine_version),
    TEXT_AS("host", o3_result, engine_host),
    END,
};

static const field fields_next_step[] = {
    INT64_AS("num_ctx", o3_ceiling, next_num_ctx),
    {.name = "kind", .type = FIELD_STEP, .offset = AT(o3_ceiling, next_kind, o3_step_reason)},
    TEXT_AS("reason", o3_ceiling, next_reason),
    END,
};

static const field fields_ceiling[] = {
    INT64(o3_ceiling, proven_tokens), INT64(o3_ceiling, allocated_tokens), INT64(o3_ceiling, trained_tokens),
    INT64(o3_ceiling, filled_tokens), COUNT(o3_ceiling, proofs),
    {.name = "num_batch", .type = FIELD_KNOB, .offset = AT(o3_ceiling, num_batch, int32_t)},
    GROUP("next_step", fields_next_step),
    COUNT(o3_ceiling, iterations), COUNT(o3_ceiling, loads), COUNT(o3_ceiling, fills),
    REAL(o3_ceiling, used_frac), TEXT(o3_ceiling, used_pool),
    REAL(o3_ceiling, full_decode_per_s), REAL(o3_ceiling, full_ttft_s),
    END,
};

static const field fields_floor[] = {REAL(o3_floor, min_decode_per_s), REAL(o3_floor, max_ttft_s), END};

static const field fields_race[] = {
    {.name = "verdict", .type = FIELD_RACE, .offset = AT(o3_race, verdict, o3_race_verdict)},
    PART(o3_race, knobs, fields_knobs), PART(o3_race, finalist, fields_knobs), REAL(o3_race, decode_weight),
    REAL(o3_race, gain), REAL(o3_race, gain_low), REAL(o3_race, gain_high),
    REAL(o3_race, promised), REAL(o3_race, shrunk),
    INT64(o3_race, num_ctx), INT64(o3_race, prompt_tokens),
    COUNT(o3_race, visits), COUNT(o3_race, candidates),
    TEXT(o3_race, why),
    END,
};

static const field fields_cost[] = {
    REAL(o3_cost, wall_s), REAL(o3_cost, lower_bound_s),
    COUNT(o3_cost, loads), COUNT(o3_cost, fills), COUNT(o3_cost, requests),
    END,
};

static const field fields_range[] = {REAL(o3_range, low), REAL(o3_range, mid), REAL(o3_range, high), END};

static const field fields_server[] = {
    TEXT(o3_server_row, name),
    TEXT(o3_server_row, env),
    BOOL(o3_server_row, measured),
    INT64(o3_server_row, predicted_tokens), INT64(o3_server_row, window_tokens), INT64(o3_server_row, compared_num_ctx),
    COUNT(o3_server_row, turns),
    PART(o3_server_row, decode_per_s, fields_measure),
    PART(o3_server_row, prefill_per_s, fields_measure),
    PART(o3_server_row, decode_ratio, fields_range),
    PART(o3_server_row, prefill_ratio, fields_range),
    TEXT(o3_server_row, in_force),
    TEXT(o3_server_row, note),
    REAL(o3_server_row, wall_s),
    END,
};

const field fields_result[] = {
    {.name = "schema", .type = FIELD_SCHEMA, .required = true},
    {.name = "model", .type = FIELD_TEXT, .required = true, .offset = offsetof(o3_result, model),
     .size = sizeof(((o3_result *)0)->model)},
    TEXT(o3_result, digest),
    GROUP("engine", fields_engine),
    TEXT(o3_result, run_id),
    TEXT(o3_result, finished_at),
    BOOL(o3_result, complete),
    BOOL(o3_result, known),
    {.name = "profile", .type = FIELD_PROFILE},
    {.name = "ceiling", .type = FIELD_PART, .required = true, .offset = AT(o3_result, ceiling, o3_ceiling),
     .part = fields_ceiling},
    PART(o3_result, floor, fields_floor),
    PART(o3_result, race, fields_race),
    {.name = "presets", .type = FIELD_PRESETS, .required = true},
    PART(o3_result, baseline, fields_preset),
    ARRAY("servers", o3_result, servers, server_count, fields_server),
    BOOL(o3_result, servers_complete),
    TEXT(o3_result, weights),
    PART(o3_result, cost, fields_cost),
    NOTES(o3_result),
    END,
};

static const field fields_sample[] = {
    {.name = "kind", .type = FIELD_KIND, .offset = AT(o3_sample, kind, o3_sample_kind)},
    {.name = "outcome", .type = FIELD_OUTCOME, .offset = AT(o3_sample, outcome, o3_outcome)},
    {.name = "text_seed", .type = FIELD_SEED, .offset = AT(o3_sample, text_seed, uint64_t)},
    INT64(o3_sample, sent_tokens), INT64(o3_sample, prompt_tokens), INT64(o3_sample, added_tokens),
    INT64(o3_sample, eval_tokens), INT64(o3_sample, prompt_eval_ns), INT64(o3_sample, eval_ns),
    INT64(o3_sample, load_ns), INT64(o3_sample, ttft_ns), INT64(o3_sample, wall_ns),
    REAL(o3_sample, prefill_per_s), REAL(o3_sample, decode_per_s), INT64(o3_sample, depth_tokens),
    REAL(o3_sample, foreign_cpu_frac), REAL(o3_sample, psi_memory_frac),
    BOOL(o3_sample, disturbed), BOOL(o3_sample, throttled), BOOL(o3_sample, warmup), BOOL(o3_sample, outlier),
    END,
};

const field fields_trial[] = {
    INT64(o3_trial, id),
    TEXT(o3_trial, purpose),
    PART(o3_trial, asked, fields_knobs),
    PART(o3_trial, in_force, fields_knobs),
    INT64(o3_trial, size_bytes), INT64(o3_trial, size_vram_bytes), INT64(o3_trial, predicted_bytes),
    {.name = "outcome", .type = FIELD_OUTCOME, .offset = AT(o3_trial, outcome, o3_outcome)},
    TEXT(o3_trial, reason),
    INT64(o3_trial, started_unix_ms), INT64(o3_trial, wall_ns),
    COUNT(o3_trial, loads), COUNT(o3_trial, fills), COUNT(o3_trial, requests),
    INT64(o3_trial, depth_tokens),
    PEAKS(o3_trial),
    ARRAY("samples", o3_trial, samples, sample_count, fields_sample),
    END,
};

static const field fields_kind[] = {
    TEXT(o3_cpu_kind, name), COUNT(o3_cpu_kind, cpus), INT32(o3_cpu_kind, cores), TEXT(o3_cpu_kind, list),
    END,
};

static const field fields_cache[] = {
    COUNT(o3_cache, level), TEXT(o3_cache, type), INT64(o3_cache, size_bytes), COUNT(o3_cache, count),
    END,
};

static const field fields_node[] = {
    COUNT(o3_node, id), TEXT(o3_node, cpus), INT64(o3_node, total_bytes), INT64(o3_node, free_bytes),
    END,
};

static const field fields_limit[] = {
    TEXT(o3_limit, whose), TEXT(o3_limit, group), TEXT(o3_limit, file), INT64(o3_limit, bytes), REAL(o3_limit, cpus),
    TEXT(o3_limit, list),
    END,
};

static const field fields_cpu[] = {
    TEXT_AS("model", o3_profile, cpu_model),
    TEXT_AS("vendor", o3_profile, cpu_vendor),
    INT32_AS("online", o3_profile, cpus_online),
    INT32(o3_profile, packages), INT32(o3_profile, cores), INT32(o3_profile, threads_per_core),
    REAL_AS("usable", o3_profile, usable_cpus),
    TEXT(o3_profile, usable_why),
    TEXT_AS("list", o3_profile, cpu_list),
    TEXT(o3_profile, isa),
    ARRAY("kinds", o3_profile, kinds, kind_count, fields_kind),
    ARRAY("caches", o3_profile, caches, cache_count, fields_cache),
    END,
};

static const field fields_memory[] = {
    INT64(o3_profile, ram_bytes),
    INT64_AS("available_bytes", o3_profile, ram_available_bytes),
    INT64(o3_profile, swap_bytes), INT64(o3_profile, swap_free_bytes),
    BOOL(o3_profile, psi),
    END,
};

static const field fields_process[] = {
    INT32_AS("pid", o3_profile, engine_pid),
    BOOL_AS("local", o3_profile, engine_local),
    TEXT_AS("exe", o3_profile, engine_exe),
    INT32_AS("uid", o3_profile, engine_uid),
    TEXT_AS("user", o3_profile, engine_user),
    TEXT_AS("unit", o3_profile, engine_unit),
    BOOL_AS("env_known", o3_profile, engine_env_known),
    TEXT_AS("env", o3_profile, engine_env),
    END,
};

static const field fields_cgroup[] = {
    COUNT(o3_cgroup, version), TEXT(o3_cgroup, dir), INT64(o3_cgroup, limit_bytes),
    END,
};

static const field fields_pool[] = {
    TEXT(o3_pool, name),
    INT64(o3_pool, total_bytes), INT64(o3_pool, used_bytes), INT64(o3_pool, models_bytes), INT64(o3_pool, safe_bytes),
    REAL(o3_pool, limit_frac),
    TEXT(o3_pool, source),
    END,
};

const char *const fields_vendors[] = {"other", "nvidia", "amd", "intel", "apple", "software", NULL};

const field fields_gpu[] = {
    TEXT(o3_gpu, name),
    TEXT(o3_gpu, pci),
    {.name = "vendor", .type = FIELD_VENDOR, .offset = AT(o3_gpu, vendor, o3_gpu_vendor)},
    BOOL(o3_gpu, unified),
    INT32(o3_gpu, pool),
    {.name = "memory_bytes", .type = FIELD_PROFILE}, /* its pool's total */
    REAL(o3_gpu, bandwidth_bytes_per_s), REAL(o3_gpu, fp16_flops),
    INT64(o3_gpu, max_tensor_bytes),
    TEXT(o3_gpu, driver), TEXT(o3_gpu, source), TEXT(o3_gpu, part), TEXT(o3_gpu, uuid), TEXT(o3_gpu, aside),
    BOOL(o3_gpu, integrated), BOOL(o3_gpu, asleep),
    INT64(o3_gpu, own_bytes), INT64(o3_gpu, shared_bytes),
    REAL(o3_gpu, max_temperature_c),
    END,
};

static const field fields_bandwidth[] = {
    REAL(o3_bandwidth, one_bytes_per_s), REAL(o3_bandwidth, half_bytes_per_s), REAL(o3_bandwidth, all_bytes_per_s),
    REAL(o3_bandwidth, flops_per_s), INT64(o3_bandwidth, measured_unix_ms),
    END,
};

const field fields_profile[] = {
    TEXT(o3_profile, hostname), TEXT(o3_profile, os), TEXT(o3_profile, kernel),
    GROUP("cpu", fields_cpu),
    GROUP("memory", fields_memory),
    GROUP("process", fields_process),
    ARRAY("cgroups", o3_profile, cgroups, cgroup_count, fields_cgroup),
    ARRAY("limits", o3_profile, limits, limit_count, fields_limit),
    ARRAY("pools", o3_profile, pools, pool_count, fields_pool),
    ARRAY("gpus", o3_profile, gpus, gpu_count, fields_gpu),
    {.name = "gpus_aside", .type = FIELD_PROFILE}, /* those behind gpu_count */
    ARRAY("numa", o3_profile, nodes, node_count, fields_node),
    PART(o3_profile, bandwidth, fields_bandwidth),
    TEXT(o3_profile, fingerprint),
    NOTES(o3_profile),
    END,
};
