/* SPDX-License-Identifier: Apache-2.0 */
/* A look at the machine: who answers, what the kernel says, and what was measured here before. */
#include "tune_impl.h"

#define KIND "bandwidth"

/* What was kept by another release or damaged counts as never measured: it can be made again in a second. */
static bool bandwidth_parse(const char *text, o3_bandwidth *ret)
{
    o3_bandwidth b;
    json_int_t measured;
    json_t *json = json_loads(text, 0, NULL);
    bool good = json && !json_unpack(json, "{s:F, s:F, s:F, s:F, s:I}", "one_bytes_per_s", &b.one_bytes_per_s,
                                     "half_bytes_per_s", &b.half_bytes_per_s, "all_bytes_per_s", &b.all_bytes_per_s,
                                     "flops_per_s", &b.flops_per_s, "measured_unix_ms", &measured);
    json_decref(json);
    good = good && b.one_bytes_per_s > 0 && b.half_bytes_per_s > 0 && b.all_bytes_per_s > 0 && b.flops_per_s > 0;
    if (!good)
        return false;
    b.measured_unix_ms = measured;
    *ret = b;
    return true;
}

o3_status look_bandwidth(const o3_world *world, o3_profile *profile, o3_err *err)
{
    o3_auto(free) char *text = NULL;
    if (!world->store || !*profile->fingerprint)
        return O3_OK;
    o3_status status = o3_store_document_get(world->store, KIND, profile->fingerprint, &text, err);
    if (!status && text)
        bandwidth_parse(text, &profile->bandwidth);
    return status;
}

o3_status o3_look(const o3_world *world, o3_profile *ret_profile, o3_engine_caps *ret_caps, o3_err *err)
{
    o3_status status = o3_engine_caps_read(world->engine, ret_caps, err);
    if (status)
        return status;
    bool local = o3_engine_is_local(world->engine);
    int pid = local ? o3_process_listening(world->root, o3_engine_port(world->engine)) : -1;
    status = o3_profile_read(ret_profile, world->root, world->config, pid, local, err);
    return status ? status : look_bandwidth(world, ret_profile, err);
}

o3_status o3_look_alone(const o3_world *world, o3_profile *ret_profile, o3_err *err)
{
    o3_status status = o3_profile_read(ret_profile, world->root, world->config, -1, o3_engine_is_local(world->engine),
                                       err);
    return status ? status : look_bandwidth(world, ret_profile, err);
}

o3_status o3_look_measure(const o3_world *world, o3_profile *profile, o3_err *err)
{
    o3_bandwidth *b = &profile->bandwidth;
    o3_status status = o3_bandwidth_measure(b, profile, world->root, err);
    if (status || !world->store || !*profile->fingerprint)
        return status;
    json_t *json = json_pack("{s:f, s:f, s:f, s:f, s:I}", "one_bytes_per_s", b->one_bytes_per_s, "half_bytes_per_s",
                             b->half_bytes_per_s, "all_bytes_per_s", b->all_bytes_per_s, "flops_per_s", b->flops_per_s,
                             "measured_unix_ms", (json_int_t)b->measured_unix_ms);
    o3_auto(free) char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    if (!text)
        return o3_fail(err, O3_E_INTERNAL, "the measured bandwidth is no number; this is a bug in o3, please report it");
    return o3_store_document_put(world->store, KIND, profile->fingerprint, text, err);
}
