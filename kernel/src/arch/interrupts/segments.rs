//! Segments, and the stacks that exceptions switch to.

use alloc::boxed::Box;
use spin::Once;
use x86_64::{
    VirtAddr,
    instructions::tables::load_tss,
    registers::segmentation::{CS, DS, ES, SS, Segment},
    structures::{
        gdt::{Descriptor, GlobalDescriptorTable, SegmentSelector},
        tss::TaskStateSegment,
    },
};

/// Places in the TSS of the stacks for exceptions that must not trust the stack they interrupt.
#[derive(Clone, Copy)]
#[repr(u8)]
pub enum ExceptionStack {
    /// For double faults.
    DoubleFault = 0,
    /// For page faults: an overflown kernel stack is one.
    PageFault = 1,
    /// For non-maskable interrupts.
    Nmi = 2,
}

/// Stacks for exceptions of one CPU.
pub const STACKS: usize = 3;

/// Loads the kernel's own segments, so that exceptions can be taken before there is memory to
/// allocate from. They run on the stack they interrupt.
pub fn load_early() {
    static GDT: Once<(GlobalDescriptorTable, SegmentSelector, SegmentSelector)> = Once::new();
    let (gdt, code, data) = GDT.call_once(|| {
        let mut gdt = GlobalDescriptorTable::new();
        let code = gdt.append(Descriptor::kernel_code_segment());
        let data = gdt.append(Descriptor::kernel_data_segment());
        (gdt, code, data)
    });
    gdt.load();
    load_segments(*code, *data);
}

/// One CPU's segments, and its TSS, which names the stacks for exceptions.
pub struct Segments {
    gdt: GlobalDescriptorTable<8>,
    code: SegmentSelector,
    data: SegmentSelector,
    tss_selector: SegmentSelector,
    _tss: Box<TaskStateSegment>,
}

impl Segments {
    /// Makes what one CPU needs, without loading it.
    ///
    /// # Safety
    /// Each of `stack_ends` is the end of a stack that nothing else uses, and that lives as long as a CPU has the segments
    /// loaded.
    pub unsafe fn new(stack_ends: [usize; STACKS]) -> Self {
        let mut tss = Box::new(TaskStateSegment::new());
        // The TSS is packed: its table is filled outside and copied in.
        let mut table = tss.interrupt_stack_table;
        for (entry, end) in table.iter_mut().zip(stack_ends) {
            *entry = VirtAddr::new(end as u64);
        }
        tss.interrupt_stack_table = table;
        let mut gdt = GlobalDescriptorTable::<8>::empty();
        let code = gdt.append(Descriptor::kernel_code_segment());
        let data = gdt.append(Descriptor::kernel_data_segment());
        // SAFETY: only `load` makes use of the descriptor, and it has both for ever.
        let tss_selector = gdt.append(unsafe { Descriptor::tss_segment_unchecked(&raw const *tss) });
        Self { gdt, code, data, tss_selector, _tss: tss }
    }

    /// Loads them on the CPU this runs on, which must be the only one that ever does.
    pub fn load(&'static self) {
        self.gdt.load();
        load_segments(self.code, self.data);
        // SAFETY: the selector is that of a TSS in the table just loaded; both live for ever.
        unsafe { load_tss(self.tss_selector) };
    }
}

fn load_segments(code: SegmentSelector, data: SegmentSelector) {
    // SAFETY: both are segments of the table just loaded: 64-bit code, and flat data. GS is left
    // alone: loading its selector would clear its base.
    unsafe {
        CS::set_reg(code);
        for set in [SS::set_reg, DS::set_reg, ES::set_reg] {
            set(data);
        }
    }
}
