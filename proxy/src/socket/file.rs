//! [`SocketFile`]: the file of a Unix socket that this process has made.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use socket2::{Domain, Socket, Type};
use weir_config::{FileMode, UnixName};

use super::system_address;
use crate::limits::LISTEN_BACKLOG;

/// The file of a Unix socket that this process has made, or taken over. It is removed
/// when this is dropped, unless another process has put its own there.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Device and number, which no other file gets as long as the socket is open.
    inode: (u64, u64),
}

/// Binds a Unix socket, and listens. A file that nobody listens at is replaced.
///
/// # Errors
/// When somebody does, or when there is something else.
pub(crate) fn bind_unix(
    name: &UnixName,
    mode: Option<FileMode>,
) -> io::Result<(Socket, Option<SocketFile>)> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let path = name.path().map(Path::new);
    if let Some(path) = path {
        make_way(name, path)?;
    }
    socket.bind(&system_address(name)?)?;
    let file = path.map(SocketFile::of).transpose()?;
    // Nobody can connect before it listens.
    if let (Some(file), Some(mode)) = (&file, mode) {
        file.set_mode(mode)?;
    }
    // Another process, or another spelling of the path, must not take the file for one
    // that nobody listens at. Who connects waits until connections are accepted.
    socket.listen(LISTEN_BACKLOG)?;
    Ok((socket, file))
}

/// Removes what a process has left that is gone.
fn make_way(name: &UnixName, path: &Path) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !metadata.file_type().is_socket() {
        let message = "there is a file that is not a socket";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    match probe.connect(&system_address(name)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        // Its queue may be full.
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => {
            let message = "another process listens there";
            Err(io::Error::new(io::ErrorKind::AddrInUse, message))
        }
    }
}

impl SocketFile {
    /// The file that is there now.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            inode: inode(path)?,
        })
    }

    /// The file that another process has left, with this mode; `None` if it is not there.
    pub(crate) fn adopt(path: &Path, mode: Option<FileMode>) -> Option<Self> {
        let warn = |what: &str, error: &io::Error| {
            tracing::warn!("cannot {what} {}: {error}", path.display());
        };
        let file = Self::of(path).inspect_err(|error| warn("take over", error));
        let file = file.ok()?;
        if let Some(Err(error)) = mode.map(|mode| file.set_mode(mode)) {
            warn("set the mode of", &error);
        }
        Some(file)
    }

    /// Says who may connect.
    pub(crate) fn set_mode(&self, mode: FileMode) -> io::Result<()> {
        fs::set_permissions(&self.path, Permissions::from_mode(mode.bits()))
    }

    /// Leaves it to another process.
    pub(crate) fn leave(mut self) {
        self.path = PathBuf::new();
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if inode(&self.path).is_ok_and(|inode| inode == self.inode)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use socket2::SockAddr;

    use super::*;

    fn bind(path: &Path, mode: u32) -> io::Result<(Socket, Option<SocketFile>)> {
        let text = format!(
            "listeners: [{{ name: e, address: 'unix:{}', mode: {mode:04o} }}]",
            path.display()
        );
        let config = weir_config::parse("weir.yaml", &text).unwrap();
        let listener = &config.listeners[0];
        bind_unix(listener.address.unix().unwrap(), listener.mode)
    }

    #[test]
    fn a_file_is_there_as_long_as_its_socket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let (_socket, file) = bind(&path, 0o640).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o640
        );
        let error = bind(&path, 0o600).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_nobody_listens_at_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        // It is bound, and does not listen.
        let unused = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        unused.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        let left = SocketFile::of(&path).unwrap();
        let (_socket, _file) = bind(&path, 0o600).unwrap();
        drop(left);
        assert!(path.exists(), "it is another one now");
    }

    #[test]
    fn what_is_no_socket_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        fs::write(&path, "text").unwrap();
        let error = bind(&path, 0o600).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"text");
    }
}
