//! A machine, two instances on it, and what should be in them: runs the steps of a history, and looks after each whether
//! the library did what it should have done.
//!
//! Nothing of the model is borrowed while the library is called, because other CPUs make their calls in the middle of that.

mod collect;
mod congruent;
mod cpus;
mod look;
mod mapped;
mod notifiers;
mod owned;
mod reclaim;
mod refusal;
mod wrong;

use crate::{
    model::{Area, Frames, Model},
    setting::Setting,
    step::{Call, Step},
};
use std::{
    cell::{Cell, Ref, RefCell},
    mem::ManuallyDrop,
    ptr::NonNull,
};
use vmalloc::{Flusher, PAGE_SIZE, Platform, Tally, Vmalloc, host::Machine};

type Instance<'m> = Vmalloc<&'m Machine>;

/// The pointer to an address of the simulated CPUs, which the program does not follow.
fn at(address: usize) -> NonNull<u8> {
    NonNull::new(std::ptr::without_provenance_mut(address)).expect("no area is at address 0")
}

/// What runs one history.
pub struct World<'m> {
    machine: &'m Machine,
    setting: Setting,
    /// Never dropped if a check fails: what is broken is not used again.
    instances: [RefCell<ManuallyDrop<Instance<'m>>>; 2],
    models: [RefCell<Model>; 2],
    /// What each said last of what it has done.
    tallies: [Cell<Tally>; 2],
    frames: RefCell<Frames>,
    online: RefCell<Vec<bool>>,
    /// The CPU that makes a call in the middle of which others act.
    caller: Cell<Option<usize>>,
    /// Steps that are still to be done in the middle of the call.
    queue: RefCell<Vec<Step>>,
    moments: Cell<u32>,
    /// Whether they may be done now: the library has been called, and not returned.
    open: Cell<bool>,
    /// Whether the list of notifiers is being changed.
    notifies: Cell<bool>,
    /// Whether frames run out because a step said so.
    armed: Cell<bool>,
    refuses_grace: Cell<bool>,
    refuses_pause: Cell<bool>,
    /// Values that are written: no two alike.
    values: Cell<u64>,
    log: Option<RefCell<Vec<String>>>,
}

impl<'m> World<'m> {
    /// Makes the instances; `None` if there is no memory for them, with all given back that there was.
    ///
    /// # Panics
    /// If the machine finds something wrong.
    pub fn new(machine: &'m Machine, setting: Setting, logs: bool) -> Option<Self> {
        let cpus = machine_cpus(machine);
        if setting.isolated > 0 && cpus > 1 {
            machine.run_on(cpus - 1);
            // SAFETY: it is online already, and has used nothing.
            unsafe { Platform::shootdown(&machine).set_online(&machine, true) };
        }
        machine.run_on(0);
        // The first frame is kept for areas: an instance's record would have it for ever.
        let mut first_frame = None;
        machine.take_frames(1, |frame| first_frame = Some(frame));
        let make = |instance| make(machine, &setting, instance);
        let made = make(0).and_then(|first| Some((first, make(1)?)));
        first_frame.into_iter().for_each(|frame| machine.give_back(frame));
        let (first, second) = made?;
        let world = Self {
            machine,
            setting,
            instances: [first, second].map(|instance| RefCell::new(ManuallyDrop::new(instance))),
            models: Default::default(),
            tallies: Default::default(),
            frames: RefCell::default(),
            online: RefCell::new(vec![true; cpus]),
            caller: Cell::new(None),
            queue: RefCell::default(),
            moments: Cell::new(0),
            notifies: Cell::new(false),
            open: Cell::new(false),
            armed: Cell::new(false),
            refuses_grace: Cell::new(false),
            refuses_pause: Cell::new(false),
            values: Cell::new(1),
            log: logs.then(RefCell::default),
        };
        world.take_own_frames();
        Some(world)
    }

    /// Runs steps; returns what each did, if that was asked for. The list may end before the steps do: then the last
    /// one that is told of is the one that failed.
    ///
    /// # Panics
    /// If anything is not as it should be.
    pub fn run(&self, steps: &[Step], mut tell: impl FnMut(usize, &[String])) {
        let mut index = 0;
        while let Some(step) = steps.get(index) {
            let nested = steps[index + 1..].iter().take_while(|step| step.at > 0).count();
            tell(index, &self.take_log());
            self.step(*step, &steps[index + 1..=index + nested]);
            index += 1 + nested;
        }
        tell(index, &self.take_log());
    }

