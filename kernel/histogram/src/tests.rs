//! Against a sorted list of what was recorded.

extern crate std;

use super::{BUCKETS, Histogram, PARTS, bucket, first, last};
use std::vec::Vec;

/// How often something random is done. Miri takes a thousand times as long, and looks for undefined behaviour, not at
/// numbers.
const fn often(times: usize) -> usize {
    if cfg!(miri) { times / 250 } else { times }
}

/// Of all sizes: each number of bits is as likely as any other.
fn number(random: &mut fastrand::Rng) -> u64 {
    random.u64(..) >> random.u32(0..64)
}

fn histogram_of(numbers: &[u64]) -> Histogram {
    let mut histogram = Histogram::new();
    numbers.iter().for_each(|&number| histogram.record(number));
    histogram
}

#[test]
fn buckets_cover_all_numbers_without_gaps() {
    assert_eq!((first(0), last(BUCKETS - 1)), (0, u64::MAX));
    for index in 0..BUCKETS {
        assert_eq!((bucket(first(index)), bucket(last(index))), (index, index));
        if index > 0 {
            assert_eq!(last(index - 1) + 1, first(index));
        }
        assert!((last(index) - first(index)) as u128 * (PARTS as u128) <= first(index).into());
    }
}

/// Seen failing when a quantile is the first number of its bucket, and when its rank is rounded down.
#[test]
fn quantiles_are_those_of_a_sorted_list_within_the_error() {
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..often(500) {
        let mut numbers: Vec<u64> = (0..random.usize(1..300)).map(|_| number(&mut random)).collect();
        let histogram = histogram_of(&numbers);
        numbers.sort_unstable();
        assert_eq!(histogram.count(), numbers.len() as u64);
        assert_eq!(histogram.least(), numbers.first().copied());
        assert_eq!(histogram.greatest(), numbers.last().copied());
        for thousandths in [0, 1, 250, 500, 900, 999, 1000] {
            let rank = (numbers.len() * thousandths).div_ceil(1000).max(1);
            let exact = numbers[rank - 1];
            let found = histogram.quantile(thousandths as u64).expect("recorded");
            assert!(exact <= found && found - exact <= exact / PARTS, "{exact} was told as {found}");
        }
    }
}

#[test]
fn small_numbers_are_exact() {
    let histogram = histogram_of(&Vec::from_iter(0..2 * PARTS));
    for thousandths in (0..=1000).step_by(1000 / often(1000)) {
        let rank = (2 * PARTS * thousandths).div_ceil(1000).max(1);
        assert_eq!(histogram.quantile(thousandths), Some(rank - 1));
    }
}

#[test]
fn merged_they_are_one_of_all_numbers() {
    let mut random = fastrand::Rng::with_seed(2);
    let [one, other] = [0, 1].map(|_| (0..200).map(|_| number(&mut random)).collect::<Vec<u64>>());
    let mut merged = histogram_of(&one);
    merged.merge(&histogram_of(&other));
    merged.merge(&Histogram::new());
    let all = histogram_of(&[one, other].concat());
    assert_eq!(merged.counts, all.counts);
    assert_eq!((merged.count(), merged.least(), merged.greatest()), (400, all.least(), all.greatest()));
}

#[test]
fn ranges_between_powers_of_two_are_counted_exactly() {
    let mut random = fastrand::Rng::with_seed(3);
    let numbers: Vec<u64> = (0..often(2000)).map(|_| number(&mut random)).collect();
    let histogram = histogram_of(&numbers);
    for bit in (0..63).step_by(if cfg!(miri) { 20 } else { 1 }) {
        let range = 1_u64 << bit..2_u64 << bit;
        let exact = numbers.iter().filter(|number| range.contains(number)).count();
        assert_eq!(histogram.count_in(range.start, range.end), exact as u64);
    }
    assert_eq!(histogram.count_in(0, u64::MAX), often(2000) as u64);
}

#[test]
fn of_nothing_nothing_is_told() {
    let empty = histogram_of(&[]);
    assert_eq!((empty.count(), empty.least(), empty.greatest(), empty.quantile(500)), (0, None, None, None));
}
