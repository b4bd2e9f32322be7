//! What Linux did, as a trace tells it.

use std::collections::HashMap;

use super::event::{Event, Kind, Making};

const PAGE: u64 = 4096;

/// Counts of what Linux did.
#[derive(Debug, Default)]
pub struct Linux {
    /// Calls of `vmalloc`, `vmap`, `vm_map_ram`: as many as began.
    pub made: Calls,
    /// Calls of `vfree`, `vunmap`, `vm_unmap_ram`.
    pub freed: Calls,
    /// Pages that were asked for, guard pages not counted.
    pub pages: Calls,
    /// Calls of `vm_unmap_aliases`.
    pub aliases: u64,
    /// Calls that returned no address, and searches for address space that found none.
    pub failed: u64,
    /// What Linux's own events tell, if there is one.
    pub space: Option<Space>,
    live: HashMap<u64, u64>,
    used: u64,
}

/// A count for each family of calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// `vmalloc`, or `vfree`.
    pub vmalloc: u64,
    /// `vmap`, or `vunmap`.
    pub vmap: u64,
    /// `vm_map_ram`, or `vm_unmap_ram`.
    pub ram: u64,
}

/// What Linux's own events tell of address space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// Areas, blocks of `vm_map_ram` among them.
    pub areas: u64,
    /// Pages of those of the trace that were alive at one time, at the most, guard pages included.
    pub peak: u64,
    /// Purges, those that found nothing among them.
    pub purges: u64,
    /// Areas that they purged.
    pub purged: u64,
    /// Pages that waited for a purge, at the most.
    pub lazy_peak: u64,
}

impl Calls {
    fn of(&mut self, kind: Kind) -> &mut u64 {
        match kind {
            Kind::Vmalloc => &mut self.vmalloc,
            Kind::Vmap => &mut self.vmap,
            Kind::Ram => &mut self.ram,
        }
    }
}

impl Linux {
    /// Counts an event.
    pub fn see(&mut self, event: &Event) {
        match *event {
            Event::Begin(making) => {
                *self.made.of(making.kind()) += 1;
                *self.pages.of(making.kind()) += match making {
                    Making::Vmalloc { size, .. } => size.div_ceil(PAGE),
                    Making::Vmap { pages } | Making::Ram { pages } => pages.into(),
                };
            }
            Event::End(_, address) => self.failed += u64::from(address == 0),
            Event::Free(_, 0) | Event::Other => {}
            Event::Free(kind, _) => *self.freed.of(kind) += 1,
            Event::UnmapAliases => self.aliases += 1,
            Event::AllocArea { failed: true, .. } => self.failed += 1,
            Event::AllocArea { start, size, .. } => {
                let pages = size / PAGE;
                let former = self.live.insert(start, pages).unwrap_or(0);
                self.used = self.used.saturating_sub(former).saturating_add(pages);
                let used = self.used;
                let space = self.space.get_or_insert_default();
                space.areas += 1;
                space.peak = space.peak.max(used);
            }
            Event::FreeArea { start, lazy } => {
                self.used = self.used.saturating_sub(self.live.remove(&start).unwrap_or(0));
                let space = self.space.get_or_insert_default();
                space.lazy_peak = space.lazy_peak.max(lazy);
            }
            Event::Purge(count) => {
                let space = self.space.get_or_insert_default();
                space.purges += 1;
                space.purged = space.purged.saturating_add(count);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(events: &[Event]) -> Linux {
        let mut linux = Linux::default();
        events.iter().for_each(|event| linux.see(event));
        linux
    }

    #[test]
    fn pages_and_calls_are_counted_by_family() {
        let linux = seen(&[
            Event::Begin(Making::Vmalloc { size: 4097, align: 1 }),
            Event::Begin(Making::Vmalloc { size: 4096, align: 1 }),
            Event::Begin(Making::Vmap { pages: 5 }),
            Event::Begin(Making::Ram { pages: 7 }),
            Event::Begin(Making::Ram { pages: 11 }),
            Event::End(Kind::Vmap, 0),
            Event::End(Kind::Ram, 8),
            Event::End(Kind::Vmalloc, 9),
            Event::Free(Kind::Ram, 8),
            Event::Free(Kind::Ram, 0),
            Event::UnmapAliases,
            Event::UnmapAliases,
            Event::Other,
        ]);
        assert_eq!(linux.pages, Calls { vmalloc: 3, vmap: 5, ram: 18 });
        assert_eq!(linux.made, Calls { vmalloc: 2, vmap: 1, ram: 2 });
        assert_eq!(linux.freed, Calls { ram: 1, ..Calls::default() });
        assert_eq!((linux.failed, linux.aliases, linux.space), (1, 2, None));
    }

    /// Seen failing with the pages of an area whose free was not seen left in.
    #[test]
    fn the_peak_is_of_pages_that_were_alive_together() {
        let area = |start, pages| Event::AllocArea { start, size: pages * PAGE, align: 1, failed: false };
        let free = |start, lazy| Event::FreeArea { start, lazy };
        let events = [
            area(1, 8),
            area(2, 3),
            free(1, 8),
            // Its free was not seen.
            area(2, 5),
            Event::AllocArea { start: 3, size: PAGE, align: 1, failed: true },
            free(9, 2),
            Event::Purge(3),
            Event::Purge(4),
        ];
        let space = Space { areas: 3, peak: 11, purges: 2, purged: 7, lazy_peak: 8 };
        let linux = seen(&events);
        assert_eq!((linux.space, linux.used, linux.failed), (Some(space), 5, 1));
    }
}
