/* SPDX-License-Identifier: Apache-2.0 */
/* gen-docs NAME: writes one document to stdout; without a name, lists NAME and file of each. */
#include "cli/cli.h"

int main(int argc, char **argv)
{
    for (const cli_document *document = cli_documents; document->name; document++) {
        if (argc < 2)
            printf("%s %s\n", document->name, document->file);
        else if (!strcmp(argv[1], document->name)) {
            document->write(stdout);
            return fflush(stdout) || ferror(stdout);
        }
    }
    if (argc >= 2)
        fprintf(stderr, "gen-docs: there is no document %s\n", argv[1]);
    return argc >= 2 ? 2 : 0;
}
