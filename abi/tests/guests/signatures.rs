//! Every function of the ABI with its type, written down from the ABI itself
//! and not from the crate: `i` is an `i32`, `I` an `i64`.

/// What a hostcall hands back beside its status. The pointers for it are the
/// last parameters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Out {
    Nothing,
    /// Address and length of a block.
    Bytes,
    Word,
    TwoWords,
    LongWord,
    /// Address and length of a block, and a word.
    BytesAndWord,
}

impl Out {
    pub fn pointers(self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Word | Self::LongWord => 1,
            Self::Bytes | Self::TwoWords => 2,
            Self::BytesAndWord => 3,
        }
    }
}

/// Name, parameters, what it hands back. All of them return an `i32`.
pub const HOSTCALLS: &[(&str, &str, Out)] = &[
    ("proxy_log", "iii", Out::Nothing),
    ("proxy_get_log_level", "i", Out::Word),
    ("proxy_get_current_time_nanoseconds", "i", Out::LongWord),
    ("proxy_set_tick_period_milliseconds", "i", Out::Nothing),
    ("proxy_get_configuration", "ii", Out::Bytes),
    ("proxy_get_status", "iii", Out::Nothing),
    ("proxy_set_effective_context", "i", Out::Nothing),
    ("proxy_done", "", Out::Nothing),
    ("proxy_get_property", "iiii", Out::Bytes),
    ("proxy_set_property", "iiii", Out::Nothing),
    ("proxy_get_buffer_bytes", "iiiii", Out::Bytes),
    ("proxy_get_buffer_status", "iii", Out::TwoWords),
    ("proxy_set_buffer_bytes", "iiiii", Out::Nothing),
    ("proxy_get_header_map_pairs", "iii", Out::Bytes),
    ("proxy_set_header_map_pairs", "iii", Out::Nothing),
    ("proxy_get_header_map_value", "iiiii", Out::Bytes),
    ("proxy_add_header_map_value", "iiiii", Out::Nothing),
    ("proxy_replace_header_map_value", "iiiii", Out::Nothing),
    ("proxy_remove_header_map_value", "iii", Out::Nothing),
    ("proxy_get_header_map_size", "ii", Out::Word),
    ("proxy_continue_stream", "i", Out::Nothing),
    ("proxy_continue_request", "", Out::Nothing),
    ("proxy_continue_response", "", Out::Nothing),
    ("proxy_clear_route_cache", "", Out::Nothing),
    ("proxy_close_stream", "i", Out::Nothing),
    ("proxy_send_local_response", "iiiiiiii", Out::Nothing),
    ("proxy_http_call", "iiiiiiiiii", Out::Word),
    ("proxy_grpc_call", "iiiiiiiiiiii", Out::Word),
    ("proxy_grpc_stream", "iiiiiiiii", Out::Word),
    ("proxy_grpc_send", "iiii", Out::Nothing),
    ("proxy_grpc_cancel", "i", Out::Nothing),
    ("proxy_grpc_close", "i", Out::Nothing),
    ("proxy_get_shared_data", "iiiii", Out::BytesAndWord),
    ("proxy_set_shared_data", "iiiii", Out::Nothing),
    ("proxy_register_shared_queue", "iii", Out::Word),
    ("proxy_resolve_shared_queue", "iiiii", Out::Word),
    ("proxy_enqueue_shared_queue", "iii", Out::Nothing),
    ("proxy_dequeue_shared_queue", "iii", Out::Bytes),
    ("proxy_define_metric", "iiii", Out::Word),
    ("proxy_increment_metric", "iI", Out::Nothing),
    ("proxy_record_metric", "iI", Out::Nothing),
    ("proxy_get_metric", "ii", Out::LongWord),
    ("proxy_call_foreign_function", "iiiiii", Out::Bytes),
    ("envoy_resolve_dns", "iii", Out::Word),
    ("pthread_equal", "ii", Out::Nothing),
];

