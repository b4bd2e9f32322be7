//! What is asked of users before an allocation is refused, and what others do meanwhile.

extern crate std;

use crate::{
    AllocError, Frame, PAGE_SIZE, Platform, PurgeNotifier, Returned,
    tests::{
        machine::Machine,
        support::{Instance, address, free, leaked, take},
    },
};
use core::{
    ptr::NonNull,
    sync::atomic::{AtomicUsize, Ordering},
};
use std::{boxed::Box, sync::Mutex, vec::Vec};

/// Others free what does while a notifier is asked that gives nothing itself. Seen failing (refused) when only the
/// notifier's answer counts.
#[test]
fn what_others_free_while_notifiers_are_asked_is_had() {
    struct Others(&'static Instance, AtomicUsize);
    impl PurgeNotifier for Others {
        fn purge(&self, _: AllocError) -> bool {
            let area = NonNull::new(self.1.swap(0, Ordering::Relaxed) as *mut u8);
            area.into_iter().for_each(|area| free(self.0, area).expect("allocated"));
            false
        }
    }
    let (machine, vmalloc) = leaked(1, 400, 4);
    let area = vmalloc.vmalloc(100 * PAGE_SIZE).expect("room");
    take(machine, machine.free_frames() - 30);
    let others = Box::leak(Box::new(Others(vmalloc, AtomicUsize::new(address(area)))));
    assert!(vmalloc.register_notifier(others));
    vmalloc.vmalloc(80 * PAGE_SIZE).expect("others have freed more");
    assert_eq!(vmalloc.vmalloc(300 * PAGE_SIZE).map_err(AllocError::reason), Err(AllocError::NO_FRAMES));
}

/// Users give frames to the machine that the library knew nothing of: for their answer alone the allocation is tried again.
/// All are asked, once. Seen failing with answers that count for nothing.
#[test]
fn what_a_notifier_says_that_it_gave_is_had() {
    struct Hoard(&'static Machine, Mutex<Vec<Frame>>, AtomicUsize);
    impl PurgeNotifier for Hoard {
        fn purge(&self, _: AllocError) -> bool {
            self.2.fetch_add(1, Ordering::Relaxed);
            let frames = core::mem::take(&mut *self.1.lock().expect("no panic"));
            let gives = !frames.is_empty();
            (&self.0).give_frames(Returned::new(frames.into_iter()));
            gives
        }
    }
    let (machine, vmalloc) = leaked(1, 400, 4);
    let area = vmalloc.vmalloc(PAGE_SIZE).expect("room");
    let frames = take(machine, machine.free_frames() - 30);
    let hoard = |frames| &*Box::leak(Box::new(Hoard(machine, Mutex::new(frames), AtomicUsize::new(0))));
    let hoards = [hoard(frames), hoard(Vec::new())];
    assert!(hoards.iter().all(|&hoard| vmalloc.register_notifier(hoard)));
    let asked = || hoards.map(|hoard| hoard.2.load(Ordering::Relaxed));
    let large = vmalloc.vmalloc(200 * PAGE_SIZE).expect("a user has given more");
    assert_eq!(asked(), [1, 1]);
    assert_eq!(vmalloc.vmalloc(300 * PAGE_SIZE).map_err(AllocError::reason), Err(AllocError::NO_FRAMES));
    assert_eq!(asked(), [2, 2]);
    [area, large].into_iter().for_each(|area| free(vmalloc, area).expect("allocated"));
}
