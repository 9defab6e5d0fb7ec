/* SPDX-License-Identifier: Apache-2.0 */
/* What a capture must not give away. Text is changed in place and keeps its length, so that a name reads the same in a
 * path, in a file and in the profile. */
#include <ctype.h>

#include "hardware/hardware_impl.h"

#define HEX_LONG 32 /* ids of containers and machines */

/* How a file is treated beyond what is done to all text; the first row whose name fits. A name with a slash in front
 * must begin the path, another one must end it. */
static const struct {
    const char *name;
    hw_mask_rule rule;
} rules[] = {
    {"/proc/net/", HW_MASK_DROP}, /* addresses; the profile names the process that they were read for */
    {"/proc/sys/kernel/hostname", HW_MASK_ALL},
    {"serial", HW_MASK_ALL},
    {"serial_number", HW_MASK_ALL},
    {"unique_id", HW_MASK_ALL},
    {"uuid", HW_MASK_ALL},
    {"wwid", HW_MASK_ALL},
    {"mountinfo", HW_MASK_CGROUP_LINES},
    {"environ", HW_MASK_ENVIRON},
    {"cgroup", HW_MASK_NAMES},
    {"cmdline", HW_MASK_NAMES},
    {"exe", HW_MASK_NAMES},
};

static const hw_mask_names nobody = {.count = 0};

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), end_len = strlen(end);
    return len >= end_len && !strcmp(text + len - end_len, end);
}

/* Nothing else describes a machine; the user's configuration is read by the same functions. */
static bool of_machine(const char *path)
{
    static const char *const places[] = {"/proc/", "/sys/", "/etc/os-release", "/usr/lib/os-release"};
    for (int i = 0; i < O3_COUNT(places); i++)
        if (!strncmp(path, places[i], strlen(places[i])))
            return true;
    return false;
}

hw_mask_rule hw_mask_rule_of(const char *path)
{
    if (!of_machine(path))
        return HW_MASK_DROP;
    for (int i = 0; i < O3_COUNT(rules); i++) {
        const char *name = rules[i].name;
        if (*name == '/' ? !strncmp(path, name, strlen(name)) : ends_with(path, name))
            return rules[i].rule;
    }
    return HW_MASK_TEXT;
}

static void blank(char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        text[i] = isdigit((unsigned char)text[i]) ? '0' : isalpha((unsigned char)text[i]) ? 'x' : text[i];
}

/* Hex digits become zeros, what separates them stays. */
static void zero(char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        text[i] = isxdigit((unsigned char)text[i]) ? '0' : text[i];
}

static size_t hex_run(const char *text)
{
    size_t len = 0;
    while (isxdigit((unsigned char)text[len]))
        len++;
    return len;
}

/* Length of groups of hex digits with one of `separators` between them, 0 if it is not exactly that. */
static size_t hex_groups(const char *text, const size_t *lengths, int groups, const char *separators)
{
    const char *p = text;
    for (int i = 0; i < groups; i++) {
        if (hex_run(p) != lengths[i] || (i + 1 < groups && (!p[lengths[i]] || !strchr(separators, p[lengths[i]]))))
            return 0;
        p += lengths[i] + (i + 1 < groups);
    }
    return (size_t)(p - text);
}

/* UUIDs, hardware addresses, long hexadecimal ids. */
static void mask_ids(char *text)
{
    static const size_t uuid[] = {8, 4, 4, 4, 12}, address[] = {2, 2, 2, 2, 2, 2};
    for (char *p = text; *p;) {
        size_t run = hex_run(p), len = hex_groups(p, uuid, O3_COUNT(uuid), "-_");
        if (!len)
            len = hex_groups(p, address, O3_COUNT(address), ":");
        if (!len && run >= HEX_LONG)
            len = run;
        zero(p, len);
        p += len ? len : run ? run : 1;
        while (!len && run && isalnum((unsigned char)*p)) /* "cafe" within "cafeteria" is no number */
            p++;
    }
}

/* The name behind "/home/", and the values of lines that begin with "Serial". */
static void mask_personal(char *text)
{
    static const char home[] = "/home/";
    for (char *p = text; (p = strstr(p, home)); ) {
        p += strlen(home);
        blank(p, strcspn(p, "/ \t\n\"':;,="));
    }
    for (char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        size_t colon = strcspn(line, ":\n");
        if (!strncasecmp(line, "serial", 6) && line[colon] == ':')
            blank(line + colon, strcspn(line + colon, "\n"));
    }
}

