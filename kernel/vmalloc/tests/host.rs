//! How a user of the library tests code on the host: a kernel's log, which is written here. `cargo test` runs this with the
//! feature `host`; a kernel asks for it among its `dev-dependencies`.

#![allow(clippy::expect_used, reason = "these are tests")]

use core::{error::Error, ptr::NonNull, result};
use vmalloc::{
    AllocError, FreeError, PAGE_SIZE, Platform, Protection, Vmalloc,
    host::{Machine, PageFault},
};

/// What is tested: the last bytes of a kernel's log, in an area that grows until it has a limit, and that who
/// watches has mapped beside.
struct Log<'v, P: Platform> {
    vmalloc: &'v Vmalloc<P>,
    area: NonNull<u8>,
    pages: usize,
}

impl<'v, P: Platform> Log<'v, P> {
    const LIMIT: usize = 64;

    fn new(vmalloc: &'v Vmalloc<P>) -> result::Result<Self, AllocError> {
        Ok(Self { vmalloc, area: vmalloc.vzalloc(PAGE_SIZE)?, pages: 1 })
    }

    /// Doubles the log. It stays as it is if that is refused, or if it is long enough.
    fn grow(&mut self) -> result::Result<(), Box<dyn Error>> {
        if self.pages < Self::LIMIT {
            // SAFETY: the log's own area, whose address is nowhere else.
            self.area = unsafe { self.vmalloc.vrealloc(self.area, 2 * self.pages * PAGE_SIZE)? };
            self.pages *= 2;
        }
        Ok(())
    }

    /// Shows the log at another address, for reading, until it is [hidden](Self::hide).
    fn show(&self) -> result::Result<NonNull<u8>, AllocError> {
        let frames: Vec<_> = self.vmalloc.area_frames(self.area.addr().get()).into_iter().flatten().collect();
        self.vmalloc.vm_map_ram(&frames, Protection::ReadOnly)
    }

    /// Ends what [`show`](Self::show) began, for every CPU.
    fn hide(&self, shown: NonNull<u8>) -> result::Result<(), FreeError> {
        // SAFETY: who watches does so no more.
        unsafe { self.vmalloc.vm_unmap_ram(shown, self.pages)? };
        self.vmalloc.vm_unmap_aliases();
        Ok(())
    }
}

impl<P: Platform> Drop for Log<'_, P> {
    fn drop(&mut self) {
        // SAFETY: nobody uses it any more.
        unsafe { self.vmalloc.vfree(self.area) }.expect("the log's own area");
    }
}

/// Runs a test with an instance on a machine, on which everything must be back in the end.
fn on_a_machine(cpus: usize, frames: usize, test: impl FnOnce(&Machine, &Vmalloc<&Machine>)) {
    let machine = Machine::new(cpus, frames);
    // SAFETY: nothing else is mapped there, and no pointer is followed.
    let vmalloc = unsafe { Vmalloc::new(&machine, 0xffff_c900_0000_0000..0xffff_c900_4000_0000) };
    let vmalloc = vmalloc.expect("frames enough");
    test(&machine, &vmalloc);
    machine.check();
    assert_eq!(vmalloc.areas().count(), 0, "areas stay");
    drop(vmalloc);
    machine.assert_all_frames_back();
}

#[test]
fn what_was_logged_stays_when_the_log_grows() {
    on_a_machine(1, 1000, |machine, vmalloc| {
        let mut log = Log::new(vmalloc).expect("frames enough");
        machine.write_bytes(log.area.addr().get() + PAGE_SIZE - 4, b"boot").expect("mapped");
        // The page behind it is a guard page.
        assert_eq!(machine.write_bytes(log.area.addr().get() + PAGE_SIZE - 2, b"boot"), Err(PageFault));
        while log.pages < Log::<&Machine>::LIMIT {
            log.grow().expect("frames enough");
        }
        log.grow().expect("it is long enough");
        let mut bytes = [1; 8];
        machine.read_bytes(log.area.addr().get() + PAGE_SIZE - 4, &mut bytes).expect("mapped");
        assert_eq!(&bytes[..4], b"bobo", "what the CPU wrote before it faulted is kept, too");
    });
}

/// Each number of frames is the last one once. Seen failing with a `grow` that counts its pages first.
#[test]
fn a_log_that_cannot_grow_stays_as_it_is() {
    on_a_machine(1, 1000, |machine, vmalloc| {
        let mut refused = 0;
        for frames in 0.. {
            let mut log = Log::new(vmalloc).expect("frames enough");
            machine.fail_after(frames);
            let grown = log.grow();
            machine.never_fail();
            let pages = vmalloc.find_area(log.area.addr().get()).map(|area| area.pages);
            assert_eq!(pages, Some(log.pages), "with {frames} frames: {grown:?}");
            drop(log);
            vmalloc.trim();
            match grown {
                Ok(()) => break,
                Err(_) => refused += 1,
            }
        }
        assert!(refused > 0, "it never ran out of frames");
    });
}

/// Seen failing without `vm_unmap_aliases`: the second CPU still reads what was hidden.
#[test]
fn no_cpu_reads_a_log_that_is_hidden() {
    on_a_machine(2, 1000, |machine, vmalloc| {
        let log = Log::new(vmalloc).expect("frames enough");
        machine.write_bytes(log.area.addr().get(), b"secret").expect("mapped");
        let shown = log.show().expect("frames enough");
        machine.run_on(1);
        let mut bytes = [0; 6];
        machine.read_bytes(shown.addr().get(), &mut bytes).expect("shown");
        assert_eq!(&bytes, b"secret");
        assert_eq!(machine.write_bytes(shown.addr().get(), b"public"), Err(PageFault), "for reading only");
        machine.run_on(0);
        log.hide(shown).expect("shown");
        machine.run_on(1);
        assert_eq!(machine.read_bytes(shown.addr().get(), &mut bytes), Err(PageFault));
    });
}

/// Two instances on one machine: a page that one unmapped is flushed with what the other has.
#[test]
fn a_machine_serves_two_instances() {
    on_a_machine(2, 2000, |machine, first| {
        // SAFETY: nothing else is mapped there, and no pointer is followed.
        let second = unsafe { Vmalloc::new(machine, 0xffff_ca00_0000_0000..0xffff_ca00_4000_0000) };
        let second = second.expect("frames enough");
        for vmalloc in [first, &second, first] {
            let area = vmalloc.vzalloc(5 * PAGE_SIZE).expect("frames enough");
            let address = area.addr().get();
            for cpu in [1, 0] {
                machine.run_on(cpu);
                machine.write_bytes(address, &[7; 5 * PAGE_SIZE]).expect("mapped");
            }
            assert_eq!(first.contains(address), core::ptr::eq(vmalloc, first));
            // SAFETY: nobody uses it any more.
            unsafe { vmalloc.vfree(area) }.expect("allocated");
        }
        assert_eq!((first.areas().count(), second.areas().count()), (0, 0));
        second.trim();
    });
}
