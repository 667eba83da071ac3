# Coverage of the pure code by its unit tests. Included by the Makefile.

# __gcov_dump: test/fake/child.h calls it in each child, if it is there.
CVFLAGS := -std=gnu11 -O0 -g -DHOST_BUILD --coverage -Wl,-u,__gcov_dump $(filter-out -Wframe-larger-than=%,$(WARN)) -Itest/fake -I.
LCOV    := lcov --quiet --rc lcov_branch_coverage=1
# Inline functions count where their header lies.
COVERED := $(patsubst %.c,*/%.*,$(filter-out $(O)/%,$(PURE))) '*/core/base/*.h' '*/core/vdev/*.h' '*/core/config/*.h'

.PHONY: coverage
## make coverage      lines and branches of the pure code that unit tests reach; pages in build/coverage
coverage: setup-test
	@mkdir -p $(O)/cov; echo '$(CVFLAGS)' | cmp -s - $(O)/cov/flags || { rm -rf $(O)/cov/unit; echo '$(CVFLAGS)' >$(O)/cov/flags; }
	@$(MAKE) --no-print-directory -j$(shell nproc) O=$(O)/cov UTFLAGS='$(CVFLAGS)' unit-build >/dev/null
	@find $(O)/cov/unit -name '*.gcda' -delete
	@$(MAKE) --no-print-directory O=$(O)/cov UTFLAGS='$(CVFLAGS)' unit >$(O)/cov/unit.log 2>&1 || { cat $(O)/cov/unit.log; exit 1; }
	@$(LCOV) --capture --directory $(O)/cov/unit --output-file $(O)/cov/all.info 2>$(O)/cov/lcov.log || { cat $(O)/cov/lcov.log; exit 1; }
	@$(LCOV) --extract $(O)/cov/all.info $(COVERED) --output-file $(O)/cov/pure.info
	@genhtml --quiet --branch-coverage --title "Mullion: pure code" --prefix $(CURDIR) --output-directory $(O)/coverage $(O)/cov/pure.info
	@$(PYTHON) -B test/coverage.py $(O)/cov/pure.info --lines 95 --branches 85

# --- inside the emulators: the hypervisor counts, and test/coverage/stream.c sends the counters out. Not -O0, which is much
# slower still.
HVCOUNT := -O1 -Wno-frame-larger-than -fprofile-arcs -ftest-coverage -fprofile-update=atomic -fprofile-info-section=gcov_info
HVWRAP  := uart_get uart_flush panic_stops_others trap
COVHV    = O=$(O)/cov HVMORE='$(HVCOUNT)' HVEXTRA='$(O)/cov/stream.o' HVLINK='$(HVWRAP:%=-Wl,--wrap=%) -lgcov'
# Boot tests that together reach what all of them do: the others would only take longer. What none reaches any more is told at the end; the
# test that does belongs here. Not for an image that counts: what it may write, what it costs, timers that are faster than it.
COVTESTS ?= test_refuse.py test_tables.py test_parameters.py test_screen.py test_numa.py test_inventory.py test_boot.py test_sriov.py \
            $(addprefix test_attack.py::,test_attack test_leftovers test_crowd test_task_switch test_deeds[svm]) \
            $(addprefix test_console.py::,test_lines_stay_whole test_keyboard) test_control.py::test_orders \
            $(addprefix test_faults.py::,test_older_and_newer test_machine_check test_no_local_apic test_little_memory[svm-4]) \
            $(addprefix test_large.py::,test_memory_in_pieces test_five_level_paging) test_loaders.py::test_grub[svm] \
            $(addprefix test_pci.py::,test_bare_guest test_behind_a_bridge test_refused test_not_confined test_linux_drives_devices[intel-svm] \
            test_unprotected_vmx test_no_iommu_vmx) test_restart.py::test_restart[svm] test_vmx.py::test_delivery_through_nothing
ALLHV   := '$(CURDIR)/boot/*' '$(CURDIR)/core/*' '$(CURDIR)/drivers/*' '$(CURDIR)/mm/*' '$(CURDIR)/svm/*' '$(CURDIR)/vmx/*'

$(O)/cov/stream.o: test/coverage/stream.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(HVFLAGS) -c $< -o $@
.PHONY: coverage-image coverage-emulators coverage-report
coverage-image: $(O)/cov/stream.o
	@$(MAKE) --no-print-directory -j$(shell nproc) $(COVHV) $(O)/cov/mullion.elf
## make coverage-emulators  unit tests and boot tests on both vendors, all of the hypervisor; pages in build/coverage-all
coverage-emulators: setup-test
	@$(MAKE) --no-print-directory images stock
	@$(MAKE) --no-print-directory coverage coverage-image
	@find $(O)/cov/hv -name '*.gcda' -delete
	@rm -f $(O)/cov/emulators.log
	@MULLION_COVERAGE=1 MULLION=$(O)/cov/mullion.elf MULLION_PATIENCE=5 $(PYTEST) -q -m "not long" $(COVTESTS:%='test/boot/%'); \
	  passed=$$?; $(MAKE) --no-print-directory coverage-report && exit $$passed
coverage-report:
	@$(LCOV) --capture --directory $(O)/cov/hv --output-file $(O)/cov/emulators.info 2>$(O)/cov/lcov.log || { cat $(O)/cov/lcov.log; exit 1; }
	@$(LCOV) -a $(O)/cov/all.info -a $(O)/cov/emulators.info --output-file $(O)/cov/both.info
	@$(LCOV) --extract $(O)/cov/both.info $(ALLHV) --output-file $(O)/cov/hypervisor.info
	@genhtml --quiet --branch-coverage --title "Mullion: tests on the host and in the emulators" --prefix $(CURDIR) \
	  --output-directory $(O)/coverage-all $(O)/cov/hypervisor.info
	@$(PYTHON) -B test/coverage.py $(O)/cov/hypervisor.info
	@$(PYTHON) -B test/coverage/functions.py $(O)/cov/hypervisor.info
