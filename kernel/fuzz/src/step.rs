//! One step of a history: which CPU makes which call, in numbers that mean something in whatever state it comes to.
//!
//! A step names what it is about by a number that is reduced modulo what there is then, so each list of steps can be run,
//! and so can each list from which steps were left out: that is what shrinking needs.

use crate::random::Random;
use std::{fmt, str::FromStr};

/// Declares the calls: name, word, and how often it is drawn.
macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident $word:literal $weight:literal,)*) => {
        /// What a step does.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Call {
            $($(#[$doc])* $name,)*
        }

        impl Call {
            /// All calls.
            pub const ALL: &[Self] = &[$(Self::$name),*];
            const WEIGHTS: &[u32] = &[$($weight),*];
            const WEIGHT: u32 = 0 $(+ $weight)*;

            /// Returns the word that stands for it in a list of steps.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }
        }
    };
}

calls! {
    /// `allocate`: size, what it asks for, alignment.
    Allocate "allocate" 190,
    /// `vfree`: which area.
    Free "free" 150,
    /// `vrealloc`: which area, size.
    Resize "resize" 40,
    /// `set_protection`: which area, which pages, protection.
    Protect "protect" 40,
    /// A CPU reads and writes a page of an area.
    Use "use" 160,
    /// Who has asked for the frame of a page writes it by the direct map.
    UseFrame "use-frame" 15,
    /// A CPU goes to any address by itself.
    Speculate "speculate" 40,
    /// What the library says of an area is looked at.
    Look "look" 60,
    /// What the library says of any address is looked at.
    LookAnywhere "look-anywhere" 30,
    /// `vmap`: how many frames, from which on, protection.
    Vmap "vmap" 25,
    /// `ioremap`: where, size, memory type.
    Ioremap "ioremap" 10,
    /// `vunmap`: which area.
    Unmap "unmap" 30,
    /// `vm_map_ram`: how many frames, from which on, protection; or one frame, again and again.
    MapRam "map-ram" 50,
    /// `vm_unmap_ram`: which mapping.
    UnmapRam "unmap-ram" 50,
    /// `vm_unmap_aliases`; frames of the program's that nothing maps go back to the machine, and others are taken.
    UnmapAliases "unmap-aliases" 5,
    /// `allocate_congruent`: how many areas, their sizes, alignment.
    Congruent "congruent" 8,
    /// `populate`: which set, which pages.
    Populate "populate" 20,
    /// `depopulate`: which set, which pages.
    Depopulate "depopulate" 15,
    /// `free_congruent`: which set.
    FreeCongruent "free-congruent" 7,
    /// `purge`.
    Purge "purge" 12,
    /// `trim`.
    Trim "trim" 3,
    /// `shrink`: how many frames.
    Shrink "shrink" 6,
    /// `release_cpu`: which one.
    ReleaseCpu "release-cpu" 3,
    /// A CPU falls asleep, or wakes up.
    Sleep "sleep" 15,
    /// A CPU goes offline, or comes online again.
    Offline "offline" 4,
    /// A CPU flushes for a reason of its own.
    Flush "flush" 8,
    /// A tunable gets another value.
    Tune "tune" 8,
    /// `set_reuse`, `set_trace`, `set_trace_purges`, `set_remembered`, `set_check_slack` or `set_quarantine`.
    Switch "switch" 6,
    /// The machine has only so many frames more to give, or all again.
    Fail "fail" 20,
    /// Grace periods, pauses or notifiers are refused, or no more.
    Refuse "refuse" 6,
    /// A call that must be refused: which one, about which area, how it is wrong.
    Wrong "wrong" 40,
    /// An interrupt handler frees an area, and asks for what it must not.
    Interrupt "interrupt" 15,
    /// All that is allocated is counted, and compared.
    Count "count" 10,
    /// `register_notifier` or `unregister_notifier`: which one.
    Notifier "notifier" 6,
    /// An instance with nothing in it is dropped, and made anew.
    Remake "remake" 1,
    /// `set_clock`: a time.
    Clock "clock" 4,
    /// An area is allocated, grown, shrunk or freed as by a collection: which area, what of these, size.
    Collect "collect" 25,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// 0: the step is done by itself. Else it is done in the middle of the step before it that is done by itself, at this
    /// moment of those at which others may act.
    pub at: u32,
    /// Which CPU does it.
    pub cpu: u32,
    /// In which of the two instances.
    pub instance: u32,
    /// What it does.
    pub call: Call,
    /// How.
    pub numbers: [u32; 3],
}

