//! The smoke script for developers finds no fault on a live server.

use std::process::Command;

use conn_log_test_support::{Backend, TestDatabase};
use rstest::rstest;

use crate::running::Running;

#[rstest]
fn the_smoke_script_passes_against_a_new_server(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let Some(database) = TestDatabase::new(backend) else { return };
    let server = Running::start(&database);
    let output = Command::new("../../scripts/smoke").args([&server.base, &server.token]).output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("checks passed"), "{said}");
}
