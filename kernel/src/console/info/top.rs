//! `top`: who has how many areas and bytes, by the place in the code that asked for them.

use crate::{arch::tsc, command::CommandError, lock_class, memory, println, sync::SpinLock};
use alloc::{format, vec::Vec};
use core::{
    cmp::Reverse,
    fmt::{self, Write},
    mem,
    panic::Location,
    ptr,
};
use heapless::String;
use vmalloc::{AreaSummary, Birth, PAGE_SIZE};

pub(in crate::console) const ABOUT: &str = "counts areas and bytes by who asked for them, the most bytes first\n\
    mark   notes what there is; top then prints what has changed since\n\
    clear  forgets the mark\n\
    Guard pages are not counted. An area that was resized is as old as the last vrealloc.";

/// Callers that are told apart; the rest are summed up.
const CALLERS: usize = 1024;

/// What a caller has.
#[derive(Clone, Copy, Default)]
struct Holder {
    caller: Option<&'static Location<'static>>,
    areas: i64,
    pages: i64,
    /// When the oldest of the areas was made.
    oldest: Option<Birth>,
}

/// Sums by caller: a hash table with open addressing, made before the count begins, and full at worst.
struct Table {
    /// One more than [`CALLERS`]: mappings without a caller, and callers that found no place, are in the last.
    holders: Vec<Holder>,
    /// How long the count took.
    microseconds: u64,
}

static MARK: SpinLock<Option<Table>> = SpinLock::new(lock_class!("mark of top"), None);

impl Table {
    /// A table of what there is now. Nothing is allocated while that is counted.
    fn count() -> Result<Self, CommandError> {
        let mut holders = Vec::new();
        let failed = |error| CommandError::new(format!("no memory to count in: {error}"));
        holders.try_reserve_exact(CALLERS + 1).map_err(failed)?;
        holders.resize(CALLERS + 1, Holder::default());
        let mut table = Self { holders, microseconds: 0 };
        let start = tsc::now();
        // Areas of one caller often lie side by side: the table is asked where the caller changes.
        let mut last = Holder::default();
        memory::vmalloc().for_each_area(|AreaSummary { caller, areas, pages, oldest, .. }| {
            if caller.map(ptr::from_ref) != last.caller.map(ptr::from_ref) {
                table.add(mem::replace(&mut last, Holder { caller, ..Holder::default() }));
            }
            last.areas += areas as i64;
            last.pages += pages as i64;
            last.oldest = older(last.oldest, oldest);
        });
        table.add(last);
        table.microseconds = tsc::microseconds(tsc::since(start));
        Ok(table)
    }

    fn of(&mut self, caller: Option<&'static Location<'static>>) -> &mut Holder {
        let Some(caller) = caller else { return &mut self.holders[CALLERS] };
        // Places in the code are some tens of bytes apart.
        let hash = (ptr::from_ref(caller) as usize >> 3).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let mut index = hash % CALLERS;
        for _ in 0..CALLERS {
            match self.holders[index].caller {
                Some(found) if ptr::eq(found, caller) => return &mut self.holders[index],
                Some(_) => index = (index + 1) % CALLERS,
                None => {
                    self.holders[index].caller = Some(caller);
                    return &mut self.holders[index];
                }
            }
        }
        &mut self.holders[CALLERS]
    }

    fn add(&mut self, more: Holder) {
        let holder = self.of(more.caller);
        holder.areas += more.areas;
        holder.pages += more.pages;
        holder.oldest = older(holder.oldest, more.oldest);
    }

    /// Takes away what callers had before.
    fn subtract(&mut self, before: &Self) {
        for holder in before.holders.iter().filter(|holder| holder.areas > 0) {
            self.add(Holder { areas: -holder.areas, pages: -holder.pages, oldest: None, ..*holder });
        }
    }

    fn print(mut self, sign: bool) {
        self.holders.retain(|holder| holder.areas != 0 || holder.pages != 0);
        self.holders.sort_unstable_by_key(|holder| Reverse(holder.pages));
        let total: i64 = self.holders.iter().map(|holder| holder.pages).sum();
        let now = memory::milliseconds();
        println!("{:>10} {:>14} {:>7} {:>10}  by", "areas", "bytes", "share", "oldest");
        for Holder { caller, areas, pages, oldest } in &self.holders {
            let bytes = pages * PAGE_SIZE as i64;
            let oldest = Age(oldest.map(|made| now.saturating_sub(made.milliseconds())));
            let by: &dyn fmt::Display = caller.as_ref().map_or(&"vm_map_ram, and others", |caller| caller);
            if sign {
                println!("{areas:>+10} {bytes:>+14} {:>7} {oldest:>10}  {by}", "");
            } else {
                let share = pages * 1000 / total.max(1);
                println!("{areas:>10} {bytes:>14} {:>3}.{} % {oldest:>10}  {by}", share / 10, share % 10);
            }
        }
        let areas: i64 = self.holders.iter().map(|holder| holder.areas).sum();
        let bytes = total * PAGE_SIZE as i64;
        println!("{areas:>10} {bytes:>14} {:>18}  in all, counted in {} us", "", self.microseconds);
    }
}

/// The earlier of two times, of which there may be one or none.
#[inline]
fn older(one: Option<Birth>, other: Option<Birth>) -> Option<Birth> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        _ => one.or(other),
    }
}

/// Bytes that an age takes at most.
const AGE_BYTES: usize = 24;

/// How old something is, in milliseconds, if that is known.
struct Age(Option<u64>);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(age) => {
                // Not in the heap: it is written under the serial line's lock.
                let mut text = String::<AGE_BYTES>::new();
                write!(text, "{}.{:03} s", age / 1000, age % 1000)?;
                f.pad(&text)
            }
            None => f.pad("-"),
        }
    }
}

/// The console command.
///
/// # Errors
/// The line names the argument that is wrong, or says that there is no memory.
pub fn top(arguments: &[&str]) -> Result<(), CommandError> {
    match arguments {
        [] => {
            let mut table = Table::count()?;
            let mark = MARK.lock();
            if let Some(mark) = &*mark {
                table.subtract(mark);
            }
            let sign = mark.is_some();
            drop(mark);
            table.print(sign);
        }
        ["mark"] => {
            let table = Table::count()?;
            // The one before goes when the lock is open.
            let _before = MARK.lock().replace(table);
        }
        ["clear"] => {
            let _before = MARK.lock().take();
        }
        [other, ..] => return Err(CommandError::new(format!("{other}: neither nothing, mark nor clear"))),
    }
    Ok(())
}
