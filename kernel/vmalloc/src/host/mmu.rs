//! How a simulated CPU accesses an address: by its TLB, or by page tables, in which it marks what it uses.

extern crate std;

use super::{
    Machine, PageFault,
    entry::{ACCESSED, DIRTY, HUGE, PRESENT, Translation, WRITABLE, frame},
    tlb::GIB_SHIFT,
};
use crate::{BLOCK_SHIFT, Frame, PAGE_SHIFT, PAGE_SIZE};
use core::{
    ops::Range,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

/// A present entry that maps a page: where it is, and what a walk read there, once.
struct Leaf<'m> {
    slot: &'m AtomicU64,
    entry: u64,
}

impl Machine {
    /// Walks the tables as they are now: leaf table if there is one, and the entry that maps the page.
    fn walk(&self, address: usize) -> (Option<u64>, Option<Leaf<'_>>) {
        self.find_directory(address).map_or((None, None), |directory| self.walk_below(directory, address))
    }

    /// The directory right above the leaf tables, by the tables as they are now.
    fn find_directory(&self, address: usize) -> Option<u64> {
        let mut table = self.root;
        for shift in [39, GIB_SHIFT] {
            let entry = self.table(table)[address >> shift & 511].load(Ordering::Acquire);
            table = (entry & PRESENT != 0).then(|| Frame::new(frame(entry)))?;
        }
        Some(table.number())
    }

    /// Walks on from a directory, as [`walk`](Self::walk) does.
    fn walk_below(&self, directory: u64, address: usize) -> (Option<u64>, Option<Leaf<'_>>) {
        let slot = &self.table(Frame::new(directory))[address >> BLOCK_SHIFT & 511];
        let entry = slot.load(Ordering::Acquire);
        if entry & PRESENT == 0 {
            return (None, None);
        }
        if entry & HUGE != 0 {
            return (None, Some(Leaf { slot, entry }));
        }
        (Some(frame(entry)), self.leaf_entry(frame(entry), address))
    }

