//! What a history runs on: the machine, and two instances side by side.

use crate::random::Random;
use std::{fmt, str::FromStr};
use vmalloc::{
    BLOCK_SIZE, GatherPolicy, GuardPolicy, OverflowPolicy, Policy, PurgePolicy, Reuse, SearchPolicy, Slack,
    Zeroing, host::Machine,
};

/// The start of a directory that maps 1 GiB.
const DIRECTORY: usize = 0xffff_c900_4000_0000;

/// Declares the fields of a setting, all numbers, so that all can be written, read and made smaller alike.
macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The machine and the instances of a history.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Setting {
            $($(#[$doc])* pub $name: u32,)*
        }

        /// Writes `name=number` for each number that is not 0.
        impl fmt::Display for Setting {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("machine")?;
                $(if self.$name > 0 {
                    write!(f, concat!(" ", stringify!($name), "={}"), self.$name)?;
                })*
                Ok(())
            }
        }

        impl Setting {
            fn field(&mut self, name: &str) -> Option<&mut u32> {
                match name {
                    $(stringify!($name) => Some(&mut self.$name),)*
                    _ => None,
                }
            }
        }
    };
}

fields! {
    /// CPUs.
    cpus,
    /// Frames of memory.
    frames,
    /// Whether memory begins with frame 0.
    from_zero,
    /// Whether CPUs flush by broadcasts.
    broadcast,
    /// Whether the last CPU is isolated.
    isolated,
    /// Whether there is a thread that purges, which never runs.
    purger,
    /// Whether the machine does not count its free frames.
    uncounted,
    /// Blocks of the directory below the first instance.
    offset,
    /// Blocks of the first instance.
    blocks,
    /// Blocks of the second one, right behind it.
    behind,
    /// The policy, a bit or two for each choice.
    policy,
    /// Frames that the program has, to map them.
    own_frames,
    /// 2 MiB frames that it has besides, of which each list of 512 can be mapped by one entry.
    own_huge,
}

impl Setting {
    /// Draws a setting.
    pub fn draw(random: &mut Random) -> Self {
        let cpus = random.pick(&[1, 2, 2, 2, 3, 3, 4, 8]);
        let frames = random.pick(&[60, 120, 200, 400, 800, 1500, 2500, 4000, 6000]);
        let flag = |random: &mut Random, times| u32::from(random.one_in(times));
        Self {
            cpus,
            frames,
            from_zero: flag(random, 3),
            broadcast: flag(random, 6),
            isolated: flag(random, 5),
            purger: flag(random, 5),
            uncounted: flag(random, 8),
            offset: random.pick(&[6, 6, 508, 511]),
            blocks: random.pick(&[1, 2, 3, 5, 8, 12, 24, 24, 1100]),
            behind: random.pick(&[1, 2, 4]),
            policy: if random.one_in(2) { 0 } else { random.below(1 << 14) },
            own_frames: if frames < 200 { 8 } else { 40 },
            own_huge: u32::from(frames > 2000 && random.one_in(2)),
        }
    }

    /// Makes the machine.
    #[must_use]
    pub fn machine(&self) -> Machine {
        let (cpus, frames) = (self.cpus.clamp(1, 64) as usize, self.frames.clamp(1, 100_000) as usize);
        let machine = match (self.broadcast, self.from_zero) {
            (0, 0) => Machine::new(cpus, frames),
            (0, _) => Machine::from_frame_zero(cpus, frames),
            _ => Machine::broadcasting(cpus, frames),
        };
        if self.purger > 0 {
            machine.starve_purger();
        }
        if self.uncounted > 0 {
            machine.hide_free_frames();
        }
        machine
    }

    /// Returns the addresses of an instance.
    #[must_use]
    pub fn range(&self, instance: usize) -> std::ops::Range<usize> {
        let (first, second) = (self.blocks.clamp(1, 5000) as usize, self.behind.clamp(1, 5000) as usize);
        let start = DIRECTORY + (self.offset as usize % 512) * BLOCK_SIZE;
        let middle = start + first * BLOCK_SIZE;
        if instance == 0 { start..middle } else { middle..middle + second * BLOCK_SIZE }
    }

