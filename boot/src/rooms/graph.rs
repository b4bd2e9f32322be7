//! Circles in a graph of names.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A graph: which names each name leads to.
pub type Graph = BTreeMap<String, BTreeSet<String>>;

/// The knots: the largest sets of more than one name in which each leads to each other.
#[must_use]
pub fn knots(graph: &Graph) -> Vec<BTreeSet<String>> {
    let reached: BTreeMap<&String, BTreeSet<String>> =
        graph.keys().map(|name| (name, reach(graph, name))).collect();
    let mut knots = BTreeSet::new();
    for (name, to) in &reached {
        let back = |other: &&String| reached.get(other).is_some_and(|to| to.contains(*name));
        let knot: BTreeSet<String> = to.iter().filter(back).cloned().collect();
        if knot.len() > 1 {
            knots.insert(knot);
        }
    }
    knots.into_iter().collect()
}

/// All that a name leads to, over any number of steps.
fn reach(graph: &Graph, name: &str) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut next = vec![name];
    while let Some(name) = next.pop() {
        for to in graph.get(name).into_iter().flatten() {
            if reached.insert(to.clone()) {
                next.push(to);
            }
        }
    }
    reached
}

/// A shortest circle of more than two of these names, each once; two that use each other make none.
#[must_use]
pub fn circle(graph: &Graph, names: &BTreeSet<String>) -> Option<Vec<String>> {
    let mut shortest: Option<Vec<String>> = None;
    for from in names {
        for to in graph.get(from).into_iter().flatten().filter(|to| names.contains(*to) && *to != from) {
            let Some(back) = way(graph, names, to, from) else { continue };
            if shortest.as_ref().is_none_or(|shortest| back.len() < shortest.len()) {
                shortest = Some(back);
            }
        }
    }
    shortest
}

/// A shortest way through `names` that has more than one step.
fn way(graph: &Graph, names: &BTreeSet<String>, from: &str, to: &str) -> Option<Vec<String>> {
    let mut before: BTreeMap<&str, &str> = BTreeMap::new();
    let mut next = VecDeque::from([from]);
    while let Some(at) = next.pop_front() {
        for step in graph.get(at).into_iter().flatten().filter(|step| names.contains(*step)) {
            if (at == from && step == to) || step == from || before.contains_key(step.as_str()) {
                continue;
            }
            before.insert(step, at);
            if step == to {
                let mut way = vec![to.to_owned()];
                let mut at = to;
                while at != from {
                    at = before[at];
                    way.push(at.to_owned());
                }
                way.reverse();
                return Some(way);
            }
            next.push_back(step);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&str, &str)]) -> Graph {
        let mut graph = Graph::new();
        for (from, to) in edges {
            graph.entry((*from).into()).or_default().insert((*to).into());
        }
        graph
    }

    fn set(names: &str) -> BTreeSet<String> {
        names.split(' ').map(Into::into).collect()
    }

    #[test]
    fn a_knot_is_all_that_leads_to_each_other() {
        let graph =
            graph(&[("a", "b"), ("b", "c"), ("c", "a"), ("c", "d"), ("d", "e"), ("e", "d"), ("e", "f")]);
        assert_eq!(knots(&graph), [set("a b c"), set("d e")]);
    }

    #[test]
    fn pairs_around_one_name_are_a_knot_but_no_circle() {
        let mut graph = graph(&[("hub", "a"), ("a", "hub"), ("hub", "b"), ("b", "hub")]);
        assert_eq!(knots(&graph), [set("hub a b")]);
        assert_eq!(circle(&graph, &set("hub a b")), None);
        graph.get_mut("a").unwrap().insert("b".into());
        assert_eq!(circle(&graph, &set("hub a b")).unwrap(), ["b", "hub", "a"]);
    }

    #[test]
    fn the_shortest_circle_is_found_and_stays_in_the_set() {
        let graph =
            graph(&[("a", "b"), ("b", "c"), ("c", "d"), ("d", "a"), ("c", "a"), ("b", "x"), ("x", "a")]);
        let found = circle(&graph, &set("a b c d")).unwrap();
        assert_eq!(found.iter().cloned().collect::<BTreeSet<_>>(), set("a b c"));
        assert_eq!(circle(&graph, &set("a b d")), None);
    }
}
