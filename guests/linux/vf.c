/* Both ends of an NVMe controller with virtual functions, for tests/sriov.
 *
 *     vf release DEVICE             takes all flexible queues and interrupts from the physical function: a reset of it
 *                                   must follow
 *     vf give DEVICE COUNT          gives each of the first COUNT virtual functions two queues and an interrupt, and
 *                                   switches it on
 *     vf wait FUNCTION              returns when this virtual function has been switched on
 *
 * Source: NVM Express Base Specification 2.0, Virtualization Management command, Secondary Controller List. */
#include <fcntl.h>
#include <linux/nvme_ioctl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { IDENTIFY = 6, MANAGE = 0x1c, SECONDARIES = 0x15 };
enum { PRIMARY_ALLOCATE = 1, ASSIGN = 8, ONLINE = 9 };
enum { QUEUES, INTERRUPTS };

static uint8_t list[4096] __attribute__((aligned(4096)));

static uint16_t at(int entry, int offset) {
    return (uint16_t)(list[32 + 32 * entry + offset] | list[33 + 32 * entry + offset] << 8);
}

static int manage(int device, unsigned controller, unsigned resource, unsigned action, unsigned count) {
    struct nvme_admin_cmd command = {
        .opcode = MANAGE, .cdw10 = action | resource << 8 | controller << 16, .cdw11 = count};
    int status = ioctl(device, NVME_IOCTL_ADMIN_CMD, &command);

    if (status) printf("vf: controller %u, action %u: status 0x%x\n", controller, action, (unsigned)status);
    return status;
}

static int release(int device) {
    return manage(device, at(0, 2), QUEUES, PRIMARY_ALLOCATE, 0) ||
           manage(device, at(0, 2), INTERRUPTS, PRIMARY_ALLOCATE, 0);
}

static int give(int device, int count) {
    int failed = count > list[0];

    for (int i = 0; i < count && !failed; i++)
        failed = manage(device, at(i, 0), QUEUES, ASSIGN, 2) || manage(device, at(i, 0), INTERRUPTS, ASSIGN, 1) ||
                 manage(device, at(i, 0), QUEUES, ONLINE, 0);
    return failed;
}

/* Switched off, all registers but the status read 0; where no function answers, 0 or ones. */
static int wait_for(const char *function) {
    char path[80];
    volatile uint32_t *registers;
    int memory;

    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/enable", function);
    memory = open(path, O_WRONLY);
    if (memory < 0 || write(memory, "1", 1) != 1) return 1;
    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource0", function);
    memory = open(path, O_RDWR);
    registers = mmap(NULL, 4096, PROT_READ, MAP_SHARED, memory, 0);
    if (registers == MAP_FAILED) return 1;
    for (;;) {
        uint32_t capabilities = registers[0], status = registers[7];

        if (capabilities != 0 && capabilities != ~0u && !(status & 2)) return 0;
        usleep(100000);
    }
}

int main(int argc, char **argv) {
    struct nvme_admin_cmd identify = {
        .opcode = IDENTIFY, .addr = (uintptr_t)list, .data_len = sizeof(list), .cdw10 = SECONDARIES};
    int device;

    if (argc == 3 && !strcmp(argv[1], "wait")) return wait_for(argv[2]);
    if (argc < 3) return 2;
    device = open(argv[2], O_RDWR);
    if (device < 0 || ioctl(device, NVME_IOCTL_ADMIN_CMD, &identify)) {
        perror(argv[2]);
        return 1;
    }
    return argc == 4 ? give(device, atoi(argv[3])) : release(device);
}
