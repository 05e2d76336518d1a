//! Embedded migrations are read at compile time; without this an edit of the SQL alone is missed.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}
