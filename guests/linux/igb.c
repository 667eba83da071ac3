/* The physical function's part for virtual functions of an Intel 82576 that the hypervisor has enabled, for tests/igb:
 * the kernel's driver serves only those that it has enabled itself.
 *
 *     igb FUNCTION     lets virtual function 0 send and receive, and answers its driver (igbvf) until it is killed
 *
 * Source: Intel 82576EB Datasheet: Programming Interface; Virtualization, VF Mailbox. What the two drivers say to each
 * other is Linux's: a message has its kind in the low half, an answer bit 31 for yes, and bit 29 once the function may
 * go on. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    STATUS = 8,
    MDIC = 0x20,
    CTRL_EXT = 0x18,
    RCTL = 0x100,
    TCTL = 0x400,
    RAL = 0x5408,
    RAH = 0x540c,
    GPIE = 0x1514,
    MRQC = 0x5818,
    VT_CTL = 0x581c
};
enum { VMOLR = 0x5ad0, MAILBOX = 0xc00, MEMORY = 0x800, MAILBOX_CAUSE = 0xc80, VFRE = 0xc8c, VFTE = 0xc90 };
enum { RESET_DONE = 1 << 14, RECEIVE = 1 << 1, TRANSMIT = 1 << 1, VMDQ = 3, REPLICATE = 1 << 30 };
enum { UNTAGGED = 1 << 24, BROADCAST = 1 << 27, POOL_0 = 1 << 18 };
enum { LINK = 1 << 1, SEND = 1, ACKNOWLEDGE = 2, REQUEST = 1 };
enum { SAY_RESET = 1, SAY_HELLO = 0x100 };
/* To the PHY's control register: negotiate, and begin anew. */
#define NEGOTIATE (1u << 26 | 1u << 21 | 0x1200)
#define MSIX_MODE (1u << 4 | 1u << 30 | 1u << 31) /* GPIE: an interrupt is off once it is sent */
#define VALID     (1u << 31)
#define YES       (1u << 31)
#define GO_ON     (1u << 29)
#define BYTES     0x20000
#define POLL_US   1000
#define HELLO_US  500000

static const uint8_t mac[8] = {0x52, 0x54, 0, 0x76, 0x66, 0x30};
static volatile uint32_t *registers;

static uint32_t get(unsigned reg) { return registers[reg / 4]; }
static void put(unsigned reg, uint32_t value) { registers[reg / 4] = value; }

/* Pool 0 is the function's; what it sends to others here comes back to them. */
static void open_pool(void) {
    uint32_t words[2];

    memcpy(words, mac, sizeof(words));
    put(RAL, words[0]);
    put(RAH, words[1] | POOL_0 | VALID);
    put(MRQC, VMDQ);
    put(VT_CTL, REPLICATE);
    put(GPIE, MSIX_MODE);
    put(VMOLR, UNTAGGED | BROADCAST | 1522);
    put(VFRE, 1);
    put(VFTE, 1);
    put(TCTL, get(TCTL) | TRANSMIT);
    put(RCTL, get(RCTL) | RECEIVE);
    put(CTRL_EXT, get(CTRL_EXT) | RESET_DONE);
}

static void say(uint32_t word, int with_mac) {
    uint32_t words[2];

    memcpy(words, mac, sizeof(words));
    put(MEMORY, word);
    for (unsigned i = 0; with_mac && i < 2; i++) put(MEMORY + 4 + 4 * i, words[i]);
    put(MAILBOX, SEND);
}

static void serve(void) {
    unsigned idle = 0;
    uint32_t word;

    for (;; usleep(POLL_US)) {
        if (!(get(MAILBOX_CAUSE) & REQUEST)) {
            idle += POLL_US;
            if (idle % HELLO_US == 0) say(SAY_HELLO | GO_ON, 0);
            continue;
        }
        put(MAILBOX_CAUSE, REQUEST);
        word = get(MEMORY);
        put(MAILBOX, ACKNOWLEDGE);
        if ((word & 0xffff) == SAY_RESET) open_pool();
        say(word | YES | ((word & 0xffff) == SAY_RESET ? 0 : GO_ON), (word & 0xffff) == SAY_RESET);
        printf("igb: answered 0x%x\n", (unsigned)word);
        fflush(stdout);
    }
}

int main(int argc, char **argv) {
    static const uint8_t command[2] = {6, 4}; /* memory, bus master; no line */
    char path[96];
    int file;

    if (argc != 2) return 2;
    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", argv[1]);
    file = open(path, O_RDWR);
    if (file < 0 || pwrite(file, command, sizeof(command), 4) != sizeof(command)) {
        perror(path);
        return 1;
    }
    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource0", argv[1]);
    file = open(path, O_RDWR);
    registers = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (file < 0 || registers == MAP_FAILED) {
        perror(path);
        return 1;
    }
    open_pool();
    put(MDIC, NEGOTIATE);
    while (!(get(STATUS) & LINK)) usleep(POLL_US);
    printf("igb: serving\n");
    fflush(stdout);
    serve();
}
