//! Takeover: a process that starts gets the very sockets of the one that runs, so
//! that no connection is refused, nor lost in a queue.
//!
//! They speak over a unix socket. The new process says [`HELLO`], and is told what
//! sockets there are, and given them. It makes everything ready, serves, with all that a
//! management server has for it, and says [`SERVING`]; the old one answers [`GOODBYE`] and drains. If the new one goes away
//! before that, the old one serves on, and nothing has changed.

use std::collections::HashMap;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde_json::{Value as Json, json};
use socket2::Socket;
use weir_config::Address;

use crate::generation::ListenerKey;
use crate::limits::{
    TAKEOVER_HELLO_TIMEOUT, TAKEOVER_LIST_MAX_BYTES, TAKEOVER_SOCKETS_PER_MESSAGE, TAKEOVER_TIMEOUT,
};

/// What the new process says first; the number is that of this protocol.
const HELLO: &[u8] = b"weir takeover 1\n";

/// What it says when it serves.
const SERVING: &[u8] = b"serving\n";

/// What the old one answers: it accepts no more.
const GOODBYE: &[u8] = b"goodbye\n";

/// What a socket is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Role {
    /// The admin, with the address that is configured.
    Admin(Address),
    Listener(ListenerKey),
}

impl Role {
    fn to_json(&self) -> Json {
        match self {
            Self::Admin(address) => json!({ "admin": address.written() }),
            Self::Listener(ListenerKey::Address(address)) => {
                json!({ "address": address.written() })
            }
            Self::Listener(ListenerKey::Name(name)) => json!({ "name": name }),
            Self::Listener(ListenerKey::Unbound(address)) => {
                json!({ "unbound": address.written() })
            }
        }
    }

    /// `None` for one that another version may know.
    fn of_json(role: &Json) -> Option<Self> {
        let text = |key| role.get(key).and_then(Json::as_str);
        if let Some(address) = text("admin") {
            return Address::of_written(address).map(Self::Admin);
        }
        if let Some(address) = text("address") {
            let address = Address::of_written(address)?;
            return Some(Self::Listener(ListenerKey::Address(address)));
        }
        if let Some(address) = text("unbound") {
            let address = Address::of_written(address)?;
            return Some(Self::Listener(ListenerKey::Unbound(address)));
        }
        let name = text("name")?.to_owned();
        Some(Self::Listener(ListenerKey::Name(name)))
    }
}

/// The sockets of listeners, those of one listener together.
pub(super) type Listening = HashMap<ListenerKey, Vec<Socket>>;

/// What a process has got from the one before.
pub(crate) struct Inherited {
    pub(super) listeners: Listening,
    admin: Option<(Address, Socket)>,
    before: Predecessor,
}

/// The process before, which still serves.
pub(super) struct Predecessor {
    connection: UnixStream,
    path: PathBuf,
}

/// Asks the process that listens at `path` for its sockets; `None` if there is
/// none.
///
/// # Errors
/// When there is one, and it does not hand them over.
pub(crate) fn inherit(path: &Path) -> io::Result<Option<Inherited>> {
    let mut connection = match UnixStream::connect(path) {
        Ok(connection) => connection,
        Err(error) => {
            return match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(None),
                _ => Err(error),
            };
        }
    };
    connection.set_read_timeout(Some(TAKEOVER_TIMEOUT))?;
    connection.write_all(HELLO)?;
    let roles = read_list(&mut connection)?;
    let mut sockets = Vec::with_capacity(roles.len());
    while sockets.len() < roles.len() {
        sockets.extend(receive(&connection)?);
    }
    let mut inherited = Inherited {
        listeners: HashMap::new(),
        admin: None,
        before: Predecessor {
            connection,
            path: path.to_owned(),
        },
    };
    for (role, socket) in roles.into_iter().zip(sockets) {
        match role {
            Some(Role::Admin(address)) => inherited.admin = Some((address, socket.into())),
            Some(Role::Listener(key)) => {
                let group = inherited.listeners.entry(key).or_default();
                group.push(socket.into());
            }
            None => {}
        }
    }
    Ok(Some(inherited))
}

