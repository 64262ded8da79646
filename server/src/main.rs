//! The program `selkie`.

fn main() {}
