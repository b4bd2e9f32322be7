//! One history: drawn, read, written, run.

use crate::{random::Random, setting::Setting, step::Step, world::World};
use std::{
    fmt,
    panic::{self, Location},
    str::FromStr,
    sync::{Mutex, Once, PoisonError},
    thread::{self, ThreadId},
};

/// A machine, and what is done on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// What it runs on.
    pub setting: Setting,
    /// What is done, in this order.
    pub steps: Vec<Step>,
}

/// Why a history failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The words of the panic.
    pub message: String,
    /// The file and line that it came from.
    pub place: String,
}

/// What threads that run histories panicked with, as the hook saw it.
static PANICS: Mutex<Vec<(ThreadId, Failure)>> = Mutex::new(Vec::new());
/// Threads whose panics are failures, and are not printed.
static RUNNING: Mutex<Vec<ThreadId>> = Mutex::new(Vec::new());

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl History {
    /// Draws history number `number` of a seed, of so many steps.
    #[must_use]
    pub fn draw(seed: u64, number: u64, steps: usize) -> Self {
        let mut random = Random::new(seed, number);
        let setting = Setting::draw(&mut random);
        Self { setting, steps: (0..steps).map(|_| Step::draw(&mut random)).collect() }
    }

    /// Reads bytes, whatever they are, as the numbers that a history is drawn from. It has as many steps as they last for.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        let mut random = Random::of_bytes(bytes);
        let setting = Setting::draw(&mut random);
        let mut steps = Vec::new();
        while !random.is_used_up() {
            steps.push(Step::draw(&mut random));
        }
        Self { setting, steps }
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// If anything is not as it should be.
    pub fn run(&self) -> Result<(), Failure> {
        self.run_telling(false, &mut Vec::new())
    }

    /// Runs it, and puts what each step did into `told`: a list for each step that is done by itself, which tells of those
    /// in the middle of it, too.
    ///
    /// # Errors
    /// If anything is not as it should be.
    pub fn run_and_tell(&self, told: &mut Vec<(usize, Vec<String>)>) -> Result<(), Failure> {
        self.run_telling(true, told)
    }

    fn run_telling(&self, tells: bool, told: &mut Vec<(usize, Vec<String>)>) -> Result<(), Failure> {
        hook();
        // A thread of its own: what a failure leaves behind, such as pins, goes with it.
        let result = thread::scope(|scope| {
            let handle = scope.spawn(|| {
                let me = thread::current().id();
                locked(&RUNNING).push(me);
                let machine = self.setting.machine();
                match World::new(&machine, self.setting, tells) {
                    Some(world) => {
                        world.run(&self.steps, |index, words| told.push((index, words.to_vec())));
                        world.end();
                    }
                    None => machine.assert_all_frames_back(),
                }
            });
            let thread = handle.thread().id();
            let result = handle.join();
            locked(&RUNNING).retain(|&running| running != thread);
            result.map_err(|_| thread)
        });
        result.map_err(|thread| {
            let mut panics = locked(&PANICS);
            // The first one: what follows comes of it.
            let first = panics.iter().find(|(of, _)| *of == thread).map(|(_, failure)| failure.clone());
            panics.retain(|(of, _)| *of != thread);
            first.unwrap_or_else(|| Failure { message: "a thread ended".into(), place: String::new() })
        })
    }
}

/// Notes the panics of threads that run histories. Those of others are printed as before.
fn hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let me = thread::current().id();
            if !locked(&RUNNING).contains(&me) {
                return before(info);
            }
            let message = info.payload_as_str().unwrap_or("a panic without words").to_owned();
            let place = info.location().map(Location::to_string).unwrap_or_default();
            locked(&PANICS).push((me, Failure { message, place }));
        }));
    });
}

/// Writes where and why.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// Writes the machine, and a line for each step.
impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.setting)?;
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}

impl FromStr for History {
    type Err = String;

    /// Reads what was written. What follows a `#` is not read, nor are empty lines.
    fn from_str(text: &str) -> Result<Self, String> {
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        let mut lines = lines.filter(|line| !line.is_empty());
        let setting = lines.next().ok_or("there is no line that tells of the machine")?.parse()?;
        let steps = lines.map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self { setting, steps })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_drawn_alike_each_time_and_read_as_it_was_written() {
        let history = History::draw(7, 3, 500);
        assert_eq!(history, History::draw(7, 3, 500));
        assert_ne!(history, History::draw(7, 4, 500));
        assert_ne!(history, History::draw(8, 3, 500));
        assert_eq!(history.to_string().parse(), Ok(history.clone()));
        assert_eq!(
            "# nothing\n\nmachine cpus=1 # one\n".parse::<History>().map(|read| read.steps.len()),
            Ok(0)
        );
        assert!("".parse::<History>().is_err() && "machine\nfree".parse::<History>().is_err());
    }

    /// Seen failing with a step for each 9 bytes, and for each 20.
    #[test]
    fn bytes_are_a_history_of_as_many_steps_as_they_last_for() {
        assert_eq!(History::of_bytes(&[]).steps, []);
        let mut bytes: Vec<u8> = (0..4000_u32).map(|number| (number * 101 / 8) as u8).collect();
        let history = History::of_bytes(&bytes);
        assert_eq!(history.to_string().parse(), Ok(history.clone()));
        assert_eq!(history.run(), Ok(()));
        // A step that is cut is one all the same, and those before it are as they were.
        let cut = History::of_bytes(&bytes[..2000]);
        let whole = cut.steps.len() - 1;
        assert_eq!((cut.setting, &cut.steps[..whole]), (history.setting, &history.steps[..whole]));
        *bytes.last_mut().expect("there are some") ^= 0x55;
        assert_ne!(History::of_bytes(&bytes), history, "the last byte is read");
    }

    #[test]
    fn a_history_does_the_same_in_every_run() {
        let history = History::draw(1, 0, 400);
        let mut told = [Vec::new(), Vec::new()];
        let results = told.each_mut().map(|told| history.run_and_tell(told));
        assert_eq!(results[0], results[1]);
        assert_eq!(told[0], told[1]);
        assert!(told[0].len() > 200);
    }
}
