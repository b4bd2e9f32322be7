//! Draws a run: the machine, the kernel, its parameters and its commands. A seed and a number decide all of it.

use std::fmt;

use super::random::Random;
use crate::machine::options::Memory;
use crate::status::{Error, Result};

/// CPUs to draw from unless the user says so: small machines more often, as runs on them are shorter.
const CPUS: [u16; 14] = [1, 1, 2, 2, 2, 3, 4, 4, 6, 8, 12, 16, 32, 64];
/// Memory to draw from unless the user says so.
const MEMORY: [&str; 8] = ["96M", "128M", "256M", "512M", "1G", "2G", "4G", "12G"];
/// The least of it, below which firmware and loader hang.
pub(super) const LEAST_MEMORY: Memory = Memory { mebibytes: 96 };
/// The bits of all cases of `test_vmalloc`.
const CASES: u64 = 13;
/// The bit of `full_fit_alloc_test`.
const FULL_FIT: u32 = 2;

/// Tunables, with their extremes, and the value that they have at first.
const TUNABLES: [(&str, &[&str], &str); 9] = [
    ("tlb.single_page_flush_ceiling", &["0", "1", "512"], "33"),
    ("vmalloc.lazy_max_pages", &["1", "64", "8589934592"], "0"),
    ("vmalloc.purge_priority", &["1", "1000"], "2"),
    ("vmalloc.quarantine_pages", &["1", "500", "8589934592"], "0"),
    ("vmalloc.table_reserve", &["0", "1", "16"], "8"),
    ("vmalloc.drain", &["0"], "1"),
    ("vmalloc.reuse", &["0"], "1"),
    ("vmalloc.check_slack", &["1"], "0"),
    ("vmalloc.remember", &["64", "32768"], "0"),
];

/// Commands that look at things, or give things back.
const LOOKS: [&str; 15] = [
    "vmallocinfo totals",
    "vmallocinfo",
    "meminfo",
    "tlbinfo",
    "tlbinfo reset",
    "lockinfo",
    "lockinfo reset",
    "cpus",
    "top",
    "trim",
    "perf trim",
    "sysctl",
    "whatis 0xffffc90000001000",
    "whatis 0xffffc90000200000",
    "help",
];

/// What the user lets be drawn.
#[derive(Clone, Debug)]
pub(super) struct Choices {
    cpus: Vec<u16>,
    memory: Vec<Memory>,
}

impl Choices {
    /// What the user's lists say; all if they are empty.
    pub fn of(cpus: &[u16], memory: &[Memory]) -> Result<Self> {
        if let Some(few) = memory.iter().find(|&&memory| memory < LEAST_MEMORY) {
            return Err(Error::usage(format!(
                "--memory {few}: firmware and loader need at least {LEAST_MEMORY}"
            )));
        }
        let all = || MEMORY.iter().map(|text| text.parse().expect("it is a size")).collect();
        Ok(Self {
            cpus: if cpus.is_empty() { CPUS.to_vec() } else { cpus.to_vec() },
            memory: if memory.is_empty() { all() } else { memory.to_vec() },
        })
    }
}

/// One run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub cpus: u16,
    pub memory: Memory,
    /// The kernel with debug assertions.
    pub checked: bool,
    /// Kernel parameters.
    pub parameters: String,
    /// Console commands.
    pub commands: String,
    /// Whether the calls of a trace are among them.
    pub replays: bool,
}

impl Plan {
    /// Draws a run.
    pub fn draw(seed: u64, run: u64, choices: &Choices) -> Self {
        let random = &mut Random::new(seed, run);
        let cpus = random.pick(&choices.cpus);
        let memory = random.pick(&choices.memory);
        let checked = random.one_in(2);
        let replays = random.one_in(3);
        let mut plan =
            Self { cpus, memory, checked, replays, parameters: String::new(), commands: String::new() };
        plan.parameters = plan.draw_parameters(random);
        plan.commands = plan.draw_commands(random);
        plan
    }

    /// Whether memory may run out: then what fails for that reason is right.
    pub fn is_small(&self) -> bool {
        // `latency` frees an area of 1 GiB then.
        let area = if self.commands.contains("free=area") { 1024 } else { 0 };
        let numbers = |name| {
            let words = self.commands.split([' ', ';']);
            words.filter_map(move |word| word.strip_prefix(name)?.strip_prefix('=')?.parse::<u32>().ok())
        };
        let threads = numbers("nr_threads").max().unwrap_or(0).max(u32::from(self.cpus));
        // `full_fit_alloc_test` makes two times 8192 areas of a page, once more for each doubling of the CPUs.
        let full_fit = numbers("run_test_mask").any(|mask| mask & FULL_FIT != 0);
        let of_thread = if full_fit { (64 * (1 + self.cpus.ilog2())).max(160) } else { 160 };
        self.memory.mebibytes < threads.saturating_mul(of_thread).saturating_add(768 + area)
    }

