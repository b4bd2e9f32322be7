//! Whether a refusal was right: whoever is refused is told so only if there is no room.

use super::{World, bytes, owned::is_shortage};
use vmalloc::{AllocError, BLOCK_PAGES, BLOCK_SIZE, GuardPolicy, PAGE_SIZE, Request};

/// What was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub pages: usize,
    /// Frames for the pages.
    pub frames: usize,
    /// Guard pages: behind, and a block below.
    pub guards: usize,
    pub align: usize,
}

impl World<'_> {
    /// An area of frames of its own is refused; `limited` if it was to lie somewhere, or nobody was to wait for it.
    #[expect(clippy::too_many_arguments, reason = "what was asked for")]
    pub(super) fn refused(
        &self,
        instance: usize,
        error: AllocError,
        request: Request,
        pages: usize,
        align: usize,
        below: bool,
        limited: bool,
    ) {
        if matches!(error, AllocError::ZeroSize) {
            return assert_eq!(pages, 0, "{error}");
        }
        assert!(is_shortage(&error), "{request:?}: {error}");
        if limited {
            return self.disarm();
        }
        let guards = 1 + if below { BLOCK_PAGES } else { 0 };
        let asked = Asked { pages, frames: pages, guards, align };
        let was_alone = self.is_alone() && !self.refuses_grace.get() && !self.refuses_pause.get();
        // More than the machine has is refused at once: nobody can give that back.
        let may_be_had = pages <= self.setting.frames as usize;
        let lacks_room =
            matches!(error, AllocError::OutOfFrames { .. } | AllocError::OutOfAddressSpace { .. });
        if was_alone && may_be_had && lacks_room {
            self.judge_notifiers(instance);
        }
        self.judge_refusal(instance, error, asked);
        if was_alone && pages % 4 == 1 {
            // What can be had after giving all back could have been had before.
            self.instance(instance).trim();
            let again = self.instance(instance).allocate(request);
            assert!(again.is_err(), "{request:?} was refused, and is granted after trim: {error}");
        }
    }

    /// Panics if there was room by the simplest of counts.
    pub(super) fn judge_refusal(&self, instance: usize, error: AllocError, asked: Asked) {
        let is_alone = self.is_alone() && !self.refuses_grace.get() && !self.refuses_pause.get();
        self.disarm();
        if !is_alone || matches!(error, AllocError::TooLarge { .. }) {
            return;
        }
        if self.has_space(instance, asked) && self.has_frames(instance, asked) {
            panic!("{asked:?} was refused, and there is room: {error}");
        }
    }

    /// Whether blocks that no area has anything in are enough, or a gap between small areas.
    fn has_space(&self, instance: usize, asked: Asked) -> bool {
        let range = self.setting.range(instance);
        let used = self.models[instance].borrow().used_blocks(&range);
        if self.setting.policy().guards == GuardPolicy::BehindBlocks {
            // Which blocks are guard pages of shared ones is not known here.
            return false;
        }
        let pages = asked.pages + asked.guards;
        if pages <= BLOCK_PAGES / 2
            && asked.align <= BLOCK_SIZE / 2
            && self.models[instance].borrow().has_gap(&range, pages * PAGE_SIZE, asked.align.max(PAGE_SIZE))
        {
            return true;
        }
        let blocks = pages.div_ceil(BLOCK_PAGES);
        let first_aligned = range.start.next_multiple_of(asked.align.max(BLOCK_SIZE));
        let step = asked.align.max(BLOCK_SIZE);
        (first_aligned..range.end).step_by(step).any(|start| {
            let below = if asked.guards > BLOCK_PAGES { 1 } else { 0 };
            let first = (start - range.start) / BLOCK_SIZE;
            let Some(first) = first.checked_sub(below) else { return false };
            used.get(first..first + blocks).is_some_and(|blocks| !blocks.contains(&true))
        })
    }

    /// Whether the frames are enough that nobody has, with all that the library may need for itself.
    fn has_frames(&self, instance: usize, asked: Asked) -> bool {
        let other = self.instance(1 - instance).stats();
        let own = self.instance(instance);
        let remembered =
            own.remembered().div_ceil(64) + self.instance(1 - instance).remembered().div_ceil(64);
        let tables = |number: usize| {
            let range = self.setting.range(number);
            // A table for each block in use, directories, what there is for each CPU, and records.
            let blocks =
                self.models[number].borrow().used_blocks(&range).iter().filter(|&&used| used).count();
            blocks + 2 * self.cpus() + 20
        };
        // What interrupt handlers freed in the other instance is not looked at before its next purge.
        let deferred: usize =
            self.models[1 - instance].borrow().deferred.iter().map(|range| range.len() / PAGE_SIZE).sum();
        let cached = other.kept + other.quarantined + other.parked_frames + other.table_frames() + deferred;
        let owned: usize = self.models.iter().map(|model| model.borrow().frames()).sum();
        let taken = owned + self.frames.borrow().count() + tables(0) + tables(1) + cached + remembered;
        let needed = asked.frames + bytes(asked.pages).div_ceil(BLOCK_SIZE) + 8;
        taken + needed <= self.setting.frames as usize
    }
}
