// The proxy-wasm ABI 0.2.1 for filters in C and C++. Nothing but this file is needed: a
// compiler for wasm32 turns what is declared here into imports and exports.
//
// Functions of the host have the names that the ABI gives them; only those that are used
// become imports. A filter exports its callbacks by PROXY_EXPORT:
//
//     PROXY_ABI_VERSION
//     PROXY_EXPORT(proxy_on_request_headers)
//     proxy_action on_request_headers(uint32_t stream, uint32_t count, uint32_t end) { … }
//
// What the host hands over lies in memory that it has had allocated by the filter, which
// has to free it; PROXY_ALLOCATOR gives it `malloc`. Bytes of length 0 have no memory.
#ifndef PROXY_WASM_H
#define PROXY_WASM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PROXY_EXPORT(name) __attribute__((export_name(#name)))
#define PROXY_IMPORT(name) __attribute__((import_module("env"), import_name(#name)))

// Once in a filter: what tells hosts the version of the ABI.
#define PROXY_ABI_VERSION \
  PROXY_EXPORT(proxy_abi_version_0_2_1) void proxy_abi_version_0_2_1(void) {}

// Once in a filter, with <stdlib.h>: where the host puts what it hands over.
#define PROXY_ALLOCATOR \
  PROXY_EXPORT(proxy_on_memory_allocate) void *proxy_on_memory_allocate(size_t size) { \
    return malloc(size); \
  }

typedef enum {
  PROXY_OK = 0,
  PROXY_NOT_FOUND = 1,
  PROXY_BAD_ARGUMENT = 2,
  PROXY_SERIALIZATION_FAILURE = 3,
  PROXY_PARSE_FAILURE = 4,
  PROXY_BAD_EXPRESSION = 5,
  PROXY_INVALID_MEMORY_ACCESS = 6,
  PROXY_EMPTY = 7,
  PROXY_CAS_MISMATCH = 8,
  PROXY_RESULT_MISMATCH = 9,
  PROXY_INTERNAL_FAILURE = 10,
  PROXY_BROKEN_CONNECTION = 11,
  PROXY_UNIMPLEMENTED = 12,
} proxy_status;

// What callbacks on headers, bodies, trailers and data return. A pause in a callback on a
// body holds what has come, and the next call is shown all of it.
typedef enum { PROXY_CONTINUE = 0, PROXY_PAUSE = 1 } proxy_action;

typedef enum {
  PROXY_LOG_TRACE = 0,
  PROXY_LOG_DEBUG = 1,
  PROXY_LOG_INFO = 2,
  PROXY_LOG_WARN = 3,
  PROXY_LOG_ERROR = 4,
  PROXY_LOG_CRITICAL = 5,
} proxy_log_level;

typedef enum {
  PROXY_REQUEST_HEADERS = 0,
  PROXY_REQUEST_TRAILERS = 1,
  PROXY_RESPONSE_HEADERS = 2,
  PROXY_RESPONSE_TRAILERS = 3,
  PROXY_GRPC_INITIAL_METADATA = 4,
  PROXY_GRPC_TRAILING_METADATA = 5,
  PROXY_CALL_RESPONSE_HEADERS = 6,
  PROXY_CALL_RESPONSE_TRAILERS = 7,
} proxy_map;

typedef enum {
  PROXY_REQUEST_BODY = 0,
  PROXY_RESPONSE_BODY = 1,
  PROXY_DOWNSTREAM_DATA = 2,
  PROXY_UPSTREAM_DATA = 3,
  PROXY_CALL_RESPONSE_BODY = 4,
  PROXY_GRPC_MESSAGE = 5,
  PROXY_VM_CONFIGURATION = 6,
  PROXY_PLUGIN_CONFIGURATION = 7,
  PROXY_CALL_DATA = 8,
} proxy_buffer;

typedef enum {
  PROXY_REQUEST = 0,
  PROXY_RESPONSE = 1,
  PROXY_DOWNSTREAM = 2,
  PROXY_UPSTREAM = 3,
} proxy_stream;

