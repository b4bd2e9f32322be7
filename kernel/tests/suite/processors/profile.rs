//! Profiles: where CPUs are, by samples.

use super::latency::once;
use kernel::{
    arch::{cpu, tsc},
    threads::{self, Builder, profile::Profile},
};

/// Spins for so long, in here alone.
#[inline(never)]
fn spin(microseconds: u64) {
    let end = tsc::now() + tsc::cycles(microseconds);
    while tsc::now() < end {}
}

/// Seen failing: with idle CPUs counted, and with samples that are due and not taken.
#[test_case]
fn samples_are_where_a_cpu_was_while_a_profile_was_taken() {
    let start = spin as *const () as u64;
    for _ in 0..2 {
        once("each CPU is sampled where it spins", || {
            let profile = Profile::start().expect("memory enough");
            for cpu in cpu::online().iter() {
                let thread = Builder::new("test").on_cpu(cpu).spawn(|| spin(100_000)).expect("memory enough");
                thread.join();
            }
            let samples = profile.stop();
            let of = |wanted: &dyn Fn(u64) -> bool| -> u64 {
                samples.iter().filter(|sample| wanted(sample.0)).map(|sample| sample.1).sum()
            };
            let (here, all) = (of(&|address| (start..start + 256).contains(&address)), of(&|_| true));
            let cpus = cpu::online_count() as u64;
            assert!(all <= 100 * cpus + 50, "{all} samples");
            assert_eq!(samples.lost(), 0);
            // A CPU that its computer lets stand still for a while takes fewer than a hundred.
            here >= 10 * cpus
        });
    }
    let profile = Profile::start().expect("memory enough");
    threads::sleep(300_000);
    let idle: u64 = profile.stop().iter().map(|sample| sample.1).sum();
    assert!(idle < 30, "{idle} samples while nothing was done");
}
