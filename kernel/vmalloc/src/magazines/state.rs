//! What the room owns: the frames of each CPU, and whether they are closed.

use super::{CLASSES, Long, Magazine};
use crate::{
    CpuPin, MAX_CPUS, Platform, Returned,
    atomic::{AtomicPtr, AtomicUsize, Ordering, spin_loop},
    percpu::{Part, PerCpu, Record, Records, place},
};
use core::{
    mem,
    ops::Range,
    ptr::{self, NonNull},
};

/// Of how many frames of a machine each CPU of its share may have one in the areas of each size that it parks.
const SHARE: usize = 256;

/// CPUs whose magazines wait for one grace period at most.
const AT_ONCE: usize = 64;

/// Linked while a CPU makes its magazines, until it knows that they are not closed. Nobody follows it.
const BEING_MADE: *mut Magazine = ptr::dangling_mut();

/// Linked where a CPU has no magazines: so a fast path need not ask whether it has some.
fn none() -> *mut Magazine {
    ptr::from_ref(Magazine::without_places()).cast_mut()
}

/// Returns the magazines of a CPU that a link leads to.
#[inline(always)]
fn linked(link: *mut Magazine) -> Option<NonNull<Magazine>> {
    NonNull::new(link).filter(|magazine| ![BEING_MADE, none()].contains(&magazine.as_ptr()))
}

/// Leads to the magazines of a CPU. Nobody links any to the one that CPUs share.
struct Link {
    magazine: AtomicPtr<Magazine>,
    /// Empty ones that the CPU does not use any more. Others may still count what is in them, because no grace period could
    /// be waited for.
    emptied: AtomicPtr<Magazine>,
}

impl Part for Link {
    const AT: usize = place::MAGAZINES;

    fn new(_: bool) -> Self {
        Self { magazine: AtomicPtr::new(none()), emptied: AtomicPtr::new(ptr::null_mut()) }
    }
}

impl Link {
    /// Keeps magazines that are empty for when the CPU makes some again. Returns `false` if some are kept already.
    fn keep(&self, emptied: NonNull<Magazine>) -> bool {
        let place = &self.emptied;
        let put =
            place.compare_exchange(ptr::null_mut(), emptied.as_ptr(), Ordering::AcqRel, Ordering::Relaxed);
        put.is_ok()
    }
}

/// Makes a magazine, which may not be linked before its limits are set.
fn new_magazine<P: Platform>(platform: &P) -> Option<NonNull<Magazine>> {
    let magazine = platform.direct_map(platform.take_table()?).cast::<Magazine>();
    let Some(long) = platform.take_table() else {
        platform.give_table(Returned::new(platform.frame_of(magazine.cast())));
        return None;
    };
    // SAFETY: promise 2 of `Platform`: the frames' bytes are there. They are as many as there are in what they become, nobody
    // else's, and zeros, which are valid. Both go back together.
    unsafe { magazine.as_ref().set_long(platform.direct_map(long).cast::<Long>()) };
    Some(magazine)
}

/// Gives back the frames of a magazine that nobody uses any more, and in which nothing is parked.
fn give_magazine<P: Platform>(platform: &P, magazine: NonNull<Magazine>) {
    // SAFETY: it is a magazine until its frame goes back.
    let long = unsafe { magazine.as_ref() }.long_frame();
    for frame in [long.cast(), magazine.cast()] {
        platform.give_table(Returned::new(platform.frame_of(frame)));
    }
}

/// The magazines of an instance.
pub(crate) struct Magazines {
    links: PerCpu<Link>,
    /// How many have closed them.
    closers: AtomicUsize,
    /// How many give some back just now.
    releasing: AtomicUsize,
    /// How often some were linked again, because no grace period could be waited for.
    relinked: AtomicUsize,
}

