//! Makes the UEFI disk image of a kernel.
//!
//! Kernels for the crate `bootloader` are put behind that. A kernel with a header of the Multiboot2 protocol is put behind
//! GRUB, by the programs of Debian's packages `grub-common`, `grub-efi-amd64-bin`, `mtools` and `xorriso`.
//!
//! Images are kept in `target/images`, under a name that tells which file the
//! kernel was, when it was changed, and which host program made the image, and
//! are complete or absent: each is written under another name first. A run has
//! a name of its own for its image, so a kernel that is built anew meanwhile
//! neither takes the image away nor comes into its place.

use std::fs::{self, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use bootloader::{BootConfig, UefiBoot};

use crate::scratch::Scratch;
use crate::status::{Doing, Error, Result};

/// A disk image, which stays for as long as the value.
#[derive(Clone, Debug)]
pub struct Image {
    path: PathBuf,
    /// Where the run's own name for it is.
    _folder: Option<Arc<Scratch>>,
}

impl Image {
    /// An image that is kept by others.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), _folder: None }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The image of the kernel `elf`, made if it is not there yet.
///
/// # Errors
/// If the kernel cannot be read or the image cannot be written; of status
/// [`Status::Unfit`](crate::status::Status::Unfit) if the programs that make GRUB's are not there.
pub fn of(elf: &Path, folder: &Path) -> Result<Image> {
    kept(elf, folder, |image| match is_multiboot2(elf)? {
        true => behind_grub(elf, image),
        false => behind_bootloader(elf, image),
    })
}

fn behind_bootloader(elf: &Path, image: &Path) -> Result<()> {
    let mut config = BootConfig::default();
    // The machine has no screen.
    config.frame_buffer_logging = false;
    let made = UefiBoot::new(elf).set_boot_config(&config).create_disk_image(image);
    made.doing(format_args!("make a disk image of {}", elf.display()))
}

/// Whether there is a Multiboot2 header where the protocol has it: in the first 32 KiB, at a multiple of 8 bytes.
fn is_multiboot2(elf: &Path) -> Result<bool> {
    const MAGIC: [u8; 4] = 0xe852_50d6_u32.to_le_bytes();
    let content = fs::read(elf).doing(format_args!("read {}", elf.display()))?;
    Ok(content.chunks_exact(8).take(4096).any(|words| words.starts_with(&MAGIC)))
}

/// What GRUB is told.
const GRUB: &str = "set timeout=0\nmenuentry kernel {\n multiboot2 /kernel\n}\n";

fn behind_grub(elf: &Path, image: &Path) -> Result<()> {
    let what = format!("make a disk image of {} by grub-mkrescue", elf.display());
    let disk = image.with_extension("disk");
    fs::create_dir_all(disk.join("boot/grub")).doing(&what)?;
    fs::write(disk.join("boot/grub/grub.cfg"), GRUB).doing(&what)?;
    fs::copy(elf, disk.join("kernel")).doing(&what)?;
    let made = Command::new("grub-mkrescue").arg("-o").arg(image).arg(&disk).output();
    match made {
        Ok(output) if output.status.success() && image.is_file() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let line = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
            Err(Error::unfit(format!("cannot {what}, {GRUB_PACKAGES}: {line}")))
        }
        Err(error) => Err(Error::unfit(format!("cannot {what}, {GRUB_PACKAGES}: {error}"))),
    }
}

const GRUB_PACKAGES: &str =
    "which ./run.sh setup installs (grub-common, grub-efi-amd64-bin, mtools, xorriso)";

/// The file in `folder` that `make` makes of `source`. Those of older versions of it are removed.
fn kept(source: &Path, folder: &Path, mut make: impl FnMut(&Path) -> Result<()>) -> Result<Image> {
    let source = source.canonicalize().doing(format_args!("find {}", source.display()))?;
    // Also if cargo has put another in its place meanwhile.
    let program = fs::metadata("/proc/self/exe").doing("find this program")?;
    let scratch = Scratch::within(folder)?;
    let (name, begun) =
        (source.file_name().unwrap_or_default().to_string_lossy(), scratch.path().join("begun"));
    let family = format!("{name}-{:016x}-", hash(&source));
    loop {
        let version = || {
            let about = fs::metadata(&source).doing(format_args!("read {}", source.display()))?;
            Ok(hash([about, program.clone()].each_ref().map(version)))
        };
        let before = version()?;
        let image = folder.join(format!("{family}{before:016x}.img"));
        if !image.is_file() {
            let old = files_of(&family, folder)?;
            make(&begun)?;
            if version()? != before {
                // It was built anew meanwhile, and of which version this is nobody knows.
                continue;
            }
            fs::rename(&begun, &image).doing(format_args!("write {}", image.display()))?;
            for old in old {
                // Another process may have been faster.
                let _ = fs::remove_file(old);
            }
        }
        let own = scratch.path().join("image");
        match fs::hard_link(&image, &own) {
            Ok(()) => return Ok(Image { path: own, _folder: Some(Arc::new(scratch)) }),
            // It was built anew meanwhile, and this image was removed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // Files cannot have two names here.
            Err(_) => return Ok(Image::at(image)),
        }
    }
}

/// What is another number for each version of a file, whatever its time of change was set to.
fn version(about: &Metadata) -> [i64; 6] {
    let (len, ino) = (about.len() as i64, about.ino() as i64);
    [len, ino, about.mtime(), about.mtime_nsec(), about.ctime(), about.ctime_nsec()]
}

fn hash(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

fn files_of(family: &str, folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).doing(format_args!("read {}", folder.display()))?;
    let names = entries.filter_map(std::result::Result::ok);
    Ok(names
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(family))
        .map(|e| e.path())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(source: &Path, folder: &Path, made: &mut u32) -> Result<Image> {
        kept(source, folder, |image| {
            *made += 1;
            fs::copy(source, image).map(drop).doing("copy")
        })
    }

    fn content(image: &Image) -> String {
        fs::read_to_string(image.path()).unwrap()
    }

    fn count(folder: &Path) -> usize {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| !name.as_encoded_bytes().starts_with(b".")).count()
    }

    /// Seen failing with the size and the time of change alone in the name, and with the first one's name for all.
    #[test]
    fn an_image_is_made_once_for_each_version_and_old_ones_go() {
        let folder = tempfile::tempdir().unwrap();
        let (source, images) = (folder.path().join("kernel"), folder.path().join("a/images"));
        let mut made = 0;
        fs::write(&source, "one").unwrap();
        let first = make(&source, &images, &mut made).unwrap();
        assert_eq!(content(&make(&source, &images, &mut made).unwrap()), "one");
        assert_eq!((made, count(&images)), (1, 1));

        // Of one size and, as far as it says, of one time.
        let time = fs::metadata(&source).unwrap().modified().unwrap();
        fs::write(&source, "two").unwrap();
        fs::File::options().write(true).open(&source).unwrap().set_modified(time).unwrap();
        let second = make(&source, &images, &mut made).unwrap();
        assert_eq!((made, content(&second).as_str(), count(&images)), (2, "two", 1));
        // Who runs the first may go on.
        assert_eq!(content(&first), "one");
    }

    /// Seen failing with such an image kept under the name of the first version.
    #[test]
    fn a_kernel_that_is_built_anew_meanwhile_is_taken_whole() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("kernel");
        fs::write(&source, "one").unwrap();
        let mut made = 0;
        let image = kept(&source, folder.path(), |image| {
            made += 1;
            fs::copy(&source, image).doing("copy")?;
            if made == 1 {
                fs::write(&source, "two").unwrap();
            }
            Ok(())
        });
        assert_eq!((content(&image.unwrap()).as_str(), made), ("two", 2));
    }

    #[test]
    fn kernels_of_one_name_in_two_folders_do_not_disturb_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let images = folder.path().join("images");
        let mut made = 0;
        for profile in ["debug", "release"] {
            let source = folder.path().join(profile).join("kernel");
            fs::create_dir_all(source.parent().unwrap()).unwrap();
            fs::write(&source, profile).unwrap();
            let image = make(&source, &images, &mut made).unwrap();
            assert_eq!(content(&image), profile);
        }
        assert_eq!((made, count(&images)), (2, 2));
    }

    #[test]
    fn a_failure_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let (source, images) = (folder.path().join("kernel"), folder.path().join("images"));
        fs::write(&source, "x").unwrap();
        let half = kept(&source, &images, |image| {
            fs::write(image, "half").unwrap();
            Err(Error::failed("no space"))
        });
        assert!(half.is_err());
        assert_eq!(count(&images), 0);
    }

    #[test]
    fn a_kernel_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = of(&folder.path().join("nosuch"), folder.path()).unwrap_err();
        assert!(error.message.contains("nosuch"), "{error}");
    }

    /// Seen failing with the header's place not aligned, and with no look at where it is.
    #[test]
    fn a_kernel_for_grub_is_told_by_its_header() {
        let folder = tempfile::tempdir().unwrap();
        let elf = folder.path().join("kernel");
        let is = |offset: usize| {
            let mut content = vec![0; 64 << 10];
            content[offset..offset + 4].copy_from_slice(&0xe852_50d6_u32.to_le_bytes());
            fs::write(&elf, content).unwrap();
            is_multiboot2(&elf).unwrap()
        };
        assert!(is(0) && is(4096) && is((32 << 10) - 8));
        assert!(!is(4) && !is(32 << 10));
    }

    #[test]
    fn the_image_is_a_gpt_disk() {
        let folder = tempfile::tempdir().unwrap();
        let elf = folder.path().join("kernel");
        fs::write(&elf, "any kernel").unwrap();
        let image = fs::read(of(&elf, &folder.path().join("images")).unwrap().path()).unwrap();
        assert_eq!(&image[512..520], b"EFI PART");
    }
}
