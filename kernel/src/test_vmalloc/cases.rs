//! The benchmark cases.

use super::{parameters::Parameters, percpu_case};
use crate::{
    arch::cpu::{self, Pin},
    memory::{self, frames},
    services::{rcu, reclaim},
};
use alloc::vec::Vec;
use core::{mem::ManuallyDrop, ptr::NonNull};
use fastrand::Rng;
use vmalloc::{AllocError, Frame, PAGE_SIZE, Protection, ReallocError, Request};

/// All loops of one run of a case.
type Run = fn(&Parameters, &mut Rng) -> Result<(), AllocError>;

pub(super) struct Case {
    /// In `run_test_mask`.
    pub bit: u64,
    pub name: &'static str,
    pub run: Run,
    /// The case goes on until it fails; that is no fault.
    pub may_fail: bool,
}

const fn case(bit: u64, name: &'static str, run: Run) -> Case {
    Case { bit, name, run, may_fail: false }
}

pub(super) const CASES: &[Case] = &[
    case(1, "fix_size_alloc_test", fix_size),
    case(2, "full_fit_alloc_test", full_fit),
    case(4, "long_busy_list_alloc_test", long_busy_list),
    case(8, "random_size_alloc_test", random_size),
    case(16, "fix_align_alloc_test", fix_align),
    case(32, "random_size_align_alloc_test", random_size_align),
    Case { may_fail: true, ..case(64, "align_shift_alloc_test", align_shift) },
    case(128, "pcpu_alloc_test", percpu_case::pcpu_alloc),
    case(256, "kvfree_rcu_1_arg_vmalloc_test", kvfree_rcu_1_arg),
    case(512, "kvfree_rcu_2_arg_vmalloc_test", kvfree_rcu_2_arg),
    case(1024, "vm_map_ram_test", vm_map_ram),
    Case { may_fail: true, ..case(2048, "no_block_alloc_test", no_block) },
    case(4096, "vrealloc_test", vrealloc),
];

/// An area that is freed when dropped.
struct Area(NonNull<u8>);

impl Area {
    #[track_caller]
    #[inline]
    fn new(request: Request) -> Result<Self, AllocError> {
        memory::vmalloc().allocate(request).map(Self)
    }

    #[track_caller]
    #[inline]
    fn of_pages(pages: usize) -> Result<Self, AllocError> {
        Self::new(Request::new(pages.saturating_mul(PAGE_SIZE)))
    }

    fn resize(&mut self, size: usize) -> Result<(), AllocError> {
        // SAFETY: the area is ours, and nobody else got its address.
        match unsafe { memory::vmalloc().vrealloc(self.0, size) } {
            Ok(area) => self.0 = area,
            Err(ReallocError::Size(error)) => return Err(error),
            Err(error) => panic!("an area that was allocated cannot be resized: {error}"),
        }
        Ok(())
    }

    /// Writes one byte, which must reach memory.
    #[inline]
    fn touch(&self) {
        // SAFETY: the area is ours and has at least a page.
        unsafe { self.0.write_volatile(1) };
    }
}

impl Drop for Area {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the area is ours, and nobody else got its address.
        if let Err(error) = unsafe { memory::vmalloc().vfree(self.0) } {
            panic!("an area that was allocated cannot be freed: {error}");
        }
    }
}

fn fix_size(parameters: &Parameters, _: &mut Rng) -> Result<(), AllocError> {
    let request = Request::new(parameters.pages().saturating_mul(PAGE_SIZE));
    let request = if parameters.use_huge { request.huge() } else { request };
    for _ in 0..parameters.test_loop_count {
        Area::new(request)?.touch();
    }
    Ok(())
}

fn full_fit(parameters: &Parameters, _: &mut Rng) -> Result<(), AllocError> {
    const PAIRS: usize = 8192;
    let pairs = (1 + cpu::online_count().ilog2() as usize) * PAIRS;
    let mut kept = reserve(pairs)?;
    let mut holes = reserve(pairs)?;
    for _ in 0..pairs {
        kept.push(Area::of_pages(1)?);
        holes.push(Area::of_pages(1)?);
    }
    drop(holes);
    for _ in 0..parameters.test_loop_count {
        Area::of_pages(1)?.touch();
    }
    Ok(())
}

