//! A loop over a few entries without the loop: a mapping of four pages would pay more for finding out, page after page,
//! that it has no fifth one than its entries cost.

/// Pages of a mapping of which [`below`] goes through all but the first one.
pub(crate) const FEW: usize = 16;

/// Compiles to one jump, by `$count`, into blocks of code that fall through from one to the next: to the one that calls
/// `$step` with `$count - 1`, then to the one that does with `$count - 2`, down to 0.
macro_rules! fall_from {
    ($count:ident, $step:ident, $($label:lifetime $number:literal)*) => {
        fall_from!(@block $count, $step, [], $($label $number)*)
    };
    (@block $count:ident, $step:ident, [$($arm:tt)*],) => {
        match $count {
            0 => return,
            $($arm)*
            // Not as for 0: who has checked the number pays for no second check.
            _ => unreachable!("{} are not few", $count),
        }
    };
    (@block $count:ident, $step:ident, [$($arm:tt)*], $label:lifetime $number:literal $($rest:tt)*) => {{
        $label: {
            fall_from!(@block $count, $step, [$($arm)* $number => break $label,], $($rest)*)
        }
        $step($number - 1);
    }};
}

/// Calls `step` with each number below `count`, which is at most [`FEW`], the highest first.
#[inline(always)]
pub(super) fn below(count: usize, step: impl Fn(usize)) {
    debug_assert!(count <= FEW);
    fall_from!(count, step, 'a 1 'b 2 'c 3 'd 4 'e 5 'f 6 'g 7 'h 8 'i 9 'j 10 'k 11 'l 12 'm 13 'n 14 'o 15 'p 16);
}