static bool in_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

static void mask_word(char *text, const char *word)
{
    size_t len = strlen(word);
    if (len < 2)
        return;
    for (char *p = text; (p = strstr(p, word)); p += len)
        if ((p == text || !in_word(p[-1])) && !in_word(p[len]))
            blank(p, len);
}

void hw_mask_text(char *text, const hw_mask_names *names)
{
    mask_ids(text);
    mask_personal(text);
    for (int i = 0; i < names->count; i++)
        mask_word(text, names->at[i]);
}

void hw_mask_name(hw_mask_names *names, const char *name)
{
    /* These are said everywhere and tell nothing. */
    static const char *const common[] = {"root", "ollama", "nobody", "docker", "localhost", "linux", "user", "ubuntu"};
    for (int i = 0; i < O3_COUNT(common); i++)
        if (!strcmp(name, common[i]))
            return;
    if (*name && names->count < HW_MASK_NAMES_MAX)
        O3_COPY(names->at[names->count++], name);
}

/* Only lines of cgroup mounts: the others tell of disks and users, and nothing reads them. */
static size_t keep_cgroup_lines(char *text)
{
    static const char kind[] = " - cgroup";
    char *to = text;
    for (const char *line = text; *line;) {
        size_t len = strcspn(line, "\n"), whole = len + (line[len] == '\n');
        bool keep = memmem(line, len, kind, strlen(kind)) != NULL;
        if (keep)
            memmove(to, line, whole);
        to += keep ? whole : 0;
        line += whole;
    }
    *to = '\0';
    return (size_t)(to - text);
}

/* Only what the profile shows too. */
static size_t keep_our_variables(char *bytes, size_t len, const hw_mask_names *names)
{
    char *to = bytes;
    for (char *p = bytes, *end = bytes + len; p < end;) {
        size_t text_len = strlen(p), size = text_len + (p + text_len < end), name_len = strcspn(p, "=");
        char *next = p + text_len + 1;
        if (p[name_len] && hw_variable_is_ours(p, name_len)) {
            if (hw_variable_is_secret(p, name_len))
                blank(p + name_len, text_len - name_len);
            hw_mask_text(p, names);
            memmove(to, p, size);
            to += size;
        }
        p = next;
    }
    return (size_t)(to - bytes);
}

size_t hw_mask_file(const char *path, char *bytes, size_t len, const hw_mask_names *names)
{
    switch (hw_mask_rule_of(path)) {
    case HW_MASK_DROP:
        return 0;
    case HW_MASK_ALL:
        blank(bytes, len);
        return len;
    case HW_MASK_ENVIRON:
        return keep_our_variables(bytes, len, names);
    case HW_MASK_CGROUP_LINES:
        len = keep_cgroup_lines(bytes);
        break;
    case HW_MASK_NAMES: /* a command line is texts in a row */
        break;
    case HW_MASK_TEXT:
        names = &nobody;    /* "max" may be somebody's name, and is the text of many files */
        if (memchr(bytes, 0, len))
            return len; /* a table of the firmware */
        break;
    }
    for (char *p = bytes; p < bytes + len; p += strlen(p) + 1)
        hw_mask_text(p, names);
    return len;
}

#define MASK_FIELD(field) hw_mask_text((field), names)
void hw_mask_profile(o3_profile *profile, const hw_mask_names *names)
{
    blank(profile->hostname, strlen(profile->hostname));
    MASK_FIELD(profile->engine_exe);
    MASK_FIELD(profile->engine_user);
    MASK_FIELD(profile->engine_unit);
    MASK_FIELD(profile->engine_env);
    MASK_FIELD(profile->usable_why);
    for (int i = 0; i < profile->cgroup_count; i++) {
        MASK_FIELD(profile->cgroups[i].dir);
        MASK_FIELD(profile->cgroups[i].name);
    }
    for (int i = 0; i < profile->limit_count; i++)
        MASK_FIELD(profile->limits[i].group);
    for (int i = 0; i < profile->pool_count; i++) {
        MASK_FIELD(profile->pools[i].name);
        MASK_FIELD(profile->pools[i].source);
    }
    for (int i = 0; i < profile->gpus_seen || i < profile->gpu_count; i++)
        MASK_FIELD(profile->gpus[i].uuid);
    for (int i = 0; i < profile->notes.count; i++)
        MASK_FIELD(profile->notes.text[i]);
}
