//! The machine: frames from a source, interrupts off for a pin, the CPU's own registers for the rest.
//!
//! The only lock guards the frames. It is taken with interrupts off, and nothing else is locked or flushed
//! under it, except by the source.

use super::{
    cpus::{Cpus, OneCpu},
    grace::Grace,
    hardware::{self, InterruptsOff, UnfitCpu},
    memory::{FrameSource, Memory, Supply},
};
use crate::{CpuPin, CpuSet, Flusher, Frame, Platform, Returned, Shootdown, TlbState};
use core::{fmt, hint::spin_loop, ptr::NonNull};
use spin::mutex::SpinMutex;

/// Ticks of the time stamp counter after which a CPU that does not answer is broken: over half a minute on any CPU of up
/// to 4 GHz.
const PATIENCE: u64 = 1 << 37;

/// Ticks between two looks of which more count for no more: the machine was stopped meanwhile, and so was the other CPU.
const STOPPED: u64 = 1 << 28;

/// A [`Platform`] for kernels that see all physical memory at an offset; frames come from `S`. See the
/// [module](super) for an example and for what interrupt handlers may do.
///
/// An instance owns its machine; several share one by references to it. [`total_frames`](Platform::total_frames)
/// counts all that [`Memory::new`] was told of, which may be more than the source has. If that has much less, set
/// [`lazy_max_pages`](crate::Tunables::lazy_max_pages), so that what waits for a flush does not take most of it.
pub struct Machine<S, C = OneCpu> {
    memory: Memory,
    supply: SpinMutex<Supply<S>>,
    root: Frame,
    /// That of the CPU that made the machine, and so of each that is online.
    page_attribute_table: u64,
    cpus: C,
    shootdown: Shootdown,
    grace: Grace,
}

impl<S: FrameSource> Machine<S> {
    /// Makes the machine of a kernel that runs on one CPU, which is online from now on.
    ///
    /// # Errors
    /// If an instance cannot run on the CPU as it is set up.
    ///
    /// # Safety
    /// For as long as the machine lives,
    /// 1. the CPU runs in ring 0 on the page tables that CR3 names now. Others may take their place if their top level has
    ///    the same entries for the ranges of all instances, which [`Vmalloc::new`](crate::Vmalloc::new) fills for ever;
    /// 2. each frame that the source gives, and each address that `memory` has for RAM, is seen at the offset, writable, and
    ///    cached as ordinary memory is; at offset 0 the source does not give frame 0;
    /// 3. a frame that the source gave is used by nobody else until it is given back, and the source takes locks only as
    ///    [`FrameSource`] says;
    /// 4. no other CPU uses these page tables, and no other machine is made for them;
    /// 5. with interrupts off no other thread runs, unless the one that runs asks for that, which the source does not;
    /// 6. handlers of non-maskable interrupts and machine checks call no function of the library but `find_area`, `frame_at`,
    ///    `contains` and `vread`; other handlers call it with interrupts off.
    pub unsafe fn one_cpu(memory: Memory, source: S) -> Result<Self, UnfitCpu> {
        // SAFETY: the caller's promises. CPU 0 is the only one.
        unsafe { Self::several_cpus(memory, source, OneCpu, &[]) }
    }
}

impl<S: FrameSource, C: Cpus> Machine<S, C> {
    /// Makes the machine of a kernel that runs on several CPUs. The current one is online from now on, each
    /// other one once it has called [`set_online`](Self::set_online). `others` has a state for each of the
    /// others, as [`Shootdown::new`] says.
    ///
    /// With interrupts off, no CPU may wait for what another one does while that calls the library: the other one
    /// may be waiting for this one to flush. A CPU that has to wait calls [`Shootdown::serve`] again and again.
    /// That answers flushes, but ends no grace period; only [`answer`](Self::answer) does: on the other CPU,
    /// allocations that run short of memory, [`trim`] and whatever else gives caches back wait until this one
    /// takes the interrupt. If a CPU does not answer within 2³⁷ ticks of the time stamp counter, a panic names it.
    ///
    /// [`trim`]: crate::Vmalloc::trim
    ///
    /// # Errors
    /// If an instance cannot run on the current CPU as it is set up.
    ///
    /// # Safety
    /// For as long as the machine lives,
    /// 1. the CPUs that are online run in ring 0 on the page tables that CR3 names now. Others may take their place if their
    ///    top level has the same entries for the ranges of all instances, which [`Vmalloc::new`](crate::Vmalloc::new) fills
    ///    for ever;
    /// 2. each frame that the source gives, and each address that `memory` has for RAM, is seen at the offset, writable, and
    ///    cached as ordinary memory is; at offset 0 the source does not give frame 0;
    /// 3. a frame that the source gave is used by nobody else until it is given back, and the source takes locks only as
    ///    [`FrameSource`] says;
    /// 4. no other CPU uses these page tables, and no other machine is made for them;
    /// 5. with interrupts off no other thread runs on the CPU, unless the one that runs asks for that, which the source and
    ///    `cpus` do not;
    /// 6. handlers of non-maskable interrupts and machine checks call no function of the library but `find_area`, `frame_at`,
    ///    `contains` and `vread`; other handlers call it with interrupts off;
    /// 7. [`Cpus::here`] returns the CPU that it runs on, at most the number of states in `others`;
    /// 8. [`answer`](Self::answer) is called by the handler of a maskable interrupt only.
    pub unsafe fn several_cpus(
        memory: Memory,
        source: S,
        cpus: C,
        others: &'static [TlbState],
    ) -> Result<Self, UnfitCpu> {
        let supply = SpinMutex::new(Supply::new(source));
        let (shootdown, grace) = (Shootdown::new(others), Grace::new());
        let (root, page_attribute_table) = (hardware::root(), hardware::page_attribute_table());
        let machine = Self { memory, supply, root, page_attribute_table, cpus, shootdown, grace };
        // SAFETY: there is no instance on this machine yet.
        unsafe { machine.set_online() }?;
        Ok(machine)
    }

