/* SPDX-License-Identifier: Apache-2.0 */
/* The option table: each row is sound, takes a value through every loader, gives it back, and touches nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/config.h"

#define WHERE_YAML "t.yaml"

/* A value that is valid and not the default. */
static void other_value(const o3_option *option, const char *now, char *dst, size_t dst_size)
{
    double low = option->min, high = option->max;
    switch (option->type) {
    case O3_OPT_BOOL:
        o3_copy(dst, dst_size, !strcmp(now, "true") ? "false" : "true");
        break;
    case O3_OPT_INT:
        o3_format(dst, dst_size, "%.0f", strtod(now, NULL) == low + 1 ? low + 2 : low + 1);
        break;
    case O3_OPT_REAL:
        o3_format(dst, dst_size, "%.15g", strtod(now, NULL) == (low + high) / 2 ? high : (low + high) / 2);
        break;
    case O3_OPT_TEXT:
        o3_copy(dst, dst_size, "a text with \xf0\x9f\x8e\xaf");
        break;
    case O3_OPT_CHOICE:
        o3_copy(dst, dst_size, strrchr(option->choices, '|') + 1);
        if (!strcmp(dst, now))
            o3_format(dst, dst_size, "%.*s", (int)strcspn(option->choices, "|"), option->choices);
        break;
    case O3_OPT_INT_LIST:
        o3_format(dst, dst_size, "[%.0f, %.0f]", low + 2, low + 3);
        break;
    case O3_OPT_IGNORED:
        o3_copy(dst, dst_size, "anything");
        break;
    }
}

/* All slots of the defaults, with the path of each. */
typedef struct slots {
    int count;
    config_slot slot[512];
    char path[512][CONFIG_PATH_MAX];
} slots;

static void collect(const o3_config *config, slots *all)
{
    all->count = 0;
    for (int i = 0; i < config_option_count; i++) {
        for (int row = 0; row < config_row_count(config, &config_options[i]); row++) {
            all->slot[all->count] = (config_slot){&config_options[i], i, row};
            config_slot_path(config, all->slot[all->count], all->path[all->count]);
            all->count++;
            assert_true(all->count < O3_COUNT(all->slot));
        }
    }
}

static void value_of(const o3_config *config, config_slot slot, char *dst, size_t dst_size)
{
    config_format(slot.option, (const char *)config + config_offset(slot.option, slot.row), dst, dst_size);
}

/* "a.b.c" and a value as the one-key YAML that says so; returns the line of the key. */
static int yaml_of(const char *path, const char *value, bool quoted, char *dst, size_t dst_size)
{
    int line = 1, depth = 0;
    dst[0] = '\0';
    for (const char *p = path;; line++, depth++) {
        size_t len = strcspn(p, "."), used = strlen(dst);
        o3_format(dst + used, dst_size - used, "%*s%.*s:", depth * 2, "", (int)len, p);
        used = strlen(dst);
        if (!p[len]) {
            o3_format(dst + used, dst_size - used, quoted ? " \"%s\"\n" : " %s\n", value);
            return line;
        }
        o3_format(dst + used, dst_size - used, "\n");
        p += len + 1;
    }
}

static void rows_are_sound(void **state)
{
    (void)state;
    int count;
    const o3_option *options = o3_options(&count);
    char names[512][CONFIG_PATH_MAX];
    assert_true(count > 120);
    for (int i = 0; i < count; i++) {
        const o3_option *o = &options[i];
        assert_non_null(o->help);
        assert_non_null(o->unit);
        assert_non_null(o->fallback);
        assert_true(strlen(o->help) > 10 && o->help[strlen(o->help) - 1] == '.');
        assert_true(o->type == O3_OPT_IGNORED || o->size > 0);
        assert_true((o->type == O3_OPT_CHOICE) == (o->choices != NULL));
        if (o->type == O3_OPT_INT || o->type == O3_OPT_REAL || o->type == O3_OPT_INT_LIST)
            assert_true(o->min < o->max);
        if (o->type == O3_OPT_IGNORED)
            assert_true(o->served != O3_SERVED_NOW);
        config_env_name(o->path, names[i], sizeof(names[i]));
        for (int j = 0; j < i; j++)
            assert_string_not_equal(names[i], names[j]);
    }
}