typedef enum { PROXY_COUNTER = 0, PROXY_GAUGE = 1, PROXY_HISTOGRAM = 2 } proxy_metric;

// Callbacks, none of which has to be there. `end` is 1 at the end of a stream, sizes are
// in bytes, and those with a result of bool return 0 for a refusal.
//
//   proxy_on_context_create(context, parent)            parent 0: a plugin's root context
//   proxy_on_vm_start(root, configuration_size) -> bool
//   proxy_on_configure(root, configuration_size) -> bool
//   proxy_on_tick(root)
//   proxy_on_queue_ready(root, queue)
//   proxy_on_request_headers(stream, count, end) -> proxy_action
//   proxy_on_request_body(stream, size, end) -> proxy_action
//   proxy_on_request_trailers(stream, count) -> proxy_action
//   proxy_on_response_headers(stream, count, end) -> proxy_action
//   proxy_on_response_body(stream, size, end) -> proxy_action
//   proxy_on_response_trailers(stream, count) -> proxy_action
//   proxy_on_new_connection(stream) -> proxy_action
//   proxy_on_downstream_data(stream, size, end) -> proxy_action
//   proxy_on_upstream_data(stream, size, end) -> proxy_action
//   proxy_on_downstream_connection_close(stream, peer)
//   proxy_on_upstream_connection_close(stream, peer)
//   proxy_on_http_call_response(root, call, headers, body_size, trailers)
//                                                       0 headers: there was no answer
//   proxy_on_grpc_receive_initial_metadata(root, call, count)
//   proxy_on_grpc_receive(root, call, size)
//   proxy_on_grpc_receive_trailing_metadata(root, call, count)
//   proxy_on_grpc_close(root, call, status)
//   proxy_on_foreign_function(root, function, size)
//   proxy_on_done(context) -> bool                      0: proxy_done will be called later
//   proxy_on_log(stream)
//   proxy_on_delete(context)

// The log, the clock (nanoseconds since 1970), and ticks of a root context.
PROXY_IMPORT(proxy_log)
proxy_status proxy_log(proxy_log_level level, const char *text, size_t length);
PROXY_IMPORT(proxy_get_log_level)
proxy_status proxy_get_log_level(proxy_log_level *level);
PROXY_IMPORT(proxy_get_current_time_nanoseconds)
proxy_status proxy_get_current_time_nanoseconds(uint64_t *now);
PROXY_IMPORT(proxy_set_tick_period_milliseconds)
proxy_status proxy_set_tick_period_milliseconds(uint32_t period);

// Contexts: what follows is for this one until the callback returns.
PROXY_IMPORT(proxy_set_effective_context)
proxy_status proxy_set_effective_context(uint32_t context);
PROXY_IMPORT(proxy_done)
proxy_status proxy_done(void);

// Header maps. Of several values of a name, `get` gives the first and `replace` leaves one.
PROXY_IMPORT(proxy_get_header_map_value)
proxy_status proxy_get_header_map_value(proxy_map map, const char *name, size_t name_length,
                                        char **value, size_t *value_length);
PROXY_IMPORT(proxy_add_header_map_value)
proxy_status proxy_add_header_map_value(proxy_map map, const char *name, size_t name_length,
                                        const char *value, size_t value_length);
PROXY_IMPORT(proxy_replace_header_map_value)
proxy_status proxy_replace_header_map_value(proxy_map map, const char *name, size_t name_length,
                                            const char *value, size_t value_length);
PROXY_IMPORT(proxy_remove_header_map_value)
proxy_status proxy_remove_header_map_value(proxy_map map, const char *name, size_t name_length);
PROXY_IMPORT(proxy_get_header_map_pairs)
proxy_status proxy_get_header_map_pairs(proxy_map map, char **pairs, size_t *length);
PROXY_IMPORT(proxy_set_header_map_pairs)
proxy_status proxy_set_header_map_pairs(proxy_map map, const char *pairs, size_t length);
PROXY_IMPORT(proxy_get_header_map_size)
proxy_status proxy_get_header_map_size(proxy_map map, size_t *size);

