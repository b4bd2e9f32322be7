//! Makes a history that fails shorter, for as long as it fails in the same place (delta debugging).

use crate::history::{Failure, History};

/// What came of shrinking.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The history, in which no single step can be left out if shrinking came to its end.
    pub history: History,
    /// How it fails.
    pub failure: Failure,
    /// How often a shorter one was tried.
    pub tries: usize,
}

/// Shrinks a history that fails as `failure` says. `fails` runs one; after `most` runs shrinking ends where it is.
pub fn shrink(
    history: History,
    failure: Failure,
    most: usize,
    fails: impl Fn(&History) -> Result<(), Failure>,
) -> Shrunk {
    let mut shrinking = Shrinking { best: Shrunk { history, failure, tries: 0 }, most, fails };
    loop {
        let before = shrinking.best.history.clone();
        shrinking.leave_steps_out();
        shrinking.make_steps_simple();
        shrinking.make_machine_simple();
        if shrinking.best.history == before || shrinking.best.tries >= most {
            return shrinking.best;
        }
    }
}

struct Shrinking<F> {
    best: Shrunk,
    most: usize,
    fails: F,
}

impl<F: Fn(&History) -> Result<(), Failure>> Shrinking<F> {
    /// Takes another history for the best one if it fails in the same place.
    fn try_it(&mut self, history: History) -> bool {
        if self.best.tries >= self.most || history == self.best.history {
            return false;
        }
        self.best.tries += 1;
        match (self.fails)(&history) {
            Err(failure) if failure.place == self.best.failure.place => {
                (self.best.history, self.best.failure) = (history, failure);
                true
            }
            _ => false,
        }
    }

    /// Leaves out halves, quarters and so on of the steps, and each one in the end.
    fn leave_steps_out(&mut self) {
        let mut length = self.best.history.steps.len().next_power_of_two();
        while length > 0 {
            // From the end, as what follows the failure is worth nothing.
            let mut end = self.best.history.steps.len();
            while end > 0 {
                let start = end.saturating_sub(length);
                let mut shorter = self.best.history.clone();
                shorter.steps.drain(start..end);
                self.try_it(shorter);
                end = start.min(self.best.history.steps.len());
            }
            length /= 2;
        }
    }

    /// Has steps be done by themselves, by the first CPU, with small numbers.
    fn make_steps_simple(&mut self) {
        for index in 0..self.best.history.steps.len() {
            let step = self.best.history.steps[index];
            self.change(index, |step| step.at = 0);
            if step.at > 1 {
                self.change(index, |step| step.at = 1);
            }
            self.change(index, |step| step.cpu = 0);
            self.change(index, |step| step.instance = 0);
            for number in 0..3 {
                if !self.change(index, |step| step.numbers[number] = 0) {
                    self.change(index, |step| step.numbers[number] = 1);
                    // What is one of several is often its remainder.
                    self.change(index, |step| step.numbers[number] %= 16);
                    self.change(index, |step| step.numbers[number] /= 2);
                }
            }
        }
    }

    fn change(&mut self, index: usize, change: impl FnOnce(&mut crate::Step)) -> bool {
        let mut changed = self.best.history.clone();
        change(&mut changed.steps[index]);
        self.try_it(changed)
    }

    /// Makes a machine of few words.
    fn make_machine_simple(&mut self) {
        let simple: [fn(&mut crate::Setting); 12] = [
            |setting| setting.policy = 0,
            |setting| setting.from_zero = 0,
            |setting| setting.broadcast = 0,
            |setting| setting.isolated = 0,
            |setting| setting.purger = 0,
            |setting| setting.uncounted = 0,
            |setting| setting.offset = 6,
            |setting| setting.own_huge = 0,
            |setting| setting.own_frames = 0,
            |setting| setting.behind = 1,
            |setting| setting.blocks = setting.blocks.min(2),
            |setting| setting.cpus = setting.cpus.min(2),
        ];
        for change in simple {
            let mut changed = self.best.history.clone();
            change(&mut changed.setting);
            self.try_it(changed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::Call;

    fn failure(place: &str) -> Failure {
        Failure { message: "wrong".into(), place: place.into() }
    }

    /// It fails if there is a `trim` behind a `purge`; and in another place if there is no step at all.
    fn fails(history: &History) -> Result<(), Failure> {
        let of = |call| history.steps.iter().position(|step| step.call == call);
        match (of(Call::Purge), history.steps.iter().rposition(|step| step.call == Call::Trim)) {
            (Some(purge), Some(trim)) if purge < trim => Err(failure("here")),
            _ if history.steps.is_empty() => Err(failure("elsewhere")),
            _ => Ok(()),
        }
    }

    #[test]
    fn what_does_not_matter_is_left_out_and_another_failure_is_not_taken_for_it() {
        let history = History::draw(5, 0, 3000);
        assert_eq!(fails(&history), Err(failure("here")));
        let shrunk = shrink(history, failure("here"), 100_000, fails);
        let calls: Vec<Call> = shrunk.history.steps.iter().map(|step| step.call).collect();
        assert_eq!(calls, [Call::Purge, Call::Trim]);
        assert!(shrunk.history.steps.iter().all(|step| step.at == 0 && step.numbers == [0; 3]));
        assert_eq!(shrunk.failure, failure("here"));
        assert!(shrunk.tries < 1000, "{}", shrunk.tries);
    }

    #[test]
    fn it_ends_after_so_many_runs() {
        let history = History::draw(5, 0, 3000);
        let shrunk = shrink(history, failure("here"), 7, fails);
        assert_eq!(shrunk.tries, 7);
        assert!(fails(&shrunk.history).is_err());
    }
}
