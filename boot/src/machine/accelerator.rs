//! What may run the guest's instructions.

/// What runs the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// The CPU's virtualization.
    Kvm,
    /// Emulation in software.
    Tcg,
}

/// A choice, and why it fell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// What runs the guest's instructions.
    pub accelerator: Accelerator,
    /// Why not the other one; empty if the user said so.
    pub reason: String,
}
