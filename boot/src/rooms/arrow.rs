//! An arrow from one module to another.

/// Where an arrow begins or ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct End {
    /// The module's path.
    pub module: String,
    /// What of it: a function, or what an import names.
    pub name: String,
}

impl End {
    /// The end at something in a module.
    pub fn new(module: impl Into<String>, name: impl Into<String>) -> Self {
        Self { module: module.into(), name: name.into() }
    }
}

/// What makes an arrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A `use` that brings names in for others.
    ReExport,
    /// A private `use`, or a path in the source.
    Import,
    /// A function that calls another, or names it or a constant, as the compiler resolved it.
    Call,
}

/// One module uses another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrow {
    /// Who uses.
    pub from: End,
    /// What is used.
    pub to: End,
    /// How.
    pub kind: Kind,
}