/* Through YAML and through the environment: it arrives, with its origin, and no other value moves. */
static void each_row_loads(void **state)
{
    (void)state;
    static slots all;
    static o3_config before, after;
    config_defaults_raw(&before);
    collect(&before, &all);
    for (int i = 0; i < all.count; i++) {
        char now[CONFIG_VALUE_MAX], value[CONFIG_VALUE_MAX], got[CONFIG_VALUE_MAX], text[1024], where[64];
        char variable[1200], name[CONFIG_PATH_MAX];
        o3_err err = {0};
        const o3_option *option = all.slot[i].option;
        value_of(&before, all.slot[i], now, sizeof(now));
        other_value(option, now, value, sizeof(value));
        int line = yaml_of(all.path[i], value, option->type == O3_OPT_TEXT, text, sizeof(text));
        config_env_name(all.path[i], name, sizeof(name));
        O3_FORMAT(variable, "%s=%s", name, value);
        for (int loader = 0; loader < 2; loader++) {
            o3_config_origins *origins = o3_config_origins_new();
            const config_target target = {.config = &after, .origins = origins};
            after = before;
            o3_status status = loader ? config_load_env(&target, (char *[]){variable, NULL}, &err)
                                      : config_load_text(&after, text, strlen(text), WHERE_YAML, origins, NULL, &err);
            if (status)
                fail_msg("%s: %s", all.path[i], err.message);
            O3_FORMAT(where, WHERE_YAML ":%d", line);
            assert_string_equal(config_origin(origins, all.slot[i]), loader ? name : where);
            value_of(&after, all.slot[i], got, sizeof(got));
            assert_string_equal(got, option->type == O3_OPT_IGNORED ? "" : value);
            for (int j = 0; j < all.count; j++) {
                value_of(&before, all.slot[j], now, sizeof(now));
                value_of(&after, all.slot[j], got, sizeof(got));
                if (j != i && strcmp(now, got))
                    fail_msg("%s changes %s from %s to %s", all.path[i], all.path[j], now, got);
            }
            o3_config_origins_free(origins);
        }
    }
}

static const char *wrong_text(o3_option_type type)
{
    switch (type) {
    case O3_OPT_BOOL:
        return "'five' is not true or false";
    case O3_OPT_REAL:
        return "'five' is not a number";
    case O3_OPT_INT:
    case O3_OPT_INT_LIST:
        return "'five' is not a whole number";
    default:
        return NULL;
    }
}

static void expect_failure(const char *path, const char *value, const char *problem)
{
    static o3_config config;
    char want[1024];
    o3_err err = {0};
    config_defaults_raw(&config);
    const config_target target = {.config = &config};
    assert_int_equal(config_assign(&target, path, value, "f.yaml:7", &err), O3_E_CONFIG);
    O3_FORMAT(want, "f.yaml:7: %s: %s", path, problem);
    assert_string_equal(err.message, want);
    assert_int_equal(err.status, O3_E_CONFIG);
}

static void each_row_refuses(void **state)
{
    (void)state;
    static slots all;
    static o3_config config;
    config_defaults_raw(&config);
    collect(&config, &all);
    for (int i = 0; i < all.count; i++) {
        const o3_option *o = all.slot[i].option;
        char value[64], problem[256];
        if (wrong_text(o->type))
            expect_failure(all.path[i], "five", wrong_text(o->type));
        bool number = o->type == O3_OPT_INT || o->type == O3_OPT_REAL || o->type == O3_OPT_INT_LIST;
        for (int side = 0; side < 2 && number; side++) {
            O3_FORMAT(value, "%.15g", side ? o->max * 2 + 1 : o->min - 1);
            O3_FORMAT(problem, "'%s' is outside %.15g to %.15g%s%s", value, o->min, o->max, *o->unit ? " " : "",
                      o->unit);
            expect_failure(all.path[i], value, problem);
        }
    }
    expect_failure("search_strategy.context_discovery", "guess",
                   "'guess' is none of predictive, binary_search, linear");
    expect_failure("preset_categories.balanced.description", "a\x1b[31mb", "'a?[31mb' has a control character");
    expect_failure("testing.concurrency_progression.levels", "[1, x]", "'x' is not a whole number");
    expect_failure("testing.concurrency_progression.levels", "[1, 2", "'[1, 2' is not a list of whole numbers");
    expect_failure("testing.concurrency_progression.levels", "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1",
                   "a list has at most 16 values");
}

static void numbers_as_written(void **state)
{
    (void)state;
    static const struct {
        const char *path, *text, *stored; /* NULL: refused */
    } cases[] = {
        {"model_intelligence.size_categories.large.min_params", "20e9", "20000000000"},
        {"model_intelligence.size_categories.large.min_params", "2.7E+10", "27000000000"},
        {"model_intelligence.size_categories.large.min_params", "0x10", NULL},
        {"model_intelligence.size_categories.large.min_params", "nan", NULL},
        {"model_intelligence.size_categories.large.min_params", "inf", NULL},
        {"model_intelligence.size_categories.large.min_params", "1e999", NULL},
        {"model_intelligence.size_categories.large.min_params", "", NULL},
        {"model_intelligence.size_categories.large.min_params", "e", NULL},
        {"model_intelligence.size_categories.large.min_params", " 3e9", NULL},
        {"search_strategy.initial_context_probe", "1.6384e4", "16384"},
        {"search_strategy.initial_context_probe", "16384.5", NULL},
        {"search_strategy.initial_context_probe", "99999999999999999999", NULL},
        {"objectives.ttft_priority", "0.1", "0.1"},
        {"objectives.ttft_priority", "0.30000000000000004", "0.30000000000000004"},
        {"learning_system.prediction_model.enabled", "No", "false"},
        {"learning_system.prediction_model.enabled", "ON", "true"},
        {"learning_system.prediction_model.enabled", "1", NULL},
        {"testing.concurrency_progression.levels", "4", "[4]"},
        {"testing.concurrency_progression.levels", " [ 1 ,2, ] ", NULL},
        {"testing.concurrency_progression.levels", "[ 1 ,2, ]", "[1, 2]"},
        {"preset_categories.balanced.target_context_range", "null", "null"},
        {"preset_categories.balanced.ttft_weight", "null", "null"},
    };
    for (int i = 0; i < O3_COUNT(cases); i++) {
        static o3_config config;
        char got[CONFIG_VALUE_MAX];
        config_defaults_raw(&config);
        o3_status status =
            config_assign(&(config_target){.config = &config}, cases[i].path, cases[i].text, "t", NULL);
        if ((status == O3_OK) != (cases[i].stored != NULL))
            fail_msg("%s: '%s' gives status %d", cases[i].path, cases[i].text, (int)status);
        value_of(&config, config_slot_of(&config, cases[i].path), got, sizeof(got));
        if (cases[i].stored)
            assert_string_equal(got, cases[i].stored);
    }
}

