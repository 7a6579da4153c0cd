// How soon the allocator gives freed memory back to the system: after a tenth of a second rather than a second.
//
// Under full load commits and upkeep free as much memory in a second as is in use at a time, so the most that the
// process holds is an eighth less (`docs/limits.md`); queries that follow each other keep theirs, which they would
// not if it was given back at once. MIMALLOC_PURGE_DELAY in the environment, in milliseconds, goes before.
//
// This is C because the allocator takes options from the environment, which is too late to change for a process
// that runs, or from a function that Rust calls unsafe.

#include <mimalloc.h>

__attribute__((constructor)) static void set_options(void) {
  mi_option_set_default(mi_option_purge_delay, 100);
}
