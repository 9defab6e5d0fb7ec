/* SPDX-License-Identifier: Apache-2.0 */
/* Masking, and captures: written, taken apart again, and refused where they are not what they should be. */
#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <dlfcn.h>

#include "gpu_files.h"
#include "hardware/archive.h"
#include "hardware/hardware_impl.h"
#include "sysroot.h"

static hw_archive_calls lib;
static o3_err err;

static void mask_is(const char *path, const char *before, const char *after)
{
    char text[512];
    hw_mask_names names = {.count = 0};
    hw_mask_name(&names, "bigbox");
    hw_mask_name(&names, "alice");
    hw_mask_name(&names, "root"); /* tells nothing, and is said everywhere */
    O3_COPY(text, before);
    size_t len = hw_mask_file(path, text, strlen(before), &names);
    text[len] = '\0';
    assert_string_equal(text, after);
}

static void masks(void **state)
{
    (void)state;
    mask_is("/proc/sys/kernel/hostname", "bigbox\n", "xxxxxx\n");
    mask_is("/sys/class/drm/card0/device/unique_id", "0a1b2c3d4e5f6789\n", "0x0x0x0x0x0x0000\n");
    mask_is("/proc/42/x", "GPU-3f2504e0-4f89-11d3-9a0c-0305e82c3301, 8\n", "GPU-00000000-0000-0000-0000-000000000000, 8\n");
    mask_is("/proc/42/x", "at 52:54:00:ab:cd:ef.\n", "at 00:00:00:00:00:00.\n");
    mask_is("/proc/42/x", "PCI_SLOT_NAME=0000:c4:00.0\n", "PCI_SLOT_NAME=0000:c4:00.0\n");
    mask_is("/proc/cpuinfo", "flags : fpu fade deadbeef\nSerial\t\t: 10000000abcdef\n",
            "flags : fpu fade deadbeef\nSerial\t\t: 00000000xxxxxx\n");
    mask_is("/proc/42/cgroup", "0::/docker/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n",
            "0::/docker/0000000000000000000000000000000000000000000000000000000000000000\n");
    mask_is("/proc/42/cgroup", "0::/alice.slice/malice/bigbox-1\n", "0::/xxxxx.slice/malice/xxxxxx-1\n");
    mask_is("/proc/42/exe", "/home" "/bob/bin/ollama", "/home" "/xxx/bin/ollama");
    mask_is("/proc/meminfo", "MemTotal: 1 kB\nalice: 3\n", "MemTotal: 1 kB\nalice: 3\n"); /* no names in there */
    mask_is("/proc/self/mountinfo", "1 2 0:3 / /home" "/alice rw - ext4 /dev/sda rw\n30 23 0:26 / /sys/fs/cgroup rw - cgroup2 x rw\n",
            "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 x rw\n");
    mask_is("/proc/self/mountinfo", "1 - ext4\n2 - cgroup", "2 - cgroup"); /* cut at the end */
    mask_is("/etc/passwd", "alice:x:1000\n", "");
    mask_is("/proc/net/tcp", "0: 0100007F:2CAA\n", "");
    mask_is("/somewhere/o3_ai_config.yaml", "learning: {}\n", "");
}

static void masked_environment(void **state)
{
    (void)state;
    char text[] = "SECRET=1\0OLLAMA_HOST=http://bigbox:1\0OLLAMA_API_KEY=abc1\0OLLAMA_MODELS=/home" "/alice/m\0USER=alice";
    static const char wanted[] = "OLLAMA_HOST=http://xxxxxx:1\0OLLAMA_API_KEY=xxx0\0OLLAMA_MODELS=/home" "/xxxxx/m";
    hw_mask_names names = {.count = 0};
    hw_mask_name(&names, "bigbox");
    size_t len = hw_mask_file("/proc/42/environ", text, sizeof(text) - 1, &names);
    assert_int_equal(len, sizeof(wanted));
    assert_memory_equal(text, wanted, len);
}

static int left_behind(const char *dir)
{
    int count = 0;
    DIR *listing = opendir(dir);
    assert_non_null(listing);
    for (struct dirent *entry; (entry = readdir(listing));)
        count += !strncmp(entry->d_name, "o3-capture-", 11);
    closedir(listing);
    return count;
}

