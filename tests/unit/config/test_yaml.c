/* SPDX-License-Identifier: Apache-2.0 */
/* The loaders: what is read, what is refused and with which words, which source wins. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "config/config.h"

#define NAME "f.yaml"

static o3_status load(o3_config *config, const char *text, size_t len, o3_notes *notes, o3_err *err)
{
    o3_config_origins *origins = o3_config_origins_new();
    *err = (o3_err){0};
    config_defaults_raw(config);
    const config_target target = {.config = config, .origins = origins, .notes = notes};
    o3_status status = config_load_text(config, text, len, NAME, origins, notes, err);
    if (!status)
        status = config_finish(&target, err);
    o3_config_origins_free(origins);
    return status;
}

/* NULL: it loads. */
static const struct {
    const char *text, *message;
} cases[] = {
    {"", NULL},
    {"---\n", NULL},
    {"---\n...\n", NULL},
    {"# only a comment \xf0\x9f\x8e\xaf\n", NULL},
    {"null\n", NULL},
    {"%YAML 1.1\n---\ntesting:\n", NULL},
    {"\xef\xbb\xbfobjectives: {ttft_priority: 0.5}\n", NULL},
    {"objectives:\r\n  ttft_priority: 0.5\r\n  throughput_priority: 0.5 # \xf0\x9f\x9a\x80\r\n", NULL},
    {"objectives: {ttft_priority: '0.5', \"throughput_priority\": \"0.5\"}", NULL},
    {"objectives:\n  ttft_priority:\n    0.5\n", NULL},
    {"testing: {concurrency_progression: {levels: [1,\n  2, # two\n  4]}}\n", NULL},
    {"testing:\n  concurrency_progression:\n    levels:\n      - 1\n      - 2\n", NULL},
    {"preset_categories:\n  balanced:\n    description: >-\n      folded\n      text\n", NULL},
    {"preset_categories:\n  balanced:\n    target_context_range: []\n", NULL},
    {"preset_categories:\n  balanced:\n    target_context_range: ~\n    description:\n", NULL},
    {"hardware_monitoring: {gpu_handling: {amd: {memory_field_index: 2}}}", NULL},

    {"objectives:\n  max_context_priorty: 0.8\n",
     "f.yaml:2: objectives.max_context_priorty is not an option (max_context_priority?)"},
    {"\n\nobjectivs: {}\n", "f.yaml:3: objectivs is not an option (objectives?)"},
    {"testing:\n  base_timeout: 60\n",
     "f.yaml:2: testing.base_timeout is not an option (testing.adaptive_timeouts.base_timeout?)"},
    {"objectives.ttft_priority: 1\n", "f.yaml:1: 'objectives.ttft_priority' cannot be a key"},
    {"preset_categories:\n  \"*\": {ttft_weight: 1}\n", "f.yaml:2: '*' cannot be a key"},
    {"\"a\\eb\": 1\n", "f.yaml:1: 'a?b' cannot be a key"},
    {"\"\": 1\n", "f.yaml:1: '' cannot be a key"},
    {"? [a]\n: 1\n", "f.yaml:1: a key must be a plain word"},
    {"preset_categories: {\"a/b\": {}}\n",
     "f.yaml:1: preset_categories.a/b: a name has 1 to 63 letters, digits, - and _"},

    {"testing:\n  statistical_validation:\n    min_samples_per_config: five\n",
     "f.yaml:3: testing.statistical_validation.min_samples_per_config: 'five' is not a whole number"},
    {"testing: {statistical_validation: {min_samples_per_config: 1000}}\n",
     "f.yaml:1: testing.statistical_validation.min_samples_per_config: '1000' is outside 1 to 100 samples"},
    {"objectives: {ttft_priority: [0.5]}\n", "f.yaml:1: objectives.ttft_priority takes one value, not a list"},
    {"objectives: {ttft_priority: {a: 1}}\n",
     "f.yaml:1: objectives.ttft_priority takes a value, not a group of keys"},
    {"objectives:\n  ttft_priority:\n", "f.yaml:2: objectives.ttft_priority has no value"},
    {"objectives: 0.5\n", "f.yaml:1: objectives is a group of keys, not a value"},
    {"objectives: [0.5]\n", "f.yaml:1: objectives is a group of keys, not a value"},
    {"objectives: ''\n", "f.yaml:1: objectives is a group of keys, not a value"},
    {"testing: {concurrency_progression: {levels: 4}}\n",
     "f.yaml:1: testing.concurrency_progression.levels takes a list, as in [1, 2]"},
    {"testing: {concurrency_progression: {levels: [1, [2]]}}\n",
     "f.yaml:1: testing.concurrency_progression.levels: item 2 is not a plain value"},
    {"testing: {concurrency_progression: {levels: [\"1,2\"]}}\n",
     "f.yaml:1: testing.concurrency_progression.levels: item 1 is not a plain value"},
    {"testing: {concurrency_progression: {levels: []}}\n",
     "f.yaml:1: testing.concurrency_progression.levels: has no value"},
    {"preset_categories: {balanced: {description: \"a\\0b\"}}\n",
     "f.yaml:1: preset_categories.balanced.description: has a zero byte"},
    {"just a text\n", "f.yaml:1: a configuration is a group of keys"},
    {"- a\n- b\n", "f.yaml:1: a configuration is a group of keys"},

    {"objectives:\n  ttft_priority: 1\n  ttft_priority: 1\n",
     "f.yaml:3: objectives.ttft_priority is set twice (first in line 2)"},
    {"testing:\nobjectives:\ntesting:\n", "f.yaml:3: testing is set twice (first in line 1)"},
    {"safety_thresholds: {max_ram_percent: 80}\nhardware_monitoring:\n  safety_thresholds:\n    max_ram_percent: 81\n",
     "f.yaml:4: hardware_monitoring.safety_thresholds.max_ram_percent is set twice (first in line 1)"},

    {"a: &x 1\n", "f.yaml:1: anchors (&name) are not read, write the value out"},
    {"objectives: &o {ttft_priority: 1}\n", "f.yaml:1: anchors (&name) are not read, write the value out"},
    {"objectives: *o\n", "f.yaml:1: aliases (*name) are not read, write the value out"},
    {"objectives:\n  <<: {ttft_priority: 1}\n", "f.yaml:2: merge keys (<<) are not read, write the values out"},
    {"objectives:\n  ttft_priority: !!float 1\n", "f.yaml:2: tags (!name) are not read"},
    {"!!map {}\n", "f.yaml:1: tags (!name) are not read"},
    {"objectives: {}\n---\ntesting: {}\n", "f.yaml:2: a second document: one file is one configuration"},

    {"objectives:\n\tttft_priority: 1\n", "f.yaml:2: a tab cannot indent in YAML, use spaces"},
    {"objectives: {ttft_priority: 1\n", "f.yaml:2: not valid YAML, column 1: did not find expected ',' or '}'"},
    {"objectives: \"\n", "f.yaml:2: not valid YAML, column 1: found unexpected end of stream"},
    {"objectives:\n\n  \xff\xfe: 1\n", "f.yaml:3: not readable as UTF-8 text (invalid leading UTF-8 octet)"},
    {"objectives:\n  a: \x01\n", "f.yaml:2: not readable as UTF-8 text (control characters are not allowed)"},

    {"testing: {adaptive_timeouts: {min_timeout: 400}}\n",
     "f.yaml:1: testing.adaptive_timeouts.min_timeout 400 is above testing.adaptive_timeouts.max_timeout 300 "
     "(built-in)"},
    {"fine_tuning:\n  ttft_targets:\n    small_models:\n      max: 300\n",
     "built-in: fine_tuning.ttft_targets.small_models.target 500 is above "
     "fine_tuning.ttft_targets.small_models.max 300 (f.yaml:4)"},
    {"model_intelligence: {size_categories: {large: {min_params: 2e9}}}\n",
     "built-in: model_intelligence.size_categories.medium.min_params 3000000000 is above "
     "model_intelligence.size_categories.large.min_params 2000000000 (f.yaml:1)"},
    {"preset_categories: {balanced: {target_context_range: [8192]}}\n",
     "f.yaml:1: preset_categories.balanced.target_context_range: takes two contexts, the lower first"},
    {"preset_categories: {balanced: {target_context_range: [8192, 4096]}}\n",
     "f.yaml:1: preset_categories.balanced.target_context_range: the lower context comes first"},
    {"preset_categories: {balanced: {target_context_min: 65536}}\n",
     "f.yaml:1: preset_categories.balanced.target_context_min: is above the end of target_context_range"},
    {"preset_categories: {x: {context_weight: 0}}\n",
     "f.yaml:1: preset_categories.x.context_weight: context_weight, throughput_weight and ttft_weight are all 0"},
};

