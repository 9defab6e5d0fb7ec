/* SPDX-License-Identifier: Apache-2.0 */
/* A private server that does not come up: scripts stand in for `ollama`. One that does is tests/integration's. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/base.h"
#include "o3/engine.h"

static char folder[64], script[96], store[96];

static int set_up(void **state)
{
    (void)state;
    O3_FORMAT(folder, "/tmp/o3-test-private-XXXXXX");
    assert_non_null(mkdtemp(folder));
    O3_FORMAT(script, "%s/ollama", folder);
    O3_FORMAT(store, "%s/models", folder);
    assert_int_equal(mkdir(store, 0755), 0);
    setenv("TMPDIR", folder, 1); /* what it leaves behind is seen here */
    return 0;
}

static int tear_down(void **state)
{
    char command[128];
    (void)state;
    O3_FORMAT(command, "rm -r %s", folder);
    return system(command);
}

static void write_script(const char *body)
{
    FILE *file = fopen(script, "w");
    assert_non_null(file);
    fprintf(file, "#!/bin/sh\n%s\n", body);
    fclose(file);
    assert_int_equal(chmod(script, 0755), 0);
}

static o3_status start(o3_private_options options, o3_err *err)
{
    o3_private *server = NULL;
    *err = (o3_err){0};
    if (!options.exe)
        options.exe = script;
    if (!options.models)
        options.models = store;
    o3_status status = o3_private_start(&server, &options, err);
    assert_null(server);
    return status;
}

static int count_left(void) /* folders of private servers */
{
    char command[128], text[16] = "";
    O3_FORMAT(command, "ls %s | grep -c o3-private", folder);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    assert_non_null(fgets(text, sizeof(text), pipe));
    pclose(pipe);
    return atoi(text);
}

static void binary_missing_or_not_runnable(void **state)
{
    o3_err err;
    (void)state;
    assert_int_equal(start((o3_private_options){.exe = "/nowhere/ollama"}, &err), O3_E_NOT_FOUND);
    assert_non_null(strstr(err.message, "/nowhere/ollama"));
    write_script("exit 0");
    chmod(script, 0644);
    assert_int_equal(start((o3_private_options){0}, &err), O3_E_IMPOSSIBLE);
    FILE *file = fopen(script, "w");
    fputs("no program\n", file);
    fclose(file);
    chmod(script, 0755);
    assert_int_equal(start((o3_private_options){0}, &err), O3_E_IMPOSSIBLE); /* Exec format error */
    assert_int_equal(count_left(), 0);
}

static void path_is_searched(void **state)
{
    o3_err err;
    o3_auto(free) char *path = o3_strdup(getenv("PATH"));
    (void)state;
    setenv("PATH", "/nowhere", 1);
    assert_int_equal(start((o3_private_options){.exe = ""}, &err), O3_E_NOT_FOUND);
    assert_non_null(strstr(err.message, "PATH"));
    write_script("echo Error: found me >&2; exit 3");
    o3_auto(free) char *with = o3_alloc(1, strlen(path) + 128);
    o3_format(with, strlen(path) + 128, "/nowhere:%s:%s", folder, path);
    setenv("PATH", with, 1);
    assert_int_equal(start((o3_private_options){.exe = ""}, &err), O3_E_ENGINE);
    setenv("PATH", path, 1);
    assert_non_null(strstr(err.message, "exit status 3"));
    assert_non_null(strstr(err.message, "found me"));
}

static void last_words_are_classed(void **state)
{
    static const struct {
        const char *body;
        o3_status status;
    } cases[] = {
        {"echo 'Error: mkdir /m/blobs: permission denied' >&2; exit 1", O3_E_IMPOSSIBLE},
        {"echo 'Error: mkdir /m/blobs: no space left on device' >&2; exit 1", O3_E_IO},
        {"echo 'Error: something else'; exit 1", O3_E_ENGINE},
        {"kill -9 $$", O3_E_ENGINE},
    };
    o3_err err;
    (void)state;
    for (int i = 0; i < O3_COUNT(cases); i++) {
        write_script(cases[i].body);
        assert_int_equal(start((o3_private_options){0}, &err), cases[i].status);
    }
    assert_non_null(strstr(err.message, "killed from outside"));
    assert_int_equal(count_left(), 0);
}

