//! The sockets of listeners: one for each worker, all bound to one address.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use weir_config::{Config, ConfigError};

use crate::generation::{Generation, ListenerKey};

/// Sockets that are bound and do not listen yet: for each worker, those of the
/// listeners that are new.
pub(super) type Sockets = Vec<HashMap<ListenerKey, Socket>>;

/// Binds the listeners of `generation` that are not among those that are `bound`
/// already, and notes where all of them are.
///
/// # Errors
/// The first that cannot be bound, with its place in the configuration.
pub(super) fn bind(
    config: &Config,
    generation: &mut Generation,
    bound: &HashMap<ListenerKey, SocketAddr>,
    workers: usize,
) -> Result<Sockets, ConfigError> {
    let mut sockets: Sockets = (0..workers).map(|_| HashMap::new()).collect();
    for listener in &generation.listeners {
        let key = listener.key();
        if let Some(address) = bound.get(&key) {
            generation.bound.insert(key, *address);
            continue;
        }
        let group = bind_group(listener.address, workers).map_err(|error| {
            let message = format!(
                "listener `{}` cannot bind {}: {error}",
                listener.name, listener.address
            );
            config.error(listener.address_span, message)
        })?;
        for (worker, socket) in sockets.iter_mut().zip(group.sockets) {
            worker.insert(key.clone(), socket);
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
fn bind_group(address: SocketAddr, count: usize) -> io::Result<Bound> {
    let mut bound = Bound {
        address,
        sockets: Vec::with_capacity(count),
    };
    for _ in 0..count {
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if bound.sockets.is_empty() {
            // Fails if any other process holds the address; sharing it is for
            // the workers of this one.
            probe(&socket, bound.address)?;
        }
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        socket.bind(&bound.address.into())?;
        if bound.address.port() == 0
            && let Some(actual) = socket.local_addr()?.as_socket()
        {
            bound.address = actual;
        }
        bound.sockets.push(socket);
    }
    Ok(bound)
}

/// Whether `address` is free, without sharing.
fn probe(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if address.port() == 0 {
        return Ok(());
    }
    socket.bind(&address.into())
}