    fn draw_parameters(&self, random: &mut Random) -> String {
        let mut words = Vec::new();
        if self.cpus > 1 && random.one_in(3) {
            // The last one, or the upper half; never the first.
            let first = if random.one_in(2) { self.cpus - 1 } else { self.cpus.div_ceil(2) };
            let isolated: Vec<String> = (first..self.cpus).map(|cpu| cpu.to_string()).collect();
            words.push(format!("isolated={}", isolated.join(",")));
        }
        if random.one_in(3) {
            words.extend(assignments(random, 2));
        }
        words.join(" ")
    }

    fn draw_commands(&self, random: &mut Random) -> String {
        let mut commands = vec!["balance mark".to_owned()];
        let mut tuned = assignments(random, 3);
        if random.one_in(3) {
            tuned.push("lock.stat=1".into());
        }
        if !tuned.is_empty() {
            commands.push(format!("sysctl {}", tuned.join(" ")));
        }
        let traced = random.one_in(3);
        if traced {
            commands.push(random.pick(&["trace on", "trace on", "trace purges"]).into());
        }
        for _ in 0..1 + random.below(2) {
            commands.push(self.draw_loads(random));
            for _ in 0..random.below(5) {
                commands.push(self.draw_command(random));
            }
        }
        if traced {
            commands.push("trace off".into());
        }
        if random.one_in(4) {
            // The others judge by times, which a busy computer spoils.
            commands.push(format!("history {}", random.pick(&["overflow-race", "vmap-exhaust"])));
        }
        // As it was before: what is left then was left behind.
        let defaults = TUNABLES.iter().map(|(name, _, at_first)| format!(" {name}={at_first}"));
        commands.push(format!("sysctl lock.stat=0{}", defaults.collect::<String>()));
        commands.extend(["trace clear", "top clear", "hold 0", "balance"].map(str::to_owned));
        commands.join("; ")
    }

    /// Loads that run beside each other.
    fn draw_loads(&self, random: &mut Random) -> String {
        let mask = 1 + random.below((1 << CASES) - 1);
        let few = if self.checked { 200 } else { 800 };
        let loops = (few / u64::from(self.cpus)).max(5);
        let threads = random.pick(&[0, 0, u64::from(self.cpus), 2 * u64::from(self.cpus), 3]);
        let mut loads = vec![format!(
            "test_vmalloc mode=stress test_repeat_count={} test_loop_count={loops} run_test_mask={mask} \
             nr_pcpu_objects={} nr_pages={}",
            1 + random.below(2),
            random.pick(&[50, 500]),
            random.pick(&[0, 0, 2, 17, 600]),
        )];
        if threads > 0 {
            loads[0] += &format!(" nr_threads={threads}");
        }
        if random.one_in(2) {
            let freed = random.pick(&["", "", " free=lazy", " free=area"]);
            let cases = random.pick(&["", "", " load=1", " load=1024"]);
            loads.push(format!("latency seconds={}{freed}{cases}", 1 + random.below(3)));
        }
        if self.replays {
            loads.push("replay".into());
        }
        if random.one_in(2) {
            loads.push(format!("floor loops={} nr_pages={}", few, random.pick(&[1, 16, 512])));
        }
        if random.one_in(3) {
            loads.push(format!("hold {}", 1 + random.below(300)));
        }
        loads.join(" & ")
    }

    /// Any command that leaves nothing behind, or nothing that is not taken back in the end.
    fn draw_command(&self, random: &mut Random) -> String {
        match random.below(10) {
            0 => format!("hold {}", random.below(500)),
            1 => format!("sysctl {}", assignments(random, 1).join(" ")),
            2 => "top mark".into(),
            3 => "trace dump | grep purge".into(),
            4 => {
                let profiled = random.pick(&["", "perf "]);
                let (pages, contiguous) = (random.pick(&[1, 17, 513, 5000]), random.below(2));
                format!("{profiled}vmap_loop loops=20 nr_pages={pages} contiguous={contiguous}")
            }
            _ => random.pick(&LOOKS).into(),
        }
    }
}

/// So many tunables at one of their extremes, or fewer if one is drawn twice.
fn assignments(random: &mut Random, most: usize) -> Vec<String> {
    let mut drawn: Vec<(&str, &str)> = Vec::new();
    for _ in 0..most {
        let (name, values, _) = random.pick(&TUNABLES);
        let value = random.pick(values);
        if drawn.iter().all(|(known, _)| *known != name) {
            drawn.push((name, value));
        }
    }
    drawn.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// Writes the machine and the kernel, and how many commands there are.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpus, memory, checked, parameters, commands, .. } = self;
        write!(f, "{cpus} CPUs, {memory}, {}", if *checked { "debug" } else { "release" })?;
        if !parameters.is_empty() {
            write!(f, ", {parameters}")?;
        }
        write!(f, ", {} commands", commands.split([';', '&']).count())
    }
}
