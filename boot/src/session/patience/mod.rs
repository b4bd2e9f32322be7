//! Tells whether a program hangs, on a busy computer too.
//!
//! A wall clock cannot: where other programs want the CPUs, a machine that is
//! well takes many times as long. So the limits are in the program's own
//! time: the wall's, without that in which the program wanted to run and
//! others ran. On a computer that does nothing else both are the same; a
//! program that waits for an event that never comes gets old, too.
//!
//! The time in which this program itself was stopped for more than ten seconds
//! does not count either: a signal may have stopped both.
//!
//! What Linux says of each thread is `schedstat` in `/proc`: how long it ran,
//! and how long it was ready to run and waited for a CPU. A program's children
//! are part of it. Where Linux says nothing the wall clock is all there is.

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

/// This program looks each second. Where it has not looked for longer than this it was stopped, and the other program may have
/// been stopped with it.
const GAP: Duration = Duration::from_secs(10);

/// An answer of the clock is good for so long: a program may print a line each microsecond, and have many threads.
const FRESH: Duration = Duration::from_millis(20);

/// How long a program may run, in its own time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// As long as it likes, after it has said that it ends too: a debugger may hold it.
    Never,
    /// As long as it likes, until it says that it ends.
    None,
    /// So long in all.
    All(Duration),
    /// So long without a word.
    Silent(Duration),
}

/// How long a program may still run.
#[derive(Debug)]
pub(crate) struct Patience<S = Linux> {
    limit: Limit,
    clock: OwnTime<S>,
    /// The own time when it was last heard.
    heard: Duration,
    /// It has said that it ends, and may take so long for it.
    ending: Option<Duration>,
}

impl Patience {
    /// Patience with the process `pid`, which starts now.
    pub(crate) fn new(limit: Limit, pid: u32) -> Self {
        Self::with(limit, Linux { pid, start: Instant::now() })
    }
}

impl<S: Source> Patience<S> {
    fn with(limit: Limit, source: S) -> Self {
        Self { limit, clock: OwnTime::new(source), heard: Duration::ZERO, ending: None }
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
        let limit = match self.limit {
            Limit::Never => return None,
            Limit::None => None,
            Limit::All(limit) => Some((limit, Duration::ZERO)),
            Limit::Silent(limit) => Some((limit, self.heard)),
        };
        let own = self.clock.now();
        let in_all = limit.map(|(limit, from)| {
            (from + limit).saturating_sub(own).min((limit * FAR).saturating_sub(self.clock.wall()))
        });
        let to_end = self.ending.map(|ending| (self.heard + ending).saturating_sub(own));
        let left = in_all.into_iter().chain(to_end).min()?;
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

/// What a clock reads.
pub(crate) trait Source {
    /// The wall's time since the program's start.
    fn wall(&self) -> Duration;
    /// What the program has used so far; `None` if that is not to be learnt.
    fn usage(&self) -> Option<Usage>;
}

/// The process, as Linux tells of it.
#[derive(Debug)]
pub(crate) struct Linux {
    pid: u32,
    start: Instant,
}

impl Source for Linux {
    fn wall(&self) -> Duration {
        self.start.elapsed()
    }

    fn usage(&self) -> Option<Usage> {
        Usage::of(self.pid)
    }
}

/// A clock that stands still while a program wants to run and others run.
#[derive(Debug)]
struct OwnTime<S> {
    source: S,
    /// CPUs of the computer.
    cpus: u32,
    /// When the span began that is not yet in `own`, and what had been used by then.
    looked: Duration,
    usage: Option<Usage>,
    own: Duration,
    /// When the clock was last read, and what it said.
    asked: Duration,
    answer: Duration,
    /// How long nobody could look.
    stopped: Duration,
}

impl<S: Source> OwnTime<S> {
    fn new(source: S) -> Self {
        let cpus = thread::available_parallelism().map_or(1, NonZero::get).try_into().unwrap_or(u32::MAX);
        let (now, usage, own) = (source.wall(), source.usage(), Duration::ZERO);
        Self { source, cpus, looked: now, usage, own, asked: now, answer: own, stopped: Duration::ZERO }
    }

    /// The wall's time, but for that in which nobody could look.
    fn wall(&self) -> Duration {
        self.source.wall().saturating_sub(self.stopped)
    }

    fn now(&mut self) -> Duration {
        let gap = self.wall() - self.asked;
        if gap > GAP {
            self.stopped += gap - LOOK;
        }
        let now = self.wall();
        if now - self.asked < FRESH {
            return self.answer;
        }
        let (wall, usage) = (now - self.looked, self.source.usage());
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

/// CPU time, of all threads of a program together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    ran: Duration,
    /// Ready to run, while others ran.
    waited: Duration,
}

impl Usage {
    /// What the process and its children have used so far; `None` if that is not to be learnt. What a child used
    /// that has ended is lost.
    fn of(pid: u32) -> Option<Self> {
        let mut sum = Self { ran: Duration::ZERO, waited: Duration::ZERO };
        let mut processes = vec![pid];
        while let Some(process) = processes.pop() {
            // Processes and threads may end meanwhile.
            let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { continue };
            for thread in threads.flatten() {
                if let Ok(text) = fs::read_to_string(thread.path().join("schedstat")) {
                    let thread = Self::read(&text)?;
                    sum = Self { ran: sum.ran + thread.ran, waited: sum.waited + thread.waited };
                }
                let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
                processes.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
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
mod tests;