/// What is in magazines.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Noted {
    /// Frames of magazines.
    pub own_frames: usize,
    /// Pages of address space of parked areas, and frames of these.
    pub parked: usize,
    pub frames: usize,
    /// Free pages for `vm_map_ram`.
    pub supply: usize,
    /// Pages that `vm_unmap_ram` unmapped.
    pub unmapped: usize,
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
    /// Makes those of an instance, which so many have closed.
    pub fn new(closers: usize, records: &mut Records) -> Self {
        let [releasing, relinked] = [0, 0].map(AtomicUsize::new);
        Self { links: records.lay_out(), closers: AtomicUsize::new(closers), releasing, relinked }
    }

    /// Returns the magazines of this CPU, if it has some. The caller is outside of interrupt handlers.
    #[inline]
    pub fn of<'a>(&'a self, pin: &'a impl CpuPin) -> Option<&'a Magazine> {
        Some(self.here(pin)).filter(|magazine| !magazine.are_none())
    }

    /// Returns the magazines of this CPU, or those [without places](Magazine::without_places). The caller is outside of interrupt handlers.
    #[inline(always)]
    pub fn here<'a>(&'a self, pin: &'a impl CpuPin) -> &'a Magazine {
        self.of_record(pin, self.links.record(pin.cpu()))
    }

    /// Returns the magazines of this CPU, whose record this is, as [`here`](Self::here) does.
    #[inline(always)]
    pub fn of_record<'a>(&'a self, _: &'a impl CpuPin, record: Record<'a>) -> &'a Magazine {
        let link = self.links.part(record).magazine.load(Ordering::Relaxed);
        // SAFETY: what is linked is initialised, and goes back when it was unlinked and a grace period has passed, which
        // the pin holds up. This CPU is not in `make`.
        unsafe { NonNull::new_unchecked(link).as_ref() }
    }

    /// Makes magazines for this CPU, which had none, unless they are closed or memory is too short for them.
    #[cold]
    #[inline(never)]
    pub fn make<P: Platform>(&self, pin: &P::Pin, platform: &P) {
        let Some(Link { magazine: link, emptied }) = self.links.own(pin.cpu()) else { return };
        let share = platform.total_frames() / (SHARE * platform.shootdown().online_count());
        if share < 2 || self.closers.load(Ordering::Acquire) > 0 {
            return;
        }
        let again = NonNull::new(emptied.swap(ptr::null_mut(), Ordering::AcqRel));
        let Some(magazine) = again.or_else(|| new_magazine(platform)) else { return };
        // SAFETY: it is a new one, or an empty one of this CPU's.
        unsafe { magazine.as_ref() }.set_limits(share);
        let replace = |old: *mut Magazine, new: *mut Magazine| {
            link.compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        };
        // Fails where who had unlinked this CPU's has linked them again meanwhile.
        let is_begun = replace(none(), BEING_MADE);
        // Who closes them swaps the link: either that takes the mark away, or it came before, and is seen here.
        let new = if self.closers.load(Ordering::SeqCst) > 0 { none() } else { magazine.as_ptr() };
        if !(is_begun && replace(BEING_MADE, new)) || new == none() {
            match again {
                Some(again) => emptied.store(again.as_ptr(), Ordering::Release),
                None => give_magazine(platform, magazine),
            }
        }
    }

    /// Closes the magazines: from now on no CPU makes any.
    pub fn close(&self) -> Closed<'_> {
        // In one order with `make`, and with the making of a CPU's record, which comes before that: either the CPU finds them
        // closed, or who has closed them finds its record.
        self.closers.fetch_add(1, Ordering::SeqCst);
        Closed(self)
    }

    /// Ends what [`close`](Self::close) began and [`keep`](Closed::keep) left.
    pub fn reopen(&self) {
        self.closers.fetch_sub(1, Ordering::Release);
    }

    /// Gives back the magazines of these CPUs, after it has called `retire` with each, not pinned, which empties it. Where
    /// `synchronize`, which waits for a grace period, returns that it did not, those of other CPUs stay as they are, and this
    /// CPU may take its own again. Returns whether it did each time. The caller is outside of interrupt handlers, and not pinned.
    pub fn release<P: Platform>(
        &self,
        _: &Closed<'_>,
        cpus: Range<usize>,
        platform: &P,
        synchronize: impl Fn() -> bool,
        retire: impl Fn(&Magazine),
    ) -> bool {
        // Before anything is unlinked: who finds nothing linked finds that somebody has it.
        self.releasing.fetch_add(1, Ordering::AcqRel);
        let has_waited = self.release_unlinked(cpus, platform, synchronize, retire);
        self.releasing.fetch_sub(1, Ordering::Release);
        has_waited
    }

    /// Returns whether somebody gives magazines back just now: what was parked in them is nowhere else yet.
    pub fn are_being_released(&self) -> bool {
        self.releasing.load(Ordering::Acquire) > 0
    }

    /// Returns how often somebody had unlinked magazines, could not wait, and has linked them again. Who looks at all of them
    /// has missed some where that is another number afterwards. It is asked for behind
    /// [`are_being_released`](Self::are_being_released), which turns false when it has been counted.
    pub fn relinked(&self) -> usize {
        self.relinked.load(Ordering::Acquire)
    }

    /// Links magazines where they were unlinked.
    fn link_again(&self, link: &AtomicPtr<Magazine>, magazine: NonNull<Magazine>) {
        let again = magazine.as_ptr();
        // Ends: a CPU that makes others is pinned, and finds that they are closed.
        while link.compare_exchange(none(), again, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            spin_loop();
        }
        self.relinked.fetch_add(1, Ordering::Release);
    }

    fn release_unlinked<P: Platform>(
        &self,
        cpus: Range<usize>,
        platform: &P,
        synchronize: impl Fn() -> bool,
        retire: impl Fn(&Magazine),
    ) -> bool {
        let mut has_waited = true;
        let mut links = self.links.owned(cpus).peekable();
        while links.peek().is_some() {
            let mut unlinked = [None; AT_ONCE];
            for (place, (cpu, link)) in unlinked.iter_mut().zip(&mut links) {
                let take = |from: &AtomicPtr<_>, none| linked(from.swap(none, Ordering::AcqRel));
                let found = (take(&link.magazine, none()), take(&link.emptied, ptr::null_mut()));
                *place = (found != (None, None)).then_some((cpu, link, found));
            }
            if unlinked.iter().all(Option::is_none) {
                continue;
            }
            let is_over = synchronize();
            has_waited &= is_over;
            for (cpu, link, (magazine, emptied)) in unlinked.into_iter().flatten() {
                // Who was pinned on this CPU when its own were unlinked is not any more.
                let is_free = is_over || cpu == platform.pin().cpu() % MAX_CPUS;
                if let Some(magazine) = magazine.filter(|_| is_free) {
                    // SAFETY: only its own CPU used it, pinned. That pin is gone: a grace period has passed since the
                    // magazine was unlinked, or the CPU is this one.
                    let magazine = unsafe { magazine.as_ref() };
                    retire(magazine);
                    debug_assert!(
                        magazine.ram.is_empty(),
                        "it may be used again, and notes what was given back"
                    );
                } else if let Some(magazine) = magazine {
                    self.link_again(&link.magazine, magazine);
                }
                for empty in magazine.filter(|_| is_free).into_iter().chain(emptied) {
                    // Others may count what is in it until a grace period has passed.
                    if is_over {
                        give_magazine(platform, empty);
                    } else if !link.keep(empty) {
                        self.link_again(&link.magazine, empty);
                    }
                }
            }
        }
        has_waited
    }

    /// Returns what is in the magazines of all CPUs.
    pub fn count(&self, pin: &impl CpuPin) -> Noted {
        let emptied =
            self.links.iter().filter(|link| !link.emptied.load(Ordering::Relaxed).is_null()).count();
        let none = Noted { own_frames: 2 * emptied, ..Noted::default() };
        self.linked(pin).fold(none, |sum, magazine| {
            let areas: usize = (1..=CLASSES).map(|pages| magazine.count(pages)).sum();
            let frames: usize = (1..=CLASSES).map(|pages| magazine.count(pages) * pages).sum();
            let (long, long_pages) = magazine.long().counts();
            let (supply, unmapped) = magazine.ram.counts();
            Noted {
                own_frames: sum.own_frames + 2,
                parked: sum.parked + frames + areas + long_pages,
                frames: sum.frames + frames + long_pages.saturating_sub(long),
                supply: sum.supply + supply,
                unmapped: sum.unmapped + unmapped,
            }
        })
    }

    /// Returns how many pages the CPUs have unmapped by `vm_unmap_ram`, and not retired.
    pub fn unmapped(&self, pin: &impl CpuPin) -> usize {
        self.linked(pin).map(|magazine| magazine.ram.counts().1).sum()
    }

    fn linked<'a>(&'a self, _: &'a impl CpuPin) -> impl Iterator<Item = &'a Magazine> {
        let links = self.links.iter().filter_map(|link| linked(link.magazine.load(Ordering::Acquire)));
        // SAFETY: as in `of`: the pin holds up the grace period.
        links.map(|link| unsafe { link.as_ref() })
    }
}
