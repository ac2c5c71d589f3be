//! The hostcalls of all versions of the ABI and of WASI preview 1, as they are.

type Ptr = *const u8;
type Out<T> = *mut T;

#[link(wasm_import_module = "env")]
#[rustfmt::skip]
unsafe extern "C" {
    pub fn proxy_log(level: u32, message: Ptr, length: usize) -> u32;
    pub fn proxy_get_current_time_nanoseconds(time: Out<u64>) -> u32;
    pub fn proxy_get_status(code: Out<u32>, message: Out<Ptr>, length: Out<usize>) -> u32;
    pub fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    pub fn proxy_set_effective_context(context: u32) -> u32;
    pub fn proxy_done() -> u32;

    pub fn proxy_get_property(path: Ptr, path_length: usize, value: Out<Ptr>, length: Out<usize>) -> u32;
    pub fn proxy_set_property(path: Ptr, path_length: usize, value: Ptr, length: usize) -> u32;

    pub fn proxy_get_buffer_bytes(buffer: u32, start: usize, max: usize, data: Out<Ptr>, length: Out<usize>) -> u32;
    pub fn proxy_get_buffer_status(buffer: u32, length: Out<usize>, flags: Out<u32>) -> u32;
    pub fn proxy_set_buffer_bytes(buffer: u32, start: usize, size: usize, data: Ptr, length: usize) -> u32;

    pub fn proxy_get_header_map_pairs(map: u32, data: Out<Ptr>, length: Out<usize>) -> u32;
    pub fn proxy_set_header_map_pairs(map: u32, data: Ptr, length: usize) -> u32;
    pub fn proxy_get_header_map_size(map: u32, size: Out<usize>) -> u32;
    pub fn proxy_get_header_map_value(map: u32, name: Ptr, name_length: usize, value: Out<Ptr>, length: Out<usize>) -> u32;
    pub fn proxy_add_header_map_value(map: u32, name: Ptr, name_length: usize, value: Ptr, length: usize) -> u32;
    pub fn proxy_replace_header_map_value(map: u32, name: Ptr, name_length: usize, value: Ptr, length: usize) -> u32;
    pub fn proxy_remove_header_map_value(map: u32, name: Ptr, name_length: usize) -> u32;

    pub fn proxy_send_local_response(code: u32, details: Ptr, details_length: usize, body: Ptr, body_length: usize,
        headers: Ptr, headers_length: usize, grpc_status: i32) -> u32;

    pub fn proxy_http_call(cluster: Ptr, cluster_length: usize, headers: Ptr, headers_length: usize, body: Ptr,
        body_length: usize, trailers: Ptr, trailers_length: usize, timeout: u32, token: Out<u32>) -> u32;
    pub fn proxy_grpc_call(target: Ptr, target_length: usize, service: Ptr, service_length: usize, method: Ptr,
        method_length: usize, metadata: Ptr, metadata_length: usize, message: Ptr, message_length: usize,
        timeout: u32, token: Out<u32>) -> u32;
    pub fn proxy_grpc_stream(target: Ptr, target_length: usize, service: Ptr, service_length: usize, method: Ptr,
        method_length: usize, metadata: Ptr, metadata_length: usize, token: Out<u32>) -> u32;
    pub fn proxy_grpc_send(token: u32, message: Ptr, length: usize, end: u32) -> u32;
    pub fn proxy_grpc_cancel(token: u32) -> u32;
    pub fn proxy_grpc_close(token: u32) -> u32;
    pub fn envoy_resolve_dns(name: Ptr, length: usize, token: Out<u32>) -> u32;

    pub fn proxy_get_shared_data(key: Ptr, key_length: usize, value: Out<Ptr>, length: Out<usize>, cas: Out<u32>) -> u32;
    pub fn proxy_set_shared_data(key: Ptr, key_length: usize, value: Ptr, length: usize, cas: u32) -> u32;
    pub fn proxy_register_shared_queue(name: Ptr, length: usize, queue: Out<u32>) -> u32;
    pub fn proxy_resolve_shared_queue(vm: Ptr, vm_length: usize, name: Ptr, length: usize, queue: Out<u32>) -> u32;
    pub fn proxy_enqueue_shared_queue(queue: u32, value: Ptr, length: usize) -> u32;
    pub fn proxy_dequeue_shared_queue(queue: u32, value: Out<Ptr>, length: Out<usize>) -> u32;

    pub fn proxy_define_metric(kind: u32, name: Ptr, length: usize, metric: Out<u32>) -> u32;
    pub fn proxy_increment_metric(metric: u32, by: i64) -> u32;
    pub fn proxy_record_metric(metric: u32, value: i64) -> u32;
    pub fn proxy_get_metric(metric: u32, value: Out<u64>) -> u32;

    pub fn proxy_call_foreign_function(name: Ptr, name_length: usize, argument: Ptr, argument_length: usize,
        result: Out<Ptr>, length: Out<usize>) -> u32;
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    pub fn clock_time_get(clock: u32, precision: u64, time: Out<u64>) -> u32;
    pub fn random_get(buffer: *mut u8, length: usize) -> u32;
    pub fn fd_write(fd: u32, vectors: *const [usize; 2], count: usize, written: Out<usize>) -> u32;
    pub fn environ_sizes_get(count: Out<usize>, size: Out<usize>) -> u32;
    pub fn environ_get(pointers: *mut *const u8, strings: *mut u8) -> u32;
    pub fn args_sizes_get(count: Out<usize>, size: Out<usize>) -> u32;
    pub fn proc_exit(code: u32);
}
