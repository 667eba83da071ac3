# Coverage of the pure code by its unit tests. Included by the Makefile.

CVFLAGS := -std=gnu11 -O0 -g -DHOST_BUILD --coverage $(filter-out -Wframe-larger-than=%,$(WARN)) -Itest/fake -I.
LCOV    := lcov --quiet --rc lcov_branch_coverage=1
# Inline functions count where their header lies.
COVERED := $(patsubst %.c,*/%.*,$(filter-out $(O)/%,$(PURE))) '*/core/base/*.h' '*/core/vdev/*.h' '*/core/config/*.h'

.PHONY: coverage
## make coverage      lines and branches of the pure code that unit tests reach; pages in build/coverage
coverage:
	@$(MAKE) --no-print-directory -j$(shell nproc) O=$(O)/cov UTFLAGS='$(CVFLAGS)' unit-build >/dev/null
	@find $(O)/cov -name '*.gcda' -delete
	@$(MAKE) --no-print-directory O=$(O)/cov UTFLAGS='$(CVFLAGS)' unit >$(O)/cov/unit.log 2>&1 || { cat $(O)/cov/unit.log; exit 1; }
	@$(LCOV) --capture --directory $(O)/cov --output-file $(O)/cov/all.info 2>$(O)/cov/lcov.log || { cat $(O)/cov/lcov.log; exit 1; }
	@$(LCOV) --extract $(O)/cov/all.info $(COVERED) --output-file $(O)/cov/pure.info
	@genhtml --quiet --branch-coverage --title "Mullion: pure code" --prefix $(CURDIR) --output-directory $(O)/coverage $(O)/cov/pure.info
	@$(PYTHON) -B test/coverage.py $(O)/cov/pure.info --lines 95 --branches 85
