//! What the buddy allocator promises, from outside of its module.

mod buddy;
mod model;
