//! A program that writes files depends on no server and no database, and on Parquet only if it asks
//! for it.

use std::process::Command;

/// Cargo's list of this crate's dependencies, one package per line.
fn dependencies(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--prefix", "none", "--edges", "normal"])
        .args(["--package", env!("CARGO_PKG_NAME")])
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn has(list: &str, package: &str) -> bool {
    list.lines().any(|line| line.split(' ').next() == Some(package))
}

#[test]
fn no_server_database_or_runtime_is_in_the_tree() {
    let list = dependencies(&[]);
    assert!(has(&list, "conn-log-core") && has(&list, "parquet"), "{list}");
    for package in ["actix-web", "diesel", "tokio", "libsqlite3-sys", "pq-sys"] {
        assert!(!has(&list, package), "{package}");
    }
}

#[test]
fn a_build_can_leave_parquet_out() {
    let list = dependencies(&["--no-default-features"]);
    assert!(has(&list, "csv") && !has(&list, "parquet"), "{list}");
}
