//! Loads for `latency` that free much at once, over and over.

use crate::{
    command::CommandError,
    memory,
    threads::{self, JoinHandle, SpawnError},
};
use alloc::{format, sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicBool, Ordering};
use vmalloc::{AllocError, BLOCK_SIZE, CongruentArea, PAGE_SIZE};

/// What is freed, then purged.
#[derive(Clone, Copy, Debug)]
pub(super) enum Freed {
    /// 64 MiB in areas of one page.
    Lazy,
    /// An area of 1 GiB.
    Area,
    /// 1 TiB of address space with all its page tables, and a page at each end.
    Sparse,
}

const LAZY_PAGES: usize = (64 << 20) / PAGE_SIZE;
const AREA: usize = 1 << 30;
const SPARSE: usize = 1 << 40;

/// Frees until it is stopped.
pub(super) struct Freeing {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64, AllocError>>,
}

impl Freed {
    pub fn parse(value: &str) -> Result<Self, CommandError> {
        match value {
            "lazy" => Ok(Self::Lazy),
            "area" => Ok(Self::Area),
            "sparse" => Ok(Self::Sparse),
            _ => Err(CommandError::new(format!("free={value}: neither lazy, area nor sparse"))),
        }
    }

    /// Has a thread free this.
    pub fn start(self) -> Result<Freeing, SpawnError> {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = threads::spawn("freeing", move || {
            let mut rounds = 0;
            while !seen.load(Ordering::Relaxed) {
                self.round()?;
                rounds += 1;
            }
            Ok(rounds)
        })?;
        Ok(Freeing { stop, thread })
    }

    fn round(self) -> Result<(), AllocError> {
        let vmalloc = memory::vmalloc();
        let result = match self {
            Self::Lazy => free_pages(),
            Self::Area => vmalloc.vmalloc(AREA).map(|area| {
                // SAFETY: the area is ours, and nobody else got its address.
                let freed = unsafe { vmalloc.vfree(area) };
                freed.unwrap_or_else(|error| panic!("an area that was allocated cannot be freed: {error}"));
            }),
            Self::Sparse => free_sparse(),
        };
        vmalloc.purge();
        result
    }
}

fn free_pages() -> Result<(), AllocError> {
    let vmalloc = memory::vmalloc();
    let mut areas = Vec::new();
    areas
        .try_reserve_exact(LAZY_PAGES)
        .map_err(|_| memory::frames::shortage(LAZY_PAGES * size_of::<usize>() / PAGE_SIZE))?;
    let result = (0..LAZY_PAGES).try_for_each(|_| vmalloc.vmalloc(PAGE_SIZE).map(|area| areas.push(area)));
    for area in areas {
        // SAFETY: the area is ours, and nobody else got its address.
        let freed = unsafe { vmalloc.vfree(area) };
        freed.unwrap_or_else(|error| panic!("an area that was allocated cannot be freed: {error}"));
    }
    result
}

fn free_sparse() -> Result<(), AllocError> {
    let vmalloc = memory::vmalloc();
    let area = CongruentArea { offset: 0, size: SPARSE };
    let set = vmalloc
        .allocate_congruent(&[area], PAGE_SIZE)
        .map_err(|_| memory::frames::shortage(SPARSE / BLOCK_SIZE))?;
    let last = SPARSE / PAGE_SIZE - 1;
    // SAFETY: the set is ours, and freed below.
    let populated = [0, last].map(|page| unsafe { vmalloc.populate(set, page..page + 1) });
    // SAFETY: the set is ours, and nobody else got an address of it.
    let freed = unsafe { vmalloc.free_congruent(set) };
    freed.unwrap_or_else(|error| panic!("a set that was allocated cannot be freed: {error}"));
    if populated.iter().all(Result::is_ok) { Ok(()) } else { Err(memory::frames::shortage(2)) }
}

impl Freeing {
    /// Ends it after the round under way: how many rounds there were. The error is that of a round that had
    /// too little memory.
    pub fn stop(self) -> Result<u64, AllocError> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join()
    }
}
