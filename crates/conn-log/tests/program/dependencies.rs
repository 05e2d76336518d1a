//! The packages that a plain `cargo build` of the workspace compiles: no developer tools.

use std::process::Command;

/// The names of the packages that the workspace's default members depend on.
fn built_from(arguments: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--prefix", "none", "--edges", "normal,build"])
        .args(arguments)
        .current_dir("../..")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| Some(line.split(' ').next()?.to_owned())).collect()
}

#[test]
fn the_program_is_built_without_the_crates_for_developers() {
    let packages = built_from(&[]);
    for own in ["conn-log", "conn-log-api", "conn-log-store", "conn-log-formats", "conn-log-core"] {
        assert!(packages.iter().any(|package| package == own), "{own}: {packages:?}");
    }
    for other in ["conn-log-bench", "conn-log-test-support", "tempfile", "proptest"] {
        assert!(!packages.iter().any(|package| package == other), "{other}");
    }
}

#[test]
fn the_program_can_be_built_without_parquet() {
    assert!(built_from(&[]).iter().any(|package| package == "parquet"));
    let without = built_from(&["--package", "conn-log", "--no-default-features"]);
    assert!(!without.iter().any(|package| package == "parquet"));
}
