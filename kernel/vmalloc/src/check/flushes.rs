//! Whether flushes flush: a page is mapped to one frame, then to another, and read after each kind of flush.

use super::{
    Broken, Cpu, Flush, Promise, Seen,
    frames::{Frames, Tables, mark},
    trial::{Trial, check},
};
use crate::{CpuPin, Forbid, Frame, Platform, Reach, page_table::scratch::Scratch};

/// Times that each flush is tried. An even number: the page is mapped to the same frame then as before. A CPU may forget by
/// itself, so that once might show nothing.
const TIMES: usize = 8;

impl<P: Platform, C: Cpu> Trial<'_, P, C> {
    /// Maps the page at `address`, which nobody uses, and tries the CPU's own flushes by it, then those of other CPUs. The
    /// tables that are missing on the way to it are made of `tables`. In the end nothing is mapped and every CPU has flushed.
    pub fn try_flushes(&mut self, address: usize, frames: &Frames, tables: Tables) -> Result<(), Broken> {
        let platform = self.platform;
        let pin = platform.pin();
        let page = Scratch::new(platform, address, tables);
        self.trying(Promise::DirectMap);
        page.map(frames[0]);
        self.expect(&page, frames[0])?;
        self.trying(Promise::Flushes);
        let broadcasts = platform.broadcasts();
        for flush in Flush::ALL.into_iter().filter(|flush| broadcasts || !flush.is_broadcast()) {
            for time in 0..TIMES {
                let (old, new) = (frames[time % 2], frames[(time + 1) % 2]);
                page.map(new);
                flush.run(platform, address);
                let is_stale = self.read_page(&page) == Some(mark(old));
                let seen = || Seen::Stale { flush, cpu: pin.cpu(), address, old, new };
                check(!is_stale, Promise::Flushes, seen)?;
                self.expect(&page, new)?;
            }
        }
        self.try_interrupts(&pin, address)?;
        page.unlink();
        let shootdown = platform.shootdown();
        shootdown.round(platform, shootdown.stamp(), Reach::Everyone, Forbid::Speculation);
        Ok(())
    }

    /// Tries whether a page shows the frame that it was mapped to.
    fn expect(&self, page: &Scratch<'_>, frame: Frame) -> Result<(), Broken> {
        let (written, read) = (mark(frame), self.read_page(page));
        let seen = || Seen::OtherBytes { frame, address: page.address, written, read };
        check(read == Some(written), Promise::DirectMap, seen)
    }

    fn read_page(&self, page: &Scratch<'_>) -> Option<u64> {
        // SAFETY: the page is mapped to a frame that was taken, by tables that are in use: CR3 has the root.
        unsafe { self.cpu.read(page.address) }
    }
}
