//! What a person or the host runner sees of the kernel.

mod console;
mod costs;
mod instead;
mod play;
mod replay;
mod serial;
mod soft_off;
mod stream;
mod together;
mod trace;
