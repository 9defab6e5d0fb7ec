/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's answer and the files under /proc tell the same of who listens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hardware/hardware_impl.h"

#define FILES "//" /* not "/": read like a capture, from the files */

static int listener(int family, const struct sockaddr *wanted, socklen_t len, int *ret_port)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } bound;
    socklen_t bound_len = sizeof(bound);
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
    if (bind(fd, wanted, len) || listen(fd, 1) || getsockname(fd, &bound.any, &bound_len)) {
        close(fd);
        return -1;
    }
    *ret_port = ntohs(family == AF_INET ? bound.v4.sin_port : bound.v6.sin6_port);
    return fd;
}

static uint64_t inode_of(int fd)
{
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    return st.st_ino;
}

/* Both ways give these sockets, in this order. */
static void found(int port, int count, const int *fds)
{
    static const char *const roots[] = {"/", NULL, FILES};
    for (int i = 0; i < O3_COUNT(roots); i++) {
        hw_sockets set;
        hw_sockets_read(&set, roots[i], port);
        assert_int_equal(set.count, count);
        for (int k = 0; k < count; k++)
            assert_true(set.at[k].inode == inode_of(fds[k]));
    }
}

static void loopback_before_any(void **state)
{
    (void)state;
    int port = 0;
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT};
    int near = listener(AF_INET, (struct sockaddr *)&v4, sizeof(v4), &port);
    assert_true(near >= 0);
    found(port, 1, &near);
    v6.sin6_port = htons((uint16_t)port);
    int any = listener(AF_INET6, (struct sockaddr *)&v6, sizeof(v6), &port);
    if (any >= 0) { /* a machine without IPv6 has only the first half of this test */
        found(port, 2, (const int[]){near, any});
        close(near);
        found(port, 1, &any);
        close(any);
    } else {
        close(near);
    }
    found(port, 0, NULL);
}

/* A connection has the same local port, and is no listener. */
static void not_a_connection(void **state)
{
    (void)state;
    int port = 0;
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = listener(AF_INET, (struct sockaddr *)&v4, sizeof(v4), &port);
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    v4.sin_port = htons((uint16_t)port);
    assert_int_equal(connect(client, (struct sockaddr *)&v4, sizeof(v4)), 0);
    int server = accept(fd, NULL, NULL);
    assert_true(server >= 0);
    found(port, 1, &fd);
    close(fd);
    found(port, 0, NULL);
    close(server);
    close(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loopback_before_any),
        cmocka_unit_test(not_a_connection),
    };
    return cmocka_run_group_tests_name("sockets", tests, NULL, NULL);
}
