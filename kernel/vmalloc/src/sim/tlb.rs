//! What a simulated CPU reaches at an address: by its TLB, which forgets nothing by itself, or by the page
//! tables.

extern crate std;

use super::{HUGE, Machine, PRESENT, PageFault};
use crate::platform::{BLOCK_PAGES, BLOCK_SHIFT, Frame, PAGE_SHIFT, PAGE_SIZE, Platform};
use core::{ptr::NonNull, sync::atomic::Ordering};
use std::collections::HashMap;

/// What a CPU remembers.
#[derive(Default)]
pub(super) struct Tlb {
    /// Page number to the frame that a walk found there.
    pub pages: HashMap<usize, u64>,
    /// Block number to the leaf table that a walk found there.
    pub tables: HashMap<usize, u64>,
}

impl Machine {
    /// Walks the tables as they are now: leaf table if there is one, and frame of the page.
    fn walk(&self, address: usize) -> (Option<u64>, Option<u64>) {
        let mut table = self.root;
        for shift in [39, 30, 21] {
            let entry = self.table(table)[address >> shift & 511].load(Ordering::Acquire);
            if entry & PRESENT == 0 {
                return (None, None);
            }
            table = Frame::new(entry >> PAGE_SHIFT & 0xff_ffff_ffff);
            if entry & HUGE != 0 {
                return (None, Some(table.number() + (address >> PAGE_SHIFT & (BLOCK_PAGES - 1)) as u64));
            }
        }
        (Some(table.number()), self.leaf_entry(table.number(), address))
    }

    /// Whether the page tables allow writes at an address; `None` if nothing is mapped there.
    pub fn writable(&self, address: usize) -> Option<bool> {
        let mut table = self.root;
        for shift in [39, 30, 21, 12] {
            let entry = self.table(table)[address >> shift & 511].load(Ordering::Acquire);
            if entry & PRESENT == 0 {
                return None;
            }
            if shift == 12 || entry & HUGE != 0 {
                return Some(entry & 2 != 0);
            }
            table = Frame::new(entry >> PAGE_SHIFT & 0xff_ffff_ffff);
        }
        None
    }

    fn leaf_entry(&self, table: u64, address: usize) -> Option<u64> {
        let entry = self.table(Frame::new(table))[address >> PAGE_SHIFT & 511].load(Ordering::Acquire);
        (entry & PRESENT != 0).then_some(entry >> PAGE_SHIFT & 0xff_ffff_ffff)
    }

    /// The frame that `cpu` reaches at `address`: by its TLB, by a leaf table it remembers, by a walk.
    fn translate(&self, cpu: usize, address: usize) -> Result<u64, PageFault> {
        let mut state = self.state();
        let tlb = &mut state.tlbs[cpu];
        if let Some(&frame) = tlb.pages.get(&(address >> PAGE_SHIFT)) {
            return Ok(frame);
        }
        let (table, frame) = match tlb.tables.get(&(address >> BLOCK_SHIFT)) {
            Some(&table) => (Some(table), self.leaf_entry(table, address)),
            None => self.walk(address),
        };
        if let Some(table) = table {
            tlb.tables.insert(address >> BLOCK_SHIFT, table);
        }
        let frame = frame.ok_or(PageFault)?;
        tlb.pages.insert(address >> PAGE_SHIFT, frame);
        Ok(frame)
    }

    fn word(&self, cpu: usize, address: usize) -> Result<NonNull<u64>, PageFault> {
        assert!(address.is_multiple_of(8));
        let frame = self.translate(cpu, address)?;
        // SAFETY: the offset stays inside the frame.
        Ok(unsafe { self.direct_map(Frame::new(frame)).byte_add(address % PAGE_SIZE) }.cast())
    }

    /// What `cpu` reads at `address`.
    pub fn read(&self, cpu: usize, address: usize) -> Result<u64, PageFault> {
        // SAFETY: the word lies in simulated memory, which is initialised.
        self.word(cpu, address).map(|word| unsafe { word.read() })
    }

    /// Makes `cpu` write `value` at `address`.
    pub fn write(&self, cpu: usize, address: usize, value: u64) -> Result<(), PageFault> {
        // SAFETY: the word lies in simulated memory.
        self.word(cpu, address).map(|word| unsafe { word.write(value) })
    }

    /// Fails if any CPU remembers a translation to what is not quarantined: to a frame that is free, or
    /// that the page tables have put somewhere else, or at an address that has another frame now.
    pub fn check(&self) {
        let state = self.state();
        for (cpu, tlb) in state.tlbs.iter().enumerate() {
            for (&page, &frame) in &tlb.pages {
                match self.walk(page << PAGE_SHIFT).1 {
                    Some(now) => assert_eq!(now, frame, "CPU {cpu} remembers page {page:#x}, flush missing"),
                    None => assert!(!state.free.contains(&frame), "CPU {cpu} reaches free frame {frame:#x}"),
                }
            }
            for (&block, &table) in &tlb.tables {
                match self.walk(block << BLOCK_SHIFT).0 {
                    Some(now) => assert_eq!(now, table, "CPU {cpu} remembers the table of block {block:#x}"),
                    None => assert!(!state.free.contains(&table), "CPU {cpu} reaches free table {table:#x}"),
                }
            }
        }
    }
}
