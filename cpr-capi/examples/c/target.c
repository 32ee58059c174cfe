/* The target's side of train.c: start-up code of a Cortex-M4 with an FPU, and output over semihosting. Prints the bits
 * of each number. */
#include <stdint.h>

#include "train.h"

extern uint32_t stack_top, data_start, data_end, data_load, bss_start, bss_end;

static uint32_t semihost(uint32_t operation, const void *argument) {
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

void say_text(const char *text) {
    semihost(0x04, text); /* SYS_WRITE0 */
    semihost(0x04, "\n");
}

void say(const char *name, double value) {
    union {
        double value;
        uint64_t bits;
    } number = {value};
    char digits[17];
    for (int i = 0; i < 16; i++) digits[i] = "0123456789abcdef"[(number.bits >> (60 - 4 * i)) & 15];
    digits[16] = 0;
    semihost(0x04, name);
    semihost(0x04, " ");
    say_text(digits);
}

/* Runs once the FPU is on. */
static __attribute__((noinline)) void run(void) {
    const int failed = train();
    /* SYS_EXIT: the application's own exit, or a run-time error. */
    semihost(0x18, (const void *)(failed ? 0x20023 : 0x20026));
}

void reset(void) {
    const uint32_t *from = &data_load;
    for (uint32_t *to = &data_start; to < &data_end; to++) *to = *from++;
    for (uint32_t *to = &bss_start; to < &bss_end; to++) *to = 0;
    *(volatile uint32_t *)0xe000ed88 |= 0xfu << 20; /* CPACR: coprocessors 10 and 11 */
    __asm__ volatile("dsb\n isb" ::: "memory");
    run();
    for (;;) {
    }
}

static void fault(void) {
    semihost(0x18, (const void *)0x20023);
    for (;;) {
    }
}

const struct {
    const void *stack;
    void (*exceptions[15])(void);
} vectors __attribute__((section(".vectors"), used)) = {&stack_top, {reset, fault, fault, fault, fault, fault}};