static void texts(void **state)
{
    (void)state;
    for (int i = 0; i < O3_COUNT(cases); i++) {
        static o3_config config;
        o3_err err;
        o3_status status = load(&config, cases[i].text, strlen(cases[i].text), NULL, &err);
        if (cases[i].message && (status != O3_E_CONFIG || strcmp(err.message, cases[i].message)))
            fail_msg("%s\ngot    %d '%s'\nwanted '%s'", cases[i].text, (int)status, err.message, cases[i].message);
        if (!cases[i].message && status)
            fail_msg("%s\n%s", cases[i].text, err.message);
    }
}

static char *repeat(const char *part, size_t count)
{
    size_t len = strlen(part);
    char *text = o3_alloc(count * len + 1, 1);
    for (size_t i = 0; i < count; i++)
        memcpy(text + i * len, part, len);
    return text;
}

static void sizes_and_depths(void **state)
{
    (void)state;
    static const char *const parts[] = {"[", "{", "{a: ", "- ", "? ", "a: [", "\"", "!", "&a ", "objectives: {", "%"};
    static o3_config config;
    o3_err err;
    for (int i = 0; i < O3_COUNT(parts); i++) {
        o3_auto(free) char *deep = repeat(parts[i], 200000);
        size_t len = strlen(deep) > CONFIG_FILE_MAX ? CONFIG_FILE_MAX : strlen(deep);
        assert_int_equal(load(&config, deep, len, NULL, &err), O3_E_CONFIG);
    }
    o3_auto(free) char *full = repeat("#xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n", CONFIG_FILE_MAX / 32);
    assert_int_equal(load(&config, full, CONFIG_FILE_MAX, NULL, &err), O3_OK);
    assert_int_equal(load(&config, full, CONFIG_FILE_MAX + 1, NULL, &err), O3_E_LIMIT);
    assert_string_equal(err.message, NAME ": is larger than 1 MiB");

    o3_auto(free) char *word = repeat("w", 400);
    char text[1024];
    O3_FORMAT(text, "preset_categories: {balanced: {description: %s}}", word);
    assert_int_equal(load(&config, text, strlen(text), NULL, &err), O3_E_CONFIG);
    assert_string_equal(err.message,
                        NAME ":1: preset_categories.balanced.description: is 400 bytes long, the limit is 383");
    O3_FORMAT(text, "preset_categories: {%.63s: {}}", word);
    assert_int_equal(load(&config, text, strlen(text), NULL, &err), O3_OK);
    O3_FORMAT(text, "preset_categories: {%.64s: {}}", word);
    assert_int_equal(load(&config, text, strlen(text), NULL, &err), O3_E_CONFIG);
}

