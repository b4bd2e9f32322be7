//! Workers: a thread on each CPU, which go through the calls batch by batch. A turn, the number of the next call, says who
//! makes one: the order is the recorded one, whichever CPUs the calls are of.

use super::{
    Parameters,
    calls::{Calls, cycles_of_nothing},
    counts::{Counts, Kinds, Moment},
    map::Sampler,
    program::{Program, Source},
};
use crate::{
    arch::{cpu, tsc},
    command::CommandError,
    lock_class,
    memory::{self, PurgeWish},
    services::{Experiment, Frames, purger::Purger},
    sync::SpinLock,
    threads::{self, Builder, JoinHandle, SpawnError, WaitQueue},
};
use alloc::{format, sync::Arc, vec::Vec};
use core::{
    fmt, mem,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};
use protocol::replay::Call;

/// Calls of a batch.
const BATCH: usize = 4096;
/// 64 GiB of address space.
const BLOCKS: usize = 32 << 10;
/// Looks at the turn before others are let onto the CPU.
const SPINS: u32 = 1000;

static WISH: PurgeWish = PurgeWish::new();

/// What the workers share.
struct Shared {
    calls: Calls,
    batch: SpinLock<Batch>,
    changed: WaitQueue,
    /// The number of the call in the batch that is made next.
    turn: AtomicUsize,
    /// Workers that are through with the batch.
    through: AtomicUsize,
    finished: WaitQueue,
    wrong: AtomicBool,
    workers: usize,
    sampler: Option<Sampler>,
}

/// The calls that the workers go through.
#[derive(Clone, Default)]
struct Batch {
    /// Batches before this one.
    number: u64,
    calls: Arc<Vec<Call>>,
    /// Calls before it, in all loops.
    before: u64,
    /// When the first call of the program was made, in cycles; `None`: each is made as soon as it can.
    start: Option<u64>,
    /// There is none any more.
    over: bool,
}

/// Replays the program that `open` gives, as often as the parameters ask for. Called in a thread that may wait.
///
/// # Errors
/// The line says what is wrong with the program, or what there is too little of. All that was allocated is free again.
pub fn replay<S: Source>(
    open: impl Fn() -> Result<S, CommandError>,
    parameters: Parameters,
) -> Result<Counts, CommandError> {
    let header = Program::open(open()?)?.header;
    let instance = Experiment::with_purger(BLOCKS, memory::policy(), Some(&WISH)).map_err(failed)?;
    let frames = Frames::take(header.frames as usize).map_err(failed)?;
    let workers = cpu::online_count().min(header.cpus.max(1).into());
    let total = header.calls.saturating_mul(parameters.loops.into());
    let sampler = Sampler::begin(&instance, total, parameters.samples)?;
    let shared = Arc::new(Shared {
        calls: Calls::new(instance, frames, header.slots as usize).map_err(failed)?,
        batch: SpinLock::new(lock_class!("replay batch"), Batch::default()),
        changed: WaitQueue::new(),
        turn: AtomicUsize::new(0),
        through: AtomicUsize::new(0),
        finished: WaitQueue::new(),
        wrong: AtomicBool::new(false),
        workers,
        sampler,
    });
    let purger = {
        let shared = Arc::clone(&shared);
        Purger::start("replay purge", &WISH, move || {
            shared.calls.instance.purge();
        })
    };
    let purger = purger.map_err(failed)?;
    let counts = with_workers(&shared, || run(&shared, &open, parameters));
    purger.stop();
    let sampled =
        shared.sampler.as_ref().map_or(Ok(()), |sampler| sampler.end(&shared.calls.instance, total));
    counts.and_then(|counts| sampled.map(|()| counts))
}

/// Runs `body` with workers, which end when it does; their counts are added to what it gives.
fn with_workers(
    shared: &Arc<Shared>,
    body: impl FnOnce() -> Result<Counts, CommandError>,
) -> Result<Counts, CommandError> {
    let online = cpu::online();
    let spawn = |(worker, cpu)| -> Result<JoinHandle<Result<Kinds, &'static str>>, SpawnError> {
        let shared = Arc::clone(shared);
        Builder::new("replay").on_cpu(cpu).spawn(move || work(&shared, worker))
    };
    let mut threads = Vec::new();
    let mut result = Ok(());
    for cpu in online.iter().take(shared.workers).enumerate() {
        match spawn(cpu) {
            Ok(thread) => threads.push(thread),
            Err(error) => result = Err(failed(error)),
        }
    }
    let counts = result.and_then(|()| body());
    shared.batch.lock().over = true;
    shared.changed.wake_all();
    // All of them are gone before one's error is looked at.
    let worked: Vec<_> = threads.into_iter().map(JoinHandle::join).collect();
    let mut kinds = Kinds::default();
    for worked in worked {
        kinds += worked.map_err(CommandError::new)?;
    }
    counts.map(|counts| Counts { kinds, ..counts })
}

