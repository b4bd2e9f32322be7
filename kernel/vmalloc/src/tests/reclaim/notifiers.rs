//! What is asked of users before an allocation is refused, and what others do meanwhile.

extern crate std;

use crate::{
    AllocError, PAGE_SIZE, PurgeNotifier,
    tests::support::{Instance, address, free, leaked, take},
};
use core::{
    ptr::NonNull,
    sync::atomic::{AtomicUsize, Ordering},
};
use std::boxed::Box;

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
