//! What the allocator's operations cost on the host, in nanoseconds:
//! `cargo run --release --target host-tuple -p frames --example cost`.
//!
//! Every figure is the median of several rounds over an allocator of 64 GiB, which nothing
//! but the state of the bitmaps distinguishes from the kernel's.

use frames::{Buddy, Magazine};
use std::hint::black_box;
use std::time::Instant;

/// Frames of 64 GiB.
const FRAMES: u64 = 1 << 24;

/// Operations a round.
const COUNT: usize = 1 << 16;

/// Rounds of which the median is taken.
const ROUNDS: usize = 15;

/// Prints the median of `ROUNDS` rounds, each of `operations` operations; a round returns
/// its time in nanoseconds.
fn report(name: &str, operations: usize, mut round: impl FnMut() -> u128) {
    let mut times: Vec<u128> = (0..ROUNDS).map(|_| round()).collect();
    times.sort_unstable();
    println!("{name:<58}{:>12.2} ns", times[ROUNDS / 2] as f64 / operations as f64);
}

/// Nanoseconds that `work` takes.
fn time(work: impl FnOnce()) -> u128 {
    let start = Instant::now();
    work();
    start.elapsed().as_nanos()
}

/// A reproducible shuffle.
fn shuffle(frames: &mut [u64]) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for last in (1..frames.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        frames.swap(last, (state % (last as u64 + 1)) as usize);
    }
}

fn main() {
    let mut storage = vec![1; Buddy::storage_words(0..FRAMES)];
    println!("storage for 64 GiB: {} KiB", storage.len() * 8 / 1024);
    report("new, 64 GiB", 1, || {
        time(|| {
            black_box(Buddy::new(0..FRAMES, &mut storage));
        })
    });
    report("add, 64 GiB with odd ends", 1, || {
        let mut buddy = Buddy::new(0..FRAMES, &mut storage);
        time(|| buddy.add(black_box(159..FRAMES - 3)).unwrap())
    });

    let mut buddy = Buddy::new(0..FRAMES, &mut storage);
    buddy.add(159..FRAMES - 3).unwrap();
    let mut frames = vec![0; COUNT];
    let mut small = vec![0; Buddy::storage_words(0..4096)];

    for order in [0, 3, 9] {
        let count = if order == 9 { COUNT / 8 } else { COUNT };
        report(&format!("allocate({order}), one after another"), count, || {
            let spent = time(|| frames[..count].fill_with(|| buddy.allocate(order).unwrap()));
            frames[..count].iter().for_each(|&frame| buddy.free(frame, order).unwrap());
            spent
        });
        report(&format!("free({order}), in the order allocated"), count, || {
            frames[..count].fill_with(|| buddy.allocate(order).unwrap());
            time(|| frames[..count].iter().for_each(|&frame| buddy.free(frame, order).unwrap()))
        });
    }
    report("free(0), shuffled over 256 MiB", COUNT, || {
        frames.fill_with(|| buddy.allocate(0).unwrap());
        shuffle(&mut frames);
        time(|| frames.iter().for_each(|&frame| buddy.free(frame, 0).unwrap()))
    });
    report("allocate(0) + free(0), same frame", COUNT, || {
        time(|| {
            for _ in 0..COUNT {
                let frame = buddy.allocate(0).unwrap();
                buddy.free(black_box(frame), 0).unwrap();
            }
        })
    });
    report("allocate(0) + free(0), split and merged at all 10 orders", COUNT, || {
        let mut whole = Buddy::new(0..4096, &mut small);
        whole.add(0..4096).unwrap();
        time(|| {
            for _ in 0..COUNT {
                let frame = whole.allocate(0).unwrap();
                whole.free(black_box(frame), 0).unwrap();
            }
        })
    });
    report("allocate_run(5) + free_run", COUNT, || {
        time(|| {
            for _ in 0..COUNT {
                let run = buddy.allocate_run(black_box(5)).unwrap();
                buddy.free_run(run).unwrap();
            }
        })
    });

    let mut group = Vec::with_capacity(64);
    report("bulk of 64, each allocated and freed, a frame", COUNT, || {
        time(|| {
            for _ in 0..COUNT / 64 {
                group.clear();
                buddy.allocate_bulk(64, |frame| group.push(frame));
                buddy.free_bulk(black_box(&group).iter().copied()).unwrap();
            }
        })
    });
    // Every second frame of 512 MiB is taken for good: nothing merges, nothing is contiguous.
    let mut taken = Vec::new();
    buddy.allocate_bulk(2 * COUNT, |frame| taken.push(frame));
    buddy.free_bulk(taken.iter().copied().filter(|frame| frame % 2 == 0)).unwrap();
    report("the same where every second frame is in use", COUNT, || {
        time(|| {
            for _ in 0..COUNT / 64 {
                group.clear();
                buddy.allocate_bulk(64, |frame| group.push(frame));
                buddy.free_bulk(black_box(&group).iter().copied()).unwrap();
            }
        })
    });
    buddy.free_bulk(taken.into_iter().filter(|frame| frame % 2 == 1)).unwrap();
    assert_eq!(buddy.free_frames(), buddy.total());

    let mut magazine = Magazine::<128>::new();
    report("magazine: push + pop", COUNT, || {
        time(|| {
            for frame in 0..COUNT as u64 {
                let _ = black_box(&mut magazine).push(frame);
                black_box(black_box(&mut magazine).pop());
            }
        })
    });
    report("magazine: pop with refills, then push with drains, a pair", COUNT, || {
        time(|| {
            for slot in &mut frames {
                *slot = magazine.pop().unwrap_or_else(|| {
                    magazine.refill(&mut buddy);
                    magazine.pop().unwrap()
                });
            }
            for &frame in &frames {
                if let Err(full) = magazine.push(frame) {
                    magazine.drain(&mut buddy).unwrap();
                    magazine.push(full.0).unwrap();
                }
            }
        })
    });
}