/* Nothing that comes in may do more than fail with words. */
static void garbage(void **state)
{
    (void)state;
    static o3_config config;
    static const char alphabet[] = "abz{}[]:,-?&*!|>'\"%@` \n\n#~.0129\t\xc3\xa9";
    o3_rng rng;
    o3_rng_seed(&rng, 7, 1);
    for (int round = 0; round < 4000; round++) {
        char text[200];
        o3_err err;
        size_t len = o3_rng_below(&rng, sizeof(text));
        for (size_t i = 0; i < len; i++)
            text[i] = round % 2 ? (char)o3_rng_below(&rng, 256) : alphabet[o3_rng_below(&rng, sizeof(alphabet) - 1)];
        o3_status status = load(&config, text, len, NULL, &err);
        assert_true(status == O3_OK || (status == O3_E_CONFIG && *err.message));
    }
}

static bool has_note(const o3_notes *notes, const char *text)
{
    for (int i = 0; i < notes->count; i++)
        if (!strcmp(notes->text[i], text))
            return true;
    for (int i = 0; i < notes->count; i++)
        print_message("note: %s\n", notes->text[i]);
    return false;
}

static void derived_values(void **state)
{
    (void)state;
    static o3_config c;
    o3_err err;
    o3_notes notes = {0};
    static const char text[] = "objectives: {stability_margin: 0.7, max_context_priority: 0.6}\n"
                               "search_strategy: {context_discovery: linear, batch_adaptation: {max_batch: 256}}\n"
                               "learning_system: {configuration_learning: {enabled: false}}\n"
                               "hardware_monitoring: {resource_headroom: {ram_reserve_mb: 8192}}\n";
    o3_config_defaults(&c);
    assert_true(c.categories[0].context_weight == 0.8 && c.hardware_monitoring.safety_thresholds.max_ram_percent == 85);
    assert_false(c.hardware_monitoring.ram_reserve_is_users);
    assert_int_equal(load(&c, text, strlen(text), &notes, &err), O3_OK);
    assert_true(c.categories[0].context_weight == 0.6 && c.categories[0].throughput_weight == 0.2);
    assert_true(c.hardware_monitoring.safety_thresholds.max_ram_percent == 70);
    assert_true(c.hardware_monitoring.safety_thresholds.max_vram_percent == 70);
    assert_int_equal(c.search_strategy.batch_adaptation.max_batch, 256);
    assert_int_equal(c.search_strategy.batch_adaptation.initial_batch_large, 256);
    assert_false(c.learning.store_results || c.learning.reuse_learned_configs);
    assert_true(c.hardware_monitoring.ram_reserve_is_users);
    assert_false(c.hardware_monitoring.vram_reserve_is_users);
    assert_true(has_note(&notes, "search_strategy.context_discovery: linear takes more loads than predictive, "
                                 "which knows where to begin"));
    assert_true(has_note(&notes, "hardware_monitoring.safety_thresholds.max_ram_percent is lowered to 70 % by "
                                 "objectives.stability_margin"));
    /* A margin left alone does not take a limit of the user's away; a stated default is no wish. */
    static const char limit[] = "objectives: {stability_margin: 0.9}\nsafety_thresholds: {max_ram_percent: 95}\n"
                                "hardware_monitoring: {resource_headroom: {ram_reserve_mb: 4096}}\n";
    notes.count = 0;
    assert_int_equal(load(&c, limit, strlen(limit), &notes, &err), O3_OK);
    assert_true(c.hardware_monitoring.safety_thresholds.max_ram_percent == 95);
    assert_false(c.hardware_monitoring.ram_reserve_is_users);
    assert_int_equal(notes.count, 0);
}

