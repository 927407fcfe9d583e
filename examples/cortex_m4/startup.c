/* What runs before main on a Cortex-M4: the vector table, the floating-point unit, and memory as C expects it. */
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

extern uint32_t stack_top, data_load, data_start, data_end, bss_start, bss_end;
extern void initialise_monitor_handles(void); /* of newlib: printf through semihosting */
int main(void);

void reset(void) {
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* CPACR: full access to coprocessors 10 and 11, the FPU */
    __asm volatile("dsb\n\tisb");
    for (uint32_t *to = &data_start, *from = &data_load; to < &data_end;) {
        *to++ = *from++;
    }
    for (uint32_t *to = &bss_start; to < &bss_end;) {
        *to++ = 0;
    }
    initialise_monitor_handles();
    const int status = main();
    fflush(stdout);
    _exit(status);
}

static void fault(void) {
    _exit(2);
}

__attribute__((section(".vectors"), used)) static void *const vectors[] = {
    &stack_top, (void *)reset, (void *)fault, (void *)fault, (void *)fault, (void *)fault, (void *)fault,
};
