/* SPDX-License-Identifier: Apache-2.0 */
#include "cli.h"

static void print_flag(FILE *out, const cli_flag *flag)
{
    char left[64];
    o3_format(left, sizeof(left), "%s%c%s--%s%s%s", flag->letter ? "-" : " ", flag->letter ? flag->letter : ' ',
              flag->letter ? ", " : "  ", flag->name, flag->value ? " " : "", flag->value ? flag->value : "");
    int used = fprintf(out, "  %-23s", left);
    if (used > 25) {
        fprintf(out, "\n%25s", "");
        used = 25;
    }
    /* 80 columns: words go below each other from column 25. */
    int column = used;
    for (const char *p = flag->help; *p;) {
        int len = (int)strcspn(p, " ");
        if (column + len + 1 > 80) {
            fprintf(out, "\n%25s", "");
            column = 25;
        } else if (p != flag->help) {
            fputc(' ', out);
            column++;
        }
        fprintf(out, "%.*s", len, p);
        column += len;
        p += len;
        p += strspn(p, " ");
    }
    fputc('\n', out);
}

void cli_help_command(FILE *out, const cli_command *command)
{
    fprintf(out, "o3 %s%s%s [options]\n  %s\n", command->name, *command->args ? " " : "", command->args,
            command->help);
    if (command->details) {
        /* Paragraphs are kept with short lines in the table; here they flow to 80 columns. */
        int column = 0;
        fputc('\n', out);
        for (const char *p = command->details; *p; p += strspn(p, " \n")) {
            int len = (int)strcspn(p, " \n");
            if (column && column + 1 + len > 80) {
                fputc('\n', out);
                column = 0;
            }
            fprintf(out, "%s%.*s", column ? " " : "", len, p);
            column += len + (column > 0);
            p += len;
        }
        fputc('\n', out);
    }
    fprintf(out, "\nOptions\n");
    for (const cli_flag *flag = command->flags; flag->name; flag++)
        print_flag(out, flag);
    if (command->example)
        fprintf(out, "\nExample\n  %s\n", command->example);
}

void cli_help_all(FILE *out)
{
    fprintf(out, "o3 " O3_VERSION ": proves the best Ollama settings for a model on this machine\n\n"
                 "o3 COMMAND [ARGUMENTS] [OPTIONS]\n\n");
    for (const cli_command *command = cli_commands; command->name; command++) {
        char left[64];
        O3_FORMAT(left, "%s %s", command->name, command->args);
        if (strlen(left) > 26)
            fprintf(out, "  %s\n  %27s%s\n", left, "", command->help);
        else
            fprintf(out, "  %-27s%s\n", left, command->help);
    }
    fprintf(out, "\no3 help COMMAND shows the options of one. Begin with: o3 optimize MODEL\n"
                 "Every command but help has --json. Exit status: 0 done, 1 internal or file\n"
                 "error, 2 usage or configuration, 3 not found, 4 server unreachable, 5 a finding,\n"
                 "6 stopped by a safety limit, 7 interrupted, results kept, 8 not possible here.\n");
}

o3_status cmd_help(const cli_call *call, o3_err *err)
{
    if (!call->count) {
        cli_help_all(stdout);
        return O3_OK;
    }
    char *words[2] = {(char *)(uintptr_t)call->words[0], (char *)(uintptr_t)call->words[1]};
    int used;
    const cli_command *command = cli_command_find(call->count, words, &used);
    if (command && used == call->count) {
        cli_help_command(stdout, command);
        return O3_OK;
    }
    /* "o3 help preset": all that begin with it. */
    bool any = false;
    size_t len = strlen(words[0]);
    for (command = cli_commands; call->count == 1 && command->name; command++) {
        if (strncmp(command->name, words[0], len) || command->name[len] != ' ')
            continue;
        if (any)
            fputc('\n', stdout);
        cli_help_command(stdout, command);
        any = true;
    }
    return any ? O3_OK : cli_command_unknown(call->count, words, err);
}
