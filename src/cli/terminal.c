/* SPDX-License-Identifier: Apache-2.0 */
/* The talk on stderr. On a terminal the last line lives: it is taken away before anything else is written and when the
 * object goes. Elsewhere the same words come as plain lines, seldom. */
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "o3/report.h"

#define LABEL 13        /* where the words begin */
#define BAR 10
#define PLAIN_EVERY_NS (5 * O3_NS_PER_S)
#define LIVE_EVERY_NS (100 * O3_NS_PER_MS) /* no terminal is read faster */

struct cli_terminal {
    FILE *out;
    bool tty, colour;
    bool live; /* a live line is on the screen */
    char label[32];
    int64_t last_ns;
};

static bool named(const char *variable)
{
    const char *value = getenv(variable);
    return value && *value;
}

static bool dumb(void)
{
    const char *term = getenv("TERM");
    return !term || !*term || !strcmp(term, "dumb");
}

bool cli_colour(void)
{
    return isatty(STDOUT_FILENO) && !named("NO_COLOR") && !dumb();
}

cli_terminal *cli_terminal_new(FILE *out)
{
    cli_terminal *terminal = o3_alloc(1, sizeof(*terminal));
    terminal->out = out;
    terminal->tty = isatty(fileno(out)) && !dumb();
    terminal->colour = terminal->tty && !named("NO_COLOR");
    return terminal;
}

bool cli_terminal_live(const cli_terminal *terminal)
{
    return terminal->tty;
}

void cli_terminal_clear(cli_terminal *terminal)
{
    if (terminal->live)
        fputs("\r\x1b[K", terminal->out);
    terminal->live = false;
    fflush(terminal->out);
}

void cli_terminal_free(cli_terminal *terminal)
{
    if (!terminal)
        return;
    cli_terminal_clear(terminal);
    free(terminal);
}

static int columns(const cli_terminal *terminal)
{
    struct winsize size;
    if (!terminal->tty)
        return 80;
    return ioctl(fileno(terminal->out), TIOCGWINSZ, &size) || size.ws_col < 20 ? 80 : size.ws_col;
}

/* Bytes of `text` that fill at most `width` columns; control characters become spaces on the way to `dst`. */
static size_t cut(char *dst, size_t size, const char *text, int width)
{
    size_t len = 0;
    for (; *text && len < size - 1; text++) {
        if ((*text & 0xc0) != 0x80 && width-- == 0)
            break;
        dst[len++] = (unsigned char)*text < 0x20 || *text == 0x7f ? ' ' : *text;
    }
    dst[len] = '\0';
    return len;
}

static void put_label(const cli_terminal *terminal, const char *label)
{
    const char *on = terminal->colour ? "\x1b[1m" : "", *off = terminal->colour ? "\x1b[0m" : "";
    if (*label)
        fprintf(terminal->out, "%s%-*s%s", on, LABEL, label, off);
}

void cli_terminal_line(cli_terminal *terminal, const char *label, const char *text)
{
    int width = columns(terminal), indent = *label ? LABEL : 2;
    char piece[1024];
    cli_terminal_clear(terminal);
    put_label(terminal, label);
    int column = *label ? LABEL : 0;
    bool first = true;
    for (const char *p = text + strspn(text, " "); *p; p += strspn(p, " ")) {
        size_t len = strcspn(p, " ");
        char word[512];
        o3_format(word, sizeof(word), "%.*s", (int)len, p);
        cut(piece, sizeof(piece), word, 500);
        int wide = 0;
        for (const char *c = piece; *c; c++)
            wide += (*c & 0xc0) != 0x80;
        if (!first && column + 1 + wide > width) {
            fprintf(terminal->out, "\n%*s", indent, "");
            column = indent;
            first = true;
        }
        fprintf(terminal->out, "%s%s", first ? "" : " ", piece);
        column += wide + !first;
        first = false;
        p += len;
    }
    fputc('\n', terminal->out);
    fflush(terminal->out);
    /* A stage's own line says it has begun; its first plain progress can wait. */
    O3_COPY(terminal->label, label);
    terminal->last_ns = 0;
}

static void bar(char *dst, size_t size, double frac)
{
    int full = (int)(fmin(1, fmax(0, frac)) * BAR + 0.5);
    dst[0] = '\0';
    for (int i = 0; i < BAR; i++)
        o3_format(dst + strlen(dst), size - strlen(dst), "%s", i < full ? "█" : "░");
}

