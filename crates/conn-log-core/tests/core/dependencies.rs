//! Another service can depend on this crate alone: it brings no server, database, runtime or clock.

use std::process::Command;

/// The output of cargo for this crate's normal dependencies, one line each.
fn tree(edges: &str) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--prefix", "none"])
        .args(["--package", env!("CARGO_PKG_NAME"), "--edges", edges])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn no_server_database_or_runtime_is_in_the_tree() {
    let tree = tree("normal");
    assert!(tree.iter().any(|line| line.starts_with("chrono ")));
    let banned = |line: &&String| {
        ["actix", "diesel", "tokio", "libsqlite3-sys", "pq-sys"]
            .iter()
            .any(|name| line.starts_with(name))
    };
    assert_eq!(tree.iter().find(banned), None);
}

#[test]
fn no_clock_is_in_the_tree() {
    let tree = tree("normal,features");
    assert!(tree.iter().any(|line| line == r#"chrono feature "alloc""#));
    let clock = |line: &&String| {
        line.starts_with("iana-time-zone")
            || line.starts_with(r#"chrono feature "clock""#)
            || line.starts_with(r#"chrono feature "now""#)
            || line.starts_with(r#"chrono feature "default""#)
    };
    assert_eq!(tree.iter().find(clock), None);
}
