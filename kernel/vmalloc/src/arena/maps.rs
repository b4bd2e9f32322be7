//! Where an arena's maps are found: pointers to them, in frames that are made with the arena.

use super::map::{MAPS, Map};
use crate::{Platform, framed::Framed};
use core::ops::{Index, IndexMut};

/// Pointers in a frame.
const IN_FRAME: usize = 512;

type Slot = Option<&'static mut Map>;

/// The maps of an arena by their numbers. One that is missing has only free blocks.
pub(super) struct Maps([Option<Framed<[Slot; IN_FRAME]>>; MAPS / IN_FRAME]);

impl Maps {
    /// Makes room for `count` maps. `None` means that there were no frames.
    pub fn new<P: Platform>(platform: &P, count: usize) -> Option<Self> {
        let mut maps = Self([const { None }; MAPS / IN_FRAME]);
        for frame in 0..count.div_ceil(IN_FRAME) {
            maps.0[frame] = Framed::zeroed(platform);
            if maps.0[frame].is_none() {
                maps.release(platform);
                return None;
            }
        }
        Some(maps)
    }

    /// Gives the frames back. There is no map.
    pub fn release<P: Platform>(&mut self, platform: &P) {
        self.0.iter_mut().filter_map(Option::take).for_each(|frame| frame.release(platform));
    }

    /// Returns how many frames the pointers take.
    pub fn frames(&self) -> usize {
        self.0.iter().flatten().count()
    }

    /// Returns where a map is found; `None` for one that the arena does not have.
    #[inline]
    pub fn get_mut(&mut self, index: usize) -> Option<&mut Slot> {
        Some(&mut self.0.get_mut(index / IN_FRAME)?.as_mut()?[index % IN_FRAME])
    }

    pub fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.0.iter().flatten().flat_map(|frame| frame.iter())
    }
}

impl Index<usize> for Maps {
    type Output = Slot;

    #[inline]
    fn index(&self, index: usize) -> &Slot {
        match &self.0[index / IN_FRAME] {
            Some(frame) => &frame[index % IN_FRAME],
            None => unreachable!("the arena has no map {index}"),
        }
    }
}

impl IndexMut<usize> for Maps {
    #[inline]
    fn index_mut(&mut self, index: usize) -> &mut Slot {
        self.get_mut(index).unwrap_or_else(|| unreachable!("the arena has no map {index}"))
    }
}
