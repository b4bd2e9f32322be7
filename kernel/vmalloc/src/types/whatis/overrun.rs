//! A write behind the bytes that were asked for.

use crate::types::area::AreaInfo;
use core::{fmt, panic::Location};

/// A write past the bytes that were asked for, in the last page of an area. It is found when the area is
/// freed, if [`set_check_slack`](crate::Vmalloc::set_check_slack) was on when the area was made.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Overrun {
    /// The area.
    pub area: AreaInfo,
    /// Bytes from the area's start to the first one that was overwritten.
    pub offset: usize,
    /// How many were overwritten.
    pub bytes: usize,
    /// The value of the first one now.
    pub found: u8,
    /// Who frees the area.
    pub freed_by: &'static Location<'static>,
}

/// Writes which bytes of which area were overwritten.
impl fmt::Display for Overrun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { area, offset, bytes, found, freed_by } = self;
        write!(
            f,
            "{bytes} bytes were written behind the {} that were asked for, the first one at offset {offset}, now \
             {found:#04x}: {area}, freed by {freed_by}",
            area.requested
        )
    }
}
