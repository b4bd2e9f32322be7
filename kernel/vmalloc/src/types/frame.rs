//! Page frames, and the sizes of pages and blocks.

use core::fmt;

/// log2 of [`PAGE_SIZE`].
pub const PAGE_SHIFT: u32 = 12;
/// Bytes in a page and in a frame.
pub const PAGE_SIZE: usize = 1 << PAGE_SHIFT;
/// log2 of [`BLOCK_SIZE`].
pub const BLOCK_SHIFT: u32 = 21;
/// Bytes of address space in a vmap block: what one leaf page table maps.
#[doc(alias = "PMD_SIZE")]
pub const BLOCK_SIZE: usize = 1 << BLOCK_SHIFT;
/// Pages in a vmap block.
pub const BLOCK_PAGES: usize = BLOCK_SIZE / PAGE_SIZE;
/// Bits of a physical address in a page table entry: what x86-64 has at most (Intel SDM 3A, section 4.1.4).
pub(crate) const PHYSICAL_BITS: u32 = 52;

/// A page frame: [`PAGE_SIZE`] bytes of physical memory, aligned to their size.
#[doc(alias = "pfn")]
// Stored as the address, which is what page table entries have.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Frame(u64);

impl Frame {
    /// Makes the frame with this number: its physical address divided by [`PAGE_SIZE`].
    ///
    /// # Panics
    /// If the number has more than 40 bits, which no x86-64 has: they would be other bits of a page table entry.
    #[must_use]
    #[inline]
    pub const fn new(number: u64) -> Self {
        assert!(number < 1 << (PHYSICAL_BITS - PAGE_SHIFT), "x86-64 has 40 bits of frame numbers");
        Self(number << PAGE_SHIFT)
    }

    /// Makes the frame at a physical address that was read from a page table entry, or from a frame.
    #[inline]
    pub(crate) const fn at(address: u64) -> Self {
        debug_assert!(address.is_multiple_of(PAGE_SIZE as u64) && address < 1 << PHYSICAL_BITS);
        Self(address)
    }

    /// Returns the frame's number: its physical address divided by [`PAGE_SIZE`].
    #[doc(alias = "page_to_pfn")]
    #[must_use]
    #[inline]
    pub const fn number(self) -> u64 {
        self.0 >> PAGE_SHIFT
    }

    /// Returns the frame this many frames behind this one, which physical memory has.
    #[inline]
    pub(crate) const fn behind(self, frames: usize) -> Self {
        Self::at(self.0 + ((frames as u64) << PAGE_SHIFT))
    }

    /// Returns whether each of some frames lies right behind the one before.
    pub(crate) fn are_contiguous(frames: &[Self]) -> bool {
        let (mut expected, mut differences) = (frames[0].address(), 0);
        // All differences together: a branch for each frame would take longer.
        for frame in frames {
            differences |= frame.address() ^ expected;
            expected += PAGE_SIZE as u64;
        }
        differences == 0
    }

    /// Returns the physical address of the frame's first byte.
    #[doc(alias = "page_to_phys")]
    #[must_use]
    #[inline]
    pub const fn address(self) -> u64 {
        self.0
    }
}

/// Writes the physical address of the frame's first byte, such as `0x1a3000`.
impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({:#x})", self.0)
    }
}
