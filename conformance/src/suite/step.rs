//! Steps of clients and upstreams: one line, one step.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::text::decode;

/// One step. What several steps in a row write goes out in one piece, unless
/// something is awaited between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// `POST /x | content-length: 3`: a client's request head.
    Request {
        method: String,
        path: String,
        headers: Vec<Header>,
    },
    /// `200 | content-length: 3`, or `200 Fine | …`: an upstream's response head;
    /// below 200 an interim one.
    Response {
        status: u16,
        reason: Option<String>,
        headers: Vec<Header>,
    },
    /// `body abc`: a piece of a body, a chunk if the message is chunked.
    Body(Vec<u8>),
    /// `last abc`: the same, and the end in the same frame where there are frames.
    Last(Vec<u8>),
    /// `end`: the end of a message without trailers.
    End,
    /// `trailers x: 1 | y: 2`
    Trailers(Vec<Header>),
    /// `raw …`: bytes as they are.
    Raw(Vec<u8>),
    /// `flush`: what follows goes out in another piece.
    Flush,
    /// `request`: a whole request is in (an upstream's first step by default).
    WholeRequest,
    /// `request_head`: the head of a request is in.
    RequestHead,
    /// `request_body abc`: so far the request's body contains this.
    RequestBody(Vec<u8>),
    /// `response`: the whole next response is in.
    WholeResponse,
    /// `response_head`: the head of the next response is in.
    ResponseHead,
    /// `response_body abc`: so far the response's body contains this.
    ResponseBody(Vec<u8>),
    /// `receive abc`: so far this has come on a raw connection.
    Receive(Vec<u8>),
    /// `receive_bytes 1000`: so many bytes have come on a raw connection.
    ReceiveBytes(usize),
    /// `await guest …`: some line of the guest contains this.
    AwaitGuest(String, usize),
    /// `await upstream …`: what the upstream has seen contains this.
    AwaitUpstream(String),
    /// `await client …`: what some client has seen contains this.
    AwaitClient(String),
    /// `silence 300`: nothing comes for so long.
    Silence(Duration),
    /// `stream 2`: go on with the second request of an HTTP/2 connection.
    Stream(usize),
    /// `connect`: go on with a new connection.
    Connect,
    /// `closed`: the other side closes the connection.
    Closed,
    /// `close`: ends the connection.
    Close,
    /// `half_close`: ends this side's half of the connection.
    HalfClose,
    /// `reset`, `reset CANCEL`: resets the connection, or the HTTP/2 stream.
    Reset(Option<String>),
}

/// Name and value.
pub type Header = (String, Vec<u8>);

impl Step {
    /// Reads a step.
    ///
    /// # Errors
    ///
    /// Shows the line.
    pub fn parse(line: &str) -> Result<Self> {
        Self::read(line).with_context(|| format!("step `{line}`"))
    }

    fn read(line: &str) -> Result<Self> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let text = || decode(rest);
        Ok(match verb {
            "body" => Self::Body(text()),
            "last" => Self::Last(text()),
            "end" => Self::End,
            "trailers" => Self::Trailers(headers(rest)?),
            "raw" => Self::Raw(text()),
            "flush" => Self::Flush,
            "request" => Self::WholeRequest,
            "request_head" => Self::RequestHead,
            "request_body" => Self::RequestBody(text()),
            "response" => Self::WholeResponse,
            "response_head" => Self::ResponseHead,
            "response_body" => Self::ResponseBody(text()),
            "receive" => Self::Receive(text()),
            "receive_bytes" => Self::ReceiveBytes(rest.parse()?),
            "await" => awaited(rest)?,
            "silence" => Self::Silence(Duration::from_millis(rest.parse()?)),
            "stream" => Self::Stream(rest.parse()?),
            "connect" => Self::Connect,
            "closed" => Self::Closed,
            "close" => Self::Close,
            "half_close" => Self::HalfClose,
            "reset" => Self::Reset((!rest.is_empty()).then(|| rest.to_owned())),
            _ if verb.starts_with(|c: char| c.is_ascii_digit()) => response(verb, rest)?,
            _ if verb.starts_with(|c: char| c.is_ascii_uppercase()) => request(verb, rest)?,
            _ => bail!("there is no step `{verb}`"),
        })
    }

    /// Whether it belongs to the message whose head came before it.
    #[must_use]
    pub fn continues_message(&self) -> bool {
        matches!(
            self,
            Self::Body(_) | Self::Last(_) | Self::End | Self::Trailers(_) | Self::Raw(_)
        )
    }
}

