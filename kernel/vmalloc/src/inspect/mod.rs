//! Looking at what is allocated, and counting it. Nothing here changes anything, but that a page whose frame was looked
//! up no longer counts as never written.

mod count;
mod find;
mod read;
