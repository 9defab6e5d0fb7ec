/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "cli/cli.h"

static o3_err err;
static cli_call call;

/* Parses "optimize m --quick"; the words live until the next call. */
static o3_status parse(const char *line)
{
    static char copy[1024];
    static char *argv[32];
    int argc = 0, used;
    char *rest = NULL;
    O3_COPY(copy, line);
    for (char *word = strtok_r(copy, " ", &rest); word && argc < 31; word = strtok_r(NULL, " ", &rest))
        argv[argc++] = strcmp(word, "''") ? word : word + 2;
    argv[argc] = NULL;
    err = (o3_err){O3_OK, ""};
    const cli_command *command = cli_command_find(argc, argv, &used);
    if (!command)
        return cli_command_unknown(argc, argv, &err);
    return cli_parse(command, argc - used + 1, argv + used - 1, &call, &err);
}

static void good(void **state)
{
    (void)state;
    assert_int_equal(parse("optimize m"), O3_OK);
    assert_string_equal(call.words[0], "m");
    assert_true(isnan(call.options.budget_s));
    assert_int_equal(call.options.samples, 0);
    assert_null(call.options.host);
    assert_int_equal(parse("optimize --budget 15m m --quick --samples=7 --seed 42 --host http://x:1 -v --json"),
                     O3_OK);
    assert_true(call.options.budget_s == 900);
    assert_true(call.options.quick && call.options.verbose && call.options.json && !call.options.force);
    assert_int_equal(call.options.samples, 7);
    assert_int_equal(call.options.seed, 42);
    assert_string_equal(call.options.host, "http://x:1");
    assert_string_equal(call.words[0], "m");
    assert_true(isnan(call.options.min_decode_per_s) && isnan(call.options.max_ttft_s));
    assert_int_equal(parse("optimize m --min-decode 12.5 --max-ttft 1m30s"), O3_OK);
    assert_true(call.options.min_decode_per_s == 12.5 && call.options.max_ttft_s == 90);
    assert_int_equal(parse("optimize m --max-ttft 2"), O3_OK);
    assert_true(call.options.max_ttft_s == 2);
    assert_int_equal(parse("preset show a/b:c balanced"), O3_OK);
    assert_string_equal(call.command->name, "preset show");
    assert_int_equal(call.count, 2);
    assert_int_equal(parse("history"), O3_OK);
    assert_string_equal(call.command->name, "history");
    assert_int_equal(parse("history show ab"), O3_OK);
    assert_string_equal(call.command->name, "history show");
    assert_int_equal(parse("history smollm2:135m"), O3_OK);
    assert_int_equal(call.count, 1);
    assert_int_equal(parse("preset show --help"), O3_OK); /* help needs no arguments */
    assert_true(call.options.help);
    assert_int_equal(parse("export m yaml -- "), O3_OK);
    assert_int_equal(parse("apply -- --odd"), O3_OK);
    assert_string_equal(call.words[0], "--odd");
}

static void bad(void **state)
{
    (void)state;
    const struct {
        const char *line, *message;
        o3_status status;
    } rows[] = {
        {"optimise m", "optimise is no command (did you mean optimize?)", O3_E_USAGE},
        {"xyzzy", "xyzzy is no command; o3 help lists them", O3_E_USAGE},
        {"preset", "o3 preset needs one more word: o3 preset list, o3 preset show", O3_E_USAGE},
        {"config chek", "config chek is no command; there is o3 config show, o3 config check", O3_E_USAGE},
        {"optimize m --budgt 3", "o3 optimize has no option --budgt (did you mean --budget?)", O3_E_USAGE},
        {"optimize m --budget", "--budget needs a TIME; o3 help optimize shows how", O3_E_USAGE},
        {"optimize m --budget soon", "--budget soon is not a time such as 90s, 15m or 1h30m", O3_E_USAGE},
        {"optimize m --budget 0", "--budget 0 is not a time such as 90s, 15m or 1h30m", O3_E_USAGE},
        {"optimize m --samples 0", "--samples 0 is not a whole number from 1 to 50", O3_E_USAGE},
        {"optimize m --samples 3x", "--samples 3x is not a whole number from 1 to 50", O3_E_USAGE},
        {"optimize m --seed -1", "--seed -1 is not a whole number of 1 or more", O3_E_USAGE},
        {"optimize m --quick=yes", "--quick takes no value", O3_E_USAGE},
        {"optimize m -q", "o3 optimize has no option -q; o3 help optimize lists its options", O3_E_USAGE},
        {"optimize m n", "o3 optimize does not take n: o3 optimize MODEL", O3_E_USAGE},
        {"optimize ''", "an empty text is no argument: o3 optimize MODEL", O3_E_USAGE},
        {"preset show", "o3 preset show needs more: o3 preset show MODEL [NAME]", O3_E_USAGE},
        {"export m", "o3 export needs more: o3 export MODEL yaml|json|modelfile", O3_E_USAGE},
    };
    for (int i = 0; i < O3_COUNT(rows); i++) {
        o3_status status = parse(rows[i].line);
        assert_int_equal(status, rows[i].status);
        assert_string_equal(err.message, rows[i].message);
    }
}

