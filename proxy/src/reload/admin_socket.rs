//! [`AdminSocket`]: where the admin listens, from one process to the next.

use std::io;
use std::net::TcpListener;
use std::path::Path;

use socket2::Socket;
use weir_config::{Address, Admin, FileMode};

use crate::socket::{SocketFile, bind_unix};

/// The admin's socket.
pub(super) struct AdminSocket {
    pub(super) socket: Socket,
    /// What it is bound to.
    pub(super) address: Address,
    mode: Option<FileMode>,
    /// If this process has made it, or has it from one that is gone.
    pub(super) file: Option<SocketFile>,
}

impl AdminSocket {
    /// The socket of the process `before`, or else a new one.
    ///
    /// # Errors
    /// When it cannot be bound.
    pub(super) fn bind(admin: &Admin, before: Option<Socket>) -> io::Result<Self> {
        let (socket, file) = match (before, &admin.address.value) {
            (Some(socket), _) => (socket, None),
            (None, Address::Ip(address)) => (TcpListener::bind(address)?.into(), None),
            (None, Address::Unix(name)) => bind_unix(name, admin.mode)?,
        };
        let bound = socket.local_addr()?.as_socket().map(Address::Ip);
        Ok(Self {
            address: bound.unwrap_or_else(|| admin.address.value.clone()),
            socket,
            mode: admin.mode,
            file,
        })
    }

    /// The process before has left its file to this one.
    pub(super) fn adopt_file(&mut self) {
        let path = self.address.unix().and_then(|name| name.path());
        if let Some(path) = path.filter(|_| self.file.is_none()) {
            self.file = SocketFile::adopt(Path::new(path), self.mode);
        }
    }
}
