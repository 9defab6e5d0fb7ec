/* SPDX-License-Identifier: Apache-2.0 */
/* What no single value can tell: values that follow from others, rules between two fields, keys that were set and
 * have no effect yet. */
#include "config.h"

config_slot config_slot_of(const o3_config *config, const char *path)
{
    char name[CONFIG_NAME_MAX], real[CONFIG_PATH_MAX];
    const o3_option *option = config_find(path, name);
    config_slot slot = {option, (int)(option - config_options), 0};
    for (; slot.row < config_row_count(config, option); slot.row++) {
        config_slot_path(config, slot, real);
        if (!strcmp(real, path))
            break;
    }
    return slot;
}

/* A preset without a single weight takes the objectives; one with some has 0 for the others. */
static void resolve_weights(double *weights[], const double objectives[], int count)
{
    bool any = false;
    for (int i = 0; i < count; i++)
        any |= !isnan(*weights[i]);
    for (int i = 0; i < count; i++)
        if (isnan(*weights[i]))
            *weights[i] = any ? 0 : objectives[i];
}

/* `path` got its value because of `from`. */
static void take_origin(const config_target *target, const char *path, const char *from)
{
    const char *origin = config_origin(target->origins, config_slot_of(target->config, from));
    config_origin_set(target->origins, config_slot_of(target->config, path), origin);
}

#define SAFETY "hardware_monitoring.safety_thresholds."
#define HEADROOM "hardware_monitoring.resource_headroom."
#define MARGIN "objectives.stability_margin"

static void lower_to(const config_target *target, double *value, double limit, const char *path)
{
    if (*value <= limit)
        return;
    *value = limit;
    take_origin(target, path, MARGIN);
    o3_note(target->notes, "%s is lowered to %g %% by " MARGIN, path, limit);
}

/* A margin left at its default is no wish: the two limits are then the user's to choose. */
static void resolve_margin(const config_target *target)
{
    const double margin = target->config->objectives.stability_margin;
    double usual = strtod(config_slot_of(target->config, MARGIN).option->fallback, NULL);
    /* 0.7 * 100 is not 70 in binary; what the user reads is. */
    double percent = floor(margin * 1e8 + 0.5) / 1e6;
    if (margin < usual || margin > usual) {
        lower_to(target, &target->config->hardware_monitoring.safety_thresholds.max_vram_percent, percent,
                 SAFETY "max_vram_percent");
        lower_to(target, &target->config->hardware_monitoring.safety_thresholds.max_ram_percent, percent,
                 SAFETY "max_ram_percent");
    }
}

#define BATCH "search_strategy.batch_adaptation."
#define LEARN "learning_system.configuration_learning."

static void resolve_batches(const config_target *target)
{
    o3_config *c = target->config;
    const struct {
        int64_t *value;
        const char *path;
    } batches[] = {
        {&c->search_strategy.batch_adaptation.initial_batch_large, BATCH "initial_batch_large"},
        {&c->search_strategy.batch_adaptation.initial_batch_medium, BATCH "initial_batch_medium"},
        {&c->search_strategy.batch_adaptation.initial_batch_small, BATCH "initial_batch_small"},
    };
    for (int i = 0; i < O3_COUNT(batches); i++) {
        if (*batches[i].value <= c->search_strategy.batch_adaptation.max_batch)
            continue;
        *batches[i].value = c->search_strategy.batch_adaptation.max_batch;
        take_origin(target, batches[i].path, BATCH "max_batch");
    }
}

static void resolve_learning(const config_target *target)
{
    o3_config *c = target->config;
    if (c->learning.enabled)
        return;
    c->learning.store_results = c->learning.reuse_learned_configs = false;
    take_origin(target, LEARN "hardware_profiles.store_results", LEARN "enabled");
    take_origin(target, LEARN "hardware_profiles.reuse_learned_configs", LEARN "enabled");
}

/* Counted in full only if it is the user's: the shipped file states the default. O3_... is always the user's. */
static bool is_users(const config_target *target, const char *path, int64_t value)
{
    config_slot slot = config_slot_of(target->config, path);
    const char *origin = config_origin(target->origins, slot);
    bool variable = !strncmp(origin, "O3_", 3) && !strchr(origin, ':');
    return variable || value != strtoll(slot.option->fallback, NULL, 10);
}