static void left_text(char *dst, size_t size, double left_s)
{
    int seconds = isfinite(left_s) && left_s >= 0 && left_s < 1e7 ? (int)(left_s + 0.5) : -1;
    dst[0] = '\0';
    if (seconds >= 3600)
        o3_format(dst, size, "%d:%02d:%02d left", seconds / 3600, seconds / 60 % 60, seconds % 60);
    else if (seconds >= 0)
        o3_format(dst, size, "%d:%02d left", seconds / 60, seconds % 60);
}

static void live(cli_terminal *terminal, const char *label, const char *text, double frac, const char *left)
{
    char blocks[BAR * 4 + 1] = "", body[1024], tail[96] = "";
    int width = columns(terminal) - 1;
    if (isfinite(frac)) {
        bar(blocks, sizeof(blocks), frac);
        O3_FORMAT(tail, "  %s %3.0f %%%s%s", blocks, fmin(1, fmax(0, frac)) * 100, *left ? "  " : "", left);
    } else if (*left) {
        O3_FORMAT(tail, "  %s", left);
    }
    int tail_width = 0;
    for (const char *p = tail; *p; p++)
        tail_width += (*p & 0xc0) != 0x80;
    int room = width - LABEL - tail_width;
    if (room < 0)
        tail[0] = '\0';
    cut(body, sizeof(body), text, room < 0 ? width - LABEL : room);
    fputs("\r\x1b[K", terminal->out);
    put_label(terminal, *label ? label : " ");
    fprintf(terminal->out, "%s%s", body, tail);
    fflush(terminal->out);
    terminal->live = true;
}

void cli_terminal_progress(cli_terminal *terminal, const char *label, const char *text, double frac, double left_s)
{
    char left[48], line[1200], percent[16] = "";
    int64_t now = o3_now_ns();
    bool changed = strcmp(terminal->label, label) != 0;
    if (!changed && terminal->last_ns && now - terminal->last_ns < (terminal->tty ? LIVE_EVERY_NS : PLAIN_EVERY_NS))
        return;
    O3_COPY(terminal->label, label);
    left_text(left, sizeof(left), left_s);
    if (terminal->tty) {
        live(terminal, label, text, frac, left);
    } else {
        if (isfinite(frac))
            O3_FORMAT(percent, " · %.0f %%", fmin(1, fmax(0, frac)) * 100);
        O3_FORMAT(line, "%s%s%s%s", text, percent, *left ? " · " : "", left);
        cli_terminal_line(terminal, label, line);
    }
    terminal->last_ns = now;
}

bool cli_terminal_ask(cli_terminal *terminal, const char *question)
{
    char answer[16] = "";
    if (!isatty(STDIN_FILENO) || !terminal->tty)
        return false;
    cli_terminal_clear(terminal);
    fprintf(terminal->out, "%s [y/N] ", question);
    fflush(terminal->out);
    return fgets(answer, sizeof(answer), stdin) && (*answer == 'y' || *answer == 'Y');
}

void cli_print_json(json_t *json)
{
    o3_auto(free) char *text = o3_json_text(json);
    json_decref(json);
    puts(text);
}

static int cell_width(const char *text)
{
    int width = 0;
    for (; *text; text++)
        width += (*text & 0xc0) != 0x80;
    return width;
}

void cli_print_table(FILE *out, int column_count, const bool *right, int rows, char (*cells)[64])
{
    for (int r = 0; r < rows; r++) {
        for (int c = 0; c < column_count; c++) {
            const char *text = cells[r * column_count + c];
            int width = 0, mine = cell_width(text);
            for (int i = 0; i < rows; i++) {
                int other = cell_width(cells[i * column_count + c]);
                width = other > width ? other : width;
            }
            bool last = c == column_count - 1;
            fprintf(out, "%s%*s%s%*s", c ? "  " : "", right[c] ? width - mine : 0, "", text,
                    right[c] || last ? 0 : width - mine, "");
        }
        fputc('\n', out);
    }
}

void cli_time_text(char *dst, size_t dst_size, int64_t unix_ms)
{
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm parts;
    if (unix_ms < 0 || !localtime_r(&seconds, &parts) || !strftime(dst, dst_size, "%Y-%m-%d %H:%M", &parts))
        o3_copy(dst, dst_size, "-");
}