// Buffers. A write at 0 takes the place of so many bytes, one at the end appends.
PROXY_IMPORT(proxy_get_buffer_bytes)
proxy_status proxy_get_buffer_bytes(proxy_buffer buffer, size_t start, size_t length,
                                    char **bytes, size_t *bytes_length);
PROXY_IMPORT(proxy_get_buffer_status)
proxy_status proxy_get_buffer_status(proxy_buffer buffer, size_t *length, uint32_t *flags);
PROXY_IMPORT(proxy_set_buffer_bytes)
proxy_status proxy_set_buffer_bytes(proxy_buffer buffer, size_t start, size_t length,
                                    const char *bytes, size_t bytes_length);

// Streams. A `grpc_status` of -1 is none; `headers` are pairs.
PROXY_IMPORT(proxy_continue_stream)
proxy_status proxy_continue_stream(proxy_stream stream);
PROXY_IMPORT(proxy_close_stream)
proxy_status proxy_close_stream(proxy_stream stream);
PROXY_IMPORT(proxy_send_local_response)
proxy_status proxy_send_local_response(uint32_t status, const char *details,
                                       size_t details_length, const char *body,
                                       size_t body_length, const char *headers,
                                       size_t headers_length, int32_t grpc_status);

// Properties: names of a path are divided by NUL.
PROXY_IMPORT(proxy_get_property)
proxy_status proxy_get_property(const char *path, size_t path_length, char **value,
                                size_t *value_length);
PROXY_IMPORT(proxy_set_property)
proxy_status proxy_set_property(const char *path, size_t path_length, const char *value,
                                size_t value_length);

// Callouts; headers need :method, :path and :authority.
PROXY_IMPORT(proxy_http_call)
proxy_status proxy_http_call(const char *cluster, size_t cluster_length, const char *headers,
                             size_t headers_length, const char *body, size_t body_length,
                             const char *trailers, size_t trailers_length,
                             uint32_t timeout_milliseconds, uint32_t *call);
PROXY_IMPORT(proxy_grpc_call)
proxy_status proxy_grpc_call(const char *cluster, size_t cluster_length, const char *service,
                             size_t service_length, const char *method, size_t method_length,
                             const char *metadata, size_t metadata_length, const char *message,
                             size_t message_length, uint32_t timeout_milliseconds,
                             uint32_t *call);
PROXY_IMPORT(proxy_grpc_stream)
proxy_status proxy_grpc_stream(const char *cluster, size_t cluster_length, const char *service,
                               size_t service_length, const char *method, size_t method_length,
                               const char *metadata, size_t metadata_length, uint32_t *call);
PROXY_IMPORT(proxy_grpc_send)
proxy_status proxy_grpc_send(uint32_t call, const char *message, size_t length, uint32_t end);
PROXY_IMPORT(proxy_grpc_cancel)
proxy_status proxy_grpc_cancel(uint32_t call);
PROXY_IMPORT(proxy_grpc_close)
proxy_status proxy_grpc_close(uint32_t call);
PROXY_IMPORT(proxy_get_status)
proxy_status proxy_get_status(uint32_t *status, char **message, size_t *length);

// Data and queues that VMs of one id share. A `cas` of 0 sets whatever is there.
PROXY_IMPORT(proxy_get_shared_data)
proxy_status proxy_get_shared_data(const char *key, size_t key_length, char **value,
                                   size_t *value_length, uint32_t *cas);
PROXY_IMPORT(proxy_set_shared_data)
proxy_status proxy_set_shared_data(const char *key, size_t key_length, const char *value,
                                   size_t value_length, uint32_t cas);