    fn take_log(&self) -> Vec<String> {
        self.log.as_ref().map(RefCell::take).unwrap_or_default()
    }

    /// Says what a step did.
    fn note(&self, words: impl FnOnce() -> String) {
        if let Some(log) = &self.log {
            let words = words();
            log.borrow_mut().push(words);
        }
    }

    fn instance(&self, number: usize) -> Ref<'_, ManuallyDrop<Instance<'m>>> {
        self.instances[number].borrow()
    }

    /// Makes a call of the library's, in the middle of which others may act.
    fn call<T>(&self, instance: usize, call: impl FnOnce(&Instance<'m>) -> T) -> T {
        let vmalloc = self.instance(instance);
        let before = self.open.replace(true);
        let result = call(&vmalloc);
        self.open.set(before);
        result
    }

    fn value(&self) -> u64 {
        self.values.set(self.values.get() + 1);
        self.values.get()
    }

    /// Whether this is done in the middle of another's call.
    fn is_nested(&self) -> bool {
        self.caller.get().is_some()
    }

    /// Whether nobody but this step does anything, and nothing is made to fail: only then does a refusal tell anything.
    fn is_alone(&self) -> bool {
        !self.is_nested() && self.queue.borrow().is_empty() && self.moments.get() == 0 && !self.armed.get()
    }

    /// A step by itself, with others in the middle of it.
    fn step(&self, step: Step, nested: &[Step]) {
        let cpu = self.awake_cpu(step.cpu as usize);
        self.machine.run_on(cpu);
        self.forget_notifiers();
        self.moments.set(0);
        if nested.is_empty() || matches!(step.call, Call::Remake | Call::Offline | Call::Count) {
            self.execute(step, cpu);
        } else {
            self.queue.replace(nested.iter().rev().copied().collect());
            self.machine.meanwhile(&mut || self.moment(cpu), || self.execute(step, cpu));
        }
        self.caller.set(None);
        self.moments.set(0);
        // For these the call had too few moments.
        let left = self.queue.take();
        let late = if left.is_empty() && matches!(step.call, Call::Remake | Call::Offline | Call::Count) {
            nested.iter().rev().copied().collect()
        } else {
            left
        };
        for step in late.into_iter().rev() {
            let cpu = self.awake_cpu(step.cpu as usize);
            self.machine.run_on(cpu);
            self.execute(step, cpu);
        }
        if [step].iter().chain(nested).all(|step| !matches!(step.call, Call::Notifier | Call::Remake)) {
            self.judge_strangers();
        }
        self.machine.check();
    }

    /// Others may act.
    fn moment(&self, caller: usize) {
        if !self.open.get() {
            return;
        }
        self.moments.set(self.moments.get() + 1);
        loop {
            let now = self.moments.get();
            let due = self.queue.borrow_mut().pop_if(|step| step.at <= now);
            let Some(step) = due else { return };
            let here = Flusher::here(&self.machine);
            let before = self.caller.replace(Some(caller));
            self.act(step, caller, here);
            self.caller.set(before);
            self.machine.run_on(here);
        }
    }

    /// What others do in the middle of a call.
    fn act(&self, step: Step, caller: usize, here: usize) {
        if step.call == Call::Interrupt {
            // A handler runs on any CPU, on that of the caller too.
            return self.execute(step, here);
        }
        let is_free = |cpu: usize| {
            cpu != caller && cpu != here && self.online.borrow()[cpu] && !self.machine.is_asleep(cpu)
        };
        let free: Vec<usize> = (0..self.cpus()).filter(|&cpu| is_free(cpu)).collect();
        let Some(&cpu) = free.get(step.cpu as usize % free.len().max(1)) else { return };
        self.machine.run_on(cpu);
        match step.call {
            // These look at everything, or change what the call goes by.
            Call::LookAnywhere
            | Call::UnmapAliases
            | Call::Count
            | Call::Remake
            | Call::Offline
            | Call::Clock
            | Call::Fail
            | Call::Refuse
            | Call::Wrong => {}
            _ => self.execute(step, cpu),
        }
    }

    fn execute(&self, step: Step, cpu: usize) {
        let instance = (step.instance % 2) as usize;
        let [a, b, c] = step.numbers;
        match step.call {
            Call::Allocate => self.allocate(instance, a, b, c),
            Call::Free => self.free(instance, a),
            Call::Resize => self.resize(instance, a, b, c),
            Call::Protect => self.protect(instance, a, b, c),
            Call::Use => self.use_page(instance, a, b),
            Call::UseFrame => self.use_frame(instance, a, b),
            Call::Speculate => self.speculate(instance, a, b),
            Call::Look => self.look(instance, a, b),
            Call::LookAnywhere => self.look_anywhere(instance, a, b),
            Call::Vmap => self.vmap(instance, a, b, c),
            Call::Ioremap => self.ioremap(instance, a, b, c),
            Call::Unmap => self.unmap(instance, a),
            Call::MapRam => self.map_ram(instance, a, b, c),
            Call::UnmapRam => self.unmap_ram(instance, a),
            Call::UnmapAliases => self.unmap_aliases(),
            Call::Congruent => self.allocate_congruent(instance, a, b, c),
            Call::Populate => self.populate(instance, a, b, c),
            Call::Depopulate => self.depopulate(instance, a, b, c),
            Call::FreeCongruent => self.free_congruent(instance, a),
            Call::Purge => self.purge(instance),
            Call::Trim => self.trim(instance),
            Call::Shrink => self.shrink(instance, a),
            Call::ReleaseCpu => self.release_cpu(instance, a),
            Call::Sleep => self.sleep(a),
            Call::Offline => self.offline(a),
            Call::Flush => self.flush(cpu),
            Call::Tune => self.tune(instance, a, b),
            Call::Switch => self.switch(instance, a, b),
            Call::Fail => self.fail(a, b),
            Call::Refuse => self.refuse(a, b),
            Call::Wrong => self.wrong(instance, a, b, c),
            Call::Interrupt => self.interrupt(instance, a, b),
            Call::Count => self.count(),
            Call::Notifier => self.notifier(instance, a, b),
            Call::Remake => self.remake(instance),
            Call::Clock => self.set_clock(instance, a, b),
            Call::Collect => self.collect(instance, a, b, c),
        }
    }

    /// Adds an area that the library made, and looks at it.
    fn add(&self, instance: usize, mut area: Area) {
        let range = self.setting.range(instance);
        let extent = area.extent();
        assert!(
            range.start <= extent.start && extent.end <= range.end,
            "{extent:#x?} is outside of {range:#x?}"
        );
        let start = area.start;
        let mut model = self.models[instance].borrow_mut();
        area.made.get_or_insert(model.clock);
        model.insert(area);
        drop(model);
        self.look_at(instance, start, start);
    }

    /// Ends: all is freed, and everything must be back.
    ///
    /// # Panics
    /// If it is not.
    pub fn end(self) {
        self.take_log();
        self.calm();
        for instance in 0..2 {
            self.count_instance(instance);
            self.free_all(instance);
            self.instance(instance).vm_unmap_aliases();
            self.empty(instance);
        }
        for instance in self.instances {
            drop(ManuallyDrop::into_inner(instance.into_inner()));
        }
        let frames: Vec<u64> = self.frames.borrow().iter().collect();
        frames.into_iter().for_each(|frame| self.machine.give_back(vmalloc::Frame::new(frame)));
        self.machine.check();
        self.machine.assert_all_frames_back();
    }

    fn cpus(&self) -> usize {
        self.online.borrow().len()
    }
}

/// How many CPUs a machine has.
fn machine_cpus(machine: &Machine) -> usize {
    Platform::shootdown(&machine).cpus()
}

/// Makes an instance, if there is memory for it.
fn make<'m>(machine: &'m Machine, setting: &Setting, instance: usize) -> Option<Instance<'m>> {
    // SAFETY: nobody else maps anything there, and areas are used by simulated CPUs alone.
    unsafe { Vmalloc::with_policy(machine, setting.range(instance), setting.policy()) }.ok()
}

/// The addresses of a number of pages.
fn bytes(pages: usize) -> usize {
    pages * PAGE_SIZE
}
