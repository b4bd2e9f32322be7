//! What is measured: the cases of the driver, sizes, numbers of live areas, loops.

use serde::{Deserialize, Deserializer, Serialize, de};

use super::figure::System;

/// The cases that are timed, and the loops of a worker of Linux's: about a second's work for each.
pub const TIMED: [(u64, u64); 6] =
    [(FIX_SIZE, 200_000), (2, 200_000), (4, 20_000), (8, 20_000), (VM_MAP_RAM, 200_000), (4096, 10_000)];

/// Times as many loops a worker of this kernel runs, which is faster: in fewer, starting the threads would be much of what
/// is measured.
pub const TIMED_MORE: u64 = 10;

/// CPUs of the machines that are timed, with a worker for each.
pub const TIMED_CPUS: [u16; 3] = [1, 2, 4];

/// Times that each timed case is run; the median counts.
pub const ROUNDS: usize = 3;

/// Loops of the two runs of a case whose difference is counted.
pub const COUNTED_LOOPS: [u64; 2] = [10_000, 20_000];

/// Pages that the cases with sizes are run with.
pub const SIZES: [u64; 6] = [1, 4, 16, 64, 256, 512];

/// One-page areas that are held while others come and go.
pub const LIVE_AREAS: [u64; 4] = [1_000, 10_000, 100_000, 1_000_000];

/// Case 1: the simplest loop.
pub const FIX_SIZE: u64 = 1;
/// The case of objects for each CPU, which counts objects, not loops.
pub const PCPU: u64 = 128;
/// The case of mappings of the caller's frames.
pub const VM_MAP_RAM: u64 = 1024;

/// No case of the driver: the kernel's command `vmap`, which maps frames of which 2 MiB are contiguous.
pub const VMAP: u64 = 0;
/// Its name.
const VMAP_NAME: &str = "vmap";
/// Pages of it: 64 MiB.
const VMAP_PAGES: u64 = 16_384;
/// Loops of its two runs, each as long as many of the others.
const VMAP_LOOPS: [u64; 2] = [100, 200];

/// The cases that have loops, by their bits in `run_test_mask`, and those whose memory is zeroed. The list repeats
/// `kernel/src/test_vmalloc/cases.rs` by hand; no test compares the two.
const CASES: [(u64, &str, bool); 12] = [
    (FIX_SIZE, "fix_size_alloc_test", false),
    (2, "full_fit_alloc_test", false),
    (4, "long_busy_list_alloc_test", false),
    (8, "random_size_alloc_test", false),
    (16, "fix_align_alloc_test", true),
    (32, "random_size_align_alloc_test", true),
    (PCPU, "pcpu_alloc_test", false),
    (256, "kvfree_rcu_1_arg_vmalloc_test", false),
    (512, "kvfree_rcu_2_arg_vmalloc_test", false),
    (VM_MAP_RAM, "vm_map_ram_test", false),
    (2048, "no_block_alloc_test", false),
    (4096, "vrealloc_test", false),
];

/// What the loops of a figure do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Subject {
    /// The case's bit in `run_test_mask`, or [`VMAP`].
    pub case: u64,
    /// The case's name.
    pub name: &'static str,
    /// Pages that cases 1 and 1024, and `vmap`, take.
    pub nr_pages: u64,
    /// Sets of pages that case 1024 maps in turn.
    pub nr_sets: u64,
    /// One-page areas held meanwhile.
    pub live_areas: u64,
    /// The memory is asked for full of zeros.
    pub zeroed: bool,
}

/// Refuses cases that are not known. Not derived, for the derived one would borrow the name for ever.
impl<'de> Deserialize<'de> for Subject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// A subject as a file has it.
        #[derive(Deserialize)]
        struct Written {
            case: u64,
            name: String,
            nr_pages: u64,
            #[serde(default = "one")]
            nr_sets: u64,
            live_areas: u64,
            zeroed: bool,
        }
        /// As they were before there could be others.
        fn one() -> u64 {
            1
        }
        let Written { case, name, nr_pages, nr_sets, live_areas, zeroed } =
            Written::deserialize(deserializer)?;
        let mut known = CASES.iter().map(|&(bit, name, _)| (bit, name)).chain([(VMAP, VMAP_NAME)]);
        let same = known.find(|known| *known == (case, name.as_str()));
        let (case, name) = same.ok_or_else(|| de::Error::custom(format!("no case {case} is {name}")))?;
        Ok(Self { case, name, nr_pages, nr_sets, live_areas, zeroed })
    }
}

impl Subject {
    /// A case as it is by default.
    ///
    /// # Panics
    /// If no case has this bit.
    #[must_use]
    pub fn new(case: u64) -> Self {
        let known = CASES.iter().find(|(bit, ..)| *bit == case);
        let &(case, name, zeroed) = known.expect("the bit is one of CASES");
        Self { case, name, nr_pages: 1, nr_sets: 1, live_areas: 0, zeroed }
    }

    /// All cases, those with zeroing once more without it, and mappings of the same page once more with two in turn.
    #[must_use]
    pub fn cases() -> Vec<Self> {
        let mut all = Vec::new();
        for (case, ..) in CASES {
            let subject = Self::new(case);
            all.push(subject.clone());
            if subject.zeroed {
                all.push(Self { zeroed: false, ..subject });
            } else if case == VM_MAP_RAM {
                all.push(Self { nr_sets: 2, ..subject });
            }
        }
        all
    }

    /// The cases that take a size, with each, and `vmap` with a large one.
    #[must_use]
    pub fn sizes() -> Vec<Self> {
        let of = |case| SIZES.map(|nr_pages| Self { nr_pages, ..Self::new(case) });
        let vmap = Self { case: VMAP, name: VMAP_NAME, nr_pages: VMAP_PAGES, ..Self::new(FIX_SIZE) };
        [&of(FIX_SIZE)[..], &of(VM_MAP_RAM), &[vmap]].concat()
    }

