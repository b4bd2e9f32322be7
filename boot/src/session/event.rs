//! What a session waits for.

/// What may happen to a session.
#[derive(Debug)]
pub(crate) enum Event {
    /// The program printed something.
    Bytes(Vec<u8>),
    /// The program will print no more.
    Closed,
    /// The user wants the program to end.
    EndedByUser,
    /// This process got a signal that must end it.
    Signal(i32),
}
