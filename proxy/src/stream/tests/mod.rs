//! The stream engine with real guests, and with a client and an upstream that
//! the tests play.

mod body;
mod close;
mod composition;
mod guest;
mod held_headers;
mod journal;
mod limits;
mod local_response;
mod order;
mod pause;
mod policy;
mod random;
mod random_guest;
mod response;
mod rig;
mod run;
mod shared_vm;
mod trailers;
mod trap;