/// Name, parameters, and the errno when every argument is 0.
pub const WASI: &[(&str, &str, u32)] = &[
    ("args_get", "ii", 0),
    ("args_sizes_get", "ii", 0),
    ("environ_get", "ii", 0),
    ("environ_sizes_get", "ii", 0),
    ("clock_res_get", "ii", 0),
    ("clock_time_get", "iIi", 0),
    ("random_get", "ii", 0),
    ("sched_yield", "", 0),
    ("poll_oneoff", "iiii", 0),
    ("proc_raise", "i", 52),
    ("fd_write", "iiii", 8),
    ("fd_pwrite", "iiiIi", 8),
    ("fd_read", "iiii", 52),
    ("fd_pread", "iiiIi", 52),
    ("fd_seek", "iIii", 0),
    ("fd_tell", "ii", 8),
    ("fd_close", "i", 0),
    ("fd_fdstat_get", "ii", 8),
    ("fd_fdstat_set_flags", "ii", 52),
    ("fd_fdstat_set_rights", "iII", 8),
    ("fd_filestat_get", "ii", 8),
    ("fd_filestat_set_size", "iI", 8),
    ("fd_filestat_set_times", "iIIi", 8),
    ("fd_advise", "iIIi", 0),
    ("fd_allocate", "iII", 8),
    ("fd_datasync", "i", 8),
    ("fd_sync", "i", 8),
    ("fd_prestat_get", "ii", 8),
    ("fd_prestat_dir_name", "iii", 52),
    ("fd_readdir", "iiiIi", 20),
    ("fd_renumber", "ii", 8),
    ("path_open", "iiiiiIIii", 44),
    ("path_create_directory", "iii", 58),
    ("path_filestat_get", "iiiii", 58),
    ("path_filestat_set_times", "iiiiIIi", 58),
    ("path_link", "iiiiiii", 58),
    ("path_readlink", "iiiiii", 58),
    ("path_remove_directory", "iii", 58),
    ("path_rename", "iiiiii", 58),
    ("path_symlink", "iiiii", 58),
    ("path_unlink_file", "iii", 58),
    ("sock_accept", "iii", 58),
    ("sock_recv", "iiiiii", 58),
    ("sock_send", "iiiii", 58),
    ("sock_shutdown", "ii", 58),
];

/// Name, parameters, whether there is a result, and which by default.
pub const CALLBACKS: &[(&str, usize, Option<u32>)] = &[
    ("proxy_on_context_create", 2, None),
    ("proxy_on_vm_start", 2, Some(1)),
    ("proxy_on_configure", 2, Some(1)),
    ("proxy_on_tick", 1, None),
    ("proxy_on_queue_ready", 2, None),
    ("proxy_on_request_headers", 3, Some(0)),
    ("proxy_on_request_body", 3, Some(0)),
    ("proxy_on_request_trailers", 2, Some(0)),
    ("proxy_on_response_headers", 3, Some(0)),
    ("proxy_on_response_body", 3, Some(0)),
    ("proxy_on_response_trailers", 2, Some(0)),
    ("proxy_on_http_call_response", 5, None),
    ("proxy_on_grpc_receive_initial_metadata", 3, None),
    ("proxy_on_grpc_receive", 3, None),
    ("proxy_on_grpc_receive_trailing_metadata", 3, None),
    ("proxy_on_grpc_close", 3, None),
    ("envoy_on_resolve_dns", 3, None),
    ("proxy_on_done", 1, Some(1)),
    ("proxy_on_log", 1, None),
    ("proxy_on_delete", 1, None),
    ("_initialize", 0, None),
    ("_start", 0, None),
    ("main", 2, Some(0)),
    ("__main_void", 0, Some(0)),
];

/// Parameters in text form.
pub fn params(letters: &str) -> String {
    letters
        .chars()
        .map(|c| if c == 'I' { " i64" } else { " i32" })
        .collect()
}
