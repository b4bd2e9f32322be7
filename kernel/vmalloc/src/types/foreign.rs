//! Entries that something else than the library wrote into the page tables of an instance's range.

use core::fmt;

/// A page table entry in an instance's range that something other than the library wrote: a page that
/// somebody mapped there. [`Vmalloc::find_foreign`](crate::Vmalloc::find_foreign) finds them.
///
/// Usually it comes from the page fault handler of a kernel that maps a page wherever one is missing. See
/// [the list of what to do before the first call](crate#before-the-first-call).
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ForeignEntry {
    /// The first address that the entry maps.
    pub address: usize,
    /// The entry, as the page table has it.
    pub entry: u64,
}

/// Writes a line such as `0xffffc90000003000 has the page table entry 0x5a3003: something else than vmalloc mapped it`.
impl fmt::Display for ForeignEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, entry } = self;
        write!(f, "{address:#x} has the page table entry {entry:#x}: something else than vmalloc mapped it")
    }
}

impl fmt::Debug for ForeignEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
