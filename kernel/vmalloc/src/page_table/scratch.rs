//! A page for experiments: with tables of its own where there are none, all of which can be had back.

use super::{
    Attributes, Entry, Slot,
    directories::{self, ROOT_SHIFT},
    survey::LEVEL_BITS,
};
use crate::{Frame, Platform, Protection, types::Owner};

/// Tables on the way from the top level one to a page.
const LEVELS: usize = 3;

/// A page of address space that nobody uses.
pub(crate) struct Scratch<'a> {
    pub address: usize,
    slot: &'a Slot,
    /// The slots in which tables were linked for it, the highest one first.
    links: [Option<&'a Slot>; LEVELS],
}

impl<'a> Scratch<'a> {
    /// Links as many of these tables, which are full of zeros, as lack on the way to a page that is not mapped. Nobody else
    /// maps anything below them before [`unlink`](Self::unlink).
    pub fn new<P: Platform>(platform: &'a P, address: usize, tables: [Frame; LEVELS]) -> Self {
        let (mut table, mut shift, mut links) = (directories::root(platform), ROOT_SHIFT, [None; LEVELS]);
        for (link, frame) in links.iter_mut().zip(tables) {
            let slot = &table[directories::index(address, shift)];
            if !slot.is_present() {
                slot.publish(Entry::table(frame));
                *link = Some(slot);
            }
            // SAFETY: the entry links a table: this one, or one that an instance would use.
            table = unsafe { directories::table(platform, slot.look().frame()) };
            shift -= LEVEL_BITS;
        }
        Self { address, slot: &table[directories::index(address, shift)], links }
    }

    /// Maps the page to a frame. CPUs must then forget what they remember of another one.
    pub fn map(&self, frame: Frame) {
        let attributes = Attributes::new(Protection::ReadWrite, Owner::Caller);
        self.slot.publish(Entry::page(frame, attributes));
    }

    /// Unmaps the page and unlinks the tables. CPUs must forget both before the frames are used otherwise.
    pub fn unlink(self) {
        [self.slot].into_iter().chain(self.links.into_iter().rev().flatten()).for_each(Slot::set_unused);
    }
}
