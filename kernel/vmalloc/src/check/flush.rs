//! The ways to make a CPU forget translations.

use crate::{PAGE_SIZE, Platform, Scope};
use core::{
    fmt,
    sync::atomic::{Ordering, fence},
};

/// A way to make a CPU forget translations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flush {
    /// [`flush_page`](crate::Flusher::flush_page).
    Page,
    /// [`flush_all`](crate::Flusher::flush_all).
    All,
    /// [`broadcast`](crate::Flusher::broadcast) of [`Scope::Pages`].
    BroadcastPages,
    /// [`broadcast`](crate::Flusher::broadcast) of [`Scope::All`].
    BroadcastAll,
}

impl Flush {
    pub(super) const ALL: [Self; 4] = [Self::Page, Self::All, Self::BroadcastPages, Self::BroadcastAll];

    /// Makes the current CPU, which is pinned, forget the page at an address, and others what they must.
    pub(super) fn run<P: Platform>(self, platform: &P, address: usize) {
        // Who broadcasts has executed one.
        fence(Ordering::SeqCst);
        let page = address..address + PAGE_SIZE;
        match self {
            Self::Page => platform.flush_page(address),
            Self::All => platform.flush_all(),
            Self::BroadcastPages => platform.broadcast(Scope::Pages(&[page])),
            Self::BroadcastAll => platform.broadcast(Scope::All),
        }
    }

    pub(super) fn is_broadcast(self) -> bool {
        matches!(self, Self::BroadcastPages | Self::BroadcastAll)
    }
}

impl fmt::Display for Flush {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Page => "flush_page()",
            Self::All => "flush_all()",
            Self::BroadcastPages => "broadcast() of a page",
            Self::BroadcastAll => "broadcast() of everything",
        })
    }
}