/* The root of the sources: given, or from where this file was compiled, which is where the tests run. */
static void find_root(char *dst, size_t dst_size)
{
    const char *given = getenv("O3_SOURCE_ROOT");
    char probe[4200];
    o3_copy(dst, dst_size, given ? given : __FILE__);
    for (int up = 0; !given && up < 4; up++) {
        char *slash = strrchr(dst, '/');
        o3_copy(slash ? slash : dst, 2, slash ? "" : ".");
    }
    o3_format(probe, sizeof(probe), "%s/tests/fixtures/config/older.yaml", dst);
    if (access(probe, R_OK))
        fail_msg("%s is not the source tree; set O3_SOURCE_ROOT", dst);
}

static void source_path(const char *name, char *dst, size_t dst_size)
{
    char root[2048];
    find_root(root, sizeof(root));
    o3_format(dst, dst_size, "%s/%s", root, name);
}

typedef struct shown {
    int count;
    char path[512][CONFIG_PATH_MAX], value[512][CONFIG_VALUE_MAX];
    bool stated[512];
    const o3_option *option[512];
} shown;

static void keep_shown(void *ctx, const o3_option *option, const char *path, const char *value, const char *origin)
{
    shown *all = ctx;
    O3_COPY(all->path[all->count], path);
    O3_COPY(all->value[all->count], value);
    all->option[all->count] = option;
    all->stated[all->count++] = strcmp(origin, "built-in") != 0;
}

