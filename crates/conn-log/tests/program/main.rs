//! The program as people and machines run it: started, killed, stopped, misused.

// Makes Clippy treat all of this as tests, helpers too: clippy.toml says what tests may do.
#![cfg(test)]

mod alerting;
mod command_line;
mod crashes;
mod dependencies;
mod derived;
mod full_disk;
mod hostile_clients;
mod lost;
mod memory;
mod notifying;
mod postgres;
mod receiver;
mod request_log;
mod running;
mod smoke;
mod two_servers;
mod wire;
