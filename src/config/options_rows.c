/* SPDX-License-Identifier: Apache-2.0 */
/* Every key of o3_ai_config.yaml, in its order. A row's macro ties the type to the field's C type, so that a wrong
 * pair does not compile. The help of a key that is not served says by what or when. */
#include "config.h"

#define CHECKED(row, field, address, ctype) \
    (uint32_t)(offsetof(row, field) * sizeof(char[_Generic((address), ctype *: 1)]))
#define FIELD(row, field, ctype) \
    .offset = CHECKED(row, field, &((row *)0)->field, ctype), .size = (uint32_t)sizeof(((row *)0)->field)
#define CHARS(row, field) \
    .offset = CHECKED(row, field, &((row *)0)->field[0], char), .size = (uint32_t)sizeof(((row *)0)->field)

#define BOOL(field) .type = O3_OPT_BOOL, FIELD(o3_config, field, bool), .unit = ""
#define INT_IN(row, field, low, high, of) \
    .type = O3_OPT_INT, FIELD(row, field, int64_t), .min = (low), .max = (high), .unit = (of)
#define REAL_IN(row, field, low, high, of) \
    .type = O3_OPT_REAL, FIELD(row, field, double), .min = (low), .max = (high), .unit = (of)
#define INTS_IN(row, field, low, high, of) \
    .type = O3_OPT_INT_LIST, FIELD(row, field, o3_int_list), .min = (low), .max = (high), .unit = (of)
#define TEXT_IN(row, field) .type = O3_OPT_TEXT, CHARS(row, field), .unit = ""
#define CHOICE_IN(row, field, words) .type = O3_OPT_CHOICE, CHARS(row, field), .choices = (words), .unit = ""
#define INT(field, low, high, of) INT_IN(o3_config, field, low, high, of)
#define REAL(field, low, high, of) REAL_IN(o3_config, field, low, high, of)
#define IGNORED .type = O3_OPT_IGNORED, .unit = ""

#define NOW(text) .served = O3_SERVED_NOW, .help = (text)
#define LATER(text) .served = O3_SERVED_LATER, .help = (text)
#define REPLACED(text) .served = O3_SERVED_REPLACED, .help = (text)

#define TOKENS_MAX 16777216
#define BATCH_MAX 65536
#define MIB_MAX 16777216

#define NEVER_RUN "Never run: commands in a file are not executed, the driver's own interface is read instead."
#define KV_TYPE "Replaced by the server's OLLAMA_KV_CACHE_TYPE: no Ollama since 0.7 reads f16_kv."
#define LEARNING "Comes with learning across models; "

/* A target triple in fine_tuning. */
#define TARGETS(place, field, low, mid, high, top, of, what)                                                      \
    {.path = place ".min", REAL(field.min, 0, top, of), .fallback = (low),                                        \
     NOW("Lower end of the " what ", for the verdict beside a result.")},                                         \
    {.path = place ".target", REAL(field.target, 0, top, of), .fallback = (mid),                                  \
     NOW("The " what " aimed at, for the verdict beside a result.")},                                             \
    {.path = place ".max", REAL(field.max, 0, top, of), .fallback = (high),                                       \
     NOW("Upper end of the " what ", for the verdict beside a result.")}

