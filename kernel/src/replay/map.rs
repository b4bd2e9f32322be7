//! What the address space looks like while calls are made, and who purges and flushes: streamed to the host.
//!
//! Samples are taken between calls, by the worker whose turn it is. A line `vmalloc_sample` tells how many calls were made,
//! a line `vmalloc_block` what the pages of a block are, `vmalloc_sampled` that it was the last one. The host takes the time
//! in between out of what it draws.

use crate::{
    arch::tsc,
    command::CommandError,
    hostfile,
    services::Experiment,
    threads,
    trace::{Who, ftrace::Ftrace, stream},
};
use alloc::format;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use vmalloc::BlockStats;

/// Streams while it lives.
pub(super) struct Sampler {
    /// Calls from one sample to the next.
    every: u64,
    /// Cycles that samples took.
    took: AtomicU64,
    /// Whether the stream is still to be ended.
    streams: AtomicBool,
}

/// Where a replay fails, too.
impl Drop for Sampler {
    fn drop(&mut self) {
        if self.streams.swap(false, Ordering::Relaxed) {
            stream::close();
        }
    }
}

impl Sampler {
    /// Begins to stream as many samples of `calls` calls, and the instance's purges and flushes. `None` if there are to be no
    /// samples.
    pub fn begin(instance: &Experiment, calls: u64, samples: u32) -> Result<Option<Self>, CommandError> {
        if samples == 0 {
            return Ok(None);
        }
        hostfile::open().map_err(|error| CommandError::new(format!("map: {error}")))?;
        if !stream::open(hostfile::write, Ftrace::new(instance.range().clone(), instance.lazy_max())) {
            return Err(CommandError::new("map: a stream is open already: trace off ends it"));
        }
        instance.set_trace_purges(true);
        let every = calls.div_ceil(samples.into()).max(1);
        Ok(Some(Self { every, took: AtomicU64::new(0), streams: AtomicBool::new(true) }))
    }

    /// Streams a sample if one is due when `made` calls were made.
    pub fn before_call(&self, instance: &Experiment, made: u64) {
        if made.is_multiple_of(self.every) {
            let start = tsc::now();
            sample(instance, made);
            self.took.fetch_add(tsc::since(start), Ordering::Relaxed);
        }
    }

    /// Returns the cycles that all samples took.
    pub fn took(&self) -> u64 {
        self.took.load(Ordering::Relaxed)
    }

    /// Streams the last sample, after `made` calls, and ends the stream.
    pub fn end(&self, instance: &Experiment, made: u64) -> Result<(), CommandError> {
        sample(instance, made);
        instance.set_trace_purges(false);
        self.streams.store(false, Ordering::Relaxed);
        match stream::close() {
            Some(written) if written.lost == 0 => Ok(()),
            _ => Err(CommandError::new("map: the host did not take all events")),
        }
    }
}

fn sample(instance: &Experiment, made: u64) {
    let who = Who { tag: threads::current_tag(), id: threads::current_id() };
    stream::note(who, format_args!("vmalloc_sample: calls={made}"));
    instance.for_each_block(|block| {
        let BlockStats { first, blocks, live, parked, dirty, flushing, cached, guard, .. } = block;
        stream::note(
            who,
            format_args!(
                "vmalloc_block: first={first} blocks={blocks} live={live} parked={parked} dirty={dirty} \
                 flushing={flushing} cached={cached} guard={guard}"
            ),
        );
    });
    stream::note(who, format_args!("vmalloc_sampled: calls={made}"));
}
