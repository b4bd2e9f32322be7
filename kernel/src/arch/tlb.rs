//! Making CPUs forget translations.

use core::sync::atomic::{AtomicU64, Ordering};
use vmalloc::{FlushRequest, PAGE_SIZE};
use x86_64::{VirtAddr, instructions::tlb, registers::control::Cr3};

/// Flushes done since boot.
#[derive(Debug)]
pub struct Counters {
    /// Flushes of everything that is not global.
    pub full: AtomicU64,
    /// Pages flushed one by one.
    pub pages: AtomicU64,
}

/// What the boot CPU, the only one that runs, has flushed.
pub static COUNTERS: Counters = Counters { full: AtomicU64::new(0), pages: AtomicU64::new(0) };

/// Flushes on the CPU this runs on, the only one. It serialises: stores to page tables made before
/// are seen by every later walk.
#[inline]
pub fn flush(request: FlushRequest<'_>) {
    match request {
        FlushRequest::Pages(ranges) => {
            for range in ranges {
                for address in range.clone().step_by(PAGE_SIZE) {
                    tlb::flush(VirtAddr::new_truncate(address as u64));
                }
                count(&COUNTERS.pages, (range.len() / PAGE_SIZE) as u64);
            }
        }
        FlushRequest::All => {
            let (root, flags) = Cr3::read_raw();
            // SAFETY: the same page tables again. Drops all that is not GLOBAL, and the
            // paging-structure caches.
            unsafe { Cr3::write_raw(root, flags) };
            count(&COUNTERS.full, 1);
        }
    }
}

/// One CPU counts, so no locked instruction is needed.
#[inline]
fn count(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Ordering::Relaxed) + by, Ordering::Relaxed);
}

/// Called on a CPU to which another one sent `Vector::Flush`, with interrupts off.
pub fn on_interrupt() {}