fn long_busy_list(parameters: &Parameters, _: &mut Rng) -> Result<(), AllocError> {
    const HELD: usize = 15_000;
    let mut held = reserve(HELD)?;
    for _ in 0..HELD {
        held.push(Area::of_pages(1)?);
    }
    for _ in 0..parameters.test_loop_count {
        let large = Area::of_pages(100)?;
        let small = Area::of_pages(1)?;
        large.touch();
        small.touch();
        // In this order, as the reference driver does.
        drop(large);
        drop(small);
    }
    Ok(())
}

fn random_size(parameters: &Parameters, random: &mut Rng) -> Result<(), AllocError> {
    for _ in 0..parameters.test_loop_count {
        Area::of_pages(random.usize(1..=100))?.touch();
    }
    Ok(())
}

fn fix_align(parameters: &Parameters, _: &mut Rng) -> Result<(), AllocError> {
    for _ in 0..parameters.test_loop_count {
        Area::new(aligned(5, 32 << 10, parameters))?;
    }
    Ok(())
}

fn random_size_align(parameters: &Parameters, random: &mut Rng) -> Result<(), AllocError> {
    for _ in 0..parameters.test_loop_count {
        let byte = usize::from(random.u8(..));
        let pages = byte % 10 + 1;
        Area::new(aligned(pages, 1 << (byte % 23), parameters))?;
    }
    Ok(())
}

fn aligned(pages: usize, align: usize, parameters: &Parameters) -> Request {
    let request = Request::new(pages * PAGE_SIZE).align(align);
    if parameters.zero { request.zeroed() } else { request }
}

fn align_shift(_: &Parameters, _: &mut Rng) -> Result<(), AllocError> {
    (0..usize::BITS).try_for_each(|shift| Area::new(Request::new(PAGE_SIZE).align(1 << shift)).map(drop))
}

/// An area whose first byte was written, for the deferred free that the caller makes.
#[track_caller]
#[inline]
fn written_page() -> Result<NonNull<u8>, AllocError> {
    let area = Area::of_pages(1)?;
    area.touch();
    Ok(ManuallyDrop::new(area).0)
}

fn kvfree_rcu_1_arg(parameters: &Parameters, _: &mut Rng) -> Result<(), AllocError> {
    after_a_grace_period(|| {
        for _ in 0..parameters.test_loop_count {
            // SAFETY: nobody else got the address.
            unsafe { rcu::vfree_rcu_mightsleep(written_page()?) };
        }
        Ok(())
    })
}

fn kvfree_rcu_2_arg(parameters: &Parameters, _: &mut Rng) -> Result<(), AllocError> {
    after_a_grace_period(|| {
        for _ in 0..parameters.test_loop_count {
            let area = written_page()?;
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

fn vm_map_ram(parameters: &Parameters, _: &mut Rng) -> Result<(), AllocError> {
    let frames = Frames::take(parameters.pages())?;
    let vmalloc = memory::vmalloc();
    for _ in 0..parameters.test_loop_count {
        let start = vmalloc.vm_map_ram(&frames.0, Protection::ReadWrite)?;
        // SAFETY: the mapping is ours; so are the frames. Nobody uses it after it is unmapped.
        let unmapped = unsafe {
            start.write_volatile(1);
            vmalloc.vm_unmap_ram(start, frames.0.len())
        };
        if let Err(error) = unmapped {
            panic!("what was mapped cannot be unmapped: {error}");
        }
    }
    Ok(())
}

/// Without waiting, because preemption is off, or because that is asked for too.
fn no_block(parameters: &Parameters, random: &mut Rng) -> Result<(), AllocError> {
    for _ in 0..parameters.test_loop_count {
        let request = Request::new(PAGE_SIZE);
        let request = if random.bool() { request.no_wait() } else { request };
        let pin = Pin::new();
        let area = Area::new(request);
        drop(pin);
        area?.touch();
    }
    Ok(())
}

fn vrealloc(parameters: &Parameters, _: &mut Rng) -> Result<(), AllocError> {
    for _ in 0..parameters.test_loop_count {
        let mut area = Area::of_pages(1)?;
        // SAFETY: the area is ours.
        unsafe { area.0.write_volatile(b'a') };
        for size in [4 * PAGE_SIZE, PAGE_SIZE, PAGE_SIZE / 2, PAGE_SIZE] {
            area.resize(size)?;
            // SAFETY: the area is ours, and its first byte was written.
            let byte = unsafe { area.0.read_volatile() };
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
        if taken < count { Err(AllocError::OutOfFrames) } else { Ok(frames) }
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
    list.try_reserve_exact(entries).map_err(|_| AllocError::OutOfFrames)?;
    Ok(list)
}