void config_resolve(const config_target *target)
{
    o3_config *c = target->config;
    const double objectives[] = {c->objectives.max_context_priority, c->objectives.throughput_priority,
                                 c->objectives.ttft_priority};
    for (int i = 0; i < c->category_count; i++) {
        o3_category *row = &c->categories[i];
        if (!strcmp(row->name, "max_context") && isnan(row->context_weight)) {
            row->context_weight = objectives[0];
            config_origin_set(target->origins, config_slot_of(c, "preset_categories.max_context.context_weight"),
                              "objectives.max_context_priority");
        }
        resolve_weights((double *[]){&row->context_weight, &row->throughput_weight, &row->ttft_weight}, objectives, 3);
    }
    for (int i = 0; i < c->use_case_count; i++)
        resolve_weights((double *[]){&c->use_cases[i].context_weight, &c->use_cases[i].throughput_weight}, objectives,
                        2);

    resolve_margin(target);
    resolve_batches(target);
    resolve_learning(target);
    c->hardware_monitoring.ram_reserve_is_users =
        is_users(target, HEADROOM "ram_reserve_mb", c->hardware_monitoring.resource_headroom.ram_reserve_mb);
    c->hardware_monitoring.vram_reserve_is_users =
        is_users(target, HEADROOM "vram_reserve_mb", c->hardware_monitoring.resource_headroom.vram_reserve_mb);
}

#define TIMEOUTS "testing.adaptive_timeouts."
#define SIZES "model_intelligence.size_categories."
#define SPEED "fine_tuning.throughput_targets."
#define RESPONSE "fine_tuning.ttft_targets."
#define RISING(group) {group ".min", group ".target"}, {group ".target", group ".max"}

static const struct {
    const char *low, *high;
} ordered[] = {
    {TIMEOUTS "min_timeout", TIMEOUTS "max_timeout"},
    {SIZES "medium.min_params", SIZES "large.min_params"},
    {SIZES "large.min_params", SIZES "large.max_params"},
    {SIZES "medium.min_params", SIZES "medium.max_params"},
    {SIZES "small.min_params", SIZES "small.max_params"},
    RISING(SPEED "small_models"),
    RISING(SPEED "medium_models"),
    RISING(SPEED "large_models"),
    RISING(RESPONSE "small_models"),
    RISING(RESPONSE "medium_models"),
    RISING(RESPONSE "large_models"),
};

static o3_status check_ordered(const config_target *target, const char *low_path, const char *high_path, o3_err *err)
{
    const config_slot low = config_slot_of(target->config, low_path), high = config_slot_of(target->config, high_path);
    double low_value, high_value;
    memcpy(&low_value, (char *)target->config + config_offset(low.option, 0), sizeof(low_value));
    memcpy(&high_value, (char *)target->config + config_offset(high.option, 0), sizeof(high_value));
    if (!(low_value > high_value))
        return O3_OK;
    return o3_fail(err, O3_E_CONFIG, "%s: %s %.15g is above %s %.15g (%s)", config_origin(target->origins, low),
                   low_path, low_value, high_path, high_value, config_origin(target->origins, high));
}

static o3_status fail_row(const config_target *target, const char *group, const char *name, const char *key,
                          o3_err *err, const char *problem)
{
    char path[CONFIG_PATH_MAX];
    O3_FORMAT(path, "%s%s.%s", group, name, key);
    return o3_fail(err, O3_E_CONFIG, "%s: %s: %s",
                   config_origin(target->origins, config_slot_of(target->config, path)), path, problem);
}

static o3_status check_rows(const config_target *target, o3_err *err)
{
    static const char presets[] = "preset_categories.", uses[] = "model_intelligence.use_case_optimization.";
    const o3_config *c = target->config;
    for (int i = 0; i < c->category_count; i++) {
        const o3_category *row = &c->categories[i];
        const o3_int_list *range = &row->target_context_range;
        if (range->count && range->count != 2)
            return fail_row(target, presets, row->name, "target_context_range", err,
                            "takes two contexts, the lower first");
        if (range->count && range->values[0] > range->values[1])
            return fail_row(target, presets, row->name, "target_context_range", err, "the lower context comes first");
        if (range->count && row->target_context_min > range->values[1])
            return fail_row(target, presets, row->name, "target_context_min", err,
                            "is above the end of target_context_range");
        if (!(row->context_weight + row->throughput_weight + row->ttft_weight > 0))
            return fail_row(target, presets, row->name, "context_weight", err,
                            "context_weight, throughput_weight and ttft_weight are all 0");
    }
    for (int i = 0; i < c->use_case_count; i++)
        if (!(c->use_cases[i].context_weight + c->use_cases[i].throughput_weight > 0))
            return fail_row(target, uses, c->use_cases[i].name, "context_weight", err,
                            "context_weight and throughput_weight are both 0");
    return O3_OK;
}

