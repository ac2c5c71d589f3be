//! [`Server`]: an upstream that notes what comes in, and answers when it is told to.

use std::io::{self, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::message::{self, Incoming};

/// A request that has come in, and the connection that it came on.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) message: Arc<Incoming>,
    pub(super) connection: Arc<TcpStream>,
}

#[derive(Default)]
struct State {
    /// Requests that nobody has taken.
    asked: Mutex<Vec<Asked>>,
    /// Connections of bytes as they are.
    tcp: Mutex<Vec<Arc<TcpStream>>>,
}

/// An upstream; it serves as long as the process lives.
pub struct Server {
    address: SocketAddr,
    state: Arc<State>,
}

impl Server {
    /// One that is asked over HTTP/1.1.
    ///
    /// # Errors
    ///
    /// If it cannot listen.
    pub fn http() -> io::Result<Self> {
        Self::start(|state, connection| {
            // A connection that breaks off is a request that is cut short.
            let _ = serve(state, connection);
        })
    }

    /// One that takes connections and says nothing.
    ///
    /// # Errors
    ///
    /// If it cannot listen.
    pub fn tcp() -> io::Result<Self> {
        Self::start(|state, connection| {
            let mut open = state.tcp.lock().unwrap_or_else(PoisonError::into_inner);
            open.push(Arc::new(connection));
        })
    }

    fn start(serve: fn(&State, TcpStream)) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let state = Arc::<State>::default();
        let own = Arc::clone(&state);
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let state = Arc::clone(&own);
                thread::spawn(move || serve(&state, connection));
            }
        });
        Ok(Self { address, state })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Forgets what has come.
    pub(super) fn clear(&self) {
        let asked = self.state.asked.lock();
        asked.unwrap_or_else(PoisonError::into_inner).clear();
        let tcp = self.state.tcp.lock();
        tcp.unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Takes the oldest request that nobody has taken.
    pub(super) fn take(&self) -> Option<Asked> {
        let mut asked = self
            .state
            .asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        (!asked.is_empty()).then(|| asked.remove(0))
    }

    /// Requests that nobody has taken.
    pub(super) fn waiting(&self) -> usize {
        let asked = self.state.asked.lock();
        asked.unwrap_or_else(PoisonError::into_inner).len()
    }
}

fn serve(state: &State, connection: TcpStream) -> io::Result<()> {
    let mut input = BufReader::new(connection.try_clone()?);
    let connection = Arc::new(connection);
    let note = |message: &Arc<Incoming>| {
        let mut asked = state.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.push(Asked {
            message: Arc::clone(message),
            connection: Arc::clone(&connection),
        });
    };
    while message::read(&mut input, None, note)? {}
    Ok(())
}
