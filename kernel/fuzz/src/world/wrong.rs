//! Calls that must be refused, and what an interrupt handler may do.

use super::{World, at, bytes};
use vmalloc::{
    AllocError, Cache, FreeError, Kind, PAGE_SIZE, ProtectError, Protection, ReallocError, Request,
};

impl World<'_> {
    /// Makes a call that is wrong: it must be refused, and change nothing.
    pub(super) fn wrong(&self, instance: usize, which: u32, how: u32, more: u32) {
        let (start, kind, pages) = {
            let model = self.models[instance].borrow();
            let Some(start) = model.pick(which / 16, |_| true) else {
                drop(model);
                return self.wrong_address(instance, how);
            };
            let area = &model.areas[&start];
            (start, area.kind, area.pages.len())
        };
        let vmalloc = self.instance(instance);
        self.note(|| format!("a wrong call, {}, about {start:#x}, {kind}, {pages} pages", which % 16));
        let inside = start + bytes(more as usize % pages) + more as usize % 7;
        // SAFETY: the calls are refused; none is for what is allocated.
        unsafe {
            match which % 16 {
                // Another call frees this kind.
                0 if kind != Kind::Vmalloc => self.refused_free(vmalloc.vfree(at(start)), start),
                1 if matches!(kind, Kind::Vmalloc | Kind::Congruent | Kind::VmMapRam) => {
                    self.refused_free(vmalloc.vunmap(at(start)), start);
                }
                2 if kind != Kind::VmMapRam => {
                    self.refused_free(vmalloc.vm_unmap_ram(at(start), pages), start);
                }
                // It begins elsewhere.
                3 if inside != start => self.refused_free(vmalloc.vfree(at(inside)), inside),
                4 if inside != start && (kind != Kind::Ioremap || inside >= start + PAGE_SIZE) => {
                    self.refused_free(vmalloc.vunmap(at(inside)), inside);
                }
                5 if inside != start => {
                    let count = 1 + more as usize % pages;
                    self.refused_free(vmalloc.vm_unmap_ram(at(inside), count), inside);
                }
                // It is longer or shorter.
                6 if kind == Kind::VmMapRam => {
                    let count = if more as usize % 70 == pages { pages + 1 } else { more as usize % 70 };
                    self.refused_free(vmalloc.vm_unmap_ram(at(start), count), start);
                }
                7 => {
                    let error = vmalloc.set_protection(at(start), bytes(pages) + 1, Protection::ReadOnly);
                    let is_right = matches!(
                        error,
                        Err(ProtectError::BehindArea { .. } | ProtectError::WrongKind { .. })
                    );
                    assert!(is_right, "{error:?}");
                }
                8 => {
                    let error = vmalloc.set_protection(at(start + 1), 1, Protection::ReadOnly);
                    assert!(matches!(error, Err(ProtectError::BadRange { .. })), "{error:?}");
                }
                9 if kind != Kind::Vmalloc || inside != start => {
                    let address = if kind == Kind::Vmalloc { inside } else { start };
                    let error = vmalloc.vrealloc(at(address), PAGE_SIZE);
                    assert!(matches!(error, Err(ReallocError::Address(_))), "{error:?}");
                }
                10 => {
                    let error = vmalloc.allocate(Request::new(PAGE_SIZE).align(3 + more as usize % 2 * 2));
                    assert!(matches!(error, Err(AllocError::BadAlignment { .. })), "{error:?}");
                }
                11 => {
                    let first = self.machine.ram().start;
                    let error = vmalloc.ioremap(first, PAGE_SIZE, Cache::Uncached);
                    assert!(matches!(error, Err(AllocError::CachedElsewhere { .. })), "{error:?}");
                }
                12 => {
                    let range = self.setting.range(instance);
                    let error = vmalloc.vmalloc(range.len());
                    assert!(matches!(error, Err(AllocError::TooLarge { .. })), "{error:?}");
                }
                _ => self.wrong_address(instance, how),
            }
        }
    }

    fn refused_free(&self, result: Result<(), FreeError>, address: usize) {
        assert!(result.is_err(), "{address:#x} was freed");
    }

    /// Frees what is not allocated: what was freed, or any address.
    fn wrong_address(&self, instance: usize, how: u32) {
        let range = self.setting.range(instance);
        let address = {
            let model = self.models[instance].borrow();
            let freed = model.freed.get(how as usize / 4 % 16).copied();
            let any = range.start + bytes(how as usize * 37 % (range.len() / PAGE_SIZE));
            let address = if how & 3 > 0 { freed.unwrap_or(any) } else { any };
            if model.at(address).is_some() {
                return;
            }
            address
        };
        self.note(|| format!("frees of {address:#x}, where nothing is"));
        let vmalloc = self.instance(instance);
        // SAFETY: the calls are refused, as nothing is allocated there.
        let refused = unsafe {
            [
                vmalloc.vfree(at(address)),
                vmalloc.vunmap(at(address)),
                vmalloc.vm_unmap_ram(at(address), 1 + how as usize % 3),
            ]
        };
        for result in refused {
            let is_right =
                matches!(result, Err(FreeError::NotAllocated { .. } | FreeError::FreedBefore { .. }));
            assert!(is_right, "{result:?}");
        }
        let outside = if how & 1 == 0 { range.start - PAGE_SIZE } else { range.end };
        // SAFETY: as above: it is not the instance's.
        let refused = unsafe { vmalloc.vfree(at(outside)) };
        assert!(matches!(refused, Err(FreeError::OutsideRange { .. })), "{refused:?}");
    }

    /// An interrupt handler on the CPU that runs frees an area, and is refused all that waits or locks.
    pub(super) fn interrupt(&self, instance: usize, which: u32, how: u32) {
        let start = self.models[instance].borrow().pick(which, |area| area.kind == Kind::Vmalloc);
        self.machine.set_interrupt(true);
        let vmalloc = self.instance(instance);
        let refused = vmalloc.vmalloc(PAGE_SIZE);
        assert!(matches!(refused, Err(AllocError::InInterrupt)), "{refused:?}");
        if let Some(start) = start {
            let area = vmalloc.find_area(start).expect("it is allocated");
            assert_eq!(area.start, start);
            // SAFETY: they are refused.
            let refused = unsafe { (vmalloc.vrealloc(at(start), PAGE_SIZE), vmalloc.vunmap(at(start))) };
            assert!(refused.0.is_err() && refused.1.is_err(), "{refused:?}");
            if how.is_multiple_of(2) {
                let mut model = self.models[instance].borrow_mut();
                let area = model.remove(start).expect("picked");
                model.deferred.push(area.extent());
                drop(model);
                // SAFETY: nobody uses the area but simulated CPUs.
                let freed = unsafe { vmalloc.vfree(at(start)) };
                self.note(|| format!("vfree {start:#x} in an interrupt handler: {freed:?}"));
                super::owned::must_free(freed);
                // SAFETY: it is refused.
                let again = unsafe { vmalloc.vfree(at(start)) };
                assert!(again.is_err(), "{start:#x} was freed twice");
            }
        }
        self.machine.set_interrupt(false);
    }
}