/* Each try has another port; it gives up after five. */
static void taken_port_is_another_try(void **state)
{
    char body[256], line[64], first[64] = "";
    o3_err err;
    int tries = 0;
    (void)state;
    O3_FORMAT(body, "echo $OLLAMA_HOST >> %s/hosts; echo 'Error: listen tcp: bind: address already in use' >&2; exit 1", folder);
    write_script(body);
    assert_int_equal(start((o3_private_options){0}, &err), O3_E_UNAVAILABLE);
    O3_FORMAT(body, "%s/hosts", folder);
    o3_auto(file) FILE *hosts = fopen(body, "r");
    assert_non_null(hosts);
    for (; fgets(line, sizeof(line), hosts); tries++) {
        assert_int_equal(strncmp(line, "127.0.0.1:", 10), 0);
        assert_string_not_equal(line, first);
        O3_COPY(first, line);
    }
    assert_int_equal(tries, 5);
}

static void silence_ends(void **state)
{
    char body[128];
    o3_err err;
    (void)state;
    O3_FORMAT(body, "echo $$ > %s/pid; sleep 60 & echo $! >> %s/pid; echo working; wait", folder, folder);
    write_script(body);
    int64_t begin = o3_now_ns();
    assert_int_equal(start((o3_private_options){.timeout_ns = 300 * O3_NS_PER_MS}, &err), O3_E_ENGINE);
    assert_non_null(strstr(err.message, "working"));
    assert_true(o3_now_ns() - begin < 3 * O3_NS_PER_S);
    O3_FORMAT(body, "%s/pid", folder);
    o3_auto(file) FILE *pids = fopen(body, "r");
    int count = 0;
    for (; fgets(body, sizeof(body), pids); count++)
        assert_int_equal(kill(atoi(body), 0), -1); /* its child too */
    assert_int_equal(count, 2);
    o3_cancel *cancel = o3_cancel_new();
    o3_cancel_set(cancel, O3_CANCEL_USER);
    assert_int_equal(start((o3_private_options){.cancel = cancel}, &err), O3_E_CANCELLED);
    o3_cancel_free(cancel);
    assert_int_equal(count_left(), 0);
}

static void environment_and_store(void **state)
{
    char body[256], file[128], text[16384];
    o3_err err;
    (void)state;
    O3_FORMAT(body, "env > %s/env; exit 1", folder);
    write_script(body);
    setenv("OLLAMA_KV_CACHE_TYPE", "q4_0", 1); /* ours: of no server */
    setenv("O3_TEST_PASSED_ON", "yes", 1);
    int before = start((o3_private_options){.like_pid = -1, .settings = "OLLAMA_NUM_PARALLEL=2\nO3_TEST_EMPTY=\nA_B=c d\n"}, &err);
    assert_int_equal(before, O3_E_ENGINE);
    unsetenv("OLLAMA_KV_CACHE_TYPE");
    O3_FORMAT(file, "%s/env", folder);
    assert_true(o3_read_text("/", file, text, sizeof(text)) > 0);
    assert_null(strstr(text, "OLLAMA_KV_CACHE_TYPE"));
    assert_non_null(strstr(text, "OLLAMA_NUM_PARALLEL=2\n"));
    assert_non_null(strstr(text, "A_B=c d\n"));
    assert_non_null(strstr(text, "OLLAMA_NOPRUNE=1\n"));
    assert_non_null(strstr(text, "O3_TEST_PASSED_ON=yes\n"));
    O3_FORMAT(body, "OLLAMA_MODELS=%s\n", store);
    assert_non_null(strstr(text, body));
    /* like_pid's environment is the base, and settings take away from it */
    assert_int_equal(start((o3_private_options){.like_pid = getpid(), .settings = "PATH=\n"}, &err), O3_E_ENGINE);
    assert_int_equal(start((o3_private_options){.models = "/nowhere/models"}, &err), O3_E_NOT_FOUND);
    assert_non_null(strstr(err.message, "/nowhere/models"));
    assert_int_equal(start((o3_private_options){.model_file = "/nowhere/blob"}, &err), O3_E_NOT_FOUND);
    if (geteuid() == 0) {
        print_message("# a store without permission: skipped, root may read all\n");
        return;
    }
    chmod(store, 0);
    assert_int_equal(start((o3_private_options){0}, &err), O3_E_IMPOSSIBLE);
    chmod(store, 0755);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(binary_missing_or_not_runnable, set_up, tear_down),
        cmocka_unit_test_setup_teardown(path_is_searched, set_up, tear_down),
        cmocka_unit_test_setup_teardown(last_words_are_classed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(taken_port_is_another_try, set_up, tear_down),
        cmocka_unit_test_setup_teardown(silence_ends, set_up, tear_down),
        cmocka_unit_test_setup_teardown(environment_and_store, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
