//! Whether what lies behind the bytes that were asked for is looked at from the beginning.

extern crate std;

use crate::{
    Policy, Slack,
    tests::{
        machine::Machine,
        support::{address, free, instance_by},
    },
};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Debug builds look at the slack unless the policy says otherwise, and it may be ended either way: then what is freed is
/// parked, and taken again at once.
///
/// Seen failing with magazines that are open from the beginning, and with some that nobody opens again.
#[test]
fn debug_builds_look_at_the_slack_until_that_is_ended() {
    for (policy, checks) in [
        (Policy::default(), cfg!(debug_assertions)),
        (Policy::default().slack(Slack::Checked), true),
        (Policy::default().slack(Slack::Ignored), false),
    ] {
        let machine = Machine::new(1, 3000);
        let vmalloc = instance_by(&machine, 8, policy);
        assert_eq!(vmalloc.checks_slack(), checks, "{policy:?}");
        let area = vmalloc.vmalloc(1).expect("room");
        machine.write(0, address(area), 1 << 16).expect("mapped");
        let report = catch_unwind(AssertUnwindSafe(|| free(&vmalloc, area)));
        assert_eq!(report.is_err(), checks, "{policy:?}");
        let is_parked = || {
            free(&vmalloc, vmalloc.vmalloc(1).expect("room")).expect("allocated");
            vmalloc.stats().parked > 0
        };
        assert_eq!(is_parked(), !checks, "{policy:?}");
        vmalloc.set_check_slack(false);
        assert!(is_parked(), "{policy:?}");
    }
}
