//! What a client says first with TLS (RFC 8446, 4.1.2), without a judgement on it: who
//! speaks TLS with it may know versions and extensions that nobody here does.

use super::Inspected;
use super::inspect::Found;

/// Type of records of a handshake, and of a `ClientHello` in it.
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;

/// Extensions (RFC 6066, 3; RFC 7301, 3.1), and a name of a host in the first.
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const HOST_NAME: u8 = 0;

/// Whether a connection that begins with `bytes` begins with a `ClientHello`, and what
/// that asks for.
pub(super) fn read(bytes: &[u8]) -> Found {
    let (message, may_go_on) = handshake(bytes);
    let mut message = Reader(&message);
    let incomplete = || if may_go_on { Found::NotYet } else { Found::No };
    match message.byte() {
        Some(CLIENT_HELLO) => {}
        Some(_) => return Found::No,
        None => return incomplete(),
    }
    let length = message.take(3).map(number);
    let Some(body) = length.and_then(|length| message.take(length)) else {
        return incomplete();
    };
    client_hello(Reader(body)).map_or(Found::No, Found::Yes)
}

/// What the records of a handshake hold, as far as they have come, and whether more of
/// them may: no others have.
fn handshake(bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut records = Reader(bytes);
    let mut message = Vec::new();
    while let Some(kind) = records.byte() {
        let major = records.byte();
        if kind != HANDSHAKE || major.is_some_and(|major| major != 3) {
            return (message, false);
        }
        let (_minor, length) = (records.byte(), records.take(2));
        let Some(length) = length.map(number) else {
            break;
        };
        let there = length.min(records.0.len());
        message.extend_from_slice(records.take(there).unwrap_or_default());
    }
    (message, true)
}

/// `None` if it is malformed.
fn client_hello(mut hello: Reader<'_>) -> Option<Inspected> {
    let mut inspected = Inspected {
        is_tls: true,
        ..Inspected::default()
    };
    let (_version, _random) = (hello.take(2)?, hello.take(32)?);
    let (_session, _suites, _compression) = (hello.vector(1)?, hello.vector(2)?, hello.vector(1)?);
    if hello.0.is_empty() {
        return Some(inspected);
    }
    let mut extensions = Reader(hello.vector(2)?);
    while !extensions.0.is_empty() {
        let kind = extensions.take(2).map(number)?;
        let mut data = Reader(extensions.vector(2)?);
        if kind == usize::from(SERVER_NAME) {
            let mut names = Reader(data.vector(2)?);
            while !names.0.is_empty() {
                let kind = names.byte()?;
                let name = String::from_utf8_lossy(names.vector(2)?);
                if kind == HOST_NAME {
                    inspected.server_name = name.to_ascii_lowercase();
                }
            }
        } else if kind == usize::from(ALPN) {
            let mut names = Reader(data.vector(2)?);
            while !names.0.is_empty() {
                let name = String::from_utf8_lossy(names.vector(1)?);
                inspected.protocols.push(name.into_owned());
            }
        }
    }
    Some(inspected)
}

fn number(bytes: &[u8]) -> usize {
    let digit = |number, byte: &u8| number << 8 | usize::from(*byte);
    bytes.iter().fold(0, digit)
}

/// Bytes that are read from their beginning.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// What has its length, in so many bytes, in front.
    fn vector(&mut self, width: usize) -> Option<&'a [u8]> {
        let length = self.take(width).map(number)?;
        self.take(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(width: usize, bytes: &[u8]) -> Vec<u8> {
        let length = bytes.len().to_be_bytes();
        [&length[length.len() - width..], bytes].concat()
    }

    /// The body of a `ClientHello` with these extensions.
    fn body(extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let extension =
            |(kind, data): &(u16, Vec<u8>)| [&kind.to_be_bytes()[..], &vector(2, data)].concat();
        let extensions: Vec<u8> = extensions.iter().flat_map(extension).collect();
        [
            &[3, 1][..],
            &[7; 32],
            &vector(1, &[]),
            &vector(2, &[0, 0x2f]),
            &vector(1, &[0]),
            &vector(2, &extensions),
        ]
        .concat()
    }

    /// A message in records of at most `size` bytes.
    fn records(kind: u8, body: &[u8], size: usize) -> Vec<u8> {
        let message = [&[kind][..], &vector(3, body)].concat();
        let record = |part: &[u8]| [&[HANDSHAKE, 3, 1][..], &vector(2, part)].concat();
        message.chunks(size).flat_map(record).collect()
    }

    fn hello() -> Vec<u8> {
        let name = [&[HOST_NAME][..], &vector(2, b"A-.Example")].concat();
        let protocols = [vector(1, b"h2"), vector(1, b"x")].concat();
        body(&[
            (99, vec![1, 2, 3]),
            (SERVER_NAME, vector(2, &name)),
            (ALPN, vector(2, &protocols)),
        ])
    }

    #[test]
    fn a_hello_tells_its_name_and_protocols_in_whatever_records() {
        for size in [1, 7, 100, 10_000] {
            let bytes = records(CLIENT_HELLO, &hello(), size);
            let Found::Yes(inspected) = read(&bytes) else {
                panic!("records of {size}")
            };
            assert!(inspected.is_tls);
            assert_eq!(inspected.server_name, "a-.example");
            assert_eq!(inspected.protocols, ["h2", "x"]);
            for end in 0..bytes.len() {
                assert!(matches!(read(&bytes[..end]), Found::NotYet), "{size} {end}");
            }
            let more = [&bytes[..], b"\x14\x03\x01 and so on"].concat();
            assert!(matches!(read(&more), Found::Yes(_)));
        }
    }

    #[test]
    fn a_hello_need_not_ask_for_anything() {
        let bare = body(&[]);
        // Nor have extensions at all, as those of old.
        for body in [&bare[..], &bare[..bare.len() - 2]] {
            let Found::Yes(inspected) = read(&records(CLIENT_HELLO, body, 100)) else {
                panic!("{body:?}")
            };
            assert!(inspected.is_tls && inspected.server_name.is_empty());
        }
    }

    #[test]
    fn what_is_no_hello_is_told_from_one_that_is_not_there_yet() {
        for bytes in [&b"GET / HTTP/1.1\r\n"[..], &[22, 2, 0], &[21, 3, 1]] {
            assert!(matches!(read(bytes), Found::No), "{bytes:?}");
        }
        assert!(matches!(read(&records(2, &hello(), 100)), Found::No));
        let half = &records(CLIENT_HELLO, &hello(), 50)[..55];
        let broken = [half, b"\x15\x03\x01\0\x02\x02\x28"].concat();
        assert!(matches!(read(&broken), Found::No));
        let cut = records(CLIENT_HELLO, &hello()[..50], 100);
        assert!(matches!(read(&cut), Found::No));
    }
}
