//! The benchmark cases.

use super::{
    makers::{Library, Maker, Makers, Touch},
    parameters::Parameters,
    percpu_case,
};
use crate::{
    arch::cpu::{self, Pin},
    instead::{FreeList, Instead, Vmem},
    memory::{self, frames},
    services::{rcu, reclaim},
};
use alloc::vec::Vec;
use core::{mem::ManuallyDrop, ptr::NonNull};
use fastrand::Rng;
use vmalloc::{AllocError, Frame, PAGE_SIZE, Request};

/// All loops of one run of a case, with areas that `M` makes.
type Run<M> = fn(&M, &Parameters, &mut Rng) -> Result<(), AllocError>;

pub(super) struct Case {
    /// In `run_test_mask`.
    pub bit: u64,
    pub name: &'static str,
    run: Run<Library>,
    /// The case without the library, if there is that.
    instead: Option<WithoutLibrary>,
    /// The case goes on until it fails; that is no fault.
    pub may_fail: bool,
}

#[derive(Clone, Copy)]
struct WithoutLibrary {
    free_list: Run<Instead<FreeList>>,
    vmem: Run<Instead<Vmem>>,
}

const fn case(bit: u64, name: &'static str, run: Run<Library>) -> Case {
    Case { bit, name, run, instead: None, may_fail: false }
}

impl Case {
    const fn instead(self, free_list: Run<Instead<FreeList>>, vmem: Run<Instead<Vmem>>) -> Self {
        Self { instead: Some(WithoutLibrary { free_list, vmem }), ..self }
    }

    /// Whether the case is there without the library.
    pub fn is_there_instead(&self) -> bool {
        self.instead.is_some()
    }

    /// Runs all its loops with areas that one of these makes. Without the library only what is there is asked for.
    pub fn run(&self, makers: &Makers, parameters: &Parameters, random: &mut Rng) -> Result<(), AllocError> {
        let instead = || self.instead.unwrap_or_else(|| panic!("{} needs the library", self.name));
        match makers {
            Makers::Library(maker) => (self.run)(maker, parameters, random),
            Makers::FreeList(maker) => (instead().free_list)(maker, parameters, random),
            Makers::Vmem(maker) => (instead().vmem)(maker, parameters, random),
        }
    }
}

pub(super) const CASES: &[Case] = &[
    case(1, "fix_size_alloc_test", fix_size).instead(fix_size, fix_size),
    case(2, "full_fit_alloc_test", full_fit).instead(full_fit, full_fit),
    case(4, "long_busy_list_alloc_test", long_busy_list).instead(long_busy_list, long_busy_list),
    case(8, "random_size_alloc_test", random_size).instead(random_size, random_size),
    case(16, "fix_align_alloc_test", fix_align),
    case(32, "random_size_align_alloc_test", random_size_align),
    Case { may_fail: true, ..case(64, "align_shift_alloc_test", align_shift) },
    case(128, "pcpu_alloc_test", percpu_case::pcpu_alloc),
    case(256, "kvfree_rcu_1_arg_vmalloc_test", kvfree_rcu_1_arg),
    case(512, "kvfree_rcu_2_arg_vmalloc_test", kvfree_rcu_2_arg),
    case(1024, "vm_map_ram_test", vm_map_ram).instead(vm_map_ram, vm_map_ram),
    Case { may_fail: true, ..case(2048, "no_block_alloc_test", no_block) },
    case(4096, "vrealloc_test", vrealloc),
];

fn fix_size<M: Maker>(maker: &M, parameters: &Parameters, _: &mut Rng) -> Result<(), AllocError> {
    let request = M::request(parameters.pages(), parameters.use_huge);
    for _ in 0..parameters.test_loop_count {
        maker.make(request)?.touch();
    }
    Ok(())
}

fn full_fit<M: Maker>(maker: &M, parameters: &Parameters, _: &mut Rng) -> Result<(), AllocError> {
    const PAIRS: usize = 8192;
    let pairs = (1 + cpu::online_count().ilog2() as usize) * PAIRS;
    let mut kept = reserve(pairs)?;
    let mut holes = reserve(pairs)?;
    for _ in 0..pairs {
        kept.push(maker.of_pages(1)?);
        holes.push(maker.of_pages(1)?);
    }
    drop(holes);
    for _ in 0..parameters.test_loop_count {
        maker.of_pages(1)?.touch();
    }
    Ok(())
}

fn long_busy_list<M: Maker>(maker: &M, parameters: &Parameters, _: &mut Rng) -> Result<(), AllocError> {
    const HELD: usize = 15_000;
    let mut held = reserve(HELD)?;
    for _ in 0..HELD {
        held.push(maker.of_pages(1)?);
    }
    for _ in 0..parameters.test_loop_count {
        let large = maker.of_pages(100)?;
        let small = maker.of_pages(1)?;
        large.touch();
        small.touch();
        // In this order, as the reference driver does.
        drop(large);
        drop(small);
    }
    Ok(())
}

fn random_size<M: Maker>(maker: &M, parameters: &Parameters, random: &mut Rng) -> Result<(), AllocError> {
    for _ in 0..parameters.test_loop_count {
        maker.of_pages(random.usize(1..=100))?.touch();
    }
    Ok(())
}

fn fix_align(library: &Library, parameters: &Parameters, _: &mut Rng) -> Result<(), AllocError> {
    for _ in 0..parameters.test_loop_count {
        library.make(aligned(5, 32 << 10, parameters))?;
    }
    Ok(())
}

