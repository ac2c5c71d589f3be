//! The sockets of listeners: for each worker, one that is bound to the address.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use weir_config::{Address, Config, ConfigError};

use super::takeover::Listening;
use crate::generation::{Generation, ListenerKey, ListenerSpec};
use crate::socket::{SocketFile, bind_unix};

/// The files of Unix sockets, by their listeners.
pub(super) type SocketFiles = HashMap<ListenerKey, SocketFile>;

/// Sockets that are bound.
pub(super) struct Sockets {
    /// For each worker, those of the listeners that are new. There are several for one
    /// listener where there were more workers before.
    pub(super) workers: Vec<Listening>,
    /// Of the listeners that are new, and not inherited.
    pub(super) files: SocketFiles,
}

/// Binds the listeners of `generation` that are not among those that are `bound`
/// already, nor `inherited`, and notes where all of them are.
///
/// # Errors
/// The first that cannot be bound, with its place in the configuration.
pub(super) fn bind(
    config: &Config,
    generation: &mut Generation,
    bound: &HashMap<ListenerKey, Address>,
    inherited: &Listening,
    workers: usize,
) -> Result<Sockets, ConfigError> {
    let mut sockets = Sockets {
        workers: (0..workers).map(|_| HashMap::new()).collect(),
        files: HashMap::new(),
    };
    for listener in &generation.listeners {
        let key = listener.key();
        if let Some(address) = bound.get(&key) {
            generation.bound.insert(key, address.clone());
            continue;
        }
        if !listener.is_bound {
            for of_worker in &mut sockets.workers {
                of_worker.entry(key.clone()).or_default();
            }
            generation.bound.insert(key, listener.address.clone());
            continue;
        }
        let transparent = listener.original_dst.transparent;
        let group = match inherited.get(&key) {
            // They are left where they are: what is bound now may come to nothing.
            Some(sockets) => complete(&listener.address, transparent, sockets, workers),
            None => bind_group(listener, workers),
        };
        let group = group.map_err(|error| {
            let message = format!(
                "listener `{}` cannot bind {}: {error}",
                listener.name, listener.address
            );
            config.error(listener.address_span, message)
        })?;
        for (place, socket) in group.sockets.into_iter().enumerate() {
            let of_worker = sockets.workers[place % workers].entry(key.clone());
            of_worker.or_default().push(socket);
        }
        if let Some(file) = group.file {
            sockets.files.insert(key.clone(), file);
        }
        generation.bound.insert(key, group.address);
    }
    Ok(sockets)
}

struct Bound {
    address: Address,
    sockets: Vec<Socket>,
    file: Option<SocketFile>,
}

/// A socket for each worker.
fn bind_group(listener: &ListenerSpec, count: usize) -> io::Result<Bound> {
    match &listener.address {
        Address::Ip(address) => bind_tcp(*address, listener.original_dst.transparent, count),
        Address::Unix(name) => {
            let (socket, file) = bind_unix(name, listener.mode)?;
            Ok(Bound {
                address: listener.address.clone(),
                sockets: shared(socket, count)?,
                file,
            })
        }
    }
}

/// Sockets that are all bound to one address; the kernel spreads connections over
/// them.
fn bind_tcp(address: SocketAddr, transparent: bool, count: usize) -> io::Result<Bound> {
    let mut address = address;
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count {
        let socket = open(address, transparent)?;
        if sockets.is_empty() {
            // Fails if any other process holds the address; sharing it is for
            // the workers of this one.
            probe(&socket, address)?;
        }
        let socket = bind_shared(address, transparent)?;
        if address.port() == 0
            && let Some(actual) = socket.local_addr()?.as_socket()
        {
            address = actual;
        }
        sockets.push(socket);
    }
    Ok(Bound {
        address: address.into(),
        sockets,
        file: None,
    })
}

/// The sockets that there are, and as many more as there are workers beyond them.
/// None is left out: connections may wait in its queue.
fn complete(
    address: &Address,
    transparent: bool,
    sockets: &[Socket],
    count: usize,
) -> io::Result<Bound> {
    let sockets = sockets.iter().map(Socket::try_clone);
    let mut sockets = sockets.collect::<io::Result<Vec<_>>>()?;
    if address.unix().is_some() {
        // All of them are one, and so is their queue.
        let socket = sockets.pop().ok_or(io::ErrorKind::NotFound)?;
        return Ok(Bound {
            address: address.clone(),
            sockets: shared(socket, count)?,
            file: None,
        });
    }
    let first = sockets.first().map(Socket::local_addr).transpose()?;
    let first = first.and_then(|address| address.as_socket());
    let address = first.or(address.inet()).ok_or(io::ErrorKind::NotFound)?;
    for socket in &sockets {
        set_transparent(socket, address, transparent)?;
    }
    while sockets.len() < count {
        sockets.push(bind_shared(address, transparent)?);
    }
    Ok(Bound {
        address: address.into(),
        sockets,
        file: None,
    })
}

/// One socket for several: a Unix socket cannot be bound twice.
fn shared(socket: Socket, count: usize) -> io::Result<Vec<Socket>> {
    let others = (1..count).map(|_| socket.try_clone());
    let mut sockets = others.collect::<io::Result<Vec<_>>>()?;
    sockets.push(socket);
    Ok(sockets)
}

/// A socket that shares its address with others.
fn bind_shared(address: SocketAddr, transparent: bool) -> io::Result<Socket> {
    let socket = open(address, transparent)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// A socket for an address, which need not be this machine's if it is `transparent`.
fn open(address: SocketAddr, transparent: bool) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if transparent {
        set_transparent(&socket, address, true)?;
    }
    Ok(socket)
}

fn set_transparent(socket: &Socket, address: SocketAddr, transparent: bool) -> io::Result<()> {
    match address {
        SocketAddr::V4(_) => socket.set_ip_transparent_v4(transparent),
        SocketAddr::V6(_) => socket.set_ip_transparent_v6(transparent),
    }
}

/// Whether `address` is free, without sharing.
fn probe(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if address.port() == 0 {
        return Ok(());
    }
    socket.bind(&address.into())
}
