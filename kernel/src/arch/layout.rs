//! The kernel's address map.
//!
//! ```text
//! 0xffff_8000_0000_0000  ┌──────────────────────────────┐ LOADER_START
//!                        │ what the boot loader maps for │ gone once the kernel has its own tables
//!                        │ itself: stack, boot info      │
//! 0xffff_8800_0000_0000  ├──────────────────────────────┤ LOADER_END
//! 0xffff_8880_0000_0000  ├──────────────────────────────┤ DIRECT_MAP_START
//!                        │ all frames, 64 TiB at most    │ writable, never executable, GLOBAL
//! 0xffff_c880_0000_0000  ├──────────────────────────────┤ DIRECT_MAP_END
//! 0xffff_c900_0000_0000  ├──────────────────────────────┤ VMALLOC_START
//!                        │ vmalloc, 32 TiB               │ not GLOBAL: a CR3 write drops it all
//! 0xffff_e900_0000_0000  ├──────────────────────────────┤ VMALLOC_END
//! 0xffff_ea00_0000_0000  ├──────────────────────────────┤ EXPERIMENTS_START
//!                        │ small instances, 1 TiB        │ for tests and experiments
//! 0xffff_eb00_0000_0000  ├──────────────────────────────┤ EXPERIMENTS_END
//! 0xffff_ec00_0000_0000  ├──────────────────────────────┤ INSTEAD_START
//!                        │ areas made without vmalloc,   │ one entry of the top level table
//!                        │ 512 GiB, to compare with      │
//! 0xffff_ec80_0000_0000  ├──────────────────────────────┤ INSTEAD_END
//! 0xffff_ffff_8000_0000  ├──────────────────────────────┤ IMAGE_START
//!                        │ kernel image                  │ each section as it needs, GLOBAL
//! 0xffff_ffff_ffff_ffff  └──────────────────────────────┘
//! ```

use core::ops::Range;

/// Where the boot loader may map what it needs itself.
pub const LOADER_START: u64 = 0xffff_8000_0000_0000;
/// End of [`LOADER_START`]'s range.
pub const LOADER_END: u64 = 0xffff_8800_0000_0000;
/// Where frame 0 is seen.
pub const DIRECT_MAP_START: u64 = 0xffff_8880_0000_0000;
/// End of the direct map at its largest.
pub const DIRECT_MAP_END: u64 = 0xffff_c880_0000_0000;
/// The range that the kernel's vmalloc instance owns.
pub const VMALLOC: Range<usize> = 0xffff_c900_0000_0000..0xffff_e900_0000_0000;
/// Free for further vmalloc instances, of tests and experiments.
pub const EXPERIMENTS: Range<usize> = 0xffff_ea00_0000_0000..0xffff_eb00_0000_0000;
/// The range of areas that are made without the vmalloc library, to compare it with: what one entry of the top level
/// table maps.
pub const INSTEAD: Range<usize> = 0xffff_ec00_0000_0000..0xffff_ec80_0000_0000;
/// Where the boot loader puts the kernel's image.
pub const IMAGE_START: u64 = 0xffff_ffff_8000_0000;
/// Bytes within which the image, as linked, must end.
pub const IMAGE_MAX: u64 = 64 << 20;

const _: () = {
    assert!(LOADER_START < LOADER_END && LOADER_END <= DIRECT_MAP_START);
    assert!(DIRECT_MAP_START < DIRECT_MAP_END && DIRECT_MAP_END <= VMALLOC.start as u64);
    assert!(VMALLOC.end - VMALLOC.start <= vmalloc::MAX_RANGE);
    assert!(VMALLOC.end <= EXPERIMENTS.start && EXPERIMENTS.start < EXPERIMENTS.end);
    assert!(EXPERIMENTS.end <= INSTEAD.start && INSTEAD.start.is_multiple_of(1 << 39));
    assert!(INSTEAD.end == INSTEAD.start + (1 << 39));
    assert!(INSTEAD.end as u64 <= IMAGE_START && IMAGE_START.checked_add(IMAGE_MAX).is_some());
};
