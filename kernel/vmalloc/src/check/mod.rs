//! A self-check: whether a machine keeps the promises of [`Platform`] and [`Flusher`](crate::Flusher).
//!
//! A single wrong line of glue shows up much later, as memory that has two owners. [`platform`] tries each
//! promise that can be tried, and names the first one that is broken, and what it saw:
//!
//! ```
//! use core::ops::Range;
//! use vmalloc::{Platform, Vmalloc, check};
//!
//! fn start<P: Platform>(machine: P, range: Range<usize>) -> Vmalloc<P> {
//!     // SAFETY: this is the kernel, on the CPU that boots, and nothing else uses the range.
//!     let checked = unsafe { check::platform(&machine, range.clone(), |promise| println!("trying: {promise}")) };
//!     match checked {
//!         Ok(report) => println!("{report}"),
//!         Err(broken) => panic!("{broken}"),
//!     }
//!     // SAFETY: nothing else uses the range.
//!     unsafe { Vmalloc::new(machine, range) }.expect("memory for page tables")
//! }
//! ```
//!
//! A check is for the first boots of a kernel, and for its tests. It takes some forty frames for a moment, and a 2 MiB frame
//! if there is one, and needs no heap.

mod broken;
mod cpu;
mod cpus;
mod flush;
mod flushes;
mod frames;
mod promise;
mod report;
mod trial;

use crate::Platform;
pub use broken::{Broken, Seen};
use core::ops::Range;
#[cfg(target_arch = "x86_64")]
pub use cpu::ThisCpu;
pub use cpu::{Cpu, Registers};
pub use flush::Flush;
pub use promise::Promise;
pub use report::{Report, Untried};
use trial::Trial;

/// Checks whether `machine` keeps its promises on the current CPU, and whether an instance may be made over
/// `range`. Call it outside of interrupt handlers, before the instance is made; and on each other CPU once
/// that is online, with a range that no instance has.
///
/// `announce` is called with each promise before that is tried, with some several times, and may be called
/// pinned. A wrong machine may hang or fault in the check: the promise announced last tells why. In particular,
/// a page fault after [`Promise::DirectMap`] means that the direct map lacks something, and CR2 has the address.
///
/// At the end all memory is given back, and the range is as it was.
///
/// # Errors
/// [`Broken`] names the first promise that was found broken. What was taken stays taken then, and the range
/// must not be used: where a frame has two owners, or a flush does not flush, nothing can be given back.
/// [`Promise::Memory`] means that fewer frames are free than the check takes; all were given back.
///
/// # Safety
/// 1. The caller is a kernel: the registers of the CPU can be read.
/// 2. Until this returns, nobody maps anything in the range, and no instance is made or used whose range shares a top level
///    page table entry with it.
#[cfg(target_arch = "x86_64")]
pub unsafe fn platform<P: Platform>(
    machine: &P,
    range: Range<usize>,
    announce: impl FnMut(Promise),
) -> Result<Report, Broken> {
    // SAFETY: the caller's promise.
    unsafe { platform_on(&ThisCpu, machine, range, announce) }
}

/// Checks a machine as [`platform`] does, on a CPU that may be simulated.
///
/// # Errors
/// The same as those of [`platform`].
///
/// # Safety
/// The same as for [`platform`], on that CPU.
pub unsafe fn platform_on<P: Platform>(
    cpu: &impl Cpu,
    machine: &P,
    range: Range<usize>,
    mut announce: impl FnMut(Promise),
) -> Result<Report, Broken> {
    let mut trial = Trial::new(machine, cpu, &mut announce);
    if !cpu.has_direct_map() {
        trial.report.leave_out(Untried::Tables);
    }
    trial.try_cpu()?;
    trial.try_paging(&range)?;
    let frames = trial.take_frames()?;
    let tables = trial.take_tables(&frames)?;
    trial.try_huge_frame(&frames, &tables)?;
    trial.try_flushes(range.start, &frames, tables)?;
    trial.give(frames, tables);
    trial.try_grace_period();
    Ok(trial.into_report())
}
