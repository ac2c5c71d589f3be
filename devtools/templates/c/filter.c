// Sets the header x-{{name}} in requests and responses to its configuration, and
// answers requests for /greeting with it. Without a library: what the host offers is
// declared in proxy_wasm.h.

#include "proxy_wasm.h"

#define HEADER "x-{{name}}"

// What the host hands over in a callback is of no use behind it: the next one begins
// anew.
static char arena[1 << 20];
static unsigned arena_used;

EXPORT(malloc) void *allocate(unsigned size) {
  unsigned start = (arena_used + 7) & ~7u;
  if (size > sizeof(arena) || start > sizeof(arena) - size) return 0;
  arena_used = start + size;
  return &arena[start];
}

static char greeting[4096];
static unsigned greeting_length;

EXPORT(proxy_abi_version_0_2_1) void abi_version(void) {}

EXPORT(proxy_on_configure) int on_configure(int root, unsigned size) {
  static const char complaint[] = "{{name}}: the configuration has to be a greeting";
  arena_used = 0;
  char *bytes = 0;
  unsigned length = 0;
  proxy_get_buffer_bytes(PLUGIN_CONFIGURATION, 0, size, &bytes, &length);
  if (length == 0 || length > sizeof(greeting)) {
    proxy_log(LOG_ERROR, complaint, sizeof(complaint) - 1);
    return 0;
  }
  for (unsigned i = 0; i < length; i++) greeting[i] = bytes[i];
  greeting_length = length;
  return 1;
}

static int is(const char *text, unsigned length, const char *expected, unsigned expected_length) {
  if (length != expected_length) return 0;
  for (unsigned i = 0; i < length; i++)
    if (text[i] != expected[i]) return 0;
  return 1;
}

EXPORT(proxy_on_request_headers) int on_request_headers(int stream, int count, int end) {
  static const char name[] = ":path", path[] = "/greeting";
  arena_used = 0;
  char *value = 0;
  unsigned length = 0;
  int found = proxy_get_header_map_value(REQUEST_HEADERS, name, sizeof(name) - 1, &value, &length);
  if (found == STATUS_OK && is(value, length, path, sizeof(path) - 1)) {
    proxy_send_local_response(200, 0, 0, greeting, greeting_length, 0, 0, -1);
    return ACTION_PAUSE;
  }
  proxy_replace_header_map_value(REQUEST_HEADERS, HEADER, sizeof(HEADER) - 1, greeting,
                                 greeting_length);
  return ACTION_CONTINUE;
}

EXPORT(proxy_on_response_headers) int on_response_headers(int stream, int count, int end) {
  arena_used = 0;
  proxy_replace_header_map_value(RESPONSE_HEADERS, HEADER, sizeof(HEADER) - 1, greeting,
                                 greeting_length);
  return ACTION_CONTINUE;
}