    /// Brings the current CPU online: from now on it may use what instances map, and is interrupted when they
    /// flush. It has to take interrupts now, or soon.
    ///
    /// # Errors
    /// If an instance cannot run on the CPU as it is set up, or its page attribute table is not that of the
    /// CPU that made the machine. The CPU is not online then.
    ///
    /// # Safety
    /// 1. The CPU has used nothing that an instance maps.
    /// 2. From when it loaded page tables with an instance's range until this returns, nothing is freed,
    ///    purged or trimmed: see [`Shootdown::set_online`].
    pub unsafe fn set_online(&self) -> Result<(), UnfitCpu> {
        hardware::check()?;
        if hardware::page_attribute_table() != self.page_attribute_table {
            return Err(UnfitCpu::MemoryTypes);
        }
        let pin = self.pin();
        // SAFETY: the caller's promises.
        unsafe { self.shootdown.set_online(self, false) };
        drop(pin);
        Ok(())
    }

    /// Answers an interrupt that [`Cpus::interrupt`] sent. Its handler calls this, with interrupts off.
    pub fn answer(&self) {
        let pin = self.pin();
        self.shootdown.answer(self);
        self.grace.pass(pin.cpu());
    }

    /// Takes a frame for the kernel's own needs, with any contents: one that the source did not take back, or else one from
    /// the source. `None` means that there is none now.
    pub fn take_frame(&self) -> Option<Frame> {
        self.locked(|supply| supply.take(&self.memory))
    }

    /// Gives a frame back.
    ///
    /// # Safety
    /// [`take_frame`](Self::take_frame) gave the frame, it was not given back since, and nobody uses it.
    pub unsafe fn give_frame(&self, frame: Frame) {
        // SAFETY: the caller's promise.
        self.locked(|supply| unsafe { supply.give(&self.memory, frame) });
    }

    /// Returns the CPUs that are online but the current one, on which the pin keeps the caller.
    fn others(&self, pin: &Pin) -> CpuSet {
        self.shootdown.online().without(CpuSet::EMPTY.with_if(pin.cpu(), true))
    }

    /// Begins a grace period and returns the CPUs to wait for; or returns `None` while somebody else waits for one.
    fn begin_grace(&self) -> Option<CpuSet> {
        let pin = self.pin();
        let others = self.others(&pin);
        let begins = self.grace.begin(others);
        if begins && !others.is_empty() {
            self.cpus.interrupt(others);
        }
        begins.then_some(others)
    }

    pub(super) fn locked<T>(&self, work: impl FnOnce(&mut Supply<S>) -> T) -> T {
        let _off = InterruptsOff::new();
        work(&mut self.supply.lock())
    }
}

/// Writes the top level page table's frame, and which CPUs are online.
impl<S, C> fmt::Debug for Machine<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("Machine");
        text.field("root", &self.root).field("shootdown", &self.shootdown).finish_non_exhaustive()
    }
}

/// Keeps the current thread on its CPU by turning interrupts off until it is dropped, which restores them.
pub struct Pin {
    cpu: usize,
    _off: InterruptsOff,
}

impl CpuPin for Pin {
    #[inline]
    fn cpu(&self) -> usize {
        self.cpu
    }
}