fn random_size_align(library: &Library, parameters: &Parameters, random: &mut Rng) -> Result<(), AllocError> {
    for _ in 0..parameters.test_loop_count {
        let byte = usize::from(random.u8(..));
        let pages = byte % 10 + 1;
        library.make(aligned(pages, 1 << (byte % 23), parameters))?;
    }
    Ok(())
}

fn aligned(pages: usize, align: usize, parameters: &Parameters) -> Request {
    let request = Request::new(pages * PAGE_SIZE).align(align);
    if parameters.zero { request.zeroed() } else { request }
}

fn align_shift(library: &Library, _: &Parameters, _: &mut Rng) -> Result<(), AllocError> {
    (0..usize::BITS).try_for_each(|shift| library.make(Request::new(PAGE_SIZE).align(1 << shift)).map(drop))
}

/// An area whose first byte was written, for the deferred free that the caller makes.
#[track_caller]
#[inline]
fn written_page(library: &Library) -> Result<NonNull<u8>, AllocError> {
    let area = library.of_pages(1)?;
    area.touch();
    Ok(ManuallyDrop::new(area).start())
}

fn kvfree_rcu_1_arg(library: &Library, parameters: &Parameters, _: &mut Rng) -> Result<(), AllocError> {
    after_a_grace_period(|| {
        for _ in 0..parameters.test_loop_count {
            // SAFETY: nobody else got the address.
            unsafe { rcu::vfree_rcu_mightsleep(written_page(library)?) };
        }
        Ok(())
    })
}

fn kvfree_rcu_2_arg(library: &Library, parameters: &Parameters, _: &mut Rng) -> Result<(), AllocError> {
    after_a_grace_period(|| {
        for _ in 0..parameters.test_loop_count {
            let area = written_page(library)?;
            // SAFETY: nobody else got the address; the page has room for the head behind the byte.
            unsafe { rcu::vfree_rcu(area, area.cast::<rcu::Head>().add(1)) };
        }
        Ok(())
    })
}

/// Runs loops that defer, then waits until all is freed, so that nothing is left for the next case.
fn after_a_grace_period(loops: impl FnOnce() -> Result<(), AllocError>) -> Result<(), AllocError> {
    let result = loops();
    rcu::vfree_rcu_barrier();
    result
}

fn vm_map_ram<M: Maker>(maker: &M, parameters: &Parameters, _: &mut Rng) -> Result<(), AllocError> {
    let (pages, sets) = (parameters.pages(), parameters.sets());
    let frames = Frames::take(pages.saturating_mul(sets))?;
    let frames = &*frames.0;
    if sets > 1 {
        return map_in_turn(maker, frames, parameters);
    }
    for _ in 0..parameters.test_loop_count {
        maker.map(frames)?.touch();
    }
    Ok(())
}

/// Apart from the loop of one set, which is not to pay for it.
#[inline(never)]
fn map_in_turn<M: Maker>(maker: &M, frames: &[Frame], parameters: &Parameters) -> Result<(), AllocError> {
    let mut rest = frames;
    for _ in 0..parameters.test_loop_count {
        if rest.is_empty() {
            rest = frames;
        }
        let set;
        (set, rest) = rest.split_at(parameters.pages());
        maker.map(set)?.touch();
    }
    Ok(())
}

/// Without waiting, because preemption is off, or because that is asked for too.
fn no_block(library: &Library, parameters: &Parameters, random: &mut Rng) -> Result<(), AllocError> {
    for _ in 0..parameters.test_loop_count {
        let request = Request::new(PAGE_SIZE);
        let request = if random.bool() { request.no_wait() } else { request };
        let pin = Pin::new();
        let area = library.make(request);
        drop(pin);
        area?.touch();
    }
    Ok(())
}

fn vrealloc(library: &Library, parameters: &Parameters, _: &mut Rng) -> Result<(), AllocError> {
    for _ in 0..parameters.test_loop_count {
        let mut area = library.of_pages(1)?;
        // SAFETY: the area is ours.
        unsafe { area.start().write_volatile(b'a') };
        for size in [4 * PAGE_SIZE, PAGE_SIZE, PAGE_SIZE / 2, PAGE_SIZE] {
            area.resize(size)?;
            // SAFETY: the area is ours, and its first byte was written.
            let byte = unsafe { area.start().read_volatile() };
            assert!(byte == b'a', "vrealloc to {size} bytes lost what the area held");
        }
    }
    Ok(())
}

/// Frames that are mapped now and then; they go back when dropped.
struct Frames(Vec<Frame>);

impl Frames {
    fn take(count: usize) -> Result<Self, AllocError> {
        let mut list = reserve(count)?;
        let taken = reclaim::take(count, |frame| list.push(frame));
        // What there is goes back if it is too little.
        let frames = Self(list);
        if taken < count { Err(frames::shortage(count)) } else { Ok(frames) }
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        memory::vmalloc().vm_unmap_aliases();
        // SAFETY: they were taken by `take`, and no CPU has a translation to them any more.
        unsafe { frames::give(self.0.drain(..)) };
    }
}

/// Room for a list in the heap.
pub(super) fn reserve<T>(entries: usize) -> Result<Vec<T>, AllocError> {
    let mut list = Vec::new();
    let pages = entries.saturating_mul(size_of::<T>()).div_ceil(PAGE_SIZE);
    list.try_reserve_exact(entries).map_err(|_| frames::shortage(pages))?;
    Ok(list)
}