    fn leaf_entry(&self, table: u64, address: usize) -> Option<Leaf<'_>> {
        let slot = &self.table(Frame::new(table))[address >> PAGE_SHIFT & 511];
        let entry = slot.load(Ordering::Acquire);
        (entry & PRESENT != 0).then_some(Leaf { slot, entry })
    }

    /// What the page tables say of an address now.
    pub(crate) fn translation(&self, address: usize) -> Option<Translation> {
        let (table, leaf) = self.walk(address);
        leaf.map(|leaf| Translation::read(leaf.entry, address, table.is_none()))
    }

    /// Returns whether the page tables allow writes at an address, whatever the CPUs remember; `None` if nothing is mapped
    /// there.
    pub fn writable(&self, address: usize) -> Option<bool> {
        self.translation(address).map(|found| found.writable)
    }

    /// The translation that `cpu` uses at an address: by its TLB, by a leaf table it remembers, by a walk.
    /// It remembers what it finds. A CPU may do so at any time for any address, without a program that uses it.
    pub(crate) fn speculate(&self, cpu: usize, address: usize) -> Result<Translation, PageFault> {
        let mut state = self.state();
        let state = &mut *state;
        assert!(!state.asleep[cpu], "CPU {cpu} runs nothing");
        let tlb = &mut state.tlbs[cpu];
        if let Some(&mut known) = tlb.translation(address >> PAGE_SHIFT) {
            return Ok(known);
        }
        let (table, leaf) = match tlb.table(address >> BLOCK_SHIFT) {
            Some(table) => (Some(table), self.leaf_entry(table, address)),
            None => {
                let directory = match tlb.directory(address >> GIB_SHIFT) {
                    Some(known) => known,
                    None => {
                        let found = self.find_directory(address).ok_or(PageFault)?;
                        tlb.remember_directory(address >> GIB_SHIFT, found);
                        found
                    }
                };
                let (table, leaf) = self.walk_below(directory, address);
                if let Some(table) = table {
                    tlb.remember_table(address >> BLOCK_SHIFT, table);
                }
                (table, leaf)
            }
        };
        let Leaf { slot, entry } = leaf.ok_or(PageFault)?;
        if entry & ACCESSED == 0 {
            // Where the entry has changed meanwhile it is as if the CPU had used it, and marked it, just before.
            let _ = slot.compare_exchange(entry, entry | ACCESSED, Ordering::AcqRel, Ordering::Acquire);
        }
        let found = Translation::read(entry, address, table.is_none());
        tlb.remember(cpu, false, address >> PAGE_SHIFT, found);
        Ok(found)
    }

    /// Makes all online CPUs walk again to the pages that they have translations of, and remember what they
    /// find there now: a TLB may have more than one translation of a page.
    ///
    /// # Panics
    /// if a CPU gets two that it must not have at once.
    pub fn observe(&self) {
        let (mut state, online) = (self.state(), self.shootdown.online());
        let state = &mut *state;
        // One that is offline walks nowhere.
        for (cpu, tlb) in state.tlbs.iter_mut().enumerate().filter(|&(cpu, _)| online.contains(cpu)) {
            tlb.observe(cpu, state.asleep[cpu], |address| self.translation(address));
        }
    }

    /// Where a translation leads.
    pub(super) fn place(&self, found: Translation, address: usize) -> NonNull<u8> {
        // SAFETY: the offset stays inside the frame.
        unsafe { self.bytes(Frame::new(found.frame)).byte_add(address % PAGE_SIZE) }
    }

    fn word(&self, found: Translation, address: usize) -> NonNull<u64> {
        assert!(address.is_multiple_of(8));
        self.place(found, address).cast()
    }

    /// What `cpu` reads at `address`.
    pub(crate) fn read(&self, cpu: usize, address: usize) -> Result<u64, PageFault> {
        let found = self.speculate(cpu, address)?;
        // SAFETY: the word lies in simulated memory, which is initialised.
        Ok(unsafe { self.word(found, address).read() })
    }

    /// Makes `cpu` write `value` at `address`.
    pub(crate) fn write(&self, cpu: usize, address: usize, value: u64) -> Result<(), PageFault> {
        let found = self.speculate_to_write(cpu, address)?;
        // SAFETY: the word lies in simulated memory.
        unsafe { self.word(found, address).write(value) };
        Ok(())
    }

    /// The translation by which `cpu` writes at `address`, which is marked dirty then.
    pub(super) fn speculate_to_write(&self, cpu: usize, address: usize) -> Result<Translation, PageFault> {
        let found = self.speculate(cpu, address)?;
        if !found.writable {
            return Err(PageFault);
        }
        if !found.dirty {
            self.mark_dirty(cpu, address)?;
        }
        Ok(found)
    }

    /// Makes the CPU that [runs](Self::run_on) read the bytes at an address, by the translations that it
    /// remembers where it has any. When it faults, some may have been read.
    ///
    /// # Errors
    /// [`PageFault`] where nothing is mapped.
    pub fn read_bytes(&self, address: usize, bytes: &mut [u8]) -> Result<(), PageFault> {
        let cpu = self.current();
        in_pages(address, bytes.len(), |address, part| {
            let found = self.speculate(cpu, address)?;
            let bytes = &mut bytes[part];
            // SAFETY: the part does not leave its page, and nor does what is read its frame, which is initialised.
            unsafe {
                self.place(found, address)
                    .copy_to_nonoverlapping(NonNull::from(&mut *bytes).cast(), bytes.len())
            };
            Ok(())
        })
    }

    /// Makes the CPU that [runs](Self::run_on) look up the translation of an address and keep it, as it may
    /// at any time, even if no program uses the address.
    ///
    /// # Errors
    /// [`PageFault`] where nothing is mapped.
    pub fn touch(&self, address: usize) -> Result<(), PageFault> {
        self.speculate(self.current(), address).map(drop)
    }

    /// Makes the CPU that [runs](Self::run_on) write bytes, as [`read_bytes`](Self::read_bytes) reads them.
    ///
    /// # Errors
    /// [`PageFault`] where nothing is mapped, or what is mapped is read-only.
    pub fn write_bytes(&self, address: usize, bytes: &[u8]) -> Result<(), PageFault> {
        let cpu = self.current();
        in_pages(address, bytes.len(), |address, part| {
            let found = self.speculate_to_write(cpu, address)?;
            let bytes = &bytes[part];
            // SAFETY: as above.
            unsafe {
                self.place(found, address).copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len())
            };
            Ok(())
        })
    }

    /// A CPU that is about to write by a translation that is not dirty walks again, and marks the entry that it
    /// finds, in one step: where that has changed meanwhile, it walks anew.
    fn mark_dirty(&self, cpu: usize, address: usize) -> Result<(), PageFault> {
        loop {
            let Leaf { slot, entry } = self.walk(address).1.ok_or(PageFault)?;
            if entry & WRITABLE == 0 {
                return Err(PageFault);
            }
            let marked = entry | ACCESSED | DIRTY;
            if slot.compare_exchange(entry, marked, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                break;
            }
        }
        if let Some(known) = self.state().tlbs[cpu].translation(address >> PAGE_SHIFT) {
            known.dirty = true;
        }
        Ok(())
    }

    /// Checks that no CPU remembers what it must not while no call of the library is under way: a translation
    /// that differs from what the page tables say now, or leads to a free frame; a path to a table that is free
    /// or another block's. An idle CPU's translations of pages do not count: it uses none before it has flushed.
    ///
    /// # Panics
    /// if one does; the message names it.
    pub fn check(&self) {
        let (state, online) = (self.state(), self.shootdown.online());
        for (cpu, tlb) in state.tlbs.iter().enumerate().filter(|&(cpu, _)| online.contains(cpu)) {
            for (page, known) in tlb.translations().filter(|_| !state.asleep[cpu]) {
                match self.translation(page << PAGE_SHIFT) {
                    Some(now) => assert!(
                        known.is_as_good_as(now),
                        "CPU {cpu} has {known:x?} of page {page:#x}, which is {now:x?}: flush missing",
                    ),
                    None => {
                        let frame = known.frame;
                        assert!(!state.free.contains(&frame), "CPU {cpu} reaches free frame {frame:#x}");
                    }
                }
            }
            for (block, table) in tlb.tables() {
                match self.walk(block << BLOCK_SHIFT).0 {
                    Some(now) => assert_eq!(now, table, "CPU {cpu} remembers the table of block {block:#x}"),
                    None => assert!(!state.free.contains(&table), "CPU {cpu} reaches free table {table:#x}"),
                }
            }
        }
    }
}

