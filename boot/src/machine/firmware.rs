//! Finds OVMF, the UEFI firmware that QEMU boots with.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::status::{Error, Result};

/// The environment variable that names a firmware file and overrides the search.
pub const VARIABLE: &str = "OVMF_PATH";

/// Where distributions put it. Files without a variable store of their own
/// (`CODE`) boot as fast as whole ones; with an emptied store beside them the
/// firmware takes a second longer (measured), so none is given.
const PLACES: [&str; 10] = [
    "/usr/share/ovmf/OVMF.fd",
    "/usr/share/OVMF/OVMF_CODE.fd",
    "/usr/share/OVMF/OVMF_CODE_4M.fd",
    "/usr/share/edk2/ovmf/OVMF_CODE.fd",
    "/usr/share/edk2/x64/OVMF.4m.fd",
    "/usr/share/edk2/x64/OVMF_CODE.4m.fd",
    "/usr/share/edk2-ovmf/x64/OVMF_CODE.fd",
    "/usr/share/edk2-ovmf/OVMF_CODE.fd",
    "/usr/share/qemu/ovmf-x86_64.bin",
    "/usr/share/qemu/edk2-x86_64-code.fd",
];

/// A firmware file and how QEMU must map it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firmware {
    /// The file.
    pub path: PathBuf,
    /// Whether the file is code only, which QEMU takes as a flash device; a
    /// whole firmware it takes as `-bios`.
    pub code_only: bool,
}

impl Firmware {
    /// Tells from the name what the file is.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        Self { code_only: name.contains("code"), path }
    }
}

/// Finds the firmware.
///
/// # Errors
/// Of status [`Status::Unfit`](crate::status::Status::Unfit) if there is none.
pub fn find() -> Result<Firmware> {
    find_among(env::var_os(VARIABLE).map(PathBuf::from), &PLACES)
}

fn find_among(named: Option<PathBuf>, places: &[&str]) -> Result<Firmware> {
    if let Some(path) = named {
        return match path.is_file() {
            true if !is_uefi(&path) => {
                Err(Error::unfit(format!("{VARIABLE} names {}, which is no UEFI firmware", path.display())))
            }
            true => Ok(Firmware::at(path)),
            false => Err(Error::unfit(format!("{VARIABLE} names {}, which is no file", path.display()))),
        };
    }
    places.iter().find(|place| Path::new(place).is_file()).map(Firmware::at).ok_or_else(|| {
        Error::unfit(format!(
            "no UEFI firmware for QEMU found: install the package ovmf (Debian) or edk2-ovmf, or set {VARIABLE}"
        ))
    })
}

/// Whether a file has a firmware volume, whose header has this mark (UEFI's platform initialization, volume 3). A BIOS
/// has none, and finds no system on the disk.
fn is_uefi(file: &Path) -> bool {
    const MARK: &[u8] = b"_FVH";
    fs::read(file).is_ok_and(|content| content.windows(MARK.len()).any(|bytes| bytes == MARK))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Status;

    #[test]
    fn the_variable_wins_and_must_name_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("MY_CODE.fd");
        std::fs::write(&file, "x_FVH").unwrap();
        let found = find_among(Some(file.clone()), &["/nosuch"]).unwrap();
        assert_eq!(found, Firmware { path: file, code_only: true });
        let error = find_among(Some(folder.path().join("nosuch")), &PLACES).unwrap_err();
        assert_eq!(error.status, Status::Unfit);
        assert!(error.message.contains("nosuch"));
    }

    /// Seen failing, as a machine that said nothing until its time was up, without the look.
    #[test]
    fn a_bios_is_no_uefi_firmware() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bios.bin");
        fs::write(&file, "SeaBIOS").unwrap();
        let error = find_among(Some(file), &PLACES).unwrap_err();
        assert_eq!(error.status, Status::Unfit);
        assert!(error.message.contains("bios.bin, which is no UEFI firmware"), "{error}");
    }

    #[test]
    fn the_first_place_that_exists_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("OVMF.fd");
        std::fs::write(&file, "").unwrap();
        let found = find_among(None, &["/nosuch/OVMF_CODE.fd", file.to_str().unwrap()]).unwrap();
        assert_eq!(found, Firmware { path: file, code_only: false });
    }

    #[test]
    fn without_firmware_the_package_is_named() {
        let error = find_among(None, &["/nosuch"]).unwrap_err();
        assert_eq!(error.status, Status::Unfit);
        assert!(error.message.contains("ovmf"));
    }
}