/// Whether the message that `steps[at]` belongs to ends with it: no step after it
/// goes on with it or cuts it short.
#[must_use]
pub fn ends_message(steps: &[Step], at: usize) -> bool {
    for step in &steps[at + 1..] {
        match step {
            step if step.continues_message() => return false,
            Step::Reset(_) | Step::Close | Step::HalfClose => return false,
            Step::Request { .. } | Step::Response { .. } => return true,
            _ => {}
        }
    }
    true
}

fn awaited(rest: &str) -> Result<Step> {
    let Some((whom, text)) = rest.split_once(' ') else {
        bail!("say `guest`, `upstream` or `client`, and what is awaited");
    };
    let (whom, times) = whom.split_once('#').unwrap_or((whom, "1"));
    Ok(match whom {
        "guest" => Step::AwaitGuest(text.to_owned(), times.parse()?),
        "upstream" => Step::AwaitUpstream(text.to_owned()),
        "client" => Step::AwaitClient(text.to_owned()),
        _ => bail!("`{whom}` is none of `guest`, `upstream` and `client`"),
    })
}

fn request(method: &str, rest: &str) -> Result<Step> {
    let (path, fields) = rest.split_once(" | ").unwrap_or((rest, ""));
    Ok(Step::Request {
        method: method.to_owned(),
        path: path.trim().to_owned(),
        headers: headers(fields)?,
    })
}

fn response(status: &str, rest: &str) -> Result<Step> {
    let (reason, fields) = match rest.split_once("| ") {
        Some((reason, fields)) => (reason.trim(), fields),
        None => (rest, ""),
    };
    Ok(Step::Response {
        status: status.parse()?,
        reason: (!reason.is_empty()).then(|| reason.to_owned()),
        headers: headers(fields)?,
    })
}

/// `a: 1 | b: 2`
fn headers(text: &str) -> Result<Vec<Header>> {
    let fields = text.split(" | ").filter(|field| !field.is_empty());
    fields
        .map(
            |field| match field.find(": ").or_else(|| field.rfind(':')) {
                Some(at) => Ok((
                    field[..at].to_owned(),
                    decode(field[at + 1..].strip_prefix(' ').unwrap_or("")),
                )),
                None => bail!("`{field}` is no header field, write `name: value`"),
            },
        )
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_has_method_path_and_headers() {
        let headers = vec![
            ("a".to_owned(), b"1 2".to_vec()),
            (":b".to_owned(), Vec::new()),
        ];
        assert_eq!(
            Step::parse("POST /x?y | a: 1 2 | :b:").unwrap(),
            Step::Request {
                method: "POST".to_owned(),
                path: "/x?y".to_owned(),
                headers
            }
        );
    }

    #[test]
    fn response_may_have_a_reason_of_its_own() {
        let step = |status, reason: Option<&str>| Step::Response {
            status,
            reason: reason.map(str::to_owned),
            headers: Vec::new(),
        };
        assert_eq!(Step::parse("204").unwrap(), step(204, None));
        assert_eq!(Step::parse("200 So so").unwrap(), step(200, Some("So so")));
    }

    #[test]
    fn unknown_step_is_refused() {
        let error = format!("{:#}", Step::parse("wiggle").unwrap_err());
        assert_eq!(error, "step `wiggle`: there is no step `wiggle`");
    }
}
