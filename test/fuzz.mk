# Fuzzers: libFuzzer with ASan and UBSan over the pure code. Included by the Makefile.

TIME    ?= 60 # seconds for each fuzzer
RUNS    ?= 20000
FZCC    := clang
FZFLAGS := -std=gnu11 -O1 -g -DHOST_BUILD -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all \
           -fno-omit-frame-pointer -Wall -Wextra -Werror -Wno-gnu-zero-variadic-macro-arguments -Itest/fake -I.
FUZZERS := $(patsubst test/fuzz/fuzz_%.c,%,$(sort $(wildcard test/fuzz/fuzz_*.c)))
FZOBJS  := $(patsubst %.c,$(O)/fuzz/%.o,$(PURE) $(TOOLED))
# Beside the pure code: core on the fake machine, and the vendors' exit decoders.
FZMORE_core     := $(patsubst %.c,$(O)/fuzz/%.o,$(FAKED))
FZMORE_svm_exit := $(O)/fuzz/svm/exit.o
FZMORE_vmx_exit := $(O)/fuzz/vmx/exit.o
.SECONDARY: $(FZOBJS) $(FUZZERS:%=$(O)/fuzz/test/fuzz/fuzz_%.o) $(FZMORE_core) $(FZMORE_svm_exit) $(FZMORE_vmx_exit)
.PHONY: fuzz fuzz-short $(FUZZERS:%=fuzz-%) $(FUZZERS:%=fuzz-short-%)

$(O)/fuzz/%.o: %.c
	@mkdir -p $(@D)
	$(Q)$(FZCC) $(FZFLAGS) -MMD -MP -c $< -o $@
$(foreach f,core svm_exit vmx_exit,$(eval $(O)/fuzz/fuzz_$(f): $(FZMORE_$(f))))
$(O)/fuzz/fuzz_%: $(O)/fuzz/test/fuzz/fuzz_%.o $(FZOBJS)
	$(Q)$(FZCC) -fsanitize=fuzzer,address,undefined $^ -o $@ $(FZLIBS)
$(O)/fuzz/fuzz_insn_capstone: FZLIBS := -lcapstone

# What all runs share. An input that fails is left under build/fuzz/ with the fuzzer's name.
fuzz_run = $(O)/fuzz/fuzz_$* -artifact_prefix=$(O)/fuzz/$*- -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
           -max_len=$(or $(FUZZ_LEN_$*),1024) $(if $(wildcard test/fuzz/$*.dict),-dict=test/fuzz/$*.dict)
FUZZ_LEN_config := 2048
FUZZ_LEN_pagetable := 512
FUZZ_LEN_insn_capstone := 24
FUZZ_LEN_acpi   := 2048
FUZZ_LEN_image  := 4096
# Their models go clock by clock and second by second.
FUZZ_LEN_vpit   := 256
FUZZ_LEN_vrtc   := 256
# Each input restarts a partition.
FUZZ_RUNS_core  := 2000
FUZZ_RUNS_vpic  := 5000
FUZZ_RUNS_vpit  := 2000
FUZZ_RUNS_vrtc  := 2000
FUZZ_RUNS_vuart := 5000
FUZZ_RUNS_vmtrr := 5000
fuzz_seeds = $(wildcard test/fuzz/seeds/$*)
# The log is shown whole after a failure, else as one line.
fuzz_report = >$(O)/fuzz/$*.log 2>&1 || { cat $(O)/fuzz/$*.log; exit 1; }; \
              awk '/ cov: /{ c=$$0 } /number_of_executed_units/{ n=$$2 } END { sub(/.* cov: /, "", c); \
                   sub(/ .*/, "", c); printf "fuzz: %-10s %9d runs, %5d edges, no finding\n", "$*", n, c }' $(O)/fuzz/$*.log

## make fuzz          each fuzzer for TIME=60 seconds, also after a finding; what it learns stays in build/fuzz/corpus
fuzz: setup-test
	@$(MAKE) --no-print-directory -k $(FUZZERS:%=fuzz-%)
$(FUZZERS:%=fuzz-%): fuzz-%: $(O)/fuzz/fuzz_%
	@mkdir -p $(O)/fuzz/corpus/$*
	@$(fuzz_run) -max_total_time=$(strip $(TIME)) $(O)/fuzz/corpus/$* $(fuzz_seeds) $(fuzz_report)
## make fuzz-short    each fuzzer a bounded number of times (RUNS=20000), the same inputs every time
fuzz-short: $(FUZZERS:%=fuzz-short-%)
$(FUZZERS:%=fuzz-short-%): fuzz-short-%: $(O)/fuzz/fuzz_%
	@rm -rf $(O)/fuzz/short/$* && mkdir -p $(O)/fuzz/short/$*
	@$(fuzz_run) -runs=$(or $(FUZZ_RUNS_$*),$(strip $(RUNS))) -seed=1 $(O)/fuzz/short/$* $(fuzz_seeds) $(fuzz_report)
