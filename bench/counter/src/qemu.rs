//! What a plugin calls of QEMU, in version 1 of the interface (QEMU 7.2 has it), and what QEMU hands to it.
//!
//! Written after QEMU's documentation of its TCG plugins. Handles are QEMU's own and live as long as the callback that
//! was given them, but that of the plugin itself, which is a number.

use std::ffi::{c_char, c_int, c_uint, c_void};

/// The version of the interface.
pub const VERSION: c_int = 1;

/// The plugin, to QEMU.
pub type Id = u64;

/// A block of instructions that is being translated.
#[repr(C)]
pub struct Block {
    _opaque: [u8; 0],
}

/// An instruction of a block.
#[repr(C)]
pub struct Instruction {
    _opaque: [u8; 0],
}

/// Where an access went.
#[repr(C)]
pub struct Place {
    _opaque: [u8; 0],
}

/// An access of memory, packed.
pub type MemoryInfo = u32;

/// What a callback reads and writes of the CPU's registers: nothing. Of type `enum qemu_plugin_cb_flags`.
pub const NO_REGISTERS: c_uint = 0;

/// Reads and writes; of type `enum qemu_plugin_mem_rw`.
pub const READS_AND_WRITES: c_uint = 3;

/// What QEMU says of itself and the machine.
#[repr(C)]
pub struct Info {
    /// The machine's architecture, a C string.
    pub target: *const c_char,
    /// The oldest version of the interface that it takes.
    pub oldest: c_int,
    /// The version it has.
    pub version: c_int,
    /// It is a whole machine, not a program.
    pub is_machine: bool,
    /// CPUs at the start.
    pub cpus: c_int,
    /// CPUs that there can ever be.
    pub most_cpus: c_int,
}

/// Is told of a block that is translated.
pub type OnTranslation = unsafe extern "C" fn(Id, *mut Block);
/// Is called by a CPU, with the data that was asked to be given.
pub type OnExecution = unsafe extern "C" fn(c_uint, *mut c_void);
/// Is called by a CPU after an access at a virtual address.
pub type OnAccess = unsafe extern "C" fn(c_uint, MemoryInfo, u64, *mut c_void);
/// Is called when QEMU ends.
pub type OnEnd = unsafe extern "C" fn(Id, *mut c_void);

unsafe extern "C" {
    /// Has translations told.
    pub fn qemu_plugin_register_vcpu_tb_trans_cb(id: Id, on: OnTranslation);
    /// Has the end told.
    pub fn qemu_plugin_register_atexit_cb(id: Id, on: OnEnd, data: *mut c_void);
    /// Instructions of a block.
    pub fn qemu_plugin_tb_n_insns(block: *const Block) -> usize;
    /// The virtual address of a block.
    pub fn qemu_plugin_tb_vaddr(block: *const Block) -> u64;
    /// An instruction of a block, by its number.
    pub fn qemu_plugin_tb_get_insn(block: *const Block, number: usize) -> *mut Instruction;
    /// An instruction's bytes; so many as the next function says.
    pub fn qemu_plugin_insn_data(instruction: *const Instruction) -> *const c_void;
    /// How many bytes an instruction has.
    pub fn qemu_plugin_insn_size(instruction: *const Instruction) -> usize;
    /// Has CPUs call when they enter a block.
    pub fn qemu_plugin_register_vcpu_tb_exec_cb(
        block: *mut Block,
        on: OnExecution,
        registers: c_uint,
        data: *mut c_void,
    );
    /// Has CPUs call before an instruction.
    pub fn qemu_plugin_register_vcpu_insn_exec_cb(
        instruction: *mut Instruction,
        on: OnExecution,
        registers: c_uint,
        data: *mut c_void,
    );
    /// Has CPUs call after each access of an instruction.
    pub fn qemu_plugin_register_vcpu_mem_cb(
        instruction: *mut Instruction,
        on: OnAccess,
        registers: c_uint,
        accesses: c_uint,
        data: *mut c_void,
    );
    /// The binary logarithm of the bytes of an access.
    pub fn qemu_plugin_mem_size_shift(info: MemoryInfo) -> c_uint;
    /// Whether an access writes.
    pub fn qemu_plugin_mem_is_store(info: MemoryInfo) -> bool;
    /// Where an access at a virtual address went; null if QEMU cannot tell. For use in the callback of that access only.
    pub fn qemu_plugin_get_hwaddr(info: MemoryInfo, address: u64) -> *mut Place;
    /// Whether that is a device.
    pub fn qemu_plugin_hwaddr_is_io(place: *const Place) -> bool;
    /// The physical address.
    pub fn qemu_plugin_hwaddr_phys_addr(place: *const Place) -> u64;
}
