/* Vector registers across context switches: several processes on every core, each with values of
 * its own in all sixteen YMM registers, give the core away many times and look again. Run by the
 * check test inside Linux; prints one line, exit status 0 when every value stayed. */
#define _GNU_SOURCE
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PROCESSES = 3, ROUNDS = 400, NAP_EVERY = 50 };

/* Loads sixteen registers, makes one system call, stores them again: nothing in between but the
 * call, so the compiler and the C library cannot use the registers. */
static void round_trip(const uint8_t in[16][32], uint8_t out[16][32], long number, const void *argument) {
    long result;
#define LOAD(n)  "vmovdqu 32*" #n "(%[in]), %%ymm" #n "\n\t"
#define STORE(n) "vmovdqu %%ymm" #n ", 32*" #n "(%[out])\n\t"
    __asm__ volatile(LOAD(0) LOAD(1) LOAD(2) LOAD(3) LOAD(4) LOAD(5) LOAD(6) LOAD(7) LOAD(8) LOAD(9) LOAD(10) LOAD(11)
                         LOAD(12) LOAD(13) LOAD(14) LOAD(15) "syscall\n\t" STORE(0) STORE(1) STORE(2) STORE(3) STORE(4)
                             STORE(5) STORE(6) STORE(7) STORE(8) STORE(9) STORE(10) STORE(11) STORE(12) STORE(13)
                                 STORE(14) STORE(15)
                     : "=a"(result)
                     : "a"(number), "D"(argument), "S"(0L), [in] "r"(in), [out] "r"(out)
                     : "rcx", "r11", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
                       "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
#undef LOAD
#undef STORE
}

/* Returns 0, or 1 when a register changed. */
static int child(int cpu, int index) {
    static uint8_t in[16][32], out[16][32];
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0) return 1;
    for (int round = 0; round < ROUNDS; round++) {
        for (int r = 0; r < 16; r++)
            for (int b = 0; b < 32; b++) in[r][b] = (uint8_t)(cpu * 97 + index * 41 + round * 7 + r * 32 + b * 3);
        memset(out, 0, sizeof out);
        const struct timespec nap = {0, 1000000};
        if (round % NAP_EVERY == 0)
            round_trip(in, out, SYS_nanosleep, &nap);
        else
            round_trip(in, out, SYS_sched_yield, NULL);
        if (memcmp(in, out, sizeof in) != 0) return 1;
    }
    return 0;
}

int main(void) {
    const int cpus = (int)sysconf(_SC_NPROCESSORS_ONLN);
    int wrong = 0;
    for (int cpu = 0; cpu < cpus; cpu++)
        for (int index = 0; index < PROCESSES; index++) {
            const pid_t pid = fork();
            if (pid == 0) _exit(child(cpu, index));
            if (pid < 0) wrong++;
        }
    int status;
    while (wait(&status) > 0) wrong += status != 0;
    printf("%d processes, %d rounds, %d wrong\n", cpus * PROCESSES, ROUNDS, wrong);
    return wrong != 0;
}
