/* The machine as text: what a person starts from who writes a partition file. */
#pragma once

/* Prints a partition file that gives everything to one partition, commented, with the machine's facts in lines that
 * begin with "#:" (see docs/partition-file.md). Boot core, after passthrough_discover. */
void inventory_print(void);
