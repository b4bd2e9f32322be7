//! Tells whether a program hangs, on a busy computer too.
//!
//! A wall clock cannot: where other programs want the CPUs, a machine that is
//! well takes many times as long. So the limits are in the program's own
//! time: the wall's, without that in which the program wanted to run and
//! others ran. On a computer that does nothing else both are the same; a
//! program that waits for an event that never comes gets old, too.
//!
//! What Linux says of each thread is `schedstat` in `/proc`: how long it ran,
//! and how long it was ready to run and waited for a CPU. Where there is none
//! the wall clock is all there is.

use std::fs;
use std::num::NonZero;
use std::thread;
use std::time::{Duration, Instant};

/// Longer than this, in limits, nothing runs, whatever the computer does besides.
const FAR: u32 = 20;

/// How often the program's own time is looked at, at least: a computer may become busy at any moment.
const LOOK: Duration = Duration::from_secs(1);

/// The least time that is looked at by itself. Linux counts a thread's wait only when it is over, and on a busy computer
/// that may take a while; before, the thread looks idle.
const SPAN: Duration = Duration::from_secs(4);

/// An answer of the clock is good for so long: a program may print a line each microsecond, and have many threads.
const FRESH: Duration = Duration::from_millis(20);

/// How long a program may run, in its own time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// As long as it likes.
    None,
    /// So long in all.
    All(Duration),
    /// So long without a word.
    Silent(Duration),
}

/// How long a program may still run.
#[derive(Debug)]
pub(crate) struct Patience {
    limit: Limit,
    clock: OwnTime,
    /// The wall's time at the start, for the far limit.
    start: Instant,
    /// The own time when it was last heard.
    heard: Duration,
    /// It has said that it ends, and may take so long for it.
    ending: Option<Duration>,
}

impl Patience {
    /// Patience with the process `pid`, which starts now.
    pub(crate) fn new(limit: Limit, pid: u32) -> Self {
        let clock = OwnTime::new(pid);
        Self { limit, start: clock.looked, clock, heard: Duration::ZERO, ending: None }
    }

    /// The program has said something.
    pub(crate) fn heard(&mut self) {
        self.heard = self.clock.now();
    }

    /// The program has said that it ends; it may take so much of its own time, unless it says more.
    pub(crate) fn ends_within(&mut self, time: Duration) {
        self.ending = Some(time);
    }

    /// How long to wait for the program's next word before this is asked again; `None`: for ever.
    pub(crate) fn left(&mut self) -> Option<Left> {
        let (limit, from) = match self.limit {
            Limit::None => return None,
            Limit::All(limit) => (limit, Duration::ZERO),
            Limit::Silent(limit) => (limit, self.heard),
        };
        let own = self.clock.now();
        let mut left = (from + limit).saturating_sub(own);
        if let Some(ending) = self.ending {
            left = left.min((self.heard + ending).saturating_sub(own));
        }
        left = left.min((limit * FAR).saturating_sub(self.start.elapsed()));
        Some(match self.ending {
            _ if !left.is_zero() => Left::AtLeast(left.min(LOOK)),
            Some(_) => Left::NotEnded,
            None => Left::Nothing,
        })
    }
}

/// What is left of a program's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// As long as this on the wall's clock, or longer.
    AtLeast(Duration),
    /// None.
    Nothing,
    /// It said that it ends, and did not.
    NotEnded,
}

/// A clock that stands still while a process wants to run and others run.
#[derive(Debug)]
struct OwnTime {
    pid: u32,
    /// CPUs of the computer.
    cpus: u32,
    /// When the span began that is not yet in `own`, and what had been used by then.
    looked: Instant,
    usage: Option<Usage>,
    own: Duration,
    /// When the clock was last read, and what it said.
    asked: Instant,
    answer: Duration,
}

impl OwnTime {
    fn new(pid: u32) -> Self {
        let cpus = thread::available_parallelism().map_or(1, NonZero::get).try_into().unwrap_or(u32::MAX);
        let (now, own) = (Instant::now(), Duration::ZERO);
        Self { pid, cpus, looked: now, usage: Usage::of(pid), own, asked: now, answer: own }
    }

    fn now(&mut self) -> Duration {
        let now = Instant::now();
        if now - self.asked < FRESH {
            return self.answer;
        }
        let (wall, usage) = (now - self.looked, Usage::of(self.pid));
        let own = self.own
            + match (self.usage, usage) {
                (Some(before), Some(usage)) => usage.since(before).own_time(wall, self.cpus),
                _ => wall,
            };
        if wall >= SPAN {
            (self.looked, self.usage, self.own) = (now, usage, own);
        }
        (self.asked, self.answer) = (now, own);
        own
    }
}

/// CPU time, of all threads of a process together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Usage {
    ran: Duration,
    /// Ready to run, while others ran.
    waited: Duration,
}