impl Inherited {
    /// The admin's socket, if it is the one for this address.
    pub(super) fn admin(&mut self, address: &Address) -> Option<Socket> {
        let admin = self.admin.take_if(|(of, _)| of == address);
        admin.map(|(_, socket)| socket)
    }

    /// The process that all of it is from. What is not `taken` is closed; these are the
    /// paths of files that are left of it.
    pub(super) fn into_rest(
        self,
        taken: impl Fn(&ListenerKey) -> bool,
    ) -> (Vec<String>, Predecessor) {
        let left = self.listeners.into_keys().filter(|key| !taken(key));
        let listeners = left.filter_map(|key| match key {
            ListenerKey::Address(address) => Some(address),
            ListenerKey::Name(_) | ListenerKey::Unbound(_) => None,
        });
        let all = listeners.chain(self.admin.map(|(address, _)| address));
        let path = |address: Address| address.unix()?.path().map(str::to_owned);
        (all.filter_map(path).collect(), self.before)
    }
}

impl Predecessor {
    /// Tells it that this process serves; returns when it accepts no more. If it has
    /// ended in the meantime, that is as good.
    ///
    /// # Errors
    /// When it is there and serves on.
    pub(super) fn replace(mut self) -> io::Result<()> {
        let mut answer = [0; GOODBYE.len()];
        let said = self.connection.write_all(SERVING);
        let replaced = said.and_then(|()| self.connection.read_exact(&mut answer));
        match replaced {
            Ok(()) if answer == *GOODBYE => Ok(()),
            // It has given up waiting, or it is dead.
            _ if UnixStream::connect(&self.path).is_err() => Ok(()),
            _ => Err(io::Error::other(
                "the process that is to be replaced has given up waiting, and serves on",
            )),
        }
    }
}

/// Where another process can ask for the sockets of this one.
pub(super) struct Door(tokio::net::UnixListener);

impl Door {
    /// Takes the place of whatever is at `path`. Only this user can connect.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut own = path.as_os_str().to_owned();
        own.push(format!(".{}", std::process::id()));
        let own = PathBuf::from(own);
        let _ = std::fs::remove_file(&own);
        let listener = tokio::net::UnixListener::bind(&own)?;
        std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o600))?;
        std::fs::rename(&own, path)?;
        Ok(Self(listener))
    }

    /// Returns when another process has connected.
    pub(super) async fn knocked(&self) -> io::Result<UnixStream> {
        let (connection, _) = self.0.accept().await?;
        let connection = connection.into_std()?;
        connection.set_nonblocking(false)?;
        Ok(connection)
    }
}

/// Hands `sockets` to the process at the other end; returns when that serves.
pub(super) fn hand_over(
    mut connection: UnixStream,
    sockets: Vec<(Role, Socket)>,
) -> io::Result<UnixStream> {
    connection.set_read_timeout(Some(TAKEOVER_HELLO_TIMEOUT))?;
    connection.set_write_timeout(Some(TAKEOVER_TIMEOUT))?;
    expect(&mut connection, HELLO)?;
    let roles = sockets.iter().map(|(role, _)| role.to_json()).collect();
    let list = Json::Array(roles).to_string();
    let length = u32::try_from(list.len()).map_err(io::Error::other)?;
    connection.write_all(&length.to_be_bytes())?;
    connection.write_all(list.as_bytes())?;
    for some in sockets.chunks(TAKEOVER_SOCKETS_PER_MESSAGE) {
        let fds: Vec<RawFd> = some.iter().map(|(_, socket)| socket.as_raw_fd()).collect();
        let rights = [ControlMessage::ScmRights(&fds)];
        let byte = [IoSlice::new(&[0])];
        sendmsg::<()>(
            connection.as_raw_fd(),
            &byte,
            &rights,
            MsgFlags::empty(),
            None,
        )?;
    }
    drop(sockets);
    connection.set_read_timeout(Some(TAKEOVER_TIMEOUT))?;
    expect(&mut connection, SERVING)?;
    Ok(connection)
}

