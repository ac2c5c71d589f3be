//! Sockets: TCP and Unix ones.

mod file;
mod listener;
mod origin;
mod stream;

use std::io;

use socket2::SockAddr;
use weir_config::UnixName;

pub(crate) use self::file::{SocketFile, bind_unix};
pub(crate) use self::listener::{Accepted, SocketListener};
pub(crate) use self::origin::{Origin, Whose};
pub(crate) use self::stream::SocketStream;

/// As the system has it: abstract names begin with a NUL there.
fn system_address(name: &UnixName) -> io::Result<SockAddr> {
    match name.path() {
        Some(path) => SockAddr::unix(path),
        None => SockAddr::unix(name.as_str().replacen('@', "\0", 1)),
    }
}
