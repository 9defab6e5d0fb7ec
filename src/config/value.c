/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <errno.h>
#include <strings.h>

#include "config.h"

#define UNSET "null"

bool config_nullable(const o3_option *option)
{
    return !strcmp(option->fallback, UNSET);
}

/* C1 in UTF-8 included: a terminal may obey it. */
static bool is_control(const char *p)
{
    return (unsigned char)*p < 0x20 || *p == 0x7f || ((unsigned char)*p == 0xc2 && (unsigned char)p[1] < 0xa0);
}

bool config_printable(const char *text)
{
    for (; *text; text++)
        if (is_control(text))
            return false;
    return true;
}

void config_quote(char *dst, size_t dst_size, const char *text)
{
    size_t room = dst_size < 48 ? dst_size : 48, used = 0;
    char cut[48];
    for (; text[used] && used < room - 6; used++)
        cut[used] = is_control(text + used) ? '?' : text[used];
    bool more = text[used] != '\0';
    /* Not in the middle of a UTF-8 character. */
    while (more && used && ((unsigned char)text[used] & 0xc0) == 0x80)
        used--;
    o3_format(dst, dst_size, "'%.*s%s'", (int)used, cut, more ? "..." : "");
}

static bool say(char *why, size_t size, const char *text, const char *problem)
{
    char quoted[64];
    config_quote(quoted, sizeof(quoted), text);
    o3_format(why, size, "%s %s", quoted, problem);
    return false;
}

static bool parse_bool(bool *ret_value, const char *text)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on"};
    for (int i = 0; i < O3_COUNT(words); i++) {
        if (!strcasecmp(text, words[i])) {
            *ret_value = i % 2;
            return true;
        }
    }
    return false;
}

/* Decimal only: strtod alone would take "inf", "nan" and hexadecimal. */
static bool parse_real(double *ret_value, const char *text)
{
    char *end;
    if (!*text || text[strspn(text, "0123456789.eE+-")])
        return false;
    errno = 0;
    double value = strtod(text, &end);
    if (*end || end == text || !isfinite(value))
        return false;
    *ret_value = value;
    return true;
}

/* 262144, and 2.5e5 as long as it is whole. */
static bool parse_int(int64_t *ret_value, const char *text)
{
    double value;
    if (!parse_real(&value, text) || value != floor(value) || fabs(value) > 9007199254740992.0)
        return false;
    *ret_value = (int64_t)value;
    return true;
}

static bool in_range(const o3_option *option, double value, const char *text, char *why, size_t size)
{
    if (value >= option->min && value <= option->max)
        return true;
    char problem[96];
    O3_FORMAT(problem, "is outside %.15g to %.15g%s%s", option->min, option->max, *option->unit ? " " : "",
              option->unit);
    return say(why, size, text, problem);
}

static bool parse_list(const o3_option *option, o3_int_list *ret_list, const char *text, char *why, size_t size)
{
    o3_int_list list = {0};
    char item[64];
    const char *p = text, *stop = text + strlen(text);
    if (*p == '[') {
        if (stop[-1] != ']' || stop - p < 2)
            return say(why, size, text, "is not a list of whole numbers");
        p++;
        stop--;
    }
    for (;;) {
        while (p < stop && isspace((unsigned char)*p))
            p++;
        if (p == stop)
            break; /* also behind a last comma */
        const char *comma = memchr(p, ',', (size_t)(stop - p)), *end = comma ? comma : stop;
        size_t len = (size_t)(end - p);
        while (len && isspace((unsigned char)p[len - 1]))
            len--;
        o3_copy(item, len + 1 < sizeof(item) ? len + 1 : sizeof(item), p);
        if (list.count == O3_LIST_VALUES_MAX) {
            o3_format(why, size, "a list has at most %d values", O3_LIST_VALUES_MAX);
            return false;
        }
        if (!parse_int(&list.values[list.count], item))
            return say(why, size, item, "is not a whole number");
        if (!in_range(option, (double)list.values[list.count], item, why, size))
            return false;
        list.count++;
        p = comma ? comma + 1 : stop;
    }
    *ret_list = list;
    return true;
}