o3_status config_check(const config_target *target, o3_err *err)
{
    for (int i = 0; i < O3_COUNT(ordered); i++) {
        o3_status status = check_ordered(target, ordered[i].low, ordered[i].high, err);
        if (status)
            return status;
    }
    if (!target->config->testing.concurrency_progression.levels.count)
        return o3_fail(err, O3_E_CONFIG, "%s: testing.concurrency_progression.levels: has no value",
                       config_origin(target->origins,
                                     config_slot_of(target->config, "testing.concurrency_progression.levels")));
    return check_rows(target, err);
}

/* Set by the user, differing from the default, and without effect. */
static bool is_idle(const config_target *target, const o3_config *defaults, config_slot slot)
{
    char mine[CONFIG_VALUE_MAX], usual[CONFIG_VALUE_MAX], path[CONFIG_PATH_MAX];
    if (slot.option->served == O3_SERVED_NOW || !strcmp(config_origin(target->origins, slot), "built-in"))
        return false;
    if (slot.option->type == O3_OPT_IGNORED)
        return true;
    config_format(slot.option, (char *)target->config + config_offset(slot.option, slot.row), mine, sizeof(mine));
    config_slot_path(target->config, slot, path);
    o3_copy(usual, sizeof(usual), slot.option->fallback);
    if (slot.row < config_row_count(defaults, slot.option))
        config_format(slot.option, (const char *)defaults + config_offset(slot.option, slot.row), usual,
                      sizeof(usual));
    return strcmp(mine, usual) != 0;
}

/* A help's first clause: the reason that keys have in common. */
static int reason_length(const char *help)
{
    const char *end = strstr(help, "; "), *colon = strstr(help, ": ");
    if (colon && (!end || colon < end))
        end = colon;
    return (int)(end ? (size_t)(end - help) : strlen(help) - 1); /* without the full stop */
}

static bool same_reason(const char *a, const char *b)
{
    int len = reason_length(a);
    return len == reason_length(b) && !strncmp(a, b, (size_t)len);
}

/* One note for all keys that share a reason. */
static void note_reason(const config_target *target, const o3_config *defaults, int first)
{
    char path[CONFIG_PATH_MAX], more[32] = "";
    const char *help = config_options[first].help, *origin = NULL;
    int found = 0;
    for (int i = first; i < config_option_count; i++) {
        if (!same_reason(config_options[i].help, help))
            continue;
        for (int row = 0; row < config_row_count(target->config, &config_options[i]); row++) {
            config_slot slot = {&config_options[i], i, row};
            if (!is_idle(target, defaults, slot) || found++)
                continue;
            config_slot_path(target->config, slot, path);
            origin = config_origin(target->origins, slot);
        }
    }
    if (found > 1)
        O3_FORMAT(more, " and %d more", found - 1);
    if (found)
        o3_note(target->notes, "%.200s: %s%s: no effect in this release (%.*s)", origin, path, more,
                reason_length(help), help);
}

void config_note_unserved(const config_target *target)
{
    o3_config *defaults = o3_alloc(1, sizeof(*defaults));
    config_defaults_raw(defaults);
    for (int i = 0; i < config_option_count; i++) {
        int first = 0;
        while (!same_reason(config_options[first].help, config_options[i].help))
            first++;
        if (first == i)
            note_reason(target, defaults, i);
    }
    free(defaults);
}

static void note_odd(const config_target *target)
{
    const o3_config *c = target->config;
    if (strcmp(c->search_strategy.context_discovery, "predictive"))
        o3_note(target->notes, "search_strategy.context_discovery: %s takes more loads than predictive, which knows where "
                               "to begin", c->search_strategy.context_discovery);
    if (c->size_large.min_params < 1e9)
        o3_note(target->notes, "model_intelligence.size_categories.large.min_params: %g parameters make nearly every "
                               "model large (20e9 is the default)", c->size_large.min_params);
}

o3_status config_finish(const config_target *target, o3_err *err)
{
    config_note_unserved(target);
    note_odd(target);
    config_resolve(target);
    return config_check(target, err);
}
