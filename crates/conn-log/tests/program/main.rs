//! The program as people and machines run it: started, killed, stopped, misused.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that fails says so by panicking"
)]

#[path = "../../../conn-log-store/tests/store/cluster.rs"]
#[allow(dead_code, reason = "shared with the store's tests")]
mod cluster;
mod command_line;
mod crashes;
mod derived;
mod hostile_clients;
mod memory;
mod postgres;
mod running;
mod smoke;
#[path = "../../../conn-log-store/tests/store/support.rs"]
#[allow(dead_code, unused_imports, unused_macros, reason = "shared with the store's tests")]
mod support;
mod two_servers;
