//! A storage backend of one's own.

fn main() {}
