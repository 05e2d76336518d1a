//! The connection log in one program: the server, and the command line that manages it.
//!
//! This crate reads the environment and connects the other crates; it has no logic of its own.
//! Results go to stdout, all messages for people to stderr.

mod arguments;
mod rebuild;
mod rules;
mod server;
mod tenants;
mod tokens;

use std::process::ExitCode;

use clap::Parser as _;
use conn_log_store::{SessionTimeout, Store, StoreOptions};

use arguments::{Arguments, Command, Database};

/// An allocator that returns freed memory within a second, which the C library's allocator does
/// not.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    env_logger::Builder::new().parse_filters(&arguments.log).format_timestamp_millis().init();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("conn-log: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    match arguments.command() {
        Command::Serve(serve) => server::serve(&serve),
        Command::Migrate { citus: false, database } => migrate(&database),
        Command::Migrate { citus: true, database } => distribute(&database),
        Command::Rebuild { name, tenant, database } => {
            rebuild::run(&name, tenant.as_deref(), &database)
        }
        Command::Token { command } => tokens::run(command),
        Command::Rules { command } => rules::run(command),
        Command::Tenant { command } => tenants::run(command),
    }
}

fn migrate(database: &Database) -> anyhow::Result<()> {
    let applied = Store::migrate(&database.url()?)?;
    if applied.is_empty() {
        say("nothing to do: all migrations are applied");
    }
    for name in applied {
        say(&format!("applied {name}"));
    }
    Ok(())
}

fn distribute(database: &Database) -> anyhow::Result<()> {
    let done = Store::distribute(&database.url()?)?;
    if done.is_empty() {
        say("nothing to do: every table is where it belongs");
    }
    for sentence in done {
        say(&sentence);
    }
    Ok(())
}

/// Opens the store for one command.
fn open(database: &Database) -> anyhow::Result<Store> {
    // A command does its own work and leaves the projections and the index to the server.
    let options = StoreOptions {
        projections: false,
        indexing: false,
        connect_at_start: false,
        alerting: false,
        session_timeout: SessionTimeout::Kept,
        ..StoreOptions::new(database.url()?)
    };
    Ok(Store::open(options)?)
}

/// Prints one line for people.
#[expect(clippy::print_stderr, reason = "stderr is where people read what the program says")]
fn say(line: &str) {
    eprintln!("{line}");
}

/// Prints one line of the result.
#[expect(clippy::print_stdout, reason = "stdout is where programs read results")]
fn result(line: &str) {
    println!("{line}");
}