static void shipped_file_is_the_defaults(void **state)
{
    (void)state;
    static o3_config file, built_in;
    static shown a, b;
    char path[4096];
    o3_err err = {0};
    o3_notes notes = {0};
    o3_config_origins *origins = o3_config_origins_new();
    source_path(CONFIG_FILE_NAME, path, sizeof(path));
    if (o3_config_load(&file, path, NULL, origins, &notes, &err))
        fail_msg("%s", err.message);
    assert_int_equal(notes.count, 0);
    assert_string_equal(file.source, path);
    o3_config_defaults(&built_in);
    a.count = b.count = 0;
    o3_config_each(&file, origins, keep_shown, &a);
    o3_config_each(&built_in, NULL, keep_shown, &b);
    assert_int_equal(a.count, b.count);
    for (int i = 0; i < a.count; i++) {
        bool stated = a.stated[i] || a.option[i]->type == O3_OPT_IGNORED;
        for (int j = 0; j < a.count; j++)
            stated |= a.option[j] == a.option[i] && a.stated[j];
        if (strcmp(a.path[i], b.path[i]) || strcmp(a.value[i], b.value[i]) || !stated)
            fail_msg("%s: '%s' in the file%s, '%s' built in", a.path[i], a.value[i], stated ? "" : " (not stated)",
                     b.value[i]);
    }
    assert_int_equal(file.hardware_monitoring.ram_reserve_is_users, built_in.hardware_monitoring.ram_reserve_is_users);
    o3_config_origins_free(origins);
}

static void older_files(void **state)
{
    (void)state;
    static o3_config c;
    char path[4096];
    o3_err err = {0};
    o3_notes notes = {0};
    source_path("tests/fixtures/config/older.yaml", path, sizeof(path));
    if (o3_config_load(&c, path, NULL, NULL, &notes, &err))
        fail_msg("%s", err.message);
    /* Its two weights replace ours, the first of max_context is the objective. */
    assert_true(c.categories[0].context_weight == 0.8 && c.categories[0].throughput_weight == 0.3 &&
                c.categories[0].ttft_weight == 0.2);
    assert_true(c.categories[1].context_weight == 0.5 && c.categories[1].throughput_weight == 0.6);
    assert_int_equal(c.search_strategy.batch_adaptation.max_batch, 256);
    assert_true(c.size_large.min_params == 20e9);
    assert_int_equal(notes.count, 7);
    assert_non_null(strstr(notes.text[0], "older.yaml:58: hardware_monitoring.gpu_handling.nvidia.command and 6 more: "
                                          "no effect in this release (Never run)"));

    notes.count = 0;
    source_path("tests/fixtures/config/older_workstation.yaml", path, sizeof(path));
    if (o3_config_load(&c, path, NULL, NULL, &notes, &err))
        fail_msg("%s", err.message);
    assert_true(c.hardware_monitoring.safety_thresholds.max_vram_percent == 80);
    assert_true(c.hardware_monitoring.safety_thresholds.max_cpu_percent == 95);
    assert_true(c.categories[1].context_weight == 0.4);
    assert_int_equal(c.size_large.max_batch, 256);
    assert_string_equal(c.ai_guidance.focus_mode, "coding_assistance");
    assert_true(has_note(&notes, "model_intelligence.size_categories.large.min_params: 2.7e+07 parameters make nearly "
                                 "every model large (20e9 is the default)"));
}