static void suggestions(void **state)
{
    (void)state;
    static const struct {
        const char *path, *message;
    } cases[] = {
        {"objectives.max_context_priorty", "objectives.max_context_priorty is not an option (max_context_priority?)"},
        {"objectivs", "objectivs is not an option (objectives?)"},
        {"preset_categories.mine.ttft_wieght", "preset_categories.mine.ttft_wieght is not an option (ttft_weight?)"},
        {"testing.base_timeout", "testing.base_timeout is not an option (testing.adaptive_timeouts.base_timeout?)"},
        {"zzzzzzzzzzzzzz", "zzzzzzzzzzzzzz is not an option"},
        {"objectives.max_context_priority.x",
         "objectives.max_context_priority.x is not an option"},
    };
    for (int i = 0; i < O3_COUNT(cases); i++) {
        char got[512], name[CONFIG_NAME_MAX];
        assert_null(config_find(cases[i].path, name));
        config_unknown(cases[i].path, got, sizeof(got));
        assert_string_equal(got, cases[i].message);
    }
}

static void rows_of_the_user(void **state)
{
    (void)state;
    static o3_config config;
    static const char text[] = "preset_categories:\n"
                               "  night-batch: {throughput_weight: 1}\n"
                               "  plain:\n"
                               "model_intelligence:\n"
                               "  use_case_optimization: {mail: {priority: speed}}\n";
    o3_err err = {0};
    config_defaults_raw(&config);
    const config_target target = {.config = &config};
    assert_int_equal(config_load_text(&config, text, sizeof(text) - 1, "t", NULL, NULL, &err), O3_OK);
    assert_int_equal(config_finish(&target, &err), O3_OK);
    assert_int_equal(config.category_count, 5);
    const o3_category *night = o3_config_category(&config, "night-batch");
    const o3_category *plain = o3_config_category(&config, "plain");
    assert_ptr_equal(night, &config.categories[3]);
    assert_true(night->context_weight == 0 && night->throughput_weight == 1 && night->ttft_weight == 0);
    assert_int_equal(night->target_context_min, -1);
    assert_true(isnan(night->target_context_percentile));
    /* No weight at all: the objectives. */
    assert_true(plain->context_weight == 0.8 && plain->throughput_weight == 0.6 && plain->ttft_weight == 0.4);
    const o3_use_case *mail = o3_config_use_case(&config, "mail");
    assert_non_null(mail);
    assert_string_equal(mail->priority, "speed");
    assert_true(mail->context_weight == 0.8 && mail->throughput_weight == 0.6);
    assert_null(o3_config_category(&config, "none"));
    assert_null(o3_config_use_case(&config, "none"));

    char why[256];
    const config_rows *rows = config_rows_of(config_slot_of(&config, "preset_categories.plain.ttft_weight").option);
    for (int i = config.category_count; i < O3_CATEGORIES_MAX; i++) {
        char name[16];
        O3_FORMAT(name, "p%d", i);
        assert_int_equal(config_row_add(&config, rows, name, why, sizeof(why)), i);
    }
    assert_int_equal(config_row_add(&config, rows, "one_more", why, sizeof(why)), -1);
    assert_string_equal(why, "there is room for 12 only");
}

/* Calls per path, to see that all is shown once and rows stand together. */
static void count_shown(void *ctx, const o3_option *option, const char *path, const char *value, const char *origin)
{
    int *calls = ctx;
    char name[CONFIG_NAME_MAX];
    assert_ptr_equal(config_find(path, name), option);
    assert_non_null(value);
    assert_true(!strcmp(origin, "built-in") || !strcmp(origin, "objectives.max_context_priority"));
    (*calls)++;
}

static void each_shows_all(void **state)
{
    (void)state;
    static o3_config config;
    static slots all;
    int calls = 0;
    o3_config_defaults(&config);
    collect(&config, &all);
    o3_config_each(&config, NULL, count_shown, &calls);
    assert_int_equal(calls, all.count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_sound),  cmocka_unit_test(each_row_loads), cmocka_unit_test(each_row_refuses),
        cmocka_unit_test(numbers_as_written), cmocka_unit_test(suggestions), cmocka_unit_test(rows_of_the_user),
        cmocka_unit_test(each_shows_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
