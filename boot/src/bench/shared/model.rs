//! A model of what counted things cost on a real CPU, in cycles. It is no measurement.

use super::counts::{KINDS, PerLoop};

/// What one thing costs.
pub struct Cost {
    /// The plugin's name for the thing.
    pub name: &'static str,
    /// What tables call it.
    pub title: &'static str,
    /// Cycles.
    pub cycles: f64,
}

/// All costs. `bench/counter/README.md` names the source of each. Interrupts cost nothing here: no source says how much
/// one is that finds its work cached, and their other costs are counted as instructions and lines.
pub const COSTS: [Cost; 6] = [
    Cost { name: "instructions", title: "an instruction", cycles: 0.25 },
    Cost { name: "locked", title: "a locked one besides", cycles: 18.0 },
    Cost { name: "lines", title: "a line moved", cycles: 70.0 },
    Cost { name: "invlpg", title: "INVLPG", cycles: 216.0 },
    Cost { name: "cr3", title: "a CR3 write", cycles: 124.0 },
    Cost { name: "cr4", title: "a CR4 write", cycles: 480.0 },
];

/// The unit of the model's figures.
pub const UNIT: &str = "modelled cycles a loop";

/// Cycles of a loop.
#[must_use]
pub fn cycles(per_loop: &PerLoop) -> f64 {
    let counted = |cost: &Cost| KINDS.iter().zip(per_loop).find(|((name, _), _)| *name == cost.name);
    COSTS.iter().filter_map(|cost| Some(cost.cycles * counted(cost)?.1)).sum()
}

/// The costs in words, for the head of a table.
#[must_use]
pub fn told() -> String {
    let costs: Vec<String> = COSTS.iter().map(|cost| format!("{} {}", cost.title, cost.cycles)).collect();
    costs.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cost_is_of_something_counted_and_none_is_left_out() {
        for cost in &COSTS {
            assert!(KINDS.iter().any(|(name, _)| *name == cost.name), "{}", cost.name);
        }
        let one_each = [1.0; KINDS.len()];
        assert_eq!(cycles(&one_each), COSTS.iter().map(|cost| cost.cycles).sum::<f64>());
        let mut instructions = [0.0; KINDS.len()];
        instructions[0] = 400.0;
        assert_eq!(cycles(&instructions), 100.0);
    }
}
