//! YAML text as a tree of values that know where they stand.
//!
//! Parsing keeps the text of scalars as written: what `10` means is for the
//! reader of the key to say, which also knows what it expected.

mod budget;
mod compose;
mod node;
mod schema;
mod syntax;

pub(crate) use compose::compose;
pub(crate) use node::{Entry, Key, Node, Scalar, Value};
pub(crate) use schema::{Meaning, meaning};
