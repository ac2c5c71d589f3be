//! The sockets of listeners: one for each worker, all bound to one address.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use weir_config::{Config, ConfigError};

use super::takeover::Listening;
use crate::generation::{Generation, ListenerKey};

/// Sockets that are bound: for each worker, those of the listeners that are new. There
/// are several for one listener where there were more workers before.
pub(super) type Sockets = Vec<Listening>;

/// Binds the listeners of `generation` that are not among those that are `bound`
/// already, nor `inherited`, and notes where all of them are.
///
/// # Errors
/// The first that cannot be bound, with its place in the configuration.
pub(super) fn bind(
    config: &Config,
    generation: &mut Generation,
    bound: &HashMap<ListenerKey, SocketAddr>,
    inherited: &mut Listening,
    workers: usize,
) -> Result<Sockets, ConfigError> {
    let mut sockets: Sockets = (0..workers).map(|_| HashMap::new()).collect();
    for listener in &generation.listeners {
        let key = listener.key();
        if let Some(address) = bound.get(&key) {
            generation.bound.insert(key, *address);
            continue;
        }
        if !listener.is_bound {
            for of_worker in &mut sockets {
                of_worker.entry(key.clone()).or_default();
            }
            generation.bound.insert(key, listener.address);
            continue;
        }
        let transparent = listener.original_dst.transparent;
        let group = match inherited.remove(&key) {
            Some(sockets) => complete(listener.address, transparent, sockets, workers),
            None => bind_group(listener.address, transparent, workers),
        };
        let group = group.map_err(|error| {
            let message = format!(
                "listener `{}` cannot bind {}: {error}",
                listener.name, listener.address
            );
            config.error(listener.address_span, message)
        })?;
        for (place, socket) in group.sockets.into_iter().enumerate() {
            let of_worker = sockets[place % workers].entry(key.clone());
            of_worker.or_default().push(socket);
        }
        generation.bound.insert(key, group.address);
    }
    Ok(sockets)
}

struct Bound {
    address: SocketAddr,
    sockets: Vec<Socket>,
}

/// A socket for each worker, all bound to one address; the kernel spreads
/// connections over them.
fn bind_group(address: SocketAddr, transparent: bool, count: usize) -> io::Result<Bound> {
    let mut bound = Bound {
        address,
        sockets: Vec::with_capacity(count),
    };
    for _ in 0..count {
        let socket = open(address, transparent)?;
        if bound.sockets.is_empty() {
            // Fails if any other process holds the address; sharing it is for
            // the workers of this one.
            probe(&socket, bound.address)?;
        }
        let socket = bind_shared(bound.address, transparent)?;
        if bound.address.port() == 0
            && let Some(actual) = socket.local_addr()?.as_socket()
        {
            bound.address = actual;
        }
        bound.sockets.push(socket);
    }
    Ok(bound)
}

/// The sockets that there are, and as many more as there are workers beyond them.
/// None is left out: connections may wait in its queue.
fn complete(
    address: SocketAddr,
    transparent: bool,
    mut sockets: Vec<Socket>,
    count: usize,
) -> io::Result<Bound> {
    let first = sockets.first().map(Socket::local_addr).transpose()?;
    let address = first.and_then(|a| a.as_socket()).unwrap_or(address);
    for socket in &sockets {
        set_transparent(socket, address, transparent)?;
    }
    while sockets.len() < count {
        sockets.push(bind_shared(address, transparent)?);
    }
    Ok(Bound { address, sockets })
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
