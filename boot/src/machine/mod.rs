//! A machine of QEMU's, and what this computer has for it.
//!
//! | module | for |
//! |---|---|
//! | [`options`] | what the user says of a machine |
//! | [`emulator`] | asks QEMU whether it can make it |
//! | [`choice`] | chooses between KVM and TCG, by a trial |
//! | [`image`] | makes the UEFI disk image of a kernel |
//! | [`firmware`] | finds OVMF |
//! | [`qemu`] | describes a machine as a QEMU command |
//! | `autopsy` | tells where the CPUs of a machine are whose time is up |
//! | [`accelerator`] | what may run the guest's instructions |

pub mod accelerator;
mod autopsy;
pub mod choice;
pub mod emulator;
pub mod events;
pub mod firmware;
pub mod image;
pub mod options;
pub mod qemu;

use self::image::Image;
use self::options::Options;
use self::qemu::{Machine, Orders};
use crate::status::Result;

/// The machine that the user wants, for the kernel of a disk image: chooses what runs it, and writes its orders.
///
/// # Errors
/// If the computer lacks something, or the temporary folder cannot be written.
pub fn prepare(options: &Options, image: Image, orders: &Orders) -> Result<Machine> {
    let choice = choice::choose(options, &image)?;
    Machine::new(choice, options, image, orders)
}