    /// Returns the policy of both instances. The simulated CPUs mark what they write, so dirty bits may be trusted.
    pub fn policy(&self) -> Policy {
        let choice = |shift: u32| (self.policy >> shift & 3) as usize;
        let [cached, from_start] = [SearchPolicy::Cached, SearchPolicy::FromStart];
        Policy::default()
            .zeroing(if choice(0) == 3 { Zeroing::Always } else { Zeroing::TrustDirty })
            .search([cached, cached, cached, from_start][choice(2)])
            .guards(if choice(4) == 3 { GuardPolicy::BehindBlocks } else { GuardPolicy::BehindAreas })
            .purge(
                [
                    PurgePolicy::Threshold,
                    PurgePolicy::Threshold,
                    PurgePolicy::Yielding,
                    PurgePolicy::Unbroken,
                ][choice(6)],
            )
            .gather(
                [GatherPolicy::Page, GatherPolicy::Page, GatherPolicy::Stack, GatherPolicy::One][choice(8)],
            )
            .reuse(if choice(10) == 3 { Reuse::AfterFlush } else { Reuse::Hot })
            .slack(if choice(12) == 3 { Slack::Checked } else { Slack::Ignored })
            .overflow(OverflowPolicy::Ticket)
    }
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let wrong = || format!("{line:?} is no machine such as: machine cpus=2 frames=800 blocks=3 behind=1");
        let mut words = line.split_whitespace();
        if words.next() != Some("machine") {
            return Err(wrong());
        }
        let mut setting = Self::default();
        for word in words {
            let (name, number) = word.split_once('=').ok_or_else(wrong)?;
            *setting.field(name).ok_or_else(wrong)? = number.parse().map_err(|_| wrong())?;
        }
        Ok(setting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_is_read_as_it_was_written() {
        let mut random = Random::new(1, 0);
        for _ in 0..1000 {
            let setting = Setting::draw(&mut random);
            assert_eq!(setting.to_string().parse(), Ok(setting));
        }
        for wrong in ["", "machin", "machine cpu=3", "machine cpus", "machine cpus=many"] {
            assert!(wrong.parse::<Setting>().is_err(), "{wrong}");
        }
    }

    /// Seen failing: with a second word on `slack` behind the first one, which left it ignored in all histories.
    #[test]
    fn each_policy_is_drawn() {
        let mut random = Random::new(1, 0);
        let drawn: Vec<Policy> = (0..200).map(|_| Setting::draw(&mut random).policy()).collect();
        let is_drawn = |is: fn(&Policy) -> bool| {
            assert!(drawn.iter().any(is) && !drawn.iter().all(is), "{drawn:?}");
        };
        is_drawn(|policy| policy.zeroing == Zeroing::Always);
        is_drawn(|policy| policy.search == SearchPolicy::FromStart);
        is_drawn(|policy| policy.guards == GuardPolicy::BehindBlocks);
        is_drawn(|policy| policy.purge == PurgePolicy::Threshold);
        is_drawn(|policy| policy.purge == PurgePolicy::Yielding);
        is_drawn(|policy| policy.purge == PurgePolicy::Unbroken);
        is_drawn(|policy| policy.gather == GatherPolicy::Stack);
        is_drawn(|policy| policy.gather == GatherPolicy::One);
        is_drawn(|policy| policy.reuse == Reuse::AfterFlush);
        is_drawn(|policy| policy.slack == Slack::Checked);
    }

    #[test]
    fn the_second_instance_is_right_behind_the_first() {
        let setting = Setting { offset: 511, blocks: 2, behind: 4, ..Setting::default() };
        assert_eq!(setting.range(0).end, setting.range(1).start);
        assert_eq!(setting.range(1).len(), 4 * BLOCK_SIZE);
    }
}
