//! What QEMU calls: it is told which instructions to report, and its reports are counted.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::fs;
use std::ptr;
use std::sync::{LazyLock, Mutex, OnceLock};

use crate::counts::{self, CPUS, Counts, Kind};
use crate::decode::{Found, decode};
use crate::lines::{Access, LINE, Table};
use crate::qemu::{self, Block, Id, Info, Instruction, MemoryInfo, NO_REGISTERS};

/// Blocks at lower addresses are left alone.
const UPPER_HALF: u64 = 1 << 63;
/// Bytes of a page, within which physical addresses follow each other.
const PAGE: u64 = 4096;

static COUNTS: Counts = Counts::new();
static LINES: LazyLock<Table> = LazyLock::new(Table::new);
static SETUP: OnceLock<Setup> = OnceLock::new();
/// What is to be written: a line for each CPU and mark so far. Taken at marks and at the end only.
static SNAPSHOTS: Mutex<Snapshots> = Mutex::new(Snapshots { taken: 0, text: String::new() });

/// What is known from the start.
struct Setup {
    file: String,
    cpus: usize,
}

struct Snapshots {
    taken: usize,
    text: String,
}

impl Snapshots {
    /// The counts as they are now.
    fn take(&mut self, cpus: usize) {
        self.text += &COUNTS.lines(self.taken, cpus);
        self.taken += 1;
    }
}

/// QEMU reads the interface's version from this.
#[unsafe(no_mangle)]
pub static qemu_plugin_version: c_int = qemu::VERSION;

/// QEMU calls this first, once; what is not 0 makes it end.
///
/// # Safety
/// `info` and the `argc` C strings in `argv` must be good during the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qemu_plugin_install(
    id: Id,
    info: *const Info,
    argc: c_int,
    argv: *const *const c_char,
) -> c_int {
    // SAFETY: QEMU's `info` is good during this call.
    let info = unsafe { &*info };
    let count = usize::try_from(argc).unwrap_or(0);
    // SAFETY: QEMU hands over so many C strings.
    let arguments = (0..count).map(|index| unsafe { CStr::from_ptr(*argv.add(index)) });
    let arguments: Vec<_> = arguments.map(|argument| argument.to_string_lossy().into_owned()).collect();
    match setup(info, &arguments) {
        Ok(setup) => {
            LazyLock::force(&LINES);
            SETUP.get_or_init(|| setup);
            // SAFETY: the id is this plugin's, and the callbacks are of the types that QEMU calls.
            unsafe {
                qemu::qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
                qemu::qemu_plugin_register_atexit_cb(id, on_end, ptr::null_mut());
            }
            0
        }
        Err(line) => {
            eprintln!("counter: {line}");
            1
        }
    }
}

/// What the user and the machine ask for, or a line that says what is wrong.
fn setup(info: &Info, arguments: &[String]) -> Result<Setup, String> {
    let [argument] = arguments else { return Err("takes one argument, out=FILE".into()) };
    let file = argument.strip_prefix("out=").ok_or_else(|| format!("{argument}: takes out=FILE only"))?;
    let cpus = usize::try_from(info.most_cpus).unwrap_or(0);
    if !info.is_machine || !(1..=CPUS).contains(&cpus) {
        return Err(format!("counts on machines of 1 to {CPUS} CPUs"));
    }
    Ok(Setup { file: file.to_owned(), cpus })
}

/// Has the block counted, and of its instructions those looked for.
unsafe extern "C" fn on_translation(_: Id, block: *mut Block) {
    // SAFETY: the block is good during this callback; all data are numbers, not addresses.
    unsafe {
        if qemu::qemu_plugin_tb_vaddr(block) < UPPER_HALF {
            return;
        }
        let count = qemu::qemu_plugin_tb_n_insns(block);
        let number = ptr::without_provenance_mut(count);
        qemu::qemu_plugin_register_vcpu_tb_exec_cb(block, on_block, NO_REGISTERS, number);
        for index in 0..count {
            let instruction = qemu::qemu_plugin_tb_get_insn(block, index);
            let accesses = qemu::READS_AND_WRITES;
            let none = ptr::null_mut();
            qemu::qemu_plugin_register_vcpu_mem_cb(instruction, on_access, NO_REGISTERS, accesses, none);
            let (call, data): (qemu::OnExecution, _) = match decode(bytes(instruction)) {
                Some(Found::Counted(kind)) => (on_kind, ptr::without_provenance_mut(kind as usize)),
                Some(Found::Mark) => (on_mark, none),
                None => continue,
            };
            qemu::qemu_plugin_register_vcpu_insn_exec_cb(instruction, call, NO_REGISTERS, data);
        }
    }
}

