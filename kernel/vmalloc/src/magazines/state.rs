//! What the room owns: the frame of each CPU, and whether they are closed.

use super::{CLASSES, Magazine};
use crate::{
    CpuPin, MAX_CPUS, Platform, Reuse,
    atomic::{AtomicPtr, AtomicUsize, Ordering, fence},
};
use core::{
    array, hint, mem,
    ops::Range,
    ptr::{self, NonNull},
};

/// Of how many frames of a machine each CPU of its share may have one in the areas of each size that it parks.
const SHARE: usize = 256;

/// The magazines of an instance.
pub(crate) struct Magazines {
    cpus: [AtomicPtr<Magazine>; MAX_CPUS],
    /// How many have closed them.
    closers: AtomicUsize,
}

/// No CPU makes magazines while it lives.
#[must_use]
pub(crate) struct Closed<'a>(&'a Magazines);

impl Closed<'_> {
    /// Leaves them closed until somebody [reopens](Magazines::reopen) them.
    pub fn keep(self) {
        mem::forget(self);
    }
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        self.0.reopen();
    }
}

impl Magazines {
    #[inline(always)]
    pub fn new(reuse: Reuse) -> Self {
        let cpus = array::from_fn(|_| AtomicPtr::new(ptr::null_mut()));
        Self { cpus, closers: AtomicUsize::new((reuse == Reuse::AfterFlush).into()) }
    }

    /// Returns the magazines of this CPU. The caller is outside of interrupt handlers.
    #[inline(always)]
    pub fn of<'a>(&'a self, pin: &'a impl CpuPin) -> Option<&'a Magazine> {
        // SAFETY: what is linked is initialised, and goes back when it was unlinked and a grace period has passed, which
        // the pin holds up.
        unsafe { self.cpus[pin.cpu() % MAX_CPUS].load(Ordering::Relaxed).as_ref() }
    }

    /// Makes magazines for this CPU, which has none, unless they are closed or memory is too short for them.
    #[cold]
    #[inline(never)]
    pub fn make<P: Platform>(&self, pin: &P::Pin, platform: &P) {
        let share = platform.total_frames() / (SHARE * platform.shootdown().online_count());
        if share < 2 || self.closers.load(Ordering::Acquire) > 0 {
            return;
        }
        let Some(frame) = platform.take_table() else { return };
        let magazine = platform.direct_map(frame).cast::<Magazine>();
        // SAFETY: the frame is large enough and nobody else's; it is full of zeros, which are valid.
        unsafe { magazine.as_ref() }.set_limits(share);
        let link = &self.cpus[pin.cpu() % MAX_CPUS];
        link.store(magazine.as_ptr(), Ordering::Release);
        // Either who closes them finds this one, or it is found here that somebody closes.
        fence(Ordering::SeqCst);
        if self.closers.load(Ordering::SeqCst) > 0 && !link.swap(ptr::null_mut(), Ordering::AcqRel).is_null()
        {
            platform.give_table(frame);
        }
    }

    /// Closes the magazines: from now on no CPU makes any.
    pub fn close(&self) -> Closed<'_> {
        self.closers.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        Closed(self)
    }

    /// Ends what [`close`](Self::close) began and [`keep`](Closed::keep) left.
    pub fn reopen(&self) {
        self.closers.fetch_sub(1, Ordering::Release);
    }

    /// Gives back the magazines of these CPUs, after it has called `retire` with each. Where no grace period can be waited
    /// for, those of other CPUs stay as they are. The caller is outside of interrupt handlers, and not pinned.
    pub fn release<P: Platform>(
        &self,
        _: &Closed<'_>,
        cpus: Range<usize>,
        platform: &P,
        retire: impl Fn(&P::Pin, &Magazine),
    ) {
        let unlink = |link: &AtomicPtr<Magazine>| NonNull::new(link.swap(ptr::null_mut(), Ordering::AcqRel));
        let mut unlinked = [None; MAX_CPUS];
        cpus.for_each(|cpu| unlinked[cpu] = unlink(&self.cpus[cpu]));
        if unlinked.iter().all(Option::is_none) {
            return;
        }
        let is_over = platform.synchronize();
        let pin = platform.pin();
        // Who was pinned on this CPU is not any more.
        let is_free = |cpu| is_over || cpu == pin.cpu() % MAX_CPUS;
        for (cpu, link) in self.cpus.iter().enumerate() {
            if let Some(magazine) = unlinked[cpu].take_if(|_| is_free(cpu)) {
                // SAFETY: nobody can have it any more.
                retire(&pin, unsafe { magazine.as_ref() });
                platform.give_table(platform.frame_of(magazine.cast()));
            } else if let Some(magazine) = unlinked[cpu] {
                let (none, linked) = (ptr::null_mut(), magazine.as_ptr());
                // Ends: a CPU that has made another one is pinned, finds that they are closed, and takes it back.
                while link.compare_exchange(none, linked, Ordering::AcqRel, Ordering::Relaxed).is_err() {
                    hint::spin_loop();
                }
            }
        }
    }

    /// Returns how many CPUs have magazines, and how many pages of address space, and frames, areas have that are parked.
    pub fn count(&self, pin: &impl CpuPin) -> (usize, usize, usize) {
        let _ = pin;
        // SAFETY: as in `of`: the pin holds up the grace period.
        let linked = self.cpus.iter().filter_map(|link| unsafe { link.load(Ordering::Acquire).as_ref() });
        linked.fold((0, 0, 0), |(magazines, pages, frames), magazine| {
            let areas: usize = (1..=CLASSES).map(|pages| magazine.count(pages)).sum();
            let parked: usize = (1..=CLASSES).map(|pages| magazine.count(pages) * pages).sum();
            (magazines + 1, pages + parked + areas, frames + parked)
        })
    }
}