/// Says that this process accepts no more.
pub(super) fn say_goodbye(mut connection: UnixStream) -> io::Result<()> {
    connection.write_all(GOODBYE)
}

fn expect(connection: &mut UnixStream, words: &[u8]) -> io::Result<()> {
    let mut read = vec![0; words.len()];
    connection.read_exact(&mut read)?;
    if read == words {
        Ok(())
    } else {
        let message = "the other process speaks another protocol";
        Err(io::Error::new(io::ErrorKind::InvalidData, message))
    }
}

/// What the sockets are for that come next.
fn read_list(connection: &mut UnixStream) -> io::Result<Vec<Option<Role>>> {
    let mut length = [0; 4];
    connection.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > TAKEOVER_LIST_MAX_BYTES {
        return Err(io::Error::other("the list of sockets is too long"));
    }
    let mut list = vec![0; length];
    connection.read_exact(&mut list)?;
    let roles: Vec<Json> = serde_json::from_slice(&list)?;
    Ok(roles.iter().map(Role::of_json).collect())
}

/// Receives the sockets of one message.
#[allow(unsafe_code)]
fn receive(connection: &UnixStream) -> io::Result<Vec<OwnedFd>> {
    let mut byte = [0];
    let mut buffers = [IoSliceMut::new(&mut byte)];
    let mut space = nix::cmsg_space!([RawFd; TAKEOVER_SOCKETS_PER_MESSAGE]);
    let message = recvmsg::<()>(
        connection.as_raw_fd(),
        &mut buffers,
        Some(&mut space),
        MsgFlags::MSG_CMSG_CLOEXEC,
    )?;
    let mut sockets = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = control {
            // SAFETY: the kernel has just made these descriptors for this process,
            // and nothing else knows them.
            let owned = |fd| unsafe { OwnedFd::from_raw_fd(fd) };
            sockets.extend(fds.into_iter().map(owned));
        }
    }
    if sockets.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn roles_are_the_same_after_the_way() {
        let inet = Address::of_written("[::1]:80").unwrap();
        let unix = Address::of_written("unix:/run/weir.sock").unwrap();
        for role in [
            Role::Admin(inet.clone()),
            Role::Admin(unix.clone()),
            Role::Listener(ListenerKey::Address(inet)),
            Role::Listener(ListenerKey::Address(unix)),
            Role::Listener(ListenerKey::Name("edge".to_owned())),
        ] {
            assert_eq!(Role::of_json(&role.to_json()), Some(role));
        }
        assert_eq!(Role::of_json(&json!({ "udp": "x" })), None);
    }

    #[test]
    fn more_sockets_than_fit_into_a_message_arrive_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("takeover");
        let door = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let count = 2 * TAKEOVER_SOCKETS_PER_MESSAGE + 1;
        let listeners: Vec<_> = (0..count)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let old = listeners.iter().map(|listener| {
            let key = ListenerKey::Name(listener.local_addr().unwrap().to_string());
            (Role::Listener(key), listener.try_clone().unwrap().into())
        });
        let old: Vec<_> = old.collect();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (connection, _) = door.accept().unwrap();
                let connection = hand_over(connection, old).unwrap();
                say_goodbye(connection).unwrap();
            });
            let inherited = inherit(&path).unwrap().unwrap();
            assert_eq!(inherited.listeners.len(), count);
            for (key, sockets) in &inherited.listeners {
                let address = sockets[0].local_addr().unwrap().as_socket().unwrap();
                assert_eq!(*key, ListenerKey::Name(address.to_string()));
            }
            inherited.into_rest(|_| false).1.replace().unwrap();
        });
    }

    #[test]
    fn a_path_at_which_nobody_listens_is_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("takeover");
        assert!(inherit(&path).unwrap().is_none());
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(inherit(&path).unwrap().is_none());
    }
}
