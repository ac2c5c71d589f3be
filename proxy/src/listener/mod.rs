//! From an accepted connection to the filter chain that it is for.

mod hello;
mod inspect;
mod matcher;
mod original_dst;

pub(crate) use inspect::{Inspected, Inspection, InspectionError};
pub(crate) use matcher::{Asked, ChainMatcher};
pub(crate) use original_dst::{OriginalDestination, original_dst};
