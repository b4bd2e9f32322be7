//! Purges: what one CPU frees comes back after every CPU has flushed, and not before.

use crate::{
    explore::explore,
    machine::{Cpu, Model},
};
use vmalloc::{Policy, Reuse};

/// Two CPUs allocate and free while a third one purges.
#[test]
fn what_waits_comes_back_after_a_flush() {
    explore(|| {
        let model = Model { policy: Policy::default().reuse(Reuse::AfterFlush), ..Model::new(3, 400) };
        let work = |cpu: &Cpu<'_>| {
            let first = cpu.take(1);
            let second = cpu.take(2);
            cpu.free(first);
            let third = cpu.take(1);
            cpu.free(second);
            cpu.free(third);
        };
        let purge = |cpu: &Cpu<'_>| {
            cpu.vmalloc.purge();
            cpu.vmalloc.purge();
        };
        model.run(|_| {}, &[&work, &work, &purge], |_| {});
    });
}