PROXY_IMPORT(proxy_register_shared_queue)
proxy_status proxy_register_shared_queue(const char *name, size_t length, uint32_t *queue);
PROXY_IMPORT(proxy_resolve_shared_queue)
proxy_status proxy_resolve_shared_queue(const char *vm_id, size_t vm_id_length,
                                        const char *name, size_t name_length, uint32_t *queue);
PROXY_IMPORT(proxy_enqueue_shared_queue)
proxy_status proxy_enqueue_shared_queue(uint32_t queue, const char *item, size_t length);
PROXY_IMPORT(proxy_dequeue_shared_queue)
proxy_status proxy_dequeue_shared_queue(uint32_t queue, char **item, size_t *length);

// Metrics.
PROXY_IMPORT(proxy_define_metric)
proxy_status proxy_define_metric(proxy_metric kind, const char *name, size_t length,
                                 uint32_t *metric);
PROXY_IMPORT(proxy_increment_metric)
proxy_status proxy_increment_metric(uint32_t metric, int64_t by);
PROXY_IMPORT(proxy_record_metric)
proxy_status proxy_record_metric(uint32_t metric, uint64_t value);
PROXY_IMPORT(proxy_get_metric)
proxy_status proxy_get_metric(uint32_t metric, uint64_t *value);

// Functions that only some hosts have, by their names.
PROXY_IMPORT(proxy_call_foreign_function)
proxy_status proxy_call_foreign_function(const char *name, size_t name_length,
                                         const char *argument, size_t argument_length,
                                         char **result, size_t *result_length);

// Pairs are how header maps are handed over as a whole: the number of pairs, the lengths of
// all names and values, then names and values, each with a NUL behind it.
typedef struct {
  const char *name;
  size_t name_length;
  const char *value;
  size_t value_length;
} proxy_pair;

// A pair of two string literals.
#define PROXY_PAIR(name, value) {(name), sizeof(name) - 1, (value), sizeof(value) - 1}

// Bytes that `count` pairs take.
static inline size_t proxy_pairs_size(const proxy_pair *pairs, size_t count) {
  size_t size = 4;
  for (size_t i = 0; i < count; i++) size += 8 + pairs[i].name_length + pairs[i].value_length + 2;
  return size;
}

// Writes pairs to `bytes`, which has room for proxy_pairs_size of them.
static inline void proxy_pairs_write(const proxy_pair *pairs, size_t count, char *bytes) {
  uint32_t number = (uint32_t)count;
  __builtin_memcpy(bytes, &number, 4);
  char *lengths = bytes + 4, *text = bytes + 4 + 8 * count;
  for (size_t i = 0; i < count; i++) {
    uint32_t both[2] = {(uint32_t)pairs[i].name_length, (uint32_t)pairs[i].value_length};
    __builtin_memcpy(lengths + 8 * i, both, 8);
    __builtin_memcpy(text, pairs[i].name, both[0]);
    text[both[0]] = 0;
    text += both[0] + 1;
    __builtin_memcpy(text, pairs[i].value, both[1]);
    text[both[1]] = 0;
    text += both[1] + 1;
  }
}

// The number of pairs in what the host has handed over.
static inline size_t proxy_pairs_count(const char *bytes, size_t length) {
  uint32_t number = 0;
  if (length >= 4) __builtin_memcpy(&number, bytes, 4);
  return number;
}

// Finds where each pair is; `pairs` has room for all of them.
static inline void proxy_pairs_read(const char *bytes, size_t length, proxy_pair *pairs) {
  size_t count = proxy_pairs_count(bytes, length);
  const char *text = bytes + 4 + 8 * count;
  for (size_t i = 0; i < count; i++) {
    uint32_t both[2];
    __builtin_memcpy(both, bytes + 4 + 8 * i, 8);
    proxy_pair pair = {text, both[0], text + both[0] + 1, both[1]};
    pairs[i] = pair;
    text += both[0] + both[1] + 2;
  }
}

#ifdef __cplusplus
}
#endif
#endif
