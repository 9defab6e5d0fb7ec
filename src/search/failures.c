/* SPDX-License-Identifier: Apache-2.0 */
/* Points that failed, and what they say of others. Feasibility is not taken to be monotone: only a shortage of memory
 * reaches beyond its own point, and only within the same placement. */
#include "search_impl.h"

search_effect search_effect_of(o3_outcome outcome)
{
    static const search_effect effects[] = {
        [O3_OUTCOME_NONE] = SEARCH_NOTHING,        [O3_OUTCOME_OK] = SEARCH_FITS,
        [O3_OUTCOME_SPILLED] = SEARCH_TOO_BIG,     [O3_OUTCOME_CLAMPED] = SEARCH_SMALLER,
        [O3_OUTCOME_TRUNCATED] = SEARCH_SMALLER,   [O3_OUTCOME_THRASHING] = SEARCH_TOO_BIG,
        [O3_OUTCOME_SLOW] = SEARCH_SMALLER,        [O3_OUTCOME_OOM_LOAD] = SEARCH_TOO_BIG,
        [O3_OUTCOME_OOM_RUN] = SEARCH_TOO_BIG,     [O3_OUTCOME_CRASH] = SEARCH_BROKEN,
        [O3_OUTCOME_TIMEOUT] = SEARCH_BROKEN,      [O3_OUTCOME_REPEAT_ABORT] = SEARCH_NOTHING,
        [O3_OUTCOME_BUSY] = SEARCH_NOTHING,        [O3_OUTCOME_OVER_LIMIT] = SEARCH_TOO_BIG,
        [O3_OUTCOME_CANCELLED] = SEARCH_NOTHING,   [O3_OUTCOME_TOO_LONG] = SEARCH_SMALLER,
        [O3_OUTCOME_SERVER_GONE] = SEARCH_NOTHING, [O3_OUTCOME_MODEL_GONE] = SEARCH_NOTHING,
        [O3_OUTCOME_ERROR] = SEARCH_BROKEN,        [O3_OUTCOME_TOO_HOT] = SEARCH_BROKEN,
        [O3_OUTCOME_RELOADED] = SEARCH_NOTHING,
    };
    return (unsigned)outcome < O3_COUNT(effects) ? effects[outcome] : SEARCH_NOTHING;
}

static int64_t demand(const o3_profile *profile, const o3_model *model, const o3_setting *setting)
{
    o3_estimate e;
    o3_calibration none = O3_CALIBRATION_NONE;
    if (setting->knobs.num_ctx <= 0)
        return -1;
    o3_predict_bytes(&e, profile, model, setting, &none);
    return (int64_t)e.total_bytes.mid;
}

int64_t search_room(const o3_profile *profile)
{
    int64_t least = INT64_MAX;
    for (int i = 0; i < profile->pool_count; i++) {
        int64_t room = o3_pool_room(profile, i, false);
        least = room < least ? room : least;
    }
    return least == INT64_MAX ? -1 : least;
}

void search_failures_learn(search_failures *failures, const o3_profile *profile, const o3_model *model,
                           const o3_setting *setting, const o3_trial *trial, bool earlier)
{
    search_effect effect = search_effect_of(trial->outcome);
    if (effect == SEARCH_FITS || effect == SEARCH_NOTHING)
        return;
    if (failures->count == SEARCH_FAILURES_MAX) {
        failures->count--;
        memmove(failures->items, failures->items + 1, (size_t)failures->count * sizeof(failures->items[0]));
    }
    search_failure *f = &failures->items[failures->count++];
    *f = (search_failure){.setting = *setting, .outcome = trial->outcome, .earlier = earlier};
    f->setting.knobs = trial->asked;
    f->demand_bytes = demand(profile, model, &f->setting);
    f->room_bytes = earlier ? -1 : search_room(profile);
    O3_FORMAT(f->reason, "%s%s", earlier ? "in an earlier run: " : "", trial->reason);
}

/* What decides where the bytes go. */
static bool same_placement(const o3_setting *a, const o3_setting *b)
{
    return a->knobs.num_gpu == b->knobs.num_gpu && a->knobs.use_mmap == b->knobs.use_mmap && a->era == b->era &&
           a->parallel == b->parallel && a->kv_type == b->kv_type && a->flash_attention == b->flash_attention;
}

const search_failure *search_failures_find(const search_failures *failures, const o3_profile *profile,
                                           const o3_model *model, const o3_setting *setting)
{
    int64_t asks = failures->count ? demand(profile, model, setting) : -1, room = search_room(profile);
    for (int i = 0; i < failures->count; i++) {
        const search_failure *f = &failures->items[i];
        if (!same_placement(&f->setting, setting))
            continue;
        if (o3_knobs_equal(&f->setting.knobs, &setting->knobs))
            return f;
        if (search_effect_of(f->outcome) != SEARCH_TOO_BIG || f->demand_bytes < 0 || asks < 0)
            continue;
        /* Less room than then is made up by asking for as much less, and the other way round. */
        int64_t lost = f->room_bytes >= 0 && room >= 0 ? f->room_bytes - room : 0;
        if (asks >= f->demand_bytes - lost)
            return f;
    }
    return NULL;
}
