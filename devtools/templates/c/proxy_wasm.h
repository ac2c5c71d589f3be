// The part of the proxy-wasm ABI 0.2.1 that the filter uses; `weir filter inspect` tells
// what else there is.
#pragma once

#define IMPORT(name) __attribute__((import_module("env"), import_name(#name)))
#define EXPORT(name) __attribute__((export_name(#name)))

enum { STATUS_OK = 0 };
enum { ACTION_CONTINUE = 0, ACTION_PAUSE = 1 };
enum { LOG_ERROR = 4 };
enum { PLUGIN_CONFIGURATION = 7 };
enum { REQUEST_HEADERS = 0, RESPONSE_HEADERS = 2 };

IMPORT(proxy_log) int proxy_log(int level, const char *message, unsigned length);

IMPORT(proxy_get_buffer_bytes)
int proxy_get_buffer_bytes(int buffer, unsigned start, unsigned length, char **bytes,
                           unsigned *bytes_length);

IMPORT(proxy_get_header_map_value)
int proxy_get_header_map_value(int map, const char *name, unsigned name_length, char **value,
                               unsigned *value_length);

IMPORT(proxy_replace_header_map_value)
int proxy_replace_header_map_value(int map, const char *name, unsigned name_length,
                                   const char *value, unsigned value_length);

IMPORT(proxy_send_local_response)
int proxy_send_local_response(int status, const char *details, unsigned details_length,
                              const char *body, unsigned body_length, const char *headers,
                              unsigned headers_length, int grpc_status);
