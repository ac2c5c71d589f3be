//! A name server that answers as a test wants it, by UDP and TCP.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{Name, RData, Record, RecordType};

/// What a name server says of a name.
#[derive(Debug, Clone)]
pub enum DnsAnswer {
    /// These addresses, of both kinds, hold so many seconds.
    Addresses(u32, Vec<IpAddr>),
    /// It is another name for so many seconds.
    Alias(u32, String),
    /// The server has a failure, or refuses to answer.
    Failure(ResponseCode),
    /// The server says nothing.
    Silence,
}

impl DnsAnswer {
    /// SERVFAIL.
    pub const SERVFAIL: Self = Self::Failure(ResponseCode::ServFail);

    /// Addresses that hold so many seconds.
    pub fn addresses(ttl: u32, addresses: &[&str]) -> Self {
        let addresses = addresses.iter().map(|address| address.parse().unwrap());
        Self::Addresses(ttl, addresses.collect())
    }
}

/// A question that a name server was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsQuestion {
    /// Complete, without the dot at its end.
    pub name: String,
    /// `A` or `AAAA`.
    pub kind: String,
    pub by_tcp: bool,
}

/// A name server. Names that it has not been told of do not exist.
pub struct DnsServer {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    names: HashMap<String, DnsAnswer>,
    questions: Vec<DnsQuestion>,
}

impl DnsServer {
    /// Starts one on a free port of 127.0.0.1.
    pub fn start() -> Self {
        let (udp, tcp) = bind();
        let server = Self {
            address: udp.local_addr().unwrap(),
            state: Arc::default(),
        };
        let state = Arc::clone(&server.state);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((length, client)) = udp.recv_from(&mut buffer) {
                if let Some(answer) = respond(&state, &buffer[..length], false) {
                    udp.send_to(&answer, client).unwrap();
                }
            }
        });
        let state = Arc::clone(&server.state);
        thread::spawn(move || {
            for stream in tcp.incoming().flatten() {
                let state = Arc::clone(&state);
                // A client that has gone is none of the test's business.
                thread::spawn(move || serve(&state, stream));
            }
        });
        server
    }

    /// Has a name be answered so from now on.
    pub fn set(&self, name: &str, answer: DnsAnswer) {
        let mut state = self.state.lock().unwrap();
        state.names.insert(name.to_owned(), answer);
    }

    /// Has a name not exist from now on.
    pub fn remove(&self, name: &str) {
        self.state.lock().unwrap().names.remove(name);
    }

    /// The questions so far.
    pub fn questions(&self) -> Vec<DnsQuestion> {
        self.state.lock().unwrap().questions.clone()
    }

    /// How many questions there have been for a name.
    pub fn count(&self, name: &str) -> usize {
        let questions = self.questions();
        questions.iter().filter(|q| q.name == name).count()
    }
}

/// Sockets of both kinds at one port.
fn bind() -> (UdpSocket, TcpListener) {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        // It may be taken; then another will do.
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
            return (udp, tcp);
        }
    }
}

fn serve(state: &Mutex<State>, mut stream: TcpStream) -> io::Result<()> {
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut question = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut question)?;
        if let Some(answer) = respond(state, &question, true) {
            let length = u16::try_from(answer.len()).unwrap();
            stream.write_all(&[&length.to_be_bytes(), &answer[..]].concat())?;
        }
    }
}

/// The answer to a question, unless there is to be none.
fn respond(state: &Mutex<State>, question: &[u8], by_tcp: bool) -> Option<Vec<u8>> {
    let question = Message::from_vec(question).unwrap();
    let query = question.queries[0].clone();
    let name = query.name().to_ascii().to_lowercase();
    let mut state = state.lock().unwrap();
    state.questions.push(DnsQuestion {
        name: name.trim_end_matches('.').to_owned(),
        kind: query.query_type().to_string(),
        by_tcp,
    });
    let mut response = Message::response(question.metadata.id, OpCode::Query);
    response.metadata.recursion_available = true;
    response.metadata.response_code = ResponseCode::NoError;
    response.add_query(query.clone());
    let mut owner = query.name().clone();
    loop {
        let key = owner.to_ascii();
        match state.names.get(key.trim_end_matches('.')) {
            Some(DnsAnswer::Addresses(ttl, addresses)) => {
                let of_kind = addresses.iter().filter(|address| match address {
                    IpAddr::V4(_) => query.query_type() == RecordType::A,
                    IpAddr::V6(_) => query.query_type() == RecordType::AAAA,
                });
                let record = |address: &IpAddr| {
                    Record::from_rdata(owner.clone(), *ttl, RData::from(*address))
                };
                response.add_answers(of_kind.map(record));
                break;
            }
            Some(DnsAnswer::Alias(ttl, target)) => {
                let target = Name::from_ascii(format!("{target}.")).unwrap();
                let data = RData::CNAME(CNAME(target.clone()));
                response.add_answer(Record::from_rdata(owner, *ttl, data));
                owner = target;
            }
            Some(DnsAnswer::Failure(code)) => {
                response.metadata.response_code = *code;
                break;
            }
            Some(DnsAnswer::Silence) => return None,
            None => {
                response.metadata.response_code = ResponseCode::NXDomain;
                break;
            }
        }
    }
    let bytes = response.to_vec().unwrap();
    if by_tcp || bytes.len() <= question.max_payload().into() {
        return Some(bytes);
    }
    response.answers.clear();
    response.metadata.truncation = true;
    Some(response.to_vec().unwrap())
}