/// An instruction's bytes.
///
/// # Safety
/// The instruction must be good as long as its bytes are used.
unsafe fn bytes<'a>(instruction: *const Instruction) -> &'a [u8] {
    // SAFETY: QEMU says how many bytes lie there, and keeps them while the block is being translated.
    unsafe {
        let length = qemu::qemu_plugin_insn_size(instruction);
        std::slice::from_raw_parts(qemu::qemu_plugin_insn_data(instruction).cast(), length)
    }
}

/// A CPU enters a block of so many instructions.
unsafe extern "C" fn on_block(cpu: c_uint, count: *mut c_void) {
    COUNTS.add(cpu as usize, Kind::Instructions, count.addr() as u64);
}

/// A CPU comes to an instruction of this kind.
unsafe extern "C" fn on_kind(cpu: c_uint, kind: *mut c_void) {
    if let Some(kind) = Kind::of(kind.addr()) {
        COUNTS.add(cpu as usize, kind, 1);
    }
}

/// A CPU comes to a mark.
unsafe extern "C" fn on_mark(_: c_uint, _: *mut c_void) {
    take_snapshot();
}

/// A CPU has read or written memory.
unsafe extern "C" fn on_access(cpu: c_uint, info: MemoryInfo, address: u64, _: *mut c_void) {
    // SAFETY: these take any such value.
    let (writes, bytes) =
        unsafe { (qemu::qemu_plugin_mem_is_store(info), 1 << qemu::qemu_plugin_mem_size_shift(info)) };
    let access = if writes { Access::Write } else { Access::Read };
    let last = address + (bytes - 1);
    let place = place(info, address);
    touch(cpu, place, access);
    if last / LINE != address / LINE {
        // An access over the end of a line, and perhaps of a page.
        let next = last & !(LINE - 1);
        let next_place = match place {
            Place::Memory(physical) if !next.is_multiple_of(PAGE) => {
                Place::Memory(physical + (next - address))
            }
            _ => self::place(info, next),
        };
        touch(cpu, next_place, access);
    }
}

/// Where an access went.
#[derive(Clone, Copy)]
enum Place {
    /// To memory of this physical address.
    Memory(u64),
    /// To a device, which moves no line.
    Device,
    /// QEMU cannot tell.
    Unknown,
}

/// Where the access that this thread's CPU has just made at a virtual address went.
fn place(info: MemoryInfo, address: u64) -> Place {
    // SAFETY: this is the callback of that access, on the thread of its CPU, so the handle is good.
    unsafe {
        let place = qemu::qemu_plugin_get_hwaddr(info, address);
        if place.is_null() {
            Place::Unknown
        } else if qemu::qemu_plugin_hwaddr_is_io(place) {
            Place::Device
        } else {
            Place::Memory(qemu::qemu_plugin_hwaddr_phys_addr(place))
        }
    }
}

/// Has the line accessed.
fn touch(cpu: c_uint, place: Place, access: Access) {
    let moved = match place {
        Place::Memory(physical) => LINES.access(physical, cpu as usize, access),
        Place::Device => Some(false),
        Place::Unknown => None,
    };
    match moved {
        Some(true) => COUNTS.add(cpu as usize, Kind::Lines, 1),
        Some(false) => {}
        None => COUNTS.add(cpu as usize, Kind::Unseen, 1),
    }
}

fn take_snapshot() {
    if let (Some(setup), Ok(mut snapshots)) = (SETUP.get(), SNAPSHOTS.lock()) {
        snapshots.take(setup.cpus);
    }
}

/// QEMU ends; CPUs may still run.
unsafe extern "C" fn on_end(_: Id, _: *mut c_void) {
    take_snapshot();
    let Some(setup) = SETUP.get() else { return };
    let Ok(snapshots) = SNAPSHOTS.lock() else { return };
    if let Err(error) = fs::write(&setup.file, counts::heading() + &snapshots.text) {
        eprintln!("counter: {}: {error}", setup.file);
    }
}
