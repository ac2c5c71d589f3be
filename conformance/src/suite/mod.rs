//! The conformance suite: the same guests, configuration, clients and upstreams
//! with Weir and with a real Envoy, observation by observation.

pub mod bootstrap;
pub mod case;
pub mod client;
pub mod diff;
pub mod differences;
pub mod filters;
mod guest;
pub mod h1;
mod h2_text;
pub mod hostcalls;
pub mod journal;
mod normal;
pub mod observation;
pub mod open;
pub mod proxy;
pub mod random;
mod raw;
pub mod record;
pub mod run;
mod socket;
pub mod step;
pub mod table;
pub mod text;
pub mod upstream;
pub mod verdict;
mod writer;