/// Calls `each` with the address of each part of a range of addresses that does not leave its page, and with where in
/// the range the part is.
fn in_pages(
    start: usize,
    length: usize,
    mut each: impl FnMut(usize, Range<usize>) -> Result<(), PageFault>,
) -> Result<(), PageFault> {
    let mut done = 0;
    while done < length {
        let address = start.checked_add(done).ok_or(PageFault)?;
        let part = (length - done).min(PAGE_SIZE - address % PAGE_SIZE);
        each(address, done..done + part)?;
        done += part;
    }
    Ok(())
}

#[cfg(test)]
impl Machine {
    /// The entry of an address in a table that is linked: a leaf table's (`level` 0), or that of the table so far above.
    pub(crate) fn entry(&self, address: usize, level: u32) -> &AtomicU64 {
        let mut table = self.root;
        let entry = |table, level| &self.table(table)[address >> (PAGE_SHIFT + 9 * level) & 511];
        for above in (level + 1..=3).rev() {
            table = Frame::new(frame(entry(table, above).load(Ordering::Acquire)));
        }
        entry(table, level)
    }

    /// Is the page fault handler of a kernel that maps a page wherever one is missing, whoever's the address is: maps a frame
    /// at an address, and makes the tables that are missing, as mappers do that know nothing of the library:
    /// only an entry of zero is free. Returns whether it was.
    pub(crate) fn map_missing(&self, address: usize) -> bool {
        for level in [3, 2, 1] {
            let slot = self.entry(address, level);
            if slot.load(Ordering::Acquire) & PRESENT == 0 {
                let below = self.take().expect("frames enough");
                // SAFETY: the frame is inside `memory`, and was free.
                unsafe { self.bytes(below).write_bytes(0, PAGE_SIZE) };
                slot.store(below.address() | PRESENT | WRITABLE | ACCESSED, Ordering::Release);
            }
        }
        let slot = self.entry(address, 0);
        let entry = || self.take().expect("frames enough").address() | PRESENT | WRITABLE | ACCESSED | DIRTY;
        slot.load(Ordering::Acquire) == 0 && {
            slot.store(entry(), Ordering::Release);
            true
        }
    }
}