static const struct {
    const char *text, *message, *note; /* message NULL: it loads */
} python[] = {
    {"", NULL, NULL},
    {"DEFAULT_TIMEOUT = 90\r\n", NULL, NULL},
    {"DEFAULT_TIMEOUT: int = 90 # s\n", NULL, NULL},
    {"DEFAULT_TIMEOUT = '90'\n", NULL, NULL},
    {"DEFAULT_TIMEOUT = \\\n  90\n", NULL, NULL},
    {"DEFAULT_TIMEOUT = 60 * 2\n", "p.py:1: testing.adaptive_timeouts.base_timeout: '60 * 2' is not a number", NULL},
    {"\nDEFAULT_TIMEOUT = os.system('x')\n",
     "p.py:2: testing.adaptive_timeouts.base_timeout: 'os.system('x')' is not a number", NULL},
    {"DEFAULT_TIMEOUT = \n", "p.py:1: testing.adaptive_timeouts.base_timeout: '' is not a number", NULL},
    {"MAX_RAM_USAGE_PERCENT = 850\n",
     "p.py:1: hardware_monitoring.safety_thresholds.max_ram_percent: '850' is outside 1 to 100 %", NULL},
    {"DEFAULT_CONCURRENCY_LEVELS = [1,\n  2, # two ]\n]\n", NULL, NULL},
    {"A = [1,\n", "p.py:1: a bracket is not closed", NULL},
    {"\nA = 'x\n", "p.py:2: a quoted text does not end", NULL},
    {"\"\"\"doc\nDEFAULT_TIMEOUT = 1\n\"\"\"\n'x'\n", NULL, NULL},
    {"x = {'a': '''b\n}'''}\n", NULL, "p.py:1: x is not known and was not read"},
    {"GENERATE_PLOTS = False\n", NULL, "p.py:1: GENERATE_PLOTS: comes with the report"},
    {"import os\nif a == 3:\n  DEFAULT_TIMEOUT = 1\nx == 1\n", NULL,
     "p.py:1: only assignments of literals are read; 4 other statements were not"},
    {")]}\nDEFAULT_TIMEOUT = 90", NULL, "p.py:1: only assignments of literals are read; 1 other statements were not"},
};

static void legacy(void **state)
{
    (void)state;
    static o3_config c;
    for (int i = 0; i < O3_COUNT(python); i++) {
        o3_err err = {0};
        o3_notes notes = {0};
        config_defaults_raw(&c);
        o3_status status =
            config_load_legacy(&c, python[i].text, strlen(python[i].text), "p.py", NULL, &notes, &err);
        if (python[i].message)
            assert_string_equal(err.message, python[i].message);
        else if (status)
            fail_msg("%s\n%s", python[i].text, err.message);
        if (python[i].note)
            assert_true(has_note(&notes, python[i].note));
        else
            assert_int_equal(notes.count, 0);
        if (!status && strstr(python[i].text, "DEFAULT_TIMEOUT") && strstr(python[i].text, "90"))
            assert_true(c.testing.adaptive_timeouts.base_timeout_s == 90);
        if (!status && !strstr(python[i].text, "90"))
            assert_true(c.testing.adaptive_timeouts.base_timeout_s == 60);
    }
    o3_err err = {0};
    assert_int_equal(config_load_legacy(&c, "a\0b", 3, "p.py", NULL, NULL, &err), O3_E_CONFIG);
}

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

#define BASE_TIMEOUT(c) ((c).testing.adaptive_timeouts.base_timeout_s)

