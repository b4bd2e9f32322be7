//! Reads what the kernel printed once.

use super::*;

const AREA_CACHE: &str = "\
area-cache:
per allocation, over 1000; under --icount=SHIFT an instruction takes 2^SHIFT cycles
         |  search from the start   |   cached search start    |
    pile |      steps        cycles |      steps        cycles | places
    1000 |       13.2        262247 |        1.0        159488 | equal
   32000 |      255.9       1098816 |        1.0        159155 | equal
";

const OVERFLOW_RACE: &str = "\
overflow-race:
2 threads fill 4 blocks all but 64 pages, and free at random
                                      allocations    overflows   failed though room was
one purge, waiting for nobody's            840694       100000                    94870
a ticket                                  1740694       100001                        0
";

const VMAP_EXHAUST: &str = "\
vmap-exhaust:
single pages by vm_map_ram, until the range of 30720 pages is full
                                         mapped   read right mapped again
a guard page behind each block            15360        15360        15360
packed, with one of 128 pages             30592        30592        30592
";

const PURGE_LATENCY: &str = "\
purge-latency:
2 CPUs allocate and free up to 64 pages; lazy_max is 16384 pages
the purge                     peak / lazy_max   purges   longest with preemption off
never yields                              1.0       43   18245 us, from kernel/vmalloc/src/reclaim/purge.rs:38:101
us:pages 3129:366 17722:8017
always yields                    6.0, stopped        1   4717 us, from kernel/src/threads/scheduler/run_queue.rs:83:19
us:pages 424:165 529:1027 632:-5
";

const PAGETABLE_FREE: &str = "\
pagetable-free:
48 GiB of address space, 4800 blocks with a page each: their page tables go
                                     tables  flushes  longest with preemption off
all at once                            4847        2         394754176 cycles (394753 us)
in batches of 8 on the stack           4848        7            822848 cycles (822 us)
";

#[test]
fn costs_over_a_pile_are_read_as_instructions() {
    let piles = piles(AREA_CACHE).unwrap();
    assert_eq!(piles.len(), 2);
    let last = Pile {
        pile: 32_000,
        steps_from_start: 255.9,
        instructions_from_start: 17_169.0,
        steps_cached: 1.0,
        instructions_cached: 159_155.0 / 64.0,
    };
    assert_eq!(piles[1], last);
}

#[test]
fn races_and_full_ranges_are_read_whatever_their_names() {
    let races = races(OVERFLOW_RACE).unwrap();
    assert_eq!((&*races[0].rule, races[0].failures), ("one purge, waiting for nobody's", 94_870));
    assert_eq!((&*races[1].rule, races[1].allocations), ("a ticket", 1_740_694));
    let filled = filled(VMAP_EXHAUST).unwrap();
    assert_eq!((&*filled[1].guards, filled[1].mapped), ("packed, with one of 128 pages", 30_592));
}

#[test]
fn pages_that_waited_are_read_with_their_samples() {
    let purged = purged(PURGE_LATENCY).unwrap();
    let [never, always] = &purged[..] else { panic!("{purged:?}") };
    assert_eq!((&*never.policy, never.peak, never.ran_away), ("never yields", 1.0, false));
    assert_eq!((&*always.policy, always.peak, always.ran_away), ("always yields", 6.0, true));
    assert_eq!((never.lazy_max, never.purges, never.longest), (16_384, 43, 18_245));
    assert_eq!(never.samples, [(3129, 366), (17_722, 8017)]);
    assert_eq!(always.samples[2], (632, -5));
    let text = serde_json::to_string(&purged).unwrap();
    assert!(text.contains("\"3129:366 17722:8017\""), "{text}");
    assert_eq!(serde_json::from_str::<Vec<Purged>>(&text).unwrap(), purged);
}

#[test]
fn freed_tables_are_read_with_their_sections() {
    let freed = freed(PAGETABLE_FREE).unwrap();
    assert_eq!((&*freed[0].pieces, freed[0].instructions), ("all at once", 394_754_176.0 / 64.0));
    assert_eq!((freed[1].tables, freed[1].flushes), (4848, 7));
}

/// A kernel that prints something else is not read as if it did not.
#[test]
fn a_line_that_is_not_as_it_should_be_is_quoted() {
    assert!(
        piles(&AREA_CACHE.replace("159155 | equal", "159155 | DIFFERENT")).unwrap_err().contains("DIFFERENT")
    );
    assert!(races(&OVERFLOW_RACE.replace("94870", "many")).unwrap_err().contains("many"));
    assert!(filled(&VMAP_EXHAUST.replace("15360", "")).is_err());
    assert!(freed(&PAGETABLE_FREE.replace("cycles", "")).is_err());
    let less = PURGE_LATENCY.replace("us:pages 3129:366 17722:8017\n", "");
    assert_eq!(purged(&less).unwrap_err(), "printed 1 lines of samples for 2 policies");
    assert!(purged(&PURGE_LATENCY.replace("529:", "529;")).is_err());
}
