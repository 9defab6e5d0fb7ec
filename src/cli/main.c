/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "cli.h"

static o3_cancel *signal_cancel;

static void on_signal(int number)
{
    int saved = errno;
    if (number == SIGINT && o3_cancel_get(signal_cancel) == O3_CANCEL_USER) { /* the second one: at once */
        signal(SIGINT, SIG_DFL);
        raise(SIGINT);
    }
    o3_cancel_set(signal_cancel, O3_CANCEL_USER);
    errno = saved;
}

static void watch_signals(o3_cancel *cancel)
{
    struct sigaction action = {.sa_handler = on_signal};
    signal_cancel = cancel;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static int complain(o3_status status, const o3_err *err)
{
    if (*err->message)
        fprintf(stderr, "o3: %s\n", err->message);
    return o3_status_exit(status);
}

/* An answer that could not be written is no success; a reader who left early (head) is no failure. */
static int finish(int exit_status)
{
    errno = 0;
    bool failed = fflush(stdout) || ferror(stdout);
    if (!failed || errno == EPIPE)
        return exit_status;
    fprintf(stderr, "o3: the answer cannot be written: %s\n", errno ? strerror(errno) : "output error");
    return exit_status ? exit_status : 1;
}

static int run(int argc, char **argv)
{
    o3_err err = {O3_OK, ""};
    int used;
    const cli_command *command = cli_command_find(argc - 1, argv + 1, &used);
    if (!command)
        return complain(cli_command_unknown(argc - 1, argv + 1, &err), &err);
    cli_call call;
    o3_status status = cli_parse(command, argc - used, argv + used, &call, &err);
    if (status)
        return complain(status, &err);
    if (call.options.help) {
        cli_help_command(stdout, command);
        return 0;
    }
    call.cancel = o3_cancel_new();
    if (command->orderly)
        watch_signals(call.cancel);
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error of the write, not our end */
    status = command->run(&call, &err);
    int exit_status = status ? complain(status, &err) : 0;
    signal_cancel = NULL;
    o3_cancel_free(call.cancel);
    return exit_status;
}

int main(int argc, char **argv)
{
    const char *first = argc > 1 ? argv[1] : NULL;
    if (!first) {
        cli_help_all(stderr);
        return o3_status_exit(O3_E_USAGE);
    }
    if (!strcmp(first, "--version") || !strcmp(first, "-V")) {
        puts("o3 " O3_VERSION);
        return finish(0);
    }
    if (!strcmp(first, "--help") || !strcmp(first, "-h")) {
        cli_help_all(stdout);
        return finish(0);
    }
    if (*first == '-') {
        fprintf(stderr, "o3: %s must follow a command; o3 help lists them\n", first);
        return o3_status_exit(O3_E_USAGE);
    }
    return finish(run(argc, argv));
}
