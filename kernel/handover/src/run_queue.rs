//! Threads in line for a CPU: whoever puts one there learns whether it must tell the CPU.

#[cfg(not(loom))]
use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
#[cfg(loom)]
use loom::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// Who goes first. Of two classes the greater goes strictly before the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Class {
    /// Runs when nothing else does: one thread of each CPU.
    Idle = 0,
    /// Takes turns with others of its class, each for a time slice.
    Normal = 1,
    /// Runs until it waits or yields; others of its class wait in line.
    RealTime = 2,
}

impl Class {
    fn of(number: u8) -> Self {
        match number {
            0 => Self::Idle,
            1 => Self::Normal,
            _ => Self::RealTime,
        }
    }
}

/// Where in its line a thread is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It goes on next, having been interrupted.
    Front,
    /// Its turn is over, or it is new.
    Back,
}

/// A thread, as far as a run queue knows it.
pub trait Runnable: Copy {
    /// Returns its class.
    fn class(&self) -> Class;

    /// Returns whether it may run on any CPU.
    fn is_movable(&self) -> bool;
}

/// A line of threads of one class, for who has the lock.
pub trait Row {
    /// A thread.
    type Thread: Runnable;

    /// Puts a thread into the line.
    fn put(&mut self, thread: Self::Thread, end: End);

    /// Takes out the first thread for which `wanted` holds.
    fn take(&mut self, wanted: impl Fn(Self::Thread) -> bool) -> Option<Self::Thread>;
}

/// The lines of a CPU, a line for each class but [`Class::Idle`].
#[derive(Debug)]
pub struct Rows<R> {
    /// Threads of [`Class::RealTime`].
    pub real_time: R,
    /// Threads of [`Class::Normal`].
    pub normal: R,
}

/// The lines of a CPU, under a lock.
pub trait Lines {
    /// One of them.
    type Row: Row;

    /// Calls `act` under the lock.
    #[track_caller]
    fn locked<T>(&self, act: impl FnOnce(&mut Rows<Self::Row>) -> T) -> T;
}

/// A thread in the lines `L`.
type Thread<L> = <<L as Lines>::Row as Row>::Thread;

/// The threads in line for a CPU, which is where they run next. Those that run are in no line.
///
/// Any CPU [puts](Self::put) threads here, and [steals](Self::steal) those that may run anywhere; the CPU itself
/// [takes](Self::take) them.
#[derive(Debug)]
// What other CPUs look at lies apart from what is others'.
#[repr(align(128))]
pub struct RunQueue<L> {
    lines: L,
    /// How many stand in line, and how many of them may run elsewhere; for others to look at.
    ready: AtomicUsize,
    movable: AtomicUsize,
    /// Class of the thread that runs. It becomes a lower one under the lock only: either who puts a thread in line finds
    /// it so, and tells the CPU, or the CPU finds the thread.
    running: AtomicU8,
}

impl<L> RunQueue<L> {
    /// A queue of a CPU that idles, with these lines, which are empty.
    #[cfg(not(loom))]
    pub const fn new(lines: L) -> Self {
        let [ready, movable] = [const { AtomicUsize::new(0) }; 2];
        Self { lines, ready, movable, running: AtomicU8::new(Class::Idle as u8) }
    }

    /// A queue of a CPU that idles, with these lines, which are empty. Loom's atomics cannot be made in a constant.
    #[cfg(loom)]
    pub fn new(lines: L) -> Self {
        let [ready, movable] = [(); 2].map(|()| AtomicUsize::new(0));
        Self { lines, ready, movable, running: AtomicU8::new(Class::Idle as u8) }
    }

    /// Returns how many threads stand in line.
    pub fn ready(&self) -> usize {
        self.ready.load(Ordering::Relaxed)
    }

    /// Returns how long a new thread of `class` would wait here, in threads that go before it.
    pub fn load(&self, class: Class) -> usize {
        /// A thread that goes strictly before may run for ever.
        const FOR_EVER: usize = 1 << 32;
        let running = self.running();
        self.ready() + usize::from(running >= class) + if running > class { FOR_EVER } else { 0 }
    }

    /// Notes, on a CPU that counts as idle, that a thread of this class runs, which was not taken from this queue.
    pub fn set_running(&self, class: Class) {
        debug_assert_eq!(self.running(), Class::Idle, "what runs becomes another one under the lock");
        self.note_running(class);
    }

    fn note_running(&self, class: Class) {
        self.running.store(class as u8, Ordering::Relaxed);
    }

    fn running(&self) -> Class {
        Class::of(self.running.load(Ordering::Relaxed))
    }
}

impl<L: Lines> RunQueue<L> {
    /// Puts a thread in line. Returns whether it goes before the one that runs here: then the caller tells the CPU,
    /// which looks at its line again.
    #[must_use = "the CPU may not know of the thread"]
    pub fn put(&self, thread: Thread<L>, end: End) -> bool {
        self.lines.locked(|rows| {
            match thread.class() {
                Class::RealTime => rows.real_time.put(thread, end),
                Class::Normal | Class::Idle => rows.normal.put(thread, end),
            }
            self.count(thread, 1);
            thread.class() > self.running()
        })
    }

    /// Takes the first thread of at least the class `least` out of this CPU's line: it runs next. Without one the thread
    /// that runs goes on.
    pub fn take(&self, least: Class) -> Option<Thread<L>> {
        self.lines.locked(|rows| self.take_locked(rows, least))
    }

    /// Takes the first thread out of this CPU's line, where no other one can run: without one the CPU counts as idle.
    pub fn take_or_idle(&self) -> Option<Thread<L>> {
        self.lines.locked(|rows| {
            let next = self.take_locked(rows, Class::Normal);
            if next.is_none() {
                self.note_running(Class::Idle);
            }
            next
        })
    }

    fn take_locked(&self, rows: &mut Rows<L::Row>, least: Class) -> Option<Thread<L>> {
        let mut next = rows.real_time.take(|_| true);
        if next.is_none() && least <= Class::Normal {
            next = rows.normal.take(|_| true);
        }
        let next = next?;
        self.count(next, -1);
        self.note_running(next.class());
        Some(next)
    }

    /// Takes a thread that may run anywhere, for another CPU, which is to say that it [runs there](Self::set_running).
    /// One that is just being put in line may be overlooked.
    pub fn steal(&self) -> Option<Thread<L>> {
        if self.movable.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.lines.locked(|rows| {
            let movable = |thread: Thread<L>| thread.is_movable();
            let found = rows.real_time.take(movable).or_else(|| rows.normal.take(movable))?;
            self.count(found, -1);
            Some(found)
        })
    }

    /// Changes the counts for a thread that came or went; under the lock.
    fn count(&self, thread: Thread<L>, by: isize) {
        let add = |to: &AtomicUsize| {
            to.store(to.load(Ordering::Relaxed).wrapping_add_signed(by), Ordering::Relaxed);
        };
        add(&self.ready);
        if thread.is_movable() {
            add(&self.movable);
        }
    }
}

#[cfg(all(test, loom))]
mod models;