const o3_option config_options[] = {
    {.path = "objectives.max_context_priority", REAL(objectives.max_context_priority, 0, 1, ""), .fallback = "0.8",
     NOW("Weight of the context in max_context, unless that preset states a context_weight of its own.")},
    {.path = "objectives.throughput_priority", REAL(objectives.throughput_priority, 0, 1, ""), .fallback = "0.6",
     NOW("Weight of throughput in a preset or use case of yours that states no weight at all.")},
    {.path = "objectives.ttft_priority", REAL(objectives.ttft_priority, 0, 1, ""), .fallback = "0.4",
     NOW("Weight of the response time in a preset of yours that states no weight at all.")},
    {.path = "objectives.stability_margin", REAL(objectives.stability_margin, 0.1, 1, ""), .fallback = "0.9",
     NOW("Anything but 0.9 lowers max_vram_percent and max_ram_percent to this share; it never raises them.")},
    {.path = "objectives.min_decode_per_s", REAL(objectives.min_decode_per_s, 0.01, 1e6, "tokens/s"),
     .fallback = "null",
     NOW("Speed floor: a window that decodes slower when it is full is not stable (--min-decode); null is no floor.")},
    {.path = "objectives.max_ttft_s", REAL(objectives.max_ttft_s, 0.001, 1e6, "s"), .fallback = "null",
     NOW("Speed floor: a window whose whole prompt takes longer to evaluate is not stable (--max-ttft); null is none.")},

    {.path = "ai_guidance.autonomous_tuning", BOOL(ai_guidance.autonomous_tuning), .fallback = "true",
     NOW("false keeps the default's knobs (num_thread, num_gpu, use_mmap, num_batch 512): they are not raced.")},
    {.path = "ai_guidance.predictive_optimization", BOOL(ai_guidance.predictive_optimization), .fallback = "true",
     NOW("false seeks the ceiling by binary_search even where context_discovery says predictive.")},
    {.path = "ai_guidance.adaptive_search", BOOL(ai_guidance.adaptive_search), .fallback = "true",
     LATER(LEARNING "a search adapts to its own measurements already.")},
    {.path = "ai_guidance.focus_mode", TEXT_IN(o3_config, ai_guidance.focus_mode), .fallback = "",
     REPLACED("Replaced by --use-case and the rows of model_intelligence.use_case_optimization.")},

    {.path = "search_strategy.context_discovery",
     CHOICE_IN(o3_config, search_strategy.context_discovery, "predictive|binary_search|linear"),
     .fallback = "predictive",
     NOW("How the ceiling is sought: from the prediction (fewest loads), by halving, or step by step.")},
    {.path = "search_strategy.initial_context_probe",
     INT(search_strategy.initial_context_probe, 256, TOKENS_MAX, "tokens"), .fallback = "262144",
     NOW("First context of binary_search; predictive begins at the largest one that is predicted to be safe.")},
    {.path = "search_strategy.binary_search_factor", REAL(search_strategy.binary_search_factor, 1.01, 100, ""),
     .fallback = "1.3", NOW("Step between two contexts of binary_search.")},
    {.path = "search_strategy.max_binary_iterations", INT(search_strategy.max_binary_iterations, 1, 64, "loads"),
     .fallback = "7", NOW("Most loads that the search for the ceiling may take.")},
    {.path = "search_strategy.batch_adaptation.enabled", BOOL(search_strategy.batch_adaptation.enabled),
     .fallback = "true", NOW("false leaves num_batch at 512; else the race for knobs tries others.")},
    {.path = "search_strategy.batch_adaptation.initial_batch_large",
     INT(search_strategy.batch_adaptation.initial_batch_large, 1, BATCH_MAX, "tokens"), .fallback = "512",
     NOW("The num_batch it starts from for a large model (lowered to max_batch).")},
    {.path = "search_strategy.batch_adaptation.initial_batch_medium",
     INT(search_strategy.batch_adaptation.initial_batch_medium, 1, BATCH_MAX, "tokens"), .fallback = "1024",
     NOW("The num_batch it starts from for a medium model (lowered to max_batch).")},
    {.path = "search_strategy.batch_adaptation.initial_batch_small",
     INT(search_strategy.batch_adaptation.initial_batch_small, 1, BATCH_MAX, "tokens"), .fallback = "2048",
     NOW("The num_batch it starts from for a small model (lowered to max_batch).")},
    {.path = "search_strategy.batch_adaptation.scale_up_factor",
     REAL(search_strategy.batch_adaptation.scale_up_factor, 1.01, 64, ""), .fallback = "2",
     NOW("The step between two values of num_batch.")},
    {.path = "search_strategy.batch_adaptation.max_batch",
     INT(search_strategy.batch_adaptation.max_batch, 1, BATCH_MAX, "tokens"), .fallback = "2048",
     NOW("The largest num_batch it tries.")},

    {.path = "preset_categories.*.description", TEXT_IN(o3_category, description), .fallback = "",
     NOW("What the preset is for, in the table and in what is written out.")},
    {.path = "preset_categories.*.context_weight", .alias = "preset_categories.*.context_efficiency_weight",
     REAL_IN(o3_category, context_weight, 0, 1, ""), .fallback = "null",
     NOW("Weight of the context in the preset's score; weights are normalised to a sum of 1.")},
    {.path = "preset_categories.*.throughput_weight", REAL_IN(o3_category, throughput_weight, 0, 1, ""),
     .fallback = "null", NOW("Weight of the decode rate at half of the window.")},
    {.path = "preset_categories.*.ttft_weight", REAL_IN(o3_category, ttft_weight, 0, 1, ""), .fallback = "null",
     NOW("Weight of the response time (time to the first token).")},
    {.path = "preset_categories.*.target_context_range",
     INTS_IN(o3_category, target_context_range, 1, TOKENS_MAX, "tokens"), .fallback = "null",
     NOW("Two contexts between which the context scores full; each octave outside halves it.")},
    {.path = "preset_categories.*.target_context_min", INT_IN(o3_category, target_context_min, 1, TOKENS_MAX, "tokens"),
     .fallback = "null", NOW("Smaller contexts are no candidates of this preset.")},
    {.path = "preset_categories.*.target_context_percentile",
     REAL_IN(o3_category, target_context_percentile, 1, 100, "%"), .fallback = "null",
     LATER("Comes with the load bench: to show 95 % takes about 60 requests; confidence_threshold rules until then.")},
    {.path = "preset_categories.*.ttft_prompt_tokens", INT_IN(o3_category, ttft_prompt_tokens, 0, TOKENS_MAX, "tokens"),
     .fallback = "0", NOW("Prompt length at which the response time is taken; 0 is a quarter of the window.")},

    {.path = "testing.statistical_validation.min_samples_per_config",
     INT(testing.statistical_validation.min_samples_per_config, 1, 100, "samples"), .fallback = "5",
     NOW("Samples behind a measured rate (3 for a prefill that costs more than 20 s).")},
    {.path = "testing.statistical_validation.confidence_threshold",
     REAL(testing.statistical_validation.confidence_threshold, 0, 1, ""), .fallback = "0.85",
     NOW("Share of the samples that must succeed.")},
    {.path = "testing.statistical_validation.variance_tolerance",
     REAL(testing.statistical_validation.variance_tolerance, 0.001, 10, ""), .fallback = "0.15",
     NOW("Largest spread (coefficient of variation) of a rate that still counts as proven.")},
    {.path = "testing.concurrency_progression.levels",
     INTS_IN(o3_config, testing.concurrency_progression.levels, 1, 1024, "requests"), .fallback = "[1, 2, 4, 8]",
     LATER("Comes with the load bench: the numbers of concurrent requests it tries.")},
    {.path = "testing.concurrency_progression.stabilization_delay",
     REAL(testing.concurrency_progression.stabilization_delay_s, 0, 3600, "s"), .fallback = "2",
     LATER("Comes with the load bench: the pause between two levels.")},
    {.path = "testing.concurrency_progression.max_concurrent_timeouts",
     INT(testing.concurrency_progression.max_concurrent_timeouts, 0, 1024, "requests"), .fallback = "2",
     LATER("Comes with the load bench: timed out requests a level may have.")},
    {.path = "testing.adaptive_timeouts.base_timeout", REAL(testing.adaptive_timeouts.base_timeout_s, 1, 86400, "s"),
     .fallback = "60", NOW("Deadline of a request before its context and batch are added.")},
    {.path = "testing.adaptive_timeouts.context_multiplier",
     REAL(testing.adaptive_timeouts.context_multiplier, 0, 3600, "s per 1000 tokens"), .fallback = "0.5",
     NOW("Added to the deadline for each 1000 tokens of context.")},
    {.path = "testing.adaptive_timeouts.batch_multiplier",
     REAL(testing.adaptive_timeouts.batch_multiplier, 0, 3600, "s per token"), .fallback = "0.2",
     NOW("Added to the deadline for each token of num_batch.")},
    {.path = "testing.adaptive_timeouts.min_timeout", REAL(testing.adaptive_timeouts.min_timeout_s, 1, 86400, "s"),
     .fallback = "30", NOW("Shortest deadline of a request.")},
    {.path = "testing.adaptive_timeouts.max_timeout", REAL(testing.adaptive_timeouts.max_timeout_s, 1, 86400, "s"),
     .fallback = "300", NOW("Longest deadline, unless twice the predicted time is longer: then that.")},

    {.path = "hardware_monitoring.peak_detection.enabled", BOOL(hardware_monitoring.peak_detection.enabled),
     .fallback = "true", REPLACED("Always on: the monitor is the safety stop.")},
    {.path = "hardware_monitoring.peak_detection.sampling_interval_ms",
     INT(hardware_monitoring.peak_detection.sampling_interval_ms, 10, 1000, "ms"), .fallback = "100",
     NOW("Time between two looks at the memory; a longer one also delays the safety stop.")},
    {.path = "hardware_monitoring.peak_detection.track_vram_peak",
     BOOL(hardware_monitoring.peak_detection.track_vram_peak), .fallback = "true",
     LATER("Comes with the GPU sensors, and is then always on.")},
    {.path = "hardware_monitoring.peak_detection.track_ram_peak",
     BOOL(hardware_monitoring.peak_detection.track_ram_peak), .fallback = "true",
     REPLACED("Always on: the peak is part of every trial.")},
    {.path = "hardware_monitoring.peak_detection.track_temperature",
     BOOL(hardware_monitoring.peak_detection.track_temperature), .fallback = "true",
     REPLACED("Always on where a sensor can be read.")},
    {.path = "hardware_monitoring.gpu_handling.nvidia.command", IGNORED, .fallback = "", REPLACED(NEVER_RUN)},
    {.path = "hardware_monitoring.gpu_handling.nvidia.temperature_command", IGNORED, .fallback = "",
     REPLACED(NEVER_RUN)},
    {.path = "hardware_monitoring.gpu_handling.nvidia.utilization_command", IGNORED, .fallback = "",
     REPLACED(NEVER_RUN)},
    {.path = "hardware_monitoring.gpu_handling.amd.command", IGNORED, .fallback = "", REPLACED(NEVER_RUN)},
    {.path = "hardware_monitoring.gpu_handling.amd.memory_field_index", IGNORED, .fallback = "", REPLACED(NEVER_RUN)},
    {.path = "hardware_monitoring.gpu_handling.amd.temperature_command", IGNORED, .fallback = "", REPLACED(NEVER_RUN)},
    {.path = "hardware_monitoring.gpu_handling.amd.utilization_command", IGNORED, .fallback = "", REPLACED(NEVER_RUN)},
    {.path = "hardware_monitoring.safety_thresholds.max_vram_percent", .alias = "safety_thresholds.max_vram_percent",
     REAL(hardware_monitoring.safety_thresholds.max_vram_percent, 1, 100, "%"), .fallback = "90",
     LATER("Comes with the GPU sensors: use of a GPU's memory that stops the test and limits what is planned.")},
    {.path = "hardware_monitoring.safety_thresholds.max_ram_percent", .alias = "safety_thresholds.max_ram_percent",
     REAL(hardware_monitoring.safety_thresholds.max_ram_percent, 1, 100, "%"), .fallback = "85",
     NOW("Use of the RAM, or of a cgroup's limit, that stops the test and limits what is planned.")},
    {.path = "hardware_monitoring.safety_thresholds.max_temperature_c",
     .alias = "safety_thresholds.max_temperature_c",
     REAL(hardware_monitoring.safety_thresholds.max_temperature_c, 30, 120, "C"), .fallback = "85",
     NOW("Temperature at which O3 stops, waits until it is 10 degrees lower, and goes on with a smaller num_batch.")},
    {.path = "hardware_monitoring.safety_thresholds.max_cpu_percent", .alias = "safety_thresholds.max_cpu_percent",
     REAL(hardware_monitoring.safety_thresholds.max_cpu_percent, 1, 100, "%"), .fallback = "90",
     REPLACED("Replaced by the mark on samples that other processes disturbed: an engine at 100 % CPU is no fault.")},
    {.path = "hardware_monitoring.resource_headroom.vram_reserve_mb",
     INT(hardware_monitoring.resource_headroom.vram_reserve_mb, 0, MIB_MAX, "MiB"), .fallback = "4096",
     LATER("Comes with the GPU sensors: GPU memory left free, at most 10 % of it unless you change the value.")},
    {.path = "hardware_monitoring.resource_headroom.ram_reserve_mb",
     INT(hardware_monitoring.resource_headroom.ram_reserve_mb, 0, MIB_MAX, "MiB"), .fallback = "4096",
     NOW("RAM that is left free, at most what max_ram_percent leaves unless you change the value.")},
    {.path = "hardware_monitoring.resource_headroom.context_scaling_factor",
     REAL(hardware_monitoring.resource_headroom.context_scaling_factor, 0.01, 1, ""), .fallback = "1",
     REPLACED("Replaced by the prediction's interval: its upper end must fit.")},

    {.path = "learning_system.configuration_learning.enabled", BOOL(learning.enabled), .fallback = "true",
     NOW("false switches store_results and reuse_learned_configs off.")},
    {.path = "learning_system.configuration_learning.hardware_profiles.store_results", BOOL(learning.store_results),
     .fallback = "true", NOW("Keep every sample in the database.")},
    {.path = "learning_system.configuration_learning.hardware_profiles.reuse_learned_configs",
     BOOL(learning.reuse_learned_configs), .fallback = "true",
     NOW("Answer from the database when model, machine and engine are unchanged.")},
    {.path = "learning_system.configuration_learning.hardware_profiles.update_frequency_days",
     INT(learning.update_frequency_days, 1, 3650, "days"), .fallback = "7",
     LATER(LEARNING "the age at which a kept answer is checked with one load.")},
    {.path = "learning_system.prediction_model.enabled", BOOL(prediction_model.enabled), .fallback = "true",
     LATER(LEARNING "the formulas and this model's own measurements are always used.")},
    {.path = "learning_system.prediction_model.pre_test_prediction", BOOL(prediction_model.pre_test_prediction),
     .fallback = "true", LATER(LEARNING "what is predicted past a limit is never tried.")},
    {.path = "learning_system.prediction_model.failure_pattern_learning",
     BOOL(prediction_model.failure_pattern_learning), .fallback = "true",
     LATER(LEARNING "failures are already kept with their trials.")},
    {.path = "learning_system.auto_improvement.adaptive_search_params", BOOL(auto_improvement.adaptive_search_params),
     .fallback = "true", LATER(LEARNING "each load corrects the prediction already.")},
    {.path = "learning_system.auto_improvement.range_expansion", BOOL(auto_improvement.range_expansion),
     .fallback = "true", LATER(LEARNING "the range ends at the trained context or a limit.")},
    {.path = "learning_system.auto_improvement.test_prioritization", BOOL(auto_improvement.test_prioritization),
     .fallback = "true", REPLACED("Always done: the race tries the most promising knobs first, the search the largest safe context.")},

#define SIZE_CATEGORY(size, params, params_served, start, batch)                                                    \
    {.path = "model_intelligence.size_categories." #size ".min_params",                                             \
     REAL(size_##size.min_params, 0, 1e15, "parameters"), .fallback = (params), params_served},                     \
    {.path = "model_intelligence.size_categories." #size ".max_params",                                             \
     REAL(size_##size.max_params, 0, 1e15, "parameters"), .fallback = "null",                                       \
     REPLACED("Replaced by min_params of the next larger class.")},                                                 \
    {.path = "model_intelligence.size_categories." #size ".context_start",                                          \
     INT(size_##size.context_start, 256, TOKENS_MAX, "tokens"), .fallback = (start),                                \
     REPLACED("Replaced by the prediction: the first load is at the largest context predicted to be safe.")},       \
    {.path = "model_intelligence.size_categories." #size ".batch_start",                                            \
     INT(size_##size.batch_start, 1, BATCH_MAX, "tokens"), .fallback = (batch),                                     \
     REPLACED("Replaced by search_strategy.batch_adaptation.initial_batch_" #size ".")},                            \
    {.path = "model_intelligence.size_categories." #size ".max_batch",                                              \
     INT(size_##size.max_batch, 1, BATCH_MAX, "tokens"), .fallback = "null",                                        \
     NOW("The largest num_batch for this class, instead of search_strategy.batch_adaptation.max_batch.")},   \
    {.path = "model_intelligence.size_categories." #size ".f16_kv_preference", IGNORED, .fallback = "",             \
     REPLACED(KV_TYPE)},                                                                                            \
    {.path = "model_intelligence.size_categories." #size ".gpu_layer_strategy", IGNORED, .fallback = "",            \
     LATER("Comes with several GPUs; Ollama spreads the layers itself.")},                                          \
    {.path = "model_intelligence.size_categories." #size ".description", IGNORED, .fallback = "",                   \
     REPLACED("Not used: a comment says as much.")}
    SIZE_CATEGORY(large, "20e9", NOW("Parameters from which a model is large."), "4096", "512"),
    SIZE_CATEGORY(medium, "3e9", NOW("Parameters from which a model is medium."), "8192", "1024"),
    SIZE_CATEGORY(small, "0", REPLACED("Every model below medium.min_params is small."), "16384", "2048"),

    {.path = "model_intelligence.use_case_optimization.*.priority",
     CHOICE_IN(o3_use_case, priority, "context|throughput|balance|speed"), .fallback = "balance",
     REPLACED("The row's two weights say it in numbers.")},
    {.path = "model_intelligence.use_case_optimization.*.context_weight",
     REAL_IN(o3_use_case, context_weight, 0, 1, ""), .fallback = "null",
     NOW("Weight of the context when --use-case names this row.")},
    {.path = "model_intelligence.use_case_optimization.*.throughput_weight",
     REAL_IN(o3_use_case, throughput_weight, 0, 1, ""), .fallback = "null",
     NOW("Weight of the decode rate when --use-case names this row.")},

#define SPEED(size, low, mid, high)                                                                              \
    TARGETS("fine_tuning.throughput_targets." #size "_models", throughput_targets.size, low, mid, high, 1e6,     \
            "tokens/s", "decode rate of " #size " models")
    SPEED(small, "15", "25", "40"),
    SPEED(medium, "10", "20", "30"),
    SPEED(large, "5", "12", "20"),
#define RESPONSE(size, low, mid, high)                                                                           \
    TARGETS("fine_tuning.ttft_targets." #size "_models", ttft_targets.size, low, mid, high, 1e7, "ms",           \
            "time to the first token of " #size " models at 512 tokens")
    RESPONSE(small, "200", "500", "1000"),
    RESPONSE(medium, "300", "750", "1500"),
    RESPONSE(large, "500", "1000", "2500"),

    {.path = "quality_assurance.pre_test_validation.hardware_check", BOOL(quality_assurance.hardware_check),
     .fallback = "true", REPLACED("Always done: limits that cannot be read are named in the notes.")},
    {.path = "quality_assurance.pre_test_validation.model_verification", BOOL(quality_assurance.model_verification),
     .fallback = "true", REPLACED("Always done: a model that is not there or cannot generate is refused.")},
    {.path = "quality_assurance.pre_test_validation.resource_check", BOOL(quality_assurance.resource_check),
     .fallback = "true", REPLACED("Always done; --unload-others makes room instead of refusing.")},
    {.path = "quality_assurance.post_test_validation.statistical_significance",
     BOOL(quality_assurance.statistical_significance), .fallback = "true",
     REPLACED("Always done: a difference that is not shown on fresh loads keeps the default.")},
    {.path = "quality_assurance.post_test_validation.hardware_correlation",
     BOOL(quality_assurance.hardware_correlation), .fallback = "true",
     LATER(LEARNING "predicted and measured are already kept side by side.")},
    {.path = "quality_assurance.post_test_validation.configuration_consistency",
     BOOL(quality_assurance.configuration_consistency), .fallback = "true",
     REPLACED("Always on: the knobs in force are read back after each load.")},
    {.path = "quality_assurance.result_filtering.remove_outliers", BOOL(quality_assurance.remove_outliers),
     .fallback = "true", NOW("Leave outliers out of the rates, by a stated rule, and list them.")},
    {.path = "quality_assurance.result_filtering.validate_consistency", BOOL(quality_assurance.validate_consistency),
     .fallback = "true", NOW("The winner is measured again on a fresh load.")},
    {.path = "quality_assurance.result_filtering.enforce_hardware_limits",
     BOOL(quality_assurance.enforce_hardware_limits), .fallback = "true",
     REPLACED("Always on: what breaks a limit is stopped and never handed out.")},

    {.path = "deployment.auto_deployment.enabled", BOOL(deployment.auto_enabled), .fallback = "true",
     LATER("Comes with automatic deployment; until then o3 apply does it when you say so.")},
    {.path = "deployment.auto_deployment.update_threshold", REAL(deployment.update_threshold, 0, 10, ""),
     .fallback = "0.1", LATER("Comes with automatic deployment: the share a new preset must be better by.")},
    {.path = "deployment.auto_deployment.backup_configs", BOOL(deployment.backup_configs), .fallback = "true",
     LATER("Comes with automatic deployment; the database keeps every earlier preset.")},
    {.path = "deployment.persistence.yaml_format", BOOL(deployment.yaml_format), .fallback = "true",
     REPLACED("Replaced by o3 export, which writes a format when asked to.")},
    {.path = "deployment.persistence.json_backup", BOOL(deployment.json_backup), .fallback = "true",
     REPLACED("Replaced by --json of every command and the database.")},
    {.path = "deployment.persistence.versioning", BOOL(deployment.versioning), .fallback = "true",
     REPLACED("Replaced by the database: every run is kept.")},
};
const int config_option_count = O3_COUNT(config_options);

#define PRESET "preset_categories."
#define USE "model_intelligence.use_case_optimization."
const config_shipped config_shipped_rows[] = {
    {PRESET "max_context.description", "For long conversations, document analysis, complex reasoning"},
    {PRESET "max_context.throughput_weight", "0.2"}, /* context: objectives.max_context_priority */
    {PRESET "max_context.ttft_weight", "0"},
    {PRESET "max_context.target_context_percentile", "95"},
    {PRESET "balanced.description", "For tool-using agents, code generation, moderate context needs"},
    {PRESET "balanced.context_weight", "0.5"},
    {PRESET "balanced.throughput_weight", "0"},
    {PRESET "balanced.ttft_weight", "0.5"},
    {PRESET "balanced.target_context_range", "[8192, 12288]"},
    {PRESET "fast_response.description", "For quick commands, simple queries, high-frequency interactions"},
    {PRESET "fast_response.context_weight", "0"},
    {PRESET "fast_response.throughput_weight", "0.7"},
    {PRESET "fast_response.ttft_weight", "0.3"},
    {PRESET "fast_response.target_context_min", "4096"},
    {PRESET "fast_response.ttft_prompt_tokens", "512"},
    {USE "coding.priority", "context"},
    {USE "coding.context_weight", "0.8"},
    {USE "coding.throughput_weight", "0.5"},
    {USE "rag.priority", "throughput"},
    {USE "rag.context_weight", "0.6"},
    {USE "rag.throughput_weight", "0.8"},
    {USE "chat.priority", "balance"},
    {USE "chat.context_weight", "0.5"},
    {USE "chat.throughput_weight", "0.7"},
    {USE "tools.priority", "speed"},
    {USE "tools.context_weight", "0.4"},
    {USE "tools.throughput_weight", "0.9"},
};
const int config_shipped_count = O3_COUNT(config_shipped_rows);
