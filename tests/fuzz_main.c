/* SPDX-License-Identifier: MIT
 * Runs a libFuzzer harness without libFuzzer, as a plain test.
 *
 *     fuzz_x [-n ITERATIONS] [-s SEED] [FILE or FOLDER]...
 *
 * First each input as it is, then so many mutations of them, from a fixed seed: the same inputs each
 * time. A failing input is not written anywhere: run again under a debugger, or with libFuzzer.
 *
 * Context: tests.
 */
#include <dirent.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define INPUTS_MAX 1024
#define SIZE_MAX_INPUT (1 << 16)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    uint8_t *data;
    size_t size;
};

static struct input inputs[INPUTS_MAX];
static size_t input_count;
static uint64_t random_state = 1;

static uint32_t next_random(uint32_t below)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33) % below;
}

static void add_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    struct input *input = &inputs[input_count];

    if (file == NULL || input_count == INPUTS_MAX) {
        fprintf(stderr, "%s: cannot be taken\n", path);
        exit(EXIT_FAILURE);
    }
    input->data = malloc(SIZE_MAX_INPUT);
    if (input->data == NULL)
        exit(EXIT_FAILURE);
    input->size = fread(input->data, 1, SIZE_MAX_INPUT, file);
    fclose(file);
    input_count++;
}

static void add_path(const char *path)
{
    struct stat status;
    struct dirent **entries;
    char below[4096];
    int count;

    if (stat(path, &status) != 0 || !S_ISDIR(status.st_mode)) {
        add_file(path);
        return;
    }
    count = scandir(path, &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        snprintf(below, sizeof below, "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.')
            add_path(below);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
}

static uint8_t interesting_byte(void)
{
    static const uint8_t bytes[] = {0, 1, 0x3f, 0x40, 0x7f, 0x80, 0x81, 0xff};

    return next_random(2) ? bytes[next_random(sizeof bytes)] : (uint8_t)next_random(256);
}

/* One change of data[0..size), which has room for SIZE_MAX_INPUT; returns the new size. */
static size_t mutate(uint8_t *data, size_t size)
{
    size_t at = size != 0 ? next_random((uint32_t)size) : 0;
    size_t count = 1 + next_random(8);

    switch (next_random(5)) {
    case 0: /* flip a bit */
        if (size != 0)
            data[at] ^= (uint8_t)(1u << next_random(8));
        return size;
    case 1: /* set bytes */
        for (size_t i = at; i < size && i < at + count; i++)
            data[i] = interesting_byte();
        return size;
    case 2: /* insert bytes */
        if (size + count > SIZE_MAX_INPUT)
            return size;
        memmove(data + at + count, data + at, size - at);
        for (size_t i = 0; i < count; i++)
            data[at + i] = interesting_byte();
        return size + count;
    case 3: /* take bytes out */
        count = count < size - at ? count : size - at;
        memmove(data + at, data + at + count, size - at - count);
        return size - count;
    default: /* cut the end */
        return next_random(4) ? size : at;
    }
}

static void run_mutations(unsigned long count)
{
    static uint8_t data[SIZE_MAX_INPUT];

    for (unsigned long i = 0; i < count; i++) {
        const struct input *from = input_count ? &inputs[next_random((uint32_t)input_count)] : NULL;
        size_t size = from != NULL ? from->size : 0;

        if (size != 0)
            memcpy(data, from->data, size);
        for (uint32_t steps = 1 + next_random(16); steps > 0; steps--)
            size = mutate(data, size);
        LLVMFuzzerTestOneInput(data, size);
    }
}

int main(int argc, char **argv)
{
    unsigned long count = 10000;
    int option;

    while ((option = getopt(argc, argv, "n:s:")) != -1) {
        if (option == 'n')
            count = strtoul(optarg, NULL, 10);
        else if (option == 's')
            random_state = strtoull(optarg, NULL, 10);
        else
            return EXIT_FAILURE;
    }
    for (int i = optind; i < argc; i++)
        add_path(argv[i]);
    for (size_t i = 0; i < input_count; i++)
        LLVMFuzzerTestOneInput(inputs[i].data, inputs[i].size);
    run_mutations(count);
    printf("%zu inputs, %lu mutations\n", input_count, count);
    for (size_t i = 0; i < input_count; i++)
        free(inputs[i].data);
    return EXIT_SUCCESS;
}
