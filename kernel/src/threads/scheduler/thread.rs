//! What the kernel knows of a thread.

use super::list::{Link, WaitQueue};
use crate::{
    arch::{cpu, cpu::MAX_CPUS},
    lock_class,
    memory::Stack,
    sync::SpinLock,
};
use alloc::{boxed::Box, sync::Arc};
use core::{
    fmt,
    ops::{Deref, Range},
    ptr::NonNull,
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
};
use handover::{Class, State};

/// The CPUs that a thread may run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Affinity {
    /// All that are not isolated.
    Any,
    /// This one only.
    One(usize),
}

/// Bytes of the longest name; what is longer is cut.
const NAME: usize = 23;

/// A thread's name, for reports.
#[derive(Clone, Copy)]
pub(in crate::threads) struct Name {
    bytes: [u8; NAME],
    length: u8,
}

impl Name {
    pub const fn new(name: &str) -> Self {
        let (mut bytes, mut length) = ([0; NAME], 0);
        while length < NAME && length < name.len() {
            bytes[length] = name.as_bytes()[length];
            length += 1;
        }
        Self { bytes, length: length as u8 }
    }

    pub fn as_str(&self) -> &str {
        let bytes = &self.bytes[..usize::from(self.length)];
        // A character that the end cut in two is left out.
        bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid())
    }
}

/// What a thread runs.
pub(in crate::threads) type Start = Box<dyn FnOnce() + Send>;

/// A thread.
pub(in crate::threads) struct Thread {
    pub name: Name,
    /// Its number, from 1 on in the order in which they are made; 0 of those that idle.
    pub id: u32,
    pub class: Class,
    pub affinity: Affinity,
    pub state: State,
    /// What `unpark` left for `park`.
    pub token: AtomicBool,
    /// Ticks left of its time slice.
    pub slice: AtomicU32,
    /// The CPU it runs on, or ran on last.
    pub cpu: AtomicUsize,
    /// Where its registers are saved while it does not run.
    pub stack_pointer: AtomicUsize,
    /// Ends of its stack.
    pub stack: [AtomicUsize; 2],
    /// Its stack, if it is to be given back.
    pub own_stack: SpinLock<Option<Stack>>,
    pub start: SpinLock<Option<Start>>,
    /// When a sleep ends, on the time stamp counter.
    pub deadline: AtomicU64,
    /// Its place in the line for a CPU, and among those that wait or sleep.
    pub links: [Link; 2],
    /// Whether it ended and its stack was given back.
    pub gone: AtomicBool,
    /// Those who wait for that.
    pub joiners: WaitQueue,
}

impl Thread {
    pub const fn new(name: &str, class: Class, affinity: Affinity) -> Self {
        Self {
            name: Name::new(name),
            id: 0,
            class,
            affinity,
            state: State::new(),
            token: AtomicBool::new(false),
            slice: AtomicU32::new(0),
            cpu: AtomicUsize::new(0),
            stack_pointer: AtomicUsize::new(0),
            stack: [const { AtomicUsize::new(0) }; 2],
            own_stack: SpinLock::new(lock_class!("thread stack"), None),
            start: SpinLock::new(lock_class!("thread start"), None),
            deadline: AtomicU64::new(0),
            links: [const { Link::new() }; 2],
            gone: AtomicBool::new(false),
            joiners: WaitQueue::new(),
        }
    }

    pub fn stack(&self) -> Range<usize> {
        self.stack[0].load(Ordering::Relaxed)..self.stack[1].load(Ordering::Relaxed)
    }

    pub fn set_stack(&self, stack: &Range<usize>) {
        self.stack[0].store(stack.start, Ordering::Relaxed);
        self.stack[1].store(stack.end, Ordering::Relaxed);
    }
}

/// A thread that has not ended, or whose end was not dealt with yet: from its making until
/// [`release`](Self::release), which only the reaper calls, for a thread that is in no list any more.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::threads) struct ThreadRef(NonNull<Thread>);