impl Step {
    /// Draws a step. Numbers that say how large something is are small more often than not.
    pub fn draw(random: &mut Random) -> Self {
        let mut left = random.below(Call::WEIGHT);
        let index = Call::WEIGHTS.iter().position(|&weight| {
            let is_here = left < weight;
            left = left.wrapping_sub(weight);
            is_here
        });
        let call = Call::ALL[index.expect("below the sum of all")];
        let any = |random: &mut Random| random.below(1 << 16);
        let at = if random.one_in(6) { 1 + random.below(30) } else { 0 };
        let cpu = random.below(8);
        let instance = u32::from(random.one_in(5));
        let first = if call.is_sized() { size(random) } else { any(random) };
        let second = if call == Call::Resize { size(random) } else { any(random) };
        Self { at, cpu, instance, call, numbers: [first, second, any(random)] }
    }
}

impl Call {
    /// Whether its first number is a number of pages.
    fn is_sized(self) -> bool {
        matches!(self, Self::Allocate | Self::Vmap | Self::Ioremap | Self::MapRam)
    }
}

/// A number of pages: mostly few, sometimes around a block, seldom several blocks.
fn size(random: &mut Random) -> u32 {
    match random.below(64) {
        0..24 => random.pick(&[1, 1, 1, 1, 2, 2, 3, 4]),
        24..48 => 1 + random.below(8),
        48..58 => 1 + random.below(40),
        58..61 => 1 + random.below(300),
        61 => 500 + random.below(30),
        62 => 1 + random.below(1200),
        _ => random.pick(&[0, 255, 256, 511, 512, 513, 1023, 1024, 1536, 100_000]),
    }
}

/// Writes the step as a line of a list that can be read again.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, cpu, instance, call, numbers: [a, b, c] } = self;
        if *at > 0 {
            write!(f, "at {at} ")?;
        }
        write!(f, "cpu {cpu} instance {instance} {} {a} {b} {c}", call.word())
    }
}

impl FromStr for Step {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let wrong = || format!("{line:?} is no step such as: cpu 1 instance 0 free 3 0 0");
        let words: Vec<&str> = line.split_whitespace().collect();
        let (at, rest) = match words.as_slice() {
            ["at", at, rest @ ..] => (at.parse().map_err(|_| wrong())?, rest),
            rest => (0, rest),
        };
        let ["cpu", cpu, "instance", instance, call, a, b, c] = rest else { return Err(wrong()) };
        let number = |word: &str| word.parse().map_err(|_| wrong());
        let call = Call::ALL.iter().copied().find(|known| known.word() == *call).ok_or_else(wrong)?;
        let numbers = [number(a)?, number(b)?, number(c)?];
        Ok(Self { at, cpu: number(cpu)?, instance: number(instance)?, call, numbers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_is_read_as_it_was_written() {
        let mut random = Random::new(1, 0);
        for _ in 0..10_000 {
            let step = Step::draw(&mut random);
            assert_eq!(step.to_string().parse(), Ok(step));
        }
        for wrong in ["", "cpu 1", "cpu 1 instance 0 frees 1 2 3", "cpu 1 instance 0 free 1 2", "at cpu 1"] {
            assert!(wrong.parse::<Step>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn each_call_is_drawn() {
        let mut random = Random::new(2, 0);
        let drawn: Vec<Call> = (0..20_000).map(|_| Step::draw(&mut random).call).collect();
        for call in Call::ALL {
            assert!(drawn.contains(call), "{call:?}");
        }
    }
}
