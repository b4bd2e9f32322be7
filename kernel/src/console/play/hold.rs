//! `hold`: live areas to measure and look at the subsystem under.

use crate::{command::CommandError, lock_class, memory, println, sync::SpinLock};
use alloc::{format, vec::Vec};
use core::{mem, ptr::NonNull};
use vmalloc::PAGE_SIZE;

/// Addresses of the areas held.
static HELD: SpinLock<Vec<usize>> = SpinLock::new(lock_class!("held areas"), Vec::new());

pub(in crate::console) const ABOUT: &str = "keeps COUNT one-page areas allocated until the next hold; 0 frees them all\n\
    The addresses are kept in the heap, which grows by that.";

/// The console command.
///
/// # Errors
/// The line names the argument that is wrong, or says how far it came.
pub fn hold(arguments: &[&str]) -> Result<(), CommandError> {
    let [word] = arguments else {
        return Err(CommandError::new("takes one argument, the number of areas"));
    };
    let count: usize = word.parse().map_err(|_| CommandError::new(format!("{word}: not a number")))?;
    let mut areas = mem::take(&mut *HELD.lock());
    for address in areas.drain(count.min(areas.len())..) {
        free(address);
    }
    // The list's room goes too, if there is memory for a smaller list.
    let mut smaller = Vec::new();
    if areas.capacity() > count && smaller.try_reserve_exact(areas.len()).is_ok() {
        smaller.append(&mut areas);
        areas = smaller;
    }
    let missing = count - areas.len();
    let result = areas
        .try_reserve_exact(missing)
        .map_err(|_| memory::frames::shortage(missing.saturating_mul(size_of::<usize>()).div_ceil(PAGE_SIZE)))
        .and_then(|()| {
            (0..missing).try_for_each(|_| {
                let area = memory::vmalloc().vmalloc(PAGE_SIZE)?;
                areas.push(area.as_ptr() as usize);
                Ok(())
            })
        });
    let held = areas.len();
    // A hold beside this one may have put its own there meanwhile; the last one's stay.
    let before = mem::replace(&mut *HELD.lock(), areas);
    before.into_iter().for_each(free);
    match result {
        Ok(()) => println!("{held} one-page areas are held"),
        Err(error) => return Err(CommandError::new(format!("{word}: {held} are held, then: {error}"))),
    }
    Ok(())
}

fn free(address: usize) {
    let Some(area) = NonNull::new(address as *mut u8) else { unreachable!("no area is at zero") };
    // SAFETY: the area was allocated by `hold`, and its address is forgotten with this call.
    if let Err(error) = unsafe { memory::vmalloc().vfree(area) } {
        panic!("an area that was held cannot be freed: {error}");
    }
}
