//! The client against a management server that each test plays itself, over real
//! sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.
#![forbid(unsafe_code)]

mod connections;
mod delta;
mod harness;
mod hostile;
mod scale;
mod server;
mod state_of_the_world;
