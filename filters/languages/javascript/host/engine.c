// A filter in JavaScript: QuickJS with a script, and the host's callbacks that lead to it.

#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "proxy_wasm.h"

PROXY_ABI_VERSION
PROXY_ALLOCATOR

// QuickJS wants a NUL behind a script.
static const char runtime_source[] = {
#embed "runtime.js"
    , 0};
static const char filter_source[] = {
#embed FILTER_SCRIPT
    , 0};

static JSContext *js;

// The callbacks, by their names.
static JSValue callbacks;

// Logs the exception that has come out of the engine, and ends the VM.
static _Noreturn void fail(void) {
  JSValue exception = JS_GetException(js);
  size_t length = 0;
  const char *text = JS_ToCStringLen(js, &length, exception);
  if (text) proxy_log(PROXY_LOG_CRITICAL, text, length);
  JSValue stack = JS_IsError(exception) ? JS_GetPropertyStr(js, exception, "stack") : JS_UNDEFINED;
  text = JS_IsString(stack) ? JS_ToCStringLen(js, &length, stack) : NULL;
  if (text) proxy_log(PROXY_LOG_CRITICAL, text, length);
  __builtin_trap();
}

static JSValue checked(JSValue value) {
  if (JS_IsException(value)) fail();
  return value;
}

void run_jobs(JSContext *js) {
  JSContext *of;
  int done;
  do done = JS_ExecutePendingJob(JS_GetRuntime(js), &of);
  while (done > 0);
  if (done < 0) fail();
}

// The script is a module; what it exports are the callbacks that it wants.
static JSValue exports(void) {
  int flags = JS_EVAL_TYPE_MODULE | JS_EVAL_FLAG_COMPILE_ONLY;
  JSValue module = checked(JS_Eval(js, filter_source, sizeof(filter_source) - 1, FILTER_NAME, flags));
  JSModuleDef *definition = JS_VALUE_GET_PTR(module);
  JSValue done = checked(JS_EvalFunction(js, module));
  run_jobs(js);
  if (JS_PromiseState(js, done) == JS_PROMISE_REJECTED) {
    JS_Throw(js, JS_PromiseResult(js, done));
    fail();
  }
  JS_FreeValue(js, done);
  return checked(JS_GetModuleNamespace(js, definition));
}

static void start(void) {
  JSRuntime *runtime = JS_NewRuntime();
  js = runtime ? JS_NewContext(runtime) : NULL;
  if (!js) __builtin_trap();
  JSValue host = host_functions(js);
  JSValue make = checked(JS_Eval(js, runtime_source, sizeof(runtime_source) - 1, "runtime.js",
                                 JS_EVAL_TYPE_GLOBAL));
  JSValue attach = checked(JS_Call(js, make, JS_UNDEFINED, 1, &host));
  JSValue hooks = exports();
  callbacks = checked(JS_Call(js, attach, JS_UNDEFINED, 1, &hooks));
  JS_FreeValue(js, make), JS_FreeValue(js, attach), JS_FreeValue(js, host), JS_FreeValue(js, hooks);
}

// Calls a callback with these numbers, and gives the number that it returns.
static int32_t call(const char *name, int count, const uint32_t *numbers) {
  JSValue arguments[3];
  for (int i = 0; i < count; i++) arguments[i] = JS_NewUint32(js, numbers[i]);
  JSValue function = JS_GetPropertyStr(js, callbacks, name);
  JSValue result = checked(JS_Call(js, function, callbacks, count, arguments));
  JS_FreeValue(js, function);
  run_jobs(js);
  int32_t number = 0;
  if (JS_IsNumber(result)) JS_ToInt32(js, &number, result);
  JS_FreeValue(js, result);
  return number;
}

#define CALL(name, ...) \
  call(name, sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t), (uint32_t[]){__VA_ARGS__})

// The first callback is for a root context. What the script does while it is loaded may need
// the host, which is not there yet when an instance is made.
PROXY_EXPORT(proxy_on_context_create)
void on_context_create(uint32_t context, uint32_t parent) {
  if (!js) start();
  CALL("create", context, parent);
}

PROXY_EXPORT(proxy_on_configure)
uint32_t on_configure(uint32_t root, size_t size) {
  (void)size;
  return CALL("configure", root);
}

PROXY_EXPORT(proxy_on_request_headers)
proxy_action on_request_headers(uint32_t stream, uint32_t count, uint32_t end) {
  (void)count;
  return CALL("requestHeaders", stream, end);
}

PROXY_EXPORT(proxy_on_request_body)
proxy_action on_request_body(uint32_t stream, size_t size, uint32_t end) {
  (void)size;
  return CALL("requestBody", stream, end);
}

PROXY_EXPORT(proxy_on_request_trailers)
proxy_action on_request_trailers(uint32_t stream, uint32_t count) {
  (void)count;
  return CALL("requestTrailers", stream);
}

PROXY_EXPORT(proxy_on_response_headers)
proxy_action on_response_headers(uint32_t stream, uint32_t count, uint32_t end) {
  (void)count;
  return CALL("responseHeaders", stream, end);
}

PROXY_EXPORT(proxy_on_response_body)
proxy_action on_response_body(uint32_t stream, size_t size, uint32_t end) {
  (void)size;
  return CALL("responseBody", stream, end);
}

PROXY_EXPORT(proxy_on_response_trailers)
proxy_action on_response_trailers(uint32_t stream, uint32_t count) {
  (void)count;
  return CALL("responseTrailers", stream);
}

PROXY_EXPORT(proxy_on_http_call_response)
void on_http_call_response(uint32_t root, uint32_t call_id, uint32_t headers, size_t body_size,
                           uint32_t trailers) {
  (void)body_size, (void)trailers;
  CALL("answer", root, call_id, headers);
}

PROXY_EXPORT(proxy_on_log)
void on_log(uint32_t context) { CALL("log", context); }

PROXY_EXPORT(proxy_on_delete)
void on_delete(uint32_t context) { CALL("delete", context); }
