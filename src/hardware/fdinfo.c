/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include "hardware/fdinfo.h"
#include "hardware/gpu.h"
#include "hardware/hardware_impl.h"

#define FILES_MAX 4096
#define TEXT_MAX 8192 /* the longest there are (xe, several tiles) take 3000 */
#define CLIENTS_MAX 64
#define BYTES_MAX (INT64_C(1) << 50)

enum { OWN, MAPPED, PLACES };

static const struct {
    const char *name; /* a number may follow: "vram0" */
    int place;
} regions[] = {{"vram", OWN}, {"local", OWN}, {"gtt", MAPPED}, {"system", MAPPED}};

/* Best first: what lies there now, the same by its old name (amdgpu), what was asked for. */
static const char *const kinds[] = {"drm-resident-", "drm-memory-", "drm-total-"};

typedef int64_t region_sums[PLACES][O3_COUNT(kinds)]; /* -1 not told */

/* "16946852 KiB"; -1 if it is none. */
static int64_t number_of(const char *text)
{
    static const char *const units[] = {"", "KiB", "MiB", "GiB"};
    char *unit;
    if (!isdigit((unsigned char)*text))
        return -1;
    unsigned long long number = strtoull(text, &unit, 10);
    unit += strspn(unit, " \t");
    for (int i = 0; i < O3_COUNT(units); i++)
        if (!strcmp(unit, units[i]))
            return number <= (unsigned long long)BYTES_MAX >> 10 * i ? (int64_t)number << 10 * i : -1;
    return -1;
}

static int place_of(const char *region)
{
    for (int i = 0; i < O3_COUNT(regions); i++) {
        size_t len = strlen(regions[i].name);
        if (!strncmp(region, regions[i].name, len) && !region[len + strspn(region + len, "0123456789")])
            return regions[i].place;
    }
    return -1;
}

/* False if it is a region of ours without a sound number. */
static bool take_region(const char *key, const char *value, region_sums sums)
{
    for (int i = 0; i < O3_COUNT(kinds); i++) {
        size_t len = strlen(kinds[i]);
        int place = strncmp(key, kinds[i], len) ? -1 : place_of(key + len);
        if (place < 0)
            continue;
        int64_t bytes = number_of(value), before = sums[place][i] < 0 ? 0 : sums[place][i];
        if (bytes < 0 || bytes > BYTES_MAX - before)
            return false;
        sums[place][i] = before + bytes;
        return true;
    }
    return true;
}

static int64_t best_of(const int64_t sums[O3_COUNT(kinds)])
{
    for (int i = 0; i < O3_COUNT(kinds); i++)
        if (sums[i] >= 0)
            return sums[i];
    return -1;
}

void fdinfo_parse(const char *text, fdinfo_client *ret_client)
{
    region_sums sums;
    bool sound = true;
    memset(sums, -1, sizeof(sums));
    *ret_client = (fdinfo_client){.id = -1};
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        char key[48], value[48];
        size_t colon = strcspn(line, ":\n");
        if (line[colon] != ':')
            continue;
        const char *from = line + colon + 1;
        from += strspn(from, " \t");
        O3_FORMAT(key, "%.*s", (int)colon, line);
        O3_FORMAT(value, "%.*s", (int)strcspn(from, "\n"), from);
        if (!strcmp(key, "drm-pdev"))
            gpu_pci_normal(value, ret_client->pci);
        else if (!strcmp(key, "drm-client-id"))
            ret_client->id = number_of(value);
        else
            sound &= take_region(key, value, sums);
    }
    ret_client->own_bytes = sound ? best_of(sums[OWN]) : -1;
    ret_client->mapped_bytes = sound ? best_of(sums[MAPPED]) : -1;
}

typedef struct sum {
    const char *root, *pci;
    int pid, files, clients;
    bool mapped;
    int64_t bytes, ids[CLIENTS_MAX];
} sum;

static int64_t bytes_of(const fdinfo_client *client, bool mapped)
{
    if (!mapped || client->mapped_bytes < 0)
        return client->own_bytes;
    return client->mapped_bytes + (client->own_bytes > 0 ? client->own_bytes : 0);
}

/* False if the sum cannot be known any more: one that is too small would be believed. */
static bool add_file(sum *s, const char *name)
{
    char path[64], text[TEXT_MAX];
    fdinfo_client client;
    if (!isdigit((unsigned char)*name))
        return true;
    if (++s->files > FILES_MAX)
        return false;
    O3_FORMAT(path, "/proc/%d/fdinfo/%.16s", s->pid, name);
    errno = 0;
    int64_t len = o3_read_text(s->root, path, text, sizeof(text));
    if (len < 0)
        return errno == ENOENT; /* closed meanwhile */
    fdinfo_parse(text, &client);
    if (strcmp(client.pci, s->pci))
        return true;
    int64_t bytes = bytes_of(&client, s->mapped);
    if (client.id < 0 || bytes < 0 || len == sizeof(text) - 1)
        return false;
    for (int i = 0; i < s->clients; i++)
        if (s->ids[i] == client.id)
            return true;
    if (s->clients == CLIENTS_MAX)
        return false;
    s->ids[s->clients++] = client.id;
    s->bytes += bytes;
    return true;
}

int64_t fdinfo_bytes(const char *root, int pid, const char *pci, bool mapped)
{
    _Alignas(struct dirent64) char entries[4096]; /* not opendir, which allocates */
    char path[64], full[PATH_MAX];
    sum s = {.root = root, .pci = pci, .pid = pid, .mapped = mapped};
    ssize_t len = -1;
    bool known = true;
    hw_pid_path(path, sizeof(path), pid, "fdinfo");
    if (pid <= 0 || !*pci || !hw_full_path(full, sizeof(full), root, path))
        return -1;
    int dir = open(full, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    while (dir >= 0 && known && (len = getdents64(dir, entries, sizeof(entries))) > 0)
        for (ssize_t at = 0; at < len && known;) {
            const struct dirent64 *entry = (const void *)(entries + at);
            known = add_file(&s, entry->d_name);
            at += entry->d_reclen;
        }
    if (dir >= 0)
        close(dir);
    return known && len == 0 && s.clients ? s.bytes : -1;
}
