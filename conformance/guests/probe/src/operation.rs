//! What a script can do: the hostcalls, by short names.

use crate::answer::{Answer, given, number, status, unnumbered};
use crate::arguments::Arguments;
use crate::state::State;
use crate::text::show;
use crate::{abi, foreign, pairs, say, version, wasi};

/// Runs one operation and logs it with its outcome.
pub fn run(context: u32, words: &[String], returned: &mut u32) {
    let mut arguments = Arguments {
        context,
        words: words[1..].iter(),
    };
    match words[0].as_str() {
        "pause" => *returned = 1,
        "return" => *returned = arguments.u32(),
        "say" => say(&format!(". {}", words[1..].join(" "))),
        name => {
            let answer = hostcall(name, &mut arguments);
            let status = if name.starts_with("wasi_") {
                answer.status.to_string()
            } else {
                status(answer.status)
            };
            say(format!(". {} = {status} {}", words.join(" "), answer.text).trim_end());
        }
    }
}

// SAFETY, for all of the calls below: every pointer is that of a live slice or
// variable, and the host writes no more than the ABI says.
#[allow(clippy::too_many_lines)]
fn hostcall(name: &str, a: &mut Arguments<'_>) -> Answer {
    match name {
        "get" => {
            let (map, key) = (a.map(), a.bytes());
            given(
                |data, len| unsafe {
                    abi::proxy_get_header_map_value(map, key.as_ptr(), key.len(), data, len)
                },
                show,
            )
        }
        "set" => {
            let (map, k, v) = (a.map(), a.bytes(), a.bytes());
            unsafe {
                abi::proxy_replace_header_map_value(map, k.as_ptr(), k.len(), v.as_ptr(), v.len())
            }
            .into()
        }
        "add" => {
            let (map, k, v) = (a.map(), a.bytes(), a.bytes());
            unsafe {
                abi::proxy_add_header_map_value(map, k.as_ptr(), k.len(), v.as_ptr(), v.len())
            }
            .into()
        }
        "remove" => {
            let (map, k) = (a.map(), a.bytes());
            unsafe { abi::proxy_remove_header_map_value(map, k.as_ptr(), k.len()) }.into()
        }
        "pairs" => {
            let map = a.map();
            given(
                |data, len| unsafe { abi::proxy_get_header_map_pairs(map, data, len) },
                pairs::show,
            )
        }
        "set_pairs" => {
            let (map, p) = (a.map(), a.pairs());
            unsafe { abi::proxy_set_header_map_pairs(map, p.as_ptr(), p.len()) }.into()
        }
        "set_pairs_raw" => {
            let (map, p) = (a.map(), a.bytes());
            unsafe { abi::proxy_set_header_map_pairs(map, p.as_ptr(), p.len()) }.into()
        }
        "map_size" => {
            let (map, mut size) = (a.map(), 0);
            let status = unsafe { abi::proxy_get_header_map_size(map, &mut size) };
            Answer {
                status,
                text: if status == 0 {
                    size.to_string()
                } else {
                    String::new()
                },
            }
        }
        "read" => {
            let (buffer, start, max) = (a.buffer(), a.size(), a.size());
            given(
                |data, len| unsafe { abi::proxy_get_buffer_bytes(buffer, start, max, data, len) },
                show,
            )
        }
        "write" => {
            let (buffer, start, size, d) = (a.buffer(), a.size(), a.size(), a.bytes());
            unsafe { abi::proxy_set_buffer_bytes(buffer, start, size, d.as_ptr(), d.len()) }.into()
        }
        "buffer_status" => {
            let (buffer, mut length, mut flags) = (a.buffer(), 0, 0);
            let status = unsafe { abi::proxy_get_buffer_status(buffer, &mut length, &mut flags) };
            Answer {
                status,
                text: if status == 0 {
                    format!("{length} flags {flags}")
                } else {
                    String::new()
                },
            }
        }
        "reply" => {
            let (code, details, body, headers) = (a.u32(), a.bytes(), a.bytes(), a.pairs());
            let grpc_status = a
                .words
                .next()
                .and_then(|word| word.parse().ok())
                .unwrap_or(-1);
            unsafe {
                abi::proxy_send_local_response(
                    code,
                    details.as_ptr(),
                    details.len(),
                    body.as_ptr(),
                    body.len(),
                    headers.as_ptr(),
                    headers.len(),
                    grpc_status,
                )
            }
            .into()
        }
        "effective" => unsafe { abi::proxy_set_effective_context(a.context()) }.into(),
        "proxy_done" => unsafe { abi::proxy_done() }.into(),
        "property" => property(a, show),
        "property_number" => property(a, |bytes| match <[u8; 8]>::try_from(bytes) {
            Ok(bytes) => i64::from_le_bytes(bytes).to_string(),
            Err(_) => format!("{} bytes, no number", bytes.len()),
        }),
        "property_size" => property(a, |bytes| format!("{} bytes", bytes.len())),
        "property_kind" => property(a, |bytes| match bytes.len() {
            length @ (1 | 8) => format!("{length} bytes"),
            _ => "some bytes".to_owned(),
        }),
        "property_pairs" => property(a, pairs::show_sorted),
        "set_property" => {
            let (path, v) = (a.path(), a.bytes());
            unsafe { abi::proxy_set_property(path.as_ptr(), path.len(), v.as_ptr(), v.len()) }
                .into()
        }
        "tick_period" => unsafe { abi::proxy_set_tick_period_milliseconds(a.u32()) }.into(),
        "log" => {
            let (level, text) = (a.u32(), a.bytes());
            unsafe { abi::proxy_log(level, text.as_ptr(), text.len()) }.into()
        }
        "time" => {
            let mut time = 0;
            let status = unsafe { abi::proxy_get_current_time_nanoseconds(&mut time) };
            Answer {
                status,
                text: if time > 0 {
                    "some time".to_owned()
                } else {
                    String::new()
                },
            }
        }
        "call_status" => {
            let mut code = 0;
            let mut answer = given(
                |data, len| unsafe { abi::proxy_get_status(&mut code, data, len) },
                show,
            );
            answer.text = format!("{code} {}", answer.text);
            answer
        }
        "http_call" => {
            let (cluster, timeout) = (a.bytes(), a.u32());
            let (headers, body, trailers) = (a.pairs(), a.bytes(), a.pairs());
            number(|token| unsafe {
                abi::proxy_http_call(
                    cluster.as_ptr(),
                    cluster.len(),
                    headers.as_ptr(),
                    headers.len(),
                    body.as_ptr(),
                    body.len(),
                    trailers.as_ptr(),
                    trailers.len(),
                    timeout,
                    token,
                )
            })
        }
        "grpc_call" => {
            let (target, service, method, metadata) = (a.bytes(), a.bytes(), a.bytes(), a.pairs());
            let (message, timeout) = (a.bytes(), a.u32());
            number(|token| unsafe {
                abi::proxy_grpc_call(
                    target.as_ptr(),
                    target.len(),
                    service.as_ptr(),
                    service.len(),
                    method.as_ptr(),
                    method.len(),
                    metadata.as_ptr(),
                    metadata.len(),
                    message.as_ptr(),
                    message.len(),
                    timeout,
                    token,
                )
            })
        }
        "grpc_stream" => {
            let (target, service, method, metadata) = (a.bytes(), a.bytes(), a.bytes(), a.pairs());
            number(|token| unsafe {
                abi::proxy_grpc_stream(
                    target.as_ptr(),
                    target.len(),
                    service.as_ptr(),
                    service.len(),
                    method.as_ptr(),
                    method.len(),
                    metadata.as_ptr(),
                    metadata.len(),
                    token,
                )
            })
        }
        "grpc_send" => {
            let (token, message, end) = (a.u32(), a.bytes(), a.u32());
            unsafe { abi::proxy_grpc_send(token, message.as_ptr(), message.len(), end) }.into()
        }
        "grpc_cancel" => unsafe { abi::proxy_grpc_cancel(a.u32()) }.into(),
        "grpc_close" => unsafe { abi::proxy_grpc_close(a.u32()) }.into(),
        "resolve_dns" => {
            let name = a.bytes();
            number(|token| unsafe { abi::envoy_resolve_dns(name.as_ptr(), name.len(), token) })
        }
        "shared_get" => {
            let (key, mut cas) = (a.bytes(), 0);
            let mut answer = given(
                |data, len| unsafe {
                    abi::proxy_get_shared_data(key.as_ptr(), key.len(), data, len, &mut cas)
                },
                show,
            );
            State::set_last(cas);
            // the counter is one for the whole process
            if answer.status == 0 {
                answer.text += if cas == 0 { " cas 0" } else { "" };
            }
            answer
        }
        "shared_set" => {
            let (k, v, cas) = (a.bytes(), a.bytes(), a.u32());
            unsafe { abi::proxy_set_shared_data(k.as_ptr(), k.len(), v.as_ptr(), v.len(), cas) }
                .into()
        }
        "queue_register" => {
            let name = a.bytes();
            unnumbered(|queue| unsafe {
                abi::proxy_register_shared_queue(name.as_ptr(), name.len(), queue)
            })
        }
        "queue_resolve" => {
            let (vm, name) = (a.bytes(), a.bytes());
            unnumbered(|queue| unsafe {
                abi::proxy_resolve_shared_queue(
                    vm.as_ptr(),
                    vm.len(),
                    name.as_ptr(),
                    name.len(),
                    queue,
                )
            })
        }
        "queue_push" => {
            let (queue, v) = (a.u32(), a.bytes());
            unsafe { abi::proxy_enqueue_shared_queue(queue, v.as_ptr(), v.len()) }.into()
        }
        "queue_pop" => {
            let queue = a.u32();
            given(
                |data, len| unsafe { abi::proxy_dequeue_shared_queue(queue, data, len) },
                show,
            )
        }
        "metric" => {
            let (kind, name) = (a.one_of(&["counter", "gauge", "histogram"]), a.bytes());
            unnumbered(|id| unsafe {
                abi::proxy_define_metric(kind, name.as_ptr(), name.len(), id)
            })
        }
        "metric_add" => {
            let (id, by) = (a.u32(), a.number());
            unsafe { abi::proxy_increment_metric(id, by) }.into()
        }
        "metric_record" => {
            let (id, value) = (a.u32(), a.number());
            unsafe { abi::proxy_record_metric(id, value) }.into()
        }
        "metric_get" => {
            let (id, mut value) = (a.u32(), 0);
            let status = unsafe { abi::proxy_get_metric(id, &mut value) };
            Answer {
                status,
                text: if status == 0 {
                    value.to_string()
                } else {
                    String::new()
                },
            }
        }
        "foreign" => {
            let (function, v) = (a.bytes(), a.bytes());
            foreign::call(&function, &v, show)
        }
        "foreign_discard" => {
            let (function, v) = (a.bytes(), a.bytes());
            foreign::discard(&function, &v)
        }
        "foreign_words" => {
            let (function, v) = (a.bytes(), a.bytes());
            foreign::words(&function, &v)
        }
        "foreign_done" => {
            let (function, v) = (a.bytes(), a.bytes());
            foreign::call(&function, &v, |_| "some bytes".to_owned())
        }
        "cel_deep" => {
            let (unit, count) = (a.bytes(), a.size());
            foreign::evaluate(&unit.repeat(count), show)
        }
        "cel" => foreign::evaluate(&a.bytes(), show),
        "cel_number" => foreign::evaluate(&a.bytes(), |bytes| match <[u8; 8]>::try_from(bytes) {
            Ok(bytes) => i64::from_le_bytes(bytes).to_string(),
            Err(_) => format!("{} bytes, no number", bytes.len()),
        }),
        "cel_size" => foreign::evaluate(&a.bytes(), |bytes| format!("{} bytes", bytes.len())),
        "cel_pairs" => foreign::evaluate(&a.bytes(), pairs::show_sorted),
        "trap" => core::arch::wasm32::unreachable(),
        "loop" => loop {
            std::hint::spin_loop();
        },
        name => version::call(name, a).unwrap_or_else(|| wasi::call(name, a)),
    }
}

fn property(a: &mut Arguments<'_>, show: impl Fn(&[u8]) -> String) -> Answer {
    let path = a.path();
    given(
        |data, len| unsafe { abi::proxy_get_property(path.as_ptr(), path.len(), data, len) },
        show,
    )
}
