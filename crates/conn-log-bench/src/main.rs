//! The tools of `scripts/bench`: realistic events, the baselines that it compares with, and a load
//! at a fixed rate.
//!
//! Each command prints its result as `name=value` words on one line.

#![expect(clippy::print_stdout, reason = "a tool for developers; stdout is its result")]

mod append;
mod core;
mod events;
mod floor;
mod fsync;
mod load;
mod plain_table;
mod read;
mod rules;
mod sealed;
mod serve;
mod settle;
mod stream;
mod watch;
mod watcher;

use std::io::{self, BufWriter, Write as _};

use clap::Parser;

/// The allocator of the program, so that the baselines differ from it only in their work.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[derive(Parser)]
enum Command {
    /// Print events, one a line, as a client would send them
    Events(events::Shape),
    /// Append events through the store, without HTTP
    Append(append::Append),
    /// Time what the core does for an event: parse and check, record, leaf hash
    Core(core::Core),
    /// Serve single events with as little as possible around the same parsing and checking
    Floor(floor::Floor),
    /// Send requests at a fixed rate, and tell how long answers take
    Load(load::Load),
    /// Time the questions that a log is asked
    Read(read::Read),
    /// Time alerts, and what rules cost the append
    Rules(rules::Rules),
    /// Time blocks of compressed old events (a spike)
    Sealed(sealed::Sealed),
    /// Serve as the program does, with parts left out
    Serve(serve::Serve),
    /// Wait until everything derived has caught up with the log
    Settle(settle::Settle),
    /// Follow the stream with many clients
    Stream(stream::Stream),
    /// Time webhooks of alerts, through a server
    Watch(watch::Watch),
    /// Time the evaluation of rules alone
    Watcher(watcher::Watcher),
    /// Time fdatasync after each 4 KiB written
    Fsync(fsync::Fsync),
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Events(shape) => print(&shape),
        Command::Append(append) => append.run(),
        Command::Core(core) => core.run(),
        Command::Floor(floor) => floor.run(),
        Command::Load(load) => load.run(),
        Command::Read(read) => read.run(),
        Command::Rules(rules) => rules.run(),
        Command::Sealed(sealed) => sealed.run(),
        Command::Serve(serve) => serve.run(),
        Command::Settle(settle) => settle.run(),
        Command::Stream(stream) => stream.run(),
        Command::Watch(watch) => watch.run(),
        Command::Watcher(watcher) => watcher.run(),
        Command::Fsync(fsync) => fsync.run(),
    }
}

fn print(shape: &events::Shape) -> anyhow::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    for line in shape.events() {
        writeln!(out, "{line}")?;
    }
    Ok(out.flush()?)
}

/// The value that a share of the sorted values does not exceed.
fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get(last * percent / 100).copied().unwrap_or(0)
}
