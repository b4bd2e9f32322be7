//! Giving back, tuning, and the end of an instance.

use super::{World, make};
use std::{mem::ManuallyDrop, sync::atomic::Ordering};
use vmalloc::{Kind, Reuse};

impl World<'_> {
    pub(super) fn purge(&self, instance: usize) {
        let purged = self.call(instance, |vmalloc| vmalloc.purge());
        self.note(|| format!("purge: {purged} pages"));
        if self.moments.get() == 0 && !self.is_nested() && self.setting.isolated == 0 {
            self.models[instance].borrow_mut().deferred.clear();
        }
    }

    pub(super) fn trim(&self, instance: usize) {
        self.note(|| "trim".into());
        self.call(instance, |vmalloc| vmalloc.trim());
    }

    pub(super) fn shrink(&self, instance: usize, frames: u32) {
        let before = self.machine.free_frames();
        let given = self.call(instance, |vmalloc| vmalloc.shrink(frames as usize % 200));
        self.note(|| format!("shrink of {} frames: {given}", frames % 200));
        if self.moments.get() == 0 && !self.is_nested() {
            assert!(self.machine.free_frames() >= before, "frames are gone");
        }
    }

    pub(super) fn release_cpu(&self, instance: usize, cpu: u32) {
        let cpu = cpu as usize % self.cpus();
        self.note(|| format!("release_cpu {cpu}"));
        self.call(instance, |vmalloc| vmalloc.release_cpu(cpu));
    }

    pub(super) fn tune(&self, instance: usize, which: u32, value: u32) {
        let vmalloc = self.instance(instance);
        let tunables = vmalloc.tunables();
        let (tunable, values, name) = match which % 4 {
            0 => (&tunables.single_page_flush_ceiling, [0, 1, 33, 100_000], "single_page_flush_ceiling"),
            1 => (&tunables.lazy_max_pages, [0, 1, 50, 2000], "lazy_max_pages"),
            2 => (&tunables.purge_priority, [0, 1, 2, 1000], "purge_priority"),
            _ => (&tunables.table_reserve, [0, 1, 8, 16], "table_reserve"),
        };
        let value = values[value as usize % 4];
        self.note(|| format!("{name} = {value}"));
        tunable.store(value, Ordering::Relaxed);
    }

    /// Sets the clock to a time that the library keeps as it is: 11 bits of it are any.
    pub(super) fn set_clock(&self, instance: usize, time: u32, scale: u32) {
        let time = u64::from(time % 2048) << if scale & 1 == 1 { scale / 2 % 24 } else { 0 };
        self.note(|| format!("set_clock {time}"));
        self.call(instance, |vmalloc| vmalloc.set_clock(time));
        self.models[instance].borrow_mut().clock = time;
    }

    pub(super) fn switch(&self, instance: usize, which: u32, how: u32) {
        let on = how.is_multiple_of(3);
        match which % 8 {
            0 => self.call(instance, |vmalloc| vmalloc.set_trace(on)),
            1 => {
                let count = if on { 1 + how as usize % 300 } else { 0 };
                let done = self.call(instance, |vmalloc| vmalloc.set_remembered(count));
                self.note(|| format!("set_remembered {count}: {done}"));
            }
            2 => {
                self.note(|| format!("set_check_slack {on}"));
                self.call(instance, |vmalloc| vmalloc.set_check_slack(on));
            }
            3 => {
                let pages = if on { [1, 50, 1000, 100_000][how as usize / 3 % 4] } else { 0 };
                self.note(|| format!("set_quarantine {pages}"));
                self.call(instance, |vmalloc| vmalloc.set_quarantine(pages));
            }
            4 => {
                self.note(|| format!("set_trace_purges {on}"));
                self.call(instance, |vmalloc| vmalloc.set_trace_purges(on));
            }
            _ => {
                self.note(|| format!("set_reuse {}", if on { "after flush" } else { "hot" }));
                self.call(instance, |vmalloc| {
                    vmalloc.set_reuse(if on { Reuse::AfterFlush } else { Reuse::Hot })
                });
            }
        }
    }

    /// Frees all areas, each by its own call.
    pub(super) fn free_all(&self, instance: usize) {
        loop {
            let first = self.models[instance]
                .borrow()
                .areas
                .values()
                .next()
                .map(|area| (area.start, area.kind, area.set));
            match first {
                None => return,
                Some((start, Kind::Vmalloc, _)) => self.free_at(instance, start),
                Some((.., Some(set))) => self.free_set(instance, set),
                Some((start, ..)) => self.unmap_at(instance, start),
            }
        }
    }

    /// Has an instance in which nothing is allocated give everything back, and looks whether it does.
    pub(super) fn empty(&self, instance: usize) {
        let vmalloc = self.instance(instance);
        vmalloc.set_trace(false);
        vmalloc.set_trace_purges(false);
        vmalloc.set_check_slack(false);
        vmalloc.set_remembered(0);
        vmalloc.set_quarantine(0);
        vmalloc.trim();
        let stats = vmalloc.stats();
        assert_eq!((stats.free, stats.used()), (stats.total, 0), "all is freed: {stats:?}");
        assert_eq!((stats.lazy, stats.parked, stats.quarantined), (0, 0, 0), "all is freed: {stats:?}");
        assert_eq!(vmalloc.lazy_pages(), 0, "all is freed: {stats:?}");
    }

    pub(super) fn remake(&self, instance: usize) {
        // As one does who takes an instance down: nobody uses it any more, and all CPUs can be asked to flush.
        let refuses = (self.refuses_grace.get(), self.refuses_pause.get());
        self.machine.refuse_grace(false);
        self.machine.refuse_pause(false);
        self.machine.never_fail();
        self.armed.set(false);
        self.free_all(instance);
        self.instance(instance).vm_unmap_aliases();
        self.empty(instance);
        self.note(|| "the instance is dropped, and made anew".into());
        let mut model = self.models[instance].borrow_mut();
        model.notifiers.clear();
        model.clock = 0;
        drop(model);
        self.tallies[instance].take();
        let mut place = self.instances[instance].borrow_mut();
        // SAFETY: it is replaced, or this ends in a panic, after which nobody uses it.
        unsafe { ManuallyDrop::drop(&mut place) };
        match make(self.machine, &self.setting, instance) {
            Some(made) => *place = ManuallyDrop::new(made),
            None => {
                // The frames are the other instance's: those that it can spare are enough.
                self.instances[1 - instance].borrow().trim();
                let made = make(self.machine, &self.setting, instance);
                let Some(made) = made else {
                    self.free_all(1 - instance);
                    self.instances[1 - instance].borrow().vm_unmap_aliases();
                    self.instances[1 - instance].borrow().trim();
                    *place = ManuallyDrop::new(
                        make(self.machine, &self.setting, instance).expect("as at the beginning"),
                    );
                    return;
                };
                *place = ManuallyDrop::new(made);
            }
        }
        drop(place);
        self.machine.refuse_grace(refuses.0);
        self.machine.refuse_pause(refuses.1);
    }
}
