//! What `weir dev` needs beside a proxy: the projects that modules are built in, and the
//! sources that their instructions come from.

mod builds;
mod project;
mod source_lines;
mod sources;

pub use self::builds::{Builds, say};
pub use self::source_lines::{SourceFrame, source_frames};
