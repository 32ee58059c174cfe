/* The host's side of train.c. Each line ends with the bits of the number. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "train.h"

void say(const char *name, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    printf("%-6s %.6f %016" PRIx64 "\n", name, value, bits);
}

void say_text(const char *text) {
    puts(text);
}

int main(void) {
    return train();
}
