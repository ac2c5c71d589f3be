//! A filter that shows what filters are made of, in Rust; README.md tells what it does.

use std::rc::Rc;
use std::time::Duration;

use log::error;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Plugin::default()));
}}

#[derive(Default)]
struct Settings {
    greeting: String,
    find: String,
    replace: String,
    cluster: String,
}

impl Settings {
    fn read(text: &str) -> Result<Self, String> {
        let mut settings = Self::default();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let (name, value) = line.split_once('=').unwrap_or((line, ""));
            let setting = match name.trim() {
                "greeting" => &mut settings.greeting,
                "find" => &mut settings.find,
                "replace" => &mut settings.replace,
                "cluster" => &mut settings.cluster,
                other => return Err(format!("no such setting: {other}")),
            };
            value.trim().clone_into(setting);
        }
        if settings.greeting.is_empty() {
            return Err("there is no greeting".to_owned());
        }
        Ok(settings)
    }
}

#[derive(Default)]
struct Plugin {
    settings: Rc<Settings>,
}

impl Context for Plugin {}

impl RootContext for Plugin {
    fn on_configure(&mut self, _size: usize) -> bool {
        let bytes = self.get_plugin_configuration().unwrap_or_default();
        match Settings::read(&String::from_utf8_lossy(&bytes)) {
            Ok(settings) => {
                self.settings = Rc::new(settings);
                true
            }
            Err(reason) => {
                error!("tour: {reason}");
                false
            }
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream {
            settings: Rc::clone(&self.settings),
            rewrites: false,
        }))
    }
}

struct Stream {
    settings: Rc<Settings>,
    rewrites: bool,
}

impl Stream {
    fn respond(&self, status: u32, body: &[u8]) {
        let headers = vec![("content-type", "text/plain"), ("x-language", "rust")];
        self.send_http_response(status, headers, Some(body));
    }

    fn ask(&self, path: &str) {
        let cluster = self.settings.cluster.as_str();
        let headers = vec![
            (":method", "GET"),
            (":path", "/check"),
            (":authority", cluster),
            ("x-path", path),
        ];
        let timeout = Duration::from_secs(5);
        let called = self.dispatch_http_call(cluster, headers, None, vec![], timeout);
        if called.is_err() {
            self.respond(503, b"no answer\n");
        }
    }
}

impl Context for Stream {
    fn on_http_call_response(&mut self, _call: u32, headers: usize, size: usize, _trailers: usize) {
        let header = |name| match headers {
            0 => None, // there was no answer
            _ => self.get_http_call_response_header_bytes(name),
        };
        match header(":status").as_deref() {
            Some(b"200") => {
                if let Some(user) = header("x-user") {
                    self.add_http_request_header_bytes("x-user", &user);
                }
                self.resume_http_request();
            }
            None | Some([b'5', ..]) => self.respond(503, b"no answer\n"),
            Some(_) => {
                let body = self.get_http_call_response_body(0, size);
                self.respond(403, &body.unwrap_or_default());
            }
        }
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        self.add_http_request_header("x-greeting", &self.settings.greeting);
        // In bytes: the functions on strings panic when a value is not UTF-8.
        let path = self.get_http_request_header_bytes(":path");
        let path = path.unwrap_or_default();
        if path == b"/greeting" {
            self.respond(200, self.settings.greeting.as_bytes());
            return Action::Pause;
        }
        if !self.settings.cluster.is_empty() && path.starts_with(b"/private") {
            // Nobody but the service says who it is.
            self.remove_http_request_header("x-user");
            self.ask(&String::from_utf8_lossy(&path));
            return Action::Pause;
        }
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        self.add_http_response_header("x-greeting", &self.settings.greeting);
        if !self.settings.find.is_empty() && !end_of_stream {
            self.rewrites = true;
            self.remove_http_response_header("content-length");
        }
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        if !self.rewrites {
            return Action::Continue;
        }
        if !end_of_stream {
            return Action::Pause; // held, until all of it is there
        }
        let body = self.get_http_response_body(0, size).unwrap_or_default();
        let (find, replace) = (self.settings.find.as_bytes(), &self.settings.replace);
        let body = replaced(&body, find, replace.as_bytes());
        self.set_http_response_body(0, size, &body);
        Action::Continue
    }
}

/// Bodies are bytes: they need not be UTF-8.
fn replaced(body: &[u8], find: &[u8], replace: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body;
    while !rest.is_empty() {
        match rest.strip_prefix(find) {
            Some(behind) => {
                out.extend_from_slice(replace);
                rest = behind;
            }
            None => {
                out.push(rest[0]);
                rest = &rest[1..];
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_lines() {
        let settings = Settings::read("greeting = a b\n\n find=c\r\n").unwrap();
        assert_eq!((&*settings.greeting, &*settings.find), ("a b", "c"));
        assert!(Settings::read("find = c").is_err());
        assert!(Settings::read("greeting = a\nfnd = c").is_err());
    }

    #[test]
    fn everything_that_is_found_is_replaced() {
        assert_eq!(
            replaced(b"a cat, a ca, cat", b"cat", b"dog"),
            b"a dog, a ca, dog"
        );
        assert_eq!(replaced(b"catcat", b"cat", b""), b"");
    }
}
