/* SPDX-License-Identifier: Apache-2.0 */
/* hardware, inside: libarchive, loaded where a capture is written or taken apart. Linked, it would cost every call of o3
 * 2.5 ms of 7.5: it brings XML and Unicode libraries along. */
#ifndef O3_HARDWARE_ARCHIVE_H
#define O3_HARDWARE_ARCHIVE_H

#include <archive.h>
#include <archive_entry.h>

#include "o3/core.h"

#define HW_ARCHIVE_CALLS(X)                                                                                    \
    X(archive_error_string)                                                                                    \
    X(archive_write_new) X(archive_write_add_filter_gzip) X(archive_write_set_format_pax_restricted)           \
    X(archive_write_open_fd) X(archive_write_header) X(archive_write_data) X(archive_write_close)              \
    X(archive_write_free)                                                                                      \
    X(archive_read_new) X(archive_read_support_filter_gzip) X(archive_read_support_format_tar)                 \
    X(archive_read_open_filename) X(archive_read_next_header) X(archive_read_data) X(archive_read_free)        \
    X(archive_entry_new) X(archive_entry_free) X(archive_entry_set_pathname) X(archive_entry_set_size)         \
    X(archive_entry_set_filetype) X(archive_entry_set_perm) X(archive_entry_pathname) X(archive_entry_filetype) \
    X(archive_entry_hardlink)

typedef struct hw_archive_calls {
#define HW_ARCHIVE_MEMBER(name) __typeof__(&(name)) name;
    HW_ARCHIVE_CALLS(HW_ARCHIVE_MEMBER)
#undef HW_ARCHIVE_MEMBER
} hw_archive_calls;

/* O3_E_IMPOSSIBLE where the library is not there. Stays loaded. */
O3_NODISCARD o3_status hw_archive_load(hw_archive_calls *ret_calls, o3_err *err);

#endif
