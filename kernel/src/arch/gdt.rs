//! Segments, and the stacks that exceptions switch to.

use alloc::boxed::Box;
use core::ptr::NonNull;
use vmalloc::AllocError;
use x86_64::{
    VirtAddr,
    instructions::tables::load_tss,
    registers::segmentation::{CS, DS, ES, SS, Segment},
    structures::{
        gdt::{Descriptor, GlobalDescriptorTable, SegmentSelector},
        tss::TaskStateSegment,
    },
};

/// Bytes of each exception stack.
const EXCEPTION_STACK: usize = 16 << 10;

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

const STACKS: usize = 3;

/// Loads the kernel's own segments, so that exceptions can be taken before there is memory to
/// allocate from. They run on the stack they interrupt.
pub fn init_early() {
    static GDT: crate::sync::Once<(GlobalDescriptorTable, SegmentSelector, SegmentSelector)> =
        crate::sync::Once::new();
    let (gdt, code, data) = GDT.call_once(|| {
        let mut gdt = GlobalDescriptorTable::new();
        let code = gdt.append(Descriptor::kernel_code_segment());
        let data = gdt.append(Descriptor::kernel_data_segment());
        (gdt, code, data)
    });
    gdt.load();
    load_segments(*code, *data);
}

/// Gives the running CPU a TSS with exception stacks, from vmalloc, each with its guard page.
///
/// # Errors
/// No memory for the stacks.
pub fn init() -> Result<(), AllocError> {
    let mut tss = Box::new(TaskStateSegment::new());
    // The TSS is packed: its table is filled outside and copied in.
    let mut stacks = tss.interrupt_stack_table;
    for stack in stacks.iter_mut().take(STACKS) {
        let bottom: NonNull<u8> = crate::memory::vmalloc().vmalloc(EXCEPTION_STACK)?;
        *stack = VirtAddr::from_ptr(bottom.as_ptr()) + EXCEPTION_STACK as u64;
    }
    tss.interrupt_stack_table = stacks;
    let mut gdt = Box::new(GlobalDescriptorTable::<8>::empty());
    let code = gdt.append(Descriptor::kernel_code_segment());
    let data = gdt.append(Descriptor::kernel_data_segment());
    let tss = gdt.append(Descriptor::tss_segment(Box::leak(tss)));
    Box::leak(gdt).load();
    load_segments(code, data);
    // SAFETY: the selector is that of a TSS in the table just loaded; both live for ever.
    unsafe { load_tss(tss) };
    Ok(())
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