/// Hands the batches to the workers.
fn run<S: Source>(
    shared: &Shared,
    open: &impl Fn() -> Result<S, CommandError>,
    parameters: Parameters,
) -> Result<Counts, CommandError> {
    let calls = &shared.calls;
    let before = Moment::now(&calls.instance);
    let (mut cycles, mut made, mut stats) = (0_i64, 0, calls.instance.stats());
    for _ in 0..parameters.loops {
        let mut program = Program::open(open()?)?;
        let start = tsc::now();
        loop {
            let reading = tsc::now();
            let batch = program.read(BATCH)?;
            if batch.is_empty() {
                break;
            }
            // What the device takes is no part of the replay, unless the calls had to wait anyway.
            if !parameters.timed {
                cycles -= (tsc::since(reading)).cast_signed();
            }
            let count = batch.len() as u64;
            shared.go_through(batch, made, parameters.timed.then_some(start));
            made += count;
            if shared.wrong.load(Ordering::Relaxed) {
                // Who found it says what.
                return Err(CommandError::new("the program is wrong"));
            }
        }
        cycles += (tsc::since(start)).cast_signed();
        stats = calls.instance.stats();
        calls.free_all();
    }
    let sampling = shared.sampler.as_ref().map_or(0, Sampler::took);
    Ok(Counts {
        kinds: Kinds::default(),
        before,
        after: Moment::now(&calls.instance),
        cycles_of_nothing: cycles_of_nothing(),
        microseconds: tsc::microseconds(cycles.max(0).cast_unsigned().saturating_sub(sampling)),
        cpus: shared.workers,
        peak_pages: calls.peak_pages.load(Ordering::Relaxed),
        peak_lazy: calls.peak_lazy.load(Ordering::Relaxed),
        used_at_end: stats.used(),
        largest_free_run_at_end: stats.largest_free_run,
        total_pages: stats.total,
        kilohertz: tsc::kilohertz(),
    })
}

impl Shared {
    /// Has the workers make the calls of a batch, and waits until they have.
    fn go_through(&self, calls: Vec<Call>, before: u64, start: Option<u64>) {
        self.turn.store(0, Ordering::Relaxed);
        self.through.store(0, Ordering::Relaxed);
        let calls = Arc::new(calls);
        let old = {
            let mut batch = self.batch.lock();
            let number = batch.number + 1;
            mem::replace(&mut *batch, Batch { number, calls, before, start, over: false })
        };
        // Nothing is allocated or freed under the lock: that may wake the thread that purges.
        drop(old);
        self.changed.wake_all();
        self.finished.wait_until(|| self.through.load(Ordering::Acquire) == self.workers);
    }

    /// Waits for a batch after that of this number; `None` if there will be none.
    fn next_batch(&self, number: u64) -> Option<Batch> {
        let mut next = None;
        self.changed.wait_until(|| {
            let batch = self.batch.lock();
            let is_new = batch.over || batch.number != number;
            if is_new {
                next = Some(batch.clone());
            }
            is_new
        });
        next.filter(|batch| !batch.over)
    }

    fn wait_for_turn(&self, number: usize) {
        // Acquire: what the calls before left in their slots is seen.
        while self.turn.load(Ordering::Acquire) != number {
            for _ in 0..SPINS {
                if self.turn.load(Ordering::Relaxed) == number {
                    break;
                }
                core::hint::spin_loop();
            }
            threads::yield_now();
        }
    }
}

/// Makes the calls of a worker. `Err`: one cannot be made.
fn work(shared: &Shared, worker: usize) -> Result<Kinds, &'static str> {
    let (mut kinds, mut result) = (Kinds::default(), Ok(()));
    let mut number = 0;
    while let Some(batch) = shared.next_batch(number) {
        number = batch.number;
        let mine = |(_, call): &(usize, &Call)| usize::from(call.cpu) % shared.workers == worker;
        for (index, call) in batch.calls.iter().enumerate().filter(mine) {
            shared.wait_for_turn(index);
            if let Some(start) = batch.start {
                threads::sleep_until(start.saturating_add(tsc::cycles(call.time / 1000)));
            }
            if let Some(sampler) = &shared.sampler {
                sampler.before_call(&shared.calls.instance, batch.before + index as u64);
            }
            if result.is_ok() {
                result = shared.calls.make(call, &mut kinds);
                shared.wrong.fetch_or(result.is_err(), Ordering::Relaxed);
            }
            // Release: who comes next finds what this call left.
            shared.turn.store(index + 1, Ordering::Release);
        }
        // Release: who sees that all are through finds what they did.
        shared.through.fetch_add(1, Ordering::Release);
        shared.finished.wake_all();
    }
    result.map(|()| kinds)
}

fn failed(error: impl fmt::Display) -> CommandError {
    CommandError::new(format!("{error}"))
}
