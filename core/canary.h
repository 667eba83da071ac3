/* The stack protector's canary. */
#pragma once

/* Chooses this boot's value. Boot core, on the first page tables, from a function that does not
 * return: the frames that stand then would fail their check. */
void canary_choose(void);
