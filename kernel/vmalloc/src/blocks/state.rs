//! The state of the room: the arena, the table of descriptors, the reserves of leaf tables.

use super::{reserve::Reserve, table::BlockTable};
use crate::{
    Platform, SearchPolicy, arena::Arena, base::Base, page_table::directories::MadeUpTo, percpu::PerCpu,
    span::Span,
};

/// The blocks of an instance.
pub(crate) struct Blocks<P> {
    pub base: Base<P>,
    pub arena: Arena,
    /// The descriptors, for who counts them or gives them back; others find theirs by the calls.
    pub table: BlockTable,
    pub made_up_to: MadeUpTo,
    pub(super) reserves: PerCpu<Reserve>,
}

impl<P: Platform> Blocks<P> {
    #[inline(always)]
    pub fn new(mut base: Base<P>, arena: Arena, table: BlockTable) -> Self {
        let reserves = base.records.lay_out();
        let made_up_to = MadeUpTo::new(&base.platform, &base.span.range);
        Self { base, arena, table, made_up_to, reserves }
    }

    /// Makes what knows the blocks of an instance by their numbers. `None` means that there were no frames.
    pub fn index(platform: &P, blocks: usize, search: SearchPolicy) -> Option<(Arena, BlockTable)> {
        let mut arena = Arena::new(platform, blocks, search)?;
        let Some(table) = BlockTable::new(platform, blocks) else {
            // SAFETY: it was just made.
            unsafe { arena.release(platform) };
            return None;
        };
        Some((arena, table))
    }

    #[inline(always)]
    pub fn platform(&self) -> &P {
        &self.base.platform
    }

    #[inline(always)]
    pub fn span(&self) -> &Span {
        &self.base.span
    }

    /// Gives all records of blocks back. Every block is free.
    ///
    /// # Safety
    /// The room is not used again.
    pub unsafe fn release(&mut self) {
        // SAFETY: the caller's promise.
        unsafe { self.arena.release(&self.base.platform) };
        self.table.release(&self.base.platform);
    }
}