// SAFETY: a thread is made of atomics and locks.
unsafe impl Send for ThreadRef {}
// SAFETY: as above.
unsafe impl Sync for ThreadRef {}

impl ThreadRef {
    pub const fn of_static(thread: &'static Thread) -> Self {
        Self(NonNull::from_ref(thread))
    }

    /// For as long as the `Arc` is there.
    pub fn of(thread: &Arc<Thread>) -> Self {
        Self(NonNull::from_ref(&**thread))
    }

    /// Keeps the thread until [`release`](Self::release).
    pub fn keep(thread: Arc<Thread>) -> Self {
        Self::from_pointer(Arc::into_raw(thread).cast_mut()).unwrap_or_else(|| unreachable!("an Arc"))
    }

    /// Ends what [`keep`](Self::keep) began.
    ///
    /// # Safety
    /// It was made by `keep`, and nobody uses a copy any more.
    pub unsafe fn release(self) {
        // SAFETY: promised by the caller.
        drop(unsafe { Arc::from_raw(self.0.as_ptr()) });
    }

    /// One more owner of a thread that was made by [`keep`](Self::keep).
    ///
    /// # Safety
    /// It was made by `keep`.
    pub unsafe fn share(self) -> Arc<Thread> {
        // SAFETY: promised by the caller; what `keep` keeps is still there.
        unsafe {
            Arc::increment_strong_count(self.0.as_ptr());
            Arc::from_raw(self.0.as_ptr())
        }
    }

    pub fn pointer(self) -> *mut Thread {
        self.0.as_ptr()
    }

    /// What [`pointer`](Self::pointer) gave, or `None` for null.
    pub fn from_pointer(pointer: *mut Thread) -> Option<Self> {
        NonNull::new(pointer).map(Self)
    }
}

impl Deref for ThreadRef {
    type Target = Thread;

    fn deref(&self) -> &Thread {
        // SAFETY: the type's invariant.
        unsafe { self.0.as_ref() }
    }
}

/// The threads that CPUs run when there is nothing to run: they are in no line, and never end.
static IDLE: [Thread; MAX_CPUS] = [const { Thread::new("idle", Class::Idle, Affinity::Any) }; MAX_CPUS];

/// The idle thread of a CPU.
pub(in crate::threads) fn idle(cpu: usize) -> ThreadRef {
    ThreadRef::of_static(&IDLE[cpu])
}

/// The thread that runs here; `None` before threads are set up on this CPU.
#[inline]
pub(in crate::threads) fn try_current() -> Option<ThreadRef> {
    ThreadRef::from_pointer(cpu::thread() as *mut Thread)
}

/// The thread that runs here.
#[inline]
pub(in crate::threads) fn current() -> ThreadRef {
    match try_current() {
        Some(thread) => thread,
        None => panic!("there are no threads yet"),
    }
}

/// The name of the running thread, for reports; empty before there are threads.
pub fn current_name() -> impl fmt::Display {
    struct Shown(Option<Name>);
    impl fmt::Display for Shown {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0.as_ref().map_or("", Name::as_str))
        }
    }
    Shown(try_current().map(|thread| thread.name))
}

impl Thread {
    /// Gives the thread the next number.
    pub fn numbered(self) -> Self {
        static LAST: AtomicU32 = AtomicU32::new(0);
        Self { id: LAST.fetch_add(1, Ordering::Relaxed) + 1, ..self }
    }
}

/// The number of the running thread; 0 while a CPU idles, and before there are threads.
pub fn current_id() -> u32 {
    try_current().map_or(0, |thread| thread.id)
}

/// The beginning of the name of the running thread, filled up with zeros; zeros before there are threads.
pub fn current_tag() -> [u8; 16] {
    let mut tag = [0; 16];
    if let Some(thread) = try_current() {
        tag.iter_mut().zip(thread.name.as_str().bytes()).for_each(|(to, byte)| *to = byte);
    }
    tag
}
