/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets that listen on a port. The kernel is asked for listening ones only: /proc/net/tcp walks every bucket of the
 * connection table, which takes 5 ms a family. A capture, and a kernel without that interface, has only the files. */
#include <limits.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/netlink.h>

#include "hardware/hardware_impl.h"

#define ANSWER_BYTES 16384

/* An address as /proc/net/tcp writes it. */
static int address_rank(const char *address)
{
    static const char *const near[] = {"0100007F", "00000000000000000000000001000000", "00000000",
                                       "00000000000000000000000000000000"};
    for (int i = 0; i < O3_COUNT(near); i++)
        if (!strcasecmp(near[i], address))
            return i;
    return O3_COUNT(near);
}

static void add(hw_sockets *set, uint64_t inode, const char *address)
{
    int rank = address_rank(address), i = set->count < HW_SOCKETS_MAX ? set->count++ : HW_SOCKETS_MAX;
    if (i == HW_SOCKETS_MAX)
        return;
    for (; i > 0 && set->at[i - 1].rank > rank; i--)
        set->at[i] = set->at[i - 1];
    set->at[i].inode = inode;
    set->at[i].rank = rank;
}

static void read_file(hw_sockets *set, const char *root, const char *path, int port)
{
    char full[PATH_MAX], address[40];
    FILE *file = hw_full_path(full, sizeof(full), root, path) ? fopen(full, "re") : NULL;
    o3_auto(free) char *line = NULL;
    size_t size = 0;
    while (file && getline(&line, &size, file) > 0) {
        unsigned local_port, state;
        unsigned long long inode;
        if (sscanf(line, " %*d: %32[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s %*s %*u %*d %llu", address, &local_port,
                   &state, &inode) != 4)
            continue;
        if (state == TCP_LISTEN && local_port == (unsigned)port && inode)
            add(set, inode, address);
    }
    if (file)
        fclose(file);
}

static void take(hw_sockets *set, const struct inet_diag_msg *message, int port)
{
    char address[40] = "";
    int words = message->idiag_family == AF_INET6 ? 4 : 1;
    for (int i = 0; i < words; i++)
        o3_format(address + 8 * i, sizeof(address) - 8 * (size_t)i, "%08X", message->id.idiag_src[i]);
    if (ntohs(message->id.idiag_sport) == port && message->idiag_inode)
        add(set, message->idiag_inode, address);
}

/* True when the whole list was read. */
static bool read_answers(hw_sockets *set, int fd, int port)
{
    _Alignas(struct nlmsghdr) char bytes[ANSWER_BYTES];
    for (ssize_t len; (len = recv(fd, bytes, sizeof(bytes), 0)) > 0;) {
        size_t left = (size_t)len;
        for (const struct nlmsghdr *header = (const void *)bytes; NLMSG_OK(header, left); header = NLMSG_NEXT(header, left)) {
            if (header->nlmsg_type == NLMSG_DONE)
                return true;
            if (header->nlmsg_type != SOCK_DIAG_BY_FAMILY || header->nlmsg_len < NLMSG_LENGTH(sizeof(struct inet_diag_msg)))
                return false;
            take(set, NLMSG_DATA(header), port);
        }
    }
    return false;
}

static bool ask_kernel(hw_sockets *set, int fd, uint8_t family, int port)
{
    struct {
        struct nlmsghdr header;
        struct inet_diag_req_v2 request;
    } ask = {
        .header = {.nlmsg_len = sizeof(ask), .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        .request = {.sdiag_family = family, .sdiag_protocol = IPPROTO_TCP, .idiag_states = 1u << TCP_LISTEN},
    };
    return send(fd, &ask, sizeof(ask), 0) == sizeof(ask) && read_answers(set, fd, port);
}

void hw_sockets_read(hw_sockets *ret_set, const char *root, int port)
{
    bool here = !root || !strcmp(root, "/"), asked = false;
    int fd = here ? socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG) : -1;
    *ret_set = (hw_sockets){0};
    if (fd >= 0) {
        asked = ask_kernel(ret_set, fd, AF_INET, port) && ask_kernel(ret_set, fd, AF_INET6, port);
        close(fd);
    }
    if (asked)
        return;
    *ret_set = (hw_sockets){0};
    read_file(ret_set, root, "/proc/net/tcp", port);
    read_file(ret_set, root, "/proc/net/tcp6", port);
}
