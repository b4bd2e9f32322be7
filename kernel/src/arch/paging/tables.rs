//! The kernel's own page tables, and leaving the boot loader's.
//!
//! They hold the kernel image, as the loader placed it, with the rights that each of its segments
//! asks for; the direct map of all memory; and, below entries that are filled once, what vmalloc
//! maps. Segments' rights are copied from the loader's tables. Nothing is writable and executable at
//! once. Nothing of the lower half is mapped.

use super::{
    direct_map,
    lookup::{index, lookup_unguarded},
};
use crate::arch::layout::{DIRECT_MAP_END, DIRECT_MAP_START, IMAGE_MAX, IMAGE_START};
use core::{arch::asm, ops::Range};
use vmalloc::{Frame, PAGE_SHIFT, PAGE_SIZE};
use x86_64::{
    PhysAddr,
    structures::paging::{PageTable, PageTableFlags as Flags},
};

const MIB_2: u64 = 2 << 20;
const GIB_1: u64 = 1 << 30;

/// Why the kernel has no page tables of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BuildError {
    /// No frame for a table.
    OutOfFrames,
    /// The loader mapped a page of the kernel image writable and executable.
    WritableCode {
        /// Address of the page.
        address: u64,
    },
    /// The machine has memory at a physical address that the direct map does not reach.
    TooMuchMemory {
        /// End of that memory.
        end: u64,
    },
}

/// Page tables that no CPU uses yet.
pub(crate) struct Tables {
    root: Frame,
    take_frame: fn() -> Option<Frame>,
    large_pages: bool,
}

impl Tables {
    /// Empty tables; `take_frame` gives frames full of zeros for more.
    ///
    /// # Errors
    /// [`BuildError::OutOfFrames`].
    pub fn new(take_frame: fn() -> Option<Frame>) -> Result<Self, BuildError> {
        let features = raw_cpuid::CpuId::new().get_extended_processor_and_feature_identifiers();
        let large_pages = features.is_some_and(|features| features.has_1gib_pages());
        Ok(Self { root: take_frame().ok_or(BuildError::OutOfFrames)?, take_frame, large_pages })
    }

    /// The top level table.
    pub fn root(&self) -> Frame {
        self.root
    }

    /// Maps physical memory, page-aligned, at its place in the direct map, by the largest pages that fit.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub fn map_direct(&mut self, memory: Range<u64>) -> Result<(), BuildError> {
        if memory.end > DIRECT_MAP_END - DIRECT_MAP_START {
            return Err(BuildError::TooMuchMemory { end: memory.end });
        }
        let flags = Flags::PRESENT | Flags::WRITABLE | Flags::NO_EXECUTE | Flags::GLOBAL;
        let mut at = memory.start;
        while at < memory.end {
            let fits = |size: u64| at.is_multiple_of(size) && at + size <= memory.end;
            let (level, size, huge) = match () {
                () if self.large_pages && fits(GIB_1) => (3, GIB_1, Flags::HUGE_PAGE),
                () if fits(MIB_2) => (2, MIB_2, Flags::HUGE_PAGE),
                () => (1, PAGE_SIZE as u64, Flags::empty()),
            };
            self.map(DIRECT_MAP_START + at, at, level, flags | huge)?;
            at += size;
        }
        Ok(())
    }

    /// Maps the kernel image as the tables in use, the loader's, do.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub fn adopt_image(&mut self) -> Result<(), BuildError> {
        for address in (IMAGE_START..IMAGE_START + IMAGE_MAX).step_by(PAGE_SIZE) {
            let Some((frame, flags)) = loader_mapping(address) else { continue };
            if flags.contains(Flags::WRITABLE) && !flags.contains(Flags::NO_EXECUTE) {
                return Err(BuildError::WritableCode { address });
            }
            let rights = flags & (Flags::PRESENT | Flags::WRITABLE | Flags::NO_EXECUTE);
            self.map(address, frame.address(), 1, rights | Flags::GLOBAL)?;
        }
        Ok(())
    }

    /// Maps one page: level 1 is 4 KiB, 2 is 2 MiB, 3 is 1 GiB.
    fn map(&mut self, address: u64, physical: u64, level: u32, flags: Flags) -> Result<(), BuildError> {
        let mut table = self.root;
        for above in (level + 1..=4).rev() {
            // SAFETY: frames of tables were taken by this value, and no CPU uses them yet.
            let entry = &mut unsafe { page_table(table) }[index(address, above)];
            if entry.is_unused() {
                let frame = (self.take_frame)().ok_or(BuildError::OutOfFrames)?;
                entry.set_addr(PhysAddr::new(frame.address()), Flags::PRESENT | Flags::WRITABLE);
            }
            table = Frame::new(entry.addr().as_u64() >> PAGE_SHIFT);
        }
        // SAFETY: as above.
        let entry = &mut unsafe { page_table(table) }[index(address, level)];
        assert!(entry.is_unused(), "{address:#x} is mapped twice");
        entry.set_addr(PhysAddr::new(physical), flags);
        Ok(())
    }

    /// Leaves the tables and the stack in use for these tables and `stack`, and goes on in `next`.
    ///
    /// # Safety
    /// The tables map the kernel image and the direct map as they are mapped now, and `stack`, which
    /// is used by nothing else. Nothing else of the loader's mappings is used any more.
    pub unsafe fn switch_to(self, stack: Range<usize>, next: extern "C" fn() -> !) -> ! {
        // SAFETY: promised by the caller. The code that runs and all it refers to is in the image.
        // The end of the stack is aligned to a page; `call` makes it what a function expects.
        unsafe {
            asm!(
                "mov cr3, {root}",
                "mov rsp, {top}",
                "xor ebp, ebp",
                "call {next}",
                "ud2",
                root = in(reg) self.root.address(),
                top = in(reg) stack.end,
                next = in(reg) next,
                options(noreturn)
            )
        }
    }
}

/// The table in a frame.
///
/// # Safety
/// The frame is a page table, and there is no other reference to it.
unsafe fn page_table<'a>(frame: Frame) -> &'a mut PageTable {
    // SAFETY: the direct map shows every frame; the caller promises the rest.
    unsafe { direct_map::pointer(frame).cast::<PageTable>().as_mut() }
}

/// What the tables in use map at an address of the kernel image.
fn loader_mapping(address: u64) -> Option<(Frame, Flags)> {
    // SAFETY: nobody changes the loader's tables.
    let found = unsafe { lookup_unguarded(address) }?;
    assert_eq!(found.level, 1, "the loader maps the image by small pages");
    Some((Frame::new(found.physical >> PAGE_SHIFT), found.flags))
}
