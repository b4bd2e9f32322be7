//! The numbers that interrupts come by.

/// What an interrupt is about. The highest number is served first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Vector {
    /// A device's, left over by the firmware: all devices are masked.
    Unexpected = 0x20,
    /// The CPU's timer.
    Timer = 0x30,
    /// Another CPU made a thread ready for this one.
    Reschedule = 0x31,
    /// Another CPU waits for this one to flush its TLB.
    Flush = 0x32,
    /// Another CPU waits for this one to call a function.
    Call = 0x33,
    /// Another CPU has flushed its TLB, for which this one may stand still.
    Flushed = 0x34,
    /// An interrupt that went away before it could be delivered.
    Spurious = 0xff,
}

pub(in crate::arch) const VECTORS: [Vector; 7] = [
    Vector::Unexpected,
    Vector::Timer,
    Vector::Reschedule,
    Vector::Flush,
    Vector::Call,
    Vector::Flushed,
    Vector::Spurious,
];

impl Vector {
    /// What an interrupt of this number is about.
    pub(in crate::arch) fn of(number: u8) -> Self {
        VECTORS.into_iter().find(|&vector| vector as u8 == number).unwrap_or(Self::Unexpected)
    }

    pub(in crate::arch) fn index(self) -> usize {
        match self {
            Self::Unexpected => 0,
            Self::Timer => 1,
            Self::Reschedule => 2,
            Self::Flush => 3,
            Self::Call => 4,
            Self::Flushed => 5,
            Self::Spurious => 6,
        }
    }
}
