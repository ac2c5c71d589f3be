// The host's functions as runtime.js calls them. One that the host refuses throws.

#include <stdlib.h>

#include "engine.h"
#include "proxy_wasm.h"

#define FUNCTION(name) \
  static JSValue name(JSContext *js, JSValueConst self, int count, JSValueConst *arguments)

// Bytes that QuickJS owns: UTF-8 of a string, or the memory of a Uint8Array.
typedef struct {
  const char *data;
  size_t length;
  bool is_string;
} bytes;

// Takes the bytes of a value; false, with an exception, if it has none.
static bool take(JSContext *js, JSValueConst value, bytes *taken) {
  taken->is_string = JS_GetTypedArrayType(value) != JS_TYPED_ARRAY_UINT8;
  taken->data = taken->is_string ? JS_ToCStringLen(js, &taken->length, value)
                                 : (const char *)JS_GetUint8Array(js, &taken->length, value);
  // An array of no bytes may have no memory.
  return taken->data || (!taken->is_string && taken->length == 0);
}

static void give_back(JSContext *js, bytes taken) {
  if (taken.is_string && taken.data) JS_FreeCString(js, taken.data);
}

static uint32_t number(JSContext *js, JSValueConst value) {
  uint32_t number = 0;
  JS_ToUint32(js, &number, value);
  return number;
}

static JSValue done(JSContext *js, proxy_status status, const char *function) {
  if (status == PROXY_OK) return JS_UNDEFINED;
  return JS_ThrowInternalError(js, "%s: the host says %d", function, status);
}

// What the host has handed over, as a string or as a Uint8Array.
static JSValue string(JSContext *js, char *data, size_t length) {
  JSValue value = JS_NewStringLen(js, data, length);
  free(data);
  return value;
}

static JSValue array(JSContext *js, char *data, size_t length) {
  JSValue value = JS_NewUint8ArrayCopy(js, (const uint8_t *)data, length);
  free(data);
  return value;
}

FUNCTION(host_log) {
  bytes text;
  if (!take(js, arguments[1], &text)) return JS_EXCEPTION;
  proxy_log(number(js, arguments[0]), text.data, text.length);
  give_back(js, text);
  return JS_UNDEFINED;
}

FUNCTION(host_effective) {
  return done(js, proxy_set_effective_context(number(js, arguments[0])), "set_effective_context");
}

FUNCTION(host_get) {
  bytes name;
  if (!take(js, arguments[1], &name)) return JS_EXCEPTION;
  char *value = NULL;
  size_t length = 0;
  proxy_status status = proxy_get_header_map_value(number(js, arguments[0]), name.data, name.length,
                                                   &value, &length);
  give_back(js, name);
  if (status == PROXY_NOT_FOUND) return JS_UNDEFINED;
  if (status != PROXY_OK) return done(js, status, "headers.get");
  return string(js, value, length);
}

// Adds or replaces a header.
static JSValue put(JSContext *js, JSValueConst *arguments, const char *function,
                   proxy_status (*host)(proxy_map, const char *, size_t, const char *, size_t)) {
  bytes name, value;
  if (!take(js, arguments[1], &name)) return JS_EXCEPTION;
  if (!take(js, arguments[2], &value)) return give_back(js, name), JS_EXCEPTION;
  proxy_status status = host(number(js, arguments[0]), name.data, name.length, value.data,
                             value.length);
  give_back(js, name), give_back(js, value);
  return done(js, status, function);
}

FUNCTION(host_add) { return put(js, arguments, "headers.add", proxy_add_header_map_value); }

FUNCTION(host_set) { return put(js, arguments, "headers.set", proxy_replace_header_map_value); }

FUNCTION(host_remove) {
  bytes name;
  if (!take(js, arguments[1], &name)) return JS_EXCEPTION;
  proxy_status status = proxy_remove_header_map_value(number(js, arguments[0]), name.data,
                                                      name.length);
  give_back(js, name);
  return done(js, status, "headers.remove");
}

FUNCTION(host_pairs) {
  char *encoded = NULL;
  size_t length = 0;
  proxy_status status = proxy_get_header_map_pairs(number(js, arguments[0]), &encoded, &length);
  if (status != PROXY_OK) return done(js, status, "headers");
  size_t many = proxy_pairs_count(encoded, length);
  proxy_pair *pairs = malloc(many * sizeof(proxy_pair) + 1);
  JSValue list = pairs ? JS_NewArray(js) : JS_ThrowOutOfMemory(js);
  if (pairs && !JS_IsException(list)) {
    if (many > 0) proxy_pairs_read(encoded, length, pairs);
    for (size_t i = 0; i < many; i++) {
      JSValue pair = JS_NewArray(js);
      JS_SetPropertyUint32(js, pair, 0, JS_NewStringLen(js, pairs[i].name, pairs[i].name_length));
      JS_SetPropertyUint32(js, pair, 1, JS_NewStringLen(js, pairs[i].value, pairs[i].value_length));
      JS_SetPropertyUint32(js, list, (uint32_t)i, pair);
    }
  }
  free(pairs), free(encoded);
  return list;
}

FUNCTION(host_read) {
  char *data = NULL;
  size_t length = 0;
  proxy_status status = proxy_get_buffer_bytes(number(js, arguments[0]), 0, SIZE_MAX, &data, &length);
  // There is no buffer where there is nothing.
  if (status != PROXY_OK && status != PROXY_NOT_FOUND) return done(js, status, "body");
  return array(js, data, length);
}