    /// The cases that there are without this kernel's library, too.
    #[must_use]
    pub fn instead() -> Vec<Self> {
        [FIX_SIZE, 2, 4, 8, VM_MAP_RAM].map(Self::new).to_vec()
    }

    /// The simplest loop among so many live areas.
    #[must_use]
    pub fn live() -> Vec<Self> {
        LIVE_AREAS.map(|live_areas| Self { live_areas, ..Self::new(FIX_SIZE) }).to_vec()
    }

    /// Whether the case is zeroed, but not this time.
    #[must_use]
    pub fn is_without_zeroing(&self) -> bool {
        !self.zeroed && CASES.contains(&(self.case, self.name, true))
    }

    /// Whether Linux's driver can do the same. It knows all cases up to 4096.
    #[must_use]
    pub fn is_linuxs(&self) -> bool {
        self.case != VMAP && self.nr_sets == 1 && self.live_areas == 0 && !self.is_without_zeroing()
    }

    /// Whether the command `floor` does the least work of this kind.
    #[must_use]
    pub fn has_floor(&self) -> bool {
        self.case != VMAP
    }

    /// Loops of the two runs whose difference is counted, so that set-up cancels.
    #[must_use]
    pub fn loops(&self) -> [u64; 2] {
        if self.case == VMAP { VMAP_LOOPS } else { COUNTED_LOOPS }
    }

    /// What the instructions of the case are counted for.
    #[must_use]
    pub fn unit(&self) -> &'static str {
        if self.case == PCPU { "instructions an object" } else { "instructions a loop" }
    }

    /// The console command that does the least work of this size, so many times.
    #[must_use]
    pub fn floor_command(&self, loops: u64) -> String {
        let owned = u8::from(self.case != VM_MAP_RAM);
        format!("floor nr_pages={} loops={loops} frames={owned}", self.nr_pages)
    }

    /// The driver's parameters for so many units of work by so many workers.
    #[must_use]
    pub fn parameters(&self, count: u64, workers: u16) -> Vec<(&'static str, u64)> {
        let counted = if self.case == PCPU { "nr_pcpu_objects" } else { "test_loop_count" };
        vec![
            ("run_test_mask", self.case),
            ("nr_threads", workers.into()),
            (counted, count),
            ("sequential_test_order", 1),
            ("nr_pages", self.nr_pages),
        ]
    }

    /// The console commands that do so much, the areas to be held first.
    #[must_use]
    pub fn commands(&self, count: u64, workers: u16) -> String {
        if self.case == VMAP {
            return format!("vmap_loop nr_pages={} loops={count}", self.nr_pages);
        }
        let mut commands = String::new();
        if self.live_areas > 0 {
            commands += &format!("hold {}; ", self.live_areas);
        }
        commands += "test_vmalloc";
        for (name, value) in self.parameters(count, workers) {
            commands += &format!(" {name}={value}");
        }
        if self.nr_sets > 1 {
            commands += &format!(" nr_sets={}", self.nr_sets);
        }
        if self.is_without_zeroing() {
            commands += " zero=0";
        }
        commands
    }
}

impl Subject {
    /// The console commands that do so much, with areas that the system makes: this kernel's library, or what stands in its
    /// place.
    #[must_use]
    pub fn commands_by(&self, system: System, count: u64, workers: u16) -> String {
        let instead = system.instead().map(|name| format!(" instead={name}"));
        self.commands(count, workers) + &instead.unwrap_or_default()
    }
}

/// How the subject is called in tables and messages.
impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)?;
        if self.nr_pages > 1 {
            write!(f, ", {} pages", self.nr_pages)?;
        }
        if self.nr_sets > 1 {
            write!(f, ", {} sets in turn", self.nr_sets)?;
        }
        if self.live_areas > 0 {
            write!(f, ", {} live areas", self.live_areas)?;
        }
        if self.is_without_zeroing() {
            f.write_str(", not zeroed")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_cases_are_measured_in_another_way_too() {
        let names: Vec<String> = Subject::cases().iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), CASES.len() + 3);
        assert!(names.contains(&"fix_align_alloc_test, not zeroed".into()));
        assert!(names.contains(&"vm_map_ram_test, 2 sets in turn".into()));
        let in_turn = Subject { nr_sets: 2, ..Subject::new(VM_MAP_RAM) };
        assert!(in_turn.commands(7, 1).ends_with(" nr_pages=1 nr_sets=2"));
        assert_eq!(Subject::new(16).commands(7, 1).matches("zero").count(), 0);
        let without = Subject { zeroed: false, ..Subject::new(16) };
        assert!(without.commands(7, 1).ends_with(" zero=0"));
        assert!(!Subject::new(1).commands(7, 1).contains("zero"), "never was");
    }

    #[test]
    fn commands_hold_areas_first_and_count_objects_where_there_are_no_loops() {
        let live = Subject { live_areas: 1000, ..Subject::new(FIX_SIZE) };
        assert_eq!(
            live.commands(10_000, 2),
            "hold 1000; test_vmalloc run_test_mask=1 nr_threads=2 test_loop_count=10000 \
             sequential_test_order=1 nr_pages=1"
        );
        let vmap = Subject::sizes().pop().expect("the last");
        assert_eq!(vmap.commands(vmap.loops()[0], 1), "vmap_loop nr_pages=16384 loops=100");
        assert!(!vmap.is_without_zeroing() && !vmap.is_linuxs());
        assert!(Subject::new(PCPU).commands(5, 1).contains(" nr_pcpu_objects=5 "));
    }
}