// SAFETY: who made the machine promised, by the numbers of `several_cpus`: 1. and 2. by 3 and 2. 3. by the default of
// `take_table`. 4. by 1. 5. by 1, 4, 7 and 8, and `Flusher` below. 6. by 5. 7. see `synchronize`. 8. by 2. 9. interrupts
// are off while there is a pin.
unsafe impl<S: FrameSource, C: Cpus> Platform for Machine<S, C> {
    type Pin = Pin;

    #[inline]
    fn pin(&self) -> Pin {
        let off = InterruptsOff::new();
        Pin { cpu: self.cpus.here(), _off: off }
    }

    fn root(&self) -> Frame {
        self.root
    }

    fn total_frames(&self) -> usize {
        self.memory.frames()
    }

    fn free_frames(&self) -> usize {
        self.memory.frames().saturating_sub(self.locked(|supply| supply.taken))
    }

    fn take_frames(&self, count: usize, mut sink: impl FnMut(Frame)) -> usize {
        // Interrupts are off for one frame at a time.
        (0..count).map_while(|_| self.take_frame()).map(&mut sink).count()
    }

    fn give_frames(&self, frames: Returned<impl Iterator<Item = Frame>>) {
        // SAFETY: they were taken, and nobody uses them any more.
        frames.into_iter().for_each(|frame| unsafe { self.give_frame(frame) });
    }

    #[inline]
    fn direct_map(&self, frame: Frame) -> NonNull<u8> {
        self.memory.pointer(frame)
    }

    fn is_ram(&self, frame: Frame) -> bool {
        self.memory.is_ram(frame)
    }

    fn physical_bits(&self) -> u32 {
        hardware::physical_bits()
    }

    fn page_attribute_table(&self) -> u64 {
        self.page_attribute_table
    }

    fn frame_of(&self, direct: NonNull<u8>) -> Frame {
        self.memory.frame(direct)
    }

    fn shootdown(&self) -> &Shootdown {
        &self.shootdown
    }

    /// Returns false, even in an interrupt handler: it has interrupted nothing of the library, which has
    /// interrupts off where it must not be interrupted.
    #[inline]
    fn in_interrupt(&self) -> bool {
        false
    }

    fn pause(&self) -> bool {
        // With interrupts off this may be a handler, and the one to wait for the thread that it interrupted.
        hardware::interrupts_are_on() && self.cpus.pause()
    }

    fn synchronize(&self) -> bool {
        // With interrupts off the caller may be pinned. With interrupts on nothing is pinned to this CPU.
        if !hardware::interrupts_are_on() {
            return false;
        }
        loop {
            if self.others(&self.pin()).is_empty() {
                return true;
            }
            // Asked before anything has begun: who may not wait leaves nothing for others to wait for.
            if !self.pause() {
                return false;
            }
            if let Some(others) = self.begin_grace() {
                let online = |cpu| self.shootdown.online().contains(cpu);
                self.grace.end(others, online, |cpu, done| wait_patiently(cpu, done, || ()));
                return true;
            }
        }
    }
}

// SAFETY: 1. by promise 7 of `several_cpus`, and all is called pinned. 2. INVLPG and a write of CR3 return when the CPU has
// forgotten (Intel SDM 3A, section 4.10.4); `check` saw to it that a write of CR3 drops all that is not global. 3. `wait` is
// a loop. 4. interrupts are off.
unsafe impl<S: FrameSource, C: Cpus> Flusher for Machine<S, C> {
    #[inline]
    fn here(&self) -> usize {
        self.cpus.here()
    }

    #[inline]
    fn flush_page(&self, address: usize) {
        hardware::flush_page(address);
    }

    fn flush_all(&self) {
        hardware::flush_all();
    }

    fn interrupt(&self, cpus: CpuSet) {
        self.cpus.interrupt(cpus);
    }

    fn wait(&self, cpu: usize, done: impl Fn() -> bool) {
        // Interrupts are off, and the other one may wait for this CPU.
        wait_patiently(cpu, done, || self.shootdown.serve(self));
    }

    fn uninterrupted(&self, serve: impl FnOnce()) {
        let _off = InterruptsOff::new();
        serve();
    }
}

/// Returns when `done` returns true, and calls `meanwhile` again and again until then. A CPU for which that takes too long is
/// broken.
fn wait_patiently(cpu: usize, done: impl Fn() -> bool, meanwhile: impl Fn()) {
    let (mut last, mut waited) = (hardware::ticks(), 0_u64);
    while !done() {
        meanwhile();
        spin_loop();
        let now = hardware::ticks();
        waited = waited.saturating_add(now.saturating_sub(last).min(STOPPED));
        last = now;
        // It may have answered while this thread was off its CPU, or this CPU stood still.
        assert!(
            waited < PATIENCE || done(),
            "CPU {cpu} does not answer: is its interrupt handler calling Machine::answer, and are its interrupts on?"
        );
    }
}
