//! The program `selkie-emulator`.

fn main() {}
