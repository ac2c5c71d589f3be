//! Where something listens, or is connected to.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a Unix socket is written with.
const UNIX: &str = "unix:";

/// Bytes of a name that the system takes (`sun_path` of `unix(7)`, without the byte
/// that ends or begins it).
const UNIX_NAME_MAX: usize = 107;

/// `address`: an IP address and a port, or a Unix socket.
///
/// It is shown as Envoy shows one: `127.0.0.1:8080`, `/run/weir.sock`, `@weir`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// IP address and port.
    Ip(SocketAddr),
    /// A Unix socket.
    Unix(UnixName),
}

/// The name of a Unix socket: the absolute path of a file, or behind an `@` a name that
/// is in no file system, which Linux calls abstract.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnixName(Arc<str>);

/// Why a text is not the name of a Unix socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnixNameError {
    /// It is empty, or has nothing behind the `@`.
    #[error("the name of the Unix socket is empty")]
    Empty,
    /// It is a path that depends on where the process was started.
    #[error("the path of a Unix socket begins with `/`, or is a name that begins with `@`")]
    Relative,
    /// The system has no room for it.
    #[error("the name of a Unix socket has at most {UNIX_NAME_MAX} bytes")]
    TooLong,
    /// The system takes no such byte.
    #[error("the name of a Unix socket has no NUL")]
    Nul,
}

impl UnixName {
    /// The socket of this name: `/run/weir.sock`, `@weir`.
    ///
    /// # Errors
    /// When it is none.
    pub fn new(name: &str) -> Result<Self, UnixNameError> {
        let (is_abstract, rest) = match name.strip_prefix('@') {
            Some(rest) => (true, rest),
            None => (false, name),
        };
        if rest.is_empty() {
            return Err(UnixNameError::Empty);
        }
        if !is_abstract && !rest.starts_with('/') {
            return Err(UnixNameError::Relative);
        }
        if rest.len() > UNIX_NAME_MAX {
            return Err(UnixNameError::TooLong);
        }
        if rest.contains('\0') {
            return Err(UnixNameError::Nul);
        }
        if is_abstract {
            return Ok(Self(name.into()));
        }
        // One file has one name.
        let normal: PathBuf = Path::new(name).components().collect();
        Ok(Self(normal.to_string_lossy().into()))
    }

    /// What the system has called a socket, which may be anything.
    pub fn of_system(name: String) -> Self {
        Self(name.into())
    }

    /// The name as it is written, with the `@` of an abstract one.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path of its file, if it has one.
    pub fn path(&self) -> Option<&str> {
        (!self.0.starts_with('@')).then_some(&*self.0)
    }
}

impl Address {
    /// The IP address and port, if it has them.
    pub fn inet(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// The IP address, if it has one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.inet().map(|address| address.ip())
    }

    /// The port, if it has one.
    pub fn port(&self) -> Option<u16> {
        self.inet().map(|address| address.port())
    }

    /// The Unix socket, if it is one.
    pub fn unix(&self) -> Option<&UnixName> {
        match self {
            Self::Ip(_) => None,
            Self::Unix(name) => Some(name),
        }
    }

    /// Whether any free port will do.
    pub fn takes_any_port(&self) -> bool {
        self.port() == Some(0)
    }

    /// The address without its port.
    pub fn without_port(&self) -> String {
        match self {
            Self::Ip(address) => address.ip().to_string(),
            Self::Unix(name) => name.as_str().to_owned(),
        }
    }

    /// As it is written in a configuration: a Unix socket is `unix:/run/weir.sock`.
    pub fn written(&self) -> String {
        match self {
            Self::Ip(address) => address.to_string(),
            Self::Unix(name) => format!("{UNIX}{}", name.as_str()),
        }
    }

    /// What was [written](Self::written), if it is an address.
    pub fn of_written(text: &str) -> Option<Self> {
        match Self::unix_of_written(text) {
            Some(name) => name.ok().map(Self::Unix),
            None => text.parse().ok().map(Self::Ip),
        }
    }

    /// The Unix socket that is written so; `None` if it is something else.
    pub(crate) fn unix_of_written(text: &str) -> Option<Result<UnixName, UnixNameError>> {
        text.strip_prefix(UNIX).map(UnixName::new)
    }

    /// The same, in memory of its own: what one worker counts is not shared.
    #[must_use]
    pub fn copied(&self) -> Self {
        match self {
            Self::Ip(address) => Self::Ip(*address),
            Self::Unix(name) => Self::Unix(UnixName(name.as_str().into())),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(name) => f.write_str(name.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for text in [
            "127.0.0.1:80",
            "[::1]:443",
            "unix:/run/weir.sock",
            "unix:@weir",
        ] {
            let address = Address::of_written(text).unwrap();
            assert_eq!(address.written(), text);
            assert_eq!(format!("unix:{address}") == text, address.unix().is_some());
        }
    }

    #[test]
    fn names_are_absolute_and_have_room() {
        let long = format!("/{}", "x".repeat(UNIX_NAME_MAX - 1));
        assert!(UnixName::new(&long).is_ok());
        assert!(UnixName::new(&format!("@{long}")).is_ok());
        for (name, error) in [
            ("", UnixNameError::Empty),
            ("@", UnixNameError::Empty),
            ("run/weir.sock", UnixNameError::Relative),
            (&format!("{long}x"), UnixNameError::TooLong),
            ("/a\0b", UnixNameError::Nul),
        ] {
            assert_eq!(UnixName::new(name), Err(error), "{name}");
        }
        assert_eq!(UnixName::new("@a").unwrap().path(), None);
        assert_eq!(UnixName::new("/a").unwrap().path(), Some("/a"));
        assert_eq!(UnixName::new("/a//./b"), UnixName::new("/a/b"));
    }
}
