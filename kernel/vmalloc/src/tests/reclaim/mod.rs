//! Purges, shortage, caches; other CPUs that free, sleep or are isolated; other policies.

mod broadcast;
mod cached;
mod caches;
mod isolated;
mod notifiers;
mod others;
mod policy;
mod purge;
mod records;
mod shortage;
mod shrink;
