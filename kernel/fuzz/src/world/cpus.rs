//! CPUs that sleep, wake, go and come; and what the machine refuses.

use super::World;
use vmalloc::Platform;

impl World<'_> {
    /// The first CPU from a number on that is online, woken if it sleeps.
    pub(super) fn awake_cpu(&self, number: usize) -> usize {
        let online = self.online.borrow();
        let count = online.len();
        // CPU 0 is always online.
        let cpu = (0..count).map(|more| (number + more) % count).find(|&cpu| online[cpu]).unwrap_or(0);
        drop(online);
        self.machine.wake(cpu);
        cpu
    }

    pub(super) fn sleep(&self, number: u32) {
        let cpu = number as usize % self.cpus();
        let here = vmalloc::Flusher::here(&self.machine);
        if cpu == here || self.caller.get() == Some(cpu) || !self.online.borrow()[cpu] {
            return;
        }
        let is_asleep = self.machine.is_asleep(cpu);
        self.note(|| format!("CPU {cpu} {}", if is_asleep { "wakes up" } else { "falls asleep" }));
        if is_asleep { self.machine.wake(cpu) } else { self.machine.sleep(cpu) }
    }

    pub(super) fn offline(&self, number: u32) {
        let count = self.cpus();
        if count == 1 {
            return;
        }
        let cpu = 1 + number as usize % (count - 1);
        let isolated = self.setting.isolated > 0 && cpu == count - 1;
        let shootdown = Platform::shootdown(&self.machine);
        let was_online = self.online.borrow()[cpu];
        let before = vmalloc::Flusher::here(&self.machine);
        self.machine.wake(cpu);
        self.machine.run_on(cpu);
        self.note(|| format!("CPU {cpu} goes {}line", if was_online { "off" } else { "on" }));
        // SAFETY: the CPU uses nothing while it is offline, and nobody purges just now.
        unsafe {
            if was_online {
                shootdown.set_offline(&self.machine)
            } else {
                shootdown.set_online(&self.machine, isolated)
            }
        }
        self.online.borrow_mut()[cpu] = !was_online;
        // The CPU that runs must be online.
        let next = if was_online && before == cpu { 0 } else { before };
        self.machine.wake(next);
        self.machine.run_on(next);
    }

    pub(super) fn flush(&self, cpu: usize) {
        self.note(|| format!("CPU {cpu} flushes"));
        Platform::shootdown(&self.machine).flush_all_here(&self.machine);
    }

    pub(super) fn fail(&self, how: u32, count: u32) {
        let fails = how.is_multiple_of(2);
        self.armed.set(fails);
        self.note(|| {
            if fails { format!("frames run out after {}", count % 16) } else { "frames are given".into() }
        });
        if fails { self.machine.fail_after(count as usize % 16) } else { self.machine.never_fail() }
    }

    /// What was to fail has failed.
    pub(super) fn disarm(&self) {
        if self.armed.replace(false) {
            self.machine.never_fail();
        }
    }

    pub(super) fn refuse(&self, what: u32, how: u32) {
        let refuses = how.is_multiple_of(3);
        let words = match what % 2 {
            0 => {
                self.refuses_grace.set(refuses);
                self.machine.refuse_grace(refuses);
                "grace periods"
            }
            _ => {
                self.refuses_pause.set(refuses);
                self.machine.refuse_pause(refuses);
                "pauses"
            }
        };
        self.note(|| format!("{words} are {}", if refuses { "refused" } else { "given" }));
    }

    /// All CPUs are awake and online, and nothing is refused.
    pub(super) fn calm(&self) {
        self.machine.never_fail();
        self.armed.set(false);
        self.machine.refuse_grace(false);
        self.machine.refuse_pause(false);
        for cpu in 1..self.cpus() {
            if !self.online.borrow()[cpu] {
                self.offline(cpu as u32 - 1);
            }
        }
        (0..self.cpus()).for_each(|cpu| self.machine.wake(cpu));
        self.machine.run_on(0);
    }
}
