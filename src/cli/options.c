/* SPDX-License-Identifier: Apache-2.0 */
/* Own table over getopt_long: it does the walking, the table has types, limits and words. */
#include <errno.h>
#include <getopt.h>

#include "cli.h"

#define FLAGS_MAX 32

static o3_status set_number(const cli_flag *flag, const char *text, int64_t *at, o3_err *err)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || end == text || *end || value < flag->min || value > flag->max) {
        if (flag->max == INT64_MAX)
            return o3_fail(err, O3_E_USAGE, "--%s %s is not a whole number of %lld or more", flag->name, text,
                           (long long)flag->min);
        return o3_fail(err, O3_E_USAGE, "--%s %s is not a whole number from %lld to %lld", flag->name, text,
                       (long long)flag->min, (long long)flag->max);
    }
    *at = value;
    return O3_OK;
}

static o3_status set_share(const cli_flag *flag, const char *text, double *at, o3_err *err)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= 0 && value <= 1))
        return o3_fail(err, O3_E_USAGE, "--%s %s is not a share from 0 to 1, such as 0.03", flag->name, text);
    *at = value;
    return O3_OK;
}

static o3_status set_rate(const cli_flag *flag, const char *text, double *at, o3_err *err)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= 0.01 && value <= (double)flag->max))
        return o3_fail(err, O3_E_USAGE, "--%s %s is not a number from 0.01 to %lld, such as 20", flag->name, text,
                       (long long)flag->max);
    *at = value;
    return O3_OK;
}

static o3_status set_time(const cli_flag *flag, const char *text, double *at, o3_err *err)
{
    double value;
    if (!o3_parse_duration(text, &value) || value * 1000 < (double)flag->min)
        return o3_fail(err, O3_E_USAGE, "--%s %s is not a time such as %s", flag->name, text,
                       flag->min < 1000 ? "100ms, 2s or 1m30s" : "90s, 15m or 1h30m");
    if (value * 1000 > (double)flag->max)
        return o3_fail(err, O3_E_USAGE, "--%s %s is too long; %lld ms are the most", flag->name, text,
                       (long long)flag->max);
    *at = value;
    return O3_OK;
}

static o3_status set(const cli_flag *flag, const char *text, cli_options *options, o3_err *err)
{
    void *at = (char *)options + flag->offset;
    switch (flag->type) {
    case CLI_SWITCH:
        *(bool *)at = true;
        return O3_OK;
    case CLI_TEXT:
        if (!*text)
            return o3_fail(err, O3_E_USAGE, "--%s needs a %s, not an empty text", flag->name, flag->value);
        *(const char **)at = text;
        return O3_OK;
    case CLI_TIME:
        return set_time(flag, text, at, err);
    case CLI_NUMBER:
        return set_number(flag, text, at, err);
    case CLI_SHARE:
        return set_share(flag, text, at, err);
    case CLI_RATE:
        return set_rate(flag, text, at, err);
    }
    return O3_OK;
}

/* The word that getopt_long refused: an unknown option, or one that lacks its value. */
static o3_status refuse(const cli_command *command, const char *word, bool no_value, o3_err *err)
{
    const char *names[FLAGS_MAX];
    int count = 0;
    for (const cli_flag *flag = command->flags; flag->name && count < FLAGS_MAX; flag++)
        names[count++] = flag->name;
    char name[64] = "";
    if (!strncmp(word, "--", 2))
        o3_format(name, sizeof(name), "%.*s", (int)strcspn(word + 2, "="), word + 2);
    if (no_value) {
        const char *value = "value";
        for (const cli_flag *flag = command->flags; flag->name; flag++)
            if (flag->value && !strncmp(flag->name, name, strlen(name)))
                value = flag->value;
        return o3_fail(err, O3_E_USAGE, "%s needs a %s; o3 help %s shows how", word, value, command->name);
    }
    for (const cli_flag *flag = command->flags; flag->name; flag++)
        if (flag->type == CLI_SWITCH && !strcmp(flag->name, name) && strchr(word, '='))
            return o3_fail(err, O3_E_USAGE, "--%s takes no value", name);
    const char *near = *name ? o3_nearest(name, names, count) : NULL;
    if (near)
        return o3_fail(err, O3_E_USAGE, "o3 %s has no option --%s (did you mean --%s?)", command->name, name, near);
    return o3_fail(err, O3_E_USAGE, "o3 %s has no option %s; o3 help %s lists its options", command->name, word,
                   command->name);
}

static o3_status take_words(const cli_command *command, int argc, char **argv, cli_call *call, o3_err *err)
{
    call->count = argc - optind;
    if (call->count > command->args_max) {
        int first_extra = optind + command->args_max;
        return o3_fail(err, O3_E_USAGE, "o3 %s does not take %s: o3 %s %s", command->name, argv[first_extra],
                       command->name, command->args);
    }
    for (int i = 0; i < call->count; i++) {
        call->words[i] = argv[optind + i];
        if (!*call->words[i])
            return o3_fail(err, O3_E_USAGE, "an empty text is no argument: o3 %s %s", command->name, command->args);
        if (strlen(call->words[i]) >= O3_NAME_MAX && strcmp(command->args, "[FILE]"))
            return o3_fail(err, O3_E_LIMIT, "%.20s... has %zu bytes; names have at most %d", call->words[i],
                           strlen(call->words[i]), O3_NAME_MAX - 1);
    }
    if (call->count < command->args_min && !call->options.help)
        return o3_fail(err, O3_E_USAGE, "o3 %s needs more: o3 %s %s", command->name, command->name, command->args);
    return O3_OK;
}

o3_status cli_parse(const cli_command *command, int argc, char **argv, cli_call *ret_call, o3_err *err)
{
    struct option longs[FLAGS_MAX + 1] = {{0}};
    char shorts[2 * FLAGS_MAX + 2] = ":";
    int count = 0;
    cli_call call = {.command = command,
                     .options = {.budget_s = NAN, .interval_s = NAN, .duration_s = NAN, .num_gpu = O3_UNSET,
                                 .lying = NAN, .noise = NAN, .min_decode_per_s = NAN, .max_ttft_s = NAN}};
    for (const cli_flag *flag = command->flags; flag->name && count < FLAGS_MAX; flag++, count++) {
        longs[count] = (struct option){.name = flag->name,
                                       .has_arg = flag->type == CLI_SWITCH ? no_argument : required_argument,
                                       .val = 256 + count};
        if (flag->letter)
            o3_format(shorts + strlen(shorts), sizeof(shorts) - strlen(shorts), "%c%s", flag->letter,
                      flag->type == CLI_SWITCH ? "" : ":");
    }
    optind = 0; /* glibc: begin anew, also after an earlier parse */
    opterr = 0;
    for (int code; (code = getopt_long(argc, argv, shorts, longs, NULL)) != -1;) {
        if (code == '?' || code == ':')
            return refuse(command, argv[optind - 1], code == ':', err);
        const cli_flag *flag = code >= 256 ? &command->flags[code - 256] : command->flags;
        while (code < 256 && flag->name && flag->letter != code)
            flag++;
        o3_status status = set(flag, optarg, &call.options, err);
        if (status)
            return status;
    }
    o3_status status = take_words(command, argc, argv, &call, err);
    if (!status)
        *ret_call = call;
    return status;
}
