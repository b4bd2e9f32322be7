//! The state of the room: the arena, the table of descriptors, the reserves of leaf tables.

use super::{reserve::Reserve, table::BlockTable};
use crate::{MAX_CPUS, Platform, arena::Arena, base::Base, span::Span};

/// The blocks of an instance.
pub(crate) struct Blocks<P> {
    pub base: Base<P>,
    pub arena: Arena,
    /// The descriptors, for who counts them or gives them back; others find theirs by the calls.
    pub table: BlockTable,
    pub(super) reserves: [Reserve; MAX_CPUS],
}

impl<P: Platform> Blocks<P> {
    #[inline(always)]
    pub fn new(base: Base<P>) -> Self {
        let arena = Arena::new(base.span.blocks(), base.policy.search);
        Self { base, arena, table: BlockTable::new(), reserves: core::array::from_fn(|_| Reserve::new()) }
    }

    #[inline(always)]
    pub fn platform(&self) -> &P {
        &self.base.platform
    }

    #[inline(always)]
    pub fn span(&self) -> &Span {
        &self.base.span
    }

    /// Gives all records back. Every block is free.
    pub fn release(&mut self) {
        self.arena.release(&self.base.platform);
        self.table.release(&self.base.platform);
    }
}