static void machine(const char *root)
{
    sysroot_machine(root, 4);
    sysroot_text(root, "/proc/sys/kernel/hostname", "bigbox\n");
    sysroot_text(root, "/proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    sysroot_text(root, "/proc/self/cgroup", "0::/\n");
    sysroot_text(root, "/proc/42/cgroup", "0::/bigbox.slice/ollama.service\n");
    sysroot_text(root, "/proc/42/status", "Uid:\t997\t0\nCpus_allowed_list:\t0-2\n");
    sysroot_bytes(root, "/proc/42/environ", "OLLAMA_HOST=bigbox\0", 19);
    sysroot_link(root, "/proc/42/exe", "/home" "/carol/ollama");
    sysroot_text(root, "/etc/passwd", "carol:x:997:\n");
    sysroot_memory_stat(root, "/sys/fs/cgroup/bigbox.slice/ollama.service", 2, 100);
    sysroot_text(root, "/sys/fs/cgroup/bigbox.slice/ollama.service/memory.max", "335544320\n");
    sysroot_text(root, "/sys/fs/cgroup/bigbox.slice/ollama.service/memory.current", "200000000\n");
}

static void round_trip(void **state)
{
    const char *root = *state;
    char file[PATH_MAX], tmp[PATH_MAX];
    int files;
    o3_replay replay;
    o3_config config = sysroot_config();
    static o3_profile profiles[2];
    o3_profile *before = &profiles[0], *after = &profiles[1];
    machine(root);
    O3_FORMAT(file, "%s/capture.tar.gz", root);
    O3_FORMAT(tmp, "%s/tmp", root);
    sysroot_dir(root, "/tmp");
    setenv("TMPDIR", tmp, 1);
    o3_capture *capture = o3_capture_begin();
    assert_int_equal(o3_profile_read(before, root, &config, 42, true, &err), O3_OK);
    assert_string_equal(before->engine_user, "carol");
    o3_capture_mask(capture, before);
    assert_int_equal(o3_capture_write(capture, file, "{\"a\": 1}", false, &files, &err), O3_OK);
    assert_int_equal(o3_capture_write(capture, file, "{}", false, &files, &err), O3_E_USAGE); /* it is there */
    assert_non_null(strstr(err.message, "--force"));
    o3_capture_free(capture);
    assert_true(files > 20);

    assert_int_equal(o3_replay_open(&replay, file, &err), O3_OK);
    assert_true(replay.temporary);
    assert_int_equal(left_behind(tmp), 1);
    assert_int_equal(o3_profile_read(after, replay.root, &config, 42, true, &err), O3_OK);
    char document[64], path[PATH_MAX];
    assert_true(o3_read_text(replay.root, "/" O3_CAPTURE_DOCUMENT, document, sizeof(document)) > 0);
    assert_string_equal(document, "{\"a\": 1}");
    O3_FORMAT(path, "%s/etc/passwd", replay.root);
    assert_int_not_equal(access(path, F_OK), 0);
    o3_replay_close(&replay);
    assert_int_equal(left_behind(tmp), 0);
    unsetenv("TMPDIR");

    /* The same machine, less the names. */
    assert_string_equal(after->hostname, "xxxxxx");
    assert_string_equal(before->hostname, "xxxxxx");
    assert_string_equal(before->engine_user, "xxxxx");
    assert_string_equal(after->engine_exe, "/home" "/xxxxx/ollama");
    assert_string_equal(after->engine_exe, before->engine_exe);
    assert_string_equal(after->engine_env, "OLLAMA_HOST=xxxxxx\n");
    assert_string_equal(after->engine_unit, "ollama.service");
    assert_string_equal(after->fingerprint, before->fingerprint);
    assert_int_equal(after->pool_count, 2);
    assert_string_equal(after->pools[1].name, "cgroup:/xxxxxx.slice/ollama.service");
    assert_string_equal(after->pools[1].name, before->pools[1].name);
    assert_int_equal(after->pools[1].used_bytes, before->pools[1].used_bytes);
    assert_int_equal(after->pools[1].total_bytes, 320 * SYSROOT_MIB);
    assert_int_equal(after->limit_count, before->limit_count);
    assert_true(after->usable_cpus == 3);
    assert_string_equal(after->cpu_list, before->cpu_list);
}

/* GPUs are found by directories, links and binary tables: a replay must find the same. */
static void gpus(void **state)
{
    const char *root = *state;
    char file[PATH_MAX];
    int files;
    o3_replay replay;
    o3_config config = gpu_config();
    static o3_profile before, after;
    machine(root);
    card_dgpu(root, 1, "0000:03:00.0");
    card_apu(root, 3, CARD_GIB / 2, 12 * CARD_GIB);
    O3_FORMAT(file, "%s/capture.tar.gz", root);
    o3_capture *capture = o3_capture_begin();
    assert_int_equal(o3_profile_read(&before, root, &config, 42, true, &err), O3_OK);
    assert_int_equal(o3_capture_write(capture, file, "{}", false, &files, &err), O3_OK);
    o3_capture_free(capture);
    assert_true(before.gpus_seen == 2 && before.gpu_count >= 1);
    assert_int_equal(o3_replay_open(&replay, file, &err), O3_OK);
    assert_int_equal(o3_profile_read(&after, replay.root, &config, 42, true, &err), O3_OK);
    o3_replay_close(&replay);
    assert_int_equal(after.gpu_count, before.gpu_count);
    assert_int_equal(after.gpus_seen, before.gpus_seen);
    assert_int_equal(after.pool_count, before.pool_count);
    for (int i = 0; i < before.gpus_seen; i++) {
        const o3_gpu *a = &after.gpus[i], *b = &before.gpus[i];
        assert_string_equal(a->name, b->name);
        assert_string_equal(a->pci, b->pci);
        assert_string_equal(a->driver, b->driver);
        assert_string_equal(a->aside, b->aside);
        assert_true(a->pool == b->pool && a->integrated == b->integrated && a->own_bytes == b->own_bytes);
        assert_true(isnan(a->max_temperature_c) == isnan(b->max_temperature_c));
        assert_true(isnan(a->bandwidth_bytes_per_s) == isnan(b->bandwidth_bytes_per_s));
    }
    for (int i = 0; i < before.pool_count; i++) {
        assert_int_equal(after.pools[i].total_bytes, before.pools[i].total_bytes);
        assert_int_equal(after.pools[i].used_bytes, before.pools[i].used_bytes);
    }
}

/* An archive of one entry behind a good one. */
static void craft(const char *file, const char *name, unsigned type, const char *link, bool hard, size_t size)
{
    struct archive *archive = lib.archive_write_new();
    void (*set_link)(struct archive_entry *, const char *) = NULL;
    static char bytes[65536];
    int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(lib.archive_write_add_filter_gzip(archive), ARCHIVE_OK);
    assert_int_equal(lib.archive_write_set_format_pax_restricted(archive), ARCHIVE_OK);
    assert_int_equal(lib.archive_write_open_fd(archive, fd), ARCHIVE_OK);
    *(void **)(void *)&set_link = dlsym(dlopen("libarchive.so.13", RTLD_NOW), hard ? "archive_entry_set_hardlink" : "archive_entry_set_symlink");
    for (int i = 0; i < 2; i++) {
        struct archive_entry *entry = lib.archive_entry_new();
        size_t left = i ? size : 3;
        lib.archive_entry_set_pathname(entry, i ? name : "proc/good");
        lib.archive_entry_set_filetype(entry, i ? type : AE_IFREG);
        lib.archive_entry_set_perm(entry, 0644);
        lib.archive_entry_set_size(entry, (int64_t)left);
        if (i && link)
            set_link(entry, link);
        assert_int_equal(lib.archive_write_header(archive, entry), ARCHIVE_OK);
        for (size_t part; left; left -= part) {
            part = left < sizeof(bytes) ? left : sizeof(bytes);
            assert_int_equal(lib.archive_write_data(archive, bytes, part), part);
        }
        lib.archive_entry_free(entry);
    }
    assert_int_equal(lib.archive_write_close(archive), ARCHIVE_OK);
    lib.archive_write_free(archive);
    close(fd);
}

static void refused(const char *file, o3_status wanted, const char *says)
{
    o3_replay replay;
    err.message[0] = '\0';
    assert_int_equal(o3_replay_open(&replay, file, &err), wanted);
    if (!strstr(err.message, says))
        fail_msg("\"%s\" does not say \"%s\"", err.message, says);
}

static void broken_captures(void **state)
{
    const char *root = *state;
    char file[PATH_MAX], tmp[PATH_MAX], bytes[4096];
    O3_FORMAT(file, "%s/c.tar.gz", root);
    O3_FORMAT(tmp, "%s/tmp", root);
    sysroot_dir(root, "/tmp");
    setenv("TMPDIR", tmp, 1);
    refused(file, O3_E_NOT_FOUND, "cannot be opened");
    sysroot_text(root, "/c.tar.gz", "this is no archive at all\n");
    refused(file, O3_E_IO, "is no whole capture");
    sysroot_text(root, "/c.tar.gz", "");
    refused(file, O3_E_IO, "is no whole capture");

    craft(file, "proc/meminfo", AE_IFREG, NULL, false, 100000);
    o3_replay replay;
    assert_int_equal(o3_replay_open(&replay, file, &err), O3_OK);
    o3_replay_close(&replay);
    int64_t len = o3_read_text(NULL, file, bytes, sizeof(bytes));
    assert_true(len > 100 && len < (int64_t)sizeof(bytes) - 1);
    for (int64_t cut = 20; cut < len - 20; cut += 13) { /* the end may be padding */
        sysroot_bytes(root, "/c.tar.gz", bytes, (size_t)cut);
        refused(file, O3_E_IO, "is no whole capture");
    }

    craft(file, "../evil", AE_IFREG, NULL, false, 3);
    refused(file, O3_E_CONFIG, "leads out of it");
    craft(file, "proc/../../evil", AE_IFREG, NULL, false, 3);
    refused(file, O3_E_CONFIG, "leads out of it");
    craft(file, "/etc/evil", AE_IFREG, NULL, false, 3);
    refused(file, O3_E_CONFIG, "leads out of it");
    craft(file, "proc/link", AE_IFLNK, "/etc/passwd", false, 0);
    refused(file, O3_E_CONFIG, "no plain file");
    craft(file, "proc/hard", AE_IFREG, "proc/good", true, 0);
    refused(file, O3_E_CONFIG, "no plain file");
    craft(file, "proc/fifo", AE_IFIFO, NULL, false, 0);
    refused(file, O3_E_CONFIG, "no plain file");
    craft(file, "proc/good", AE_IFREG, NULL, false, 3);
    refused(file, O3_E_CONFIG, "cannot be taken out"); /* twice */
    craft(file, "proc/good/inner", AE_IFREG, NULL, false, 3);
    refused(file, O3_E_CONFIG, "cannot be taken out"); /* a file as a folder */
    craft(file, "proc/zeros", AE_IFREG, NULL, false, 65u << 20);
    refused(file, O3_E_LIMIT, "unpacks to more than 64 MiB");
    assert_int_equal(left_behind(tmp), 0);
    unsetenv("TMPDIR");
}

static void directories(void **state)
{
    const char *root = *state;
    o3_replay replay;
    char text[64];
    sysroot_text(root, "/proc/42/exe", "/usr/bin/ollama"); /* a capture has no links */
    assert_int_equal(o3_replay_open(&replay, root, &err), O3_OK);
    assert_false(replay.temporary);
    assert_int_equal(o3_read_link(replay.root, "/proc/42/exe", text, sizeof(text)), 15);
    assert_string_equal(text, "/usr/bin/ollama");
    o3_replay_close(&replay);
    assert_int_equal(access(root, F_OK), 0); /* it is the user's */
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, sysroot_new, sysroot_free)
    const struct CMUnitTest tests[] = {
        CASE(masks), CASE(masked_environment), CASE(round_trip), CASE(gpus), CASE(broken_captures), CASE(directories),
    };
#undef CASE
    if (hw_archive_load(&lib, &err)) {
        printf("1..0 # SKIP %s\n", err.message);
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