static void too_long(void **state)
{
    (void)state;
    char line[512] = "apply ";
    memset(line + 6, 'x', 400);
    line[406] = '\0';
    assert_int_equal(parse(line), O3_E_LIMIT);
    assert_non_null(strstr(err.message, "has 400 bytes; names have at most 255"));
}

/* What help, manual and completion rely on. */
static void the_table(void **state)
{
    (void)state;
    for (const cli_command *command = cli_commands; command->name; command++) {
        bool help = false;
        assert_non_null(command->run);
        assert_true(command->help && strlen(command->help) <= 51);
        assert_non_null(command->example);
        assert_int_equal(strncmp(command->example, "o3 ", 3), 0);
        assert_int_equal(strncmp(command->example + 3, command->name, strlen(command->name)), 0);
        assert_true(command->args_max <= O3_COUNT(call.words));
        for (const cli_flag *flag = command->flags; flag->name; flag++) {
            assert_non_null(flag->help);
            assert_true((flag->type == CLI_SWITCH) == (flag->value == NULL));
            help = help || !strcmp(flag->name, "help");
            for (const cli_flag *other = flag + 1; other->name; other++)
                assert_string_not_equal(flag->name, other->name);
        }
        assert_true(help);
        /* The example is a call that parses. */
        if (parse(command->example + 3))
            fail_msg("%s: %s", command->example, err.message);
    }
}

static char *written(void (*write)(FILE *out))
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    write(out);
    fclose(out);
    return text;
}

static int longest_line(const char *text)
{
    int longest = 0, now = 0;
    for (; *text; text++) {
        now = *text == '\n' ? 0 : now + ((*text & 0xc0) != 0x80);
        longest = now > longest ? now : longest;
    }
    return longest;
}

static void help_of_command(FILE *out)
{
    for (const cli_command *command = cli_commands; command->name; command++)
        cli_help_command(out, command);
}

static void help_fits(void **state)
{
    (void)state;
    char *all = written(cli_help_all), *each = written(help_of_command);
    assert_true(longest_line(all) <= 80);
    assert_true(longest_line(each) <= 80);
    for (const cli_command *command = cli_commands; command->name; command++) {
        assert_non_null(strstr(all, command->name));
        for (const cli_flag *flag = command->flags; flag->name; flag++)
            assert_non_null(strstr(each, flag->name));
    }
    free(all);
    free(each);
}

static void documents(void **state)
{
    (void)state;
    for (const cli_document *document = cli_documents; document->name; document++) {
        char *text = written(document->write), *again = written(document->write);
        assert_string_equal(text, again);
        assert_non_null(strstr(text, "SPDX-License-Identifier"));
        if (strcmp(document->name, "config"))
            for (const cli_command *command = cli_commands; command->name; command++)
                assert_non_null(strstr(text, command->name));
        free(text);
        free(again);
    }
}

static void hosts(void **state)
{
    (void)state;
    call = (cli_call){.options = {.host = "http://a"}};
    setenv("OLLAMA_HOST", "b:1", 1);
    assert_string_equal(cli_host(&call), "http://a");
    call.options.host = NULL;
    assert_string_equal(cli_host(&call), "b:1");
    setenv("OLLAMA_HOST", "", 1);
    assert_string_equal(cli_host(&call), "127.0.0.1:11434");
    unsetenv("OLLAMA_HOST");
    assert_string_equal(cli_host(&call), "127.0.0.1:11434");
}

/* Off a terminal: plain lines, no escape codes, seldom. */
static void plain_progress(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    cli_terminal *terminal = cli_terminal_new(out);
    assert_false(cli_terminal_live(terminal));
    cli_terminal_line(terminal, "Pre-flight", "all\x1b[31m good\nhere");
    for (int i = 0; i < 100; i++)
        cli_terminal_progress(terminal, "Ceiling", "filling", i / 100.0, 130);
    cli_terminal_progress(terminal, "Presets", "measuring", NAN, NAN);
    cli_terminal_free(terminal);
    fclose(out);
    assert_string_equal(text, "Pre-flight   all [31m good here\n"
                              "Ceiling      filling · 0 % · 2:10 left\n"
                              "Presets      measuring\n");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good),      cmocka_unit_test(bad),       cmocka_unit_test(too_long),
        cmocka_unit_test(the_table), cmocka_unit_test(help_fits), cmocka_unit_test(documents),
        cmocka_unit_test(hosts),     cmocka_unit_test(plain_progress),
    };
    return cmocka_run_group_tests_name("commands", tests, NULL, NULL);
}
