//! The client against a management server that each test plays itself, over real
//! sockets.

#![forbid(unsafe_code)]

mod connections;
mod delta;
mod harness;
mod hostile;
mod server;
mod state_of_the_world;
