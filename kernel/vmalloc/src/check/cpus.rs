//! Checks of CPUs: which one runs, which are online, pins, and whether interrupts arrive.

use super::{
    Broken, Cpu, Promise, Seen, Untried,
    trial::{Trial, check},
};
use crate::{CpuPin, CpuSet, Flusher, Forbid, PAGE_SIZE, Platform, Scope};
use core::{cell::Cell, hint};

/// Times that a wait is told to go on before it is told the truth.
const MORE_WAITS: usize = 3;

impl<P: Platform, C: Cpu> Trial<'_, P, C> {
    /// Tries where the code runs, and what keeps it there.
    pub fn try_cpu(&mut self) -> Result<(), Broken> {
        let platform = self.platform;
        self.trying(Promise::InInterrupt);
        check(!platform.in_interrupt(), Promise::InInterrupt, || Seen::InInterrupt)?;
        self.trying(Promise::Pins);
        let outside = platform.pin_outside_interrupts().map(|pin| self.try_pin(&pin));
        outside.unwrap_or(Err(Broken { promise: Promise::Pins, seen: Seen::NoPin }))?;
        let outer = platform.pin();
        self.try_pin(&outer)?;
        let inner = platform.pin();
        self.try_pin(&inner)?;
        drop(inner);
        self.try_pin(&outer)?;
        self.trying(Promise::Online);
        let (cpu, online) = (outer.cpu(), platform.shootdown().online());
        (self.report.cpu, self.report.online) = (cpu, online);
        check(online.contains(cpu), Promise::Online, || Seen::NotOnline { cpu, online })?;
        self.try_uninterrupted()
    }

    fn try_pin(&self, pin: &P::Pin) -> Result<(), Broken> {
        let (pin, here) = (pin.cpu(), self.platform.here());
        let cpus = self.platform.shootdown().cpus();
        check(here < cpus, Promise::Here, || Seen::BadNumber { cpu: here, cpus })?;
        check(pin == here, Promise::Pins, || Seen::TwoNumbers { pin, here })
    }

    /// Tries whether closures run uninterrupted, one within another, and interrupts are as before then.
    fn try_uninterrupted(&mut self) -> Result<(), Broken> {
        const BROKEN: Promise = Promise::Uninterrupted;
        self.trying(BROKEN);
        let (platform, cpu) = (self.platform, self.cpu);
        let before = cpu.takes_interrupts();
        // The default is right for one CPU that never flushes in an interrupt.
        let is_alone = self.report.online.count() == 1 && !platform.broadcasts();
        let (outer, inner, interrupted) = (Cell::new(false), Cell::new(false), Cell::new(false));
        let look = |runs: &Cell<bool>| {
            runs.set(true);
            interrupted.set(interrupted.get() || cpu.takes_interrupts());
        };
        platform.uninterrupted(|| {
            look(&outer);
            platform.uninterrupted(|| look(&inner));
            look(&outer);
        });
        check(outer.get() && inner.get(), BROKEN, || Seen::NotRun)?;
        check(is_alone || !interrupted.get(), BROKEN, || Seen::InterruptsOn)?;
        check(cpu.takes_interrupts() == before, BROKEN, || Seen::NotRestored)
    }

    /// Interrupts all other CPUs to flush the page at an address, and tries whether each answers and is waited for.
    pub fn try_interrupts(&mut self, pin: &P::Pin, address: usize) -> Result<(), Broken> {
        let (platform, here) = (self.platform, pin.cpu());
        let others = platform.shootdown().online().iter().filter(|&cpu| cpu != here).count();
        if others == 0 || platform.broadcasts() {
            self.report.leave_out(Untried::Interrupts);
            return Ok(());
        }
        self.trying(Promise::Interrupts);
        let witness = Witness { platform, patience: self.cpu.patience(), broken: Cell::new(None) };
        let page = address..address + PAGE_SIZE;
        platform.shootdown().flush_pages(&witness, &[page], Forbid::Speculation);
        self.report.answered = others;
        witness.broken.take().map_or(Ok(()), Err)
    }
}

/// The machine, with a look at how it waits for CPUs: for so many looks only, and then as it would.
struct Witness<'a, P> {
    platform: &'a P,
    patience: u64,
    /// The first promise that was found broken.
    broken: Cell<Option<Broken>>,
}

impl<P: Platform> Witness<'_, P> {
    fn try_wait(&self, cpu: usize, done: impl Fn() -> bool) -> Result<(), Broken> {
        let answers = |_| {
            // The other CPU may wait for this one, whose interrupts may be off.
            self.platform.shootdown().serve(self.platform);
            hint::spin_loop();
            done()
        };
        check((0..self.patience).any(answers), Promise::Interrupts, || Seen::Silent { cpu })?;
        let (asked, ended) = (Cell::new(0), Cell::new(false));
        self.platform.wait(cpu, || {
            asked.set(asked.get() + 1);
            ended.set(asked.get() > MORE_WAITS && done());
            ended.get()
        });
        check(ended.get(), Promise::Waits, || Seen::GaveUp { cpu })
    }
}

// SAFETY: the machine's own promises, but the third: a wait may end too early, and then the promise is told to be broken,
// and nothing that the CPUs were to forget is used for something else.
unsafe impl<P: Platform> Flusher for Witness<'_, P> {
    fn here(&self) -> usize {
        self.platform.here()
    }

    fn flush_page(&self, address: usize) {
        self.platform.flush_page(address);
    }

    fn flush_all(&self) {
        self.platform.flush_all();
    }

    fn interrupt(&self, cpus: CpuSet) {
        self.platform.interrupt(cpus);
    }

    fn wait(&self, cpu: usize, done: impl Fn() -> bool) {
        // One silent CPU is enough.
        let before = self.broken.take();
        self.broken.set(before.or_else(|| self.try_wait(cpu, done).err()));
    }

    fn uninterrupted(&self, serve: impl FnOnce()) {
        self.platform.uninterrupted(serve);
    }

    fn broadcasts(&self) -> bool {
        self.platform.broadcasts()
    }

    fn broadcast(&self, scope: Scope<'_>) {
        self.platform.broadcast(scope);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::tests::machine::Machine;

    /// All of it, whatever of it a flush of pages needs.
    #[test]
    fn a_witness_has_the_machine_do_what_it_is_asked() {
        let machine = &Machine::broadcasting(3, 100);
        let witness = Witness { platform: &machine, patience: 1, broken: Cell::new(None) };
        machine.run_on(2);
        assert_eq!((witness.here(), witness.broadcasts()), (2, true));
        witness.flush_page(0);
        assert_eq!((machine.page_flushes(), machine.full_flushes()), (1, 0));
        witness.flush_all();
        assert_eq!((machine.page_flushes(), machine.full_flushes()), (1, 1));
        witness.broadcast(Scope::All);
        assert_eq!(machine.broadcasts(), (0, 1));
        let ran = Cell::new(false);
        witness.uninterrupted(|| ran.set(true));
        assert!(ran.get());
    }
}