/* A text reaches terminals and files. */
static bool parse_text(const o3_option *option, char *ret_text, const char *text, char *why, size_t size)
{
    if (!config_printable(text))
        return say(why, size, text, "has a control character");
    if (strlen(text) >= option->size) {
        o3_format(why, size, "is %zu bytes long, the limit is %u", strlen(text), option->size - 1);
        return false;
    }
    o3_copy(ret_text, option->size, text);
    return true;
}

static bool parse_choice(const o3_option *option, char *ret_text, const char *text, char *why, size_t size)
{
    size_t len = strlen(text);
    char words[128] = "";
    for (const char *p = option->choices; *p; p += strspn(p, "|")) {
        size_t word = strcspn(p, "|");
        if (word == len && !memcmp(p, text, len)) {
            o3_copy(ret_text, option->size, text);
            return true;
        }
        size_t used = strlen(words);
        o3_format(words + used, sizeof(words) - used, "%s%.*s", used ? ", " : "", (int)word, p);
        p += word;
    }
    char problem[160];
    O3_FORMAT(problem, "is none of %s", words);
    return say(why, size, text, problem);
}

static bool parse_unset(const o3_option *option, void *field)
{
    switch (option->type) {
    case O3_OPT_INT:
        *(int64_t *)field = -1;
        return true;
    case O3_OPT_REAL:
        *(double *)field = NAN;
        return true;
    case O3_OPT_INT_LIST:
        *(o3_int_list *)field = (o3_int_list){0};
        return true;
    default:
        return false;
    }
}

bool config_parse(const o3_option *option, void *field, const char *text, char *why, size_t size)
{
    int64_t whole;
    double real;
    if (config_nullable(option) && !strcmp(text, UNSET))
        return parse_unset(option, field);
    switch (option->type) {
    case O3_OPT_BOOL:
        return parse_bool(field, text) || say(why, size, text, "is not true or false");
    case O3_OPT_INT:
        if (!parse_int(&whole, text))
            return say(why, size, text, "is not a whole number");
        if (!in_range(option, (double)whole, text, why, size))
            return false;
        *(int64_t *)field = whole;
        return true;
    case O3_OPT_REAL:
        if (!parse_real(&real, text))
            return say(why, size, text, "is not a number");
        if (!in_range(option, real, text, why, size))
            return false;
        *(double *)field = real;
        return true;
    case O3_OPT_TEXT:
        return parse_text(option, field, text, why, size);
    case O3_OPT_CHOICE:
        return parse_choice(option, field, text, why, size);
    case O3_OPT_INT_LIST:
        return parse_list(option, field, text, why, size);
    case O3_OPT_IGNORED:
        return true;
    }
    return false;
}

static void format_real(double value, char *dst, size_t dst_size)
{
    double back;
    o3_format(dst, dst_size, "%.15g", value);
    if (!parse_real(&back, dst) || back != value)
        o3_format(dst, dst_size, "%.17g", value);
}

void config_format(const o3_option *option, const void *field, char *dst, size_t dst_size)
{
    const o3_int_list *list = field;
    o3_copy(dst, dst_size, config_nullable(option) ? UNSET : "");
    switch (option->type) {
    case O3_OPT_BOOL:
        o3_copy(dst, dst_size, *(const bool *)field ? "true" : "false");
        break;
    case O3_OPT_INT:
        if (!config_nullable(option) || *(const int64_t *)field != -1)
            o3_format(dst, dst_size, "%lld", (long long)*(const int64_t *)field);
        break;
    case O3_OPT_REAL:
        if (!isnan(*(const double *)field))
            format_real(*(const double *)field, dst, dst_size);
        break;
    case O3_OPT_TEXT:
    case O3_OPT_CHOICE:
        o3_copy(dst, dst_size, field);
        break;
    case O3_OPT_INT_LIST:
        for (int i = 0; i < list->count; i++) {
            size_t used = i ? strlen(dst) : 0;
            o3_format(dst + used, dst_size - used, "%s%lld", i ? ", " : "[", (long long)list->values[i]);
        }
        if (list->count)
            o3_format(dst + strlen(dst), dst_size - strlen(dst), "]");
        break;
    case O3_OPT_IGNORED:
        break;
    }
}
