//! A ready-made machine: [`Machine`] implements [`Platform`](crate::Platform) for kernels that see all
//! physical memory at an offset, on one CPU or several.
//!
//! ```no_run
//! use vmalloc::adapters::{Machine, Memory};
//! use vmalloc::{Frame, Vmalloc};
//! # fn take_frame() -> Option<u64> { None }
//! # fn give_frame(_: u64) {}
//! # fn start(offset: u64, usable: Vec<core::ops::Range<u64>>) -> Result<(), Box<dyn core::error::Error>> {
//!
//! // Where the loader shows physical address 0, and which physical addresses are memory.
//! let memory = Memory::new(offset, usable);
//! let frames = (
//!     || take_frame().map(|address| Frame::new(address / 4096)),
//!     |frame: Frame| {
//!         give_frame(frame.address());
//!         true // An allocator that cannot free says false: the adapter keeps the frame and uses it again.
//!     },
//! );
//! // SAFETY: one CPU runs, and all else that the function lists holds, too.
//! let machine = unsafe { Machine::one_cpu(memory, frames)? };
//! // SAFETY: nothing else is mapped in this range.
//! let vmalloc = unsafe { Vmalloc::new(machine, 0xffff_c900_0000_0000..0xffff_c980_0000_0000)? };
//! let area = vmalloc.vmalloc(10_000)?;
//! # Ok(())
//! # }
//! ```
//!
//! With the feature `x86_64`, an allocator that implements `FrameAllocator<Size4KiB>` of the crate `x86_64` takes the
//! place of the two closures: as `Freeing(allocator)` if it is a `FrameDeallocator` too, else as `NeverFreeing(allocator)`.
//! [`Frame`](crate::Frame) and `PhysFrame` convert into each other. Kernels on another version of that crate,
//! or without it, pass closures, or implement [`FrameSource`]. To name the type of a `static`, pass closures
//! that capture nothing as `fn` pointers: `Vmalloc<Machine<(fn() -> Option<Frame>, fn(Frame) -> bool)>>`.
//!
//! # Several CPUs
//!
//! [`Machine::several_cpus`] asks for two more functions, [`Cpus`]: one says which CPU it runs on, one
//! interrupts others. The handler of that calls [`Machine::answer`], and each further CPU calls
//! [`Machine::set_online`] before it uses what an instance maps.
//!
//! # Interrupts and threads
//!
//! While the library is [pinned](crate::Platform::pin) it runs with interrupts off, and restores them
//! afterwards. So it is never interrupted where it must not be:
//!
//! * Every call may be made in an interrupt handler, even those that allocate, and `vfree` frees at once.
//!   There, as with interrupts off, no call waits for another thread; one that would have to is refused.
//! * The frame source is called with interrupts off, and by one CPU at a time. If it takes a kernel lock, and
//!   handlers call the library or threads are preempted, the kernel takes that lock with interrupts off everywhere;
//!   or the source only tries it, and else says that it has no frame, or did not take one back. A kernel without
//!   such a lock gives the allocator to the adapter and takes what it needs itself by [`Machine::take_frame`].
//! * Handlers of non-maskable interrupts and machine checks can interrupt anything. They call only
//!   `find_area`, `frame_at`, `contains` and `vread`.
//! * Interrupts are off at most while one block, of up to 512 pages, is handled, or for one flush.

#[cfg(all(feature = "x86_64", target_arch = "x86_64"))]
mod allocators;
mod cpus;
mod grace;
mod hardware;
mod machine;
mod memory;
#[cfg(all(test, not(loom)))]
mod tests;

#[cfg(all(feature = "x86_64", target_arch = "x86_64"))]
pub use allocators::{Freeing, NeverFreeing};
pub use cpus::{Cpus, OneCpu};
pub use hardware::UnfitCpu;
pub use machine::{Machine, Pin};
pub use memory::{FrameSource, Memory};