/* In a directory of its own: the working directory wins over XDG_CONFIG_HOME, --config over both, O3_ over all. */
static void sources_in_order(void **state)
{
    (void)state;
    static o3_config c;
    char dir[] = "/tmp/o3-config-XXXXXX", back[4096], xdg[64], python_file[4096];
    o3_err err = {0};
    source_path("tests/fixtures/config/older_config.py", python_file, sizeof(python_file));
    assert_non_null(realpath(python_file, back));
    O3_COPY(python_file, back);
    assert_non_null(getcwd(back, sizeof(back)));
    assert_non_null(mkdtemp(dir));
    assert_int_equal(chdir(dir), 0);
    O3_FORMAT(xdg, "%s/xdg", dir);
    assert_int_equal(setenv("XDG_CONFIG_HOME", xdg, 1), 0);

    assert_int_equal(o3_config_load(&c, NULL, NULL, NULL, NULL, &err), O3_OK);
    assert_string_equal(c.source, "built-in");
    assert_true(BASE_TIMEOUT(c) == 60);
    assert_true(o3_mkdirs("xdg/o3", 0700));
    write_text("xdg/o3/o3_ai_config.yaml", "testing: {adaptive_timeouts: {base_timeout: 61}}\n");
    assert_int_equal(o3_config_load(&c, NULL, NULL, NULL, NULL, &err), O3_OK);
    assert_true(BASE_TIMEOUT(c) == 61);
    write_text("o3_ai_config.yaml", "testing: {adaptive_timeouts: {base_timeout: 62}}\n");
    assert_int_equal(o3_config_load(&c, NULL, NULL, NULL, NULL, &err), O3_OK);
    assert_true(BASE_TIMEOUT(c) == 62);
    assert_string_equal(c.source, "o3_ai_config.yaml");
    assert_int_equal(o3_config_load(&c, "xdg/o3/o3_ai_config.yaml", NULL, NULL, NULL, &err), O3_OK);
    assert_true(BASE_TIMEOUT(c) == 61);
    assert_int_equal(o3_config_load(&c, NULL, python_file, NULL, NULL, &err), O3_OK);
    assert_true(BASE_TIMEOUT(c) == 62 && c.hardware_monitoring.safety_thresholds.max_ram_percent == 75);
    assert_int_equal(c.testing.statistical_validation.min_samples_per_config, 3);
    assert_int_equal(setenv("O3_TESTING_ADAPTIVE_TIMEOUTS_BASE_TIMEOUT", "63", 1), 0);
    assert_int_equal(setenv("O3_TESTING_ADAPTIVE_TIMEOUTS_BASE_TIMEOT", "64", 1), 0);
    o3_notes notes = {0};
    assert_int_equal(o3_config_load(&c, NULL, NULL, NULL, &notes, &err), O3_OK);
    assert_true(BASE_TIMEOUT(c) == 63);
    assert_true(has_note(&notes, "O3_TESTING_ADAPTIVE_TIMEOUTS_BASE_TIMEOT is no option and was not read "
                                 "(O3_TESTING_ADAPTIVE_TIMEOUTS_BASE_TIMEOUT?)"));
    assert_int_equal(setenv("O3_TESTING_ADAPTIVE_TIMEOUTS_BASE_TIMEOUT", "soon", 1), 0);
    assert_int_equal(o3_config_load(&c, NULL, NULL, NULL, NULL, &err), O3_E_CONFIG);
    assert_string_equal(err.message, "O3_TESTING_ADAPTIVE_TIMEOUTS_BASE_TIMEOUT: "
                                     "testing.adaptive_timeouts.base_timeout: 'soon' is not a number");
    assert_true(BASE_TIMEOUT(c) == 63); /* a failed load leaves what was there */
    unsetenv("O3_TESTING_ADAPTIVE_TIMEOUTS_BASE_TIMEOUT");
    unsetenv("O3_TESTING_ADAPTIVE_TIMEOUTS_BASE_TIMEOT");

    assert_int_equal(o3_config_load(&c, "none.yaml", NULL, NULL, NULL, &err), O3_E_NOT_FOUND);
    assert_string_equal(err.message, "none.yaml: No such file or directory");
    assert_int_equal(o3_config_load(&c, "xdg", NULL, NULL, NULL, &err), O3_E_IO);
    assert_int_equal(o3_config_load(&c, NULL, "none.py", NULL, NULL, &err), O3_E_NOT_FOUND);
    o3_auto(free) char *huge = repeat("# 456789\n", CONFIG_FILE_MAX / 9 + 1);
    write_text("huge.yaml", huge);
    assert_int_equal(o3_config_load(&c, "huge.yaml", NULL, NULL, NULL, &err), O3_E_LIMIT);
    static const char *const files[] = {"huge.yaml", "o3_ai_config.yaml", "xdg/o3/o3_ai_config.yaml"};
    for (int i = 0; i < O3_COUNT(files); i++)
        unlink(files[i]);
    rmdir("xdg/o3");
    rmdir("xdg");
    assert_int_equal(chdir(back), 0);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts),          cmocka_unit_test(sizes_and_depths),
        cmocka_unit_test(garbage),        cmocka_unit_test(derived_values),
        cmocka_unit_test(shipped_file_is_the_defaults), cmocka_unit_test(older_files),
        cmocka_unit_test(legacy),         cmocka_unit_test(sources_in_order),
    };
    /* The tests say what is in the environment. */
    unsetenv("XDG_CONFIG_HOME");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
