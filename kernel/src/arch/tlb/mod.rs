//! Making CPUs forget translations: what the shootdown protocol of the library asks of this machine.
//!
//! The machine of `memory` flushes by it, idle CPUs and interrupt handlers tell it what they do. No lock is taken; who waits
//! for another CPU serves others meanwhile.

mod halted;
pub mod invlpgb;

use super::{
    apic::{self, Vector},
    cpu::{self, MAX_CPUS, Pin, interrupt_flag},
    tsc,
};
use core::sync::atomic::{AtomicU64, Ordering};
use vmalloc::{Counters, CpuSet, Flusher, Scope, Shootdown, TlbState};
use x86_64::{VirtAddr, instructions, registers::control::Cr3};

/// Microseconds after which a CPU that does not flush is broken. Under emulation on a busy computer a
/// virtual CPU may stand still for a second.
const LIMIT: u64 = 30_000_000;

/// Microseconds for which a CPU spins until another one has flushed. One that runs has flushed by then. One that does not
/// is a virtual CPU whose host runs others meanwhile, perhaps the one that waits for it: so that one stands still then.
const SPIN: u64 = 50;

static OTHERS: [TlbState; MAX_CPUS - 1] = [const { TlbState::new() }; MAX_CPUS - 1];
static SHOOTDOWN: Shootdown = Shootdown::new(&OTHERS);

/// Which CPUs may still use old translations.
#[inline]
pub(crate) fn shootdown() -> &'static Shootdown {
    &SHOOTDOWN
}

/// What a CPU has flushed.
pub fn counters(cpu: usize) -> &'static Counters {
    shootdown().counters(cpu)
}

/// Calls `look` with interrupts off: whatever table it finds linked is not given back before it returns.
pub fn look(look: impl FnOnce()) {
    shootdown().look(&Cpus, look);
}

/// The sum of one count over all CPUs.
pub fn total(of: impl Fn(&Counters) -> &AtomicU64) -> u64 {
    cpu::online().iter().map(|number| of(counters(number)).load(Ordering::Relaxed)).sum()
}

/// Called once, on the boot CPU.
#[inline(never)]
pub(crate) fn init() {
    invlpgb::init();
}

/// The CPUs of this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpus;

// SAFETY: 1. who flushes is pinned, or has interrupts off. 2. INVLPG, a write of CR3 and TLBSYNC return when the CPUs have
// forgotten (Intel SDM 3A, section 4.10.4; AMD APM 2, section 5.5.3). 3. `wait` panics otherwise. 4. interrupts are off.
unsafe impl Flusher for Cpus {
    fn here(&self) -> usize {
        cpu::current()
    }

    #[inline]
    fn flush_page(&self, address: usize) {
        instructions::tlb::flush(VirtAddr::new_truncate(address as u64));
    }

    fn flush_all(&self) {
        let (root, flags) = Cr3::read_raw();
        // SAFETY: the same page tables again. Drops all that is not GLOBAL, and the
        // paging-structure caches.
        unsafe { Cr3::write_raw(root, flags) };
    }

    fn interrupt(&self, cpus: CpuSet) {
        cpus.iter().for_each(|cpu| apic::send(cpu, Vector::Flush));
    }

    fn wait(&self, cpu: usize, done: impl Fn() -> bool) {
        let on_time = match instructions::interrupts::are_enabled() {
            true => tsc::spin_until(SPIN, &done) || halted::wait_until(LIMIT, done),
            false => tsc::spin_until(LIMIT, || {
                // Two CPUs may wait for each other.
                shootdown().serve(self);
                done()
            }),
        };
        assert!(on_time, "CPU {cpu} has not flushed its TLB for {} seconds", LIMIT / 1_000_000);
    }

    fn uninterrupted(&self, serve: impl FnOnce()) {
        interrupt_flag::without_interrupts(serve);
    }

    #[inline]
    fn broadcasts(&self) -> bool {
        invlpgb::most_pages().is_some()
    }

    fn broadcast(&self, scope: Scope<'_>) {
        let Some(most) = invlpgb::most_pages() else { unreachable!("asked before") };
        match scope {
            Scope::All => invlpgb::broadcast([invlpgb::EVERYTHING]),
            Scope::Pages(ranges) => {
                let operands = ranges.iter().flat_map(|range| invlpgb::operands(range.clone(), most));
                invlpgb::broadcast(operands);
            }
        }
    }
}

/// Lets the CPU this runs on take part in shootdowns. For the boot sequence, which calls it on the first CPU before there is
/// an instance, and waits for each other one to have called it, before there is anybody who frees.
pub(crate) fn init_cpu() {
    let pin = Pin::new();
    // SAFETY: the CPU runs on its stack alone, which was mapped before it started; nothing is freed, so no page table
    // goes, before all CPUs have come this far.
    unsafe { shootdown().set_online(&Cpus, cpu::is_isolated(cpu::current())) };
    drop(pin);
}

/// Flushes everything on the CPU this runs on, which others need not ask for any more.
pub fn flush_here() {
    shootdown().flush_all_here(&Cpus);
}

/// Flushes everything on the CPU this runs on, in any context, and tells nobody.
pub(crate) fn forget() {
    Cpus.flush_all();
}

/// This CPU is about to stop until the next interrupt.
///
/// # Safety
/// Interrupts are off, and the caller turns them on and stops the CPU next: it touches nothing that may be unmapped
/// before it has called [`leave_idle`], as the handler of the interrupt that ends that does.
pub(crate) unsafe fn enter_idle() {
    // SAFETY: the caller's promise.
    unsafe { shootdown().enter_idle(&Cpus) };
}

/// Called at the beginning of each interrupt, and by a CPU that goes on after it stopped.
pub(crate) fn leave_idle() {
    shootdown().leave_idle(&Cpus);
}

/// Called on a CPU to which another one sent `Vector::Flush`, with interrupts off.
pub(crate) fn on_interrupt() {
    shootdown().answer(&Cpus);
    halted::wake();
}
