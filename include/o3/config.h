/* SPDX-License-Identifier: Apache-2.0 */
/* config: one struct with everything a user can set, and one table that describes every field of it. The table
 * gives the YAML loader, the O3_... environment, defaults, validation, `o3 config show`, the reference in docs/.
 * Defaults are texts that go through the same parser as user text. It reads files; it measures nothing. */
#ifndef O3_CONFIG_H
#define O3_CONFIG_H

#include "core.h"

#define O3_LIST_VALUES_MAX 16
typedef struct o3_int_list {
    int count;
    int64_t values[O3_LIST_VALUES_MAX];
} o3_int_list;

/* A row of preset_categories: the three shipped ones come first; a user's own are added behind them. */
#define O3_CATEGORIES_MAX 12
typedef struct o3_category {
    char name[64];
    char description[O3_TEXT_MAX];
    double context_weight, throughput_weight, ttft_weight; /* never NaN after loading: the objectives fill in */
    o3_int_list target_context_range;                      /* 2 values or empty */
    int64_t target_context_min;                            /* -1 unset */
    double target_context_percentile;                      /* NaN unset */
    int64_t ttft_prompt_tokens; /* 0 = a quarter of the window */
} o3_category;

/* max_params NaN, max_batch -1: unset. */
typedef struct o3_size_category { double min_params, max_params; int64_t context_start, batch_start, max_batch; } o3_size_category;
typedef struct o3_target { double min, target, max; } o3_target;
#define O3_USE_CASES_MAX 16
typedef struct o3_use_case { char name[32], priority[32]; double context_weight, throughput_weight; } o3_use_case;

typedef struct o3_config {
    struct {
        double max_context_priority, throughput_priority, ttft_priority, stability_margin;
        double min_decode_per_s, max_ttft_s; /* the speed floor: of the filled window; NaN = none */
    } objectives;
    struct { bool autonomous_tuning, predictive_optimization, adaptive_search; char focus_mode[64]; } ai_guidance;
    struct {
        char context_discovery[32];
        int64_t initial_context_probe, max_binary_iterations;
        double binary_search_factor;
        struct {
            bool enabled;
            int64_t initial_batch_large, initial_batch_medium, initial_batch_small, max_batch;
            double scale_up_factor;
        } batch_adaptation;
    } search_strategy;
    int category_count;
    o3_category categories[O3_CATEGORIES_MAX];
    struct {
        struct { int64_t min_samples_per_config; double confidence_threshold, variance_tolerance; } statistical_validation;
        struct { o3_int_list levels; double stabilization_delay_s; int64_t max_concurrent_timeouts; } concurrency_progression;
        struct { double base_timeout_s, context_multiplier, batch_multiplier, min_timeout_s, max_timeout_s; } adaptive_timeouts;
    } testing;
    struct {
        struct { bool enabled, track_vram_peak, track_ram_peak, track_temperature; int64_t sampling_interval_ms; } peak_detection;
        struct { double max_vram_percent, max_ram_percent, max_temperature_c, max_cpu_percent; } safety_thresholds;
        struct { int64_t vram_reserve_mb, ram_reserve_mb; double context_scaling_factor; } resource_headroom;
        /* Set by the user to something else than the default, or by O3_...: counted in full. (The shipped file states
         * the default, so a stated default says nothing.) */
        bool ram_reserve_is_users, vram_reserve_is_users;
    } hardware_monitoring;
    struct { bool enabled, store_results, reuse_learned_configs; int64_t update_frequency_days; } learning;
    struct { bool enabled, pre_test_prediction, failure_pattern_learning; } prediction_model;
    struct { bool adaptive_search_params, range_expansion, test_prioritization; } auto_improvement;
    o3_size_category size_small, size_medium, size_large;
    int use_case_count;
    o3_use_case use_cases[O3_USE_CASES_MAX];
    struct { o3_target small, medium, large; } throughput_targets, ttft_targets; /* tok/s, ms */
    struct {
        bool hardware_check, model_verification, resource_check;
        bool statistical_significance, hardware_correlation, configuration_consistency;
        bool remove_outliers, validate_consistency, enforce_hardware_limits;
    } quality_assurance;
    struct { bool auto_enabled, backup_configs, yaml_format, json_backup, versioning; double update_threshold; } deployment;
    char source[512]; /* file it came from; "built-in" */
} o3_config;

/* How a key is honoured today; shown by `o3 config show` and in the reference. */
typedef enum o3_served { O3_SERVED_NOW, O3_SERVED_LATER, O3_SERVED_REPLACED } o3_served;

typedef enum o3_option_type {
    O3_OPT_BOOL, O3_OPT_INT, O3_OPT_REAL, O3_OPT_TEXT, O3_OPT_CHOICE, O3_OPT_INT_LIST, O3_OPT_IGNORED,
} o3_option_type;

typedef struct o3_option {
    const char *path;      /* dotted, as in the YAML; "*" stands for a name the user may choose */
    const char *alias;     /* an older place of the same key, or NULL */
    o3_option_type type;
    uint32_t offset, size; /* within o3_config, or within the row type for a "*" path */
    double min, max;       /* of a number, or of each in a list */
    const char *choices;   /* "a|b|c" for O3_OPT_CHOICE */
    const char *fallback;  /* default as text; "null": may be unset (NaN, -1, empty list), and then it is */
    const char *unit;      /* "tokens", "ms", "%", "" */
    o3_served served;
    const char *help;      /* one sentence; for LATER/REPLACED it says by what */
} o3_option;
const o3_option *o3_options(int *ret_count);

/* Where each value came from, by option index and row ("built-in", "FILE:LINE", "O3_X"). Opaque, optional. */
typedef struct o3_config_origins o3_config_origins;
o3_config_origins *o3_config_origins_new(void);
void o3_config_origins_free(o3_config_origins *origins);

/* The built-in defaults only. */
void o3_config_defaults(o3_config *ret_config);
/* Looks for `path` (NULL: ./o3_ai_config.yaml, then $XDG_CONFIG_HOME/o3/o3_ai_config.yaml, else built-in), applies
 * O3_... environment on top. Unknown key, wrong type, out of range: O3_E_CONFIG with file:line and a suggestion.
 * `legacy` (may be NULL) names an old o3_config.py whose literals are read before the YAML. */
O3_NODISCARD o3_status o3_config_load(o3_config *ret_config, const char *path, const char *legacy,
                                      o3_config_origins *origins, o3_notes *notes, o3_err *err);
/* Calls `each` for every option in table order (all keys of one row together) with its value as text that the loader
 * would take again ("null" if unset) and its origin; origins may be NULL. */
void o3_config_each(const o3_config *config, const o3_config_origins *origins,
                    void (*each)(void *ctx, const o3_option *option, const char *path, const char *value,
                                 const char *origin),
                    void *ctx);
/* The category / use case of that name, or NULL. */
const o3_category *o3_config_category(const o3_config *config, const char *name);
const o3_use_case *o3_config_use_case(const o3_config *config, const char *name);

#endif