impl Usage {
    /// What the process has used so far; `None` if that is not to be learnt.
    fn of(pid: u32) -> Option<Self> {
        let mut sum = Self { ran: Duration::ZERO, waited: Duration::ZERO };
        for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
            // A thread may end meanwhile.
            if let Ok(text) = fs::read_to_string(thread.ok()?.path().join("schedstat")) {
                let thread = Self::read(&text)?;
                sum = Self { ran: sum.ran + thread.ran, waited: sum.waited + thread.waited };
            }
        }
        (!sum.ran.is_zero()).then_some(sum)
    }

    /// Reads `RAN WAITED SLICES`, of which the first two are nanoseconds.
    fn read(text: &str) -> Option<Self> {
        let mut numbers = text.split_whitespace().map(str::parse::<u64>);
        let mut time = || Some(Duration::from_nanos(numbers.next()?.ok()?));
        Some(Self { ran: time()?, waited: time()? })
    }

    fn since(self, before: Self) -> Self {
        // What a thread used that has ended since is in neither.
        let (ran, waited) = (self.ran.saturating_sub(before.ran), self.waited.saturating_sub(before.waited));
        Self { ran, waited }
    }

    /// How much of `wall` is the process's own: all in which it wanted nothing, and of the rest the share that it
    /// got of what it could have used of so many CPUs.
    fn own_time(self, wall: Duration, cpus: u32) -> Duration {
        let wanted = self.ran + self.waited;
        let usable = wanted.min(wall * cpus);
        if usable.is_zero() {
            return wall;
        }
        let share = self.ran.div_duration_f64(usable).min(1.0);
        let busy = wanted.min(wall);
        (wall - busy) + busy.mul_f64(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn own(ran: u64, waited: u64, cpus: u32) -> Duration {
        let usage = Usage { ran: Duration::from_secs(ran), waited: Duration::from_secs(waited) };
        usage.own_time(Duration::from_secs(60), cpus)
    }

    #[test]
    fn on_an_idle_computer_own_time_is_the_walls() {
        // Idle; one thread; one for each CPU; half a thread.
        for (ran, cpus) in [(0, 2), (60, 2), (120, 2), (30, 2), (60, 1)] {
            assert_eq!(own(ran, 0, cpus), Duration::from_secs(60), "{ran} s on {cpus} CPUs");
        }
        // More threads than CPUs wait for each other: that is nobody else's doing.
        assert_eq!(own(120, 60 * 62, 2), Duration::from_secs(60));
    }

    /// Seen failing with the wall clock.
    #[test]
    fn time_that_others_take_is_not_the_programs() {
        assert_eq!(own(30, 30, 2), Duration::from_secs(30));
        assert_eq!(own(30, 60 * 63, 2), Duration::from_secs(15));
        assert_eq!(own(0, 60, 2), Duration::ZERO);
        // It wanted half of the time, and got half of that.
        assert_eq!(own(15, 15, 2), Duration::from_secs(45));
    }

    #[test]
    fn what_linux_says_is_read() {
        let read = Usage::read("2000000000 3000000000 7\n").unwrap();
        assert_eq!((read.ran, read.waited), (Duration::from_secs(2), Duration::from_secs(3)));
        assert_eq!(Usage::read(""), None);
        assert_eq!(Usage::read("many few"), None);
        assert_eq!(Usage::of(u32::MAX), None);
    }

    /// Programs that burn a CPU each, ended with the value.
    struct Burning(Vec<std::process::Child>);

    impl Burning {
        fn many(count: usize) -> Self {
            let one = || Command::new("yes").stdout(Stdio::null()).spawn().unwrap();
            Self((0..count).map(|_| one()).collect())
        }
    }

    impl Drop for Burning {
        fn drop(&mut self) {
            for child in &mut self.0 {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }

    /// Seen failing with the wall clock.
    #[test]
    fn a_program_among_busy_ones_gets_old_slowly() {
        let cpus = thread::available_parallelism().unwrap().get();
        let burning = Burning::many(8 * cpus);
        let mut clock = OwnTime::new(burning.0[0].id());
        // Its first turn must have come.
        while Usage::of(clock.pid).is_none_or(|usage| usage.ran < Duration::from_millis(20)) {
            thread::sleep(Duration::from_millis(5));
        }
        let (own, start) = (clock.now(), Instant::now());
        while start.elapsed() < Duration::from_secs(6) {
            thread::sleep(Duration::from_millis(100));
            clock.now();
        }
        let (own, wall) = (clock.now().saturating_sub(own), start.elapsed());
        assert!(own < wall / 2 && !own.is_zero(), "{own:?} of {wall:?}");
    }

    #[test]
    fn words_renew_patience_that_is_with_silence_only() {
        let limit = Duration::from_millis(200);
        let mut all = Patience::new(Limit::All(limit), u32::MAX);
        let mut silent = Patience::new(Limit::Silent(limit), u32::MAX);
        thread::sleep(limit);
        silent.heard();
        assert_eq!(all.left(), Some(Left::Nothing));
        assert!(matches!(silent.left(), Some(Left::AtLeast(_))));
        thread::sleep(limit);
        assert_eq!(silent.left(), Some(Left::Nothing));
        assert_eq!(Patience::new(Limit::None, u32::MAX).left(), None);
    }

    #[test]
    fn who_said_that_it_ends_and_does_not_is_told_from_who_hangs() {
        let long = Duration::from_secs(600);
        for (limit, ending) in [(Duration::ZERO, long), (long, Duration::ZERO)] {
            let mut patience = Patience::new(Limit::Silent(limit), u32::MAX);
            patience.ends_within(ending);
            assert_eq!(patience.left(), Some(Left::NotEnded));
        }
    }

    #[test]
    fn words_do_not_put_off_the_far_limit() {
        let limit = Duration::from_millis(5);
        let mut patience = Patience::new(Limit::Silent(limit), u32::MAX);
        thread::sleep(limit * FAR);
        patience.heard();
        assert_eq!(patience.left(), Some(Left::Nothing));
    }
}