FUNCTION(host_write) {
  bytes body;
  if (!take(js, arguments[1], &body)) return JS_EXCEPTION;
  proxy_status status = proxy_set_buffer_bytes(number(js, arguments[0]), 0, SIZE_MAX, body.data,
                                               body.length);
  give_back(js, body);
  return done(js, status, "body.set");
}

FUNCTION(host_decode) {
  bytes text;
  if (!take(js, arguments[0], &text)) return JS_EXCEPTION;
  JSValue value = JS_NewStringLen(js, text.data, text.length);
  give_back(js, text);
  return value;
}

// Pairs as the host takes them, from an array of arrays of two strings.
static bool take_pairs(JSContext *js, JSValueConst list, bytes *encoded) {
  int64_t many = 0;
  if (JS_GetLength(js, list, &many) < 0) return false;
  proxy_pair *pairs = calloc((size_t)many + 1, sizeof(proxy_pair));
  bytes *parts = calloc(2 * (size_t)many + 1, sizeof(bytes));
  bool taken = pairs && parts;
  for (uint32_t i = 0; taken && i < 2 * many; i++) {
    JSValue pair = JS_GetPropertyUint32(js, list, i / 2);
    JSValue part = JS_GetPropertyUint32(js, pair, i % 2);
    taken = take(js, part, &parts[i]);
    JS_FreeValue(js, part), JS_FreeValue(js, pair);
  }
  *encoded = (bytes){0};
  if (taken) {
    for (int64_t i = 0; i < many; i++)
      pairs[i] = (proxy_pair){parts[2 * i].data, parts[2 * i].length, parts[2 * i + 1].data,
                              parts[2 * i + 1].length};
    encoded->length = proxy_pairs_size(pairs, (size_t)many);
    char *data = malloc(encoded->length);
    taken = data != NULL;
    if (taken) proxy_pairs_write(pairs, (size_t)many, data);
    encoded->data = data;
  }
  for (int64_t i = 0; parts && i < 2 * many; i++) give_back(js, parts[i]);
  free(pairs), free(parts);
  if (!taken && !JS_HasException(js)) JS_ThrowOutOfMemory(js);
  return taken;
}

FUNCTION(host_respond) {
  bytes headers, body;
  if (!take_pairs(js, arguments[1], &headers)) return JS_EXCEPTION;
  JSValue result = JS_EXCEPTION;
  if (take(js, arguments[2], &body)) {
    proxy_status status = proxy_send_local_response(number(js, arguments[0]), NULL, 0, body.data,
                                                    body.length, headers.data, headers.length, -1);
    give_back(js, body);
    result = done(js, status, "respond");
  }
  free((void *)headers.data);
  return result;
}

FUNCTION(host_call) {
  bytes cluster, headers, body;
  if (!take(js, arguments[0], &cluster)) return JS_EXCEPTION;
  if (!take_pairs(js, arguments[1], &headers)) return give_back(js, cluster), JS_EXCEPTION;
  JSValue result = JS_EXCEPTION;
  if (take(js, arguments[2], &body)) {
    uint32_t call = 0;
    proxy_status status = proxy_http_call(cluster.data, cluster.length, headers.data, headers.length,
                                          body.data, body.length, NULL, 0,
                                          number(js, arguments[3]), &call);
    give_back(js, body);
    result = status == PROXY_OK ? JS_NewUint32(js, call) : done(js, status, "fetch");
  }
  give_back(js, cluster), free((void *)headers.data);
  return result;
}

FUNCTION(host_resume) {
  return done(js, proxy_continue_stream(number(js, arguments[0])), "continue_stream");
}

FUNCTION(host_property) {
  bytes path;
  if (!take(js, arguments[0], &path)) return JS_EXCEPTION;
  char *value = NULL;
  size_t length = 0;
  proxy_status status = proxy_get_property(path.data, path.length, &value, &length);
  give_back(js, path);
  if (status == PROXY_NOT_FOUND) return JS_UNDEFINED;
  if (status != PROXY_OK) return done(js, status, "property");
  return array(js, value, length);
}

FUNCTION(host_jobs) {
  run_jobs(js);
  return JS_UNDEFINED;
}

static const JSCFunctionListEntry functions[] = {
    JS_CFUNC_DEF("log", 2, host_log),
    JS_CFUNC_DEF("effective", 1, host_effective),
    JS_CFUNC_DEF("get", 2, host_get),
    JS_CFUNC_DEF("add", 3, host_add),
    JS_CFUNC_DEF("set", 3, host_set),
    JS_CFUNC_DEF("remove", 2, host_remove),
    JS_CFUNC_DEF("pairs", 1, host_pairs),
    JS_CFUNC_DEF("read", 1, host_read),
    JS_CFUNC_DEF("write", 2, host_write),
    JS_CFUNC_DEF("decode", 1, host_decode),
    JS_CFUNC_DEF("respond", 3, host_respond),
    JS_CFUNC_DEF("call", 4, host_call),
    JS_CFUNC_DEF("resume", 1, host_resume),
    JS_CFUNC_DEF("property", 1, host_property),
    JS_CFUNC_DEF("jobs", 0, host_jobs),
};

JSValue host_functions(JSContext *js) {
  JSValue host = JS_NewObject(js);
  JS_SetPropertyFunctionList(js, host, functions, sizeof(functions) / sizeof(functions[0]));
  return host;
}
