//! The messages. Of `envoy.service.auth.v3` (`external_auth.proto`), the fields
//! that are used here, by their numbers there.

use std::collections::BTreeMap;

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct CheckRequest {
    #[prost(message, optional, tag = "1")]
    attributes: Option<AttributeContext>,
}

#[derive(Clone, PartialEq, Message)]
struct AttributeContext {
    #[prost(message, optional, tag = "4")]
    request: Option<Request>,
}

#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, optional, tag = "2")]
    http: Option<HttpRequest>,
}

#[derive(Clone, PartialEq, Message)]
struct HttpRequest {
    #[prost(string, tag = "2")]
    method: String,
    #[prost(btree_map = "string, string", tag = "3")]
    headers: BTreeMap<String, String>,
    #[prost(string, tag = "4")]
    path: String,
    #[prost(string, tag = "5")]
    host: String,
    #[prost(string, tag = "6")]
    scheme: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct CheckResponse {
    /// None at all is as good as 0.
    #[prost(message, optional, tag = "1")]
    status: Option<RpcStatus>,
    #[prost(message, optional, tag = "2")]
    denied: Option<DeniedHttpResponse>,
    #[prost(message, optional, tag = "3")]
    ok: Option<OkHttpResponse>,
}

#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct DeniedHttpResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<HttpStatus>,
    #[prost(message, repeated, tag = "2")]
    headers: Vec<HeaderValueOption>,
    #[prost(string, tag = "3")]
    body: String,
}

#[derive(Clone, PartialEq, Message)]
struct HttpStatus {
    #[prost(int32, tag = "1")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct OkHttpResponse {
    #[prost(message, repeated, tag = "2")]
    headers: Vec<HeaderValueOption>,
}

#[derive(Clone, PartialEq, Message)]
struct HeaderValueOption {
    #[prost(message, optional, tag = "1")]
    header: Option<HeaderValue>,
}

#[derive(Clone, PartialEq, Message)]
struct HeaderValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

impl CheckRequest {
    /// The request with these headers, of which a later one of a name is joined
    /// to the first.
    pub(crate) fn new(all: Vec<(String, String)>) -> Self {
        let mut http = HttpRequest::default();
        for (name, value) in all {
            match &*name {
                ":method" => http.method = value,
                ":path" => http.path = value,
                ":authority" => http.host = value,
                ":scheme" => http.scheme = value,
                _ => {
                    let joined = http.headers.entry(name).or_default();
                    if !joined.is_empty() {
                        joined.push(',');
                    }
                    joined.push_str(&value);
                }
            }
        }
        let request = Some(Request { http: Some(http) });
        Self {
            attributes: Some(AttributeContext { request }),
        }
    }
}

/// What a service has answered.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    /// The request may pass, with these headers set.
    Pass(Vec<(String, String)>),
    Deny {
        status: u32,
        headers: Vec<(String, String)>,
        body: String,
    },
}

/// Status of a refusal that names none (`external_auth.proto`).
const FORBIDDEN: u32 = 403;

impl From<CheckResponse> for Verdict {
    fn from(response: CheckResponse) -> Self {
        let allowed = response.status.is_none_or(|status| status.code == 0);
        if allowed {
            return Self::Pass(pairs(response.ok.unwrap_or_default().headers));
        }
        let denied = response.denied.unwrap_or_default();
        let status = denied.status.and_then(|s| u32::try_from(s.code).ok());
        Self::Deny {
            status: status
                .filter(|s| (200..600).contains(s))
                .unwrap_or(FORBIDDEN),
            headers: pairs(denied.headers),
            body: denied.body,
        }
    }
}

fn pairs(options: Vec<HeaderValueOption>) -> Vec<(String, String)> {
    let headers = options.into_iter().filter_map(|option| option.header);
    headers.map(|h| (h.key, h.value)).collect()
}

/// What is reported of one request: `weir.audit.v1.Entry`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Entry {
    #[prost(string, tag = "1")]
    pub(crate) method: String,
    #[prost(string, tag = "2")]
    pub(crate) path: String,
    #[prost(uint32, tag = "3")]
    pub(crate) status: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.into(), value.into())
    }

    #[test]
    fn a_request_has_the_bytes_of_the_published_message() {
        let request =
            CheckRequest::new(vec![pair(":method", "GET"), pair("a", "1"), pair("a", "2")]);
        let http = b"\x12\x03GET\x1a\x08\x0a\x01a\x12\x031,2";
        let length = http.len() as u8;
        let around = [
            &[0x0a, length + 4, 0x22, length + 2, 0x12, length][..],
            http,
        ];
        assert_eq!(request.encode_to_vec(), around.concat());
    }

    #[test]
    fn no_status_lets_pass() {
        let response = CheckResponse::decode(&b"\x1a\x0a\x12\x08\x0a\x06\x0a\x01x\x12\x01y"[..]);
        let verdict = Verdict::from(response.unwrap());
        assert_eq!(verdict, Verdict::Pass(vec![pair("x", "y")]));
    }

    #[test]
    fn a_refusal_without_status_is_403() {
        let response = CheckResponse::decode(&b"\x0a\x02\x08\x07\x12\x04\x1a\x02no"[..]).unwrap();
        let Verdict::Deny { status, body, .. } = response.into() else {
            panic!("it passes");
        };
        assert_eq!((status, &*body), (403, "no"));
    }
}
