//! Small instances of vmalloc beside the kernel's own, for experiments and tests. Made and dropped in threads, with no lock
//! held.

use super::reclaim::KernelKeeps;
use crate::{
    arch::layout,
    memory::{self, Machine, PurgeWish, vmalloc},
};
use alloc::boxed::Box;
use core::{
    fmt,
    ops::Deref,
    sync::atomic::{AtomicU32, Ordering},
};
use vmalloc::{BLOCK_SIZE, NewError, Platform, Policy, Reuse, Vmalloc};

/// Experiments at once, at most.
const PLACES: u32 = 8;
/// Bytes of address space for each.
const PLACE_SIZE: usize = (layout::EXPERIMENTS.end - layout::EXPERIMENTS.start) / PLACES as usize;

static TAKEN: AtomicU32 = AtomicU32::new(0);

/// An instance with a part of the address space to itself. On the heap: it is too large for many copies on
/// a stack.
pub struct Experiment {
    // Dropped in this order.
    instance: Box<Vmalloc<Machine>>,
    _place: Place,
}

/// Why there is no experiment.
#[derive(Debug)]
#[non_exhaustive]
pub enum ExperimentError {
    /// As many as can be are under way.
    TooMany,
    /// The instance could not be made.
    New(NewError),
}

impl fmt::Display for ExperimentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => write!(f, "{PLACES} experiments are under way, and there is no room for more"),
            Self::New(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ExperimentError {}

impl From<NewError> for ExperimentError {
    fn from(error: NewError) -> Self {
        Self::New(error)
    }
}

/// Returns the policy of instances in which every freed page waits for a flush, as experiments and tests of waiting want it.
pub fn flushing() -> Policy {
    memory::policy().reuse(Reuse::AfterFlush)
}

/// A part of the address space.
struct Place(u32);

impl Experiment {
    /// An instance of `blocks` blocks, purged by the threads that free.
    ///
    /// # Errors
    /// See [`ExperimentError`].
    pub fn new(blocks: usize, policy: Policy) -> Result<Self, ExperimentError> {
        Self::with_purger(blocks, policy, None)
    }

    /// An instance of `blocks` blocks, purged by the thread that serves `purger`; by the threads that free if there is none.
    ///
    /// # Errors
    /// See [`ExperimentError`].
    #[inline(never)]
    pub fn with_purger(
        blocks: usize,
        policy: Policy,
        purger: Option<&'static PurgeWish>,
    ) -> Result<Self, ExperimentError> {
        let place = Place::take().ok_or(ExperimentError::TooMany)?;
        let start = layout::EXPERIMENTS.start + place.0 as usize * PLACE_SIZE;
        if blocks > PLACE_SIZE / BLOCK_SIZE {
            return Err(NewError::BadRange(start..start + blocks * BLOCK_SIZE).into());
        }
        let machine = Machine::new(vmalloc().platform().root(), purger);
        // SAFETY: the place is this instance's until it is dropped.
        match unsafe { Vmalloc::with_policy(machine, start..start + blocks * BLOCK_SIZE, policy) } {
            Ok(instance) => Ok(Self { instance: Box::new(instance), _place: place }.asking_the_kernel()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Experiment {
    /// Before this instance refuses for want of frames, the kernel gives back what it keeps.
    fn asking_the_kernel(self) -> Self {
        assert!(self.register_notifier(&KernelKeeps), "a new instance has no notifiers");
        self
    }
}

impl Deref for Experiment {
    type Target = Vmalloc<Machine>;

    fn deref(&self) -> &Vmalloc<Machine> {
        &self.instance
    }
}

impl Place {
    fn take() -> Option<Self> {
        let taken = TAKEN.fetch_update(Ordering::Acquire, Ordering::Relaxed, |taken| {
            let free = taken.trailing_ones();
            (free < PLACES).then_some(taken | 1 << free)
        });
        taken.ok().map(|before| Self(before.trailing_ones()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        TAKEN.fetch_and(!(1 << self.0), Ordering::Release);
    }
}
