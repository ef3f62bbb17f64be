/* SPDX-License-Identifier: Apache-2.0
 *
 * Replays files and folders of files through a fuzz target, for builds without libFuzzer. Finding nothing to
 * replay is a failure: a test must not pass because its corpus went missing. */
#include <dirent.h>
#include <sys/stat.h>

#include "fuzz.h"

static unsigned replayed;

/* In memory of exactly its size, so that the sanitizer sees a read behind it. */
static bool replay_file(const char *path, size_t size)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return false;
    uint8_t *bytes = h2o_mem_alloc(size != 0 ? size : 1);
    bool whole = fread(bytes, 1, size, file) == size;
    fclose(file);
    if (whole) {
        fprintf(stderr, "%s\n", path); /* the last one printed is the one that failed */
        LLVMFuzzerTestOneInput(bytes, size);
        replayed++;
    }
    free(bytes);
    return whole;
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static bool replay(const char *path);

static bool replay_folder(const char *path)
{
    struct dirent **entries;
    int count = scandir(path, &entries, is_visible, alphasort);
    bool good = count >= 0;
    for (int i = 0; i < count; i++) {
        char inside[4096];
        int len = snprintf(inside, sizeof(inside), "%s/%s", path, entries[i]->d_name);
        good = (size_t)len < sizeof(inside) && replay(inside) && good;
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    return good;
}

static bool replay(const char *path)
{
    struct stat st;
    if (stat(path, &st) == 0 &&
        (S_ISDIR(st.st_mode) ? replay_folder(path) : replay_file(path, (size_t)st.st_size)))
        return true;
    fprintf(stderr, "%s: can't be replayed\n", path);
    return false;
}

int main(int argc, char **argv)
{
    bool good = true;
    for (int i = 1; i < argc; i++)
        good = replay(argv[i]) && good;
    fprintf(stderr, "%u inputs replayed\n", replayed);
    return good && replayed > 0 ? 0 : 1;
}
