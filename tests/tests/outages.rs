//! Servers that die, move and fill up under load. Each test has servers of its own.

mod postgres;
mod support;
