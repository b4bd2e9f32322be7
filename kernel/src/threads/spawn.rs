//! Making threads, and waiting for their end.

use super::{
    scheduler::{
        ended, run_queue,
        schedule::{self, SLICE},
        thread::{self, Affinity, Start, Thread, ThreadRef},
        wake,
    },
    start,
    waiting::context::assert_may_block,
};
use crate::{
    arch::cpu,
    lock_class,
    memory::{self, Stack, frames, heap},
    sync::SpinLock,
};
use alloc::{boxed::Box, sync::Arc};
use core::{fmt, sync::atomic::Ordering};
use handover::{Class, End};
use vmalloc::{AllocError, PAGE_SIZE};

/// Bytes of a thread's stack unless it asks for others.
pub const STACK: usize = 32 << 10;
/// Bytes of the heap that a thread takes, but for what its closure has captured.
const RECORDS: usize = 1 << 10;

/// What a new thread is to be like: a normal one, on any CPU, unless said otherwise.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Builder<'a> {
    name: &'a str,
    class: Class,
    affinity: Affinity,
    stack: usize,
}

/// Why a thread was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpawnError {
    /// No memory for its stack or its records.
    OutOfMemory(AllocError),
    /// It may run on one CPU only, and that is not online.
    NoSuchCpu {
        /// The number asked for.
        cpu: usize,
    },
    /// [`Class::Idle`] is not to be had.
    WrongClass,
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfMemory(error) => write!(f, "no memory for a thread: {error}"),
            Self::NoSuchCpu { cpu } => write!(f, "CPU {cpu} is not online"),
            Self::WrongClass => f.write_str("only the kernel's own idle threads are of their class"),
        }
    }
}

impl core::error::Error for SpawnError {}

impl<'a> Builder<'a> {
    /// A thread of this name, of which reports show 23 bytes.
    pub const fn new(name: &'a str) -> Self {
        Self { name, class: Class::Normal, affinity: Affinity::Any, stack: STACK }
    }

    /// In this class.
    pub const fn class(self, class: Class) -> Self {
        Self { class, ..self }
    }

    /// On the CPU of this number only, which may be an isolated one.
    pub const fn on_cpu(self, cpu: usize) -> Self {
        Self { affinity: Affinity::One(cpu), ..self }
    }

    /// With a stack of at least this many bytes.
    pub const fn stack(self, bytes: usize) -> Self {
        Self { stack: bytes, ..self }
    }

    /// Makes a thread that runs `body`, and ends with it. Called in a thread, pinned or not.
    ///
    /// # Errors
    /// See [`SpawnError`]; `body` was dropped.
    ///
    /// # Panics
    /// In an interrupt handler.
    #[track_caller]
    pub fn spawn<T: Send + 'static>(
        self,
        body: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<T>, SpawnError> {
        cpu::assert_no_interrupt("a thread was spawned");
        if self.class == Class::Idle {
            return Err(SpawnError::WrongClass);
        }
        if let Affinity::One(cpu) = self.affinity
            && !cpu::online().contains(cpu)
        {
            return Err(SpawnError::NoSuchCpu { cpu });
        }
        let stack = Stack::new(memory::vmalloc(), self.stack.max(1)).map_err(SpawnError::OutOfMemory)?;
        // The heap's small pieces end the machine when they are not to be had: it grows first. Unless others take the room
        // meanwhile, none is waited for below, where a stack is held that others may wait for.
        let rooms = [RECORDS, size_of_val(&body) + size_of::<T>()];
        if !heap::make_room(rooms) {
            let pages = rooms.iter().sum::<usize>().div_ceil(PAGE_SIZE);
            return Err(SpawnError::OutOfMemory(frames::shortage(pages)));
        }

        let result = Arc::new(SpinLock::new(lock_class!("thread result"), None));
        let thread = Arc::new(Thread::new(self.name, self.class, self.affinity).numbered());
        let to = Arc::clone(&result);
        let begin: Start = Box::new(move || {
            let value = body();
            *to.lock() = Some(value);
        });
        *thread.start.lock() = Some(begin);
        let kept = ThreadRef::keep(Arc::clone(&thread));
        start::prepare(kept, &stack.range());
        *kept.own_stack.lock() = Some(stack);
        kept.slice.store(SLICE, Ordering::Relaxed);
        kept.cpu.store(cpu::current(), Ordering::Relaxed);
        ended::born();
        run_queue::put(run_queue::place(kept), kept, End::Back);
        Ok(JoinHandle { thread: Handle(thread), result })
    }
}

/// Makes a normal thread, which may run on any CPU, that runs `body` and ends with it. Called in a thread, pinned or not.
///
/// # Errors
/// See [`SpawnError`]; `body` was dropped.
///
/// # Panics
/// In an interrupt handler.
#[track_caller]
pub fn spawn<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, SpawnError> {
    Builder::new(name).spawn(body)
}

/// A thread, for those who wake it.
#[derive(Clone)]
pub struct Handle(Arc<Thread>);

impl Handle {
    /// Makes the thread's next [`park`] return, or the one that it is in.
    pub fn unpark(&self) {
        // Release: what was done before is seen by the thread when it takes the token.
        self.0.token.store(true, Ordering::Release);
        wake::wake(ThreadRef::of(&self.0));
    }

    /// The thread's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.name.as_str()
    }
}

/// The thread that runs here.
///
/// # Panics
/// In an interrupt handler, which is of no thread; in an idle thread.
#[must_use]
#[track_caller]
pub fn current() -> Handle {
    cpu::assert_no_interrupt("the current thread was asked for");
    let this = thread::current();
    assert!(this.class != Class::Idle, "the idle thread is nobody's business");
    // SAFETY: all threads but the idle ones were made by `keep`.
    Handle(unsafe { this.share() })
}

/// Waits for [`Handle::unpark`] of this thread, unless that came since the last call.
///
/// # Panics
/// The caller may not wait: see [`assert_may_block`].
#[track_caller]
pub fn park() {
    assert_may_block("park");
    let this = thread::current();
    while !this.token.swap(false, Ordering::Acquire) {
        schedule::block();
    }
}

/// The right to wait for a thread's end. Dropped, the thread goes on alone.
pub struct JoinHandle<T> {
    thread: Handle,
    result: Arc<SpinLock<Option<T>>>,
}

impl<T> JoinHandle<T> {
    /// The thread, to wake it.
    #[must_use]
    pub fn thread(&self) -> &Handle {
        &self.thread
    }

    /// Whether the thread ended and gave back its stack: [`join`](Self::join) would not wait.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.0.gone.load(Ordering::Acquire)
    }

    /// Waits until the thread has ended and given back its stack; what its body returned.
    ///
    /// # Panics
    /// The caller may not wait: see [`assert_may_block`].
    #[track_caller]
    pub fn join(self) -> T {
        assert_may_block("join");
        self.thread.0.joiners.wait_until(|| self.is_finished());
        let result = self.result.lock().take();
        result.unwrap_or_else(|| unreachable!("a thread that ends has stored its result"))
    }
}

/// Makes the code that runs now, on the stack that the CPU knows of, the thread `main`. It stays here.
pub(super) fn adopt_main() {
    let stack = cpu::stack();
    let this = ThreadRef::keep(Arc::new(
        Thread::new("main", Class::Normal, Affinity::One(cpu::current())).numbered(),
    ));
    this.set_stack(&stack);
    this.slice.store(SLICE, Ordering::Relaxed);
    this.cpu.store(cpu::current(), Ordering::Relaxed);
    run_queue::of(cpu::current()).set_running(this.class);
    cpu::set_thread(this.pointer() as usize);
}
