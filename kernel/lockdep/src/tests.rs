//! The checker as one CPU, or two, would drive it.

extern crate std;

use super::{Class, Context, Graph, Held, MAX_CLASSES, MAX_HELD, Report};
use core::panic::Location;
use std::{boxed::Box, string::ToString, vec::Vec};

fn class(name: &'static str) -> &'static Class {
    Box::leak(Box::new(Class::new(name)))
}

#[track_caller]
fn take_in(graph: &Graph, held: &mut Held, class: &'static Class, context: Context) -> Vec<Report> {
    let mut found = Vec::new();
    graph.take(held, class, Location::caller(), context, |report| found.push(report));
    found
}

#[track_caller]
fn take(graph: &Graph, held: &mut Held, class: &'static Class) -> Vec<Report> {
    take_in(graph, held, class, Context::InterruptsOff)
}

/// Takes the locks in order, and releases them; everything that was reported.
#[track_caller]
fn sequence(graph: &Graph, classes: &[&'static Class]) -> Vec<Report> {
    let mut held = Held::new();
    let mut found = Vec::new();
    for class in classes {
        graph.take(&mut held, class, Location::caller(), Context::InterruptsOff, |report| found.push(report));
    }
    classes.iter().rev().for_each(|class| held.release(class));
    assert_eq!(held.count(), 0);
    found
}

#[test]
fn one_order_is_fine_however_often() {
    let (graph, a, b, c) = (Graph::new(), class("a"), class("b"), class("c"));
    for order in [[a, b, c].as_slice(), &[a, c], &[b, c], &[a, b, c], &[c]] {
        assert!(sequence(&graph, order).is_empty());
    }
}

#[test]
fn an_inversion_is_reported_once_with_all_four_places() {
    let (graph, a, b) = (Graph::new(), class("a"), class("b"));
    let first = line!() + 1;
    assert!(sequence(&graph, &[a, b]).is_empty());
    let second = line!() + 1;
    let found = sequence(&graph, &[b, a]);
    let [Report::Inversion { now, before }] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((now[0].0, now[1].0, before[0].0, before[1].0), ("b", "a", "a", "b"));
    assert!(now.iter().all(|(_, place)| place.line() == second));
    assert!(before.iter().all(|(_, place)| place.line() == first));
    assert!(!found[0].to_string().contains('\n'));
    assert!(sequence(&graph, &[b, a]).is_empty() && sequence(&graph, &[a, b]).is_empty());
}

#[test]
fn a_cycle_of_three_is_an_inversion() {
    let (graph, a, b, c) = (Graph::new(), class("a"), class("b"), class("c"));
    assert!(sequence(&graph, &[a, b]).is_empty());
    assert!(sequence(&graph, &[b, c]).is_empty());
    let found = sequence(&graph, &[c, a]);
    let [Report::Inversion { before, .. }] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((before[0].0, before[1].0), ("a", "b"), "the first step of the way back");
}

#[test]
fn a_second_lock_of_a_class_is_reported() {
    let (graph, a) = (Graph::new(), class("a"));
    let found = sequence(&graph, &[a, a]);
    assert!(matches!(found.as_slice(), [Report::Recursion { class: "a", .. }]), "{found:?}");
    assert!(sequence(&graph, &[a, a]).is_empty());
}

#[test]
fn what_an_interrupt_takes_is_in_no_order_with_what_it_interrupted() {
    let (graph, a, b) = (Graph::new(), class("a"), class("b"));
    let (mut thread, mut handler) = (Held::new(), Held::new());
    assert!(take(&graph, &mut thread, a).is_empty());
    assert!(take(&graph, &mut handler, b).is_empty());
    assert!(thread.holds(a) && !thread.holds(b) && handler.holds(b));
    handler.release(b);
    assert_eq!((thread.count(), handler.count()), (1, 0));
    thread.release(a);
    assert!(sequence(&graph, &[b, a]).is_empty());
}

#[test]
fn a_class_of_interrupts_must_not_be_taken_with_interrupts_on() {
    for first in [Context::Interrupt, Context::InterruptsOn] {
        let (graph, a, mut held) = (Graph::new(), class("a"), Held::new());
        let second = match first {
            Context::Interrupt => Context::InterruptsOn,
            _ => Context::Interrupt,
        };
        let mut once = |context| {
            let found = take_in(&graph, &mut held, a, context);
            held.release(a);
            found
        };
        assert!(once(first).is_empty() && once(Context::InterruptsOff).is_empty());
        assert!(matches!(once(second).as_slice(), [Report::Interrupt { class: "a", .. }]));
        assert!(once(first).is_empty() && once(second).is_empty());
    }
}

#[test]
fn locks_may_be_released_in_any_order() {
    let (graph, a, b, c) = (Graph::new(), class("a"), class("b"), class("c"));
    let mut held = Held::new();
    for class in [a, b, c] {
        assert!(take(&graph, &mut held, class).is_empty());
    }
    held.release(a);
    held.release(c);
    assert!(held.holds(b) && !held.holds(a) && held.count() == 1);
    held.release(b);
    assert_eq!(held.count(), 0);
}

#[test]
fn too_much_is_not_checked_and_harms_nothing() {
    let graph = Graph::new();
    let classes: Vec<_> = (0..MAX_CLASSES + 2).map(|_| class("many")).collect();
    for class in &classes {
        assert!(sequence(&graph, &[class]).is_empty());
    }
    let mut held = Held::new();
    for class in &classes[..MAX_HELD + 1] {
        assert!(take(&graph, &mut held, class).is_empty());
    }
    classes[..MAX_HELD + 1].iter().rev().for_each(|class| held.release(class));
    assert_eq!(held.count(), 0);
    let (a, b) = (classes[MAX_CLASSES], classes[MAX_CLASSES + 1]);
    assert!(sequence(&graph, &[a, b]).is_empty() && sequence(&graph, &[b, a]).is_empty());
}

/// Either of two CPUs that close a cycle together may be the one told, but one must be.
#[test]
fn of_two_cpus_that_close_a_cycle_at_once_one_is_told() {
    // Miri has threads change places at random, so it needs fewer, and takes long for each.
    let rounds = if cfg!(miri) { 10 } else { 300 };
    for _ in 0..rounds {
        let (graph, a, b) = (Graph::new(), class("a"), class("b"));
        let gate = std::sync::Barrier::new(2);
        let run = |order: [&'static Class; 2]| {
            gate.wait();
            sequence(&graph, &order).len()
        };
        let told = std::thread::scope(|scope| {
            let other = scope.spawn(|| run([b, a]));
            run([a, b]) + other.join().expect("no panic")
        });
        assert!(told == 1 || told == 2, "{told}");
    }
}
